//! Reads that go straight into a buffer of the protocol's own.

use std::io::IoSliceMut;

use super::{Connection, Outcome, Status, Workshop};
use crate::driver::Stream;
use crate::link::Flag;
use crate::tail::Tail;
use crate::{Callback, Core, Input};

impl<S: Stream> Connection<S> {
    /// Whether a read that brought the beginning of a large message is followed at once by one of the rest that is there,
    /// as far as the budget goes once more: to copy bytes is all that it costs. So few messages are under way at a time, in
    /// buffers that are in the cache still.
    pub(super) fn goes_on_lent(&self) -> bool {
        let set = Flag::LENDING | Flag::READABLE;
        self.link.flags.only(Flag::NOT_AT_REST | Flag::ASKED) == set
    }

    /// One read into what the protocol lends, and of what follows that into the loop's buffer: that saves the system call
    /// that would only find out whether something does. `None` if nothing is lent any more.
    /// At most `most` bytes are read.
    #[inline(never)]
    pub(super) fn read_lent(&mut self, core: &mut Core, shop: &mut Workshop, most: usize) -> Option<Status> {
        let protocol = self.protocol.as_deref_mut()?;
        let lent = protocol.read_buffer();
        let room = lent.len().min(most);
        if room == 0 {
            self.link.flags.remove(Flag::LENDING);
            return None;
        }
        let (lent, beyond) = (&mut lent[..room], &mut shop.read_buffer[..shop.visit.min(most - room)]);
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
