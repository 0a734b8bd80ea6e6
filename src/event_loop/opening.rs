//! Listening, binding, connecting.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use super::{Entry, EventLoop};
#[cfg(unix)]
use crate::UnixListenOptions;
use crate::datagram::DatagramProtocol;
use crate::driver::Driver;
use crate::id::index32;
use crate::link::Link;
use crate::listener::{Accepted, Factory, Listener};
use crate::trace;
use crate::udp::UdpEndpoint;
use crate::{
    Callback, ConnectOptions, ConnectionId, Counters, EndpointId, ListenOptions, ListenerId, Protocol, SocketId,
    Target, UdpOptions,
};

impl<D: Driver> EventLoop<D> {
    /// Opens an outgoing connection: see [`Core::connect`](crate::Core::connect). It is begun when this returns, without
    /// a turn; so if it is refused on the spot, its protocol's `on_close` has been called by then.
    pub fn connect(&mut self, target: impl Into<Target>, protocol: impl Protocol) -> ConnectionId {
        let id = self.core().connect(target, protocol);
        self.carry_out_now();
        id
    }

    /// Opens an outgoing connection, with options: see [`Core::connect_with`](crate::Core::connect_with).
    pub fn connect_with(
        &mut self,
        target: impl Into<Target>,
        options: &ConnectOptions,
        protocol: impl Protocol,
    ) -> ConnectionId {
        let id = self.core().connect_with(target, options, protocol);
        self.carry_out_now();
        id
    }

    /// Opens an outgoing connection after a delay: see
    /// [`Core::connect_after`](crate::Core::connect_after).
    pub fn connect_after(
        &mut self,
        delay: Duration,
        target: impl Into<Target>,
        protocol: impl Protocol,
    ) -> ConnectionId {
        let id = self.core().connect_after(delay, target, protocol);
        self.carry_out_now();
        id
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
        let opened = self.open_at(address, open)?;
        Ok(self.add_listener(opened, factory))
    }

    /// Listens on a Unix stream socket at `path`; `factory` as for [`listen`](Self::listen). Where a file is left of a
    /// listener that has gone, it is replaced; when this one closes, its file is removed, if it is still this one's. Who
    /// can write in its directory can put another in its place: let that be a directory of the program's own.
    ///
    /// ```
    /// use switchboard::{EventLoop, Target, protocol_fn};
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let path = std::env::temp_dir().join(format!("switchboard-{}", std::process::id()));
    /// event_loop.listen_unix(&path, |_peer| Some(protocol_fn(|cx, input| {
    ///     cx.send(input.take_all());
    ///     Ok(())
    /// })))?;
    /// event_loop.connect(&*path, protocol_fn(|cx, input| {
    ///     input.take_all();
    ///     cx.shutdown(std::time::Duration::ZERO);
    ///     Ok(())
    /// }));
    /// # event_loop.handle().stop();
    /// event_loop.run()?;
    /// assert!(!path.exists());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`listen`](Self::listen): [`AddrInUse`](io::ErrorKind::AddrInUse) if somebody listens there, or a file is
    /// there that is no socket.
    #[cfg(unix)]
    pub fn listen_unix<P: Protocol>(
        &mut self,
        path: impl AsRef<Path>,
        factory: impl FnMut(&Accepted) -> Option<P> + 'static,
    ) -> io::Result<ListenerId> {
        self.listen_unix_with(path, &UnixListenOptions::default(), factory)
    }

    /// As [`listen_unix`](Self::listen_unix), with options.
    ///
    /// # Errors
    ///
    /// As for [`listen_unix`](Self::listen_unix).
    #[cfg(unix)]
    pub fn listen_unix_with<P: Protocol>(
        &mut self,
        path: impl AsRef<Path>,
        options: &UnixListenOptions,
        mut factory: impl FnMut(&Accepted) -> Option<P> + 'static,
    ) -> io::Result<ListenerId> {
        let factory = Box::new(move |accepted: &Accepted| factory(accepted).map(Protocol::boxed));
        let opened = self.open(|driver, key| driver.listen_unix(key, path.as_ref(), options))?;
        Ok(self.add_listener(opened, factory))
    }

    fn add_listener(&mut self, opened: (EndpointId, u32, D::Listener), factory: Factory) -> ListenerId {
        let (endpoint, counters, listener) = opened;
        let id = ListenerId { endpoint, counters };
        let link = Link::new(endpoint, counters, self.core.now);
        self.core.registry.silence(endpoint); // a listener has nobody to hand a message to
        self.entries.insert(endpoint, Entry::Listener(Box::new(Listener { listener, id, link, factory })));
        trace::bound(endpoint, "listener", || self.local_addr(endpoint));
        id
    }

    /// Binds a UDP socket for a protocol that speaks to all peers itself; for one with a protocol for each peer see
    /// [`bind_sessions`](Self::bind_sessions). A host name is resolved here and now, which may block.
    ///
    /// # Errors
    ///
    /// As for [`listen`](Self::listen).
    pub fn bind_udp(&mut self, address: impl ToSocketAddrs, protocol: impl DatagramProtocol) -> io::Result<SocketId> {
        self.bind_udp_with(address, &UdpOptions::default(), protocol)
    }

    /// As [`bind_udp`](Self::bind_udp), with options.
    ///
    /// # Errors
    ///
    /// As for [`listen`](Self::listen); and what the system says of the options.
    pub fn bind_udp_with(
        &mut self,
        address: impl ToSocketAddrs,
        options: &UdpOptions,
        protocol: impl DatagramProtocol,
    ) -> io::Result<SocketId> {
        let open = |driver: &mut D, key, address| driver.bind_udp(key, address, options);
        let (endpoint, counters, socket) = self.open_at(address, open)?;
        let id = SocketId { endpoint, counters };
        let entry = UdpEndpoint::new(socket, id, Box::new(protocol), self.core.now);
        self.entries.insert(endpoint, Entry::Socket(Box::new(entry)));
        trace::bound(endpoint, "UDP socket", || self.local_addr(endpoint));
        self.visit_socket(endpoint, |socket, core, shop| {
            socket.visit(core, shop, Callback::Open, |p, cx| p.on_open(cx))
        });
        self.carry_out_now();
        Ok(id)
    }

    /// Opens something at the first of an address' meanings where that works.
    pub(super) fn open_at<T>(
        &mut self,
        address: impl ToSocketAddrs,
        mut open: impl FnMut(&mut D, u64, SocketAddr) -> io::Result<T>,
    ) -> io::Result<(EndpointId, u32, T)> {
        self.open(|driver, key| {
            let mut result = Err(io::Error::new(io::ErrorKind::InvalidInput, "the address has no meaning"));
            for address in address.to_socket_addrs()? {
                result = open(driver, key, address);
                if result.is_ok() {
                    break;
                }
            }
            result
        })
    }

    /// Opens something, with an id and counters of its own.
    fn open<T>(&mut self, open: impl FnOnce(&mut D, u64) -> io::Result<T>) -> io::Result<(EndpointId, u32, T)> {
        if self.core.draining || self.tally.is_some() {
            return Err(io::Error::other("the event loop drains or has ended"));
        }
        self.core.now = self.driver.now();
        let endpoint = self.core.registry.reserve();
        match open(&mut self.driver, endpoint.key()) {
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
