//! How connections end: in order, cut off, or broken. Each way calls `on_close` exactly once.

use std::io;

use super::{Connection, Status};
use crate::driver::Stream;
use crate::link::Flag;
use crate::timer::LOOP_DEPTH;
use crate::{CloseReason, Core, LimitExceeded, Limits};

impl<S: Stream> Connection<S> {
    /// Closes from outside, as the protocol's own `close` or `abort` would.
    pub(crate) fn close_by_command(&mut self, core: &mut Core, abort: bool) -> Status {
        if abort || self.link.flags.contains(Flag::CONNECTING) {
            return self.abort(core, 0);
        }
        let reason = self.orderly();
        self.close(core, reason)
    }

    /// It has exceeded a limit of which the loop takes note outside of its own callbacks.
    pub(crate) fn enforce(&mut self, core: &mut Core, limit: LimitExceeded) -> Status {
        if self.is_open() { self.broke(core, CloseReason::Limit(limit)) } else { Status::Alive }
    }

    /// An outgoing connection that was not established.
    pub(crate) fn connect_failed(&mut self, core: &mut Core, reason: CloseReason) -> Status {
        self.tell_close(core, reason);
        Status::Gone { abort: false }
    }

    /// The drain's deadline has come: whatever is left goes.
    pub(crate) fn cut_off(&mut self, core: &mut Core) -> Status {
        let reason = CloseReason::Shutdown { unsent: self.backlog_len() };
        self.end_now(core, reason)
    }

    /// Ends when everything that was sent is written.
    pub(super) fn close(&mut self, core: &mut Core, reason: CloseReason) -> Status {
        if self.link.flags.intersects(Flag::CLOSING | Flag::LINGERING) {
            return Status::Alive;
        }
        if let Some(broken) = self.broken_reason() {
            // A protocol's failure says more than that its last words could not be written.
            let says_more = matches!(reason, CloseReason::Failure(_) | CloseReason::Limit(_));
            return self.end_now(core, if says_more { reason } else { broken });
        }
        if self.backlog_len() == 0 {
            return self.end_in_order(core, reason);
        }
        self.link.flags.insert(Flag::CLOSING);
        // Nothing but `on_close` follows for the protocol; input is discarded from here on.
        self.link.flags.remove(Flag::PAUSED | Flag::HELD | Flag::SLOW | Flag::REOFFER | Flag::DRAIN_OWED);
        core.timers.cancel_depths(&mut self.link.timers, 0..=LOOP_DEPTH - 1);
        core.retire(&self.link);
        self.drop_tail(core);
        self.waiting_mut().then = Some(reason);
        if self.link.flags.contains(Flag::READABLE) {
            self.queue(core);
        }
        Status::Alive
    }

    /// Everything is written: `on_close`, a FIN, and a wait for the peer's.
    pub(super) fn end_in_order(&mut self, core: &mut Core, reason: CloseReason) -> Status {
        self.link.flags.remove(Flag::PAUSED | Flag::HELD | Flag::SLOW | Flag::CLOSING);
        self.tell_close(core, reason);
        if self.link.flags.contains(Flag::EOF) || core.limits.linger.is_zero() {
            return Status::Gone { abort: false };
        }
        if !self.link.flags.contains(Flag::WRITE_SHUT) && self.stream.shutdown_write().is_err() {
            return Status::Gone { abort: false };
        }
        self.link.flags.insert(Flag::LINGERING | Flag::WRITE_SHUT);
        self.link.last_write = core.now; // from when on it lingers
        self.set_loop_timer(core, core.limits.linger);
        if self.link.flags.contains(Flag::READABLE) {
            self.queue(core);
        }
        Status::Alive
    }

    /// The protocol cut the connection off, with `corked` bytes of the same visit.
    pub(super) fn abort(&mut self, core: &mut Core, corked: usize) -> Status {
        let reason = CloseReason::Aborted { unsent: self.backlog_len() + corked };
        self.end_now(core, reason)
    }

    /// The system says that the connection broke.
    #[cold]
    pub(super) fn broke_by(&mut self, core: &mut Core, error: io::Error) -> Status {
        let unsent = self.backlog_len();
        self.broke(core, CloseReason::Io { error, unsent })
    }

    /// The connection can't go on. A failure that it was about to close with stays the reason.
    #[cold]
    pub(super) fn broke(&mut self, core: &mut Core, reason: CloseReason) -> Status {
        let then = self.waiting.as_mut().and_then(|waiting| waiting.then.take());
        match then {
            Some(first @ (CloseReason::Failure(_) | CloseReason::Limit(_))) => self.end_now(core, first),
            _ => self.end_now(core, reason),
        }
    }

    /// The loop's timer on this connection: the state says what took too long.
    pub(super) fn time_out(&mut self, core: &mut Core) -> Status {
        if self.link.flags.contains(Flag::LINGERING) {
            self.linger_on(core)
        } else if self.link.flags.contains(Flag::CONNECTING) {
            let reason = CloseReason::ConnectTimeout(core.limits.connect_timeout);
            self.connect_failed(core, reason)
        } else {
            let is_slow = self.waiting.as_ref().is_some_and(|waiting| waiting.patience <= core.now);
            let waited = if is_slow { core.limits.patience() } else { core.limits.write_stall };
            let reason = CloseReason::Limit(LimitExceeded::WriteStall(waited));
            self.broke(core, reason)
        }
    }

    /// Goes on lingering as long as the peer still sends, for a few such times at most.
    fn linger_on(&mut self, core: &mut Core) -> Status {
        let linger = core.limits.linger;
        let until = (self.link.last_read + linger).min(self.link.last_write + linger * Limits::LINGERS);
        if core.now >= until {
            return Status::Gone { abort: false };
        }
        self.set_loop_timer(core, until.saturating_since(core.now));
        Status::Alive
    }

    /// Ends at once; with a reset if something is lost by it.
    fn end_now(&mut self, core: &mut Core, reason: CloseReason) -> Status {
        let abort = matches!(reason, CloseReason::Aborted { .. }) || self.backlog_len() > 0;
        if self.has_protocol() {
            self.tell_close(core, reason);
        }
        Status::Gone { abort }
    }

    /// `on_close`, and everything that the protocol had goes.
    fn tell_close(&mut self, core: &mut Core, reason: CloseReason) {
        let unsent = self.backlog_len();
        core.held -= unsent;
        core.release_held(self.link.id, 0);
        core.timers.cancel_depths(&mut self.link.timers, 0..=LOOP_DEPTH);
        core.retire(&self.link);
        self.drop_tail(core);
        self.forget_waiting();
        let was_connecting = self.link.flags.contains(Flag::CONNECTING);
        let counters = &mut core.counters[self.link.counters as usize];
        counters.bytes_unsent += unsent as u64;
        if was_connecting {
            counters.connect_errors += 1;
        } else {
            counters.closed += 1;
        }
        if self.has_protocol() {
            self.link.flags.insert(Flag::ENDED);
            Self::tell_protocol(&mut *self.take_protocol(), core, &self.link, &reason);
        }
        core.note_close(self.link.id, reason);
    }

    fn drop_tail(&mut self, core: &mut Core) {
        if let Some(tail) = self.take_tail() {
            core.held -= tail.charged;
            core.counters[self.link.counters as usize].bytes_discarded += tail.len() as u64;
        }
    }
}
