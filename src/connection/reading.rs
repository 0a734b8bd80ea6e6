//! Input: from the system to the protocol.

use std::io;
use std::ops::Range;

use super::{Connection, HEADERS, Outcome, Status, Workshop};
use crate::driver::{Ready, Stream};
use crate::link::Flag;
use crate::outbox::Outbox;
use crate::{Callback, CloseReason, Core, Input};

impl<S: Stream> Connection<S> {
    /// The system has news of an established connection.
    #[inline(never)]
    pub(crate) fn on_event(&mut self, core: &mut Core, shop: &mut Workshop, ready: Ready) -> Status {
        if ready.readable {
            self.link.flags.insert(Flag::READABLE);
        }
        if ready.read_closed || ready.error {
            self.link.flags.insert(Flag::READ_CLOSED | Flag::READABLE);
            if ready.error
                && let Some(status) = self.on_error(core, shop)
            {
                return status;
            }
        }
        if ready.writable && self.waiting.is_some() {
            let status = self.on_writable(core, shop);
            if status != Status::Alive {
                return status;
            }
        }
        // Who is on the ready list has its turn there: one read a turn.
        let may_read = self.may_read() && !self.link.flags.contains(Flag::QUEUED);
        if may_read && self.link.flags.contains(Flag::READABLE) { self.read(core, shop) } else { Status::Alive }
    }

    /// Whether input is wanted: by the protocol, or to be discarded.
    #[inline]
    pub(super) fn may_read(&self) -> bool {
        !self.link.flags.intersects(Flag::PAUSED | Flag::HELD | Flag::EOF | Flag::CONNECTING)
    }

    /// One read, and its delivery. What remains has its turn from the ready list.
    #[inline(never)]
    pub(super) fn read(&mut self, core: &mut Core, shop: &mut Workshop) -> Status {
        let special = Flag::CLOSING | Flag::LINGERING | Flag::LENDING;
        if self.waiting.is_some() || self.link.flags.intersects(special) {
            return self.read_slowly(core, shop);
        }
        self.read_anew(core, shop)
    }

    /// A read with nothing before it, of a connection of which not much is known.
    #[inline(never)]
    fn read_anew(&mut self, core: &mut Core, shop: &mut Workshop) -> Status {
        let buffer = &mut shop.read_buffer[..shop.visit];
        let count = match self.stream.read(buffer) {
            Ok(0) => return self.reached_eof(core, shop),
            Ok(count) => count,
            Err(error) => return self.read_failed(core, error),
        };
        let drained = count < buffer.len() && shop.short_means_drained;
        self.note_read(core, count, drained);
        self.deliver(core, shop, count)
    }

    /// Offers the protocol what a read brought, behind what was unconsumed; and where it waits with a part of that for what is
    /// there to be read, once more, with it.
    pub(super) fn deliver(&mut self, core: &mut Core, shop: &mut Workshop, mut count: usize) -> Status {
        self.link.flags.insert(Flag::READS_ON);
        let (mut rest, mut outcome) = self.offer_read(core, shop, 0..count);
        let is_told = !self.link.flags.contains(Flag::READS_ON);
        self.link.flags.remove(Flag::READS_ON);
        if matches!(outcome, Outcome::GoOn)
            && let Some(more) = self.read_on(core, shop, count, rest)
        {
            let more = match more {
                Ok(more) => more,
                Err(error) => return self.read_on_failed(core, shop, count, rest, error),
            };
            (count, rest.0) = (count + more, rest.0 + more);
            if is_told || rest.0 >= rest.1 {
                (rest, outcome) = self.offer_read(core, shop, count - rest.0..count);
            }
        }
        self.end_delivery(core, shop, count, rest, outcome)
    }

    /// Offers the protocol some of the loop's buffer: how many bytes it left, and how many it waits for.
    fn offer_read(&mut self, core: &mut Core, shop: &mut Workshop, read: Range<usize>) -> ((usize, usize), Outcome) {
        let mut input = Input::new(&mut shop.read_buffer[read]);
        let outcome = self.call(core, &mut shop.out, Callback::Data, |protocol, cx| {
            cx.offered = input.len();
            protocol.on_data(cx, &mut input)
        });
        ((input.len(), input.awaited()), outcome)
    }

    /// The end of a delivery that is not the usual one: it may have left something, or asked for something.
    #[cold]
    #[inline(never)]
    pub(super) fn end_delivery(
        &mut self,
        core: &mut Core,
        shop: &mut Workshop,
        count: usize,
        (left, awaited): (usize, usize),
        mut outcome: Outcome,
    ) -> Status {
        if left > 0 || self.waiting.is_some() {
            outcome = self.keep_rest(core, &shop.read_buffer[count - left..count], awaited, outcome);
        }
        if left == 0
            && self.goes_on_lent(shop.budget())
            && matches!(outcome, Outcome::GoOn)
            && core.switch.is_none()
            && shop.out.is_empty()
            && let Some(status) = self.read_lent(core, shop, HEADERS)
        {
            return status;
        }
        self.settle(core, shop, outcome, true)
    }

