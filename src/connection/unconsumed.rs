//! What arrived and was not consumed: kept, and read on behind.

use super::{Connection, Outcome, Status, Workshop};
use crate::driver::Stream;
use crate::link::Flag;
use crate::tail::{SMALL, Tail};
use crate::{CloseReason, Core, LimitExceeded};

impl<S: Stream> Connection<S> {
    /// A read behind what is unconsumed.
    pub(super) fn read_behind(&mut self, core: &mut Core, shop: &mut Workshop) -> Status {
        let (kept, limit) = (self.tail_len(), core.limits.receive_buffer);
        if kept >= limit {
            let wanted = kept + 1;
            return self.close(core, CloseReason::Limit(LimitExceeded::ReceiveBuffer { wanted, limit }));
        }
        let most = (limit - kept).min(shop.visit);
        if kept < SMALL.min(shop.budget()) {
            self.read_behind_little(core, shop, most)
        } else {
            self.read_into_tail(core, shop, most)
        }
    }

    /// In the loop's buffer, and so as much as anybody may: who sends many small messages as fast as it can has one cut by
    /// nearly each read. (With 4 KiB read into the tail each time a message of 20 bytes took twice the processor time.)
    fn read_behind_little(&mut self, core: &mut Core, shop: &mut Workshop, most: usize) -> Status {
        let Some(tail) = self.waiting.as_mut().map(|waiting| &mut waiting.tail) else { return Status::Alive };
        let kept = tail.len();
        let (front, behind) = shop.read_buffer.split_at_mut(kept);
        let most = most.min(behind.len());
        let count = match self.stream.read(&mut behind[..most]) {
            Ok(0) => return self.reached_eof(core, shop),
            Ok(count) => count,
            Err(error) => return self.read_failed(core, error),
        };
        let enough = kept + count >= tail.wait_for;
        if enough {
            front.copy_from_slice(tail.bytes_mut());
            tail.clear();
        } else {
            tail.append(&behind[..count]);
        }
        self.note_read(core, count, count < most && shop.short_means_drained);
        if enough {
            self.link.flags.remove(Flag::REOFFER | Flag::INNER_TAIL); // as whenever what was unconsumed is offered
            return self.deliver(core, shop, kept + count);
        }
        match self.charge_tail(core) {
            Ok(()) => self.settle(core, shop, Outcome::GoOn, true),
            Err(limit) => self.broke(core, CloseReason::Limit(limit)),
        }
    }

    /// Where it stays, so that what is long is not copied as often as some of it arrives.
    fn read_into_tail(&mut self, core: &mut Core, shop: &mut Workshop, most: usize) -> Status {
        let Some(tail) = self.waiting.as_mut().map(|waiting| &mut waiting.tail) else { return Status::Alive };
        let spare = tail.spare(most);
        let wanted = spare.len();
        let result = self.stream.read(spare);
        let count = *result.as_ref().unwrap_or(&0);
        tail.filled(count);
        let enough = tail.len() >= tail.wait_for;
        if count > 0 {
            // Even if there is no memory for it: it was read, and will be counted as discarded.
            self.note_read(core, count, count < wanted && shop.short_means_drained);
        }
        if let Err(limit) = self.charge_tail(core) {
            return self.broke(core, CloseReason::Limit(limit));
        }
        match result {
            Ok(0) => return self.reached_eof(core, shop),
            Ok(_) => {}
            Err(error) => return self.read_failed(core, error),
        }
        let outcome = if enough { self.offer(core, &mut shop.out) } else { Outcome::GoOn };
        self.settle(core, shop, outcome, true)
    }

    /// The tail has grown.
    fn charge_tail(&mut self, core: &mut Core) -> Result<(), LimitExceeded> {
        let Some(tail) = self.waiting.as_mut().map(|waiting| &mut waiting.tail) else { return Ok(()) };
        let (before, after) = (tail.charged, tail.capacity());
        tail.charged = after;
        core.charge(before, after)
    }

    /// Keeps what was not consumed of what lies in the loop's buffer: in the tail that it began in, if it did, so that a
    /// flood allocates nothing.
    pub(super) fn keep_rest(&mut self, core: &mut Core, rest: &[u8], awaited: usize, outcome: Outcome) -> Outcome {
        let mut tail = self.waiting.as_mut().map(|waiting| std::mem::take(&mut waiting.tail)).unwrap_or_default();
        tail.append(rest);
        self.keep_tail(core, tail, rest.len(), awaited, outcome)
    }

    /// Keeps what was not consumed for the next time, within the limits.
    #[cold]
    pub(super) fn keep_tail(
        &mut self,
        core: &mut Core,
        mut tail: Tail,
        left: usize,
        awaited: usize,
        outcome: Outcome,
    ) -> Outcome {
        let charged = tail.charged;
        tail.wait_for = awaited;
        tail.keep_last(left);
        let after = if left > 0 { tail.capacity() } else { 0 };
        tail.charged = after;
        let charge = core.charge(charged, after);
        if left > 0 {
            self.waiting_mut().tail = tail;
        }
        let limit = core.limits.receive_buffer;
        let wanted = awaited.max(left);
        match outcome {
            Outcome::GoOn if left > 0 && wanted > limit && !self.link.flags.contains(Flag::EOF) => {
                Outcome::Close(CloseReason::Limit(LimitExceeded::ReceiveBuffer { wanted, limit }))
            }
            Outcome::GoOn => match charge {
                Ok(()) => Outcome::GoOn,
                Err(limit) => Outcome::Close(CloseReason::Limit(limit)),
            },
            outcome => outcome,
        }
    }

    pub(super) fn tail_len(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.tail.len())
    }

    /// What is unconsumed, if there is anything, to be offered. The box that it was in stays until the visit has ended:
    /// often something is left.
    pub(super) fn take_tail(&mut self) -> Option<Tail> {
        let tail = std::mem::take(&mut self.waiting.as_mut()?.tail);
        (tail.len() > 0).then_some(tail)
    }
}
