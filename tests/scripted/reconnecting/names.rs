//! What stays the same while connections come and go: to post to, to stop, and nothing left of it in the end.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use switchboard::{Backoff, Bytes, Reconnect, Reconnecting};

use super::{SECOND, client, exact, next, refuse, start};
use crate::spy::{Log, Spy};
use crate::world::{World, address, millis};

#[test]
fn it_is_stopped_wherever_it_stands() {
    for refused in [false, true] {
        for established in [false, true] {
            let (mut world, log) = (World::new(), Log::default());
            let client = start(&mut world, client(&log));
            let peer = next(&mut world).1;
            match (refused, established) {
                (true, _) => refuse(&mut world, &peer),
                (_, true) => {
                    peer.establish();
                    world.settle();
                }
                _ => {}
            }
            let core = world.event_loop.core();
            assert_eq!(client.is_connected(core), established && !refused);
            assert!(core.is_open(client.connection(core).unwrap()));
            client.stop(core);
            client.stop(core);
            world.settle();
            assert_eq!(client.connection(world.event_loop.core()), None);
            assert!(!client.is_connected(world.event_loop.core()));
            if !refused {
                peer.finish();
            }
            world.settle();
            world.advance(60 * SECOND);
            assert!(world.network.next_outgoing().is_none());
            world.assert_nothing_left();
            let closes = log.take().iter().filter(|line| line.starts_with("it close")).count();
            assert_eq!(closes, if refused { 2 } else { 1 }, "each protocol is told its end");
        }
    }
}

#[test]
fn one_whose_last_words_wait_is_not_connected_any_more() {
    let (mut world, log) = (World::new(), Log::default());
    let client = start(&mut world, client(&log));
    let peer = next(&mut world).1;
    peer.establish();
    peer.set_window(0);
    world.settle();
    let id = client.connection(world.event_loop.core()).unwrap();
    world.event_loop.with(id, |cx| {
        cx.send(b"bye");
        cx.close();
    });
    world.settle();
    let core = world.event_loop.core();
    assert_eq!((client.connection(core), client.is_connected(core)), (Some(id), false));
    assert!(client.post(core, Bytes::new()).is_err());
    peer.set_window(3);
    world.settle();
    assert_eq!(client.connection(world.event_loop.core()), None, "this side closed");
}

#[test]
fn who_gives_up_keeps_the_connection_that_stands() {
    for established in [false, true] {
        let (mut world, log) = (World::new(), Log::default());
        let client = start(&mut world, client(&log));
        let peer = next(&mut world).1;
        if established {
            peer.establish();
            world.settle();
        }
        client.give_up(world.event_loop.core());
        world.settle();
        assert_eq!(client.connection(world.event_loop.core()).is_some(), established);
        peer.reset();
        world.settle();
        assert_eq!(client.connection(world.event_loop.core()), None);
        client.give_up(world.event_loop.core());
        world.advance(60 * SECOND);
        assert!(world.network.next_outgoing().is_none());
        world.assert_nothing_left();
    }
}

#[test]
fn on_close_can_stop_it() {
    let (mut world, log) = (World::new(), Log::default());
    let name: Rc<Cell<Option<Reconnecting>>> = Rc::default();
    let known = Rc::clone(&name);
    let reconnect = Reconnect::new(address(1), move |_| {
        let known = Rc::clone(&known);
        Spy::new("it", &log).on_close(move |cx, _| known.get().unwrap().stop(cx))
    });
    let client = start(&mut world, reconnect);
    name.set(Some(client));
    let peer = next(&mut world).1;
    refuse(&mut world, &peer);
    assert_eq!(client.connection(world.event_loop.core()), None);
    world.assert_nothing_left();
}

#[test]
fn posts_go_to_the_attempt_under_way() {
    let (mut world, log) = (World::new(), Log::default());
    let client = start(&mut world, client(&log));
    let first = client.connection(world.event_loop.core()).unwrap();
    client.post(world.event_loop.core(), Bytes::from_static(b"first")).unwrap();
    let peer = next(&mut world).1;
    refuse(&mut world, &peer);
    assert_eq!(world.event_loop.counters().messages_undelivered, 1, "lost with its attempt, and counted");
    let second = client.connection(world.event_loop.core()).unwrap();
    assert_ne!(first, second);
    client.post(world.event_loop.core(), Bytes::from_static(b"second")).unwrap();
    world.advance(millis(500));
    assert!(!client.is_connected(world.event_loop.core()));
    next(&mut world).1.establish();
    world.settle();
    assert!(client.is_connected(world.event_loop.core()));
    let handle = world.event_loop.handle();
    std::thread::spawn(move || handle.run(move |core| client.post(core, Bytes::from_static(b"third")).unwrap()))
        .join()
        .unwrap()
        .unwrap();
    world.settle();
    assert_eq!(
        log.take(),
        [
            "attempt 0",
            "it close: could not connect: connection refused",
            "attempt 1",
            "it open",
            "it message second",
            "it message third"
        ]
    );
}

