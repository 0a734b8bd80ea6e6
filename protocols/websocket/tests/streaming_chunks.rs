//! Messages in pieces, however what they come in is cut: the same in the end.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

mod common;

use std::rc::Rc;

use common::pieces::*;
use fastrand::Rng;
use switchboard::testkit::{Script, check_conformance, note};
use switchboard::{Failure, Limits};
use switchboard_websocket::frame::{OpCode, Role};
use switchboard_websocket::{Begin, Delivery, Handler, Message, Peer, Settings, WebSocket};

/// The bytes of a conversation, and what the handler is told of it, pieces joined.
struct Conversation {
    bytes: Vec<u8>,
    expected: Vec<Told>,
}

impl Conversation {
    fn new(random: &mut Rng, role: Role, compression: bool) -> Self {
        let mut conversation = Self { bytes: Vec::new(), expected: Vec::new() };
        for _ in 0..random.usize(1..8) {
            let compressed = compression && random.bool();
            conversation.message(random, role, compressed);
        }
        conversation
    }

    fn message(&mut self, random: &mut Rng, role: Role, compressed: bool) {
        let is_text = random.bool();
        let length = if random.u8(..) < 200 { random.usize(..40) } else { random.usize(..3_000) };
        let words: String = (0..length).map(|_| random.choice(['a', 'é', '€', '🦀']).unwrap()).collect();
        let payload = if compressed { deflated(&words) } else { words.clone().into_bytes() };
        let (mut rest, mut opcode) = (&payload[..], if is_text { OpCode::Text } else { OpCode::Binary });
        let mut pongs = Vec::new();
        loop {
            let (part, after) = rest.split_at(if random.bool() { rest.len() } else { random.usize(..=rest.len()) });
            let fin = after.is_empty() && random.bool();
            self.bytes.extend(frame(role, fin, compressed && opcode != OpCode::Continuation, opcode, part));
            (rest, opcode) = (after, OpCode::Continuation);
            if fin {
                break;
            }
            if random.u8(..) < 30 {
                let payload = vec![random.u8(..); random.usize(..125)];
                self.bytes.extend(frame(role, true, false, OpCode::Pong, &payload));
                pongs.push(Told::Pong(payload));
            }
        }
        self.expected.push(if is_text { Told::Text(words) } else { Told::Binary(words.into_bytes()) });
        self.expected.extend(pongs);
    }
}

/// Joins the pieces of each message where its first one came, and checks that they follow each other as they must.
fn joined(told: Vec<Told>) -> Vec<Told> {
    let (mut joined, mut open): (Vec<Told>, Option<usize>) = (Vec::new(), None);
    let mut begun = false;
    for told in told {
        let (message, last) = match told {
            Told::Begin(_) => {
                assert!(!begun && open.is_none(), "a message begins within another");
                begun = true;
                joined.push(told);
                continue;
            }
            Told::TextPiece(text, last) => (Told::Text(text), last),
            Told::BinaryPiece(bytes, last) => (Told::Binary(bytes), last),
            other => {
                assert!(!begun || matches!(other, Told::Pong(_)), "{other:?} within a message");
                joined.push(other);
                continue;
            }
        };
        assert!(begun, "a piece without a beginning");
        match (open.map(|index| &mut joined[index]), message) {
            (None, message) => {
                let index = joined.iter().rposition(|told| matches!(told, Told::Begin(_))).unwrap();
                joined[index] = message;
                open = Some(index);
            }
            (Some(Told::Text(text)), Told::Text(more)) => text.push_str(&more),
            (Some(Told::Binary(bytes)), Told::Binary(more)) => bytes.extend(more),
            (Some(one), other) => panic!("{other:?} within {one:?}"),
        }
        if last {
            (begun, open) = (false, None);
        }
    }
    joined
}

#[test]
fn any_chunking_gives_the_same() {
    for seed in 0..400 {
        let mut random = Rng::with_seed(seed);
        let role = ROLES[random.usize(..2)];
        let compression = [None, Some(SHARED)][random.usize(..2)];
        let conversation = Conversation::new(&mut random, role, compression.is_some());
        for _ in 0..3 {
            let limits = Limits { read_budget: random.usize(1..5_000), ..Limits::default() };
            let mut link = Link::open_with(role, Pieces::default(), settings(compression), limits);
            let (longest, mut rest) = (random.choice([1, 9, 1000, 100_000]).unwrap(), &conversation.bytes[..]);
            while !rest.is_empty() {
                link.app.on_piece.set(if random.u8(..) < 100 { Does::Pauses } else { Does::Nothing });
                let (chunk, after) = rest.split_at(random.usize(1..=longest).min(rest.len()));
                link.feed(chunk);
                if random.bool() {
                    link.resume();
                }
                rest = after;
            }
            link.app.on_piece.set(Does::Nothing);
            link.resume();
            assert!(joined(link.app.take()) == conversation.expected, "seed {seed}");
            assert_eq!(link.held(), 0, "seed {seed}");
            link.feed(link.close_frame(1000));
            link.harness.eof();
            assert_eq!(link.app.take(), [Told::Closed("1000 by peer, clean, 0 unsent".to_owned())], "seed {seed}");
        }
    }
}

/// Takes everything in pieces, and notes each message when it has ended.
#[derive(Default)]
struct Noting(Vec<u8>);

impl Handler for Noting {
    fn on_begin(&mut self, _: &mut Peer<'_, '_>, _: &Begin) -> Result<Delivery, Failure> {
        Ok(Delivery::Pieces)
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        self.on_piece(peer, message, true)
    }

    fn on_piece(&mut self, _: &mut Peer<'_, '_>, piece: Message<'_>, last: bool) -> Result<(), Failure> {
        self.0.extend(piece.as_bytes());
        if last {
            note(self.0.escape_ascii());
            self.0.clear();
        }
        Ok(())
    }
}

/// Under every way in which a conversation can reach it.
#[test]
fn conformance() {
    let small =
        || WebSocket::with_settings(Noting::default(), &Rc::new(Settings { max_message: 64 << 10, ..settings(None) }));
    let frames = [
        frame(Role::Server, false, false, OpCode::Text, "é".as_bytes()),
        frame(Role::Server, true, false, OpCode::Ping, b"?"),
        frame(Role::Server, true, false, OpCode::Continuation, "ü".as_bytes()),
        frame(Role::Server, false, false, OpCode::Binary, b""),
        frame(Role::Server, true, false, OpCode::Continuation, b"\xff"),
        frame(Role::Server, true, false, OpCode::Close, &common::close_payload(1000, "")),
    ];
    println!("{}", check_conformance(small, &Script::new().send(common::UPGRADE).send(frames.concat())));
}
