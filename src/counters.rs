//! What the loop has seen, as numbers a program can read.

use std::ops::AddAssign;

/// Counts since the loop was made: of one listener, one UDP socket, the outgoing connections, or
/// all of them together. They wrap after 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Connections accepted, or outgoing ones established; sessions opened.
    pub opened: u64,
    /// Of those, the ones that have ended: their `on_close` was called.
    pub closed: u64,
    /// Outgoing connections that were never established.
    pub connect_errors: u64,
    /// Peers that a listener's factory turned away.
    pub refused: u64,
    /// Failed attempts to accept.
    pub accept_errors: u64,
    /// Bytes read from peers.
    pub bytes_in: u64,
    /// Bytes the system took for peers.
    pub bytes_out: u64,
    /// Times that input was read from a connection.
    pub reads: u64,
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Datagrams the system took.
    pub datagrams_out: u64,
    /// Datagrams dropped because the queue was full or the system refused them.
    pub datagrams_dropped: u64,
    /// Datagrams that arrived for a session whose reading was paused or that closed in `on_open`, or for a socket that
    /// closes.
    pub datagrams_discarded: u64,
    /// Datagrams of unknown peers that opened no session: too many at a time, too many new ones a second, turned away
    /// by the factory, or the socket closes.
    pub sessions_refused: u64,
    /// Errors that a UDP socket reported of one of its peers (an ICMP refusal).
    pub datagram_errors: u64,
    /// Bytes of output that never reached the system: sent after a close, or lost with a broken
    /// connection.
    pub bytes_unsent: u64,
    /// Bytes that arrived and that no protocol took: after a close, or a datagram's rest.
    pub bytes_discarded: u64,
    /// Messages that found their target gone after the post had been accepted, or could not be
    /// handed over before it went.
    pub messages_undelivered: u64,
    /// Publications on topics: one for each subscriber there was. All but those that wait are either delivered or
    /// dropped.
    pub publications: u64,
    /// Publications handed over to a subscriber.
    pub publications_delivered: u64,
    /// Publications dropped: the subscriber was [slow](crate::Slow) or went, or the loop had no memory for them.
    pub publications_dropped: u64,
}

impl Counters {
    /// Connections open now, those being closed included.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.opened.saturating_sub(self.closed)
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        // Taken apart so that a new counter cannot be forgotten here.
        let Self {
            opened,
            closed,
            connect_errors,
            refused,
            accept_errors,
            bytes_in,
            bytes_out,
            reads,
            datagrams_in,
            datagrams_out,
            datagrams_dropped,
            datagrams_discarded,
            sessions_refused,
            datagram_errors,
            bytes_unsent,
            bytes_discarded,
            messages_undelivered,
            publications,
            publications_delivered,
            publications_dropped,
        } = other;
        self.opened += opened;
        self.closed += closed;
        self.connect_errors += connect_errors;
        self.refused += refused;
        self.accept_errors += accept_errors;
        self.bytes_in += bytes_in;
        self.bytes_out += bytes_out;
        self.reads += reads;
        self.datagrams_in += datagrams_in;
        self.datagrams_out += datagrams_out;
        self.datagrams_dropped += datagrams_dropped;
        self.datagrams_discarded += datagrams_discarded;
        self.sessions_refused += sessions_refused;
        self.datagram_errors += datagram_errors;
        self.bytes_unsent += bytes_unsent;
        self.bytes_discarded += bytes_discarded;
        self.messages_undelivered += messages_undelivered;
        self.publications += publications;
        self.publications_delivered += publications_delivered;
        self.publications_dropped += publications_dropped;
    }
}
