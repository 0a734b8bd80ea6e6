//! Datagrams that arrived together: their answers leave together, and what one of them asks for is not the others'.

use std::io;

use switchboard::{
    CloseReason, Context, Core, Counters, Datagram, DatagramContext, DatagramProtocol, Failure, Input, Limits,
    Protocol, SessionOptions, SocketId, protocol_fn,
};

use crate::spy::Log;
use crate::world::{World, address, millis};

const HERE: u16 = 5;
const THERE: u16 = 6;

/// How an answer leaves that is the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Copied,
    /// From where it lies.
    Back,
    /// One of two in the one way, the other in the other.
    Mixed,
}

const WAYS: [Way; 3] = [Way::Copied, Way::Back, Way::Mixed];

/// Answers with what it was sent, and does what that says.
struct Obeys {
    way: Way,
    calls: usize,
    log: Log,
}

impl DatagramProtocol for Obeys {
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, datagram: Datagram<'_>) -> Result<(), Failure> {
        let (peer, said) = (datagram.source, datagram.payload.to_vec());
        self.calls += 1;
        match self.way {
            Way::Copied => cx.send_to(peer, datagram.payload),
            Way::Mixed if self.calls.is_multiple_of(2) => cx.send_to(peer, datagram.payload),
            _ => cx.send_back(datagram),
        }
        match &said[..] {
            b"close" => cx.close(),
            b"abort" => cx.abort(),
            b"fail" => return Err(Failure::peer("told to")),
            b"much" => (0..200).for_each(|n: u8| cx.send_to(peer, &[n])),
            _ => {}
        }
        Ok(())
    }

    fn on_close(&mut self, _: &mut Core, reason: &CloseReason) {
        self.log.note(format!("close: {reason}"));
    }
}

