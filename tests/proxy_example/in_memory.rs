//! The protocol alone: every byte, the memory at each step, and every way to end.

use std::cell::Cell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::{MemoryDriver, Network, Peer, Script, check_conformance, network};
use switchboard::{ConnectionId, Context, EventLoop, Failure, Inner, Layer, Layered, Limits, ListenerId};

use super::Stream;
use crate::relay::{Relay, Route, Seat};

const BUFFER: usize = 64 * 1024;
const LISTEN: &str = "10.0.0.1:80";
const TARGET: &str = "10.0.0.2:80";

fn route() -> Rc<Route> {
    Rc::new(Route { target: TARGET.parse().unwrap(), idle_timeout: Duration::from_secs(60), verbose: false })
}

/// A proxy, and what both ends of its connections see.
struct World {
    event_loop: EventLoop<MemoryDriver>,
    network: Network,
    listener: ListenerId,
    pairs: Rc<Cell<usize>>,
}

impl World {
    fn new() -> Self {
        let limits = Limits {
            read_budget: BUFFER / 4,
            low_water: BUFFER / 4,
            high_water: BUFFER,
            write_stall: Duration::from_secs(60),
            ..Limits::default()
        };
        let (driver, network) = network();
        let mut event_loop = EventLoop::with_driver(driver, limits).unwrap();
        let (pairs, route) = (Rc::new(Cell::new(0)), route());
        let seats = Rc::clone(&pairs);
        let listener = event_loop.listen(LISTEN, move |_| Some(Relay::accepted(&route, &seats))).unwrap();
        Self { event_loop, network, listener, pairs }
    }

    /// Runs until nothing is left to do now. Never more than the documented limit is held, for each direction.
    fn settle(&mut self) {
        while self.network.has_events() || self.event_loop.next_deadline().is_some_and(|at| at <= self.event_loop.now())
        {
            self.event_loop.turn(None).unwrap();
            let (held, most) = (self.event_loop.core().held_bytes(), 2 * BUFFER * self.pairs.get());
            assert!(held <= most, "{held} bytes held, {most} allowed");
        }
    }

    fn advance(&mut self, by: Duration) {
        self.network.advance(by);
        self.settle();
    }

    /// A client, and its connection to the target, which has not answered.
    fn client(&mut self) -> (Peer, Peer) {
        let client = self.network.connect(LISTEN.parse().unwrap()).expect("the proxy listens");
        self.settle();
        (client, self.network.next_outgoing().expect("the proxy connects to the target"))
    }

    fn joined(&mut self) -> (Peer, Peer) {
        let (client, target) = self.client();
        target.establish();
        self.settle();
        (client, target)
    }

    /// All connections are gone, and everything that they had.
    fn is_empty(&mut self) {
        let linger = self.event_loop.core().limits().linger;
        self.advance(linger);
        let core = self.event_loop.core();
        assert_eq!((core.open_connections(), core.held_bytes(), core.armed_timers()), (0, 0, 0));
        assert_eq!((core.waiting_messages(), self.pairs.get()), (0, 0));
    }
}

/// `source` sends 64 MiB as fast as it may, and `sink` takes 10,007 bytes whenever the proxy can do nothing more.
fn slow_reader(world: &mut World, source: &Peer, sink: &Peer) {
    const ALL: usize = 64 << 20;
    let (mut sent, mut received) = (Stream::new(1), Stream::new(1));
    sink.set_window(0);
    let (mut most, mut least) = (0, usize::MAX);
    while received.at < ALL {
        while sent.at < ALL && source.unread() < BUFFER {
            let left = ALL - sent.at;
            source.send(sent.next(left.min(50_000)));
            if sent.at == ALL {
                source.finish();
            }
            world.settle();
        }
        let held = world.event_loop.core().held_bytes();
        assert!(held <= BUFFER, "{held} bytes held");
        (most, least) = (most.max(held), least.min(held));
        assert!(!sink.saw_eof());
        sink.set_window(10_007);
        world.settle();
        received.expect(&sink.take_received());
    }
    assert_eq!(received.at, ALL);
    assert!(sink.saw_eof(), "the half-close passes, behind every byte");
    assert!(most > BUFFER / 2 && least < most, "backpressure was at work: {least} to {most} bytes");
}

#[test]
fn a_slow_target_gets_every_byte_and_the_half_close_and_memory_stays_at_its_limit() {
    let mut world = World::new();
    let (client, target) = world.joined();
    slow_reader(&mut world, &client, &target);
    target.send(b"the answer to all of it");
    target.finish();
    world.settle();
    assert_eq!(client.take_received(), b"the answer to all of it");
    assert!(client.is_closed() && target.is_closed() && !client.saw_reset() && !target.saw_reset());
    world.is_empty();
}

#[test]
fn a_slow_client_gets_every_byte_and_the_half_close_and_memory_stays_at_its_limit() {
    let mut world = World::new();
    let (client, target) = world.joined();
    slow_reader(&mut world, &target, &client);
    client.finish();
    world.settle();
    assert!(client.is_closed() && target.is_closed() && !client.saw_reset() && !target.saw_reset());
    world.is_empty();
}

#[test]
fn both_directions_at_once_with_slow_readers_hold_twice_that_and_no_more() {
    let mut world = World::new();
    let (client, target) = world.joined();
    let mut streams = [1, 2].map(|seed| (Stream::new(seed), Stream::new(seed)));
    let mut most = 0;
    for round in 0..2_000 {
        for ((sent, received), (from, to)) in streams.iter_mut().zip([(&client, &target), (&target, &client)]) {
            while from.unread() < BUFFER {
                from.send(sent.next(30_000));
            }
            to.set_window(1_000 + round);
            world.settle();
            received.expect(&to.take_received());
            most = most.max(world.event_loop.core().held_bytes());
        }
    }
    assert!(most > BUFFER && most <= 2 * BUFFER, "{most}");
    client.reset();
    world.settle();
    assert!(target.saw_reset());
    world.is_empty();
}

