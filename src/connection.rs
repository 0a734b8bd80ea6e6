//! The state machine of one connection, whatever carries it.
//!
//! ```text
//!             established            finish() and EOF, or close()
//! Connecting ────────────▶ Open ─────────────────────────────────▶ Closing: output waits
//!     │                     │                                         │ all written: on_close
//!     │ refused, timeout    │ reset, abort(), limit                   ▼
//!     └─────────────────────┴──────────────▶ gone ◀──────────────── Lingering: FIN sent, discards
//!                             on_close               EOF, or time    what still comes
//! ```
//!
//! This file calls the protocol; `settling` carries out what it asked for; `connecting`, `resting`, `reading`, `lent`,
//! `unconsumed`, `writing`, `broken`, `ending` and `watching` are the rest of it.

use bytes::{Buf, BytesMut};

use crate::context::Requests;
use crate::driver::Stream;
use crate::link::{Flag, Link};
use crate::outbox::Outbox;
use crate::spare::discard;
use crate::tail::Tail;
use crate::timer::LOOP_DEPTH;
use crate::trace;
use crate::{Callback, CloseReason, Context, Core, Failure, Input, Limits, Protocol, Time, TimerId};

mod broken;
mod connecting;
mod ending;
mod lent;
mod reading;
mod resting;
mod settling;
mod unconsumed;
mod watching;
mod writing;

/// A connection's entry in the slab: small while nothing waits.
pub(crate) struct Connection<S> {
    pub(crate) stream: S,
    pub(crate) link: Link,
    /// One that does nothing, once `on_close` was called.
    protocol: Box<dyn Protocol>,
    /// `None` at rest; else there is [`Flag::WAITS`].
    waiting: Option<Box<Waiting>>,
}

/// What a connection needs only while input or output waits, or it is about to end.
#[derive(Default)]
struct Waiting {
    /// What arrived and was not consumed.
    tail: Tail,
    /// What the system has not taken.
    outbox: Outbox,
    /// How much of that was made of input, at most.
    answers: usize,
    /// How much of it must be written until no answer waits any more.
    last_answer: usize,
    /// How many bytes of it the system has taken of [`Limits::PROGRESS`](crate::Limits::PROGRESS), and until when it must have
    /// taken all of these.
    taken: usize,
    patience: Time,
    /// Why the connection ends when the output is written.
    then: Option<CloseReason>,
    /// Bytes discarded while output waits, or while it lingers.
    discarded: usize,
    /// The connection broke; what had arrived before is being read.
    broken: Option<broken::Broken>,
}

/// What the buffers have beyond the read budget: the header of a message of that many bytes, and what a visit's output may be
/// longer than its input before its buffer grows.
const HEADERS: usize = 1024;

/// The loop's buffers, lent to whichever connection has its turn.
pub(crate) struct Workshop {
    pub(crate) read_buffer: BytesMut,
    /// How much of it one visit may fill in this turn.
    pub(crate) visit: usize,
    pub(crate) out: Outbox,
    /// As [`Input::returnable`] has it: at depth 0, if all that a read brings may wait to be sent.
    returnable_at: u8,
    /// As [`Driver::SHORT_MEANS_DRAINED`](crate::driver::Driver::SHORT_MEANS_DRAINED).
    short_means_drained: bool,
}

impl Workshop {
    pub(crate) fn new(limits: &Limits, short_means_drained: bool) -> Self {
        let Limits { read_budget, high_water, .. } = *limits;
        let returnable_at = if read_budget <= high_water { 0 } else { Input::NOWHERE };
        let read_buffer = Self::new_read_buffer(read_budget + HEADERS);
        let out = Outbox::for_visits(read_budget + HEADERS);
        Self { read_buffer, visit: read_budget, out, returnable_at, short_means_drained }
    }

    /// Begins with a line of the cache: 16 bytes behind the beginning of a page, where large memory of glibc lies, the
    /// system's copies cost AMD's Zen 4 an eighth to a quarter more of the processor time of a message of 256 KiB.
    fn new_read_buffer(length: usize) -> BytesMut {
        const LINE: usize = 64;
        let mut buffer = BytesMut::zeroed(length + LINE);
        buffer.advance(buffer.as_ptr().align_offset(LINE).min(LINE));
        buffer.truncate(length);
        buffer
    }

    /// Gives back to the system what large messages have touched of the buffers: what nobody writes to takes no memory.
    #[cold]
    pub(crate) fn give_back(&mut self) {
        let length = self.read_buffer.len();
        let mut old = std::mem::take(&mut self.read_buffer);
        old.truncate(1);
        discard(old.into());
        self.read_buffer = Self::new_read_buffer(length);
        self.out.give_back();
    }

