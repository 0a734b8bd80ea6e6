//! Connections of both roles, with and without compression, whose handler takes messages in pieces and sends them so.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use switchboard::testkit::Harness;
use switchboard::{CloseReason, Closing, Failure, Limits};
use switchboard_websocket::deflate::{Compression, Deflater, Memory, WindowBits};
use switchboard_websocket::frame::{Header, OpCode, Receiver, Role, parse};
use switchboard_websocket::{
    Begin, CloseCode, Closed, Connect, Delivery, Handler, Message, Peer, Settings, WebSocket, mask,
};

use super::server::{URL, switching};
use super::{UPGRADE, close_payload};

/// What a handler was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Begin(Begin),
    /// A message that came whole.
    Text(String),
    Binary(Vec<u8>),
    /// A piece, and whether it was the last.
    TextPiece(String, bool),
    BinaryPiece(Vec<u8>, bool),
    Pong(Vec<u8>),
    Drain,
    Closed(String),
}

/// What it does with a piece, besides writing it down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Does {
    #[default]
    Nothing,
    /// Only counts the bytes.
    Counts,
    Pauses,
    Closes,
    Aborts,
    Fails,
    Echoes,
}

/// The application, and what the test sees of it.
#[derive(Debug, Clone, Default)]
pub struct Pieces {
    pub told: Rc<RefCell<Vec<Told>>>,
    pub whole: bool,
    pub on_begin: Rc<Cell<Does>>,
    pub on_piece: Rc<Cell<Does>>,
    pub bytes: Rc<Cell<u64>>,
    pub paused: Rc<Cell<bool>>,
}

impl Pieces {
    fn tell(&self, told: Told) {
        self.told.borrow_mut().push(told);
    }

    fn act(&self, does: Does, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        match does {
            Does::Pauses => {
                peer.pause_reading();
                self.paused.set(true);
            }
            Does::Closes => peer.close(CloseCode::NORMAL, "enough")?,
            Does::Aborts => peer.abort(),
            Does::Fails => return Err(Failure::caller("told to fail")),
            Does::Nothing | Does::Counts | Does::Echoes => {}
        }
        Ok(())
    }

    pub fn take(&self) -> Vec<Told> {
        self.told.take()
    }

    /// What it was told since this was last asked, with the pieces of a message put together.
    pub fn take_joined(&self) -> Vec<Told> {
        let mut joined: Vec<Told> = Vec::new();
        for told in self.take() {
            match (joined.last_mut(), told) {
                (Some(Told::TextPiece(text, ended @ false)), Told::TextPiece(more, last)) => {
                    text.push_str(&more);
                    *ended = last;
                }
                (Some(Told::BinaryPiece(bytes, ended @ false)), Told::BinaryPiece(more, last)) => {
                    bytes.extend(more);
                    *ended = last;
                }
                (_, told) => joined.push(told),
            }
        }
        joined
    }
}

impl Handler for Pieces {
    fn on_begin(&mut self, peer: &mut Peer<'_, '_>, begin: &Begin) -> Result<Delivery, Failure> {
        assert!(!self.paused.get());
        self.tell(Told::Begin(*begin));
        self.act(self.on_begin.get(), peer)?;
        Ok(if self.whole { Delivery::Whole } else { Delivery::Pieces })
    }

    fn on_message(&mut self, _: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        assert!(!self.paused.get());
        self.bytes.set(self.bytes.get() + message.as_bytes().len() as u64);
        if self.on_piece.get() != Does::Counts {
            self.tell(match message {
                Message::Text(text) => Told::Text(text.to_owned()),
                Message::Binary(bytes) => Told::Binary(bytes.to_vec()),
            });
        }
        Ok(())
    }

    fn on_piece(&mut self, peer: &mut Peer<'_, '_>, piece: Message<'_>, last: bool) -> Result<(), Failure> {
        assert!(!self.paused.get(), "a piece while reading is paused");
        assert!(last || !piece.as_bytes().is_empty(), "an empty piece that is not the last");
        self.bytes.set(self.bytes.get() + piece.as_bytes().len() as u64);
        match self.on_piece.get() {
            Does::Counts => return Ok(()),
            Does::Echoes => peer.send_piece(piece, last)?,
            _ => {}
        }
        self.tell(match piece {
            Message::Text(text) => Told::TextPiece(text.to_owned(), last),
            Message::Binary(bytes) => Told::BinaryPiece(bytes.to_vec(), last),
        });
        self.act(self.on_piece.get(), peer)
    }

    fn on_pong(&mut self, _: &mut Peer<'_, '_>, payload: &[u8]) -> Result<(), Failure> {
        self.tell(Told::Pong(payload.to_vec()));
        Ok(())
    }

    fn on_drain(&mut self, _: &mut Peer<'_, '_>) -> Result<(), Failure> {
        self.tell(Told::Drain);
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, closed: &Closed<'_>) {
        let Closed { code, by_peer, clean, unsent, .. } = closed;
        let (who, how) = (if *by_peer { "peer" } else { "us" }, if *clean { "clean" } else { "unclean" });
        self.tell(Told::Closed(format!("{code} by {who}, {how}, {unsent} unsent")));
    }
}

pub const DEDICATED: Compression = Compression {
    compressor: Memory::Dedicated,
    decompressor: Memory::Dedicated,
    window_bits: WindowBits::MAX,
    peer_window_bits: WindowBits::MAX,
    level: 6,
    threshold: 16,
};

pub const SHARED: Compression = Compression { compressor: Memory::Shared, decompressor: Memory::Shared, ..DEDICATED };