#[test]
fn what_a_client_says_before_the_target_has_accepted_waits_with_the_client() {
    let mut world = World::new();
    let (client, target) = world.client();
    client.send(&[7; 100_000]);
    client.finish();
    world.settle();
    assert_eq!((client.unread(), world.event_loop.core().held_bytes()), (100_000, 0));
    target.establish();
    world.settle();
    assert_eq!(target.take_received(), [7; 100_000]);
    assert!(target.saw_eof() && !target.is_closed());
}

#[test]
fn a_target_that_refuses_closes_the_client() {
    let mut world = World::new();
    let (client, target) = world.client();
    client.send(b"hello");
    target.refuse(ErrorKind::ConnectionRefused);
    world.settle();
    assert!(client.saw_eof());
    client.finish();
    world.is_empty();
    assert_eq!(world.event_loop.core().outgoing_counters().connect_errors, 1);
}

#[test]
fn a_target_that_does_not_answer_closes_the_client_after_the_timeout() {
    let mut world = World::new();
    let (client, _) = world.client();
    world.advance(Duration::from_secs(9));
    assert!(!client.saw_eof());
    world.advance(Duration::from_secs(1));
    assert!(client.saw_eof());
    world.is_empty();
}

#[test]
fn a_client_that_goes_gives_up_the_call_to_the_target() {
    let mut world = World::new();
    let (client, target) = world.client();
    client.reset();
    world.settle();
    assert!(target.is_closed());
    world.is_empty();
}

#[test]
fn a_place_is_taken_until_the_last_byte_has_gone() {
    let mut world = World::new();
    let (client, target) = world.joined();
    target.set_window(0);
    target.finish();
    client.send(&[1; 20_000]);
    client.finish();
    world.settle();
    assert!(client.is_closed() && !target.saw_eof());
    assert_eq!((world.event_loop.core().held_bytes(), world.pairs.get()), (20_000, 1));
    target.set_window(usize::MAX);
    world.settle();
    assert_eq!(target.take_received(), [1; 20_000]);
    world.is_empty();
}

#[test]
fn a_reset_on_either_side_resets_the_other() {
    for by_client in [true, false] {
        let mut world = World::new();
        let (client, target) = world.joined();
        let (breaks, other) = if by_client { (&client, &target) } else { (&target, &client) };
        breaks.send(b"last words");
        breaks.reset();
        world.settle();
        assert_eq!(other.take_received(), b"last words");
        assert!(other.saw_reset(), "by_client {by_client}");
        world.is_empty();
    }
}

#[test]
fn a_side_that_takes_nothing_for_too_long_is_cut_off_with_its_partner() {
    let mut world = World::new();
    let (client, target) = world.joined();
    target.set_window(0);
    client.send(&[1; 10 * BUFFER]);
    world.settle();
    world.advance(Duration::from_secs(60));
    assert!(client.saw_reset() && target.saw_reset());
    world.is_empty();
}

#[test]
fn a_connection_on_which_nothing_passes_is_closed_on_both_sides() {
    let mut world = World::new();
    let (client, target) = world.joined();
    for _ in 0..5 {
        world.advance(Duration::from_secs(40));
        target.send(b"one direction is enough");
        world.settle();
    }
    assert!(!client.is_closed());
    world.advance(Duration::from_secs(60));
    assert!(client.saw_eof() && target.saw_eof() && !client.saw_reset() && !target.saw_reset());
    world.is_empty();
}

#[test]
fn a_drain_lets_what_stands_go_on_and_cuts_off_at_its_deadline() {
    let mut world = World::new();
    let (ending, ending_target) = world.joined();
    let (staying, staying_target) = world.joined();
    world.event_loop.core().shutdown(Duration::from_secs(5));
    world.settle();
    assert!(!world.network.is_listening(LISTEN.parse().unwrap()));
    ending.send(b"still here");
    ending.finish();
    ending_target.finish();
    world.settle();
    assert_eq!(ending_target.take_received(), b"still here");
    assert!(ending.is_closed() && !ending.saw_reset() && !staying.is_closed());
    world.advance(Duration::from_secs(5));
    assert!(staying.is_closed() && staying_target.is_closed());
    let tally = world.event_loop.tally().expect("the loop has ended");
    assert_eq!((tally.drained, tally.cut_off), (2, 2));
    assert_eq!(world.event_loop.core().listener_counters(world.listener).opened, 2);
}

/// A side that is its own partner: it echoes, by all that makes a proxy.
struct Mirror;

fn mirrored(partner: Option<ConnectionId>) -> Relay {
    Relay::new(partner, &route(), &Seat::take(&Rc::default()))
}

impl Layer<Relay> for Mirror {
    fn on_open(&mut self, cx: &mut Context<'_>, inner: &mut Inner<Relay>) -> Result<(), Failure> {
        if let Some(relay) = inner.get_mut() {
            *relay = mirrored(Some(cx.id()));
        }
        inner.on_open(cx)
    }
}

#[test]
fn a_side_conforms() {
    let mirror = || Layered::new(Mirror, mirrored(None));
    let input = (0..=255).collect::<Vec<u8>>();
    let script = Script::new().send(&input[..100]).advance(Duration::from_secs(1)).send(&input[100..]);
    println!("{}", check_conformance(mirror, &script.expect_sent(&input).eof()));
}
