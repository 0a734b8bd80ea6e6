//! What is published on a topic, as WebSockets send it.

mod common;

use std::rc::Rc;

use common::server::URL;
use common::{Frames, UPGRADE, close, server_frames, text, wire};
use switchboard::testkit::{Harness, Pair};
use switchboard::{Closing, Failure, Limits, Publication, Slow};
use switchboard_websocket::frame::OpCode;
use switchboard_websocket::{
    Accept, Closed, Connect, Handler, Message, Peer, Request, Response, Settings, SharedText, WebSocket,
};

/// Does what a text of some words says; otherwise as handlers do by default.
#[derive(Default)]
struct Member {
    unsent: Rc<std::cell::Cell<Option<u32>>>,
}

impl Handler for Member {
    fn on_handshake(&mut self, peer: &mut Peer<'_, '_>, _: &Request<'_>) -> Result<Accept, Response> {
        peer.subscribe("all", Slow::default()).map_err(|limit| Response::text(503, format!("{limit}\n")))?;
        Ok(Accept::new())
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        let Message::Text(order) = message else { return Err(Failure::peer("not an order")) };
        match order.split_once(' ') {
            Some(("join", room)) => peer.subscribe(room, Slow::DropOldest { waiting: 3 })?,
            Some(("leave", room)) => assert!(peer.unsubscribe(room)),
            Some(("say", words)) => {
                peer.publish("all", words.to_owned());
            }
            Some(("begin", piece)) => peer.send_piece(Message::Text(piece), false)?,
            Some(("end", piece)) => peer.send_piece(Message::Text(piece), true)?,
            _ if order == "leave" => peer.unsubscribe_all(),
            _ => return Err(Failure::peer("not an order")),
        }
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, closed: &Closed<'_>) {
        self.unsent.set(Some(closed.unsent));
    }
}

fn open(handler: impl Handler) -> Harness {
    let settings = Rc::new(Settings { heartbeat: None, ..Settings::default() });
    let mut harness = Harness::new(WebSocket::with_settings(handler, &settings));
    harness.feed(UPGRADE.as_bytes());
    assert!(harness.take_sent().starts_with(b"HTTP/1.1 101 "));
    harness
}

fn publish(harness: &mut Harness, topic: &str, payload: impl Into<switchboard::Bytes>) -> Frames {
    harness.core().publish(topic, payload);
    harness.settle();
    server_frames(&harness.take_sent())
}

#[test]
fn what_is_utf8_is_sent_as_text_and_all_else_as_binary() {
    let mut harness = open(Member::default());
    let long = "ö".repeat(50_000);
    for payload in ["", "21.5 °C", &long] {
        let frames = publish(&mut harness, "all", payload.to_owned());
        assert_eq!(frames, [(OpCode::Text, payload.as_bytes().to_vec())]);
    }
    for payload in [vec![0xff], vec![0xc3], [b'x'; 70_000].iter().copied().chain([0x80]).collect()] {
        assert_eq!(publish(&mut harness, "all", payload.clone()), [(OpCode::Binary, payload)]);
    }
}

#[test]
fn a_handler_joins_and_leaves_rooms() {
    let mut harness = open(Member::default());
    assert_eq!(publish(&mut harness, "lobby", "not here"), []);
    harness.feed(&text("join lobby"));
    assert_eq!(publish(&mut harness, "lobby", "1"), [(OpCode::Text, b"1".to_vec())]);
    harness.feed(&text("leave lobby"));
    assert_eq!(publish(&mut harness, "lobby", "2"), []);
    harness.feed(&text("say hello"));
    assert_eq!(server_frames(&harness.take_sent()), [(OpCode::Text, b"hello".to_vec())]);
    harness.feed(&text("leave"));
    assert_eq!(harness.core().topics(), 0);
}

#[test]
fn publications_wait_behind_a_message_in_pieces() {
    let mut harness = open(Member::default());
    harness.feed(&text("begin a"));
    harness.core().publish("all", "between");
    harness.settle();
    harness.feed(&text("end b"));
    let frames: Vec<_> =
        wire::decode(&harness.take_sent()).into_iter().map(|frame| (frame.first, frame.payload)).collect();
    assert_eq!(frames, [(0x01, b"a".to_vec()), (0x80, b"b".to_vec()), (0x81, b"between".to_vec())]);
}

#[test]
fn who_closes_is_subscribed_no_more_and_nothing_counts_as_unsent() {
    let member = Member::default();
    let unsent = Rc::clone(&member.unsent);
    let mut harness = open(member);
    harness.core().publish("all", "waits");
    harness.peer().send(&close(1000, ""));
    harness.settle(); // data comes before letters in a turn
    assert_eq!(harness.core().publish("all", "too late"), 0);
    assert_eq!(server_frames(&harness.take_sent()), [common::close_frame(1000, "")]);
    assert_eq!(unsent.get(), Some(0));
    let counters = harness.core().counters();
    assert_eq!((counters.publications, counters.publications_dropped, counters.messages_undelivered), (1, 1, 0));
}