/// An open WebSocket under test, and the other end.
pub struct Link {
    pub harness: Harness,
    pub app: Pieces,
    pub role: Role,
}

impl Link {
    pub fn open_with(role: Role, app: Pieces, settings: Settings, limits: Limits) -> Self {
        let (compresses, settings) = (settings.compression.is_some(), Rc::new(settings));
        let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
        let mut harness = match role {
            Role::Server => Harness::with_limits(WebSocket::with_settings(app.clone(), &settings), limits),
            Role::Client => {
                let client = WebSocket::client_with_settings(Connect::to(URL).unwrap(), app.clone(), &settings);
                Harness::with_limits(client, limits)
            }
        };
        match role {
            Role::Server if compresses => harness.feed(UPGRADE.replace("\r\n\r\n", offer).as_bytes()),
            Role::Server => harness.feed(UPGRADE.as_bytes()),
            Role::Client => {
                let request = String::from_utf8(harness.take_sent()).unwrap();
                let mut answer = switching(&request);
                if let Some((_, offer)) = request.split_once("Sec-WebSocket-Extensions: ") {
                    let agreed = offer.trim().replace("; client_max_window_bits", "");
                    answer = answer.replace("\r\n\r\n", &format!("\r\nSec-WebSocket-Extensions: {agreed}\r\n\r\n"));
                }
                harness.feed(answer.as_bytes());
            }
        }
        let answered = harness.take_sent();
        assert_eq!(role == Role::Client, answered.is_empty());
        assert!(harness.is_open());
        Self { harness, app, role }
    }

    pub fn open(role: Role, compression: Option<Compression>) -> Self {
        Self::open_with(role, Pieces::default(), settings(compression), Limits::default())
    }

    /// A frame from the other end.
    pub fn frame(&self, fin: bool, opcode: OpCode, payload: impl AsRef<[u8]>) -> Vec<u8> {
        frame(self.role, fin, false, opcode, payload.as_ref())
    }

    pub fn close_frame(&self, code: u16) -> Vec<u8> {
        self.frame(true, OpCode::Close, close_payload(code, ""))
    }

    pub fn feed(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.harness.feed(bytes.as_ref());
        self
    }

    pub fn resume(&mut self) {
        let id = self.harness.id();
        self.app.paused.set(false);
        self.harness
            .event_loop()
            .with_protocol(id, |socket: &mut WebSocket<Pieces>, cx| socket.parts(cx).1.resume_reading());
        self.harness.settle();
    }

    /// Does something with the peer, outside of the handler's callbacks.
    pub fn with_peer<R>(&mut self, does: impl FnOnce(&mut Peer<'_, '_>) -> R) -> R {
        let id = self.harness.id();
        let done = self
            .harness
            .event_loop()
            .with_protocol(id, |socket: &mut WebSocket<Pieces>, cx| does(&mut socket.parts(cx).1))
            .unwrap();
        self.harness.settle();
        done
    }

    /// What was sent since this was last asked, frame by frame: header (without its key) and payload.
    pub fn sent(&mut self) -> Vec<(Header, Vec<u8>)> {
        frames_of(self.role, &self.harness.take_sent())
    }

    pub fn held(&mut self) -> usize {
        self.harness.core().held_bytes()
    }

    pub fn error(&mut self) -> String {
        match self.harness.close_reason().expect("it has closed") {
            CloseReason::Failure(failure) => failure.error().to_string(),
            reason => format!("{reason}"),
        }
    }

    pub fn assert_gone(&mut self) {
        let core = self.harness.core();
        assert_eq!((core.open_connections(), core.armed_timers(), core.held_bytes()), (0, 0, 0));
    }
}

/// The frames that one of this role has sent, checked as their receiver would.
pub fn frames_of(role: Role, bytes: &[u8]) -> Vec<(Header, Vec<u8>)> {
    let (mut rest, mut frames, mut in_message) = (bytes, Vec::new(), false);
    while !rest.is_empty() {
        let other = if role == Role::Server { Role::Client } else { Role::Server };
        // Whether a message has begun is known if all frames are here.
        let receiver = |in_message| Receiver { role: other, in_message, compression: true };
        let parsed = parse(rest, receiver(in_message)).or_else(|_| parse(rest, receiver(!in_message)));
        let (header, start) = parsed.expect("a valid frame").expect("a whole header");
        let end = start + usize::try_from(header.payload).expect("a length that fits");
        let mut payload = rest[start..end].to_vec();
        mask::apply(&mut payload, header.mask.unwrap_or_default());
        if !header.opcode.is_control() {
            in_message = !header.fin;
        }
        frames.push((Header { mask: None, ..header }, payload));
        rest = &rest[end..];
    }
    frames
}

/// A frame to one of this role.
pub fn frame(to: Role, fin: bool, compressed: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut payload = payload.to_vec();
    let masked = to == Role::Server;
    if masked {
        mask::apply(&mut payload, key);
    }
    let header = Header { fin, compressed, opcode, mask: masked.then_some(key), payload: payload.len() as u64 };
    [&header.encode()[..], &payload].concat()
}

pub fn deflated(message: impl AsRef<[u8]>) -> Vec<u8> {
    let mut payload = Vec::new();
    Deflater::new(WindowBits::MAX, 9).deflate(message.as_ref(), &mut payload);
    payload
}

pub fn settings(compression: Option<Compression>) -> Settings {
    Settings { compression, heartbeat: None, ..Settings::default() }
}

pub const ROLES: [Role; 2] = [Role::Server, Role::Client];
