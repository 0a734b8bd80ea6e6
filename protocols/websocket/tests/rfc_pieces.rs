//! What RFC 6455 §5.4 and RFC 7692 §7.2.1 require of a message that is sent in several frames, on both sides.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

mod common;

use std::collections::BTreeSet;

use common::server::{Asking, Server, URL, plain};
use common::wire::{Seen, decode};
use common::{Client, Logged, UPGRADE, close_payload, frame};
use switchboard::testkit::Harness;
use switchboard::{Context, Limits};
use switchboard_websocket::deflate::{Compression, Inflater, Memory};
use switchboard_websocket::frame::OpCode;
use switchboard_websocket::{CloseCode, Connect, Handler, Message, Peer, Post, Settings, WebSocket};

/// An open WebSocket of either side, and how its peer makes frames.
struct Sender {
    harness: Harness,
    client: bool,
}

impl Sender {
    /// One of each side.
    fn both(settings: &Settings) -> [Self; 2] {
        let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
        let mut server = Client::with(false, settings.clone(), Limits::default());
        server.feed(UPGRADE.replace("\r\n\r\n", &format!("\r\n{offer}")));
        let mut client = Server::asked_by(Connect::to(URL).unwrap(), settings.clone(), Limits::default());
        let agreed = settings.compression.map_or(String::new(), |_| offer.trim_end().to_owned() + "\r\n");
        client.feed(client.switching.replace("\r\n\r\n", &format!("\r\n{agreed}\r\n")));
        [(server.harness, false), (client.harness, true)].map(|(mut harness, client)| {
            let _ = harness.take_sent();
            Self { harness, client }
        })
    }

    /// Does this as the application.
    fn act(&mut self, act: impl FnOnce(&mut Peer<'_, '_>)) -> &mut Self {
        fn with<H: Handler>(harness: &mut Harness, act: impl FnOnce(&mut Peer<'_, '_>)) {
            let id = harness.id();
            let act = |socket: &mut WebSocket<H>, cx: &mut Context<'_>| act(&mut socket.parts(cx).1);
            harness.event_loop().with_protocol(id, act).unwrap();
            harness.settle();
        }
        if self.client {
            with::<Asking>(&mut self.harness, act)
        } else {
            with::<Logged>(&mut self.harness, act)
        }
        self
    }

    fn piece(&mut self, piece: Message<'_>, last: bool) -> &mut Self {
        self.act(|peer| peer.send_piece(piece, last).unwrap())
    }

    fn feed(&mut self, opcode: OpCode, payload: &[u8]) {
        let bytes = if self.client { plain(true, opcode, payload) } else { frame(true, opcode, payload) };
        self.harness.feed(&bytes);
    }

    fn sent(&mut self) -> Vec<Seen> {
        let frames = decode(&self.harness.take_sent());
        let keys: BTreeSet<_> = frames.iter().map(|frame| frame.key).collect();
        let expected = if self.client { frames.len() } else { usize::from(!frames.is_empty()) };
        assert!(frames.iter().all(|frame| frame.key.is_some() == self.client) && keys.len() == expected);
        frames
    }
}

fn shown(frames: &[Seen]) -> Vec<(u8, &[u8])> {
    frames.iter().map(|frame| (frame.first, &frame.payload[..])).collect()
}

/// RFC 6455 §5.4, §5.5.2, §6.1: the opcode on the first frame, FIN on the last, control frames at once and between, other
/// messages behind; from a client each with a key of its own.
#[test]
fn no_other_message_comes_between_the_frames_of_one() {
    for mut sender in Sender::both(&Settings { heartbeat: None, ..Settings::default() }) {
        sender.piece(Message::Text("a"), false).piece(Message::Text(""), false);
        sender.feed(OpCode::Ping, b"still there?");
        sender.harness.post(Post::Binary(vec![9].into())).unwrap();
        sender.act(|peer| peer.text("next"));
        assert_eq!(shown(&sender.sent()), [(0x01, &b"a"[..]), (0x8a, b"still there?")], "a pong waits for nothing");
        sender.piece(Message::Text("é"), false).piece(Message::Text("c"), true);
        let expected = [(0x00, "é".as_bytes()), (0x80, b"c"), (0x82, &[9]), (0x81, b"next")];
        assert_eq!(shown(&sender.sent()), expected);
        sender.piece(Message::Binary(b"whole"), true);
        assert_eq!(shown(&sender.sent()), [(0x82, &b"whole"[..])]);
    }
}

/// RFC 6455 §5.5.1, §6.1: nothing of a message is sent behind a close frame, whoever sent one first.
#[test]
fn a_close_frame_ends_a_message_that_is_being_sent() {
    for ours in [false, true] {
        for mut sender in Sender::both(&Settings { heartbeat: None, ..Settings::default() }) {
            sender.piece(Message::Binary(b"begun"), false);
            if ours {
                sender.harness.post(Post::Close(CloseCode::NORMAL, "".into())).unwrap();
            } else {
                sender.feed(OpCode::Close, &close_payload(1000, ""));
            }
            assert_eq!(shown(&sender.sent()), [(0x02, &b"begun"[..]), (0x88, &b"\x03\xe8"[..])]);
            if ours {
                sender.piece(Message::Binary(b"more"), false).piece(Message::Binary(b"end"), true);
                assert_eq!(sender.sent(), []);
            }
        }
    }
}

/// RFC 7692 §6.1, §7.2.1: the bit on the first frame alone; all frames together are one compressed message, without the
/// four octets at its end, and with those within it.
#[test]
fn a_compressed_message_in_several_frames_is_one_compressed_message() {
    let compression =
        Compression { compressor: Memory::Dedicated, decompressor: Memory::Dedicated, ..Compression::default() };
    let settings = Settings { compression: Some(compression), heartbeat: None, ..Settings::default() };
    for mut sender in Sender::both(&settings) {
        let mut inflater = Inflater::new();
        for pieces in [&["Hello, ", "Hello, ", "Hello!"][..], &["Hello", "", ""], &["", "Hello"], &["", ""]] {
            for (index, piece) in pieces.iter().enumerate() {
                sender.piece(Message::Text(piece), index + 1 == pieces.len());
            }
            let frames = sender.sent();
            let firsts: Vec<u8> = frames.iter().map(|frame| frame.first).collect();
            match &firsts[..] {
                [0xc1] => {}
                [0x41, between @ .., 0x80] => assert!(between.iter().all(|first| *first == 0x00), "{firsts:x?}"),
                _ => panic!("{firsts:x?}"),
            }
            let payload: Vec<u8> = frames.into_iter().flat_map(|frame| frame.payload).collect();
            let filled = pieces.iter().filter(|piece| !piece.is_empty()).count();
            let tails = payload.windows(4).filter(|octets| *octets == [0x00, 0x00, 0xff, 0xff]).count();
            assert_eq!(tails, filled.saturating_sub(1), "{payload:x?}");
            assert!(!payload.ends_with(&[0x00, 0x00, 0xff, 0xff]));
            assert_eq!(inflater.message(&payload, 100).unwrap(), pieces.concat().as_bytes());
        }
    }
}
