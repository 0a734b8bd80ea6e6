//! A name with several addresses: which are tried when, and which becomes the connection (RFC 8305).

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use switchboard::driver::Ready;
use switchboard::testkit::Peer;
use switchboard::{CloseReason, ConnectOptions, ConnectionId};

use crate::common::Sequence;
use crate::spy::{Log, Spy};
use crate::world::{World, millis};

/// An address of IPv4 below 6, and one of IPv6 from there on.
fn ip(number: u8) -> IpAddr {
    if number < 6 {
        [192, 0, 2, number].into()
    } else {
        Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(number)).into()
    }
}

fn at(number: u8) -> SocketAddr {
    (ip(number), 80).into()
}

/// A connection to a name with these addresses, in the resolver's order.
fn dial(world: &mut World, log: &Log, numbers: &[u8]) -> ConnectionId {
    dial_by(world, Spy::new("it", log), numbers)
}

fn dial_by(world: &mut World, spy: Spy, numbers: &[u8]) -> ConnectionId {
    let id = world.event_loop.connect(("it", 80), spy);
    world.settle();
    world.network.next_lookup().unwrap().answer(numbers.iter().map(|&number| ip(number)));
    world.settle();
    id
}

/// The one attempt that has been begun since this was last asked.
fn begun(world: &World, number: u8) -> Peer {
    let peer = world.network.next_outgoing().unwrap_or_else(|| panic!("{} is tried", ip(number)));
    assert_eq!(peer.address(), at(number));
    assert!(world.network.next_outgoing().is_none(), "and no other");
    peer
}

#[test]
fn the_next_is_tried_a_quarter_of_a_second_later_while_those_before_go_on() {
    let (log, mut world) = (Log::default(), World::new());
    let id = dial(&mut world, &log, &[6, 7, 8, 1, 2]);
    let mut peers = vec![begun(&world, 6)];
    for number in [1, 7, 2, 8] {
        world.advance(millis(249));
        assert!(world.network.next_outgoing().is_none());
        world.advance(millis(1));
        peers.push(begun(&world, number));
    }
    assert!(peers.iter().all(|peer| peer.id() == Some(id.into()) && !peer.is_closed()));
    let core = world.event_loop.core();
    assert_eq!((core.open_connections(), core.armed_timers()), (1, 1), "it is one connection");
    assert_eq!(log.take(), [""; 0]);
    peers[2].establish();
    world.settle();
    assert_eq!(log.take(), ["it open"]);
    for (place, peer) in peers.iter().enumerate() {
        assert_eq!(peer.is_closed(), place != 2, "{place}");
    }
    let core = world.event_loop.core();
    assert_eq!((core.open_connections(), core.armed_timers(), core.counters().opened), (1, 0, 1));
    assert_eq!(world.event_loop.with(id, |cx| cx.peer_addr()), Some(Some(at(7))));
    peers[2].send(b"hello");
    peers[2].finish();
    world.settle();
    assert_eq!(log.take(), ["it data hello", "it eof", "it close: closed by the peer"]);
    world.assert_nothing_left();
}

#[test]
fn where_ipv6_hangs_ipv4_takes_its_place() {
    let (log, mut world) = (Log::default(), World::new());
    dial(&mut world, &log, &[6, 1]);
    let hangs = begun(&world, 6);
    world.advance(millis(250));
    let stands = begun(&world, 1);
    stands.establish();
    world.settle();
    assert_eq!(log.take(), ["it open"]);
    assert!(hangs.is_closed() && !stands.is_closed());
    hangs.establish(); // too late
    world.advance(Duration::from_secs(60));
    assert_eq!(log.take(), [""; 0]);
}

#[test]
fn the_next_is_tried_at_once_when_one_fails() {
    let (log, mut world) = (Log::default(), World::new());
    dial(&mut world, &log, &[6, 1, 7]);
    let first = begun(&world, 6);
    world.advance(millis(100));
    first.refuse(io::ErrorKind::ConnectionRefused);
    world.settle();
    assert!(first.is_closed());
    let second = begun(&world, 1);
    world.advance(millis(249));
    assert!(world.network.next_outgoing().is_none(), "it has its time from then on");
    world.advance(millis(1));
    let third = begun(&world, 7);
    third.refuse(io::ErrorKind::ConnectionRefused);
    world.settle();
    assert_eq!(log.take(), [""; 0], "the second is still under way");
    second.establish();
    world.settle();
    assert_eq!(log.take(), ["it open"]);
}

#[test]
fn an_address_that_cant_be_reached_at_all_costs_no_time() {
    let (log, mut world) = (Log::default(), World::new());
    world.network.refuse_connect(io::ErrorKind::NetworkUnreachable);
    dial(&mut world, &log, &[6, 1]);
    begun(&world, 1).establish();
    world.settle();
    assert_eq!(log.take(), ["it open"]);
    assert_eq!(world.event_loop.now(), switchboard::Time::ZERO);
}

