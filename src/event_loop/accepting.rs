//! Accepting and refusing, and taking out what has gone.

use super::{Entry, EventLoop};
use crate::connection::{Connection, Status};
use crate::driver::{AcceptError, Driver};
use crate::link::{Flag, Link};
use crate::listener::Accepted;
use crate::timer::LOOP_DEPTH;
use crate::trace;
use crate::{Callback, CloseReason, EndpointId, Protocol, TimerId};

impl<D: Driver> EventLoop<D> {
    /// Accepts who waits, within the turn's budget and the loop's limit.
    pub(super) fn accept(&mut self, id: EndpointId) {
        for _ in 0..self.core.limits.accepts_per_turn {
            let Some(Entry::Listener(listener)) = self.entries.get_mut(id) else { return };
            listener.link.flags.remove(Flag::QUEUED);
            let limit = self.core.limits.connections;
            if self.core.connections >= limit {
                if !listener.link.flags.contains(Flag::HELD) {
                    if !listener.link.flags.contains(Flag::FULL) {
                        trace::full(id, limit);
                    }
                    listener.link.flags.insert(Flag::HELD | Flag::FULL);
                    self.full.push(id);
                }
                return;
            }
            if self.core.connections <= limit - limit.div_ceil(8) {
                listener.link.flags.remove(Flag::FULL);
            }
            let counters = listener.link.counters;
            let (stream, peer) = match self.driver.accept(&mut listener.listener) {
                Ok(accepted) => accepted,
                Err(AcceptError::Empty) => return,
                Err(AcceptError::Retry(error)) => {
                    trace::accept_failed(id, &error);
                    self.core.counters[counters as usize].accept_errors += 1;
                    continue;
                }
                Err(AcceptError::Exhausted(error)) => {
                    trace::exhausted(id, &error, self.core.limits.accept_retry);
                    self.core.counters[counters as usize].accept_errors += 1;
                    let (owner, after) = (listener.link.id, self.core.limits.accept_retry);
                    if self.core.timers.find(listener.link.timers, LOOP_DEPTH).is_none() {
                        self.core.timers.set(owner, &mut listener.link.timers, LOOP_DEPTH, self.core.now + after);
                    }
                    return;
                }
            };
            let (accepted, factory) = (Accepted { peer, listener: listener.id }, &mut listener.factory);
            match self.core.watched(Some(id), Callback::Factory, |_| factory(&accepted)) {
                Some(protocol) => self.adopt(stream, counters, protocol),
                None => {
                    trace::refused(id, peer);
                    self.core.counters[counters as usize].refused += 1;
                    self.driver.close(stream, false);
                }
            }
        }
        // Perhaps more are waiting; no edge will say so.
        if let Some(Entry::Listener(listener)) = self.entries.get_mut(id)
            && !listener.link.flags.contains(Flag::QUEUED)
        {
            listener.link.flags.insert(Flag::QUEUED);
            self.core.ready.push(id);
        }
    }

    /// The wait after a failed accept is over.
    pub(super) fn accept_again(&mut self, id: EndpointId, timer: TimerId) {
        let Some(Entry::Listener(listener)) = self.entries.get_mut(id) else { return };
        if self.core.timers.fire(&mut listener.link.timers, timer) {
            self.accept(id);
        }
    }

    /// Makes an accepted stream one of the loop's connections.
    fn adopt(&mut self, mut stream: D::Stream, counters: u32, protocol: Box<dyn Protocol>) {
        let id = self.core.registry.reserve();
        if let Err(error) = self.driver.register(id.key(), &mut stream) {
            self.driver.close(stream, false);
            self.refuse(id, counters, protocol, CloseReason::Io { error, unsent: 0 });
            return;
        }
        let connection = Connection::new(stream, Link::new(id, counters, self.core.now), protocol);
        self.core.connections += 1;
        self.entries.insert(id, Entry::Connection(connection));
        self.visit(id, Connection::open);
    }

    /// Ends a connection that never came to be.
    pub(super) fn refuse(
        &mut self,
        id: EndpointId,
        counters: u32,
        mut protocol: Box<dyn Protocol>,
        reason: CloseReason,
    ) {
        self.core.counters[counters as usize].connect_errors += 1;
        let link = Link::new(id, counters, self.core.now);
        self.core.retire(&link);
        Connection::<D::Stream>::tell_protocol(&mut *protocol, &mut self.core, &link, &reason);
        self.core.note_close(id, reason);
        self.core.registry.release(id);
    }

    /// Takes a connection out that has told its protocol already.
    pub(super) fn remove_connection(&mut self, id: EndpointId, status: Status) {
        let Some(Entry::Connection(mut connection)) = self.entries.remove(id) else { return };
        self.core.timers.cancel_depths(&mut connection.link.timers, 0..=LOOP_DEPTH);
        self.driver.close(connection.stream, status == Status::Gone { abort: true });
        self.core.connections -= 1;
        self.admit();
        self.release(id);
    }

    /// A connection has gone: listeners that waited for that may accept again.
    pub(super) fn admit(&mut self) {
        for id in self.full.drain(..) {
            if let Some(Entry::Listener(listener)) = self.entries.get_mut(id) {
                listener.link.flags.remove(Flag::HELD);
                self.core.ready.push(id);
            }
        }
    }

    pub(super) fn remove_socket(&mut self, id: EndpointId) {
        let Some(Entry::Socket(socket)) = self.entries.remove(id) else { return };
        self.driver.close_socket(socket.outlet.socket);
        self.release(id);
    }

    pub(super) fn remove_listener(&mut self, id: EndpointId) {
        let Some(Entry::Listener(mut listener)) = self.entries.remove(id) else { return };
        self.core.timers.cancel_depths(&mut listener.link.timers, 0..=LOOP_DEPTH);
        trace::unbound(id);
        self.driver.close_listener(listener.listener);
        self.core.retire(&listener.link);
        self.full.retain(|&full| full != id);
        self.release(id);
    }

    /// Frees an id, and memory if much of that is free.
    pub(super) fn release(&mut self, id: EndpointId) {
        self.core.registry.release(id);
        self.shrink();
    }

    /// Gives back memory if much of it is free.
    pub(super) fn shrink(&mut self) {
        if self.entries.is_worth_shrinking(self.core.connections) {
            self.entries.shrink();
            self.core.shrink();
        }
    }
}