    /// How much one read may bring.
    fn budget(&self) -> usize {
        self.read_buffer.len() - HEADERS
    }

    /// In this turn so many have something to do. Who sends as fast as it can is read at length only where that delays few:
    /// 256 KiB may be ten thousand messages, whose answers take longer than those of sixty others. So may one write of a
    /// mebibyte: gives the bytes that one may have.
    #[inline]
    pub(crate) fn share(&mut self, ready: usize) -> usize {
        /// Enough for what is read to outweigh the system call, and for four messages of 16 KiB: with 64 KiB their headers had
        /// those of 64 connections cut, each time, and echoes of 256 KiB cost a fifth more.
        const LEAST: usize = 96 * 1024;
        /// A large message and its header.
        const BURST: usize = 257 * 1024;
        let budget = self.budget();
        self.visit = if ready < 2 { budget } else { (budget / ready).max(LEAST).min(budget) };
        if ready < 2 { usize::MAX } else { BURST }
    }
}

/// Stands where a protocol was that has ended, and takes no memory.
struct Ended;

impl Protocol for Ended {
    fn on_data(&mut self, _: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

/// Whether a connection is still there after a visit.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Alive,
    /// To be taken out of the slab; its `on_close` was called.
    Gone {
        abort: bool,
    },
}

/// What a callback decided about its connection.
pub(crate) enum Outcome {
    GoOn,
    Close(CloseReason),
    Abort,
}

impl<S: Stream> Connection<S> {
    pub(crate) fn new(stream: S, link: Link, protocol: Box<dyn Protocol>) -> Self {
        Self { stream, link, protocol, waiting: None }
    }

    /// The protocol, to be followed by another or by nothing.
    fn take_protocol(&mut self) -> Box<dyn Protocol> {
        std::mem::replace(&mut self.protocol, Box::new(Ended))
    }

    /// What waits, or will.
    fn waiting_mut(&mut self) -> &mut Waiting {
        self.link.flags.insert(Flag::WAITS);
        self.waiting.get_or_insert_default()
    }

    /// Nothing waits any more.
    fn forget_waiting(&mut self) {
        self.link.flags.remove(Flag::WAITS);
        self.waiting = None;
    }

    pub(crate) fn protocol(&mut self) -> Option<&mut dyn Protocol> {
        self.has_protocol().then_some(&mut *self.protocol)
    }

    /// Whether `on_close` is still to come.
    pub(crate) fn has_protocol(&self) -> bool {
        !self.link.flags.contains(Flag::ENDED)
    }

    /// Whether callbacks other than `on_close` may still be called.
    pub(crate) fn is_open(&self) -> bool {
        !self.link.flags.intersects(Flag::CONNECTING | Flag::CLOSING | Flag::LINGERING)
    }

    /// The connection stands.
    pub(crate) fn open(&mut self, core: &mut Core, shop: &mut Workshop) -> Status {
        self.link.flags.remove(Flag::CONNECTING);
        self.set_watched(core.watch.is_some());
        trace::opened(self.link.id, &self.stream);
        core.timers.cancel_depths(&mut self.link.timers, LOOP_DEPTH..=LOOP_DEPTH);
        (self.link.last_read, self.link.last_write) = (core.now, core.now);
        core.counters[self.link.counters as usize].opened += 1;
        self.expect_mail(core);
        self.visit(core, shop, Callback::Open, Protocol::on_open)
    }