#[test]
fn when_all_have_failed_all_are_named() {
    let (log, mut world) = (Log::default(), World::new());
    let spy = Spy::new("it", &log).on_close(|_, reason| {
        let CloseReason::Connect(error) = reason else { panic!("{reason:?}") };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "what says most");
    });
    dial_by(&mut world, spy, &[6, 1]);
    begun(&world, 6).refuse(io::ErrorKind::ConnectionRefused);
    world.settle();
    begun(&world, 1).refuse(io::ErrorKind::NetworkUnreachable);
    world.settle();
    let expected = "it close: could not connect: it:80: [2001:db8::6]:80: connection refused; \
                    192.0.2.1:80: network unreachable";
    assert_eq!(log.take(), [expected]);
    assert_eq!(world.event_loop.counters().connect_errors, 1);
    world.assert_nothing_left();
}

#[test]
fn of_two_that_stand_at_the_same_moment_one_is_closed() {
    let (log, mut world) = (Log::default(), World::new());
    dial(&mut world, &log, &[6, 1]);
    let first = begun(&world, 6);
    world.advance(millis(250));
    let second = begun(&world, 1);
    for peer in [&second, &first] {
        peer.establish();
        peer.send(b"hello");
    }
    world.settle();
    assert_eq!(log.take(), ["it open", "it data hello"]);
    assert!(!first.is_closed() && second.is_closed());
}

#[test]
fn what_comes_with_the_winner_is_not_lost_among_the_losers() {
    // Each has its own event in the same batch, whichever is first.
    for loser_first in [false, true] {
        let (log, mut world) = (Log::default(), World::new());
        dial(&mut world, &log, &[6, 1]);
        let loser = begun(&world, 6);
        world.advance(millis(250));
        let winner = begun(&world, 1);
        let mut events: Vec<Ready> = Vec::new();
        let mut cause = |world: &World, loser_next: bool| {
            if loser_next {
                loser.refuse(io::ErrorKind::ConnectionRefused);
            } else {
                winner.send(b"hello");
                winner.finish();
                winner.establish();
            }
            events.extend(world.network.take_events());
        };
        cause(&world, loser_first);
        cause(&world, !loser_first);
        events.into_iter().for_each(|event| world.network.raise(event));
        world.settle();
        assert_eq!(log.take(), ["it open", "it data hello", "it eof", "it close: closed by the peer"]);
        world.assert_nothing_left();
    }
}

#[test]
fn what_comes_with_the_winner_and_its_end_may_be_one_event() {
    let (log, mut world) = (Log::default(), World::new());
    dial(&mut world, &log, &[1]);
    let peer = begun(&world, 1);
    peer.establish();
    peer.send(b"hello");
    peer.finish();
    world.settle();
    assert_eq!(log.take(), ["it open", "it data hello", "it eof", "it close: closed by the peer"]);
}

#[test]
fn the_time_limit_does_not_wait_for_the_next_attempt() {
    let (log, mut world) = (Log::default(), World::new());
    let mut options = ConnectOptions::default();
    options.timeout = Some(millis(300));
    world.event_loop.connect_with(("it", 80), &options, Spy::new("it", &log));
    world.settle();
    world.network.next_lookup().unwrap().answer([6, 1, 7].map(ip));
    world.settle();
    world.advance(millis(299));
    assert_eq!(log.take(), [""; 0]);
    world.advance(millis(1));
    assert_eq!(log.take(), ["it close: could not connect within 300ms"]);
    world.advance(millis(1000));
    assert_eq!(std::iter::from_fn(|| world.network.next_outgoing()).count(), 2);
    world.assert_nothing_left();
}

#[test]
fn all_attempts_end_when_it_is_closed_or_the_loop_drains() {
    type End = fn(&mut switchboard::Core, ConnectionId);
    let ends: [(End, &str); 3] = [
        (|core, id| core.close(id), "aborted by this side, 0 bytes unsent"),
        (|core, id| core.abort(id), "aborted by this side, 0 bytes unsent"),
        (|core, _| core.shutdown(Duration::from_secs(1)), "cut off at the end of the drain, 0 bytes unsent"),
    ];
    for (end, expected) in ends {
        let (log, mut world) = (Log::default(), World::new());
        let id = dial(&mut world, &log, &[6, 1, 7]);
        let first = begun(&world, 6);
        world.advance(millis(250));
        let second = begun(&world, 1);
        end(world.event_loop.core(), id);
        world.settle();
        assert_eq!(log.take(), [format!("it close: {expected}")]);
        assert!(first.is_closed() && second.is_closed());
        first.establish();
        world.advance(Duration::from_secs(1));
        assert!(world.network.next_outgoing().is_none());
        world.assert_nothing_left();
    }
}

