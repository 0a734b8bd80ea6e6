//! What this crate's WebSocket makes of bytes, in either role.

use std::cell::RefCell;
use std::rc::Rc;

use switchboard::testkit::Harness;
use switchboard::{CloseReason, Closing, Failure, Limits};
use switchboard_websocket::frame::{OpCode, Receiver, Role, parse};
use switchboard_websocket::handshake::AcceptKey;
use switchboard_websocket::{Begin, Closed, Connect, Delivery, Handler, Message, Peer, Settings, WebSocket, mask};

use super::{End, Event, Reading, Terms};

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A WebSocket of this role, its handshake done. `extension` is what the peer asks for or agrees on, a whole field or
/// nothing.
///
/// # Panics
/// If it does not open.
pub fn open(role: Role, handler: impl Handler, settings: &Rc<Settings>, limits: Limits, extension: &str) -> Harness {
    match role {
        Role::Server => {
            let mut harness = Harness::with_limits(WebSocket::with_settings(handler, settings), limits);
            let lines = UPGRADE.strip_suffix(b"\r\n").expect("an empty line at its end");
            harness.feed(&[lines, extension.as_bytes(), b"\r\n"].concat());
            assert!(harness.take_sent().starts_with(b"HTTP/1.1 101 "), "the handshake is in order");
            harness
        }
        Role::Client => {
            let connect = Connect::to("ws://a/").expect("an address");
            let mut harness = Harness::with_limits(WebSocket::client_with_settings(connect, handler, settings), limits);
            let request = String::from_utf8(harness.take_sent()).expect("a request");
            let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("its key");
            let accept = AcceptKey::answer(key.as_bytes());
            let answer = [
                b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: ",
                accept.as_bytes(),
                b"\r\n",
                extension.as_bytes(),
                b"\r\n",
            ];
            harness.feed(&answer.concat());
            assert!(harness.is_open(), "{:?}", harness.close_reason());
            harness
        }
    }
}

/// A WebSocket of ours that is to read something.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    /// The end that it is.
    pub role: Role,
    /// Without a heartbeat, and such that nothing is compressed on the way back: what it sends is read here.
    pub settings: Settings,
    /// What the peer asks for or agrees on: a whole field, or nothing.
    pub extension: &'a str,
    /// It has messages handed on in pieces.
    pub in_pieces: bool,
}

impl Reader<'_> {
    /// One without compression.
    #[must_use]
    pub fn new(terms: &Terms) -> Self {
        let settings = Settings {
            max_message: terms.max_message,
            max_fragments: terms.max_fragments,
            max_streamed: terms.max_message as u64,
            max_streamed_fragments: terms.max_fragments,
            heartbeat: None,
            ..Settings::default()
        };
        Self { role: terms.role, settings, extension: "", in_pieces: false }
    }

    /// Our reading of bytes that come in these chunks: what it sends tells what it has read.
    ///
    /// # Panics
    /// If what it sends is no WebSocket's, or it ends otherwise than by what it has sent.
    #[must_use]
    pub fn read<'b>(&self, chunks: impl IntoIterator<Item = &'b [u8]>) -> Reading {
        let limits = Limits { read_budget: 4096, ..Limits::default() }; // a small buffer is made faster
        let told = Rc::<RefCell<_>>::default();
        let echo = Echo { told: Rc::clone(&told), in_pieces: self.in_pieces, arriving: Vec::new() };
        let mut harness = open(self.role, echo, &Rc::new(self.settings.clone()), limits, self.extension);
        for chunk in chunks {
            harness.feed(chunk);
        }
        let (events, close) = sent(&harness.take_sent(), self.role);
        let Some(payload) = close else {
            assert!(harness.is_open(), "it ended without a word: {:?}", harness.close_reason());
            return Reading { events, end: End::Open };
        };
        harness.eof(); // a client waits for the server to end the connection
        let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
        let end = match told.borrow_mut().take() {
            Some(Told::Closed(closed)) => {
                assert_eq!(closed, code, "it answers with the same code");
                End::Closed(code)
            }
            Some(Told::Failed) => End::Refused(code),
            None => panic!("it has not told its handler: {:?}", harness.close_reason()),
        };
        Reading { events, end }
    }
}

/// The frames that were sent: what they say was read, and a close frame's payload.
fn sent(mut sent: &[u8], role: Role) -> (Vec<Event>, Option<Vec<u8>>) {
    let role = if role == Role::Server { Role::Client } else { Role::Server };
    let receiver = Receiver { role, in_message: false, compression: false };
    let mut events = Vec::new();
    while let Some((header, start)) = parse(sent, receiver).expect("a valid frame") {
        let end = start + usize::try_from(header.payload).expect("a length that fits");
        let mut payload = sent[start..end].to_vec();
        mask::apply(&mut payload, header.mask.unwrap_or_default());
        sent = &sent[end..];
        match header.opcode {
            OpCode::Close => {
                assert!(sent.is_empty(), "bytes behind the close frame");
                return (events, Some(payload));
            }
            OpCode::Pong => events.push((OpCode::Ping, payload)),
            OpCode::Ping => panic!("there is no heartbeat"),
            opcode => match payload.split_off(1) {
                said if payload == [PONG] => events.push((OpCode::Pong, said)),
                said => events.push((opcode, said)),
            },
        }
    }
    assert!(sent.is_empty(), "half a frame");
    (events, None)
}

/// What the echo of a message begins with.
const MESSAGE: u8 = b'm';
/// What tells of a pong.
const PONG: u8 = b'p';

enum Told {
    Closed(u16),
    Failed,
}

/// Repeats messages and pongs, and keeps how it ended.
struct Echo {
    told: Rc<RefCell<Option<Told>>>,
    in_pieces: bool,
    /// The pieces so far.
    arriving: Vec<u8>,
}

impl Handler for Echo {
    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        match message {
            Message::Text(text) => peer.text(&format!("{}{text}", char::from(MESSAGE))),
            Message::Binary(bytes) => peer.binary(&[&[MESSAGE], bytes].concat()),
        }
        Ok(())
    }

    fn on_begin(&mut self, _: &mut Peer<'_, '_>, _: &Begin) -> Result<Delivery, Failure> {
        assert!(self.arriving.is_empty(), "a message within another");
        Ok(if self.in_pieces { Delivery::Pieces } else { Delivery::Whole })
    }

    fn on_piece(&mut self, peer: &mut Peer<'_, '_>, piece: Message<'_>, last: bool) -> Result<(), Failure> {
        assert!(last || !piece.as_bytes().is_empty(), "a piece of nothing");
        self.arriving.extend(piece.as_bytes());
        if !last {
            return Ok(());
        }
        let whole = std::mem::take(&mut self.arriving);
        let text = || str::from_utf8(&whole).expect("pieces have whole characters");
        self.on_message(
            peer,
            if matches!(piece, Message::Text(_)) { Message::Text(text()) } else { Message::Binary(&whole) },
        )
    }

    fn on_pong(&mut self, peer: &mut Peer<'_, '_>, payload: &[u8]) -> Result<(), Failure> {
        peer.binary(&[&[PONG], payload].concat());
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, closed: &Closed<'_>) {
        let is_failure = matches!(closed.cause, CloseReason::Failure(_));
        let told = if is_failure { Told::Failed } else { Told::Closed(closed.code.0) };
        assert!(self.told.borrow_mut().replace(told).is_none(), "told twice");
    }
}
