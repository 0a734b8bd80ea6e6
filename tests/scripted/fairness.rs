//! One loud connection starves nobody: a budget a turn, and a ready list for what remains.

use std::cell::Cell;

use switchboard::testkit::Peer;
use switchboard::{Limits, Protocol, protocol_fn};
use switchboard_echo::{TcpEcho, UdpEcho};
use switchboard_websocket::{WebSocket, message_fn};

use crate::common::web_socket;
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

/// A crowd that speaks in each turn, beside one whose peer has sent `flood`. Gives what the loop read of that in the turns.
fn read_beside(others: usize, flood: &[u8], protocol: fn() -> Box<dyn Protocol>) -> Vec<usize> {
    read_beside_after(b"", others, flood, protocol)
}

/// The same after a greeting.
fn read_beside_after(greeting: &[u8], others: usize, flood: &[u8], protocol: fn() -> Box<dyn Protocol>) -> Vec<usize> {
    let mut world = World::new();
    world.event_loop.listen(address(1), move |_| Some(protocol())).unwrap();
    let loud = world.network.connect(address(1)).unwrap();
    loud.send(greeting);
    world.settle();
    world.listen(|| TcpEcho);
    let quiet: Vec<Peer> = (0..others).map(|_| world.peer()).collect();
    loud.send(flood);
    let turns = (0..4).map(|turn| {
        quiet.iter().for_each(|peer| peer.send(b"me too"));
        let before = loud.unread();
        world.turn();
        assert!(quiet.iter().all(|peer| peer.take_received() == b"me too"), "turn {turn}");
        before - loud.unread()
    });
    turns.collect()
}

#[test]
fn who_floods_is_read_less_at_a_time_the_more_others_wait() {
    let budget = Limits::default().read_budget;
    let flood = vec![7; 4 * budget];
    let sink = || -> Box<dyn Protocol> {
        Box::new(protocol_fn(|_, input| {
            input.take_all();
            Ok(())
        }))
    };
    assert_eq!(read_beside(0, &flood, sink), [budget; 4], "alone it has all of the budget");
    assert_eq!(read_beside(1, &flood, sink), [budget / 2; 4]);
    for others in [10, 63] {
        assert_eq!(read_beside(others, &flood, sink), [96 << 10; 4], "beside {others}");
    }
}

#[test]
fn nor_are_more_messages_of_a_flood_handled_between_two_turns_of_others_than_fit_in_that() {
    thread_local!(static HANDLED: Cell<usize> = const { Cell::new(0) });
    let counting = || -> Box<dyn Protocol> {
        Box::new(WebSocket::server(message_fn(|_, _| {
            HANDLED.set(HANDLED.get() + 1);
            Ok(())
        })))
    };
    // Whole frames fill a read, so that each is cut at the same place, behind its header.
    let frame = web_socket::frame(web_socket::BINARY, &[7; 26]);
    let flood = [web_socket::REQUEST.to_vec(), frame.repeat(100_000)].concat();
    let read = read_beside(63, &flood, counting);
    let most = 4 * (96 << 10) / frame.len();
    let handled = HANDLED.get();
    assert!((most - 100..=most).contains(&handled), "{handled} messages in four turns, {read:?} bytes");
}

#[test]
fn nor_are_small_messages_read_on_behind_a_large_one_that_was_cut() {
    // Messages with their length before them.
    let messages = || -> Box<dyn Protocol> {
        Box::new(protocol_fn(|_, input| {
            while let Some(head) = input.first_chunk() {
                let total = 4 + usize::try_from(u32::from_be_bytes(*head)).unwrap();
                if input.len() < total {
                    input.wait_for(total);
                    break;
                }
                input.take(total);
            }
            Ok(())
        }))
    };
    let message = |len: usize| [&u32::try_from(len).unwrap().to_be_bytes()[..], &vec![7; len]].concat();
    let (share, large) = (96 << 10, message(20_000));
    let before = message(12).repeat(share / 16 - 100);
    let flood = [&before[..], &large, &message(12).repeat(50_000)].concat();
    let read = read_beside(63, &flood, messages);
    assert_eq!(read[0], before.len() + large.len() + 1024, "a header may follow");
    assert_eq!(read[1..], [share; 3]);
}

#[test]
fn nor_behind_a_small_one_whose_rest_goes_to_a_buffer_of_its_own() {
    let sink = || -> Box<dyn Protocol> { Box::new(WebSocket::server(message_fn(|_, _| Ok(())))) };
    let (share, frame) = (96 << 10, |len| web_socket::frame(web_socket::BINARY, &vec![7; len]));
    let flood = frame(27).repeat(20_000);
    let read = read_beside_after(web_socket::REQUEST, 63, &flood, sink);
    assert!(read.iter().all(|read| (share..share + 33).contains(read)), "{read:?}");
    // Of a large one the rest is read at once.
    let flood = [frame(3 * share), flood].concat();
    let read = read_beside_after(web_socket::REQUEST, 63, &flood, sink);
    assert!((share + 8_192..=share + (256 << 10)).contains(&read[0]), "{read:?}");
    assert!(read[3] < share + 33, "{read:?}");
}

/// Has a WebSocket echo two messages of a mebibyte beside so many others that speak in each turn. Gives the most bytes that
/// it was written in a turn.
fn written_beside(others: usize) -> u64 {
    let mut world = World::new();
    let echo = || {
        WebSocket::server(message_fn(|peer, message| {
            peer.send(message);
            Ok(())
        }))
    };
    world.event_loop.listen(address(1), move |_| Some(echo())).unwrap();
    let loud = world.network.connect(address(1)).unwrap();
    loud.send(web_socket::REQUEST);
    world.settle();
    assert!(loud.take_received().starts_with(b"HTTP/1.1 101 "));
    loud.discard_received();
    world.listen(|| TcpEcho);
    let quiet: Vec<Peer> = (0..others).map(|_| world.peer()).collect();
    let message = vec![7; 1 << 20];
    loud.send(&web_socket::frame(web_socket::BINARY, &message).repeat(2));
    let (mut most, mut turns) = (0, 0);
    while loud.discarded() < 2 * (message.len() as u64 + 10) {
        quiet.iter().for_each(|peer| peer.send(b"me too"));
        let before = loud.discarded();
        world.turn();
        assert!(quiet.iter().all(|peer| peer.take_received() == b"me too"));
        most = most.max(loud.discarded() - before);
        turns += 1;
        assert!(turns < 100, "it gets on");
    }
    assert_eq!(world.event_loop.core().held_bytes(), 0);
    most
}

#[test]
fn nor_is_a_long_answer_written_at_once_where_others_wait() {
    assert_eq!(written_beside(0), (1 << 20) + 10, "alone it leaves in one piece");
    for others in [1, 63] {
        // So much of the message, and its header with the first.
        assert_eq!(written_beside(others), (257 << 10) + 10, "beside {others}");
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
