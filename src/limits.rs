//! Every limit of the runtime, in one place. All are finite by default.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What one event loop may hold, and for how long.
///
/// ```
/// use switchboard::{EventLoop, Limits};
///
/// let limits = Limits { connections: 100, ..Limits::default() };
/// let event_loop = EventLoop::with_limits(limits)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time, those connecting, lingering or [delayed](crate::Core::connect_after)
    /// included. At the limit listeners stop accepting (further peers wait in the system's backlog)
    /// until one has gone, and outgoing ones fail with
    /// [`LimitExceeded::Connections`](crate::LimitExceeded). Sessions over UDP are apart, with a limit for each socket
    /// ([`SessionOptions::sessions`](crate::SessionOptions::sessions)); outgoing ones are included. Default 16,384.
    pub connections: usize,
    /// Bytes that have arrived on a connection and that its protocol has not consumed; at least
    /// `read_budget`. A protocol
    /// that waits for more fails with [`LimitExceeded::ReceiveBuffer`](crate::LimitExceeded).
    /// Default 1 MiB.
    pub receive_buffer: usize,
    /// Bytes of output that wait for a connection's peer. Beyond it the connection is closed with
    /// [`LimitExceeded::SendBuffer`](crate::LimitExceeded): only a protocol that goes on sending
    /// when [`has_room`](crate::Context::has_room) says no comes here. Default 17 MiB: a message of
    /// 16 MiB and what surrounds it.
    pub send_buffer: usize,
    /// Above this much waiting output that answers input a connection is not read (who does not take
    /// answers is not asked for more), above this much of any output it gets no messages, and above half of it
    /// `has_room` says no. So a peer that never reads its answers holds at most this, and what a protocol answers
    /// to one read of `read_budget` bytes (as much again as those for an echo; one message for a WebSocket).
    /// Two protocols that each *answer* input with more than this at once, each other's answers included, can
    /// still wait for each other; what they send of themselves, or say [unasked](crate::Context::unasked), does not keep
    /// them from reading. Default 256 KiB.
    pub high_water: usize,
    /// At or below this much waiting output reading goes on, and `on_drain` is called if it is
    /// owed. Default 64 KiB.
    pub low_water: usize,
    /// Bytes that all connections together hold: unconsumed input, waiting output, subscriptions and
    /// the publications that wait, and what protocols declare by
    /// [`Context::hold`](crate::Context::hold). A connection that would go beyond is closed with
    /// [`LimitExceeded::LoopMemory`](crate::LimitExceeded). Peers that send large messages slowly hold
    /// their share meanwhile: choose message limits that the loop can afford for as many of them as it
    /// serves. Default 1 GiB.
    pub loop_memory: usize,
    /// Bytes read from one connection in one turn, and the size of the loop's read buffer; what
    /// remains has its turn after everybody else. Where others are ready in the same turn it is divided among them, down to
    /// 96 KiB each. As many again if they are the rest of a large message, which is [waited for](crate::Input::wait_for) or
    /// which a buffer is [lent](crate::Context::lend_read_buffer) for: to copy them is all that they cost. Default 256 KiB.
    pub read_budget: usize,
    /// Connections accepted from one listener in one turn. Default 64.
    pub accepts_per_turn: usize,
    /// Datagrams read from one UDP socket in one turn. Default 64.
    pub datagrams_per_turn: usize,
    /// Bytes of datagrams that wait for a UDP socket to take them; what comes on top is dropped and
    /// counted. Default 256 KiB.
    pub datagram_queue: usize,
    /// Messages posted to one connection that it has not been handed yet; beyond it a post is
    /// handed back. Publications have limits of their own ([`Slow`](crate::Slow)). Default 1,024.
    pub mailbox: usize,
    /// Topics that one connection can be subscribed to; beyond it
    /// [`subscribe`](crate::Context::subscribe) fails with
    /// [`LimitExceeded::Subscriptions`](crate::LimitExceeded). It looks through those there are.
    /// Default 256.
    pub subscriptions: usize,
    /// Messages and closures sent through [`Handle`](crate::Handle)s that the loop has not taken
    /// yet; beyond it they are handed back. Default 65,536.
    pub handle_queue: usize,
    /// How long an outgoing connection may take to be established. Default 10 s.
    pub connect_timeout: Duration,
    /// How long a peer may take no byte while output waits for it. As long as it takes some it has eight times this for each
    /// 128 KiB, or for all if that is less: by default it must take 546 bytes a second. Default 30 s.
    pub write_stall: Duration,
    /// How long a closed connection is kept to let its last words arrive, if the peer neither closes nor sends: a
    /// reset would destroy them. As long as it sends, four times this. Default 2 s.
    pub linger: Duration,
    /// Bytes read and discarded meanwhile, so that a peer that reads only when it has written all hears
    /// why it was refused. Default 16 MiB.
    pub linger_bytes: usize,
    /// How long a listener waits to try again when accepting failed for lack of descriptors or
    /// memory. Default 100 ms.
    pub accept_retry: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            receive_buffer: MIB,
            send_buffer: 17 * MIB,
            high_water: 256 * KIB,
            low_water: 64 * KIB,
            loop_memory: 1024 * MIB,
            read_budget: 256 * KIB,
            accepts_per_turn: 64,
            datagrams_per_turn: 64,
            datagram_queue: 256 * KIB,
            mailbox: 1024,
            subscriptions: 256,
            handle_queue: 65_536,
            connect_timeout: Duration::from_secs(10),
            write_stall: Duration::from_secs(30),
            linger: Duration::from_secs(2),
            linger_bytes: 16 * MIB,
            accept_retry: Duration::from_millis(100),
        }
    }
}

