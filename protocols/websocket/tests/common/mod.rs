//! A WebSocket client by hand, and a handler that keeps a log.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]

pub mod noting;
pub mod pieces;
pub mod server;
pub mod wire;

use std::cell::RefCell;
use std::rc::Rc;

use switchboard::testkit::Harness;
use switchboard::{Bytes, CloseReason, Closing, Failure, Limits, TimerId};
use switchboard_websocket::frame::{Header, OpCode, Receiver, Role, parse};
use switchboard_websocket::{
    Accept, CloseCode, Closed, Handler, Message, Peer, Request, Response, Settings, WebSocket, mask,
};

pub const UPGRADE: &str = "GET /chat?room=1 HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

pub const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const KEY: mask::Key = [0x37, 0xfa, 0x21, 0x3d];

/// Frames as they were received, in order.
pub type Frames = Vec<(OpCode, Vec<u8>)>;

/// What a handler was told, in words.
pub type Log = Rc<RefCell<Vec<String>>>;

/// Echoes messages, and writes down what it is told. Does what a text of some words says.
#[derive(Default)]
pub struct Logged {
    pub log: Log,
    pub echo: bool,
}

impl Logged {
    fn say(&self, words: impl Into<String>) {
        self.log.borrow_mut().push(words.into());
    }
}

impl Handler for Logged {
    fn on_handshake(&mut self, peer: &mut Peer<'_, '_>, request: &Request<'_>) -> Result<Accept, Response> {
        assert!(!peer.is_open());
        match request.path() {
            "/early" => {
                peer.text("not sent");
                Ok(Accept::new())
            }
            "/forbidden" => Err(Response::text(403, "not for you\n").header("X-Why", "path")),
            "/injected" => Ok(Accept::new().header("X-A", "1\r\nX-B: 2")),
            "/abort" => {
                peer.abort();
                Ok(Accept::new())
            }
            "/sub" => Ok(Accept::new().subprotocol("chat").header("Set-Cookie", "a=1")),
            _ => Ok(Accept::new()),
        }
    }

    fn on_http(&mut self, _: &mut Peer<'_, '_>, request: &Request<'_>) -> Response {
        match request.path() {
            "/" => Response::html("<p>hello</p>"),
            "/injected" => Response::new(200).header("X-A", "1\r\nX-B: 2"),
            _ => Response::text(404, "nothing here\n"),
        }
    }

    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        assert!(peer.is_open());
        self.say("open");
        Ok(())
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        match message {
            Message::Text("fail") => return Err(Failure::caller("told to fail")),
            Message::Text("close") => return peer.close(4000.into(), "told to"),
            Message::Text("close and go on") => {
                peer.close(CloseCode::NORMAL, "")?;
                peer.text("1");
                peer.binary_shared(Bytes::from_static(b"2"));
                peer.ping(b"3")?;
            }
            Message::Text("close badly") => peer.close(1006.into(), "")?,
            Message::Text("abort") => {
                peer.abort();
                return Ok(());
            }
            Message::Text("pause") => peer.pause_reading(),
            Message::Text(text) => self.say(format!("text {text}")),
            Message::Binary(bytes) => self.say(format!("binary {} {}", bytes.len(), sum(bytes))),
        }
        if self.echo {
            peer.send(message);
        }
        Ok(())
    }

    fn on_pong(&mut self, _: &mut Peer<'_, '_>, payload: &[u8]) -> Result<(), Failure> {
        self.say(format!("pong {}", String::from_utf8_lossy(payload)));
        Ok(())
    }

    fn on_drain(&mut self, _: &mut Peer<'_, '_>) -> Result<(), Failure> {
        self.say("drain");
        Ok(())
    }

    fn on_post(&mut self, _: &mut Peer<'_, '_>, message: switchboard::Message) -> Result<(), Failure> {
        self.say(format!("post {message:?}"));
        Ok(())
    }

    fn on_timer(&mut self, _: &mut Peer<'_, '_>, _: TimerId) -> Result<(), Failure> {
        self.say("timer");
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, closed: &Closed<'_>) {
        let Closed { code, reason, by_peer, clean, unsent, .. } = *closed;
        let who = if by_peer { "peer" } else { "us" };
        let how = if clean { "clean" } else { "unclean" };
        let unsent = if unsent == 0 { String::new() } else { format!(", {unsent} unsent") };
        self.say(format!("close {code} {reason:?} by {who}, {how}{unsent}"));
    }
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().map(|byte| u32::from(*byte)).sum()
}

