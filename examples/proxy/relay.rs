//! Two connections that are as one: what comes in on either side goes out on the other.
//!
//! Each side is a protocol of its own, and they know each other by id. What one reads it posts to the other, which
//! sends it without a copy and says so when it has room for more. Until then the reader may have `high_water / 2`
//! bytes under way, and stops reading when one more read could exceed that; the writer says so while it has at most
//! `high_water / 2` bytes waiting. So never more than `high_water` bytes wait in one direction.

use std::cell::Cell;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use switchboard::{
    Bytes, CloseReason, Closing, ConnectionId, Context, Core, Failure, Input, Message, Protocol, Target,
};
use switchboard_heartbeat::IdleTimeout;

/// What the connections of one listener have in common.
pub(crate) struct Route {
    /// Where each goes on to.
    pub(crate) target: Target,
    pub(crate) idle_timeout: Duration,
    pub(crate) verbose: bool,
}

/// One side of a forwarded connection.
pub(crate) struct Relay {
    route: Rc<Route>,
    partner: Option<ConnectionId>,
    /// Whether the partner's connection stands.
    joined: bool,
    opened: bool,
    /// Bytes posted to the partner that it has not called taken.
    under_way: usize,
    /// Bytes of the partner's that it has not been told of.
    taken: usize,
    /// Taken by both sides, and free when neither holds anything any more.
    seat: Rc<Seat>,
}

/// What one side says to the other, between the bytes.
pub(crate) enum Word {
    /// The target has accepted.
    Joined,
    /// There is room for this many bytes more.
    Taken(usize),
    /// No more bytes follow.
    Finished,
    /// The connection ended before its time: the target refused, or nothing passed.
    Closed,
    /// The connection broke.
    Broken,
}

/// One of the connections forwarded at a time.
pub(crate) struct Seat(Rc<Cell<usize>>);

impl Seat {
    /// Takes one of those that `taken` counts.
    pub(crate) fn take(taken: &Rc<Cell<usize>>) -> Rc<Self> {
        taken.set(taken.get() + 1);
        Rc::new(Self(Rc::clone(taken)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Relay {
    /// The client's side, which opens the target's. `pairs` counts how many there are.
    pub(crate) fn accepted(route: &Rc<Route>, pairs: &Rc<Cell<usize>>) -> impl Protocol + use<> {
        IdleTimeout::new(route.idle_timeout).around(Self::new(None, route, &Seat::take(pairs)))
    }

    /// A side that has its partner already, or will have one.
    pub(crate) fn new(partner: Option<ConnectionId>, route: &Rc<Route>, seat: &Rc<Seat>) -> Self {
        let (joined, route, seat) = (partner.is_some(), Rc::clone(route), Rc::clone(seat));
        Self { route, partner, joined, opened: false, under_way: 0, taken: 0, seat }
    }

    /// False if the partner is gone.
    fn tell(&self, core: &mut Core, message: impl Into<Message>) -> bool {
        self.partner.is_some_and(|partner| core.post(partner, message).is_ok())
    }

    /// Says what was taken, if there is room for as much again; if not, `on_drain` follows.
    fn call_taken(&mut self, cx: &mut Context<'_>) {
        if self.taken > 0 && cx.has_room() {
            let taken = std::mem::take(&mut self.taken);
            self.tell(cx, Message::user(Word::Taken(taken))); // a partner that has ended needs no room
        }
    }

    /// Whether another read fits under way.
    fn may_read(&self, core: &Core) -> bool {
        let limits = core.limits();
        self.joined && (self.under_way == 0 || self.under_way + limits.read_budget <= limits.high_water / 2)
    }
}

impl Protocol for Relay {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.opened = true;
        if self.partner.is_some() {
            self.tell(cx, Message::user(Word::Joined));
            return Ok(());
        }
        let target = Self::new(Some(cx.id()), &self.route, &self.seat);
        let target = IdleTimeout::new(self.route.idle_timeout).around(target);
        self.partner = Some(cx.connect(&self.route.target, target));
        cx.pause_reading();
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        let bytes = Bytes::copy_from_slice(input.take_all());
        self.under_way += bytes.len();
        if !self.tell(cx, bytes) {
            cx.abort();
        } else if !self.may_read(cx) {
            cx.pause_reading();
        }
        Ok(())
    }

    /// A half-close goes on behind the bytes; what the partner says goes on coming.
    fn on_eof(&mut self, cx: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
        if !self.tell(cx, Message::user(Word::Finished)) {
            cx.abort();
        }
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        let bytes = match message {
            Message::Bytes(bytes) => bytes,
            message => {
                match message.downcast() {
                    Ok(Word::Joined) => self.joined = true,
                    Ok(Word::Taken(count)) => self.under_way -= count,
                    Ok(Word::Finished) => cx.finish(),
                    Ok(Word::Closed) => cx.close(),
                    Ok(Word::Broken) => cx.abort(),
                    Err(_) => {}
                }
                if self.may_read(cx) {
                    cx.resume_reading();
                }
                return Ok(());
            }
        };
        self.taken += bytes.len();
        cx.send_shared(bytes);
        self.call_taken(cx);
        Ok(())
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.call_taken(cx);
        Ok(())
    }

    /// What stands goes on, to its own end or the drain's.
    fn on_shutdown(&mut self, _: &mut Context<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, reason: &CloseReason) {
        if reason.is_clean() {
            return; // both directions were finished, or the partner said so
        }
        if self.route.verbose && !matches!(reason, CloseReason::Aborted { .. }) {
            let _ = writeln!(io::stderr(), "{}: {reason}", self.route.target);
        }
        match self.partner {
            Some(partner) if !self.joined => cx.abort(partner), // the call to the target is given up
            _ if !self.opened || matches!(reason, CloseReason::Failure(_)) => {
                self.tell(cx, Message::user(Word::Closed));
            }
            _ => {
                self.tell(cx, Message::user(Word::Broken));
            }
        }
    }
}