/// Two limits that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLimits {
    /// Draining would be announced before the backlog was ever high.
    #[error("low_water ({low_water}) must be below half of high_water ({high_water})")]
    Marks {
        /// [`Limits::low_water`].
        low_water: usize,
        /// [`Limits::high_water`].
        high_water: usize,
    },
    /// A connection would be closed before it was asked to stop producing.
    #[error("send_buffer ({send_buffer}) must be at least high_water ({high_water})")]
    SendBuffer {
        /// [`Limits::send_buffer`].
        send_buffer: usize,
        /// [`Limits::high_water`].
        high_water: usize,
    },
    /// A protocol that left unconsumed what one read brought would have its connection closed.
    #[error("receive_buffer ({receive_buffer}) must be at least read_budget ({read_budget})")]
    ReceiveBuffer {
        /// [`Limits::receive_buffer`].
        receive_buffer: usize,
        /// [`Limits::read_budget`].
        read_budget: usize,
    },
    /// Something could never happen at all.
    #[error("{0} must not be zero")]
    Zero(&'static str),
    /// An id has 32 bits for its index.
    #[error("connections ({0}) must be below 2^31")]
    Connections(usize),
}

impl Limits {
    /// How many times [`linger`](Self::linger) a connection is kept whose peer goes on sending.
    pub(crate) const LINGERS: u32 = 4;
    /// How many bytes a peer must take in [`patience`](Self::patience): or by one now and then it could hold
    /// [`send_buffer`](Self::send_buffer) for ever. Not many: a slow link is no offence, and the system takes more by tens
    /// of KiB.
    pub(crate) const PROGRESS: usize = 128 * KIB;

    /// How long a peer may take for them.
    pub(crate) fn patience(&self) -> Duration {
        self.write_stall.saturating_mul(8)
    }

    /// Whether these limits can work together; the loop asks when it is made.
    ///
    /// # Errors
    ///
    /// Names the two that contradict each other.
    pub fn check(&self) -> Result<(), InvalidLimits> {
        let Self { low_water, high_water, send_buffer, .. } = *self;
        for (name, value) in [
            ("connections", self.connections),
            ("receive_buffer", self.receive_buffer),
            ("read_budget", self.read_budget),
            ("accepts_per_turn", self.accepts_per_turn),
            ("datagrams_per_turn", self.datagrams_per_turn),
            ("mailbox", self.mailbox),
            ("handle_queue", self.handle_queue),
        ] {
            if value == 0 {
                return Err(InvalidLimits::Zero(name));
            }
        }
        if low_water >= high_water / 2 {
            return Err(InvalidLimits::Marks { low_water, high_water });
        }
        if send_buffer < high_water {
            return Err(InvalidLimits::SendBuffer { send_buffer, high_water });
        }
        let Self { receive_buffer, read_budget, .. } = *self;
        if receive_buffer < read_budget {
            return Err(InvalidLimits::ReceiveBuffer { receive_buffer, read_budget });
        }
        if self.connections >= 1 << 31 {
            return Err(InvalidLimits::Connections(self.connections));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_agree_with_each_other() {
        assert_eq!(Limits::default().check(), Ok(()));
    }

    #[test]
    fn contradictions_are_named() {
        let limits = Limits { low_water: 128 * KIB, ..Limits::default() };
        assert_eq!(limits.check(), Err(InvalidLimits::Marks { low_water: 128 * KIB, high_water: 256 * KIB }));
        let limits = Limits { send_buffer: KIB, ..Limits::default() };
        assert!(matches!(limits.check(), Err(InvalidLimits::SendBuffer { .. })));
        let limits = Limits { receive_buffer: KIB, ..Limits::default() };
        assert!(matches!(limits.check(), Err(InvalidLimits::ReceiveBuffer { .. })));
        let limits = Limits { mailbox: 0, ..Limits::default() };
        assert_eq!(limits.check(), Err(InvalidLimits::Zero("mailbox")));
        let limits = Limits { connections: 1 << 31, ..Limits::default() };
        assert!(matches!(limits.check(), Err(InvalidLimits::Connections(_))));
    }
}
