//! What a session has seen.

/// Counts of one session since it began: see [`Peer::stats`](crate::Peer::stats).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Datagrams that were none of this session's, or out of order: garbled, forged, left over from an earlier one, or more
    /// than the peer may send.
    pub dropped: u64,
    /// Segments that came again.
    pub duplicates: u64,
    /// Segments that were taken for lost, and sent again: some of them may only have been late.
    pub lost: u64,
    /// Times that the retransmission timeout passed.
    pub timeouts: u64,
}
