//! Outgoing connections: begun at once, or when their time has come.

use super::{Entry, EventLoop};
use crate::connection::Connection;
use crate::core::OUTGOING;
use crate::driver::Driver;
use crate::link::Link;
use crate::target::Destination;
use crate::timer::LOOP_DEPTH;
use crate::{CloseReason, ConnectionId, EndpointId, LimitExceeded, Protocol, Target, Time, TimerId};

/// An outgoing connection whose time has not come: nothing but a place, and a timer of the loop's.
pub(super) struct Delayed {
    pub(super) link: Link,
    destination: Box<Destination>,
    pub(super) protocol: Box<dyn Protocol>,
    /// Whether it counts as a connection: there was room for it.
    pub(super) counts: bool,
}

impl<D: Driver> EventLoop<D> {
    /// Begins an outgoing connection, or the wait for its time.
    pub(super) fn begin_connect(
        &mut self,
        id: ConnectionId,
        at: Time,
        destination: Box<Destination>,
        protocol: Box<dyn Protocol>,
    ) {
        let limit = self.core.limits.connections;
        let has_room = self.core.connections < limit;
        if self.core.draining {
            self.refuse(id.0, OUTGOING, protocol, CloseReason::Shutdown { unsent: 0 });
        } else if at > self.core.now {
            let mut link = Link::new(id.0, OUTGOING, self.core.now);
            self.core.timers.set(id.0, &mut link.timers, LOOP_DEPTH, at);
            self.core.connections += usize::from(has_room);
            let delayed = Delayed { link, destination, protocol, counts: has_room };
            self.entries.insert(id.0, Entry::Delayed(Box::new(delayed)));
        } else if has_room {
            self.dial(id.0, destination, protocol);
        } else {
            self.refuse(id.0, OUTGOING, protocol, CloseReason::Limit(LimitExceeded::Connections(limit)));
        }
    }

    fn dial(&mut self, id: EndpointId, mut destination: Box<Destination>, protocol: Box<dyn Protocol>) {
        destination.target.spell_out();
        let address = match destination.target {
            Target::Address(address) if destination.options().timeout.is_none() => address,
            _ => return self.begin_dialing(id, destination, protocol),
        };
        match self.driver.connect(id.key(), address, destination.options()) {
            Ok(stream) => {
                let link = Link::new(id, OUTGOING, self.core.now);
                let connection = Connection::connecting(stream, link, protocol, &mut self.core);
                self.core.connections += 1;
                self.entries.insert(id, Entry::Connection(connection));
            }
            Err(error) => self.refuse(id, OUTGOING, protocol, CloseReason::Connect(error)),
        }
    }

    /// Its time has come.
    pub(super) fn connect_delayed(&mut self, id: EndpointId, timer: TimerId) {
        let Some(Entry::Delayed(delayed)) = self.entries.get_mut(id) else { return };
        if !self.core.timers.fire(&mut delayed.link.timers, timer) {
            return;
        }
        if let Some(Delayed { destination, protocol, .. }) = self.take_delayed(id) {
            self.begin_connect(ConnectionId(id), self.core.now, destination, protocol);
        }
        if self.entries.get(id).is_none() {
            self.admit();
        }
    }

    /// It is not wanted any more before its time has come, or while it is looked up and dialled.
    pub(super) fn call_off(&mut self, id: EndpointId, reason: CloseReason) {
        if let Some(Entry::Dialing(_)) = self.entries.get(id) {
            return self.stop_dialing(id, reason);
        }
        let Some(mut delayed) = self.take_delayed(id) else { return };
        self.core.timers.cancel_depths(&mut delayed.link.timers, LOOP_DEPTH..=LOOP_DEPTH);
        self.admit();
        self.refuse(id, OUTGOING, delayed.protocol, reason);
        self.shrink();
    }

    /// Takes it out of its place, which it does not count for any more.
    fn take_delayed(&mut self, id: EndpointId) -> Option<Delayed> {
        let Some(Entry::Delayed(delayed)) = self.entries.remove(id) else { return None };
        self.core.connections -= usize::from(delayed.counts);
        Some(*delayed)
    }
}
