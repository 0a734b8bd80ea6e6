//! Outgoing connections: established, refused, too late, unwanted.

use std::io;
use std::time::Duration;

use switchboard::testkit::Harness;
use switchboard::{Blame, CloseReason, Limits};

use crate::spy::{Log, Spy};
use crate::world::{World, address, millis};

fn connecting(log: &Log) -> Harness {
    Harness::connecting(Spy::new("it", log), Limits::default())
}

#[test]
fn its_id_is_good_at_once_and_on_open_comes_when_it_stands() {
    let log = Log::default();
    let mut harness = connecting(&log);
    let id = harness.id();
    assert!(harness.core().is_open(id));
    assert_eq!(log.take(), [""; 0]);
    assert!(harness.with(|_| ()).is_none(), "not established yet");
    harness.peer().establish();
    harness.settle();
    assert_eq!(log.take(), ["it open"]);
    let counters = harness.core().outgoing_counters();
    assert_eq!((counters.opened, counters.connect_errors), (1, 0));
    assert_eq!(harness.core().armed_timers(), 0, "its time limit is gone");
}

#[test]
fn what_comes_with_the_establishment_is_read() {
    let log = Log::default();
    let mut harness = connecting(&log);
    harness.peer().send(b"220 hello");
    harness.peer().finish();
    harness.peer().establish();
    harness.settle();
    assert_eq!(log.take(), ["it open", "it data 220 hello", "it eof", "it close: closed by the peer"]);
}

#[test]
fn a_refusal_reaches_on_close_with_the_systems_error() {
    let log = Log::default();
    let mut harness = connecting(&log);
    harness.peer().refuse(io::ErrorKind::ConnectionRefused);
    harness.settle();
    let reason = harness.close_reason().unwrap();
    let CloseReason::Connect(error) = reason else { panic!("{reason:?}") };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(reason.blame(), Some(Blame::System));
    assert_eq!(log.take(), ["it close: could not connect: connection refused"], "and no on_open");
    let counters = harness.core().outgoing_counters();
    assert_eq!((counters.opened, counters.closed, counters.connect_errors), (0, 0, 1));
}

#[test]
fn a_refusal_on_the_spot_is_told_the_same_way() {
    let log = Log::default();
    let mut world = World::new();
    world.network.refuse_connect(io::ErrorKind::NetworkUnreachable);
    let id = world.event_loop.core().connect(address(1), Spy::new("it", &log));
    assert!(world.event_loop.core().is_open(id), "effects come later");
    world.settle();
    assert_eq!(log.take(), ["it close: could not connect: network unreachable"]);
    assert!(!world.event_loop.core().is_open(id));
    world.assert_nothing_left();
}

#[test]
fn what_is_asked_of_the_loop_itself_is_done_at_once() {
    let log = Log::default();
    let mut world = World::new();
    world.network.refuse_connect(io::ErrorKind::NetworkUnreachable);
    let refused = world.event_loop.connect(address(1), Spy::new("refused", &log));
    assert_eq!(log.take(), ["refused close: could not connect: network unreachable"]);
    assert!(!world.event_loop.core().is_open(refused));
    let begun = world.event_loop.connect(address(2), Spy::new("begun", &log));
    let peer = world.network.next_outgoing().expect("no turn is needed");
    let later = world.event_loop.connect_after(Duration::from_secs(5), address(3), Spy::new("later", &log));
    assert_eq!(world.event_loop.next_deadline(), Some(world.network.now() + Duration::from_secs(5)));
    peer.establish();
    world.turn();
    // What a closure asks of the loop, too.
    world.event_loop.with(begun, |cx| {
        cx.close();
        (**cx).abort(later);
    });
    let ends = ["begun open", "begun close: closed by this side", "later close: aborted by this side, 0 bytes unsent"];
    assert_eq!(log.take(), ends);
    peer.finish();
    world.settle();
    world.assert_nothing_left();
}

#[test]
fn it_is_given_up_after_the_time_limit() {
    let mut harness = Harness::connecting(
        Spy::new("it", &Log::default()),
        Limits { connect_timeout: Duration::from_secs(3), ..Limits::default() },
    );
    harness.advance(millis(2999));
    assert!(harness.is_open());
    harness.advance(millis(1));
    let reason = harness.close_reason().unwrap();
    assert_eq!(reason.to_string(), "could not connect within 3s");
    assert!(harness.peer().is_closed());
    harness.peer().establish(); // too late
    harness.settle();
    assert_eq!(harness.core().open_connections(), 0);
    assert_eq!(harness.core().armed_timers(), 0);
}