#[test]
fn who_waits_for_the_peers_close_frame_is_subscribed_no_more() {
    struct Leaving;
    impl Handler for Leaving {
        fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
            Ok(peer.subscribe("all", Slow::default())?)
        }
        fn on_message(&mut self, peer: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
            peer.close(1000.into(), "")
        }
    }
    let mut harness = open(Leaving);
    harness.feed(&text("bye"));
    assert!(harness.is_open());
    assert_eq!((harness.core().topics(), harness.core().publish("all", "x")), (0, 0));
}

#[test]
fn a_handler_can_make_something_else_of_it_once_for_all() {
    /// Puts it into JSON.
    struct Framed;
    struct Json(SharedText);
    impl Handler for Framed {
        fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
            Ok(peer.subscribe("all", Slow::default())?)
        }
        fn on_message(&mut self, _: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
            Ok(())
        }
        fn on_publication(&mut self, peer: &mut Peer<'_, '_>, publication: &Publication) -> Result<(), Failure> {
            let Json(text) = publication.attachment(|it| {
                let text = String::from_utf8_lossy(it.payload());
                Json(format!("{{\"topic\":\"{}\",\"text\":\"{text}\"}}", it.topic()).into())
            });
            peer.text_shared(text.clone());
            Ok(())
        }
    }
    let mut harness = open(Framed);
    assert_eq!(publish(&mut harness, "all", "hi"), [(OpCode::Text, br#"{"topic":"all","text":"hi"}"#.to_vec())]);
}

#[test]
fn a_handler_that_fails_there_ends_the_connection() {
    struct Failing;
    impl Handler for Failing {
        fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
            Ok(peer.subscribe("all", Slow::default())?)
        }
        fn on_message(&mut self, _: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
            Ok(())
        }
        fn on_publication(&mut self, _: &mut Peer<'_, '_>, _: &Publication) -> Result<(), Failure> {
            Err(Failure::caller("no"))
        }
    }
    let mut harness = open(Failing);
    assert_eq!(publish(&mut harness, "all", "hi"), [common::close_frame(1011, "")]);
    assert_eq!(harness.core().topics(), 0);
}

#[test]
fn a_slow_one_is_dealt_with_by_its_policy() {
    let limits = Limits { high_water: 4096, low_water: 512, ..Limits::default() };
    let settings = Rc::new(Settings { heartbeat: None, max_message: 1000, ..Settings::default() });
    let mut harness = Harness::with_limits(WebSocket::with_settings(Member::default(), &settings), limits);
    harness.feed(UPGRADE.as_bytes());
    harness.feed(&text("join lobby"));
    let _ = harness.take_sent();
    harness.set_window(0);
    for number in 0..20 {
        harness.core().publish("lobby", format!("{number:1000}"));
        harness.settle();
    }
    harness.set_window(usize::MAX);
    let heard: Vec<u32> = server_frames(&harness.take_sent())
        .iter()
        .map(|(_, payload)| std::str::from_utf8(payload).unwrap().trim().parse().unwrap())
        .collect();
    assert_eq!(heard, [0, 1, 2, 3, 4, 17, 18, 19], "five are output, and of the others three may wait");
}

#[test]
fn a_client_subscribes_too() {
    struct Bridge;
    impl Handler for Bridge {
        fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
            peer.subscribe("down", Slow::default())?;
            Ok(peer.subscribe("up", Slow::default())?)
        }
        fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
            peer.publish("down", message.as_bytes().to_vec());
            Ok(())
        }
        fn on_publication(&mut self, peer: &mut Peer<'_, '_>, publication: &Publication) -> Result<(), Failure> {
            if publication.topic() == "up" {
                peer.send_publication(publication);
            }
            Ok(())
        }
    }
    let echo = WebSocket::server(switchboard_websocket::message_fn(|peer, message| {
        peer.send(message);
        Ok(())
    }));
    let client = WebSocket::client(Connect::to(URL).unwrap(), Bridge);
    let mut pair = Pair::new(client, echo);
    pair.run_for(std::time::Duration::from_secs(1));
    assert_eq!(pair.left().event_loop().core().publish("up", "to the server and back"), 1);
    pair.run_for(std::time::Duration::from_secs(1));
    let heard = pair.left().event_loop().core().topic_counters("down").unwrap();
    assert_eq!((heard.published, heard.delivered), (1, 1), "what came back was published, and heard by itself");
}
