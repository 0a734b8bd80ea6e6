//! Networks and peers that fail.

use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::Conditions;
use switchboard_reliable::{Reliable, Settings};

use super::{Ending, Note, World};

const SECOND: Duration = Duration::from_secs(1);

fn world() -> World {
    let mut world = World::new(1, &Rc::default(), Conditions::default());
    world.post(b"hello");
    world.run(SECOND);
    assert_eq!(world.far.0.borrow().messages, [b"hello"]);
    world
}

fn ending(clean: bool, by_peer: bool, unsent: usize, cause: &str) -> Vec<Ending> {
    vec![Ending { clean, by_peer, unsent, cause: cause.to_owned() }]
}

#[test]
fn a_session_opens_carries_and_closes_in_order() {
    let mut world = world();
    world.post_far(b"to you");
    world.post(b"close");
    world.run(SECOND);
    assert_eq!(world.near.0.borrow().messages, [b"to you"]);
    assert_eq!(world.near.0.borrow().endings, ending(true, false, 0, "closed by this side"));
    assert_eq!(world.far.0.borrow().endings, ending(true, true, 0, "closed by this side"));
    assert!(world.sim.run_to_rest(SECOND), "nothing is left");
}

#[test]
fn a_partition_heals() {
    let mut world = world();
    world.sim.partition(world.client, world.server);
    world.post(b"one");
    world.post_far(b"two");
    world.run(20 * SECOND);
    world.sim.heal(world.client, world.server);
    world.run(20 * SECOND);
    assert_eq!(world.far.0.borrow().messages, [&b"hello"[..], b"one"]);
    assert_eq!(world.near.0.borrow().messages, [b"two"]);
    assert!(world.near.0.borrow().endings.is_empty());
}

#[test]
fn a_peer_that_vanishes_is_given_up_within_the_bound() {
    let mut world = world();
    world.sim.partition(world.client, world.server);
    world.post(b"lost");
    world.run(29 * SECOND);
    assert!(world.near.0.borrow().endings.is_empty());
    world.run(2 * SECOND);
    let cause = "the system failed: timeout: the peer has acknowledged nothing for 30s";
    assert_eq!(world.near.0.borrow().endings, ending(false, false, 1, cause));
    // The other side had nothing to send, and asks for a sign of life all the same.
    world.run(20 * SECOND);
    assert_eq!(world.far.0.borrow().endings, ending(false, false, 0, cause));
}

#[test]
fn an_idle_session_lives_on() {
    let mut world = world();
    world.run(3_600 * SECOND);
    world.post_far(b"still there?");
    world.run(SECOND);
    assert_eq!(world.near.0.borrow().messages, [b"still there?"]);
    let datagrams = world.sim.event_loop(world.server).counters().datagrams_in;
    assert!(datagrams < 2 * 3_600 / 15 + 20, "{datagrams}");
}

#[test]
fn a_dead_network_after_the_close_ends_it_within_the_bound() {
    let mut world = world();
    world.sim.partition(world.client, world.server);
    world.post(b"lost");
    world.post(b"close");
    world.run(11 * SECOND);
    let cause = "the peer broke the protocol: close_timeout: the peer did not close within 10s";
    assert_eq!(world.near.0.borrow().endings, ending(false, false, 1, cause));
}

#[test]
fn nobody_is_there() {
    let conditions = Conditions { loss: 1.0, ..Conditions::default() };
    let mut world = World::new(1, &Rc::default(), conditions);
    world.post(b"dropped");
    world.run(11 * SECOND);
    let cause = "the system failed: open_timeout: nobody answered within 10s";
    assert_eq!(world.near.0.borrow().endings, ending(false, false, 0, cause));
    assert_eq!(world.near.0.borrow().opened, 0);
    assert_eq!(world.sim.event_loop(world.client).counters().messages_undelivered, 1);
}