#[test]
fn one_that_is_not_wanted_any_more_is_called_off() {
    let log = Log::default();
    let mut harness = connecting(&log);
    let id = harness.id();
    harness.core().close(id);
    harness.settle();
    assert_eq!(log.take(), ["it close: aborted by this side, 0 bytes unsent"]);
    assert!(harness.peer().is_closed());
}

#[test]
fn an_id_can_be_closed_before_connecting_has_even_begun() {
    let log = Log::default();
    let mut world = World::new();
    let id = world.event_loop.connect(address(1), Spy::new("it", &log));
    world.event_loop.core().close(id);
    world.settle();
    assert_eq!(log.take(), ["it close: aborted by this side, 0 bytes unsent"]);
    assert!(world.network.next_outgoing().is_none_or(|peer| peer.is_closed()));
}

#[test]
fn on_close_can_connect_again() {
    let log = Log::default();
    let mut world = World::new();
    let next = log.clone();
    let first = Spy::new("first", &log).on_close(move |cx, reason| {
        assert!(matches!(reason, CloseReason::Connect(_)));
        let id = cx.connect(address(2), Spy::new("second", &next));
        assert!(cx.is_open(id));
    });
    world.event_loop.connect(address(1), first);
    world.settle();
    world.network.next_outgoing().unwrap().refuse(io::ErrorKind::ConnectionRefused);
    world.settle();
    let second = world.network.next_outgoing().expect("it tries again");
    assert_eq!(second.address(), address(2));
    second.establish();
    world.settle();
    assert_eq!(log.take(), ["first close: could not connect: connection refused", "second open"]);
}

#[test]
fn beyond_the_connection_limit_none_is_begun() {
    let log = Log::default();
    let mut world = World::with_limits(Limits { connections: 2, ..Limits::default() });
    for name in ["first", "second", "third"] {
        world.event_loop.connect(address(1), Spy::new(name, &log));
    }
    world.settle();
    assert_eq!(log.take(), ["third close: a limit was hit: connections: the loop holds its 2 already"]);
    assert_eq!(world.event_loop.core().open_connections(), 2);
}

#[test]
fn the_one_that_took_a_gone_ones_slot_is_not_mistaken_for_it() {
    let log = Log::default();
    let mut world = World::new();
    let old = world.event_loop.connect(address(1), Spy::new("old", &log));
    world.settle();
    world.network.next_outgoing().unwrap().refuse(io::ErrorKind::ConnectionRefused);
    world.settle();
    let new = world.event_loop.connect(address(1), Spy::new("new", &log));
    world.settle();
    world.network.next_outgoing().unwrap().establish();
    world.settle();
    let index = |id: switchboard::ConnectionId| id.to_string().split('.').next().unwrap().to_owned();
    assert_eq!(index(old), index(new), "or this test shows nothing");
    log.take();
    let core = world.event_loop.core();
    assert!(!core.is_open(old) && core.is_open(new));
    assert!(core.post(old, switchboard::Message::user(())).is_err());
    core.close(old);
    core.abort(old);
    assert!(world.event_loop.with(old, |_| ()).is_none());
    assert!(world.event_loop.protocol::<Spy>(old).is_none());
    world.settle();
    assert_eq!(log.take(), [""; 0]);
    assert!(world.event_loop.core().is_open(new));
}

#[test]
fn news_that_decide_nothing_leave_it_connecting() {
    let log = Log::default();
    let mut harness = connecting(&log);
    harness.peer().send(b"early");
    harness.settle();
    assert!(harness.is_open() && harness.with(|_| ()).is_none(), "neither established nor refused");
    assert_eq!(log.take(), [""; 0]);
    harness.peer().establish();
    harness.settle();
    assert_eq!(log.take(), ["it open", "it data early"]);
}

#[test]
fn who_aborts_in_on_open_is_not_read() {
    let log = Log::default();
    let spy = Spy::new("it", &log).on_open(|cx| {
        cx.abort();
        Ok(())
    });
    let mut harness = Harness::connecting(spy, Limits::default());
    harness.peer().send(b"hello");
    harness.peer().establish();
    harness.settle();
    assert_eq!(log.take(), ["it open", "it close: aborted by this side, 0 bytes unsent"]);
    assert!(harness.peer().saw_reset());
    let counters = harness.core().outgoing_counters();
    assert_eq!((counters.opened, counters.closed, counters.connect_errors), (1, 1, 0));
    assert_eq!(harness.core().open_connections(), 0);
}
