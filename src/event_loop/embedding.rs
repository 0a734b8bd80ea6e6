//! The embedder's way in: to connections, sockets and their protocols, from outside of callbacks.

use std::any::Any;
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use super::{Entry, EventLoop};
use crate::connection::Status;
use crate::driver::{Driver, Socket, Stream};
use crate::timer::LOOP_DEPTH;
use crate::watchdog::Watch;
use crate::{
    Callback, ConnectionId, Context, DatagramContext, DatagramProtocol, EndpointId, Protocol, SocketId, Time, Watchdog,
};

impl<D: Driver> EventLoop<D> {
    /// The address that a listener, UDP socket, connection or session has on this side.
    #[must_use]
    pub fn local_addr(&self, id: impl Into<EndpointId>) -> Option<SocketAddr> {
        match self.entries.get(id.into())? {
            Entry::Connection(connection) => connection.stream.local_addr().ok(),
            Entry::Delayed(_) | Entry::Dialing(_) => None,
            Entry::Listener(listener) => self.driver.listener_addr(&listener.listener).ok(),
            Entry::Socket(socket) => socket.outlet.socket.local_addr().ok(),
            Entry::SessionSocket(socket) => socket.outlet.socket.local_addr().ok(),
            Entry::Session(session) => session.route.local,
        }
    }

    /// Runs a closure with an open connection's [`Context`], as one of its callbacks; `None` if it is
    /// gone, closing, or not yet established. What it asks for is done when this returns, and so is whatever else was
    /// asked of the loop since the last turn; messages are delivered in the next.
    pub fn with<R>(&mut self, id: ConnectionId, closure: impl FnOnce(&mut Context<'_>) -> R) -> Option<R> {
        let returned = self.with_any(id, |_, cx| closure(cx));
        self.carry_out_now();
        returned
    }

    /// As [`with`](Self::with), with the connection's protocol, if it is a `P`.
    pub fn with_protocol<P: Protocol, R>(
        &mut self,
        id: ConnectionId,
        closure: impl FnOnce(&mut P, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let returned = self.with_any(id, |protocol, cx| {
            let protocol: &mut dyn Any = protocol;
            protocol.downcast_mut::<P>().map(|protocol| closure(protocol, cx))
        });
        self.carry_out_now();
        returned?
    }

    /// The protocol of a connection, if it is a `P`; `None` also if the connection is gone.
    pub fn protocol<P: Protocol>(&mut self, id: ConnectionId) -> Option<&mut P> {
        match self.entries.get_mut(id.0)? {
            Entry::Connection(connection) => {
                let protocol: &mut dyn Any = connection.protocol()?;
                protocol.downcast_mut()
            }
            Entry::Session(session) => {
                let protocol: &mut dyn Any = session.protocol()?;
                protocol.downcast_mut()
            }
            Entry::Delayed(delayed) => {
                let protocol: &mut dyn Any = &mut *delayed.protocol;
                protocol.downcast_mut()
            }
            Entry::Dialing(dialing) => {
                let protocol: &mut dyn Any = &mut *dialing.protocol;
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
            socket.visit(core, shop, Callback::With, |_, cx| {
                returned = Some(closure(cx));
                Ok(())
            })
        });
        self.carry_out_now();
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

    /// Has every callback timed, or none: see [`Watchdog`].
    pub fn set_watchdog(&mut self, watchdog: impl Into<Option<Watchdog>>) {
        self.core.watch = watchdog.into().map(|watchdog| Box::new(Watch::new(watchdog, self.driver.clock())));
        for id in self.entries.ids() {
            if let Some(connection) = self.entries.connection_mut(id) {
                connection.set_watched(self.core.watch.is_some());
            }
        }
    }

    /// When the timers are due that the protocols of a connection or UDP socket have set, the next first.
    pub(crate) fn timers_of(&self, id: EndpointId) -> Vec<Time> {
        let head = match self.entries.get(id) {
            Some(Entry::Connection(connection)) => connection.link.timers,
            Some(Entry::Socket(socket)) => socket.link.timers,
            Some(Entry::Session(session)) => session.link.timers,
            Some(Entry::Listener(_) | Entry::Delayed(_) | Entry::Dialing(_) | Entry::SessionSocket(_)) | None => {
                return Vec::new();
            }
        };
        let timers = self.core.timers.all(head).filter(|(timer, _)| timer.depth() != LOOP_DEPTH);
        let mut deadlines: Vec<Time> = timers.map(|(_, deadline)| deadline).collect();
        deadlines.sort_unstable();
        deadlines
    }

    pub(super) fn with_any<R>(
        &mut self,
        id: ConnectionId,
        closure: impl FnOnce(&mut dyn Protocol, &mut Context<'_>) -> R,
    ) -> Option<R> {
        self.core.now = self.driver.now();
        let mut returned = None;
        if let Some(Entry::Session(_)) = self.entries.get(id.0) {
            self.visit_session(id.0, |session, desk| {
                session.visit(desk, Callback::With, |protocol, cx| {
                    returned = Some(closure(protocol, cx));
                    Ok(())
                })
            });
            return returned;
        }
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

/// The descriptor that another loop watches for this one: readable as long as a [`turn`](EventLoop::turn) would find
/// something that is ready, be it a socket, or a [`Handle`](crate::Handle) that was used.
///
/// When it is readable, or [`next_deadline`](EventLoop::next_deadline) has come, call `turn(Some(Duration::ZERO))`. It
/// is the same for the loop's whole life. Nothing is to be done with it but wait for it to become readable.
#[cfg(unix)]
impl<D: Driver + AsFd> AsFd for EventLoop<D> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.driver.as_fd()
    }
}

#[cfg(unix)]
impl<D: Driver + AsFd> AsRawFd for EventLoop<D> {
    fn as_raw_fd(&self) -> RawFd {
        self.driver.as_fd().as_raw_fd()
    }
}