    /// Calls the protocol once, and carries out what it asked for.
    pub(crate) fn visit(
        &mut self,
        core: &mut Core,
        shop: &mut Workshop,
        which: Callback,
        callback: impl FnOnce(&mut dyn Protocol, &mut Context<'_>) -> Result<(), Failure>,
    ) -> Status {
        let outcome = self.call(core, &mut shop.out, which, callback);
        self.settle(core, shop, outcome, false)
    }

    /// As [`visit`](Self::visit), for callers that want something back.
    pub(crate) fn visit_with<R>(
        &mut self,
        core: &mut Core,
        shop: &mut Workshop,
        callback: impl FnOnce(&mut dyn Protocol, &mut Context<'_>) -> R,
    ) -> (Option<R>, Status) {
        let mut returned = None;
        let status = self.visit(core, shop, Callback::With, |protocol, cx| {
            returned = Some(callback(protocol, cx));
            Ok(())
        });
        (returned, status)
    }

    /// One of the protocol's own timers, or one the loop set on this connection, is due.
    pub(crate) fn on_timer(&mut self, core: &mut Core, shop: &mut Workshop, timer: TimerId) -> Status {
        if !core.timers.fire(&mut self.link.timers, timer) {
            return Status::Alive; // cancelled or postponed since it was collected
        }
        if timer.depth() == LOOP_DEPTH {
            return self.time_out(core);
        }
        let before = self.before_visit(core);
        let status = self.visit(core, shop, Callback::Timer, |protocol, cx| protocol.on_timer(cx, timer));
        self.after_visit(core, before, status)
    }

    /// Hands over the letters that are in the mailbox now, unless the connection can't take them.
    pub(crate) fn deliver_mail(&mut self, core: &mut Core, shop: &mut Workshop) -> Status {
        if !self.is_open() || self.link.flags.contains(Flag::SLOW) {
            return Status::Alive; // delivered when it opens, or when its output has drained
        }
        let mut outcome = Outcome::GoOn;
        while let Some(message) = core.next_message(&self.link) {
            outcome =
                self.call(core, &mut shop.out, Callback::Message, |protocol, cx| protocol.on_message(cx, message));
            // What comes of them counts as output at once, though it is written only at the end.
            let slow = shop.out.len() + self.backlog_len() > core.limits.high_water;
            if !matches!(outcome, Outcome::GoOn) || core.switch.is_some() || slow {
                break;
            }
        }
        let status = self.settle(core, shop, outcome, false);
        self.expect_mail(core);
        status
    }

    /// Puts this connection on the next round if letters wait for it that it can take.
    fn expect_mail(&mut self, core: &mut Core) {
        let id = self.link.id;
        if let Some(desk) = core.registry.desk(id)
            && !desk.mailbox.is_empty()
            && !self.link.flags.contains(Flag::SLOW)
        {
            core.post_office.visit(&mut desk.mailbox, id);
        }
    }

    /// Serves what no event announces: see [`Core::ready`].
    pub(crate) fn on_ready(&mut self, core: &mut Core, shop: &mut Workshop) -> Status {
        self.link.flags.remove(Flag::QUEUED);
        let before = self.before_visit(core);
        let status = if self.is_broken() { self.read_last_words(core, shop) } else { self.serve(core, shop) };
        self.after_visit(core, before, status)
    }

    /// A re-offer, a drain, a read: what of it is due.
    fn serve(&mut self, core: &mut Core, shop: &mut Workshop) -> Status {
        if self.link.flags.contains(Flag::WRITE_MORE) {
            let status = self.on_writable(core, shop);
            if status != Status::Alive {
                return status;
            }
        }
        if self.may_reoffer() {
            let status = self.settle(core, shop, Outcome::GoOn, true);
            if status != Status::Alive {
                return status;
            }
        }
        if self.owes_drain(core) {
            self.link.flags.remove(Flag::DRAIN_OWED);
            let status = self.visit(core, shop, Callback::Drain, Protocol::on_drain);
            if status != Status::Alive {
                return status;
            }
        }
        // A re-offer that was asked for anew goes before what can be read: it is on the list again.
        let may_read = self.may_read() && !self.may_reoffer();
        if may_read && self.link.flags.contains(Flag::READABLE) { self.read(core, shop) } else { Status::Alive }
    }

    /// Whether the unconsumed rest is to be offered again: not while the peer does not take its output.
    fn may_reoffer(&self) -> bool {
        self.link.flags.contains(Flag::REOFFER) && !self.link.flags.contains(Flag::HELD) && self.is_open()
    }

    /// Puts this connection on the ready list.
    fn queue(&mut self, core: &mut Core) {
        if !self.link.flags.contains(Flag::QUEUED) {
            self.link.flags.insert(Flag::QUEUED);
            core.ready.push(self.link.id);
        }
    }

    fn call(
        &mut self,
        core: &mut Core,
        out: &mut Outbox,
        which: Callback,
        callback: impl FnOnce(&mut dyn Protocol, &mut Context<'_>) -> Result<(), Failure>,
    ) -> Outcome {
        if !self.has_protocol() {
            return Outcome::GoOn;
        }
        if core.watch.is_some() {
            self.begin_watched(core, which);
        }
        let outside = self.backlog_len();
        let mut cx = Context {
            core,
            link: &mut self.link,
            stream: &mut self.stream,
            out,
            outside,
            offered: 0,
            returned: 0,
            requests: Requests::None,
            depth: 0,
        };
        let result = callback(&mut *self.protocol, &mut cx);
        let requests = cx.requests;
        core.end_watched();
        self.outcome(result, requests)
    }
}