#[test]
fn an_abort_reaches_the_peer() {
    let mut world = world();
    world.post(b"abort"); // the far handler does when it comes
    world.run(SECOND);
    assert_eq!(world.far.0.borrow().endings, ending(false, false, 0, "closed by this side"));
    let cause = "the peer broke the protocol: the peer has reset the session";
    assert_eq!(world.near.0.borrow().endings.len(), 1);
    assert_eq!(world.near.0.borrow().endings[0].cause, cause);
}

/// The server's session goes without a word; what the client sends then tells it.
#[test]
fn a_peer_that_forgot_says_so() {
    let mut world = world();
    let id = world.far.0.borrow().id.unwrap();
    world.sim.event_loop(world.server).core().abort(id);
    world.run(SECOND);
    let opened = world.far.0.borrow().opened;
    world.post(b"anybody?");
    world.run(SECOND);
    let cause = "the peer broke the protocol: the peer has reset the session";
    assert_eq!(world.near.0.borrow().endings, ending(false, false, 1, cause));
    assert_eq!(world.far.0.borrow().opened, opened, "what was left over has opened nothing");
    assert_eq!(world.sim.event_loop(world.server).core().open_sessions(), 0);
}

#[test]
fn a_stalled_process_is_waited_for() {
    let mut world = world();
    world.sim.stall(world.server, 20 * SECOND);
    for _ in 0..20 {
        world.post(b"tick");
        world.run(SECOND);
    }
    world.run(30 * SECOND);
    assert_eq!(world.far.0.borrow().messages.len(), 21);
    assert!(world.near.0.borrow().endings.is_empty());
}

#[test]
fn a_laptop_that_slept_goes_on() {
    let mut world = world();
    world.post(b"before");
    world.sim.partition(world.client, world.server);
    world.run(SECOND);
    world.sim.jump_clock(world.client, 7_200 * SECOND);
    world.sim.heal(world.client, world.server);
    world.run(10 * SECOND);
    assert_eq!(world.far.0.borrow().messages, [&b"hello"[..], b"before"]);
    assert!(world.near.0.borrow().endings.is_empty());
}

#[test]
fn a_drain_closes_in_order() {
    let mut world = world();
    world.post(b"last words");
    world.run(Duration::from_micros(1));
    world.sim.event_loop(world.client).core().shutdown(5 * SECOND);
    world.run(SECOND);
    assert_eq!(world.far.0.borrow().messages, [&b"hello"[..], b"last words"]);
    assert_eq!(world.near.0.borrow().endings, ending(true, false, 0, "closed by this side"));
    assert_eq!(world.far.0.borrow().endings, ending(true, true, 0, "closed by this side"));
}

#[test]
fn a_paused_reader_holds_a_window_and_then_gets_all() {
    let settings = Rc::new(Settings { receive_window: 12_000, ..Settings::default() });
    let mut world = World::new(3, &settings, Conditions { loss: 0.2, ..Conditions::default() });
    world.post(b"pause");
    for _ in 0..100 {
        world.post(&[7; 1_000]);
    }
    world.run(20 * SECOND);
    assert!(world.far.0.borrow().messages.is_empty());
    let held = world.sim.event_loop(world.server).core().held_bytes();
    assert!(held > 9_000 && held < 20_000, "{held}");
    world.post_far(b"resume");
    world.run(60 * SECOND);
    assert_eq!(world.far.0.borrow().messages.len(), 100);
}

#[test]
fn two_sessions_of_one_host_are_two() {
    let mut world = world();
    let second = Note::default();
    world.sim.event_loop(world.client).connect_udp(world.address, Reliable::client(second.clone()));
    world.run(SECOND);
    assert_eq!((world.far.0.borrow().opened, second.0.borrow().opened), (2, 1));
    assert_eq!(world.sim.event_loop(world.server).core().open_sessions(), 2);
    assert!(world.sim.event_loop(world.server).core().socket_counters(world.socket).opened == 2);
}
