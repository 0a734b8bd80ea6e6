//! Connecting by name: what is looked up when, and what becomes of who waits for it.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use switchboard::testkit::Lookup;
use switchboard::{Backoff, Bytes, CloseReason, ConnectOptions, Core, Limits, Reconnect, Target};

use crate::spy::{Log, Spy};
use crate::world::{World, millis};

const SECOND: Duration = Duration::from_secs(1);
const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// A connection to "somewhere", whose name the script has seen.
fn looking_up(world: &mut World, log: &Log) -> (switchboard::ConnectionId, Lookup) {
    let id = world.event_loop.connect(("somewhere", 80), Spy::new("it", log));
    world.settle();
    (id, world.network.next_lookup().expect("it is looked up"))
}

#[test]
fn a_name_is_looked_up_and_then_connected_to() {
    let (log, mut world) = (Log::default(), World::new());
    let (id, lookup) = looking_up(&mut world, &log);
    assert_eq!(lookup.host(), "somewhere");
    world.event_loop.core().post(id, Bytes::from_static(b"wait")).unwrap();
    world.settle();
    assert!(world.network.next_outgoing().is_none() && world.network.next_lookup().is_none());
    let core = world.event_loop.core();
    assert_eq!((core.open_connections(), core.armed_timers(), core.waiting_messages()), (1, 1, 1));
    assert!(core.is_open(id));
    assert!(world.event_loop.protocol::<Spy>(id).is_some() && world.event_loop.local_addr(id).is_none());
    assert!(world.event_loop.with(id, |_| ()).is_none(), "not established yet");
    lookup.answer([HERE]);
    world.settle();
    let peer = world.network.next_outgoing().expect("it connects now");
    assert_eq!(peer.address(), (HERE, 80).into());
    assert_eq!((log.take(), peer.id()), (vec![], Some(id.into())));
    peer.establish();
    peer.send(b"hello");
    world.settle();
    assert_eq!(log.take(), ["it open", "it data hello", "it message wait"]);
    let core = world.event_loop.core();
    assert_eq!((core.open_connections(), core.armed_timers()), (1, 0));
    assert_eq!(core.outgoing_counters().opened, 1);
    core.close(id);
    world.settle();
    peer.finish();
    world.settle();
    assert_eq!(log.take(), ["it close: closed by this side"]);
    world.assert_nothing_left();
}

#[test]
fn an_address_is_not_looked_up() {
    let mut world = World::new();
    let literal = Target::Name { host: "192.0.2.1".to_owned(), port: 80 };
    for target in [literal, ("192.0.2.1", 80).into(), ("[2001:db8::1]", 80).into()] {
        world.event_loop.connect(target, Spy::new("it", &Log::default()));
        world.settle();
        assert!(world.network.next_lookup().is_none());
        assert_eq!(world.network.next_outgoing().expect("it connects at once").address().port(), 80);
    }
}

#[test]
fn a_name_that_nobody_has_is_named() {
    let (log, mut world) = (Log::default(), World::new());
    world.event_loop.core().connect(
        ("nowhere", 80),
        Spy::new("it", &log).on_close(|_, reason| {
            let CloseReason::Connect(error) = reason else { panic!("{reason:?}") };
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }),
    );
    world.settle();
    world.network.next_lookup().unwrap().fail(io::ErrorKind::NotFound);
    world.settle();
    assert_eq!(log.take(), ["it close: could not connect: nowhere:80: entity not found"]);
    assert_eq!(world.event_loop.counters().connect_errors, 1);
    world.assert_nothing_left();
}

#[test]
fn a_name_without_addresses_is_named() {
    let (log, mut world) = (Log::default(), World::new());
    let (_, lookup) = looking_up(&mut world, &log);
    lookup.answer([]);
    world.settle();
    let expected = "it close: could not connect: somewhere:80: it has no address that could be tried";
    assert_eq!(log.take(), [expected]);
    world.assert_nothing_left();
}

