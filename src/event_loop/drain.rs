//! The end of a loop: everybody says goodbye, then whoever is left is cut off.

use std::time::Duration;

use super::{Entry, EventLoop};
use crate::core::OUTGOING;
use crate::driver::Driver;
use crate::trace;
use crate::{Callback, CloseReason, Counters, EndpointId, Protocol, Time};

/// A drain that is under way.
pub(super) struct Drain {
    started: Time,
    pub(super) deadline: Time,
    /// Connections and sessions that were there when it started.
    connections: usize,
}

/// What became of everything when a loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Connections, and sessions over UDP, that were there when the drain began and ended by themselves before its deadline.
    pub drained: usize,
    /// Connections and sessions that had to be cut off.
    pub cut_off: usize,
    /// How long the drain took.
    pub took: Duration,
    /// Everything the loop has counted in its life.
    pub counters: Counters,
}

impl<D: Driver> EventLoop<D> {
    /// Starts the drain, or brings its deadline nearer.
    pub(super) fn begin_drain(&mut self, timeout: Duration) {
        let deadline = self.core.now + timeout;
        if let Some(drain) = &mut self.drain {
            drain.deadline = drain.deadline.min(deadline);
            return;
        }
        let connections = self.core.connections + self.core.sessions;
        self.drain = Some(Drain { started: self.core.now, deadline, connections });
        self.core.draining = true;
        trace::drain_begun(self.core.connections, timeout);
        self.leaving = self.entries.ids().into_iter();
    }

    /// The loop drains: one of those that were there when that began is told.
    pub(super) fn say_goodbye(&mut self, id: EndpointId) {
        match self.entries.get_mut(id) {
            Some(Entry::Listener(_)) => self.remove_listener(id),
            Some(Entry::Delayed(_) | Entry::Dialing(_)) => self.call_off(id, CloseReason::Shutdown { unsent: 0 }),
            Some(Entry::Socket(_)) => {
                self.visit_socket(id, |s, core, shop| {
                    s.visit(core, shop, Callback::Shutdown, |p, cx| p.on_shutdown(cx))
                });
            }
            Some(Entry::SessionSocket(_)) => self.drain_sessions(id),
            Some(Entry::Session(_)) => {
                self.visit_session(id, |s, desk| s.visit(desk, Callback::Shutdown, Protocol::on_shutdown));
            }
            Some(Entry::Connection(connection)) => {
                if connection.is_connecting() {
                    self.visit(id, |connection, core, _| connection.cut_off(core));
                } else if connection.is_open() {
                    self.visit(id, |connection, core, shop| {
                        connection.visit(core, shop, Callback::Shutdown, Protocol::on_shutdown)
                    });
                }
            }
            None => {} // it went while others said goodbye
        }
    }

    /// Step 9.
    pub(super) fn check_drain(&mut self) {
        let Some(drain) = &self.drain else { return };
        if self.entries.is_empty() || self.core.now >= drain.deadline {
            self.stop();
        }
    }

    /// Ends the loop here and now: whoever is left is cut off.
    pub(super) fn stop(&mut self) {
        if self.tally.is_some() {
            return;
        }
        if self.drain.is_none() {
            let (now, connections) = (self.core.now, self.core.connections + self.core.sessions);
            self.drain = Some(Drain { started: now, deadline: now, connections });
            self.core.draining = true;
        }
        let mut cut_off = 0;
        for id in self.entries.ids() {
            match self.entries.get_mut(id) {
                Some(Entry::Listener(_)) => self.remove_listener(id),
                Some(Entry::Delayed(delayed)) => {
                    cut_off += usize::from(delayed.counts);
                    self.call_off(id, CloseReason::Shutdown { unsent: 0 });
                }
                Some(Entry::Dialing(_)) => {
                    cut_off += 1;
                    self.call_off(id, CloseReason::Shutdown { unsent: 0 });
                }
                Some(Entry::Socket(_)) => self.visit_socket(id, |socket, core, _| socket.cut_off(core)),
                Some(Entry::SessionSocket(_)) => cut_off += self.cut_off_sessions(id),
                Some(Entry::Session(_)) => {
                    cut_off += 1;
                    self.visit_session(id, |session, desk| session.cut_off(desk.core));
                }
                Some(Entry::Connection(connection)) => {
                    cut_off += usize::from(connection.has_protocol());
                    self.visit(id, |connection, core, _| connection.cut_off(core));
                }
                None => {}
            }
        }
        // A last `connect` is refused, not forgotten; one that answers the refusal is not asked for again.
        self.carry_out_now();
        self.end(cut_off);
    }

    fn end(&mut self, cut_off: usize) {
        let Some(drain) = &self.drain else { return };
        self.core.counters[OUTGOING as usize].messages_undelivered += self.handle.end();
        self.core.post_office.drop_visits();
        let tally = Tally {
            drained: drain.connections.saturating_sub(cut_off),
            cut_off,
            took: self.core.now.saturating_since(drain.started),
            counters: self.core.counters(),
        };
        trace::ended(&tally);
        self.tally = Some(tally);
    }
}

impl<D: Driver> Drop for EventLoop<D> {
    /// Every protocol's `on_close` is called, as promised, though nothing can follow from it.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
        self.handle.end();
    }
}
