//! A client that connects again by itself: after what, and when.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

mod common;
#[path = "reconnect/world.rs"]
mod world;

use std::io;
use std::rc::Rc;
use std::time::Duration;

use common::server::{Asking, client_frames, plain, plain_text, switching};
use common::text_frame;
use switchboard::testkit::Peer;
use switchboard::{Limits, Retry, protocol_fn};
use switchboard_websocket::frame::OpCode;
use switchboard_websocket::proxy::Tunnel;
use switchboard_websocket::reconnect::{Attempt, Ended};
use switchboard_websocket::{CloseCode, Post, Settings, WebSocket};
use world::{Make, World};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than any wait here.
const LONG: Duration = Duration::from_secs(100);

fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    plain(true, OpCode::Close, [&code.to_be_bytes()[..], reason.as_bytes()].concat())
}

#[test]
fn after_a_refusal() {
    for (answer, wait) in [
        ("503 Busy", Some(1)),
        ("502 Bad Gateway", Some(1)),
        ("504 Gateway Timeout", Some(1)),
        ("429 Too Many Requests", Some(1)),
        ("503 Busy\r\nRetry-After: 7", Some(8)),
        ("429 Slowly\r\nretry-after:  0 ", Some(1)),
        ("503 Busy\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT", Some(1)),
        ("500 Broken\r\nRetry-After: 7", Some(8)),
        ("408 Request Timeout", Some(1)),
        ("501 What", None),
        ("400 Bad", None),
        ("401 Who", None),
        ("403 No", None),
        ("404 Not here\r\nRetry-After: 7", None),
        ("426 Upgrade", None),
        ("200 Fine", None),
        ("302 Elsewhere\r\nLocation: ws://a/", None),
        ("101 Switching Protocols", None),
    ] {
        let mut world = World::new(|client| client);
        let (peer, _) = world.asked();
        world.feed(&peer, format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(world.wait(&peer), wait, "{answer}");
        let said = world.log.take();
        assert!(said.len() == 1 && said[0].starts_with("failed: "), "{said:?}");
    }
}

#[test]
fn a_server_that_wants_a_day_is_asked_after_an_hour() {
    let mut world = World::new(|client| client);
    let (peer, _) = world.asked();
    world.feed(&peer, "HTTP/1.1 503 Busy\r\nRetry-After: 86400\r\nContent-Length: 0\r\n\r\n");
    peer.finish();
    world.settle();
    world.advance(Duration::from_secs(3600));
    assert!(world.network.next_outgoing().is_none());
    world.advance(SECOND);
    assert!(world.network.next_outgoing().is_some());
}

#[test]
fn after_what_is_no_answer() {
    type End = fn(&mut World, &Peer);
    let ends: [(End, Option<u64>); 6] = [
        (|world, peer| world.feed(peer, "SSH-2.0-OpenSSH\r\n"), None),
        (|world, peer| world.feed(peer, "HTTP/1.1 101 X\n"), None),
        (|world, peer| world.feed(peer, "HTTP/1.1 503 Bu"), Some(1)), // and no more
        (|_, _| (), Some(1)),
        (|_, peer| peer.reset(), Some(1)),
        (|world, _| world.advance(10 * SECOND), Some(1)),
    ];
    for (at, (end, wait)) in ends.into_iter().enumerate() {
        let mut world = World::new(|client| client);
        let (peer, _) = world.asked();
        end(&mut world, &peer);
        assert_eq!(world.wait(&peer), wait, "the {at}th");
    }
    let mut world = World::new(|client| client);
    let peer = world.next().unwrap();
    peer.refuse(io::ErrorKind::ConnectionRefused);
    assert_eq!(world.wait(&peer), Some(1));
    let mut world =
        World::new(|client| client.settings(&Rc::new(Settings { max_message: 1 << 40, ..Settings::default() })));
    let (peer, request) = world.asked();
    assert_eq!((request.as_str(), world.wait(&peer)), ("", None), "a mistake of the program");
}

#[test]
fn after_a_close_frame_of_the_servers() {
    for (code, again) in [
        (1000, false),
        (1001, true),
        (1002, false),
        (1003, false),
        (1007, false),
        (1008, false),
        (1009, false),
        (1010, false),
        (1011, true),
        (1013, true),
        (1014, true),
        (3000, false),
        (4999, false),
    ] {
        let mut world = World::new(|client| client);
        let peer = world.opened();
        world.feed(&peer, close_frame(code, "for that"));
        assert_eq!(client_frames(&peer.take_received()).0.len(), 1, "answered");
        assert_eq!(world.wait(&peer), again.then_some(1), "{code}");
        assert_eq!(world.log.take(), ["open".to_owned(), format!("close {code} \"for that\" by peer, clean")]);
    }
    let mut world = World::new(|client| client);
    let peer = world.opened();
    world.feed(&peer, plain(true, OpCode::Close, b""));
    assert_eq!(world.wait(&peer), None, "a close frame without a code");
}

#[test]
fn who_restarts_is_left_alone_for_five_to_thirty_seconds() {
    let mut world = World::new(|client| client);
    let mut waits = Vec::new();
    for _ in 0..200 {
        let peer = world.opened();
        world.feed(&peer, close_frame(1012, ""));
        peer.finish();
        world.settle();
        let closed = world.network.now();
        let peer = world.next().unwrap();
        waits.push(world.network.now().saturating_since(closed));
        peer.refuse(io::ErrorKind::ConnectionRefused); // on to the back-off, and then to the next round
        world.settle();
    }
    assert!(waits.iter().all(|wait| (5 * SECOND..30 * SECOND).contains(wait)), "{waits:?}");
    let thirds = [(0, 13), (13, 21), (21, 30)]
        .map(|(from, to)| waits.iter().filter(|wait| (from..to).contains(&wait.as_secs())).count());
    assert!(thirds.iter().all(|count| (40..100).contains(count)), "{thirds:?}");
}

#[test]
fn after_an_end_without_a_close_frame() {
    type End = fn(&mut World, &Peer);
    let ends: [(End, bool); 9] = [
        (|_, _| (), true),
        (|_, peer| peer.reset(), true),
        (|world, _| world.advance(60 * SECOND), true),         // silent
        (|world, peer| world.feed(peer, [0x81, 0x80]), false), // masked: it broke the protocol
        (|world, peer| world.feed(peer, plain(true, OpCode::Text, b"\xff")), false),
        (|world, peer| world.feed(peer, plain_text("fail")), false),
        (|world, peer| world.feed(peer, plain_text("close")), false),
        (|world, peer| world.feed(peer, plain_text("abort")), false),
        (
            |world, _| {
                let id = world.client.connection(world.event_loop.core()).unwrap();
                world.event_loop.core().close(id);
                world.settle();
            },
            false,
        ),
    ];
    for (at, (end, again)) in ends.into_iter().enumerate() {
        let mut world = World::new(|client| client);
        let peer = world.opened();
        end(&mut world, &peer);
        assert_eq!(world.wait(&peer).is_some(), again, "the {at}th: {:?}", world.log.borrow());
    }
}

/// Others hold the loop's memory at the moment: the message was refused for no fault of its own.
#[test]
fn after_a_message_for_which_there_was_no_memory() {
    let mut world = World::new(|client| client);
    let peer = world.opened();
    let idle = protocol_fn(|_, _| Ok(()));
    let other = world.event_loop.connect(("10.0.0.1", 2), idle);
    world.settle();
    world.next().unwrap().establish();
    world.settle();
    world.event_loop.with(other, |cx| cx.hold(Limits::default().loop_memory)).unwrap().unwrap();
    world.feed(&peer, &plain(true, OpCode::Binary, [0; 1000])[..500]);
    assert_eq!(client_frames(&peer.take_received()).0, [(OpCode::Close, 1013_u16.to_be_bytes().to_vec())]);
    assert_eq!(world.wait(&peer), Some(1));
}

#[test]
fn each_handler_is_told_as_ever_and_posts_go_to_the_attempt_under_way() {
    let mut world = World::new(|client| client);
    let (peer, _) = world.asked();
    world.client.post(world.event_loop.core(), Post::Text("too early".into())).unwrap();
    world.settle();
    world.feed(&peer, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    peer.finish();
    world.settle();
    assert_eq!(world.event_loop.counters().messages_undelivered, 1);
    world.client.post(world.event_loop.core(), Post::Text("in time".into())).unwrap();
    let peer = world.opened();
    assert_eq!(client_frames(&peer.take_received()).0, [text_frame("in time")]);
    world.feed(&peer, plain_text("hello"));
    peer.reset();
    world.settle();
    let peer = world.opened();
    world.client.post(world.event_loop.core(), Post::Close(CloseCode::NORMAL, "bye".into())).unwrap();
    world.client.give_up(world.event_loop.core());
    world.settle();
    assert!(!world.over.get(), "until the server has answered");
    world.feed(&peer, close_frame(1001, ""));
    assert_eq!(world.wait(&peer), None);
    assert_eq!(
        world.log.take(),
        [
            "failed: the peer broke the protocol: the server refuses: status 503",
            "open",
            "text hello",
            "close 1006 \"\" by us, unclean",
            "open",
            "close 1000 \"bye\" by us, clean",
        ]
    );
    let core = world.event_loop.core();
    assert!(world.client.post(core, Post::Text("too late".into())).is_err());
    assert_eq!((core.open_connections(), core.armed_timers(), core.held_bytes()), (0, 0, 0));
}

/// A server that lets its clients wait and then turns them away would else be asked as often as a good one.
#[test]
fn what_makes_a_connection_healthy_is_that_the_websocket_stood() {
    let mut world = World::new(|client| client);
    for wait in [1, 2, 4] {
        let (peer, _) = world.asked();
        world.advance(9 * SECOND);
        world.feed(&peer, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
        peer.finish();
        world.settle();
        world.advance(Duration::from_millis(wait * 1000 - 1));
        assert!(world.network.next_outgoing().is_none());
    }
    let (peer, request) = world.asked();
    world.advance(9 * SECOND);
    world.feed(&peer, switching(&request));
    world.advance(9 * SECOND);
    assert_eq!(world.wait(&peer), Some(8), "not for as long as it takes");
    let mut world = World::new(|client| client);
    world.next().unwrap().refuse(io::ErrorKind::ConnectionRefused);
    world.settle();
    let peer = world.opened();
    world.advance(10 * SECOND);
    assert_eq!(world.wait(&peer), Some(1), "healthy");
}

#[test]
fn the_application_decides() {
    let mut world = World::new(|client| {
        client.decide(|ended| match ended {
            Ended::Failed(_) => Retry::After(4 * SECOND),
            Ended::Closed(closed) if closed.code == CloseCode::NORMAL => Retry::Backoff,
            other => other.retry(),
        })
    });
    let (peer, _) = world.asked();
    world.feed(&peer, "HTTP/1.1 404 Not yet\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(world.wait(&peer), Some(5));
    let mut world = World::new(|client| client.decide(|_| Retry::Backoff));
    let peer = world.opened();
    world.feed(&peer, close_frame(1000, ""));
    assert_eq!(world.wait(&peer), Some(1));
}

#[test]
fn through_a_proxy() {
    let tunnelled: Make = |client| {
        let tunnel = Tunnel::to("server.example.com", 80).unwrap();
        client.through(move |websocket| tunnel.clone().around(websocket))
    };
    let mut world = World::new(tunnelled);
    for (answer, wait) in [("503 Busy\r\nRetry-After: 3", 4), ("502 Unreachable", 2)] {
        let (peer, request) = world.asked();
        assert!(request.starts_with("CONNECT server.example.com:80 HTTP/1.1\r\n"), "{request}");
        world.feed(&peer, format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n"));
        peer.finish();
        world.settle();
        world.advance(Duration::from_secs(wait) - Duration::from_millis(1));
        assert!(world.network.next_outgoing().is_none());
    }
    let (peer, _) = world.asked();
    world.feed(&peer, "HTTP/1.1 200 Connection established\r\n\r\n");
    let request = String::from_utf8(peer.take_received()).unwrap();
    world.feed(&peer, switching(&request));
    world.feed(&peer, plain_text("hello"));
    world.advance(10 * SECOND);
    world.feed(&peer, close_frame(1001, ""));
    assert_eq!(world.wait(&peer), Some(1), "what goes through it decides, and was healthy");
    let said = world.log.take();
    assert!(said[0].contains("the proxy refuses: status 503") && said[1].contains("502"), "{said:?}");
    assert_eq!(said[2..], ["open", "text hello", "close 1001 \"\" by peer, clean"]);

    for (answer, again) in [
        ("HTTP/1.1 407 Who\r\nRetry-After: 1\r\n\r\n", false),
        ("HTTP/1.1 403 No\r\n\r\n", false),
        ("SSH-2.0\r\n", false),
        ("HTTP/1.1 200", true), // and no more
    ] {
        let mut world = World::new(tunnelled);
        let (peer, _) = world.asked();
        world.feed(&peer, answer);
        assert_eq!(world.wait(&peer).is_some(), again, "{answer}");
    }
    let mut world = World::new(tunnelled);
    let (peer, _) = world.asked();
    world.advance(10 * SECOND);
    assert_eq!(world.wait(&peer), Some(1), "it did not answer");
}

#[test]
fn the_handler_can_be_reached() {
    let mut world = World::new(|client| client);
    world.opened();
    let id = world.client.connection(world.event_loop.core()).unwrap();
    let log = world.event_loop.with_protocol(id, |socket: &mut WebSocket<Attempt<Asking>>, cx| {
        let (handler, mut peer) = socket.parts(cx);
        peer.text("from outside");
        Rc::clone(&handler.0.log)
    });
    assert!(Rc::ptr_eq(&log.unwrap(), &world.log));
    world.settle();
}