#[test]
fn only_addresses_of_the_sources_family_are_tried() {
    let (log, mut world) = (Log::default(), World::new());
    let mut options = ConnectOptions::default();
    options.source = Some(([192, 0, 2, 99], 0).into());
    for answer in [vec!["2001:db8::1".parse().unwrap(), HERE], vec!["2001:db8::1".parse().unwrap()]] {
        world.event_loop.connect_with(("somewhere", 80), &options, Spy::new("it", &log));
        world.settle();
        world.network.next_lookup().unwrap().answer(answer);
        world.settle();
    }
    assert_eq!(world.network.next_outgoing().unwrap().address(), (HERE, 80).into());
    assert!(world.network.next_outgoing().is_none());
    let expected = "it close: could not connect: somewhere:80: it has no address that could be tried";
    assert_eq!(log.take(), [expected]);
}

#[test]
fn the_time_limit_is_for_the_lookup_too() {
    let (log, mut world) = (Log::default(), World::new());
    let (_, lookup) = looking_up(&mut world, &log);
    world.advance(millis(9_999));
    assert_eq!(log.take(), [""; 0]);
    world.advance(millis(1));
    assert_eq!(log.take(), ["it close: could not connect within 10s"]);
    world.assert_nothing_left();
    lookup.answer([HERE]); // too late
    world.settle();
    assert!(world.network.next_outgoing().is_none());
}

#[test]
fn the_time_limit_is_for_all_of_it_together() {
    let (log, mut world) = (Log::default(), World::new());
    let (_, lookup) = looking_up(&mut world, &log);
    world.advance(6 * SECOND);
    lookup.answer([HERE]);
    world.advance(millis(3_999));
    let peer = world.network.next_outgoing().unwrap();
    assert!(log.take().is_empty() && !peer.is_closed());
    world.advance(millis(1));
    assert_eq!(log.take(), ["it close: could not connect within 10s"]);
    assert!(peer.is_closed());
    world.assert_nothing_left();
}

#[test]
fn an_attempt_may_have_a_time_limit_of_its_own() {
    for target in [("somewhere", 80), ("192.0.2.1", 80)] {
        let (log, mut world) = (Log::default(), World::new());
        let mut options = ConnectOptions::default();
        options.timeout = Some(2 * SECOND);
        world.event_loop.connect_with(target, &options, Spy::new("it", &log));
        world.settle();
        if let Some(lookup) = world.network.next_lookup() {
            lookup.answer([HERE]);
        }
        world.advance(millis(1_999));
        assert_eq!(log.take(), [""; 0]);
        world.advance(millis(1));
        assert_eq!(log.take(), ["it close: could not connect within 2s"]);
        assert!(world.network.next_outgoing().unwrap().is_closed());
        world.assert_nothing_left();
    }
}

#[test]
fn a_lookup_can_be_called_off() {
    for abort in [false, true] {
        let (log, mut world) = (Log::default(), World::new());
        let (id, lookup) = looking_up(&mut world, &log);
        world.event_loop.core().post(id, Bytes::new()).unwrap();
        let core = world.event_loop.core();
        if abort {
            core.abort(id);
        } else {
            core.close(id);
        }
        world.settle();
        assert_eq!(log.take(), ["it close: aborted by this side, 0 bytes unsent"]);
        let counters = world.event_loop.counters();
        assert_eq!((counters.connect_errors, counters.messages_undelivered), (1, 1));
        world.assert_nothing_left();
        lookup.answer([HERE]);
        world.settle();
        assert!(world.network.next_outgoing().is_none());
    }
}

#[test]
fn what_was_called_off_is_not_looked_up_any_more() {
    let (log, mut world) = (Log::default(), World::new());
    let id = world.event_loop.connect(("somewhere", 80), Spy::new("it", &log));
    world.settle();
    world.event_loop.core().close(id);
    world.settle();
    assert!(world.network.next_lookup().is_none());
}

