//! What the oracles make of bytes.

use std::io::{self, Read, Write};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use fastwebsockets::{FragmentCollector, WebSocketError};
use switchboard_websocket::frame::{OpCode, Role};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::protocol::{WebSocketConfig, WebSocketContext};

use super::difference::Oracle;
use super::{End, Event, Reading, Terms};

/// Bytes that have arrived, with nothing behind them for now; and room for all that is sent.
#[derive(Debug)]
pub struct Bytes<'a> {
    /// Those not read yet.
    pub arrived: &'a [u8],
    /// What was sent.
    pub sent: Vec<u8>,
}

impl<'a> Bytes<'a> {
    /// These bytes have arrived.
    #[must_use]
    pub fn new(arrived: &'a [u8]) -> Self {
        Self { arrived, sent: Vec::new() }
    }
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.arrived.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { self.arrived.read(buffer) }
    }
}

impl Write for Bytes<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sent.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whoever waits for more waits for ever, and nobody wakes it.
impl AsyncRead for Bytes<'_> {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.arrived.is_empty() {
            return Poll::Pending;
        }
        let (now, later) = this.arrived.split_at(this.arrived.len().min(buffer.remaining()));
        buffer.put_slice(now);
        this.arrived = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bytes<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.get_mut().sent.write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What a future on [`Bytes`] comes to: `None` if it waits for more of them.
pub fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// An oracle's reading. Neither sends a close frame for what it refuses: that is its application's to do, so the code is
/// the one that RFC 6455 §7.4.1 has for the error that it gives.
///
/// # Panics
/// If it gives an error that is not of the bytes.
#[must_use]
pub fn read(oracle: Oracle, terms: &Terms, bytes: &[u8]) -> Reading {
    let mut events = Vec::new();
    let end = match oracle {
        Oracle::Tungstenite => tungstenite(terms, bytes, &mut events),
        Oracle::Fastwebsockets => fastwebsockets(terms, bytes, &mut events),
    };
    Reading { events, end }
}

fn tungstenite(terms: &Terms, bytes: &[u8], events: &mut Vec<Event>) -> End {
    use tungstenite::{Error, Message};
    let config = WebSocketConfig::default()
        .read_buffer_size(1024)
        .max_message_size(Some(terms.max_message))
        .max_frame_size(Some(terms.max_message));
    let role = match terms.role {
        Role::Server => tungstenite::protocol::Role::Server,
        Role::Client => tungstenite::protocol::Role::Client,
    };
    let mut socket = WebSocketContext::new(role, Some(config));
    let mut stream = Bytes::new(bytes);
    loop {
        events.push(match socket.read(&mut stream) {
            Ok(Message::Text(text)) => (OpCode::Text, text.as_bytes().to_vec()),
            Ok(Message::Binary(bytes)) => (OpCode::Binary, bytes.to_vec()),
            Ok(Message::Ping(bytes)) => (OpCode::Ping, bytes.to_vec()),
            Ok(Message::Pong(bytes)) => (OpCode::Pong, bytes.to_vec()),
            Ok(Message::Close(frame)) => return End::Closed(frame.map_or(1005, |frame| u16::from(frame.code))),
            Ok(message) => panic!("it never gives {message:?}"),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return End::Open,
            Err(Error::Protocol(_)) => return End::Refused(1002),
            Err(Error::Utf8(_)) => return End::Refused(1007),
            Err(Error::Capacity(_)) => return End::Refused(1009),
            Err(error) => panic!("not an error of the bytes: {error}"),
        });
    }
}

fn fastwebsockets(terms: &Terms, bytes: &[u8], events: &mut Vec<Event>) -> End {
    let role = match terms.role {
        Role::Server => fastwebsockets::Role::Server,
        Role::Client => fastwebsockets::Role::Client,
    };
    let mut socket = fastwebsockets::WebSocket::after_handshake(Bytes::new(bytes), role);
    socket.set_auto_pong(false); // so that it gives them out
    socket.set_max_message_size(terms.max_message + 1); // which it refuses
    let mut socket = FragmentCollector::new(socket);
    loop {
        let frame = match now(socket.read_frame()) {
            None => return End::Open,
            Some(Ok(frame)) => frame,
            Some(Err(WebSocketError::InvalidUTF8)) => return End::Refused(1007),
            Some(Err(WebSocketError::FrameTooLarge)) => return End::Refused(1009),
            Some(Err(WebSocketError::IoError(error))) => panic!("not an error of the bytes: {error}"),
            Some(Err(_)) => return End::Refused(1002),
        };
        let payload = frame.payload.to_vec();
        events.push(match frame.opcode {
            fastwebsockets::OpCode::Text => (OpCode::Text, payload),
            fastwebsockets::OpCode::Binary => (OpCode::Binary, payload),
            fastwebsockets::OpCode::Ping => (OpCode::Ping, payload),
            fastwebsockets::OpCode::Pong => (OpCode::Pong, payload),
            fastwebsockets::OpCode::Close => {
                return End::Closed(payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code)));
            }
            fastwebsockets::OpCode::Continuation => panic!("it puts fragments together"),
        });
    }
}
