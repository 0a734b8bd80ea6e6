//! The end of a loop: goodbyes, the deadline, the tally.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::Peer;
use switchboard::{Bytes, Datagram, DatagramContext, DatagramProtocol, Failure, Limits};
use switchboard_echo::TcpEcho;

use crate::spy::{Log, Spy};
use crate::world::{PORT, World, address, millis};

/// A world whose connections get the spies of `make`, each with its peer.
fn world_with(count: usize, make: impl FnMut() -> Spy + 'static) -> (World, Vec<Peer>) {
    let mut world = World::new();
    world.listen(make);
    let peers = (0..count).map(|_| world.peer()).collect();
    (world, peers)
}

#[test]
fn everybody_says_goodbye_and_the_tally_says_so() {
    let log = Log::default();
    let spies = log.clone();
    let (mut world, peers) = world_with(3, move || {
        Spy::new("it", &spies).on_shutdown(|cx| {
            cx.send(b"bye");
            cx.close();
            Ok(())
        })
    });
    log.take();
    world.event_loop.core().shutdown(Duration::from_secs(5));
    world.settle();
    assert!(!world.network.is_listening(address(PORT)));
    for peer in &peers {
        assert_eq!(peer.take_received(), b"bye");
        assert!(peer.saw_eof());
        peer.finish();
    }
    world.settle();
    let tally = world.event_loop.tally().expect("everybody has gone");
    assert_eq!((tally.drained, tally.cut_off, tally.took), (3, 0, Duration::ZERO));
    assert_eq!((tally.counters.opened, tally.counters.closed), (3, 3));
    assert_eq!(log.take(), ["it shutdown", "it close: closed by this side"].repeat(3));
}

#[test]
fn the_deadline_cuts_off_who_stays() {
    let log = Log::default();
    let spies = log.clone();
    let made = Cell::new(0);
    let (mut world, peers) = world_with(3, move || {
        made.set(made.get() + 1);
        let spy = Spy::new("it", &spies);
        // The first stays.
        if made.get() == 1 { spy.on_shutdown(|_| Ok(())) } else { spy }
    });
    log.take();
    world.event_loop.core().shutdown(Duration::from_secs(5));
    world.settle();
    peers[1].finish();
    peers[2].finish();
    world.advance(millis(4999));
    assert!(world.event_loop.tally().is_none());
    assert_eq!(world.event_loop.next_deadline().map(|at| at.saturating_since(world.network.now())), Some(millis(1)));
    world.advance(millis(1));
    let tally = world.event_loop.tally().expect("its time is over");
    assert_eq!((tally.drained, tally.cut_off, tally.took), (2, 1, Duration::from_secs(5)));
    assert_eq!(log.take().last().unwrap(), "it close: cut off at the end of the drain, 0 bytes unsent");
    assert!(peers[0].is_closed());
}

#[test]
fn next_deadline_is_never_in_the_past_once_the_drain_has_ended() {
    let (mut world, _peers) = world_with(1, || Spy::new("it", &Log::default()).on_shutdown(|_| Ok(())));
    world.event_loop.core().shutdown(millis(10));
    world.settle();
    world.advance(millis(10));
    assert!(world.event_loop.tally().is_some());
    world.network.advance(millis(10));
    assert_eq!(world.event_loop.next_deadline(), None, "who polls by it alone would spin");
}

#[test]
fn a_second_shutdown_can_only_hurry() {
    let (mut world, _peers) = world_with(1, || Spy::new("it", &Log::default()).on_shutdown(|_| Ok(())));
    world.event_loop.core().shutdown(millis(1000));
    world.settle();
    world.event_loop.core().shutdown(millis(5000));
    world.advance(millis(400));
    assert!(world.event_loop.tally().is_none());
    let left = world.event_loop.next_deadline().unwrap().saturating_since(world.network.now());
    assert_eq!(left, millis(600), "no later than it was");
    world.event_loop.core().shutdown(millis(100));
    world.advance(millis(100));
    assert_eq!(world.event_loop.tally().expect("hurried").took, millis(500));
}

#[test]
fn stop_cuts_everybody_off_at_once_and_counts_them() {
    let log = Log::default();
    let spies = log.clone();
    let (mut world, peers) = world_with(4, move || Spy::new("it", &spies));
    log.take();
    world.event_loop.handle().stop().unwrap();
    world.settle();
    let tally = world.event_loop.tally().expect("stopped");
    assert_eq!((tally.drained, tally.cut_off), (0, 4));
    assert_eq!(log.take(), ["it close: cut off at the end of the drain, 0 bytes unsent"; 4]);
    assert!(peers.iter().all(Peer::is_closed));
    assert_eq!(world.event_loop.next_deadline(), None);
}

#[test]
fn stop_in_the_middle_of_a_drain_keeps_what_had_drained() {
    let made = Cell::new(0);
    let (mut world, peers) = world_with(3, move || {
        made.set(made.get() + 1);
        let spy = Spy::new("it", &Log::default());
        if made.get() == 1 { spy.on_shutdown(|_| Ok(())) } else { spy }
    });
    world.event_loop.core().shutdown(Duration::from_secs(60));
    world.settle();
    peers[1].finish();
    peers[2].finish();
    world.settle();
    world.event_loop.handle().stop().unwrap();
    world.settle();
    let tally = world.event_loop.tally().unwrap();
    assert_eq!((tally.drained, tally.cut_off), (2, 1));
}