#[test]
fn a_drain_ends_it_wherever_it_stands() {
    for phase in 0..3 {
        let (mut world, log) = (World::new(), Log::default());
        let noted = log.clone();
        start(&mut world, client(&log).when_over(move |_, reason| noted.note(format!("over: {reason}"))));
        let peer = next(&mut world).1;
        match phase {
            0 => refuse(&mut world, &peer),
            1 => peer.establish(),
            _ => {}
        }
        world.settle();
        world.event_loop.core().shutdown(SECOND);
        world.settle();
        peer.finish();
        world.settle();
        assert!(world.event_loop.tally().is_some_and(|tally| tally.cut_off == 0), "promptly");
        assert!(world.network.next_outgoing().is_none());
        assert!(log.take().last().unwrap().starts_with("over: "));
        world.assert_nothing_left();
    }
}

#[test]
fn one_that_breaks_while_the_loop_drains_is_not_made_again() {
    let (mut world, log) = (World::new(), Log::default());
    let noted = log.clone();
    let reconnect = Reconnect::new(address(1), move |_| Spy::new("it", &noted).on_shutdown(|_| Ok(())))
        .decide(|_| unreachable!("nothing is to be decided"));
    let client = start(&mut world, reconnect);
    let peer = next(&mut world).1;
    peer.establish();
    world.settle();
    world.event_loop.core().shutdown(SECOND);
    world.settle();
    assert!(client.is_connected(world.event_loop.core()), "it has not closed");
    peer.reset();
    world.settle();
    assert_eq!(log.take(), ["it open", "it shutdown", "it close: connection broke: connection reset, 0 bytes unsent"]);
    world.assert_nothing_left();
}

#[test]
fn it_can_be_started_in_a_callback_and_in_when_over() {
    let (mut world, log) = (World::new(), Log::default());
    let inner = log.clone();
    let reconnect = client(&log).backoff(Backoff { retries: Some(0), ..exact() }).when_over(move |core, _| {
        let spy = Spy::new("second", &inner).on_open(|cx| {
            Reconnect::new(address(3), |_| Spy::new("third", &Log::default())).start(cx);
            Ok(())
        });
        let mut spy = Some(spy);
        Reconnect::new(address(2), move |_| spy.take().unwrap()).start(core);
    });
    start(&mut world, reconnect);
    let peer = next(&mut world).1;
    refuse(&mut world, &peer);
    let second = next(&mut world).1;
    assert_eq!(second.address(), address(2));
    second.establish();
    world.settle();
    assert_eq!(next(&mut world).1.address(), address(3));
}

#[test]
fn ten_thousand_reconnects_leave_nothing() {
    let (mut world, log) = (World::new(), Log::default());
    let backoff = Backoff { first: millis(1), most: millis(2), ..Backoff::default() };
    let client = start(&mut world, client(&log).backoff(backoff));
    let mut last = None;
    for attempt in 0..10_000 {
        let peer = next(&mut world).1;
        let id = client.connection(world.event_loop.core());
        assert!(id.is_some() && id != last, "attempt {attempt}: an id of its own");
        last = id;
        client.post(world.event_loop.core(), Bytes::new()).unwrap();
        match attempt % 3 {
            0 => peer.refuse(io::ErrorKind::ConnectionRefused),
            1 => {
                peer.establish();
                world.settle();
                peer.reset();
            }
            _ => {
                peer.establish();
                peer.finish();
            }
        }
        world.settle();
        let core = world.event_loop.core();
        assert_eq!(
            (core.open_connections(), core.armed_timers()),
            (1, 1),
            "attempt {attempt}: the next, and its timer"
        );
        assert_eq!((core.waiting_messages(), core.held_bytes()), (0, 0));
        log.take();
    }
    // One place is used again and again.
    assert!(last.unwrap().to_string().split('.').next().unwrap().parse::<usize>().unwrap() < 2, "{last:?}");
    client.stop(world.event_loop.core());
    world.settle();
    world.assert_nothing_left();
    let counters = world.event_loop.counters();
    assert_eq!(counters.opened + counters.connect_errors, 10_001);
}
