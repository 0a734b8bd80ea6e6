//! What the loop and the callbacks both know of a connection or UDP socket.

use std::ops::BitOr;

use crate::timer::NONE;
use crate::{EndpointId, Time};

/// The state of a connection or socket that is not its transport and not its protocol.
///
/// Packed to 36 bytes: its alignment would round it up to 40, and a connection around it from 64 to 72. (To the processor
/// it is the same; and no reference to a field can be made that needs more than 4.)
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(4))]
pub(crate) struct Link {
    pub(crate) id: EndpointId,
    /// The head of its list of timers.
    pub(crate) timers: u32,
    /// The index of the counters it adds to: its listener's, or the outgoing connections'.
    pub(crate) counters: u32,
    pub(crate) flags: Flag,
    /// When the system last gave bytes, and last took some; at first, when the connection was made.
    pub(crate) last_read: Time,
    pub(crate) last_write: Time,
}

impl Link {
    pub(crate) fn new(id: EndpointId, counters: u32, now: Time) -> Self {
        let (last_read, last_write) = (now, now);
        Self { id, timers: NONE, counters, flags: Flag::NONE, last_read, last_write }
    }
}

/// A set of facts about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flag(u32);

impl Flag {
    pub(crate) const NONE: Self = Self(0);
    /// The protocol paused reading.
    pub(crate) const PAUSED: Self = Self(1);
    /// Reading waits because the peer does not take the answers to what was read before; accepting, because
    /// the loop is full.
    pub(crate) const HELD: Self = Self(1 << 1);
    /// Reading was resumed: the unconsumed rest is to be offered again.
    pub(crate) const REOFFER: Self = Self(1 << 2);
    /// `has_room` said no, so `on_drain` is owed.
    pub(crate) const DRAIN_OWED: Self = Self(1 << 3);
    /// The system may have more to read.
    pub(crate) const READABLE: Self = Self(1 << 4);
    /// The system said that the peer has closed its side, or that the connection broke: read on
    /// until it shows.
    pub(crate) const READ_CLOSED: Self = Self(1 << 5);
    /// The peer's half-close was read.
    pub(crate) const EOF: Self = Self(1 << 6);
    /// `on_eof` was called.
    pub(crate) const EOF_TOLD: Self = Self(1 << 7);
    // Of these several are asked for at once with every message, which is one instruction where they lie in one byte.
    /// `finish` was asked for: nothing more is sent.
    pub(crate) const FINISHING: Self = Self(1 << 8);
    /// A session: input and output are datagrams.
    pub(crate) const DATAGRAM: Self = Self(1 << 9);
    /// The protocol may lend a buffer that is read into.
    pub(crate) const LENDING: Self = Self(1 << 10);
    /// On the ready list.
    pub(crate) const QUEUED: Self = Self(1 << 11);
    /// Still being established.
    pub(crate) const CONNECTING: Self = Self(1 << 12);
    /// Only waits for its output to be taken before it ends.
    pub(crate) const CLOSING: Self = Self(1 << 13);
    /// Has ended for its protocol; reads and discards so that its last words arrive.
    pub(crate) const LINGERING: Self = Self(1 << 14);
    /// Callbacks are timed: there is a watchdog.
    pub(crate) const WATCHED: Self = Self(1 << 15);
    /// Letters wait because the peer does not take its output.
    pub(crate) const SLOW: Self = Self(1 << 16);
    /// A layer inside holds unconsumed bytes of its own: re-offers concern it too.
    pub(crate) const INNER_TAIL: Self = Self(1 << 17);
    /// A listener: it was said that the loop is full, and nearly so it has been ever since.
    pub(crate) const FULL: Self = Self(1 << 18);
    /// Writing was shut down.
    pub(crate) const WRITE_SHUT: Self = Self(1 << 19);
    /// The empty input that is offered is a datagram, not an offer to somebody further in.
    pub(crate) const EMPTY_DATAGRAM: Self = Self(1 << 20);
    /// The peer half-closed before this side did.
    pub(crate) const PEER_FIRST: Self = Self(1 << 21);
    /// A callback asked for more than that corked bytes be written: there is something to settle.
    pub(crate) const ASKED: Self = Self(1 << 22);
    /// The system takes no more output in this visit: it refused some already, or the connection is broken.
    pub(crate) const WRITE_FULL: Self = Self(1 << 23);
    /// The system may take more output than one visit writes: the rest has its turn from the ready list.
    pub(crate) const WRITE_MORE: Self = Self(1 << 24);

    /// What a protocol leaves of the input that it is offered now, and waits with, can be read on behind: it has not been told
    /// so yet.
    pub(crate) const READS_ON: Self = Self(1 << 25);

    /// `on_close` was called.
    pub(crate) const ENDED: Self = Self(1 << 26);
    /// Output waits, or unconsumed input, or an end.
    pub(crate) const WAITS: Self = Self(1 << 27);
    /// What this visit's callbacks send answers nothing, though they were given input.
    pub(crate) const UNASKED: Self = Self(1 << 28);

    /// What keeps a connection from being read without further ado.
    pub(crate) const NOT_AT_REST: Self = Self(
        Self::PAUSED.0
            | Self::HELD.0
            | Self::REOFFER.0
            | Self::DRAIN_OWED.0
            | Self::READABLE.0
            | Self::READ_CLOSED.0
            | Self::EOF.0
            | Self::FINISHING.0
            | Self::LENDING.0
            | Self::QUEUED.0
            | Self::CONNECTING.0
            | Self::CLOSING.0
            | Self::LINGERING.0
            | Self::WATCHED.0
            | Self::WAITS.0,
    );

    #[inline]
    pub(crate) fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    #[inline]
    pub(crate) fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Those of `others` that are in it.
    #[inline]
    pub(crate) fn only(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    #[inline]
    pub(crate) fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    #[inline]
    pub(crate) fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

impl BitOr for Flag {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