fn obeys(limits: Limits, way: Way) -> (World, SocketId, Log) {
    let (mut world, log) = (World::with_limits(limits), Log::default());
    let socket = world.event_loop.bind_udp(address(HERE), Obeys { way, calls: 0, log: log.clone() }).unwrap();
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
    let unsent = "close: aborted by this side, ";
    let words = [("close", 3, "close: closed by this side"), ("fail", 3, told), ("abort", 2, unsent)];
    for (way, (word, answered, reason)) in WAYS.into_iter().flat_map(|way| words.map(|word| (way, word))) {
        let (mut world, socket, log) = obeys(Limits::default(), way);
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
    for way in WAYS {
        let (mut world, socket, log) = obeys(Limits::default(), way);
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
}

#[test]
fn no_room_in_mid_batch_keeps_the_order() {
    for way in WAYS {
        let (mut world, socket, _) = obeys(Limits::default(), way);
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
}

#[test]
fn an_error_between_datagrams_costs_none_of_them() {
    for way in WAYS {
        let (mut world, socket, _) = obeys(Limits::default(), way);
        send(&mut world, &[b"1"]);
        world.network.fail_receive(address(HERE), io::ErrorKind::ConnectionRefused);
        send(&mut world, &[b"2", b"3"]);
        world.network.fail_receive(address(HERE), io::ErrorKind::Interrupted);
        send(&mut world, &[b"4"]);
        world.settle();
        assert_eq!(sent(&mut world), [b"1", b"2", b"3", b"4"]);
        assert_eq!(counters(&mut world, socket).datagram_errors, 1);
    }
}

#[test]
fn a_turn_hands_over_no_more_than_it_may() {
    for (way, most) in WAYS.into_iter().flat_map(|way| [1, 2, 63, 64, 65].map(|most| (way, most))) {
        let (mut world, socket, _) = obeys(Limits { datagrams_per_turn: most, ..Limits::default() }, way);
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
    for way in WAYS {
        let (mut world, socket, _) = obeys(Limits { datagram_queue: 20_000, ..Limits::default() }, way);
        send(&mut world, &[&b"much"[..]; 10]);
        world.settle();
        assert_eq!(sent(&mut world).len(), 2010);
        assert_eq!(counters(&mut world, socket).datagrams_dropped, 0);
    }
}

/// Sends back what it was sent, but not as it was.
struct Alters;

impl DatagramProtocol for Alters {
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, mut datagram: Datagram<'_>) -> Result<(), Failure> {
        match datagram.payload.first().copied() {
            Some(b'u') => datagram.payload.make_ascii_uppercase(),
            Some(b'<') => datagram.payload = &mut std::mem::take(&mut datagram.payload)[1..],
            Some(b'>') => datagram.payload = std::mem::take(&mut datagram.payload).split_last_mut().unwrap().1,
            Some(b'0') => datagram.payload = &mut [],
            Some(b'!') => datagram.payload = Box::leak(Box::new(*b"another")),
            Some(b'-') => return Ok(()),
            Some(b'+') => cx.send_to(datagram.source, b"before"),
            _ => {}
        }
        cx.send_back(datagram);
        Ok(())
    }
}

#[test]
fn what_is_sent_back_is_what_the_datagram_holds_by_then() {
    let cases: [(&[u8], &[&[u8]]); 9] = [
        (b"as it is", &[b"as it is"]),
        (b"up", &[b"UP"]),
        (b"", &[b""]),
        (b"<cut", &[b"cut"]),
        (b">cut", &[b">cu"]),
        (b"0", &[b""]),
        (b"!234567", &[b"another"]),
        (b"-", &[]),
        (b"+", &[b"before", b"+"]),
    ];
    for first in 0..cases.len() {
        let mut world = World::new();
        world.event_loop.bind_udp(address(HERE), Alters).unwrap();
        let cases = cases[first..].iter().chain(&cases[..first]);
        send(&mut world, &cases.clone().map(|(asked, _)| *asked).collect::<Vec<_>>());
        world.settle();
        assert_eq!(sent(&mut world), cases.flat_map(|(_, answered)| *answered).copied().collect::<Vec<_>>());
    }
}

#[test]
fn memory_that_large_datagrams_took_is_given_back_when_none_came_for_a_while() {
    let (mut world, _, _) = obeys(Limits::default(), Way::Back);
    send(&mut world, &[&[7; 1472][..]; 64]);
    world.settle();
    assert_eq!((sent(&mut world).len(), world.event_loop.next_deadline()), (64, None), "small ones took little");
    for _ in 0..5 {
        send(&mut world, &[&[7; 60_000][..]; 64]);
        world.settle();
        assert_eq!(sent(&mut world).len(), 64);
        assert!(world.event_loop.next_deadline().is_some(), "they are still coming");
        world.advance(millis(400));
    }
    world.advance(millis(1000));
    assert_eq!(world.event_loop.next_deadline(), None, "nothing is left to be given back");
    send(&mut world, &[&[9; 60_000][..], b"and", b"again"]);
    world.settle();
    assert_eq!(sent(&mut world), [&[9; 60_000][..], b"and", b"again"]);
}

#[test]
fn sessions_answer_in_the_order_in_which_they_were_asked() {
    for way in WAYS {
        let mut world = World::new();
        let mut options = SessionOptions::default();
        options.sessions = 3;
        let socket = world.event_loop.bind_sessions_with(address(HERE), &options, move |_| {
            let mut calls = 0;
            Some(protocol_fn(move |cx, input| {
                calls += 1;
                let said = input.to_vec();
                if said.starts_with(b"<") {
                    input.take(1);
                }
                let is_back = way == Way::Back || way == Way::Mixed && calls & 1 == 1;
                if !(is_back && cx.send_back(input)) {
                    cx.send(input.take_all());
                }
                match &said[..] {
                    b"<two" => cx.send(b"behind"),
                    b"close" => cx.close(),
                    b"abort" => cx.abort(),
                    _ => {}
                }
                Ok(())
            }))
        });
        let socket = socket.unwrap();
        let asked = [
            (1, &b"a"[..], &[&b"a"[..]][..]),
            (2, b"b", &[b"b"]),
            (1, b"c", &[b"c"]),
            (1, b"", &[b""]),
            (1, b"<two", &[b"two", b"behind"]),
            (2, b"close", &[b"close"]),
            (1, b"<d", &[b"d"]),
            (1, b"e", &[b"e"]),
            (2, b"f", &[b"f"]),
            (3, b"abort", &[]),
            (3, b"again", &[b"again"]),
        ];
        for (port, payload, _) in asked {
            world.network.send_datagram(address(port), address(HERE), payload);
        }
        world.settle();
        let expected = asked.iter().flat_map(|&(port, _, all)| all.iter().map(move |it| (address(port), it.to_vec())));
        assert_eq!(world.network.take_datagrams(address(HERE)), expected.collect::<Vec<_>>(), "{way:?}");
        let counters = counters(&mut world, socket);
        assert_eq!((counters.opened, counters.closed, counters.datagrams_dropped, counters.bytes_unsent), (5, 2, 1, 5));
        world.event_loop.core().close(socket);
        world.settle();
        assert_eq!(world.event_loop.core().held_bytes(), 0);
    }
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
