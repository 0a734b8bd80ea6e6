//! The visit that nearly all are: bytes come for a connection at rest, are consumed, and answered.

use std::io;
use std::ops::Range;

use super::{Connection, Status, Workshop};
use crate::context::Requests;
use crate::driver::Stream;
use crate::link::Flag;
use crate::{Context, Core, Failure, Input};

/// How a visit to a connection at rest goes on where it does not end as nearly always.
pub(crate) enum Unusual {
    Eof,
    /// There may be more to read, or it failed.
    Read(io::Result<usize>),
    /// Of so many bytes the protocol left some, or it asked for something.
    Delivery {
        count: usize,
        /// How many at their end are to be sent back.
        returned: usize,
        /// How many it left, and how many it waits for.
        rest: (usize, usize),
        result: Result<(), Failure>,
        requests: Requests,
    },
    /// The system took not all of the answer, of which so much is counted.
    Write {
        /// What of the read buffer goes before what is corked.
        returned: Range<usize>,
        counted: usize,
        result: io::Result<usize>,
    },
}

impl<S: Stream> Connection<S> {
    /// Whether nothing waits and nothing is special, as nearly always, so that an event that says no more than that
    /// there is something to read can go the short way.
    #[inline(always)]
    pub(crate) fn is_at_rest(&self) -> bool {
        !self.link.flags.intersects(Flag::NOT_AT_REST)
    }

    /// The system has something to read for a connection [at rest](Self::is_at_rest): the short way of
    /// [`read_anew`](Self::read_anew), which spares some 60 instructions, and 20 of them as a part of the loop over the
    /// events. Anything [`Unusual`] is still to be ended.
    #[inline(always)]
    pub(crate) fn read_at_rest(
        &mut self,
        core: &mut Core,
        shop: &mut Workshop,
        short_means_drained: bool,
    ) -> Result<(), Unusual> {
        let buffer = &mut shop.read_buffer[..shop.visit];
        let count = match self.stream.read(buffer) {
            Ok(count) => count,
            Err(error) => return Err(Unusual::Read(Err(error))),
        };
        if count == 0 {
            return Err(Unusual::Eof); // as an arm of the match it costs two instructions more
        }
        if count >= buffer.len() || !short_means_drained {
            return Err(Unusual::Read(Ok(count)));
        }
        self.link.last_read = core.now;
        let mut input = Input::returnable(&mut buffer[..count], shop.returnable_at);
        let (link, stream, out) = (&mut self.link, &mut self.stream, &mut shop.out);
        let (outside, offered, returned, requests, depth) = (0, count, 0, Requests::None, 0);
        let mut cx = Context { core, link, stream, out, outside, offered, returned, requests, depth };
        let result = self.protocol.on_data(&mut cx, &mut input);
        // The usual end: everything consumed, and nothing asked for but that bytes be sent.
        let special = Flag::REOFFER | Flag::DRAIN_OWED | Flag::ASKED;
        if !input.is_empty() || result.is_err() || cx.link.flags.intersects(special) {
            let (returned, requests) = (cx.returned, cx.requests);
            let rest = (input.len(), input.awaited());
            return Err(Unusual::Delivery { count, returned, rest, result, requests });
        }
        let returned = cx.returned;
        // Both directions are counted together, which spares a look-up.
        let counters = &mut core.counters[self.link.counters as usize];
        counters.bytes_in += count as u64;
        counters.reads += 1;
        let corked = shop.out.as_fresh();
        if returned == count {
            if !corked.is_empty() {
                return Err(Unusual::Write { returned: 0..count, counted: 0, result: Ok(0) });
            }
            counters.bytes_out += count as u64;
            let result = self.stream.write(&buffer[..count]);
            if !matches!(result, Ok(written) if written == count) {
                return Err(Unusual::Write { returned: 0..count, counted: count, result });
            }
            self.link.last_write = core.now;
            return Ok(());
        }
        if returned > 0 {
            return Err(Unusual::Write { returned: count - returned..count, counted: 0, result: Ok(0) });
        }
        let len = corked.len();
        if len == 0 {
            return Ok(());
        }
        counters.bytes_out += len as u64;
        let result = self.stream.write(corked);
        if !matches!(result, Ok(written) if written == len) {
            return Err(Unusual::Write { returned: 0..0, counted: len, result });
        }
        self.link.last_write = core.now;
        shop.out.clear_fresh();
        Ok(())
    }

    /// Ends what [`read_at_rest`](Self::read_at_rest) has begun.
    #[cold]
    #[inline(never)]
    pub(crate) fn end_unusually(&mut self, core: &mut Core, shop: &mut Workshop, unusual: Unusual) -> Status {
        match unusual {
            Unusual::Eof => self.reached_eof(core, shop),
            Unusual::Read(Ok(count)) => {
                self.link.flags.insert(Flag::READABLE); // as far as is known
                self.count_read(core, count);
                self.deliver(core, shop, count)
            }
            Unusual::Read(Err(error)) => self.read_failed(core, error),
            Unusual::Delivery { count, returned, rest, result, requests } => {
                self.count_read(core, count);
                shop.out.prepend(&shop.read_buffer[count - returned..count]);
                let outcome = self.outcome(result, requests);
                self.end_delivery(core, shop, count, rest, outcome)
            }
            Unusual::Write { returned, counted, result } => self.fell_short(core, shop, returned, counted, result),
        }
    }
}
