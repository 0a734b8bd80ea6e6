//! One loud connection starves nobody: a budget a turn, and a ready list for what remains.

use switchboard::Limits;
use switchboard::testkit::Peer;
use switchboard_echo::{TcpEcho, UdpEcho};

use crate::spy::{Log, Spy};
use crate::world::{World, address};

fn budget(read_budget: usize) -> Limits {
    Limits { read_budget, ..Limits::default() }
}

#[test]
fn one_turn_reads_no_more_than_the_budget_from_one_connection() {
    let mut world = World::with_limits(budget(1000));
    world.listen(|| Spy::new("it", &Log::default()));
    let peer = world.peer();
    peer.send(&[0; 10_000]);
    for turn in 1..=10 {
        world.turn();
        assert_eq!(peer.unread(), 10_000 - 1000 * turn, "turn {turn}");
    }
}

#[test]
fn one_turn_reads_once_from_one_connection_though_new_bytes_arrive_in_each() {
    let mut world = World::with_limits(budget(1000));
    world.listen(|| Spy::new("it", &Log::default()));
    let peer = world.peer();
    peer.send(&[0; 10_000]);
    world.turn();
    for turn in 2..=10 {
        peer.send(&[0; 10_000]); // an event, for one that is on the ready list
        world.turn();
        assert_eq!(peer.calls().0, turn, "reads");
    }
}

#[test]
fn what_remains_is_read_though_no_event_announces_it() {
    let mut world = World::with_limits(budget(1000));
    world.listen(|| TcpEcho);
    let peer = world.peer();
    peer.send(&[7; 100_000]);
    assert!(world.settle() <= 102, "turns");
    assert_eq!(peer.take_received(), [7; 100_000]);
    assert!(!world.is_busy(), "and then the loop sleeps");
}

#[test]
fn while_something_remains_the_next_deadline_is_now() {
    let mut world = World::with_limits(budget(1000));
    world.listen(|| TcpEcho);
    let peer = world.peer();
    peer.send(&[7; 5000]);
    world.turn();
    assert!(!world.network.has_events());
    assert_eq!(world.event_loop.next_deadline(), Some(world.network.now()));
}

#[test]
fn the_quiet_are_answered_in_the_turn_they_speak_however_loud_one_is() {
    let mut world = World::with_limits(budget(1000));
    world.listen(|| TcpEcho);
    let loud = world.peer();
    let quiet: Vec<Peer> = (0..10).map(|_| world.peer()).collect();
    loud.send(&vec![0; 1_000_000]);
    for turn in 0..100 {
        loud.send(&[0; 5000]); // an event of its own in each batch, before the others'
        let speaker = &quiet[turn % quiet.len()];
        speaker.send(b"me too");
        world.turn();
        assert_eq!(speaker.take_received(), b"me too", "turn {turn}");
    }
    assert!(loud.unread() > 500_000, "still far from done");
}

#[test]
fn the_loud_share_the_turns_evenly() {
    let mut world = World::with_limits(budget(1000));
    world.listen(|| TcpEcho);
    let loud: Vec<Peer> = (0..5).map(|_| world.peer()).collect();
    for peer in &loud {
        peer.send(&[0; 50_000]);
    }
    for _ in 0..25 {
        world.turn();
        let unread: Vec<usize> = loud.iter().map(Peer::unread).collect();
        let (least, most) = (unread.iter().min().unwrap(), unread.iter().max().unwrap());
        assert!(most - least <= 1000, "{unread:?}");
    }
}

#[test]
fn a_flood_of_datagrams_does_not_outrun_its_budget() {
    let mut world = World::with_limits(Limits { datagrams_per_turn: 10, ..Limits::default() });
    let socket = world.event_loop.bind_udp(address(5), UdpEcho).unwrap();
    world.listen(|| TcpEcho);
    let peer = world.peer();
    for _ in 0..95 {
        assert!(world.network.send_datagram(address(6), address(5), b"flood"));
    }
    for expected in [10, 20, 30] {
        peer.send(b"hello");
        world.turn();
        assert_eq!(world.event_loop.core().socket_counters(socket).datagrams_in, expected);
        assert_eq!(peer.take_received(), b"hello");
    }
    world.settle();
    assert_eq!(world.network.take_datagrams(address(5)).len(), 95);
}

#[test]
fn a_flood_of_messages_to_one_leaves_the_others_their_turn() {
    let log = Log::default();
    let mut world = World::new();
    let spies = log.clone();
    let flooded = world.event_loop.connect(
        address(1),
        Spy::new("flooded", &spies).on_message(|cx, message| {
            let id = cx.id();
            cx.post(id, message).unwrap(); // it keeps itself busy
            Ok(())
        }),
    );
    world.settle();
    world.network.next_outgoing().unwrap().establish();
    world.settle();
    for _ in 0..1000 {
        world.event_loop.core().post(flooded, switchboard::Message::user(())).unwrap();
    }
    world.listen(|| TcpEcho);
    let peer = world.network.connect(address(crate::world::PORT)).unwrap();
    world.turn();
    for _ in 0..10 {
        log.take();
        peer.send(b"hello");
        world.turn();
        assert_eq!(peer.take_received(), b"hello");
        assert_eq!(log.len(), 1000, "each letter once a turn");
    }
}