#[test]
fn the_drain_calls_a_lookup_off() {
    type End = fn(&mut Core);
    let ends: [End; 2] = [|core| core.shutdown(SECOND), |core| core.handle().stop().unwrap()];
    for (end, expected) in ends.into_iter().zip([0, 1]) {
        let (log, mut world) = (Log::default(), World::new());
        let (_, lookup) = looking_up(&mut world, &log);
        end(world.event_loop.core());
        world.settle();
        assert_eq!(log.take(), ["it close: cut off at the end of the drain, 0 bytes unsent"]);
        assert_eq!(world.event_loop.tally().expect("nobody is left").cut_off, expected);
        lookup.answer([HERE]);
        world.settle();
    }
}

#[test]
fn who_is_looked_up_has_a_connections_place() {
    let (log, mut world) = (Log::default(), World::with_limits(Limits { connections: 1, ..Limits::default() }));
    let (_, lookup) = looking_up(&mut world, &log);
    world.event_loop.connect(("elsewhere", 80), Spy::new("second", &log));
    world.settle();
    assert_eq!(log.take(), ["second close: a limit was hit: connections: the loop holds its 1 already"]);
    assert!(world.network.next_lookup().is_none());
    lookup.fail(io::ErrorKind::NotFound);
    world.settle();
    world.event_loop.connect(("elsewhere", 80), Spy::new("third", &log));
    world.settle();
    assert!(world.network.next_lookup().is_some(), "there is room again");
}

#[test]
fn who_waits_at_a_full_loop_is_let_in_when_a_lookup_fails() {
    let (log, mut world) = (Log::default(), World::with_limits(Limits { connections: 1, ..Limits::default() }));
    let seen = log.clone();
    world.listen(move || Spy::new("peer", &seen));
    let (_, lookup) = looking_up(&mut world, &log);
    let _peer = world.peer();
    assert_eq!(log.take(), [""; 0]);
    lookup.fail(io::ErrorKind::NotFound);
    world.settle();
    assert_eq!(log.take(), ["it close: could not connect: somewhere:80: entity not found", "peer open"]);
}

#[test]
fn answers_find_their_questions() {
    let (log, mut world) = (Log::default(), World::new());
    let (first, one) = looking_up(&mut world, &log);
    let (second, two) = looking_up(&mut world, &log);
    two.answer(["192.0.2.2".parse().unwrap()]);
    one.answer(["192.0.2.1".parse().unwrap()]);
    world.settle();
    for _ in 0..2 {
        let peer = world.network.next_outgoing().unwrap();
        let expected = if peer.id() == Some(first.into()) { "192.0.2.1:80" } else { "192.0.2.2:80" };
        assert_eq!(peer.address().to_string(), expected);
        assert!([Some(first.into()), Some(second.into())].contains(&peer.id()));
    }
}

#[test]
fn who_connects_again_looks_up_again() {
    let (log, mut world) = (Log::default(), World::new());
    let seen = log.clone();
    Reconnect::new(("somewhere", 80), move |_| Spy::new("it", &seen))
        .backoff(Backoff { first: SECOND, ..Backoff::default() })
        .start(world.event_loop.core());
    for attempt in 1..=3 {
        let lookup = (0..100).find_map(|_| {
            world.advance(millis(100));
            world.network.next_lookup()
        });
        let lookup = lookup.expect("a lookup for each attempt");
        lookup.answer([IpAddr::from([192, 0, 2, attempt])]);
        world.settle();
        let peer = world.network.next_outgoing().unwrap();
        assert_eq!(peer.address(), ([192, 0, 2, attempt], 80).into(), "and where it has moved to");
        peer.refuse(io::ErrorKind::ConnectionRefused);
        world.settle();
        assert!(log.take()[0].starts_with("it close: could not connect: somewhere:80: 192.0.2."));
    }
}

#[test]
fn a_delayed_connect_looks_up_when_its_time_has_come() {
    let mut world = World::new();
    world.event_loop.connect_after(SECOND, ("somewhere", 80), Spy::new("it", &Log::default()));
    world.advance(millis(999));
    assert!(world.network.next_lookup().is_none());
    world.advance(millis(1));
    assert!(world.network.next_lookup().is_some());
}
