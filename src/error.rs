//! Why things fail and why connections end: each says who is to blame.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

/// Who is to blame for a failure, and so who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Blame {
    /// The peer broke the protocol.
    Peer,
    /// The program misused an interface: a bug to mend there.
    Caller,
    /// A limit was hit: raise it, or be glad of it.
    Limit,
    /// The operating system refused or the network broke.
    System,
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Peer => "the peer broke the protocol",
            Self::Caller => "the program misused an interface",
            Self::Limit => "a limit was hit",
            Self::System => "the system failed",
        })
    }
}

/// What a protocol's callback returns to end its connection: any error, with its blame.
///
/// Any [`Error`] becomes one by `?`, blamed on the peer, since what fails in a protocol is nearly
/// always the peer's input (an [`io::Error`] is blamed on the system); the constructors say
/// otherwise. What the callback had already sent (an error line, a close frame) is delivered before
/// the connection ends.
///
/// Like `anyhow::Error` it is not an [`Error`] itself, so that `?` can convert into it.
pub struct Failure(Box<Inner>);

struct Inner {
    blame: Blame,
    source: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// A failure that is `blame`'s, because of `source` (an error, or text).
    #[cold]
    pub fn new(blame: Blame, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Box::new(Inner { blame, source: source.into() }))
    }

    /// The peer broke the protocol.
    #[cold]
    pub fn peer(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Blame::Peer, source)
    }

    /// The program misused an interface.
    #[cold]
    pub fn caller(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Blame::Caller, source)
    }

    /// A limit was hit.
    #[cold]
    pub fn limit(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Blame::Limit, source)
    }

    /// Who is to blame.
    #[must_use]
    pub fn blame(&self) -> Blame {
        self.0.blame
    }

    /// The error itself; `downcast_ref` it to its type.
    #[must_use]
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0.source
    }

    /// The error itself, to keep.
    #[must_use]
    pub fn into_error(self) -> Box<dyn Error + Send + Sync> {
        self.0.source
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    #[cold]
    fn from(error: E) -> Self {
        let source: Box<dyn Error + Send + Sync> = Box::new(error);
        let blame = if source.is::<io::Error>() {
            Blame::System
        } else if source.is::<LimitExceeded>() {
            Blame::Limit
        } else {
            Blame::Peer
        };
        Self(Box::new(Inner { blame, source }))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.blame, self.0.source)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure").field("blame", &self.0.blame).field("error", &self.0.source).finish()
    }
}

/// A limit of [`Limits`](crate::Limits) that was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum LimitExceeded {
    /// More bytes wait for a protocol to understand them than a connection may hold.
    #[error("receive_buffer: {wanted} bytes are waited for, {limit} allowed")]
    ReceiveBuffer {
        /// Bytes the protocol waits for, or those that are there.
        wanted: usize,
        /// [`Limits::receive_buffer`](crate::Limits::receive_buffer).
        limit: usize,
    },
    /// More output waits for the peer than a connection may hold.
    #[error("send_buffer: {wanted} bytes wait for the peer, {limit} allowed")]
    SendBuffer {
        /// Bytes waiting.
        wanted: usize,
        /// [`Limits::send_buffer`](crate::Limits::send_buffer).
        limit: usize,
    },
    /// All connections together hold more bytes than the loop may.
    #[error("loop_memory: {wanted} bytes would be held by all connections, {limit} allowed")]
    LoopMemory {
        /// Bytes that would be held.
        wanted: usize,
        /// [`Limits::loop_memory`](crate::Limits::loop_memory).
        limit: usize,
    },
    /// Output waited for the peer, which took no byte of it for [`Limits::write_stall`](crate::Limits::write_stall), or too few
    /// for several times that.
    #[error("write_stall: of the output that waits the peer took too little in {0:?}")]
    WriteStall(Duration),
    /// There are as many connections as the loop may hold.
    #[error("connections: the loop holds its {0} already")]
    Connections(usize),
    /// A connection is subscribed to as many topics as it may be.
    #[error("subscriptions: the connection is subscribed to {0} topics already")]
    Subscriptions(usize),
    /// A subscriber that must not miss anything ([`Slow::Close`](crate::Slow)) would have to: its publications come faster
    /// than it takes them, or the loop has no memory for them.
    #[error("slow subscriber: {waiting} publications of a topic wait, and there is no room for another")]
    SlowSubscriber {
        /// Publications of the topic that waited.
        waiting: usize,
    },
    /// A protocol was switched again and again without a byte consumed.
    #[error("switches: the protocol was switched {0} times without progress")]
    Switches(u32),
}

