//! Output: from the protocol to the system, with backpressure.

use std::io;
use std::ops::Range;
use std::time::Duration;

use super::{Connection, Outcome, Status, Workshop};
use crate::driver::Stream;
use crate::link::Flag;
use crate::outbox::Outbox;
use crate::timer::LOOP_DEPTH;
use crate::{CloseReason, Core, LimitExceeded, Limits};

impl<S: Stream> Connection<S> {
    /// The system took not all of a visit's output, of which so much is counted already: of what was `returned` of the read
    /// buffer, and of what was corked.
    pub(super) fn fell_short(
        &mut self,
        core: &mut Core,
        shop: &mut Workshop,
        returned: Range<usize>,
        counted: usize,
        result: io::Result<usize>,
    ) -> Status {
        shop.out.prepend(&shop.read_buffer[returned]);
        let mut written = 0;
        match result {
            Ok(0) => {}
            Ok(count) => {
                self.link.last_write = core.now;
                shop.out.advance(count);
                written = count;
            }
            Err(error) => shop.out.refused(error),
        }
        core.counters[self.link.counters as usize].bytes_out -= (counted - written) as u64;
        self.settle(core, shop, Outcome::GoOn, true)
    }

    /// Writes a visit's output; what the system does not take waits in the connection's backlog. All but `own` bytes of it
    /// were made of input.
    pub(super) fn flush(&mut self, core: &mut Core, shop: &mut Workshop, mut own: usize) -> Result<(), CloseReason> {
        if shop.out.is_empty() || self.lose_answers(core, &mut shop.out) {
            return Ok(());
        }
        let full = self.link.flags.contains(Flag::WRITE_FULL) && shop.short_means_drained
            || self.link.flags.contains(Flag::WRITE_MORE);
        self.link.flags.remove(Flag::WRITE_FULL);
        let before = shop.out.len();
        let result = match shop.out.failed.take() {
            Some(error) => Err(error),
            None if full || self.backlog_len() > 0 => Ok(()),
            None => self.write_out(core, &mut shop.out, core.burst, shop.short_means_drained),
        };
        if let Err(error) = result {
            let unsent = shop.out.len();
            core.counters[self.link.counters as usize].bytes_unsent += unsent as u64;
            shop.out.clear();
            return Err(CloseReason::Io { error, unsent });
        }
        if self.link.flags.contains(Flag::WRITE_MORE) {
            self.queue(core);
        }
        let added = shop.out.len();
        own = own.saturating_sub(before - added); // it goes first
        if added > 0 {
            let waiting = self.waiting_mut();
            waiting.outbox.append(&mut shop.out);
            if added > own {
                waiting.answers += added - own;
                waiting.last_answer = waiting.outbox.len();
            }
            core.charge(0, added).map_err(CloseReason::Limit)?;
            self.hold_back(core, shop.short_means_drained)?;
        }
        shop.out.clear();
        Ok(())
    }

    /// The backlog has grown: see to it that it does not grow for ever. Who does not take the answers is not
    /// asked for more; but what a protocol sends of itself holds nobody's input back, or two large messages that
    /// cross would stand still for ever.
    fn hold_back(&mut self, core: &mut Core, short_means_drained: bool) -> Result<(), CloseReason> {
        let limit = core.limits.send_buffer;
        let excess = self.backlog_len().saturating_sub(limit);
        if excess > 0 && self.link.flags.contains(Flag::WRITE_MORE) {
            // It waits only for others to have their turn: that much goes before them.
            let written = self.write_waiting(core, excess, short_means_drained);
            written.map_err(|error| CloseReason::Io { error, unsent: self.backlog_len() })?;
        }
        let (wanted, answers) = self.waiting.as_ref().map_or((0, 0), |waiting| (waiting.outbox.len(), waiting.answers));
        if wanted > limit {
            return Err(CloseReason::Limit(LimitExceeded::SendBuffer { wanted, limit }));
        }
        if wanted > core.limits.high_water {
            self.link.flags.insert(Flag::SLOW);
        }
        if answers > core.limits.high_water {
            self.link.flags.insert(Flag::HELD);
        }
        if core.timers.find(self.link.timers, LOOP_DEPTH).is_none() {
            let patience = core.now + core.limits.patience();
            let waiting = self.waiting_mut();
            (waiting.taken, waiting.patience) = (0, patience);
            self.set_loop_timer(core, core.limits.write_stall);
        }
        Ok(())
    }

