//! What comes from the peer.

use switchboard::{Failure, Time};

use super::{Link, Message, Verdict};
use crate::Stats;
use crate::error::{PeerGone, ProtocolError};
use crate::header::{Chunk, Datagram, Progress};
use crate::receiver::{Arrival, Ready};

impl Link {
    /// A datagram has arrived.
    pub(crate) fn receive<'a>(
        &mut self,
        now: Time,
        datagram: Datagram<'a>,
        stats: &mut Stats,
    ) -> Result<Verdict<'a>, Failure> {
        match datagram {
            Datagram::Done { from, .. } | Datagram::Reset { from, .. } if from == self.peer => {
                self.on_peer_gone(matches!(datagram, Datagram::Done { .. }))?;
                return Ok(Verdict::Taken);
            }
            _ if datagram.to() != Some(self.mine.id) => return Ok(Verdict::Dropped),
            Datagram::Accept { .. } => return Ok(Verdict::Taken), // the first one did
            _ => {}
        }
        self.on_heard(now);
        match datagram {
            Datagram::Data { progress, sequence, chunks, .. } => {
                self.on_progress(now, progress, &[], stats)?;
                Ok(self.on_segment(now, sequence, chunks, stats))
            }
            Datagram::Fin { progress, sequence, .. } => {
                self.on_progress(now, progress, &[], stats)?;
                Ok(self.on_segment(now, sequence, &[], stats))
            }
            Datagram::Ack { progress, bitmap, .. } => {
                self.on_progress(now, progress, bitmap, stats)?;
                Ok(Verdict::Taken)
            }
            Datagram::Ping { progress, .. } => {
                self.on_progress(now, progress, &[], stats)?;
                self.receiver.on_ping(now);
                Ok(Verdict::Taken)
            }
            _ => Ok(Verdict::Dropped),
        }
    }

    /// The peer is there.
    fn on_heard(&mut self, now: Time) {
        self.heard = now;
        let answered = std::mem::replace(&mut self.pinged, false);
        self.ping_now = false;
        self.pings = 0;
        if !self.sender.is_blocked() {
            self.probes = 0;
        }
        // What is under way is answered by acknowledgements alone; and when to ask for room is nobody else's business.
        if !self.sender.awaits_ack() {
            self.unanswered_since = now;
            if answered || !self.sender.is_blocked() {
                self.timeout_base = now;
            }
        }
    }

    fn on_progress(
        &mut self,
        now: Time,
        progress: Progress,
        bitmap: &[u8],
        stats: &mut Stats,
    ) -> Result<(), ProtocolError> {
        if self.sender.on_progress(now, progress, bitmap, stats)? {
            self.unanswered_since = now;
            self.timeout_base = now; // RFC 6298 §5.3
        }
        Ok(())
    }

    fn on_segment<'a>(&mut self, now: Time, sequence: u32, chunks: &'a [u8], stats: &mut Stats) -> Verdict<'a> {
        match self.receiver.on_segment(now, sequence, chunks, !self.paused) {
            Arrival::Next => return Verdict::Deliver(chunks),
            Arrival::Waits => {}
            Arrival::Duplicate => stats.duplicates += 1,
            Arrival::Beyond => return Verdict::Dropped,
        }
        Verdict::Taken
    }

    /// The peer says that it is gone; or, if `is_done`, that it has everything and knows that this side has, too.
    fn on_peer_gone(&mut self, is_done: bool) -> Result<(), PeerGone> {
        self.is_peer_gone = true;
        if !self.receiver.is_finished() || !self.sender.is_finishing() {
            return Err(PeerGone::Reset);
        }
        if is_done {
            self.sender.settle();
            self.is_peer_done = true;
            self.is_over = self.lingers;
        } else if self.sender.is_delivered() {
            self.is_over = true;
        } else {
            return Err(PeerGone::Reset);
        }
        Ok(())
    }

    /// The next segment that waits, and may be delivered.
    pub(crate) fn take_ready(&mut self) -> Result<Option<Box<[u8]>>, ProtocolError> {
        if self.paused || self.is_over {
            return Ok(None);
        }
        match self.receiver.take_ready() {
            Some(Ready::Segment(segment)) => Ok(Some(segment)),
            Some(Ready::End) if !self.assembly.is_empty() => Err(ProtocolError::Truncated),
            Some(Ready::End) => {
                self.is_peer_first = self.is_open();
                self.sender.finish();
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// Adds a chunk to the message that it belongs to; gives the message if that completes it.
    pub(crate) fn assemble<'a>(&mut self, chunk: Chunk<'a>) -> Result<Option<Message<'a>>, ProtocolError> {
        let (size, limit) = (self.assembly.len() + chunk.bytes.len(), self.settings.max_message);
        if size > limit {
            return Err(ProtocolError::MessageTooLong { size, limit });
        }
        if self.assembly.is_empty() && !chunk.goes_on {
            return Ok(Some(Message::Whole(chunk.bytes)));
        }
        self.assembly.extend_from_slice(chunk.bytes);
        Ok((!chunk.goes_on).then(|| Message::Assembled(std::mem::take(&mut self.assembly))))
    }

    /// The buffer of a message that was delivered.
    pub(crate) fn reuse(&mut self, mut message: Vec<u8>) {
        message.clear();
        self.assembly = message;
    }

    /// The rest of a segment, since delivery was paused in its midst.
    pub(crate) fn put_back(&mut self, rest: &[u8]) {
        self.receiver.put_back(rest);
    }
}
