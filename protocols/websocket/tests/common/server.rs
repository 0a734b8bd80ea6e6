//! A WebSocket server by hand, for clients under test.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

use std::cell::RefCell;
use std::rc::Rc;

use switchboard::testkit::Harness;
use switchboard::{CloseReason, Closing, Failure, Limits, TimerId};
use switchboard_websocket::frame::{Header, OpCode, Receiver, Role, parse};
use switchboard_websocket::handshake::AnswerError;
use switchboard_websocket::{Answer, Closed, Connect, Handler, Message, Peer, Settings, WebSocket, mask};

use super::{Frames, Log, Logged};

pub const URL: &str = "ws://server.example.com/chat?room=1";

/// As [`Logged`], and what only a client is told.
pub struct Asking(pub Logged);

impl Asking {
    fn say(&self, words: String) {
        self.0.log.borrow_mut().push(words);
    }
}

impl Handler for Asking {
    fn on_accepted(&mut self, peer: &mut Peer<'_, '_>, answer: &Answer<'_>) -> Result<(), Failure> {
        assert!(peer.is_open());
        if let Some(name) = answer.subprotocol() {
            self.say(format!("subprotocol {name}"));
        }
        match answer.header("x-do") {
            Some(b"fail") => return Err(Failure::caller("told to fail")),
            Some(b"abort") => peer.abort(),
            Some(b"close") => peer.close(4000.into(), "told to")?,
            Some(b"text") => peer.text("first"),
            _ => {}
        }
        Ok(())
    }

    fn on_failed(&mut self, _: &mut Closing<'_>, cause: &CloseReason) {
        self.say(format!("failed: {cause}"));
    }

    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        self.0.on_open(peer)
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        self.0.on_message(peer, message)
    }

    fn on_pong(&mut self, peer: &mut Peer<'_, '_>, payload: &[u8]) -> Result<(), Failure> {
        self.0.on_pong(peer, payload)
    }

    fn on_drain(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        self.0.on_drain(peer)
    }

    fn on_timer(&mut self, peer: &mut Peer<'_, '_>, timer: TimerId) -> Result<(), Failure> {
        self.0.on_timer(peer, timer)
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, closed: &Closed<'_>) {
        self.0.on_close(cx, closed);
    }
}

/// A client under test, and the server's end of its connection.
pub struct Server {
    pub harness: Harness,
    pub log: Log,
    /// The answer that the client's request asks for.
    pub switching: String,
}

impl Server {
    /// The client has sent its request.
    pub fn asked_by(connect: Connect, settings: Settings, limits: Limits) -> Self {
        let log = Rc::<RefCell<Vec<String>>>::default();
        let handler = Asking(Logged { log: Rc::clone(&log), echo: true });
        let client = WebSocket::client_with_settings(connect, handler, &Rc::new(settings));
        let mut harness = Harness::with_limits(client, limits);
        let request = String::from_utf8(harness.take_sent()).unwrap();
        Self { harness, log, switching: switching(&request) }
    }

    pub fn asked() -> Self {
        Self::asked_by(Connect::to(URL).unwrap(), Settings::default(), Limits::default())
    }

    pub fn open_with(settings: Settings) -> Self {
        let mut server = Self::asked_by(Connect::to(URL).unwrap(), settings, Limits::default());
        server.accept();
        server
    }

    pub fn open() -> Self {
        Self::open_with(Settings::default())
    }

    pub fn accept(&mut self) {
        self.harness.feed(self.switching.as_bytes());
        assert_eq!(self.log.take(), ["open"]);
    }

    pub fn feed(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.harness.feed(bytes.as_ref());
        self
    }

    pub fn take_log(&mut self) -> Vec<String> {
        self.log.take()
    }

    /// The frames sent since this was last asked, checked as a server would.
    pub fn frames(&mut self) -> Frames {
        client_frames(&self.harness.take_sent()).0
    }

    pub fn error(&mut self) -> AnswerError {
        match self.harness.close_reason().expect("it has closed") {
            CloseReason::Failure(failure) => {
                failure.error().downcast_ref::<AnswerError>().expect("of the answer").clone()
            }
            reason => panic!("no failure: {reason}"),
        }
    }

    pub fn close_reason(&mut self) -> String {
        self.harness.close_reason().expect("it has closed").to_string()
    }

    /// Nothing is left of the connection.
    pub fn assert_gone(&mut self) {
        let core = self.harness.core();
        assert_eq!((core.open_connections(), core.armed_timers(), core.held_bytes()), (0, 0, 0));
    }
}

/// The answer that a request asks for, as a server computes it.
pub fn switching(request: &str) -> String {
    let Some((_, rest)) = request.split_once("Sec-WebSocket-Key: ") else { return String::new() };
    let key = rest.split_once("\r\n").unwrap().0;
    let accept = switchboard_websocket::handshake::AcceptKey::answer(key.as_bytes());
    let accept = std::str::from_utf8(accept.as_bytes()).unwrap();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// A frame as a server sends it.
pub fn plain(fin: bool, opcode: OpCode, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    [&Header { fin, compressed: false, opcode, mask: None, payload: payload.len() as u64 }.encode(), payload].concat()
}

pub fn plain_text(payload: &str) -> Vec<u8> {
    plain(true, OpCode::Text, payload)
}

/// Whole unfragmented masked frames, and nothing else; and their keys.
pub fn client_frames(mut bytes: &[u8]) -> (Frames, Vec<mask::Key>) {
    let (mut frames, mut keys) = (Vec::new(), Vec::new());
    while !bytes.is_empty() {
        let server = Receiver { role: Role::Server, in_message: false, compression: false };
        let (header, start) = parse(bytes, server).expect("a valid frame").expect("a whole header");
        assert!(header.fin);
        let end = start + usize::try_from(header.payload).expect("a length that fits");
        let mut payload = bytes[start..end].to_vec();
        mask::apply(&mut payload, header.mask.unwrap());
        frames.push((header.opcode, payload));
        keys.push(header.mask.unwrap());
        bytes = &bytes[end..];
    }
    (frames, keys)
}
