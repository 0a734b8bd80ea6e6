//! Many subscribers: the work of a publication is in proportion to them, whatever they do.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::Peer;
use switchboard::{Limits, Message, Slow};

use crate::common::now;
use crate::spy::{Log, Spy};
use crate::world::{PORT, World, address};

const CROWD: usize = 2000;

/// A loop with many who are subscribed to "t" by this policy, and their peers.
fn crowd(size: usize, policy: Slow) -> (World, Vec<Peer>, Rc<RefCell<u64>>) {
    let heard: Rc<RefCell<u64>> = Rc::default();
    let limits = Limits { high_water: 1000, low_water: 100, ..Limits::default() };
    let mut world = World::with_limits(limits);
    let log = Log::default();
    let count = Rc::clone(&heard);
    world.listen(move || {
        let count = Rc::clone(&count);
        Spy::new("one", &log).on_open(move |cx| Ok(cx.subscribe("t", policy)?)).on_message(move |cx, message| {
            let Message::Published(publication) = message else { unreachable!() };
            *count.borrow_mut() += 1;
            cx.send_shared(publication.payload().clone());
            Ok(())
        })
    });
    let peers = (0..size).map(|_| world.network.connect(address(PORT)).expect("somebody listens")).collect();
    world.settle();
    assert_eq!(world.event_loop.core().topic_counters("t").unwrap().subscribers, size);
    (world, peers, heard)
}

#[test]
fn everybody_of_thousands_gets_everything() {
    let (mut world, peers, heard) = crowd(CROWD, Slow::default());
    for round in 0..10 {
        assert_eq!(world.event_loop.core().publish("t", format!("{round}")), CROWD);
        world.settle();
    }
    assert_eq!(*heard.borrow(), 10 * CROWD as u64);
    for peer in &peers {
        assert_eq!(peer.take_received(), b"0123456789");
        peer.reset();
    }
    world.settle();
    world.assert_nothing_left();
    assert_eq!(world.event_loop.core().topics(), 0);
}

#[test]
fn to_publish_to_slow_ones_costs_no_more_the_more_waits() {
    const MOST: usize = 20_000;
    for policy in
        [Slow::DropOldest { waiting: MOST }, Slow::DropNewest { waiting: MOST }, Slow::KeepLatest { waiting: MOST }]
    {
        let (mut world, peers, _) = crowd(10, policy);
        peers.iter().for_each(|peer| peer.set_window(0));
        world.event_loop.core().publish("t", vec![0; 1001]); // makes them slow
        world.settle();
        let mut publish = |count: u64| {
            let began = now();
            for key in 0..count {
                world.event_loop.core().publish_keyed("t", key, "x");
            }
            began.elapsed()
        };
        let first = publish(100);
        publish(MOST as u64 + 100);
        let last = publish(100);
        println!("{policy:?}: a hundred publications took {first:?} with few waiting, {last:?} with many");
        // A search through what waits would take some hundred times as long.
        assert!(last < 15 * first + Duration::from_millis(100), "{policy:?}: {first:?}, then {last:?}");
    }
}

#[test]
fn who_never_reads_delays_nobody_and_is_dealt_with_by_policy() {
    let (mut world, peers, heard) = crowd(CROWD, Slow::Close { waiting: 5 });
    peers[7].set_window(0);
    for round in 0..100 {
        let told = world.event_loop.core().publish("t", vec![round; 100]);
        assert!(told >= CROWD - 1);
        world.settle();
    }
    assert!(peers[7].saw_reset());
    assert!(peers.iter().enumerate().all(|(at, peer)| at == 7 || peer.take_received().len() == 10_000));
    assert!(*heard.borrow() >= 100 * (CROWD as u64 - 1));
    assert_eq!(world.event_loop.core().open_connections(), CROWD - 1);
}
