//! The same bytes to our server and to [`tungstenite`]'s: both must deliver the same messages, and agree on whether they
//! were valid. Where they don't, the [`Difference`] is a known one.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;

use switchboard::testkit::Harness;
use switchboard::{CloseReason, Closing, Failure, Limits};
use switchboard_websocket::close::ClosePayloadError;
use switchboard_websocket::error::ProtocolError;
use switchboard_websocket::frame::{FrameError, OpCode, Receiver, Role, parse};
use switchboard_websocket::{Closed, Handler, Message, Peer, Settings, WebSocket};
use tungstenite::protocol::{WebSocketConfig, WebSocketContext};

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// The longest message that either takes.
const MAX_MESSAGE: usize = 1000;

/// What a server makes of some bytes.
#[derive(Debug, PartialEq)]
struct Reading {
    /// Messages and pings, in order.
    events: Vec<(OpCode, Vec<u8>)>,
    end: End,
}

/// Where a server stands behind the last byte.
#[derive(Debug, PartialEq)]
enum End {
    /// It waits for more.
    Open,
    /// The peer closed, with this code (1005 for none).
    Closed(u16),
    /// The bytes were refused; ours says why.
    Refused(Option<ProtocolError>),
}

/// Where the two may differ, and why ours is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// RFC 6455 §5.2: "the minimal number of bytes MUST be used to encode the length". tungstenite takes any form.
    LengthNotMinimal,
    /// RFC 6455 §7.1.7 has an endpoint fail the connection when it is invalid, and §8.1 when text is. Ours does so at the
    /// first byte that shows it, with the frame (or its header) cut short; tungstenite when the frame is whole.
    /// A message that will be too long is refused by its header as well (§10.4).
    RefusedEarlier,
    /// RFC 6455 §7.4.1: codes that must not be on the wire fail the connection. tungstenite answers such a close frame
    /// with a close frame of its own, code 1002, and ends in order.
    ForbiddenCloseCode,
    /// IANA's registry of close codes has had 1014, Bad Gateway, since the RFC (§11.7 opened it). tungstenite does not
    /// know it, and takes it for forbidden.
    CloseCode1014,
}

/// Gives the input to both: the size of the chunks for ours in the first byte, frames of a client in the rest. The
/// difference between them, if there is one.
///
/// # Panics
/// If they differ in a way that is not known.
pub fn fuzz(data: &[u8]) -> Option<Difference> {
    let (size, frames) = data.split_first()?;
    let ours = ours(frames, 1 + usize::from(*size));
    let theirs = theirs(frames);
    difference(frames, &ours, &theirs).unwrap_or_else(|| panic!("ours: {ours:?}\ntheirs: {theirs:?}"))
}

/// What is different, if it is a known difference: else `None`.
fn difference(frames: &[u8], ours: &Reading, theirs: &Reading) -> Option<Option<Difference>> {
    let refused = if let End::Refused(error) = &ours.end { *error } else { None };
    let not_minimal = match refused {
        Some(ProtocolError::Frame(FrameError::LengthNotMinimal)) => true,
        // Of a control frame with more octets of length than it may need, too much is said already by the first.
        Some(ProtocolError::Frame(FrameError::LongControl)) => lengths(frames)
            .find(|length| length.control && length.octets > 0)
            .is_some_and(|length| length.payload <= 125),
        _ => false,
    };
    if not_minimal && theirs.events.starts_with(&ours.events) {
        return Some(Some(Difference::LengthNotMinimal));
    }
    if ours.events != theirs.events {
        return None;
    }
    match (&ours.end, &theirs.end) {
        (End::Refused(_), End::Refused(_)) => Some(None),
        (one, other) if one == other => Some(None),
        (End::Refused(_), End::Open) if lengths(frames).any(|length| length.cut_short) => {
            Some(Some(Difference::RefusedEarlier))
        }
        (End::Refused(Some(ProtocolError::Close(ClosePayloadError::ForbiddenCode(_)))), End::Closed(1002)) => {
            Some(Some(Difference::ForbiddenCloseCode))
        }
        (End::Closed(1014), End::Closed(1002)) => Some(Some(Difference::CloseCode1014)),
        _ => None,
    }
}

/// A frame, as far as its length goes.
struct Length {
    control: bool,
    /// The octets of its length behind the second, if they are there.
    octets: usize,
    payload: u128,
    cut_short: bool,
}

