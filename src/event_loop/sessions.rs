//! Sessions over UDP: binding and connecting their sockets, reading, admitting who is new, and taking out what has gone.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use super::{Entry, EventLoop};
use crate::core::OUTGOING;
use crate::driver::{Driver, Ready, Received, Socket};
use crate::link::{Flag, Link};
use crate::listener::Accepted;
use crate::session::{Admission, Desk, Peers, Route, Serves, Session, SessionSocket};
use crate::target::Destination;
use crate::trace;
use crate::udp::{DatagramWorkshop, UdpStatus, discard, is_refusal};
use crate::{
    Callback, CloseReason, ConnectOptions, ConnectionId, EndpointId, LimitExceeded, ListenerId, Protocol,
    SessionOptions, SocketId, Target, UdpOptions,
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
    pub(super) fn begin_connect_udp(
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
    pub(super) fn dial_udp(
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

    fn open_session(&mut self, session: Session) {
        let id = session.link.id;
        self.entries.insert(id, Entry::Session(Box::new(session)));
        self.visit_session(id, Session::open);
    }

    /// Visits a session, together with its socket.
    pub(super) fn visit_session(
        &mut self,
        id: EndpointId,
        f: impl FnOnce(&mut Session, &mut Desk<'_, D::Socket>) -> UdpStatus,
    ) {
        let Some((session, socket)) = self.entries.session_mut(id) else { return };
        let (out, sent) = (&mut self.shop.out, &mut self.datagrams.out);
        let mut desk = Desk { core: &mut self.core, out, socket, sent };
        let status = f(session, &mut desk);
        socket.outlet.send(&mut self.core, sent);
        let is_refused = status == UdpStatus::Alive && socket.outlet.refusal.is_some();
        let refused = is_refused.then(|| socket.take_refusal()).flatten();
        if status == UdpStatus::Gone
            || refused.is_some_and(|error| session.refused(&mut self.core, error) == UdpStatus::Gone)
        {
            self.remove_session(id);
        }
    }

    /// The system has news of a socket with sessions.
    pub(super) fn serve_session_socket(&mut self, id: EndpointId, ready: Ready) {
        let Some(Entry::SessionSocket(socket)) = self.entries.get_mut(id) else { return };
        if ready.writable && !socket.outlet.is_empty() {
            socket.on_writable(&mut self.core);
            if let Some(error) = socket.take_refusal() {
                self.refuse_session(id, error);
            }
            self.remove_if_done(id);
        }
        let Some(Entry::SessionSocket(socket)) = self.entries.get_mut(id) else { return };
        if ready.readable || ready.error {
            socket.link.flags.insert(Flag::READABLE);
            if !socket.link.flags.contains(Flag::QUEUED) {
                self.read_sessions(id);
            }
        }
    }

    /// Serves a socket that the turn before had no time for.
    pub(super) fn resume_sessions(&mut self, id: EndpointId) {
        let Some(Entry::SessionSocket(socket)) = self.entries.get_mut(id) else { return };
        socket.link.flags.remove(Flag::QUEUED);
        if socket.link.flags.contains(Flag::READABLE) {
            self.read_sessions(id);
        }
    }

    /// Receives up to the turn's budget, in batches; a batch's answers leave before the next is received.
    fn read_sessions(&mut self, id: EndpointId) {
        let mut left = self.core.limits.datagrams_per_turn;
        while left > 0 {
            let Some(Entry::SessionSocket(socket)) = self.entries.get_mut(id) else { return };
            let batch = &mut self.datagrams.batch;
            batch.open(left);
            let received = socket.outlet.socket.recv_batch(batch);
            left = left.saturating_sub(batch.len().max(1));
            let counters = &mut self.core.counters[socket.link.counters as usize];
            counters.datagrams_in += batch.len() as u64;
            counters.bytes_in += batch.bytes() as u64;
            let drained = received.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
            if drained {
                socket.link.flags.remove(Flag::READABLE);
            }
            self.hand_over(id);
            match received {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() != io::ErrorKind::Interrupted => self.note_error(id, error),
                _ => {}
            }
        }
        if let Some(Entry::SessionSocket(socket)) = self.entries.get_mut(id)
            && !socket.link.flags.contains(Flag::QUEUED)
        {
            socket.link.flags.insert(Flag::QUEUED);
            self.core.ready.push(id);
        }
    }

    /// An earlier datagram's peer was not there.
    #[cold]
    fn note_error(&mut self, id: EndpointId, error: io::Error) {
        let Some(Entry::SessionSocket(socket)) = self.entries.get_mut(id) else { return };
        self.core.counters[socket.link.counters as usize].datagram_errors += 1;
        if is_refusal(&error) {
            self.refuse_session(id, error);
        }
    }

    /// Hands a batch over, and sends what was answered.
    fn hand_over(&mut self, id: EndpointId) {
        let Some(Entry::SessionSocket(socket)) = self.entries.get(id) else { return };
        let counters = socket.link.counters;
        let mut last = None;
        for index in 0..self.datagrams.batch.len() {
            if !self.on_datagram(id, index, &mut last) {
                return discard(&mut self.core, counters, &self.datagrams.batch, index);
            }
            if self.datagrams.out.is_much() {
                self.send_answers(id);
            }
        }
        self.send_answers(id);
    }

    /// Sends what a socket's sessions have answered.
    fn send_answers(&mut self, id: EndpointId) {
        if self.datagrams.out.is_empty() {
            return;
        }
        if let Some(Entry::SessionSocket(socket)) = self.entries.get_mut(id) {
            socket.outlet.send(&mut self.core, &mut self.datagrams.out);
            if let Some(error) = socket.take_refusal() {
                self.refuse_session(id, error);
            }
        }
    }

    /// Hands a datagram of the batch to its session: a new one, if need be and may be. False if the socket has gone.
    #[inline]
    fn on_datagram(&mut self, id: EndpointId, index: usize, last: &mut Option<(SocketAddr, EndpointId)>) -> bool {
        let (&received, _) = self.datagrams.batch.datagram(index);
        // What comes together is often of one peer: to look it up costs a third of all else.
        let same = last.filter(|&(peer, session)| peer == received.source && self.entries.get(session).is_some());
        let Some(session) = same.map(|(_, session)| session).or_else(|| self.session_of(id, received)) else {
            return self.entries.get(id).is_some();
        };
        *last = Some((received.source, session));
        let Some((session, socket)) = self.entries.session_mut(session) else { return true };
        let DatagramWorkshop { batch, out: sent } = &mut self.datagrams;
        let (_, payload) = batch.datagram(index);
        let mut desk = Desk { core: &mut self.core, out: &mut self.shop.out, socket, sent };
        let status = session.on_datagram(&mut desk, received.local, payload);
        let session = session.link.id;
        if status == UdpStatus::Gone {
            self.remove_session(session);
        }
        true
    }

    /// The session of who sent a datagram: a new one, if need be and may be. Else it is counted as discarded.
    fn session_of(&mut self, id: EndpointId, received: Received) -> Option<EndpointId> {
        let Some(Entry::SessionSocket(socket)) = self.entries.get_mut(id) else { return None };
        let counters = socket.link.counters;
        let known = match &socket.serves {
            Serves::Anybody(peers) => peers.get(&received.source),
            Serves::One(session) => *session,
        };
        let is_bound = matches!(socket.serves, Serves::Anybody(_));
        let session = known.or_else(|| self.admit_peer(id, received));
        if let Some(session) = session.filter(|&session| self.entries.get(session).is_some()) {
            return Some(session);
        }
        let counters = &mut self.core.counters[counters as usize];
        // It closed in `on_open`, or the only one has gone. Who was refused is counted as that.
        counters.datagrams_discarded += u64::from(session.is_some() || !is_bound);
        counters.bytes_discarded += received.len as u64;
        None
    }

    /// Opens a session for a peer that is not known, if one more may be. Who is refused costs next to nothing.
    fn admit_peer(&mut self, id: EndpointId, received: Received) -> Option<EndpointId> {
        let Some(Entry::SessionSocket(socket)) = self.entries.get_mut(id) else { return None };
        let (counters, local) = (socket.link.counters, socket.local);
        let Serves::Anybody(peers) = &mut socket.serves else { return None };
        let may_open = !socket.closing && peers.len() < peers.most && peers.admission.admit(self.core.now);
        let listener = ListenerId { endpoint: id, counters };
        let (accepted, factory) = (Accepted { peer: Some(received.source), listener }, &mut peers.factory);
        let made = may_open.then(|| self.core.watched(Some(id), Callback::Factory, |_| factory(&accepted)));
        let Some(protocol) = made.flatten() else {
            self.core.counters[counters as usize].sessions_refused += 1;
            if may_open {
                trace::refused(id, Some(received.source));
            } else if !socket.link.flags.contains(Flag::HELD) && !socket.closing {
                socket.link.flags.insert(Flag::HELD); // said once until somebody is let in again
                trace::sessions_full(id, peers.len());
            }
            return None;
        };
        socket.link.flags.remove(Flag::HELD);
        let session = self.core.registry.reserve();
        peers.insert(received.source, session);
        self.core.sessions += 1;
        let idle_timeout = Some(peers.idle_timeout);
        let link = Link::new(session, counters, self.core.now);
        let mut route = Route { peer: received.source, local, source: None };
        route.heard_at(received.local);
        self.open_session(Session::new(link, id, route, protocol, idle_timeout));
        Some(session)
    }

    /// The one peer of a connected socket is not there.
    fn refuse_session(&mut self, id: EndpointId, error: io::Error) {
        if let Some(Entry::SessionSocket(socket)) = self.entries.get_mut(id)
            && let Serves::One(Some(session)) = socket.serves
        {
            self.visit_session(session, |session, desk| session.refused(desk.core, error));
        }
    }

    /// Takes a session out that has told its protocol already; with it the socket, if that waits for nothing else.
    fn remove_session(&mut self, id: EndpointId) {
        let Some(Entry::Session(session)) = self.entries.remove(id) else { return };
        if let Some(Entry::SessionSocket(socket)) = self.entries.get_mut(session.socket) {
            socket.forget(id, &session.route.peer, session.link.flags.contains(Flag::QUEUED));
            match socket.serves {
                Serves::Anybody(_) => self.core.sessions -= 1,
                Serves::One(_) => self.core.connections -= 1,
            }
        }
        self.release(id);
        self.remove_if_done(session.socket);
        self.admit();
    }

    /// Takes a socket out that is to close, when nothing keeps it any more.
    fn remove_if_done(&mut self, id: EndpointId) {
        let Some(Entry::SessionSocket(socket)) = self.entries.get_mut(id) else { return };
        if socket.is_done() {
            socket.outlet.send(&mut self.core, &mut self.datagrams.out); // last words of the batch that is handed over
        }
        if socket.is_done() {
            self.remove_session_socket(id);
        }
    }

    fn remove_session_socket(&mut self, id: EndpointId) {
        let Some(Entry::SessionSocket(socket)) = self.entries.remove(id) else { return };
        self.core.retire(&socket.link);
        self.driver.close_socket(socket.outlet.socket);
        self.release(id);
    }

    /// Opens no more sessions on a socket, and takes it out when the last has gone: the loop drains.
    pub(super) fn drain_sessions(&mut self, id: EndpointId) {
        if let Some(Entry::SessionSocket(socket)) = self.entries.get_mut(id) {
            socket.closing = true;
        }
        self.remove_if_done(id);
    }

    /// Closes a socket and all sessions on it; in order, what was sent leaves before.
    pub(super) fn close_sessions(&mut self, id: EndpointId, abort: bool) {
        self.end_sessions(id, |session, desk| session.close_by_command(desk.core, abort));
        if abort {
            self.drop_queue(id);
        }
        self.remove_if_done(id);
    }

    /// The drain's deadline has come for a socket and all sessions on it. Says how many those are.
    pub(super) fn cut_off_sessions(&mut self, id: EndpointId) -> usize {
        let cut_off = self.end_sessions(id, |session, desk| session.cut_off(desk.core));
        self.drop_queue(id);
        self.remove_if_done(id);
        cut_off
    }

    fn end_sessions(
        &mut self,
        id: EndpointId,
        mut end: impl FnMut(&mut Session, &mut Desk<'_, D::Socket>) -> UdpStatus,
    ) -> usize {
        let Some(Entry::SessionSocket(socket)) = self.entries.get_mut(id) else { return 0 };
        socket.closing = true;
        let sessions = socket.ids();
        for &session in &sessions {
            self.visit_session(session, &mut end);
        }
        sessions.len()
    }

    fn drop_queue(&mut self, id: EndpointId) {
        if let Some(Entry::SessionSocket(socket)) = self.entries.get_mut(id) {
            socket.outlet.drop_all(&mut self.core);
        }
    }
}
