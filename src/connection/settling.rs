//! What callbacks asked for, carried out when they have returned.

use super::{Connection, Outcome, Status, Workshop};
use crate::context::Requests;
use crate::core::SwitchTo;
use crate::driver::Stream;
use crate::link::Flag;
use crate::outbox::Outbox;
use crate::timer::LOOP_DEPTH;
use crate::{Callback, CloseReason, Core, Failure, Input, LimitExceeded, Protocol};

/// How often a protocol may switch without a byte consumed in between.
const SWITCHES: u32 = 16;

impl<S: Stream> Connection<S> {
    /// What a callback's result and requests come to.
    pub(super) fn outcome(&mut self, result: Result<(), Failure>, requests: Requests) -> Outcome {
        if let Err(failure) = result {
            return Outcome::Close(CloseReason::Failure(failure));
        }
        match requests {
            Requests::None => Outcome::GoOn,
            Requests::Finish => {
                self.link.flags.insert(Flag::FINISHING);
                Outcome::GoOn
            }
            Requests::Close => Outcome::Close(self.orderly()),
            Requests::Abort => Outcome::Abort,
        }
    }

    /// The reason of a close in order: whoever closed first.
    pub(super) fn orderly(&self) -> CloseReason {
        if self.link.flags.contains(Flag::PEER_FIRST) { CloseReason::Peer } else { CloseReason::Local }
    }

    /// Carries out what a visit's callbacks asked for: switch, re-offer, output, close. `answers`: they were given
    /// input.
    #[cold]
    pub(super) fn settle(
        &mut self,
        core: &mut Core,
        shop: &mut Workshop,
        mut outcome: Outcome,
        answers: bool,
    ) -> Status {
        self.link.flags.remove(Flag::ASKED);
        // What they sent that answers nothing.
        let mut own = if answers { 0 } else { usize::MAX };
        let mut switches = 0;
        let mut offered = false;
        let mut unread = self.tail_len();
        while matches!(outcome, Outcome::GoOn) {
            if let Some((_, to)) = core.switch.take() {
                switches = if self.tail_len() < unread { 1 } else { switches + 1 };
                unread = self.tail_len();
                outcome = if switches > SWITCHES {
                    Outcome::Close(CloseReason::Limit(LimitExceeded::Switches(SWITCHES)))
                } else {
                    self.switch(core, &mut shop.out, to)
                };
            } else if self.may_reoffer() && !offered {
                offered = true;
                own = own.min(shop.out.len());
                outcome = self.offer(core, &mut shop.out);
            } else {
                break;
            }
        }
        core.switch = None;
        shop.out.gone = 0;
        if let Outcome::Abort = outcome {
            let corked = shop.out.len();
            core.counters[self.link.counters as usize].bytes_unsent += corked as u64;
            shop.out.clear();
            return self.abort(core, corked);
        }
        // Who does not linger may close with input unread, and reset the connection: what waits then would be lost.
        let ends = matches!(outcome, Outcome::Close(_)) || self.link.flags.contains(Flag::FINISHING);
        shop.out.is_last = ends && !core.limits.linger.is_zero();
        if self.link.flags.contains(Flag::UNASKED) {
            self.link.flags.remove(Flag::UNASKED);
            own = usize::MAX;
        }
        let flushed = self.flush(core, shop, own);
        shop.out.is_last = false;
        if let Err(reason) = flushed {
            // A protocol's failure says more than that its last words could not be written.
            return match outcome {
                Outcome::Close(first @ (CloseReason::Failure(_) | CloseReason::Limit(_))) => self.broke(core, first),
                _ => self.broke(core, reason),
            };
        }
        if let Outcome::Close(reason) = outcome {
            return self.close(core, reason);
        }
        let status = self.after_output(core);
        if status == Status::Alive && self.link.flags.contains(Flag::READABLE) && self.may_read() {
            self.queue(core);
        }
        status
    }

    /// Another protocol takes over: it is opened, offered what is unread, and told what the one
    /// before had been told.
    pub(super) fn switch(&mut self, core: &mut Core, out: &mut Outbox, to: SwitchTo) -> Outcome {
        let mut old = self.take_protocol();
        core.timers.cancel_depths(&mut self.link.timers, 0..=LOOP_DEPTH - 1);
        core.unsubscribe_from_depth(self.link.id, 0);
        self.link.flags.remove(Flag::PAUSED | Flag::DRAIN_OWED | Flag::INNER_TAIL | Flag::EOF_TOLD | Flag::LENDING);
        self.link.flags.insert(Flag::REOFFER);
        core.release_held(self.link.id, 0);
        self.protocol = match to {
            SwitchTo::Replace(new) => {
                Self::tell_protocol(&mut *old, core, &self.link, &CloseReason::Switched);
                new
            }
            SwitchTo::Wrap(wrap) => wrap(old),
        };
        let steps: [fn(&mut Self, &mut Core, &mut Outbox) -> Outcome; 3] = [
            |connection, core, out| connection.call(core, out, Callback::Open, Protocol::on_open),
            |connection, core, out| {
                if connection.may_reoffer() { connection.offer(core, out) } else { Outcome::GoOn }
            },
            |connection, core, out| {
                if core.draining {
                    connection.call(core, out, Callback::Shutdown, Protocol::on_shutdown)
                } else {
                    Outcome::GoOn
                }
            },
        ];
        for step in steps {
            let outcome = step(self, core, out);
            if !matches!(outcome, Outcome::GoOn) || core.switch.is_some() {
                return outcome;
            }
        }
        Outcome::GoOn
    }

    /// Offers the unconsumed rest to the protocol, and tells it of the half-close if it has taken over
    /// from one that knew of it.
    pub(super) fn offer(&mut self, core: &mut Core, out: &mut Outbox) -> Outcome {
        self.link.flags.remove(Flag::REOFFER);
        let outcome = self.offer_rest(core, out);
        let untold = self.link.flags.contains(Flag::EOF) && !self.link.flags.intersects(Flag::EOF_TOLD | Flag::PAUSED);
        if untold && matches!(outcome, Outcome::GoOn) && core.switch.is_none() {
            return self.tell_eof(core, out);
        }
        outcome
    }

    /// Offers the unconsumed rest (an empty one, if a layer inside holds its own).
    pub(super) fn offer_rest(&mut self, core: &mut Core, out: &mut Outbox) -> Outcome {
        let inner_tail = self.link.flags.contains(Flag::INNER_TAIL);
        self.link.flags.remove(Flag::INNER_TAIL); // whoever still holds one says so again
        let Some(mut tail) = self.take_tail() else {
            if inner_tail {
                return self
                    .call(core, out, Callback::Data, |protocol, cx| protocol.on_data(cx, &mut Input::new(&mut [])));
            }
            return Outcome::GoOn;
        };
        let mut input = Input::new(tail.bytes_mut());
        let outcome = self.call(core, out, Callback::Data, |protocol, cx| {
            cx.offered = input.len();
            protocol.on_data(cx, &mut input)
        });
        let (left, awaited) = (input.len(), input.awaited());
        self.keep_tail(core, tail, left, awaited, outcome)
    }
}
