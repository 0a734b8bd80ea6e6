//! Writes down what a connection's loop does, for a harness that keeps a transcript.

use super::stage::Stage;
use super::{Peer, Transcript};
use crate::ConnectionId;

/// What was written down, and up to where.
#[derive(Default)]
pub(super) struct Witness {
    pub(super) transcript: Transcript,
    /// Bytes of what the peer has received, and not given away, that are written down.
    sent: usize,
    half_closed: bool,
    closed: bool,
}

impl Witness {
    /// Writes down what is new.
    pub(super) fn look(&mut self, stage: &mut Stage, peer: &Peer, id: ConnectionId) {
        let now = stage.network.now();
        let received = peer.received();
        self.transcript.sent(now, received.get(self.sent..).unwrap_or(&received));
        self.sent = received.len();
        if peer.saw_eof() && !peer.is_broken() && !self.half_closed {
            self.half_closed = true;
            self.transcript.note(now, "← half-close");
        }
        if let Some(reason) = stage.event_loop.core().close_reason_of(id)
            && !self.closed
        {
            self.closed = true;
            self.transcript.note(now, format!("closed: {reason}"));
        }
    }

    /// What the peer had received was given away.
    pub(super) fn forget_sent(&mut self) {
        self.sent = 0;
    }
}
