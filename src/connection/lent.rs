//! Reads that go to where a message is put together: into a buffer of the protocol's own, or behind what was read of it.

use std::io::{self, IoSliceMut};

use super::{Connection, HEADERS, Outcome, Status, Workshop};
use crate::context::Requests;
use crate::driver::Stream;
use crate::link::Flag;
use crate::tail::Tail;
use crate::{Callback, Context, Core, Input};

/// What fewer bytes are waited for is cheaply copied; and who sends as many small messages as it can always has one cut.
const LONG: usize = 8 * 1024;

impl Context<'_> {
    /// Whether it is best to wait for a message where its beginning lies: `total` bytes that begin with what is left of
    /// `input`, asked for by [`Input::wait_for`]. The loop then reads what is there of the rest right behind it, and offers
    /// what there is at once, be it all of it or nothing more. The bytes stay where they are and
    /// [as they are](Input::rest_mut).
    ///
    /// That is so if more has arrived than this visit has read, if it is a large message, and if there is room for it: as
    /// much as [`Limits::read_budget`](crate::Limits::read_budget), and its header.
    #[must_use]
    #[cold]
    pub fn reads_on(&mut self, input: &Input<'_>, total: usize) -> bool {
        let start = self.offered.saturating_sub(input.len());
        let flags = Flag::READS_ON | Flag::READABLE;
        let does = self.depth == 0
            && self.link.flags.only(flags | Flag::PAUSED | Flag::REOFFER) == flags
            && self.requests == Requests::None
            && self.core.switch.is_none()
            && (LONG..=self.core.limits.read_budget + HEADERS - start).contains(&total);
        if does {
            self.link.flags.remove(Flag::READS_ON); // it has been told
        }
        does
    }
}

impl<S: Stream> Connection<S> {
    /// Whether a read that brought the beginning of a large message is followed at once by one of the rest that is there,
    /// as far as the budget goes once more: to copy bytes is all that it costs. So few messages are under way at a time, in
    /// buffers that are in the cache still.
    pub(super) fn goes_on_lent(&mut self, budget: usize) -> bool {
        let set = Flag::LENDING | Flag::READABLE;
        self.link.flags.only(Flag::NOT_AT_REST | Flag::ASKED) == set
            && self.protocol.read_buffer().len() >= LONG.min(budget)
    }

    /// One read behind what the protocol waits with, if that [is best](Context::reads_on): how many bytes came. Who has been
    /// told that it is read on is told, too, that none did.
    pub(super) fn read_on(
        &mut self,
        core: &mut Core,
        shop: &mut Workshop,
        count: usize,
        (left, awaited): (usize, usize),
    ) -> Option<io::Result<usize>> {
        let fits = (LONG.max(left + 1)..=shop.read_buffer.len() - (count - left)).contains(&awaited);
        let wanted = self.may_read() && self.link.flags.only(Flag::READABLE | Flag::REOFFER) == Flag::READABLE;
        if left == 0 || !fits || !wanted || core.switch.is_some() {
            return None;
        }
        // The rest of it and the next one's header: of small messages that follow it has had its share.
        let most = (awaited - left + HEADERS).min(shop.read_buffer.len() - count);
        let behind = &mut shop.read_buffer[count..count + most];
        match self.stream.read(behind) {
            Ok(0) => Some(Ok(0)), // the next read says so, too
            Ok(more) => {
                self.note_read(core, more, more < behind.len() && shop.short_means_drained);
                Some(Ok(more))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.note_drained();
                Some(Ok(0))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(Ok(0)), // the next turn reads again
            Err(error) => Some(Err(error)),
        }
    }

    /// That read failed. The system says so once; what has been answered can't be written for the same reason.
    #[cold]
    pub(super) fn read_on_failed(
        &mut self,
        core: &mut Core,
        shop: &mut Workshop,
        count: usize,
        rest: (usize, usize),
        error: io::Error,
    ) -> Status {
        if !shop.out.is_empty() {
            shop.out.refused(error);
            return self.end_delivery(core, shop, count, rest, Outcome::GoOn);
        }
        match self.end_delivery(core, shop, count, rest, Outcome::GoOn) {
            Status::Alive => self.read_failed(core, error),
            gone => gone,
        }
    }

    /// One read into what the protocol lends, and of what follows that into the loop's buffer: that saves the system call
    /// that would only find out whether something does; at most `beyond` bytes, and no more than one budget in all. `None` if
    /// nothing is lent any more.
    #[inline(never)]
    pub(super) fn read_lent(&mut self, core: &mut Core, shop: &mut Workshop, beyond: usize) -> Option<Status> {
        let (lent, budget) = (self.protocol.read_buffer(), shop.budget());
        let room = lent.len().min(budget);
        if room == 0 {
            self.link.flags.remove(Flag::LENDING);
            return None;
        }
        let (lent, beyond) = (&mut lent[..room], &mut shop.read_buffer[..beyond.min(budget - room)]);
        let asked = room + beyond.len();
        let read = if beyond.is_empty() {
            self.stream.read(lent)
        } else {
            self.stream.read_vectored(&mut [IoSliceMut::new(lent), IoSliceMut::new(beyond)])
        };
        let count = match read {
            Ok(0) => return Some(self.reached_eof(core, shop)),
            Ok(count) => count,
            Err(error) => return Some(self.read_failed(core, error)),
        };
        self.note_read(core, count, count < asked && shop.short_means_drained);
        let filled = count.min(room);
        let outcome = self.call(core, &mut shop.out, Callback::Data, |protocol, cx| protocol.on_filled(cx, filled));
        let outcome = self.offer_beyond(core, shop, count - filled, outcome);
        Some(self.settle(core, shop, outcome, true))
    }

    /// Offers the `count` bytes that came behind what was lent, unless the protocol wants no more of them for now: then
    /// they are kept, for it or for who takes over.
    fn offer_beyond(&mut self, core: &mut Core, shop: &mut Workshop, count: usize, outcome: Outcome) -> Outcome {
        if count == 0 {
            return outcome;
        }
        let bytes = &mut shop.read_buffer[..count];
        let wanted = matches!(outcome, Outcome::GoOn)
            && core.switch.is_none()
            && !self.link.flags.intersects(Flag::PAUSED | Flag::REOFFER);
        if !wanted {
            return self.keep_tail(core, Tail::new(bytes), count, 0, outcome);
        }
        let mut input = Input::new(bytes);
        let outcome = self.call(core, &mut shop.out, Callback::Data, |protocol, cx| {
            cx.offered = count;
            protocol.on_data(cx, &mut input)
        });
        let (left, awaited) = (input.len(), input.awaited());
        if left == 0 {
            return outcome;
        }
        let tail = Tail::new(&shop.read_buffer[count - left..count]);
        self.keep_tail(core, tail, left, awaited, outcome)
    }
}
