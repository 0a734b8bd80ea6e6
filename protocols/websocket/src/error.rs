//! Why a WebSocket fails, one enum for each who may be to blame.
//!
//! The opening handshake has its own: on a server [`HandshakeError`](crate::handshake::HandshakeError) and
//! [`InvalidAnswer`](crate::handshake::InvalidAnswer), on a client [`AnswerError`](crate::handshake::AnswerError) and
//! [`InvalidConnect`](crate::handshake::InvalidConnect). So has the heartbeat,
//! [`PeerSilent`](switchboard_heartbeat::PeerSilent). What ends an open WebSocket reaches
//! [`Handler::on_close`](crate::Handler::on_close) as [`Closed::cause`](crate::Closed::cause), where `downcast_ref` tells
//! them apart. A connection whose opening handshake failed was never open to its handler: a client's is told by
//! [`Handler::on_failed`](crate::Handler::on_failed), a server's is not. Its error is the
//! [`CloseReason`](switchboard::CloseReason) that a [`Layer`](switchboard::Layer) around it is told.

use std::time::Duration;

use thiserror::Error;

use crate::close::{CloseCode, ClosePayloadError};
use crate::deflate::InflateError;
use crate::frame::FrameError;
use crate::utf8::InvalidUtf8;

/// The peer broke RFC 6455.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A frame's header. It is answered with close code 1002.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A text message. It is answered with close code 1007.
    #[error(transparent)]
    Text(#[from] InvalidUtf8),
    /// A compressed message. It is answered with close code 1007.
    #[error(transparent)]
    Compressed(#[from] InflateError),
    /// A close frame's payload. It is answered with close code 1002 or 1007.
    #[error(transparent)]
    Close(#[from] ClosePayloadError),
    /// The connection ended without a close frame from the peer: its close code is 1006, which is never sent.
    #[error("the peer ended the connection without a close frame (RFC 6455 §7.1.5)")]
    NoClose,
    /// The peer did not answer a close frame within [`Settings::close_timeout`](crate::Settings::close_timeout).
    #[error("close_timeout: the peer did not answer a close frame within {0:?} (RFC 6455 §7.1.1)")]
    CloseTimeout(Duration),
}

impl ProtocolError {
    /// The code of the close frame that answers it.
    #[must_use]
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::Text(_) | Self::Compressed(_) | Self::Close(ClosePayloadError::InvalidReason) => {
                CloseCode::INVALID_PAYLOAD
            }
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}

/// The peer sent more than [`Settings`](crate::Settings) allow, or took longer. It is answered with close code 1009, or
/// 1008 where that is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MessageLimit {
    /// A message is longer than [`Settings::max_message`](crate::Settings::max_message).
    #[error("max_message: a message of {size} bytes or more, {limit} allowed")]
    Size {
        /// Bytes it has with the frame that was refused.
        size: u64,
        /// Bytes allowed.
        limit: usize,
    },
    /// A message has more fragments than [`Settings::max_fragments`](crate::Settings::max_fragments).
    #[error("max_fragments: a message of more than {limit} fragments")]
    Fragments {
        /// Fragments allowed.
        limit: u32,
    },
    /// A message in pieces is longer than [`Settings::max_streamed`](crate::Settings::max_streamed).
    #[error("max_streamed: a message of {size} bytes or more, {limit} allowed")]
    Streamed {
        /// Bytes it has with the frame that was refused, or has inflated to.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A message in pieces has more fragments than
    /// [`Settings::max_streamed_fragments`](crate::Settings::max_streamed_fragments).
    #[error("max_streamed_fragments: a message of more than {limit} fragments")]
    StreamedFragments {
        /// Fragments allowed.
        limit: u32,
    },
    /// A message did not arrive whole within [`Settings::message_timeout`](crate::Settings::message_timeout). It is
    /// answered with close code 1008.
    #[error("message_timeout: a message did not arrive whole within {0:?}")]
    Timeout(Duration),
}

/// The program misused this crate: a bug to mend there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UsageError {
    /// The loop's limits are too small for what a connection may hold.
    #[error(
        "Settings::{setting} ({value}) needs Limits::{limit} of at least {needed}: \
         lower the first or raise Limits::{limit} ({actual})"
    )]
    Limits {
        /// The field of [`Settings`](crate::Settings).
        setting: &'static str,
        /// Its value.
        value: usize,
        /// The field of [`Limits`](switchboard::Limits).
        limit: &'static str,
        /// What it must be at least.
        needed: usize,
        /// What it is.
        actual: usize,
    },
    /// A close code that must not be sent.
    #[error("close code {0} must not be sent (RFC 6455 §7.4)")]
    CloseCode(CloseCode),
    /// A payload longer than a control frame may have.
    #[error("a ping has at most 125 bytes, not {0} (RFC 6455 §5.5)")]
    LongPing(usize),
    /// A piece of text within a binary message, or the other way round.
    #[error("a message is sent in pieces of one kind, text or binary")]
    MixedPieces,
    /// A handler that asked for a message in pieces does not take them.
    #[error("Delivery::Pieces needs a Handler::on_piece")]
    NoOnPiece,
}
