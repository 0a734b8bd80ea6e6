//! What is on its way, and its arrival.

use std::io;
use std::time::Duration;

use super::{Connection, Fin, Place, Segment, Wire, is_writable};
use crate::testkit::simulation::weather::{RESET, SEGMENT_LOST};
use crate::testkit::simulation::wire::{Happening, Source};

/// How long a lost segment takes to be sent again, at first.
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// How often a segment is lost in a row at most; the wait doubles each time.
const LOSSES: u32 = 6;

impl Wire {
    /// Sends a segment to one end; it arrives behind what was sent there before.
    pub(super) fn send(&mut self, to: Place, segment: Segment) {
        let bytes = if let Segment::Data(bytes) = segment { bytes } else { 0 };
        self.send_after(to, segment, bytes, Duration::ZERO);
    }

    /// Sends a segment again that a partition held up; its sender tries at intervals of its own.
    pub(crate) fn resend(&mut self, to: Place, segment: Segment) {
        if self.end(to).is_some() {
            let delay = self.weather.up_to(RETRANSMISSION);
            self.send_after(to, segment, 0, delay);
        }
    }

    fn send_after(&mut self, to: Place, segment: Segment, bytes: usize, delay: Duration) {
        let (host, from) = self.hosts_of(to);
        let mut at = self.departure(from, host, bytes) + self.weather.latency(from, host) + delay;
        for attempt in 0..LOSSES {
            if !self.weather.strikes(SEGMENT_LOST, from, host) {
                break;
            }
            at = at + RETRANSMISSION * 2_u32.pow(attempt);
        }
        if !matches!(segment, Segment::Ack) {
            let (end, _) = self.ends(to);
            at = at.max(end.last_arrival);
            end.last_arrival = at;
        }
        self.schedule(at, Happening::Segment { to, segment });
    }

    /// A segment arrives, unless the connection has gone or a partition is in its way.
    pub(crate) fn segment_due(&mut self, to: Place, segment: Segment) {
        if self.end(to).is_none() {
            return;
        }
        let (host, from) = self.hosts_of(to);
        if self.hold(host, from, to, segment) {
            return;
        }
        self.digest.mix(to.serial << 1 | to.end as u64);
        match segment {
            Segment::Syn => return self.syn_arrived(to),
            Segment::Data(bytes) => return self.data_arrived(to, bytes),
            Segment::Reset(kind) => return self.reset_arrived(to, kind),
            Segment::SynAck => self.ends(to).0.established = true,
            Segment::Fin => self.ends(to).0.fin = Fin::Received,
            Segment::Ack => return self.ack_arrived(to),
        }
        self.raise(Source::Stream(to));
    }

    fn data_arrived(&mut self, to: Place, bytes: usize) {
        let (host, from) = self.hosts_of(to);
        let (end, _) = self.ends(to);
        if end.dead {
            return;
        }
        if end.closed {
            // Nobody is there to read it.
            self.discard_towards(to);
            return self.send(to.peer(), Segment::Reset(io::ErrorKind::ConnectionReset));
        }
        if self.weather.strikes(RESET, host, from) {
            return self.reset(to);
        }
        let (end, peer) = self.ends(to);
        end.in_flight -= bytes;
        end.arrived += bytes;
        let owes_ack = peer.blocked && !std::mem::replace(&mut end.ack_sent, true);
        if owes_ack {
            self.send(to.peer(), Segment::Ack);
        }
        self.raise(Source::Stream(to));
    }

    /// The sender learns that its peer has taken something.
    fn ack_arrived(&mut self, sender: Place) {
        self.pump(sender);
        let buffer = self.connections[sender.index].send_buffer;
        let (end, peer) = self.ends(sender);
        peer.ack_sent = false;
        if end.blocked && is_writable(peer, buffer) {
            end.blocked = false;
            self.raise(Source::Stream(sender));
        }
    }

    /// Sends what its peer's buffer has room for.
    pub(super) fn pump(&mut self, sender: Place) {
        let to = sender.peer();
        let Connection { receive_buffer, segment, .. } = self.connections[to.index];
        loop {
            let (end, _) = self.ends(to);
            let room = receive_buffer.saturating_sub(end.arrived + end.in_flight);
            let bytes = end.unsent().min(room).min(segment);
            if bytes == 0 {
                break;
            }
            end.in_flight += bytes;
            self.send(to, Segment::Data(bytes));
        }
        let (end, _) = self.ends(to);
        if end.fin == Fin::Asked && end.unsent() == 0 {
            end.fin = Fin::Sent;
            self.send(to, Segment::Fin);
        }
    }
}