    /// There is room for some of the backlog.
    #[cold]
    pub(super) fn on_writable(&mut self, core: &mut Core, shop: &mut Workshop) -> Status {
        let before = self.backlog_len();
        if let Err(error) = self.write_waiting(core, core.burst, shop.short_means_drained) {
            return self.broke_by(core, error);
        }
        if before == 0 {
            return Status::Alive;
        }
        let after = self.backlog_len();
        if after <= core.limits.low_water && self.link.flags.contains(Flag::SLOW) {
            self.link.flags.remove(Flag::SLOW);
            self.expect_mail(core);
        }
        self.after_output(core)
    }

    /// Writes so much of the backlog, as far as the system takes it.
    fn write_waiting(&mut self, core: &mut Core, burst: usize, short_means_drained: bool) -> io::Result<()> {
        self.link.flags.remove(Flag::WRITE_MORE);
        let Some(waiting) = &mut self.waiting else { return Ok(()) };
        let mut outbox = std::mem::take(&mut waiting.outbox);
        let before = outbox.len();
        let result = self.write_out(core, &mut outbox, burst, short_means_drained);
        let after = outbox.len();
        core.held -= before - after;
        if let Some(waiting) = &mut self.waiting {
            if after > 0 {
                waiting.outbox = outbox;
            }
            waiting.last_answer = waiting.last_answer.saturating_sub(before - after);
            waiting.answers = waiting.answers.min(waiting.last_answer);
            if waiting.last_answer <= core.limits.low_water {
                self.link.flags.remove(Flag::HELD);
            }
            waiting.taken += before - after;
            if waiting.taken >= Limits::PROGRESS {
                (waiting.taken, waiting.patience) = (0, core.now + core.limits.patience());
            }
            if after < before
                && let Some(timer) = core.timers.find(self.link.timers, LOOP_DEPTH)
            {
                core.timers.postpone(timer, waiting.patience.min(core.now + core.limits.write_stall));
            }
        }
        result
    }

    /// What follows when output was written: the box of what waited goes, a drain is announced, a half-close or close that
    /// waited for it is carried out.
    pub(super) fn after_output(&mut self, core: &mut Core) -> Status {
        if self.owes_drain(core) || self.may_reoffer() {
            self.queue(core);
        }
        if self.backlog_len() > 0 || self.is_broken() {
            return Status::Alive;
        }
        if !self.link.flags.contains(Flag::LINGERING)
            && let Some(timer) = core.timers.find(self.link.timers, LOOP_DEPTH)
        {
            core.timers.cancel(&mut self.link.timers, timer);
        }
        if let Some(waiting) = &mut self.waiting {
            let then = waiting.then.take();
            if waiting.tail.len() == 0 {
                self.forget_waiting();
            }
            if let Some(reason) = then {
                return self.end_in_order(core, reason);
            }
        }
        if self.link.flags.contains(Flag::FINISHING) {
            return self.finish(core);
        }
        Status::Alive
    }

    /// Everything was written after a `finish`: tell the peer; end if it had finished, too. (The close that follows then
    /// tells it, without a system call more.)
    fn finish(&mut self, core: &mut Core) -> Status {
        if self.link.flags.contains(Flag::EOF_TOLD) {
            let reason = self.orderly();
            return self.end_in_order(core, reason);
        }
        if !self.link.flags.contains(Flag::WRITE_SHUT) {
            self.link.flags.insert(Flag::WRITE_SHUT);
            if let Err(error) = self.stream.shutdown_write() {
                return self.broke_by(core, error);
            }
        }
        Status::Alive
    }

    /// Whether an `on_drain` is due.
    pub(super) fn owes_drain(&self, core: &Core) -> bool {
        self.is_open() && self.link.flags.contains(Flag::DRAIN_OWED) && self.backlog_len() <= core.limits.low_water
    }

    pub(super) fn backlog_len(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.outbox.len())
    }

    /// Writes until everything is written, or the system takes no more, or so much that others are to have their turn.
    fn write_out(
        &mut self,
        core: &mut Core,
        outbox: &mut Outbox,
        mut burst: usize,
        short_means_drained: bool,
    ) -> io::Result<()> {
        while !outbox.is_empty() {
            if burst == 0 {
                self.link.flags.insert(Flag::WRITE_MORE);
                self.queue(core);
                return Ok(());
            }
            match outbox.write_to(&mut self.stream, burst) {
                Ok((written, asked)) => {
                    burst -= written;
                    core.counters[self.link.counters as usize].bytes_out += written as u64;
                    self.link.last_write = core.now;
                    if written < asked && short_means_drained {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The one timer that the loop keeps on a connection; what it means follows from the state.
    pub(super) fn set_loop_timer(&mut self, core: &mut Core, after: Duration) {
        core.timers.set(self.link.id, &mut self.link.timers, LOOP_DEPTH, core.now + after);
    }
}