    /// Takes note of a read. One that drained the socket ends its readiness, unless the end of the
    /// stream is still to be read.
    pub(super) fn note_read(&mut self, core: &mut Core, count: usize, drained: bool) {
        self.count_read(core, count);
        if drained {
            self.note_drained();
        }
    }

    pub(super) fn count_read(&mut self, core: &mut Core, count: usize) {
        self.link.last_read = core.now;
        let counters = &mut core.counters[self.link.counters as usize];
        counters.bytes_in += count as u64;
        counters.reads += 1;
    }

    #[inline]
    pub(super) fn note_drained(&mut self) {
        if !self.link.flags.contains(Flag::READ_CLOSED) {
            self.link.flags.remove(Flag::READABLE);
        }
    }

    #[cold]
    pub(super) fn read_failed(&mut self, core: &mut Core, error: io::Error) -> Status {
        match error.kind() {
            io::ErrorKind::WouldBlock => {
                self.link.flags.remove(Flag::READABLE);
                Status::Alive
            }
            io::ErrorKind::Interrupted => {
                self.link.flags.insert(Flag::READABLE); // as it was found to be, but did not yet say
                self.queue(core);
                Status::Alive
            }
            _ => {
                let reason = self.broken_reason().unwrap_or(CloseReason::Io { error, unsent: self.backlog_len() });
                self.broke(core, reason)
            }
        }
    }

    /// The system says that the connection broke: what arrived before is still read, whatever waits; but where nobody
    /// reads it must be noticed. `None` where it shows by itself, or was a hint that came to nothing.
    #[cold]
    #[inline(never)]
    fn on_error(&mut self, core: &mut Core, shop: &mut Workshop) -> Option<Status> {
        if self.is_broken() || (self.backlog_len() == 0 && self.may_read()) {
            return None;
        }
        let error = self.stream.take_error().unwrap_or_else(Some)?;
        Some(if self.is_open() { self.on_broken(core, shop, error) } else { self.broke_by(core, error) })
    }

    /// The peer has half-closed.
    #[cold]
    pub(super) fn reached_eof(&mut self, core: &mut Core, shop: &mut Workshop) -> Status {
        if let Some(reason) = self.broken_reason() {
            return self.broke(core, reason);
        }
        self.link.flags.remove(Flag::READABLE);
        self.link.flags.insert(Flag::EOF);
        if self.link.flags.contains(Flag::LINGERING) {
            return Status::Gone { abort: false };
        }
        if self.link.flags.contains(Flag::CLOSING) {
            return Status::Alive;
        }
        if !self.link.flags.contains(Flag::FINISHING) {
            self.link.flags.insert(Flag::PEER_FIRST);
        }
        let outcome = self.tell_eof(core, &mut shop.out);
        self.settle(core, shop, outcome, true)
    }

    /// Tells the protocol of the half-close, with what it never consumed.
    pub(super) fn tell_eof(&mut self, core: &mut Core, out: &mut Outbox) -> Outcome {
        self.link.flags.insert(Flag::EOF_TOLD);
        let Some(mut tail) = self.take_tail() else {
            return self.call(core, out, Callback::Eof, |protocol, cx| protocol.on_eof(cx, &mut Input::new(&mut [])));
        };
        let mut rest = Input::new(tail.bytes_mut());
        let outcome = self.call(core, out, Callback::Eof, |protocol, cx| protocol.on_eof(cx, &mut rest));
        let left = rest.len();
        self.keep_tail(core, tail, left, 0, outcome)
    }

    /// A read behind what is unconsumed or into what is lent, or one whose bytes are discarded.
    #[cold]
    fn read_slowly(&mut self, core: &mut Core, shop: &mut Workshop) -> Status {
        if self.link.flags.intersects(Flag::CLOSING | Flag::LINGERING) {
            return self.discard(core, shop);
        }
        if self.tail_len() > 0 {
            return self.read_behind(core, shop);
        }
        if self.link.flags.contains(Flag::LENDING)
            && let Some(status) = self.read_lent(core, shop, shop.visit)
        {
            return status;
        }
        self.read_anew(core, shop)
    }

    /// Reads and throws away what the peer still sends to a connection that is ending: closing a
    /// socket with unread input would reset it, and destroy the last words on their way.
    fn discard(&mut self, core: &mut Core, shop: &mut Workshop) -> Status {
        let budget = shop.budget();
        let count = match self.stream.read(&mut shop.read_buffer[..budget]) {
            Ok(0) => return self.reached_eof(core, shop),
            Ok(count) => count,
            Err(error) => return self.read_failed(core, error),
        };
        self.note_read(core, count, count < budget && shop.short_means_drained);
        if self.link.flags.contains(Flag::READABLE) {
            self.queue(core);
        }
        core.counters[self.link.counters as usize].bytes_discarded += count as u64;
        let waiting = self.waiting_mut();
        waiting.discarded += count;
        if waiting.discarded > core.limits.linger_bytes {
            self.link.flags.insert(Flag::PAUSED); // the last words still have their time
        }
        Status::Alive
    }
}
