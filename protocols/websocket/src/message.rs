//! Messages: received ones, shared ones, and those that other protocols post.

use std::borrow::Cow;

use bytes::Bytes;

use crate::close::CloseCode;
use crate::utf8::{self, InvalidUtf8};

/// A whole message, borrowed from where it arrived.
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

/// Text to be sent to many: UTF-8 that was checked once and is shared from then on.
///
/// ```
/// use bytes::Bytes;
/// use switchboard_websocket::SharedText;
///
/// let news = SharedText::from(format!("{} peers are here", 7));
/// assert_eq!(news.as_bytes(), b"7 peers are here");
/// assert!(SharedText::try_from(Bytes::from_static(b"\xff")).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SharedText(Bytes);

impl SharedText {
    /// The text's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text's bytes, to keep.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl From<String> for SharedText {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&'static str> for SharedText {
    fn from(text: &'static str) -> Self {
        Self(text.into())
    }
}

impl TryFrom<Bytes> for SharedText {
    type Error = InvalidUtf8;

    fn try_from(bytes: Bytes) -> Result<Self, InvalidUtf8> {
        utf8::check(&bytes)?;
        Ok(Self(bytes))
    }
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
    Binary(Bytes),
    /// Begin the closing handshake with this code and reason, as [`Peer::close`](crate::Peer::close) does.
    Close(CloseCode, Cow<'static, str>),
}

impl From<Post> for switchboard::Message {
    fn from(post: Post) -> Self {
        Self::user(post)
    }
}