#[test]
fn nothing_new_begins_while_the_loop_drains() {
    let log = Log::default();
    let (mut world, _peers) = world_with(1, || Spy::new("it", &Log::default()).on_shutdown(|_| Ok(())));
    world.event_loop.core().shutdown(Duration::from_secs(1));
    world.settle();
    assert!(world.event_loop.core().is_draining());
    world.event_loop.connect(address(1), Spy::new("late", &log));
    world.settle();
    assert!(world.network.next_outgoing().is_none());
    assert_eq!(log.take(), ["late close: cut off at the end of the drain, 0 bytes unsent"]);
    assert!(world.event_loop.listen(address(9), |_| Some(TcpEcho)).is_err());
    assert!(world.network.connect(address(PORT)).is_none());
}

#[test]
fn an_outgoing_connection_that_does_not_stand_yet_is_cut_off() {
    let log = Log::default();
    let mut world = World::new();
    world.event_loop.connect(address(1), Spy::new("it", &log));
    world.settle();
    world.event_loop.core().shutdown(Duration::from_secs(5));
    world.settle();
    assert_eq!(log.take(), ["it close: cut off at the end of the drain, 0 bytes unsent"]);
    assert!(world.event_loop.tally().is_some(), "nobody is left to wait for");
}

#[test]
fn who_connects_again_whenever_it_closes_does_not_keep_the_loop_busy() {
    fn again(log: &Log) -> Spy {
        let next = log.clone();
        Spy::new("it", log).on_close(move |cx, _| {
            cx.connect(address(1), again(&next));
        })
    }
    let log = Log::default();
    let mut world = World::new();
    world.event_loop.connect(address(1), again(&log));
    world.settle();
    world.event_loop.core().shutdown(Duration::from_secs(5));
    let mut turns = 0;
    while world.event_loop.tally().is_none() && world.is_busy() && turns < 1000 {
        world.turn();
        turns += 1;
    }
    assert!(turns < 10, "{turns} turns, {} protocols told", log.len());
}

#[test]
fn a_drain_ends_when_the_last_words_are_taken() {
    let (mut world, peers) = world_with(1, || {
        Spy::new("it", &Log::default()).on_shutdown(|cx| {
            cx.send(b"last words");
            cx.close();
            Ok(())
        })
    });
    peers[0].set_window(0);
    world.event_loop.core().shutdown(Duration::from_secs(60));
    world.settle();
    world.advance(Duration::from_secs(10));
    assert!(world.event_loop.tally().is_none(), "they wait");
    peers[0].set_window(100);
    peers[0].finish();
    world.settle();
    assert_eq!(peers[0].take_received(), b"last words");
    assert_eq!(world.event_loop.tally().expect("all said").took, Duration::from_secs(10));
}

#[test]
fn a_peer_that_never_closes_delays_the_end_by_the_linger_time_at_most() {
    let (mut world, _peers) = world_with(1, || Spy::new("it", &Log::default()));
    world.event_loop.core().shutdown(Duration::from_secs(60));
    world.settle();
    world.advance(Limits::default().linger);
    assert_eq!(world.event_loop.tally().expect("lingered long enough").cut_off, 0);
}

struct Farewell(Rc<Cell<bool>>);

impl DatagramProtocol for Farewell {
    fn on_datagram(&mut self, _: &mut DatagramContext<'_>, _: Datagram<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn on_shutdown(&mut self, cx: &mut DatagramContext<'_>) -> Result<(), Failure> {
        self.0.set(true);
        cx.send_to(address(5), b"bye");
        cx.close();
        Ok(())
    }
}

#[test]
fn udp_sockets_say_goodbye_too() {
    let asked = Rc::new(Cell::new(false));
    let mut world = World::new();
    world.event_loop.bind_udp(address(4), Farewell(Rc::clone(&asked))).unwrap();
    world.event_loop.core().shutdown(Duration::from_secs(1));
    world.settle();
    assert!(asked.get());
    assert_eq!(world.network.take_datagrams(address(4)), [(address(5), b"bye".to_vec())]);
    assert!(world.event_loop.tally().is_some());
}

#[test]
fn an_idle_loop_drains_at_once_and_then_stands_still() {
    let mut world = World::new();
    world.listen(|| TcpEcho);
    let handle = world.event_loop.handle();
    handle.shutdown(Duration::from_secs(9)).unwrap();
    world.turn();
    assert_eq!(world.event_loop.tally().unwrap().drained, 0);
    world.turn(); // returns, and does nothing
    assert!(handle.shutdown(Duration::ZERO).is_err(), "the loop has ended");
    assert!(handle.run(|_| unreachable!()).is_err());
}

#[test]
fn dropping_the_loop_calls_every_on_close() {
    let log = Log::default();
    let spies = log.clone();
    let (world, peers) = world_with(2, move || Spy::new("it", &spies));
    log.take();
    drop(world);
    assert_eq!(log.take(), ["it close: cut off at the end of the drain, 0 bytes unsent"; 2]);
    assert!(peers.iter().all(Peer::is_closed));
}

/// The handle had taken it; that the loop never came to it may not pass unsaid.
#[test]
fn a_message_that_a_handle_posts_as_the_loop_ends_is_counted() {
    let log = Log::default();
    let spies = log.clone();
    let (mut world, _peers) = world_with(1, move || {
        Spy::new("it", &spies).on_shutdown(|_| Ok(())).on_close(|cx, _| {
            let posted = cx.handle().post(cx.id(), Bytes::from_static(b"too late"));
            assert!(posted.is_ok(), "the loop has not ended yet");
        })
    });
    world.event_loop.core().shutdown(millis(5));
    world.advance(millis(5));
    assert_eq!(world.event_loop.tally().expect("cut off").counters.messages_undelivered, 1);
}
