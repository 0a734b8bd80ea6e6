//! The embedder's way in: to connections, sockets and their protocols, from outside of callbacks.

use std::any::Any;
use std::net::SocketAddr;

use super::{Entry, EventLoop};
use crate::connection::Status;
use crate::driver::{Driver, Socket, Stream};
use crate::timer::LOOP_DEPTH;
use crate::{ConnectionId, Context, DatagramContext, DatagramProtocol, EndpointId, Protocol, SocketId, Time};

impl<D: Driver> EventLoop<D> {
    /// The address that a listener, UDP socket or connection has on this side.
    #[must_use]
    pub fn local_addr(&self, id: impl Into<EndpointId>) -> Option<SocketAddr> {
        match self.entries.get(id.into())? {
            Entry::Connection(connection) => connection.stream.local_addr().ok(),
            Entry::Delayed(_) => None,
            Entry::Listener(listener) => self.driver.listener_addr(&listener.listener).ok(),
            Entry::Socket(socket) => socket.socket.local_addr().ok(),
        }
    }

    /// Runs a closure with an open connection's [`Context`], as one of its callbacks; `None` if it is
    /// gone, closing, or not yet established.
    pub fn with<R>(&mut self, id: ConnectionId, closure: impl FnOnce(&mut Context<'_>) -> R) -> Option<R> {
        self.with_any(id, |_, cx| closure(cx))
    }

    /// As [`with`](Self::with), with the connection's protocol, if it is a `P`.
    pub fn with_protocol<P: Protocol, R>(
        &mut self,
        id: ConnectionId,
        closure: impl FnOnce(&mut P, &mut Context<'_>) -> R,
    ) -> Option<R> {
        self.with_any(id, |protocol, cx| {
            let protocol: &mut dyn Any = protocol;
            protocol.downcast_mut::<P>().map(|protocol| closure(protocol, cx))
        })?
    }

    /// The protocol of a connection, if it is a `P`; `None` also if the connection is gone.
    pub fn protocol<P: Protocol>(&mut self, id: ConnectionId) -> Option<&mut P> {
        match self.entries.get_mut(id.0)? {
            Entry::Connection(connection) => {
                let protocol: &mut dyn Any = connection.protocol()?;
                protocol.downcast_mut()
            }
            Entry::Delayed(delayed) => {
                let protocol: &mut dyn Any = &mut *delayed.protocol;
                protocol.downcast_mut()
            }
            _ => None,
        }
    }

    /// Runs a closure with a UDP socket's context, as one of its callbacks; `None` if it is gone.
    pub fn with_socket<R>(&mut self, id: SocketId, closure: impl FnOnce(&mut DatagramContext<'_>) -> R) -> Option<R> {
        self.core.now = self.driver.now();
        let mut returned = None;
        self.visit_socket(id.endpoint, |socket, core, shop| {
            socket.visit(core, shop, |_, cx| {
                returned = Some(closure(cx));
                Ok(())
            })
        });
        returned
    }

    /// The protocol of a UDP socket, if it is a `P`; `None` also if the socket is gone.
    pub fn socket_protocol<P: DatagramProtocol>(&mut self, id: SocketId) -> Option<&mut P> {
        match self.entries.get_mut(id.endpoint)? {
            Entry::Socket(socket) => {
                let protocol: &mut dyn Any = socket.protocol()?;
                protocol.downcast_mut()
            }
            _ => None,
        }
    }

    /// When the timers are due that the protocols of a connection or UDP socket have set, the next first.
    pub(crate) fn timers_of(&self, id: EndpointId) -> Vec<Time> {
        let head = match self.entries.get(id) {
            Some(Entry::Connection(connection)) => connection.link.timers,
            Some(Entry::Socket(socket)) => socket.link.timers,
            Some(Entry::Listener(_) | Entry::Delayed(_)) | None => return Vec::new(),
        };
        let timers = self.core.timers.all(head).filter(|(timer, _)| timer.depth() != LOOP_DEPTH);
        let mut deadlines: Vec<Time> = timers.map(|(_, deadline)| deadline).collect();
        deadlines.sort_unstable();
        deadlines
    }

    fn with_any<R>(
        &mut self,
        id: ConnectionId,
        closure: impl FnOnce(&mut dyn Protocol, &mut Context<'_>) -> R,
    ) -> Option<R> {
        self.core.now = self.driver.now();
        let mut returned = None;
        self.visit(id.0, |connection, core, shop| {
            if !connection.is_open() {
                return Status::Alive;
            }
            let status;
            (returned, status) = connection.visit_with(core, shop, closure);
            status
        });
        returned
    }
}
