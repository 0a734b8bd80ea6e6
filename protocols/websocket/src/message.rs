//! Messages: received ones, and those that other protocols post.

use std::borrow::Cow;

use crate::close::CloseCode;
use crate::{SharedBinary, SharedText};

/// A message, or a piece of one, borrowed from where it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// UTF-8 text.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Its bytes, of whatever kind it is.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// A message that begins to arrive: what [`Handler::on_begin`](crate::Handler::on_begin) is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Begin {
    /// It is text, not binary.
    pub is_text: bool,
    /// It is compressed.
    pub is_compressed: bool,
    /// Bytes that its first frame declares to have, compressed if it is.
    pub payload: u64,
    /// That frame is all of it.
    pub fin: bool,
}

impl Begin {
    /// The message's length in bytes, where that is known: not if it is compressed, or has further frames.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        (self.fin && !self.is_compressed).then_some(self.payload)
    }
}

/// How a handler wants a message: what [`Handler::on_begin`](crate::Handler::on_begin) answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Delivery {
    /// Put together, by [`on_message`](crate::Handler::on_message).
    #[default]
    Whole,
    /// As it arrives, by [`on_piece`](crate::Handler::on_piece).
    Pieces,
}

/// What any protocol of the loop, or any thread by the loop's handle, can have a WebSocket connection send.
///
/// It is posted to the connection's id, and sent without the connection's [`Handler`](crate::Handler) being asked. A
/// connection whose opening handshake is not done yet sends it then (the first [`mailbox`](switchboard::Limits::mailbox) of
/// them); one that is closing drops it, and [`Closed::unsent`](crate::Closed::unsent) counts it.
///
/// ```
/// use switchboard::{ConnectionId, Core};
/// use switchboard_websocket::Post;
///
/// fn greet(core: &mut Core, peer: ConnectionId) {
///     // Handed back if the peer is gone, or has a thousand unread ones.
///     let _ = core.post(peer, Post::Text("hello".into()));
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Post {
    /// Send a text message.
    Text(SharedText),
    /// Send a binary message.
    Binary(SharedBinary),
    /// Begin the closing handshake with this code and reason, as [`Peer::close`](crate::Peer::close) does.
    Close(CloseCode, Cow<'static, str>),
}

impl From<Post> for switchboard::Message {
    fn from(post: Post) -> Self {
        Self::user(post)
    }
}
