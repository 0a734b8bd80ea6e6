//! How sessions over UDP begin: bound sockets, connected ones.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use crate::core::OUTGOING;
use crate::driver::{Driver, Socket};
use crate::event_loop::{Entry, EventLoop};
use crate::link::Link;
use crate::listener::Accepted;
use crate::session::{Admission, Peers, Route, Serves, Session, SessionSocket};
use crate::target::Destination;
use crate::trace;
use crate::{
    CloseReason, ConnectOptions, ConnectionId, EndpointId, LimitExceeded, Protocol, SessionOptions, SocketId, Target,
    UdpOptions,
};

impl<D: Driver> EventLoop<D> {
    /// Binds a UDP socket with a session for each peer: a [`Protocol`] of its own, which the first datagram from an
    /// address opens, as `factory` decides. `Accepted::listener` names the socket.
    ///
    /// A session is a connection to all that can be done with one: timers, messages, topics, layers, a close reason.
    /// What is different: `on_data` is given exactly one datagram, and each [`send`](crate::Context::send) is one; there
    /// is no `on_eof`, and the end comes by a close, or when the peer has been
    /// [silent](SessionOptions::idle_timeout).
    ///
    /// ```
    /// use switchboard::{EventLoop, protocol_fn};
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let socket = event_loop.bind_sessions("127.0.0.1:0", |peer| {
    ///     println!("{:?} has sent its first datagram", peer.peer);
    ///     Some(protocol_fn(|cx, datagram| {
    ///         cx.send(datagram.take_all());
    ///         Ok(())
    ///     }))
    /// })?;
    /// println!("bound to {}", event_loop.local_addr(socket).unwrap());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`listen`](Self::listen).
    pub fn bind_sessions<P: Protocol>(
        &mut self,
        address: impl ToSocketAddrs,
        factory: impl FnMut(&Accepted) -> Option<P> + 'static,
    ) -> io::Result<SocketId> {
        self.bind_sessions_with(address, &SessionOptions::default(), factory)
    }

    /// As [`bind_sessions`](Self::bind_sessions), with options.
    ///
    /// # Errors
    ///
    /// As for [`listen`](Self::listen); and what the system says of the options.
    pub fn bind_sessions_with<P: Protocol>(
        &mut self,
        address: impl ToSocketAddrs,
        options: &SessionOptions,
        mut factory: impl FnMut(&Accepted) -> Option<P> + 'static,
    ) -> io::Result<SocketId> {
        let factory = Box::new(move |accepted: &Accepted| factory(accepted).map(Protocol::boxed));
        let open = |driver: &mut D, key, address| driver.bind_udp(key, address, &options.udp);
        let (endpoint, counters, socket) = self.open_at(address, open)?;
        let admission = Admission::new(options.new_per_second);
        let peers = Peers::new(factory, admission, options.sessions, options.idle_timeout);
        self.insert_session_socket(endpoint, counters, socket, Serves::Anybody(Box::new(peers)));
        Ok(SocketId { endpoint, counters })
    }

    /// Opens a session with one peer over a UDP socket of its own: see [`Core::connect_udp`](crate::Core::connect_udp).
    pub fn connect_udp(&mut self, target: impl Into<Target>, protocol: impl Protocol) -> ConnectionId {
        self.connect_udp_with(target, &UdpOptions::default(), protocol)
    }

    /// As [`connect_udp`](Self::connect_udp), with options.
    pub fn connect_udp_with(
        &mut self,
        target: impl Into<Target>,
        options: &UdpOptions,
        protocol: impl Protocol,
    ) -> ConnectionId {
        let id = self.core().connect_udp_with(target, options, protocol);
        self.carry_out_now();
        id
    }

    /// The session that a peer has on a socket of [`bind_sessions`](Self::bind_sessions).
    #[must_use]
    pub fn session(&self, socket: SocketId, peer: SocketAddr) -> Option<ConnectionId> {
        match self.entries.get(socket.endpoint)? {
            Entry::SessionSocket(socket) => match &socket.serves {
                Serves::Anybody(peers) => peers.get(&peer).map(ConnectionId),
                Serves::One(_) => None,
            },
            _ => None,
        }
    }

    /// Begins an outgoing session: with the lookup, if it goes to a name.
    pub(in crate::event_loop) fn begin_connect_udp(
        &mut self,
        id: ConnectionId,
        mut target: Target,
        options: Box<UdpOptions>,
        protocol: Box<dyn Protocol>,
    ) {
        let limit = self.core.limits.connections;
        if self.core.draining {
            return self.refuse(id.0, OUTGOING, protocol, CloseReason::Shutdown { unsent: 0 });
        }
        if self.core.connections >= limit {
            let reason = CloseReason::Limit(LimitExceeded::Connections(limit));
            return self.refuse(id.0, OUTGOING, protocol, reason);
        }
        target.spell_out();
        match target {
            Target::Address(peer) => {
                self.core.connections += 1;
                self.dial_udp(id.0, &[peer], &options, protocol);
            }
            Target::Name { .. } => {
                let destination = Destination::new(target, &ConnectOptions::default());
                self.begin_dialing(id.0, Box::new(destination), protocol);
                if let Some(Entry::Dialing(dialing)) = self.entries.get_mut(id.0) {
                    dialing.udp = Some(options);
                }
            }
            #[cfg(unix)]
            Target::Unix(_) => {
                let error = io::Error::new(io::ErrorKind::Unsupported, "a session over UDP goes to a host");
                self.refuse(id.0, OUTGOING, protocol, CloseReason::Connect(error));
            }
        }
    }

    /// Makes the socket of an outgoing session, to the first of the peer's addresses to which there is a way, and opens
    /// the session. It counts as a connection already.
    pub(in crate::event_loop) fn dial_udp(
        &mut self,
        id: EndpointId,
        peers: &[SocketAddr],
        options: &UdpOptions,
        protocol: Box<dyn Protocol>,
    ) {
        let endpoint = self.core.registry.reserve();
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for &peer in peers {
            match self.driver.connect_udp(endpoint.key(), peer, options) {
                Ok(socket) => {
                    let route = Route { peer, local: socket.local_addr().ok(), source: None };
                    self.insert_session_socket(endpoint, OUTGOING, socket, Serves::One(Some(id)));
                    let link = Link::new(id, OUTGOING, self.core.now);
                    return self.open_session(Session::new(link, endpoint, route, protocol, None));
                }
                Err(error) => failure = error,
            }
        }
        self.core.registry.retire(endpoint);
        self.core.registry.release(endpoint);
        self.core.connections -= 1;
        self.admit();
        self.refuse(id, OUTGOING, protocol, CloseReason::Connect(failure));
    }

    fn insert_session_socket(&mut self, endpoint: EndpointId, counters: u32, socket: D::Socket, serves: Serves) {
        self.core.registry.silence(endpoint); // messages are for sessions
        let link = Link::new(endpoint, counters, self.core.now);
        let socket = SessionSocket::new(socket, link, serves);
        self.entries.insert(endpoint, Entry::SessionSocket(Box::new(socket)));
        trace::bound(endpoint, "session socket", || self.local_addr(endpoint));
    }

    pub(super) fn open_session(&mut self, session: Session) {
        let id = session.link.id;
        self.entries.insert(id, Entry::Session(Box::new(session)));
        self.visit_session(id, Session::open);
    }
}
