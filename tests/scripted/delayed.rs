//! Outgoing connections whose time is still to come.

use std::io;
use std::time::Duration;

use switchboard::driver::Ready;
use switchboard::{Bytes, EndpointId, Limits};

use crate::spy::{Log, Spy};
use crate::world::{World, address, millis};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn it_connects_when_its_time_has_come_and_not_before() {
    let log = Log::default();
    let mut world = World::with_limits(Limits { connect_timeout: 3 * SECOND, ..Limits::default() });
    let id = world.event_loop.connect_after(SECOND, address(1), Spy::new("it", &log));
    assert!(world.event_loop.core().is_open(id), "its id is good at once");
    world.advance(millis(999));
    assert!(world.network.next_outgoing().is_none());
    let core = world.event_loop.core();
    assert_eq!((core.open_connections(), core.armed_timers()), (1, 1));
    world.advance(millis(1));
    assert_eq!(world.network.next_outgoing().expect("it connects now").address(), address(1));
    world.advance(millis(2999));
    assert_eq!(log.take(), [""; 0]);
    world.advance(millis(1));
    assert_eq!(log.take(), ["it close: could not connect within 3s"], "which counts from then on");
    world.assert_nothing_left();
}

#[test]
fn what_is_posted_waits_until_it_stands() {
    let log = Log::default();
    let mut world = World::new();
    let id = world.event_loop.connect_after(SECOND, address(1), Spy::new("it", &log));
    let core = world.event_loop.core();
    core.post(id, Bytes::from_static(b"before it waits")).unwrap();
    world.settle();
    world.event_loop.core().post(id, Bytes::from_static(b"while it waits")).unwrap();
    world.settle();
    assert_eq!(world.event_loop.core().waiting_messages(), 2);
    world.advance(SECOND);
    world.network.next_outgoing().unwrap().establish();
    world.settle();
    assert_eq!(log.take(), ["it open", "it message before it waits", "it message while it waits"]);
}

#[test]
fn it_can_be_called_off() {
    for abort in [false, true] {
        for begun in [false, true] {
            let log = Log::default();
            let mut world = World::new();
            let id = world.event_loop.connect_after(SECOND, address(1), Spy::new("it", &log));
            world.event_loop.core().post(id, Bytes::new()).unwrap();
            if begun {
                world.settle();
            }
            let core = world.event_loop.core();
            if abort {
                core.abort(id)
            } else {
                core.close(id)
            }
            world.settle();
            assert_eq!(log.take(), ["it close: aborted by this side, 0 bytes unsent"]);
            assert!(!world.event_loop.core().is_open(id));
            let counters = world.event_loop.counters();
            assert_eq!((counters.connect_errors, counters.messages_undelivered), (1, 1));
            world.assert_nothing_left();
            world.advance(2 * SECOND);
            assert!(world.network.next_outgoing().is_none());
        }
    }
}

#[test]
fn without_a_delay_it_connects_at_once() {
    let mut world = World::new();
    world.event_loop.connect_after(Duration::ZERO, address(1), Spy::new("it", &Log::default()));
    world.turn();
    assert!(world.network.next_outgoing().is_some());
}

#[test]
fn never_is_a_delay_too() {
    let log = Log::default();
    let mut world = World::new();
    let id = world.event_loop.connect_after(Duration::MAX, address(1), Spy::new("it", &log));
    world.advance(Duration::from_secs(86_400 * 365));
    assert!(world.event_loop.core().is_open(id) && world.network.next_outgoing().is_none());
    world.event_loop.core().close(id);
    world.settle();
    world.assert_nothing_left();
}

#[test]
fn it_takes_a_connections_place() {
    let log = Log::default();
    let mut world = World::with_limits(Limits { connections: 1, ..Limits::default() });
    world.event_loop.connect_after(SECOND, address(1), Spy::new("first", &log));
    world.event_loop.connect(address(1), Spy::new("second", &log));
    let third = world.event_loop.connect_after(SECOND, address(1), Spy::new("third", &log));
    world.settle();
    assert_eq!(log.take(), ["second close: a limit was hit: connections: the loop holds its 1 already"]);
    assert_eq!(world.event_loop.core().open_connections(), 1, "there was no room for the third");
    world.advance(SECOND);
    assert_eq!(log.take(), ["third close: a limit was hit: connections: the loop holds its 1 already"], "nor is now");
    assert!(!world.event_loop.core().is_open(third));
    world.network.next_outgoing().unwrap().establish();
    world.settle();
    assert_eq!(log.take(), ["first open"], "the place was its own all the time");
    assert_eq!(world.event_loop.core().open_connections(), 1);
}

