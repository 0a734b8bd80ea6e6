//! Why a session fails or a message can't be sent, one enum for each who may be to blame.
//!
//! What ends a session reaches [`Handler::on_close`](crate::Handler::on_close) as
//! [`Closed::cause`](crate::Closed::cause), where `downcast_ref` tells them apart.

use std::time::Duration;

use thiserror::Error;

/// The peer can't be reached, or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PeerGone {
    /// Nobody answered the opening within [`Settings::open_timeout`](crate::Settings::open_timeout).
    #[error("open_timeout: nobody answered within {0:?}")]
    NoAnswer(Duration),
    /// What was sent, however often, was not acknowledged within [`Settings::timeout`](crate::Settings::timeout).
    #[error("timeout: the peer has acknowledged nothing for {0:?}")]
    Unreachable(Duration),
    /// The peer says that it has no such session: it aborted it, failed, or was started again.
    #[error("the peer has reset the session")]
    Reset,
    /// The closing did not end within [`Settings::close_timeout`](crate::Settings::close_timeout).
    #[error("close_timeout: the peer did not close within {0:?}")]
    CloseTimeout(Duration),
}

/// The peer broke the protocol, for sure: the datagram had the id that only the peer knows. Datagrams that may be anybody's
/// are dropped and [counted](crate::Stats::dropped).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// It acknowledged a segment that was never sent.
    #[error("the peer acknowledged what was never sent")]
    AckOfUnsent,
    /// It sent a message that is longer than it was told that this side takes.
    #[error("a message of {size} bytes or more, {limit} allowed")]
    MessageTooLong {
        /// Bytes it has with the last segment that came.
        size: usize,
        /// [`Settings::max_message`](crate::Settings::max_message).
        limit: usize,
    },
    /// It ended in the middle of a message.
    #[error("the peer ended in the middle of a message")]
    Truncated,
}

/// Why a message was not put down to be sent. Nothing of it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// It is longer than this side's [`Settings::max_message`](crate::Settings::max_message), or than the peer's.
    #[error("a message of {size} bytes, {limit} allowed")]
    TooLong {
        /// Bytes it has.
        size: usize,
        /// The smaller of both sides' limits.
        limit: usize,
    },
    /// With it more would wait than [`Settings::send_buffer`](crate::Settings::send_buffer) allows. Whoever stops when
    /// [`Peer::has_room`](crate::Peer::has_room) says no never gets here.
    #[error("send_buffer: {wanted} bytes would wait, {limit} allowed")]
    Full {
        /// Bytes that would wait.
        wanted: usize,
        /// Bytes that may.
        limit: usize,
    },
    /// One of both sides has begun to close.
    #[error("the session closes")]
    Closing,
}

/// The program misused this crate: a bug to mend there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UsageError {
    /// A setting is out of its range.
    #[error("Settings::{setting} is {value} and must be {least} to {most}")]
    Range {
        /// The field of [`Settings`](crate::Settings).
        setting: &'static str,
        /// Its value.
        value: usize,
        /// The least it may be.
        least: usize,
        /// The most it may be.
        most: usize,
    },
    /// The timeouts contradict each other.
    #[error(
        "Settings: min_rto, initial_rto and max_rto must ascend, from a millisecond, and ack_delay be below min_rto"
    )]
    Timeouts,
    /// The loop may not hold as much as one session.
    #[error("a session may hold {needed} bytes: lower the Settings or raise Limits::loop_memory ({actual})")]
    LoopMemory {
        /// What one session may hold.
        needed: usize,
        /// What all may.
        actual: usize,
    },
    /// The connection is a stream, which needs none of this.
    #[error("a reliable session goes over UDP: bind_sessions, connect_udp")]
    NotDatagrams,
}
