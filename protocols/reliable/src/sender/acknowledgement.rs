//! What the peer says of what was sent.

use switchboard::Time;

use super::{REORDERING, SEGMENT_COST, SPARE, Sender, State};
use crate::Stats;
use crate::error::ProtocolError;
use crate::header::{MOST_SEGMENTS, Progress};

/// What an acknowledgement brought.
#[derive(Default)]
struct Acked {
    any: bool,
    /// The latest of those sent once.
    sample: Option<(u64, Time)>,
}

impl Sender {
    /// The peer says what it has received and what it takes. True if something arrived that was not known to have.
    pub(crate) fn on_progress(
        &mut self,
        now: Time,
        progress: Progress,
        bitmap: &[u8],
        stats: &mut Stats,
    ) -> Result<bool, ProtocolError> {
        // Where `ack` stands in the list; an old one stands before it.
        let offset = progress.ack.wrapping_sub(self.first).cast_signed();
        let mut acked = Acked::default();
        let whole = usize::try_from(offset).unwrap_or(0);
        self.check(offset, bitmap)?;
        for _ in 0..whole {
            self.take_first(&mut acked);
        }
        let behind = i64::from(offset) - i64::try_from(whole).unwrap_or(0);
        for (byte, bits) in bitmap.iter().enumerate().filter(|(_, bits)| **bits != 0) {
            for bit in (0..8).filter(|bit| bits & (1 << bit) != 0) {
                let index = behind + 1 + i64::try_from(8 * byte + bit).unwrap_or(0);
                if let Ok(index) = usize::try_from(index) {
                    self.mark_arrived(index, &mut acked);
                }
            }
        }
        self.raise_limit(progress);
        if let Some((_, sent_at)) = acked.sample {
            self.rtt.sample(now.saturating_since(sent_at));
        }
        if !bitmap.is_empty() {
            self.find_lost(stats);
        }
        Ok(acked.any)
    }

    /// Refuses what was never sent: RFC 9000 §13.1.
    fn check(&self, offset: i32, bitmap: &[u8]) -> Result<(), ProtocolError> {
        let highest = bitmap.iter().rposition(|&bits| bits != 0).map(|byte| 8 * byte + 8 - leading_zeros(bitmap[byte]));
        let end = i64::from(offset) + highest.map_or(0, |bits| i64::try_from(bits).unwrap_or(i64::MAX - 1) + 1);
        let sent = i64::try_from(self.sent).unwrap_or(i64::MAX);
        if end > sent { Err(ProtocolError::AckOfUnsent) } else { Ok(()) }
    }

    /// The first segment has arrived, and all before it had.
    fn take_first(&mut self, acked: &mut Acked) {
        self.mark_arrived(0, acked);
        let Some(segment) = self.segments.pop_front() else { return };
        self.first = self.first.wrapping_add(1);
        self.sent -= 1;
        self.messages -= segment.ends as usize;
        self.backlog -= SEGMENT_COST + segment.datagram.len();
        if self.spare.len() < SPARE {
            let mut datagram = segment.datagram;
            datagram.clear();
            self.spare.push(datagram);
        } else {
            self.held -= segment.datagram.capacity();
        }
    }

    fn mark_arrived(&mut self, index: usize, acked: &mut Acked) {
        let Some(segment) = self.segments.get_mut(index) else { return };
        match segment.state {
            State::Arrived | State::Waiting => return,
            State::UnderWay => self.flight -= segment.datagram.len(),
            State::Lost => self.lost -= 1,
        }
        segment.state = State::Arrived;
        acked.any = true;
        // Of one sent twice the first may be what arrived: it proves as little as possible.
        self.arrived = self.arrived.max(segment.first_order);
        if !segment.resent && acked.sample.is_none_or(|(order, _)| order < segment.order) {
            acked.sample = Some((segment.order, segment.sent_at));
        }
        self.congestion.on_acked(segment.datagram.len(), segment.order, self.is_full);
    }

    /// A limit never sinks, and is never further off than any receiver's may be.
    fn raise_limit(&mut self, Progress { ack, limit }: Progress) {
        let is_window = limit.wrapping_sub(ack) as usize <= 2 * MOST_SEGMENTS;
        if is_window && limit.wrapping_sub(self.limit).cast_signed() > 0 {
            self.limit = limit;
        }
    }

    /// What was sent well before something that has arrived is lost.
    fn find_lost(&mut self, stats: &mut Stats) {
        for segment in self.segments.iter_mut().take(self.sent) {
            if segment.state == State::UnderWay && segment.order + REORDERING <= self.arrived {
                segment.state = State::Lost;
                self.flight -= segment.datagram.len();
                self.lost += 1;
                stats.lost += 1;
                self.congestion.on_lost(segment.order, self.order);
            }
        }
    }
}

fn leading_zeros(bits: u8) -> usize {
    bits.leading_zeros() as usize
}
