//! Listening, binding, connecting.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use super::{Entry, EventLoop};
use crate::datagram::DatagramProtocol;
use crate::driver::Driver;
use crate::id::index32;
use crate::link::Link;
use crate::listener::{Accepted, Listener};
use crate::message::Mailbox;
use crate::udp::UdpEndpoint;
use crate::{ConnectionId, Counters, EndpointId, ListenOptions, ListenerId, Protocol, SocketId};

impl<D: Driver> EventLoop<D> {
    /// Opens an outgoing TCP connection: see [`Core::connect`](crate::Core::connect).
    pub fn connect(&mut self, address: SocketAddr, protocol: impl Protocol) -> ConnectionId {
        self.core().connect(address, protocol)
    }

    /// Opens an outgoing TCP connection after a delay: see
    /// [`Core::connect_after`](crate::Core::connect_after).
    pub fn connect_after(&mut self, delay: Duration, address: SocketAddr, protocol: impl Protocol) -> ConnectionId {
        self.core().connect_after(delay, address, protocol)
    }

    /// Listens on an address; `factory` gives each accepted connection its protocol, or refuses it
    /// with `None`. A host name is resolved here and now, which may block: give an address where that
    /// matters.
    ///
    /// # Errors
    ///
    /// What the system says: in use, not permitted, …; also if the loop has ended or drains.
    pub fn listen<P: Protocol>(
        &mut self,
        address: impl ToSocketAddrs,
        factory: impl FnMut(&Accepted) -> Option<P> + 'static,
    ) -> io::Result<ListenerId> {
        self.listen_with(address, &ListenOptions::default(), factory)
    }

    /// As [`listen`](Self::listen), with options.
    ///
    /// # Errors
    ///
    /// As for [`listen`](Self::listen).
    pub fn listen_with<P: Protocol>(
        &mut self,
        address: impl ToSocketAddrs,
        options: &ListenOptions,
        mut factory: impl FnMut(&Accepted) -> Option<P> + 'static,
    ) -> io::Result<ListenerId> {
        let factory = Box::new(move |accepted: &Accepted| factory(accepted).map(Protocol::boxed));
        let open = |driver: &mut D, key, address| driver.listen(key, address, options);
        let (endpoint, counters, listener) = self.open_at(address, open)?;
        let id = ListenerId { endpoint, counters };
        let link = Link::new(endpoint, counters, self.core.now);
        if let Some(slot) = self.core.registry.get_mut(endpoint) {
            slot.mailbox = Mailbox::CLOSED; // a listener has nobody to hand a message to
        }
        self.entries.insert(endpoint, Entry::Listener(Box::new(Listener { listener, id, link, factory })));
        Ok(id)
    }

    /// Binds a UDP socket for a protocol. A host name is resolved here and now, which may block.
    ///
    /// # Errors
    ///
    /// As for [`listen`](Self::listen).
    pub fn bind_udp(&mut self, address: impl ToSocketAddrs, protocol: impl DatagramProtocol) -> io::Result<SocketId> {
        let open = |driver: &mut D, key, address| driver.bind_udp(key, address);
        let (endpoint, counters, socket) = self.open_at(address, open)?;
        let id = SocketId { endpoint, counters };
        let entry = UdpEndpoint::new(socket, id, Box::new(protocol), self.core.now);
        self.entries.insert(endpoint, Entry::Socket(Box::new(entry)));
        self.visit_socket(endpoint, |socket, core, shop| socket.visit(core, shop, |p, cx| p.on_open(cx)));
        Ok(id)
    }

    /// Opens something at the first of an address' meanings where that works.
    fn open_at<T>(
        &mut self,
        address: impl ToSocketAddrs,
        mut open: impl FnMut(&mut D, u64, SocketAddr) -> io::Result<T>,
    ) -> io::Result<(EndpointId, u32, T)> {
        if self.core.draining || self.tally.is_some() {
            return Err(io::Error::other("the event loop drains or has ended"));
        }
        self.core.now = self.driver.now();
        let endpoint = self.core.registry.reserve();
        let mut result = Err(io::Error::new(io::ErrorKind::InvalidInput, "the address has no meaning"));
        match address.to_socket_addrs() {
            Ok(addresses) => {
                for address in addresses {
                    result = open(&mut self.driver, endpoint.key(), address);
                    if result.is_ok() {
                        break;
                    }
                }
            }
            Err(error) => result = Err(error),
        }
        match result {
            Ok(opened) => {
                let counters = index32(self.core.counters.len());
                self.core.counters.push(Counters::default());
                Ok((endpoint, counters, opened))
            }
            Err(error) => {
                self.core.registry.retire(endpoint);
                self.core.registry.release(endpoint);
                Err(error)
            }
        }
    }
}
