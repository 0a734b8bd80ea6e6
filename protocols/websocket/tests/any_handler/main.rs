//! A handler that does anything in any of its callbacks, as the client and as the server, with every kind of
//! compression, of a connection whose bytes are cut anywhere. A model of it knows what it must be told, in which order,
//! what must stand on the wire, and what is never sent.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

#[path = "../common/mod.rs"]
mod common;
mod model;
mod wire;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use common::pieces::{DEDICATED, ROLES, SHARED, frame, settings};
use common::server::{URL, switching};
use common::{UPGRADE, close_payload};
use fastrand::Rng;
use model::{Any, Model};
use switchboard::testkit::{Harness, check_seeds};
use switchboard::{Limits, Message};
use switchboard_websocket::deflate::{Compression, WindowBits};
use switchboard_websocket::frame::{OpCode, Role};
use switchboard_websocket::{CloseCode, Connect, Post, WebSocket};
use wire::{Said, read, traffic};

/// The end under test.
struct Connection {
    random: Rng,
    role: Role,
    compression: Option<Compression>,
    harness: Harness,
    model: Rc<RefCell<Model>>,
    /// The frames that it has sent.
    sent: Vec<u8>,
}

impl Connection {
    fn open(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let role = *random.choice(&ROLES).unwrap();
        let small = Compression { window_bits: WindowBits::new(9).unwrap(), level: 1, ..DEDICATED };
        let compression = *random.choice(&[None, Some(SHARED), Some(DEDICATED), Some(small)]).unwrap();
        let narrow = Limits { high_water: 2_000, low_water: 500, receive_buffer: 1 << 15, ..Limits::default() };
        let narrow = Limits { read_budget: 1 << random.u32(10..14), ..narrow };
        let limits = random.choice([narrow, Limits::default()]).unwrap();
        let model = Rc::new(RefCell::new(Model::new(&mut random)));
        let (handler, settings) = (Any(Rc::clone(&model)), Rc::new(settings(compression)));
        let harness = match role {
            Role::Server => Harness::with_limits(WebSocket::with_settings(handler, &settings), limits),
            Role::Client => {
                let client = WebSocket::client_with_settings(Connect::to(URL).unwrap(), handler, &settings);
                Harness::with_limits(client, limits)
            }
        };
        let mut connection = Self { random, role, compression, harness, model, sent: Vec::new() };
        connection.shake_hands();
        connection
    }

    fn shake_hands(&mut self) {
        match self.role {
            Role::Server => {
                let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
                self.harness.feed(UPGRADE.replace("\r\n\r\n", offer).as_bytes());
                self.take_sent();
                let answer = self.sent.windows(4).position(|end| end == b"\r\n\r\n");
                assert!(answer.is_some() || self.model.borrow().aborted);
                self.sent.drain(..answer.map_or(0, |at| at + 4));
            }
            Role::Client => {
                let request = String::from_utf8(self.harness.take_sent()).unwrap();
                let mut answer = switching(&request);
                if let Some((_, offer)) = request.split_once("Sec-WebSocket-Extensions: ") {
                    let agreed = offer.trim().split("; client_max_window_bits").next().unwrap();
                    answer = answer.replace("\r\n\r\n", &format!("\r\nSec-WebSocket-Extensions: {agreed}\r\n\r\n"));
                }
                self.harness.feed(answer.as_bytes());
            }
        }
        assert!(self.harness.is_open() || self.model.borrow().ended.is_some());
    }

    fn take_sent(&mut self) {
        self.sent.extend(self.harness.take_sent());
    }

