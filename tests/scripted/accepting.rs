//! Listeners: budgets, failures of accept, refusals, the connection limit.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use switchboard::Limits;
use switchboard::driver::AcceptError;
use switchboard::testkit::Peer;
use switchboard_echo::TcpEcho;

use crate::spy::{Log, Spy};
use crate::world::{PORT, World, address, millis};

/// Peers that have connected and are not accepted yet.
fn waiting(world: &World, count: usize) -> Vec<Peer> {
    (0..count).map(|_| world.network.connect(address(PORT)).unwrap()).collect()
}

fn echoes(world: &mut World, peer: &Peer) -> bool {
    peer.send(b"hello");
    world.settle();
    peer.take_received() == b"hello"
}

#[test]
fn no_more_than_the_budget_is_accepted_in_one_turn() {
    let mut world = World::with_limits(Limits { accepts_per_turn: 10, ..Limits::default() });
    world.listen(|| TcpEcho);
    let peers = waiting(&world, 35);
    for expected in [10, 20, 30, 35] {
        world.turn();
        assert_eq!(world.event_loop.core().open_connections(), expected);
    }
    world.settle();
    assert!(peers.iter().all(|peer| echoes(&mut world, peer)));
}

#[test]
fn an_aborted_peer_keeps_nobody_behind_it_waiting() {
    let mut world = World::new();
    let listener = world.listen(|| TcpEcho);
    let first = waiting(&world, 1);
    for kind in [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::Interrupted] {
        world.network.fail_accept(address(PORT), AcceptError::Retry(kind.into()));
    }
    let second = waiting(&world, 1);
    world.turn();
    assert_eq!(world.event_loop.core().open_connections(), 2);
    assert_eq!(world.event_loop.core().listener_counters(listener).accept_errors, 3);
    world.settle();
    assert!(echoes(&mut world, &first[0]) && echoes(&mut world, &second[0]));
}

#[test]
fn a_storm_of_aborted_peers_does_not_outrun_the_budget() {
    let mut world = World::with_limits(Limits { accepts_per_turn: 8, ..Limits::default() });
    world.listen(|| TcpEcho);
    for _ in 0..100 {
        world.network.fail_accept(address(PORT), AcceptError::Retry(io::ErrorKind::ConnectionAborted.into()));
    }
    let peer = waiting(&world, 1).remove(0);
    world.turn();
    assert_eq!(world.event_loop.counters().accept_errors, 8);
    world.settle();
    assert_eq!(world.event_loop.counters().accept_errors, 100);
    assert!(echoes(&mut world, &peer));
}

#[test]
fn exhaustion_is_waited_out_and_does_not_spin() {
    let mut world = World::with_limits(Limits { accept_retry: millis(100), ..Limits::default() });
    world.listen(|| TcpEcho);
    for _ in 0..3 {
        world.network.fail_accept(address(PORT), AcceptError::Exhausted(io::ErrorKind::OutOfMemory.into()));
    }
    let peer = waiting(&world, 1).remove(0);
    assert!(world.settle() <= 2, "turns");
    assert_eq!(world.event_loop.counters().accept_errors, 1, "one failure, and then a pause");
    assert_eq!(world.event_loop.core().armed_timers(), 1);
    world.advance(millis(99));
    assert_eq!(world.event_loop.counters().accept_errors, 1);
    world.advance(millis(1));
    assert_eq!(world.event_loop.counters().accept_errors, 2);
    world.advance(millis(200));
    assert_eq!(world.event_loop.counters().accept_errors, 3);
    assert!(echoes(&mut world, &peer), "accepting has resumed");
    assert_eq!(world.event_loop.core().armed_timers(), 0);
}

#[test]
fn knocking_during_the_pause_does_not_pile_up_pauses() {
    let mut world = World::new();
    world.listen(|| TcpEcho);
    for _ in 0..5 {
        world.network.fail_accept(address(PORT), AcceptError::Exhausted(io::ErrorKind::OutOfMemory.into()));
        world.settle();
        assert_eq!(world.event_loop.core().armed_timers(), 1);
    }
    world.advance(millis(100));
    assert_eq!(world.event_loop.core().armed_timers(), 0);
}

#[test]
fn exhaustion_disturbs_neither_other_listeners_nor_connections() {
    let mut world = World::new();
    world.listen(|| TcpEcho);
    world.event_loop.listen(address(9), |_| Some(TcpEcho)).unwrap();
    let early = world.peer();
    world.network.fail_accept(address(PORT), AcceptError::Exhausted(io::ErrorKind::OutOfMemory.into()));
    let elsewhere = world.network.connect(address(9)).unwrap();
    world.settle();
    assert!(echoes(&mut world, &early) && echoes(&mut world, &elsewhere));
}

#[test]
fn a_listener_closed_during_the_pause_leaves_no_timer_behind() {
    let mut world = World::new();
    let listener = world.listen(|| TcpEcho);
    world.network.fail_accept(address(PORT), AcceptError::Exhausted(io::ErrorKind::OutOfMemory.into()));
    world.settle();
    world.event_loop.core().close(listener);
    world.settle();
    assert!(!world.network.is_listening(address(PORT)));
    world.advance(Duration::from_secs(1));
    world.assert_nothing_left();
}

