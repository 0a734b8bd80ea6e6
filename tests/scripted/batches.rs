//! Datagrams that arrived together: their answers leave together, and what one of them asks for is not the others'.

use std::io;

use switchboard::{
    CloseReason, Context, Core, Counters, Datagram, DatagramContext, DatagramProtocol, Failure, Input, Limits,
    Protocol, SessionOptions, SocketId, protocol_fn,
};

use crate::spy::Log;
use crate::world::{World, address};

const HERE: u16 = 5;
const THERE: u16 = 6;

/// Answers with what it was sent, and does what that says.
struct Obeys(Log);

impl DatagramProtocol for Obeys {
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, datagram: Datagram<'_>) -> Result<(), Failure> {
        cx.send_to(datagram.source, datagram.payload);
        match &*datagram.payload {
            b"close" => cx.close(),
            b"abort" => cx.abort(),
            b"fail" => return Err(Failure::peer("told to")),
            b"much" => (0..200).for_each(|n: u8| cx.send_to(datagram.source, &[n])),
            _ => {}
        }
        Ok(())
    }

    fn on_close(&mut self, _: &mut Core, reason: &CloseReason) {
        self.0.note(format!("close: {reason}"));
    }
}

fn obeys(limits: Limits) -> (World, SocketId, Log) {
    let (mut world, log) = (World::with_limits(limits), Log::default());
    let socket = world.event_loop.bind_udp(address(HERE), Obeys(log.clone())).unwrap();
    (world, socket, log)
}

/// Sends datagrams of which the loop hears at once.
fn send(world: &mut World, payloads: &[&[u8]]) {
    for payload in payloads {
        world.network.send_datagram(address(THERE), address(HERE), payload);
    }
}

fn sent(world: &mut World) -> Vec<Vec<u8>> {
    world.network.take_datagrams(address(HERE)).into_iter().map(|(_, payload)| payload).collect()
}

fn counters(world: &mut World, socket: SocketId) -> Counters {
    world.event_loop.core().socket_counters(socket)
}

#[test]
fn who_ends_in_mid_batch_ends_behind_what_was_answered_before() {
    let told = "close: the peer broke the protocol: told to";
    for (word, answered, reason) in
        [("close", 3, "close: closed by this side"), ("fail", 3, told), ("abort", 2, "close: aborted by this side, ")]
    {
        let (mut world, socket, log) = obeys(Limits::default());
        send(&mut world, &[b"1", b"2", word.as_bytes(), b"4", b"five"]);
        world.settle();
        let expected = [b"1", b"2", word.as_bytes()];
        assert_eq!(sent(&mut world), expected[..answered], "{word}");
        let noted = log.take();
        assert!(noted.len() == 1 && noted[0].starts_with(reason), "{noted:?}");
        let counters = counters(&mut world, socket);
        assert_eq!((counters.datagrams_in, counters.bytes_in), (5, 7 + word.len() as u64));
        assert_eq!((counters.datagrams_discarded, counters.bytes_discarded), (2, 5), "those behind it");
        assert_eq!((counters.datagrams_out, counters.datagrams_dropped), (answered as u64, u64::from(word == "abort")));
    }
}

#[test]
fn a_close_that_waits_discards_the_rest_of_its_batch() {
    let (mut world, socket, log) = obeys(Limits::default());
    world.network.set_datagram_window(address(HERE), 1);
    send(&mut world, &[b"1", b"close", b"3"]);
    world.settle();
    assert_eq!((sent(&mut world), log.take()), (vec![b"1".to_vec()], vec![]));
    world.network.set_datagram_window(address(HERE), 1);
    world.settle();
    assert_eq!(sent(&mut world), [b"close"]);
    assert_eq!(log.take(), ["close: closed by this side"]);
    assert_eq!(counters(&mut world, socket).datagrams_discarded, 1);
}

#[test]
fn no_room_in_mid_batch_keeps_the_order() {
    let (mut world, socket, _) = obeys(Limits::default());
    world.network.set_datagram_window(address(HERE), 7);
    let all: Vec<[u8; 1]> = (0..40).map(|n| [n]).collect();
    send(&mut world, &all.iter().map(|it| &it[..]).collect::<Vec<_>>());
    world.settle();
    assert_eq!(sent(&mut world), all[..7]);
    send(&mut world, &[b"later"]);
    world.settle();
    assert!(sent(&mut world).is_empty());
    world.network.set_datagram_window(address(HERE), 100);
    world.settle();
    let came = sent(&mut world);
    assert_eq!(came[..33], all[7..]);
    assert_eq!(came[33..], [b"later"]);
    assert_eq!(counters(&mut world, socket).datagrams_out, 41);
}