/// The peer half-closed in the middle of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer closed with {unconsumed} bytes of an incomplete message sent")]
pub struct Truncated {
    /// Bytes that no protocol had consumed.
    pub unconsumed: usize,
}

/// Why a connection or a UDP socket ended: what `on_close` is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// This side closed (`close()`, or `finish()` first), and the system took everything sent.
    Local,
    /// The peer closed first, in order, and was answered by a close.
    Peer,
    /// This side cut it off: `abort()`. What waited to be sent is lost.
    Aborted {
        /// Bytes of output that were never handed to the system.
        unsent: usize,
    },
    /// Another protocol took the connection over; it lives on.
    Switched,
    /// The loop drained and the deadline came before the connection had ended by itself.
    Shutdown {
        /// Bytes of output that were never handed to the system.
        unsent: usize,
    },
    /// An outgoing connection was not established: refused, unreachable, no such name, ….
    Connect(io::Error),
    /// An outgoing connection was not established within
    /// [`Limits::connect_timeout`](crate::Limits::connect_timeout), or
    /// [`ConnectOptions::timeout`](crate::ConnectOptions::timeout).
    ConnectTimeout(Duration),
    /// The connection broke: a reset, a network error.
    Io {
        /// What the system said.
        error: io::Error,
        /// Bytes of output that were never handed to the system.
        unsent: usize,
    },
    /// No datagram came from a session's peer for
    /// [`SessionOptions::idle_timeout`](crate::SessionOptions::idle_timeout), this long.
    Idle(Duration),
    /// A protocol's callback failed; what it had sent before was flushed.
    Failure(Failure),
    /// The loop enforced a limit.
    Limit(LimitExceeded),
}

impl CloseReason {
    /// Who is to blame, if anybody is: a clean close is nobody's fault.
    #[must_use]
    pub fn blame(&self) -> Option<Blame> {
        match self {
            Self::Local
            | Self::Peer
            | Self::Switched
            | Self::Aborted { .. }
            | Self::Shutdown { .. }
            | Self::Idle(_) => None,
            Self::Connect(_) | Self::ConnectTimeout(_) | Self::Io { .. } => Some(Blame::System),
            Self::Failure(failure) => Some(failure.blame()),
            Self::Limit(_) => Some(Blame::Limit),
        }
    }

    /// The error behind it, if there is one.
    #[must_use]
    pub fn error(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(error) | Self::Io { error, .. } => Some(error),
            Self::Failure(failure) => Some(failure.error()),
            Self::Limit(limit) => Some(limit),
            _ => None,
        }
    }

    /// Whether both sides ended it in order and nothing was lost.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        matches!(self, Self::Local | Self::Peer | Self::Switched)
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("closed by this side"),
            Self::Peer => f.write_str("closed by the peer"),
            Self::Aborted { unsent } => write!(f, "aborted by this side, {unsent} bytes unsent"),
            Self::Switched => f.write_str("another protocol took over"),
            Self::Shutdown { unsent } => write!(f, "cut off at the end of the drain, {unsent} bytes unsent"),
            Self::Connect(error) => write!(f, "could not connect: {error}"),
            Self::ConnectTimeout(after) => write!(f, "could not connect within {after:?}"),
            Self::Io { error, unsent } => write!(f, "connection broke: {error}, {unsent} bytes unsent"),
            Self::Idle(after) => write!(f, "nothing came from the peer for {after:?}"),
            Self::Failure(failure) => failure.fmt(f),
            Self::Limit(limit) => write!(f, "{}: {limit}", Blame::Limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_word_wide() {
        assert_eq!(size_of::<Result<(), Failure>>(), size_of::<usize>());
    }

    #[test]
    fn blame_follows_the_error() {
        fn peer() -> Result<(), Failure> {
            String::from_utf8(vec![0xff])?;
            Ok(())
        }
        fn system() -> Result<(), Failure> {
            Err(io::Error::from(io::ErrorKind::ConnectionReset))?;
            Ok(())
        }
        assert_eq!(peer().unwrap_err().blame(), Blame::Peer);
        assert_eq!(system().unwrap_err().blame(), Blame::System);
        assert_eq!(Failure::from(LimitExceeded::Connections(1)).blame(), Blame::Limit);
        let reason = CloseReason::Failure(peer().unwrap_err());
        assert_eq!(reason.blame(), Some(Blame::Peer));
        assert!(reason.error().is_some_and(<dyn Error>::is::<std::string::FromUtf8Error>));
    }
}