/// A connection to a [`Logged`] handler.
pub struct Client {
    pub harness: Harness,
    pub log: Log,
}

impl Client {
    pub fn with(echo: bool, settings: Settings, limits: Limits) -> Self {
        let log = Log::default();
        let handler = Logged { log: Rc::clone(&log), echo };
        let harness = Harness::with_limits(WebSocket::with_settings(handler, &Rc::new(settings)), limits);
        Self { harness, log }
    }

    /// Before the handshake.
    pub fn connected() -> Self {
        Self::with(true, Settings::default(), Limits::default())
    }

    pub fn open_with(settings: Settings) -> Self {
        Self::with(true, settings, Limits::default()).upgraded()
    }

    /// After the handshake.
    pub fn open() -> Self {
        Self::connected().upgraded()
    }

    pub fn upgraded(mut self) -> Self {
        self.harness.feed(UPGRADE.as_bytes());
        assert_eq!(self.sent_text(), SWITCHING);
        assert_eq!(self.take_log(), ["open"]);
        self
    }

    pub fn feed(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.harness.feed(bytes.as_ref());
        self
    }

    pub fn feed_chunks(&mut self, bytes: &[u8], size: usize) {
        for chunk in bytes.chunks(size) {
            self.feed(chunk);
        }
    }

    pub fn take_log(&mut self) -> Vec<String> {
        self.log.take()
    }

    pub fn sent_text(&mut self) -> String {
        String::from_utf8(self.harness.take_sent()).expect("text")
    }

    /// The frames sent since this was last asked, checked as a client would.
    pub fn frames(&mut self) -> Frames {
        server_frames(&self.harness.take_sent())
    }

    pub fn close_reason(&mut self) -> String {
        self.harness.close_reason().expect("it has closed").to_string()
    }

    /// The error that the connection ended with, if it is an `E`.
    pub fn error<E: std::error::Error + Copy + 'static>(&mut self) -> E {
        match self.harness.close_reason().expect("it has closed") {
            CloseReason::Failure(failure) => {
                *failure.error().downcast_ref().unwrap_or_else(|| panic!("another error: {failure:?}"))
            }
            reason => panic!("no failure: {reason}"),
        }
    }

    /// What the connection holds beyond its value: input, output, messages being put together.
    pub fn held(&mut self) -> usize {
        self.harness.core().held_bytes()
    }
}

/// A frame as a client sends it.
pub fn frame(fin: bool, opcode: OpCode, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let mut masked = payload.as_ref().to_vec();
    mask::apply(&mut masked, KEY);
    let header = Header { fin, compressed: false, opcode, mask: Some(KEY), payload: masked.len() as u64 };
    [&header.encode()[..], &masked].concat()
}

pub fn text(payload: &str) -> Vec<u8> {
    frame(true, OpCode::Text, payload)
}

pub fn binary(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(true, OpCode::Binary, payload)
}

pub fn ping(payload: &str) -> Vec<u8> {
    frame(true, OpCode::Ping, payload)
}

pub fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(true, OpCode::Close, close_payload(code, reason))
}

pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

/// Whole unfragmented frames, and nothing else.
pub fn server_frames(mut bytes: &[u8]) -> Frames {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let client = Receiver { role: Role::Client, in_message: false, compression: false };
        let (header, start) = parse(bytes, client).expect("a valid frame").expect("a whole header");
        assert!(header.fin);
        let end = start + usize::try_from(header.payload).expect("a length that fits");
        frames.push((header.opcode, bytes[start..end].to_vec()));
        bytes = &bytes[end..];
    }
    frames
}

pub fn text_frame(payload: &str) -> (OpCode, Vec<u8>) {
    (OpCode::Text, payload.as_bytes().to_vec())
}

pub fn close_frame(code: u16, reason: &str) -> (OpCode, Vec<u8>) {
    (OpCode::Close, close_payload(code, reason))
}