#[test]
fn all_attempts_end_with_the_time_limit_and_none_is_begun_after_it() {
    let (log, mut world) = (Log::default(), World::new());
    dial(&mut world, &log, &[6, 1]);
    let first = begun(&world, 6);
    world.advance(millis(250));
    let second = begun(&world, 1);
    world.advance(millis(9_749));
    assert_eq!(log.take(), [""; 0]);
    world.advance(millis(1));
    assert_eq!(log.take(), ["it close: could not connect within 10s"]);
    assert!(first.is_closed() && second.is_closed());
    world.assert_nothing_left();
}

#[test]
fn a_name_with_any_number_of_addresses_has_sixteen_tried() {
    let (log, mut world) = (Log::default(), World::new());
    dial(&mut world, &log, &(6..=255).collect::<Vec<u8>>());
    let mut tried = 0;
    while let Some(peer) = world.network.next_outgoing() {
        tried += 1;
        peer.refuse(io::ErrorKind::ConnectionRefused);
        world.settle();
    }
    assert_eq!((tried, log.take().len()), (16, 1));
    world.assert_nothing_left();
}

#[test]
fn news_of_nothing_changes_nothing() {
    let (log, mut world) = (Log::default(), World::new());
    let id = world.event_loop.connect(("it", 80), Spy::new("it", &log));
    world.settle();
    let key = switchboard::EndpointId::from(id).key();
    let all = Ready { key, readable: true, writable: true, read_closed: true, error: true };
    world.network.raise(all);
    world.settle();
    world.network.next_lookup().unwrap().answer([ip(6), ip(1)]);
    world.settle();
    world.network.raise(all);
    world.settle();
    assert_eq!(log.take(), [""; 0]);
    begun(&world, 6).establish();
    world.settle();
    assert_eq!(log.take(), ["it open"]);
}

/// Lookups, attempts, news of them, time and ends, in any order: each connection opens once at most and closes once, its
/// attempts never outlive it, and nothing is left.
#[test]
fn whatever_happens_in_whatever_order_there_is_one_connection_or_none() {
    let (mut opened, mut failed) = (0, 0);
    for seed in 0..3000 {
        let (mut sequence, log, mut world) = (Sequence::new(seed), Log::default(), World::new());
        let id = world.event_loop.connect(("it", 80), Spy::new("it", &log));
        let (mut lookups, mut peers): (Vec<_>, Vec<Peer>) = Default::default();
        let mut notes: Vec<String> = Vec::new();
        for _ in 0..40 {
            lookups.extend(world.network.next_lookup());
            peers.extend(std::iter::from_fn(|| world.network.next_outgoing()));
            let pick = sequence.below(peers.len().max(1));
            match (sequence.below(16), peers.get(pick)) {
                (0..3, _) => {
                    if let Some(lookup) = lookups.pop() {
                        let count = sequence.below(6);
                        lookup.answer((0..count).map(|_| ip(u8::try_from(sequence.below(12)).unwrap())));
                    }
                }
                (3, _) if sequence.below(8) == 0 => {
                    lookups.pop().map(|lookup| lookup.fail(io::ErrorKind::NotFound)).unwrap_or_default();
                }
                (4, _) => world.network.refuse_connect(io::ErrorKind::NetworkUnreachable),
                (5..7, Some(peer)) => peer.establish(),
                (7..10, Some(peer)) => peer.refuse(io::ErrorKind::ConnectionRefused),
                (10, Some(peer)) => peer.send(b"hello"),
                (11, Some(peer)) => peer.finish(),
                (12, _) => world.advance(millis(300 * sequence.below(20) as u64)),
                (13, _) if sequence.below(8) == 0 => world.event_loop.core().close(id),
                (14, _) if sequence.below(16) == 0 => world.event_loop.core().shutdown(Duration::ZERO),
                _ => world.turn(),
            }
            notes.extend(log.take());
        }
        world.settle();
        peers.extend(std::iter::from_fn(|| world.network.next_outgoing()));
        notes.extend(log.take());
        if notes.iter().any(|note| note == "it open") && !notes.iter().any(|note| note.starts_with("it close")) {
            let open = peers.iter().filter(|peer| !peer.is_closed()).count();
            assert_eq!(open, 1, "seed {seed}: {notes:?}");
        }
        world.event_loop.core().abort(id);
        world.advance(Duration::from_secs(60));
        notes.extend(log.take());
        let count = |what: &str| notes.iter().filter(|note| note.starts_with(what)).count();
        assert!(count("it open") <= 1 && count("it close") == 1, "seed {seed}: {notes:?}");
        peers.extend(std::iter::from_fn(|| world.network.next_outgoing()));
        assert!(peers.iter().all(Peer::is_closed), "seed {seed}: {notes:?}");
        world.assert_nothing_left();
        opened += count("it open");
        failed += count("it close: could not connect");
    }
    assert!(opened > 300 && failed > 300, "{opened} {failed}");
}