#[test]
fn one_for_which_there_was_no_room_connects_if_there_is_then() {
    let mut world = World::with_limits(Limits { connections: 1, ..Limits::default() });
    let log = Log::default();
    let other = world.event_loop.connect(address(1), Spy::new("other", &log));
    world.event_loop.connect_after(SECOND, address(2), Spy::new("it", &log));
    world.settle();
    world.event_loop.core().close(other);
    world.settle();
    assert_eq!(world.event_loop.core().open_connections(), 0);
    world.advance(SECOND);
    let _others = world.network.next_outgoing();
    assert_eq!(world.network.next_outgoing().unwrap().address(), address(2));
    assert_eq!(world.event_loop.core().open_connections(), 1);
}

#[test]
fn who_waits_to_be_accepted_gets_its_place() {
    for called_off in [true, false] {
        let log = Log::default();
        let mut world = World::with_limits(Limits { connections: 1, ..Limits::default() });
        let id = world.event_loop.connect_after(SECOND, address(1), Spy::new("it", &Log::default()));
        let accepted = log.clone();
        world.listen(move || Spy::new("accepted", &accepted));
        world.settle();
        world.peer();
        assert_eq!(log.take(), [""; 0], "the loop is full");
        if called_off {
            world.event_loop.core().close(id);
            world.settle();
        } else {
            world.network.refuse_connect(io::ErrorKind::NetworkUnreachable);
            world.advance(SECOND);
        }
        assert_eq!(log.take(), ["accepted open"]);
        assert_eq!(world.event_loop.core().open_connections(), 1);
    }
}

#[test]
fn a_refusal_on_the_spot_comes_when_its_time_has_come() {
    let log = Log::default();
    let mut world = World::new();
    world.network.refuse_connect(io::ErrorKind::NetworkUnreachable);
    world.event_loop.connect_after(SECOND, address(1), Spy::new("it", &log));
    world.advance(millis(999));
    assert_eq!(log.take(), [""; 0]);
    world.advance(millis(1));
    assert_eq!(log.take(), ["it close: could not connect: network unreachable"]);
    world.assert_nothing_left();
}

#[test]
fn a_drain_ends_it_promptly() {
    let log = Log::default();
    let mut world = World::new();
    world.event_loop.connect_after(SECOND, address(1), Spy::new("it", &log));
    world.settle();
    world.event_loop.core().shutdown(60 * SECOND);
    world.turn();
    assert_eq!(log.take(), ["it close: cut off at the end of the drain, 0 bytes unsent"]);
    let tally = world.event_loop.tally().expect("there is nothing to wait for");
    assert_eq!((tally.drained, tally.cut_off), (1, 0));
    world.assert_nothing_left();
}

#[test]
fn the_end_of_the_loop_cuts_it_off() {
    let log = Log::default();
    let mut world = World::new();
    world.event_loop.connect_after(SECOND, address(1), Spy::new("it", &log));
    world.settle();
    world.event_loop.handle().stop().unwrap();
    world.turn();
    assert_eq!(log.take(), ["it close: cut off at the end of the drain, 0 bytes unsent"]);
    assert_eq!(world.event_loop.tally().unwrap().cut_off, 1);
    world.assert_nothing_left();
}

#[test]
fn a_loop_that_drains_begins_none() {
    let (log, later) = (Log::default(), Log::default());
    let mut world = World::new();
    let seen = later.clone();
    let first = Spy::new("first", &log).on_close(move |cx, _| {
        cx.connect_after(SECOND, address(2), Spy::new("second", &seen));
    });
    world.event_loop.connect_after(SECOND, address(1), first);
    world.settle();
    world.event_loop.core().shutdown(60 * SECOND);
    world.settle();
    assert_eq!(later.take(), ["second close: cut off at the end of the drain, 0 bytes unsent"]);
    world.assert_nothing_left();
}

#[test]
fn its_protocol_can_be_reached_but_its_connection_is_none_yet() {
    let log = Log::default();
    let mut world = World::new();
    let id = world.event_loop.connect_after(SECOND, address(1), Spy::new("it", &log));
    world.settle();
    assert!(world.event_loop.protocol::<Spy>(id).is_some());
    assert!(world.event_loop.protocol::<switchboard_echo::TcpEcho>(id).is_none());
    assert!(world.event_loop.with(id, |_| ()).is_none());
    assert_eq!(world.event_loop.local_addr(id), None);
}

#[test]
fn events_of_its_key_are_none_of_its() {
    let log = Log::default();
    let mut world = World::new();
    let id = world.event_loop.connect_after(SECOND, address(1), Spy::new("it", &log));
    world.settle();
    let key = EndpointId::from(id).key();
    world.network.raise(Ready { key, readable: true, writable: true, read_closed: true, error: true });
    world.settle();
    assert_eq!(log.take(), [""; 0]);
    assert!(world.event_loop.core().is_open(id));
}