#[test]
fn an_error_between_datagrams_costs_none_of_them() {
    let (mut world, socket, _) = obeys(Limits::default());
    send(&mut world, &[b"1"]);
    world.network.fail_receive(address(HERE), io::ErrorKind::ConnectionRefused);
    send(&mut world, &[b"2", b"3"]);
    world.network.fail_receive(address(HERE), io::ErrorKind::Interrupted);
    send(&mut world, &[b"4"]);
    world.settle();
    assert_eq!(sent(&mut world), [b"1", b"2", b"3", b"4"]);
    assert_eq!(counters(&mut world, socket).datagram_errors, 1);
}

#[test]
fn a_turn_hands_over_no_more_than_it_may() {
    for most in [1, 2, 63, 64, 65] {
        let (mut world, socket, _) = obeys(Limits { datagrams_per_turn: most, ..Limits::default() });
        send(&mut world, &[&b"x"[..]; 200]);
        for turn in 1..=3 {
            world.turn();
            assert_eq!(
                counters(&mut world, socket).datagrams_in,
                (turn * most).min(200) as u64,
                "turn {turn} of {most}"
            );
            assert_eq!(sent(&mut world).len(), most.min(200 - (turn - 1) * most));
        }
    }
}

#[test]
fn much_leaves_before_more_is_made() {
    let (mut world, socket, _) = obeys(Limits { datagram_queue: 20_000, ..Limits::default() });
    send(&mut world, &[&b"much"[..]; 10]);
    world.settle();
    assert_eq!(sent(&mut world).len(), 2010);
    assert_eq!(counters(&mut world, socket).datagrams_dropped, 0);
}

#[test]
fn sessions_answer_in_the_order_in_which_they_were_asked() {
    let mut world = World::new();
    let mut options = SessionOptions::default();
    options.sessions = 3;
    let socket = world.event_loop.bind_sessions_with(address(HERE), &options, |_| {
        Some(protocol_fn(|cx, input| {
            let said = input.take_all();
            cx.send(said);
            match &*said {
                b"close" => cx.close(),
                b"abort" => cx.abort(),
                _ => {}
            }
            Ok(())
        }))
    });
    let socket = socket.unwrap();
    let asked: [(u16, &[u8]); 8] =
        [(1, b"a"), (2, b"b"), (1, b"c"), (2, b"close"), (1, b"d"), (2, b"e"), (3, b"abort"), (3, b"again")];
    for (port, payload) in asked {
        world.network.send_datagram(address(port), address(HERE), payload);
    }
    world.settle();
    let answered: Vec<_> = world.network.take_datagrams(address(HERE));
    let expected: Vec<_> =
        asked.iter().filter(|(_, it)| *it != b"abort").map(|&(p, it)| (address(p), it.to_vec())).collect();
    assert_eq!(answered, expected);
    let counters = counters(&mut world, socket);
    assert_eq!((counters.opened, counters.closed, counters.datagrams_dropped), (5, 2, 1));
    world.event_loop.core().close(socket);
    world.settle();
    assert_eq!(world.event_loop.core().held_bytes(), 0);
}

#[test]
fn what_no_session_gets_is_counted() {
    let mut world = World::new();
    let socket = world.event_loop.bind_sessions(address(HERE), |_| Some(ClosesAtOnce)).unwrap();
    for (port, payload) in [(1, &b"a"[..]), (1, b"bc"), (2, b"")] {
        world.network.send_datagram(address(port), address(HERE), payload);
    }
    world.settle();
    let Counters { datagrams_in, datagrams_discarded, bytes_discarded, opened, closed, sessions_refused, .. } =
        counters(&mut world, socket);
    assert_eq!((datagrams_in, opened, closed, sessions_refused), (3, 3, 3, 0));
    assert_eq!((datagrams_discarded, bytes_discarded), (3, 3));
}

struct ClosesAtOnce;

impl Protocol for ClosesAtOnce {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.close();
        Ok(())
    }

    fn on_data(&mut self, _: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
        unreachable!("it has closed")
    }
}