#[test]
fn the_connection_limit_pauses_accepting_and_the_first_to_go_resumes_it() {
    let mut world = World::with_limits(Limits { connections: 3, ..Limits::default() });
    world.listen(|| TcpEcho);
    let peers = waiting(&world, 6);
    assert!(world.settle() <= 3, "it does not spin at the limit");
    assert_eq!(world.event_loop.core().open_connections(), 3);
    for gone in 0..3 {
        peers[gone].finish();
        world.settle();
        assert_eq!(world.event_loop.core().open_connections(), 3, "the next has its place");
        assert!(echoes(&mut world, &peers[gone + 3]));
    }
    for peer in &peers[3..] {
        peer.finish();
    }
    world.settle();
    world.assert_nothing_left();
    let after = world.peer();
    assert!(echoes(&mut world, &after));
}

#[test]
fn at_the_limit_every_listener_waits_and_every_listener_resumes() {
    let mut world = World::with_limits(Limits { connections: 2, ..Limits::default() });
    world.listen(|| TcpEcho);
    world.event_loop.listen(address(9), |_| Some(TcpEcho)).unwrap();
    let first = [world.peer(), world.peer()];
    let here = world.network.connect(address(PORT)).unwrap();
    let there = world.network.connect(address(9)).unwrap();
    world.settle();
    for peer in &first {
        peer.finish();
    }
    world.settle();
    assert!(echoes(&mut world, &here) && echoes(&mut world, &there));
}

#[test]
fn at_the_limit_listeners_share_what_becomes_free() {
    let mut world = World::with_limits(Limits { connections: 1, ..Limits::default() });
    world.listen(|| TcpEcho);
    world.event_loop.listen(address(9), |_| Some(TcpEcho)).unwrap();
    let mut waiting: Vec<Peer> =
        (0..20).map(|n| world.network.connect(address(if n % 2 == 0 { PORT } else { 9 })).unwrap()).collect();
    world.settle();
    // Each time the one that was accepted goes, somebody else must come.
    while !waiting.is_empty() {
        let served = waiting.iter().position(|peer| peer.id().is_some());
        let served = waiting.remove(served.unwrap_or_else(|| panic!("{} wait for ever", waiting.len())));
        assert!(echoes(&mut world, &served));
        served.finish();
        world.settle();
    }
    world.assert_nothing_left();
}

#[test]
fn an_outgoing_connection_that_fails_makes_room_for_accepting() {
    let mut world = World::with_limits(Limits { connections: 1, ..Limits::default() });
    world.listen(|| TcpEcho);
    world.event_loop.connect(address(1), TcpEcho);
    world.settle();
    let peer = waiting(&world, 1).remove(0);
    world.settle();
    assert_eq!(peer.id(), None, "not accepted yet");
    world.network.next_outgoing().unwrap().refuse(io::ErrorKind::ConnectionRefused);
    world.settle();
    assert!(echoes(&mut world, &peer));
}

#[test]
fn the_factory_can_refuse() {
    let mut world = World::new();
    let made = Rc::new(Cell::new(0));
    let count = Rc::clone(&made);
    let listener = world
        .event_loop
        .listen(address(PORT), move |accepted| {
            assert_eq!(accepted.ip().unwrap().to_string(), "127.0.0.1");
            count.set(count.get() + 1);
            (count.get() % 2 == 0).then_some(TcpEcho)
        })
        .unwrap();
    let peers = waiting(&world, 4);
    world.settle();
    let closed: Vec<bool> = peers.iter().map(Peer::is_closed).collect();
    assert_eq!(closed, [true, false, true, false]);
    let counters = world.event_loop.core().listener_counters(listener);
    assert_eq!((counters.refused, counters.opened), (2, 2));
    assert_eq!(world.event_loop.core().open_connections(), 2);
}

#[test]
fn counters_are_kept_by_listener_and_outlive_it() {
    let mut world = World::new();
    let seven = world.listen(|| TcpEcho);
    let nine = world.event_loop.listen(address(9), |_| Some(TcpEcho)).unwrap();
    let peer = world.peer();
    peer.send(b"hello");
    peer.finish();
    world.settle();
    world.event_loop.core().close(seven);
    world.settle();
    let core = world.event_loop.core();
    let counters = core.listener_counters(seven);
    assert_eq!((counters.opened, counters.closed, counters.bytes_in, counters.bytes_out), (1, 1, 5, 5));
    assert_eq!(core.listener_counters(nine), switchboard::Counters::default());
    assert_eq!(core.counters(), counters);
}

#[test]
fn a_closed_listener_leaves_its_connections_alone() {
    let mut world = World::new();
    let listener = world.listen(|| TcpEcho);
    let peer = world.peer();
    world.event_loop.core().close(listener);
    world.settle();
    assert!(world.network.connect(address(PORT)).is_none());
    assert!(echoes(&mut world, &peer));
}

#[test]
fn ten_thousand_that_come_and_go_leave_nothing() {
    fn protocol(log: &Log) -> Spy {
        Spy::new("it", log).on_open(|cx| {
            cx.set_timer(Duration::from_secs(60));
            Ok(())
        })
    }
    let mut world = World::new();
    let log = Log::default();
    let spies = log.clone();
    world.listen(move || protocol(&spies));
    for round in 0..100 {
        let peers = waiting(&world, 100);
        for (n, peer) in peers.iter().enumerate() {
            peer.send(b"unfinished");
            match (n + round) % 4 {
                0 => peer.finish(),
                1 => peer.reset(),
                2 => {
                    world.settle();
                    peer.reset();
                }
                _ => {
                    world.settle();
                    peer.finish();
                }
            }
        }
        world.settle();
        log.take();
    }
    world.assert_nothing_left();
    assert_eq!(world.event_loop.counters().opened, 10_000);
}