    /// Feeds `bytes` in pieces, while the peer takes output as it likes, time passes, and messages are posted.
    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.harness.is_open() {
            let longest = if self.random.bool() { bytes.len().min(10) } else { bytes.len() };
            let (piece, rest) = bytes.split_at(self.random.usize(1..=longest));
            self.harness.feed(piece);
            bytes = rest;
            match self.random.u8(..8) {
                0..=2 => self.harness.set_window(self.random.usize(..3_000)),
                3 => self.harness.set_window(usize::MAX),
                4 | 5 => self.harness.advance(Duration::from_millis(self.random.u64(..10))),
                6 => self.post(),
                _ => {}
            }
            self.take_sent();
        }
    }

    fn post(&mut self) {
        if self.harness.with(|cx| cx.backlog()) != Some(0) {
            return; // it might have to wait
        }
        let text = format!("posted {}", self.random.u32(..));
        let message = match self.random.u8(..4) {
            0 | 1 => {
                self.model.borrow_mut().is_posted();
                Message::user("for the handler")
            }
            2 => {
                self.model.borrow_mut().sends((true, text.clone().into_bytes()));
                Post::Text(text.into()).into()
            }
            _ => return self.publish(text.into_bytes()),
        };
        self.harness.post(message).unwrap();
        assert!(!self.model.borrow().awaits_post, "a post was lost");
    }

    /// The handler is subscribed until either side begins to close.
    fn publish(&mut self, mut payload: Vec<u8>) {
        let (is_text, is_open) = (self.random.bool(), self.model.borrow().ended.is_none());
        if !is_text {
            payload.push(0xff);
        }
        if is_open {
            self.model.borrow_mut().sends((is_text, payload.clone()));
        }
        assert_eq!(self.harness.core().publish("t", payload), usize::from(is_open));
        self.harness.settle();
    }

    /// Lets everything flow until nothing is to come: a handler that has paused has set a timer.
    fn flow(&mut self) {
        self.harness.set_window(usize::MAX);
        for _ in 0..1_000 {
            self.take_sent();
            if self.harness.timers().is_empty() || self.model.borrow().ended.is_some() {
                return;
            }
            self.harness.advance(Duration::from_millis(25));
        }
        panic!("it does not come to rest");
    }

    /// Ends it, if the handler has not: in one of three ways.
    fn end(&mut self) {
        let undecided = self.model.borrow().ended.is_none();
        let code = *self.random.choice(&[CloseCode::NORMAL, CloseCode::GOING_AWAY, CloseCode::ABNORMAL]).unwrap();
        if undecided {
            self.model.borrow_mut().ended = Some(code);
            if code == CloseCode::GOING_AWAY {
                self.harness.shutdown(Duration::from_secs(60));
            }
        }
        if self.harness.is_open() && !(undecided && code == CloseCode::ABNORMAL) {
            self.harness.feed(&frame(self.role, true, false, OpCode::Close, &close_payload(1000, "")));
        }
        self.harness.eof();
        self.take_sent();
        let core = self.harness.core();
        assert_eq!((core.open_connections(), core.armed_timers(), core.held_bytes()), (0, 0, 0));
    }

    /// What the handler was told of what the peer has said.
    fn assert_heard(&self, peer: &Said) {
        let model = self.model.borrow();
        if model.ended.is_none() {
            assert!(model.heard.messages == peer.messages, "a message was lost or changed");
            assert_eq!(model.heard.pongs, peer.pongs);
            assert!(!model.owed_drain, "a drain is owed");
        } else {
            assert!(peer.messages.starts_with(&model.heard.messages), "another message, or out of order");
            assert!(peer.pongs.starts_with(&model.heard.pongs));
        }
    }

    /// What is on the wire of what the handler has said, and the answers to the peer's pings.
    fn assert_sent(&self, peer: &Said) {
        let model = self.model.borrow();
        assert!(model.closed);
        let wire = read(self.role, self.compression, &self.sent);
        assert!(peer.pings.starts_with(&wire.said.pongs), "another pong, or out of order");
        if model.aborted {
            assert!(model.said.messages.starts_with(&wire.said.messages));
            assert!(model.said.pings.starts_with(&wire.said.pings));
            assert!(wire.closes.is_empty());
            return;
        }
        assert_eq!(wire.rest, 0, "half a frame");
        assert_eq!(wire.said.messages.len(), model.said.messages.len());
        assert!(wire.said.messages == model.said.messages, "another message, or out of order");
        assert_eq!(wire.said.pings, model.said.pings);
        match model.ended.unwrap() {
            CloseCode::ABNORMAL => assert!(wire.closes.is_empty(), "its peer has left without a word"),
            code => assert_eq!(wire.closes, [code]),
        }
        if model.ended != Some(CloseCode::INTERNAL_ERROR) {
            assert_eq!(wire.said.pongs, peer.pings, "also behind the close frame");
        }
    }
}

#[test]
fn whatever_the_handler_does_is_done_in_order() {
    check_seeds(0..400, |seed| {
        let mut connection = Connection::open(seed);
        let (peer, bytes) = traffic(&mut connection.random, connection.role, connection.compression);
        connection.feed(&bytes);
        connection.flow();
        connection.assert_heard(&peer);
        connection.end();
        connection.assert_sent(&peer);
    });
}