/// The lengths of all frames, whatever else is wrong with them.
fn lengths(mut frames: &[u8]) -> impl Iterator<Item = Length> {
    std::iter::from_fn(move || {
        let first = *frames.first()?;
        let mut take = |count: usize| {
            let (taken, rest) = frames.split_at_checked(count).unwrap_or((&[], &[]));
            frames = rest;
            (taken.len() == count).then_some(taken)
        };
        let mut length = Length { control: first & 0x8 != 0, octets: 0, payload: 0, cut_short: true };
        let Some(&[_, second]) = take(2) else { return Some(length) };
        let count = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(octets) = take(count) else { return Some(length) };
        length.octets = count;
        length.payload = match count {
            0 => u128::from(second & 0x7f),
            _ => octets.iter().fold(0, |sum, octet| sum << 8 | u128::from(*octet)),
        };
        let key = if second & 0x80 == 0 { 0 } else { 4 };
        length.cut_short = usize::try_from(length.payload + key).ok().and_then(take).is_none();
        Some(length)
    })
}

/// Our server's reading: the echoes and pongs that it sends, and how it ends.
fn ours(frames: &[u8], size: usize) -> Reading {
    let settings = Settings { max_message: MAX_MESSAGE, heartbeat: None, ..Settings::default() };
    let told = Rc::<RefCell<_>>::default();
    let limits = Limits { read_budget: 4096, ..Limits::default() }; // a small buffer is made faster
    let protocol = WebSocket::with_settings(Echo(Rc::clone(&told)), &Rc::new(settings));
    let mut harness = Harness::with_limits(protocol, limits);
    harness.feed(UPGRADE);
    assert!(harness.take_sent().starts_with(b"HTTP/1.1 101 "), "the handshake is in order");
    for chunk in frames.chunks(size) {
        harness.feed(chunk);
    }
    let sent = harness.take_sent();
    let events = events(&sent);
    let end = match told.borrow_mut().take() {
        _ if harness.is_open() => End::Open,
        Some(end) => end,
        None => panic!("it ended without a word: {:?}", harness.close_reason()),
    };
    Reading { events, end }
}

/// The frames that a server sent, close frames left out.
fn events(mut sent: &[u8]) -> Vec<(OpCode, Vec<u8>)> {
    let client = Receiver { role: Role::Client, in_message: false, compression: false };
    let mut events = Vec::new();
    while let Some((header, start)) = parse(sent, client).expect("a valid frame") {
        let end = start + usize::try_from(header.payload).expect("a length that fits");
        match header.opcode {
            OpCode::Close => assert_eq!(sent.len(), end, "bytes behind the close frame"),
            OpCode::Pong => events.push((OpCode::Ping, sent[start..end].to_vec())),
            opcode => events.push((opcode, sent[start..end].to_vec())),
        }
        sent = &sent[end..];
    }
    assert!(sent.is_empty(), "half a frame");
    events
}

/// Repeats messages, and says how it ended.
struct Echo(Rc<RefCell<Option<End>>>);

impl Handler for Echo {
    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        peer.send(message);
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, closed: &Closed<'_>) {
        *self.0.borrow_mut() = Some(match closed.cause {
            CloseReason::Failure(failure) => End::Refused(failure.error().downcast_ref().copied()),
            _ => End::Closed(closed.code.0),
        });
    }
}

/// tungstenite's reading.
fn theirs(frames: &[u8]) -> Reading {
    let config = WebSocketConfig::default()
        .read_buffer_size(1024)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let mut socket = WebSocketContext::new(tungstenite::protocol::Role::Server, Some(config));
    let mut stream = Bytes(frames);
    let mut events = Vec::new();
    loop {
        let end = match socket.read(&mut stream) {
            Ok(tungstenite::Message::Text(text)) => {
                events.push((OpCode::Text, text.as_bytes().to_vec()));
                continue;
            }
            Ok(tungstenite::Message::Binary(bytes)) => {
                events.push((OpCode::Binary, bytes.to_vec()));
                continue;
            }
            Ok(tungstenite::Message::Ping(bytes)) => {
                events.push((OpCode::Ping, bytes.to_vec()));
                continue;
            }
            Ok(tungstenite::Message::Pong(_)) => continue,
            Ok(tungstenite::Message::Close(frame)) => End::Closed(frame.map_or(1005, |frame| u16::from(frame.code))),
            Ok(message) => panic!("it never gives {message:?}"),
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => End::Open,
            Err(_) => End::Refused(None),
        };
        return Reading { events, end };
    }
}

/// Bytes that have arrived, and room for all that is sent.
struct Bytes<'a>(&'a [u8]);

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { self.0.read(buffer) }
    }
}

impl Write for Bytes<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
