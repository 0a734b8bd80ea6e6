//! Sessions over UDP: reading their sockets, admitting who is new, and taking out what has gone.

use std::io;
use std::net::SocketAddr;

use super::{Entry, EventLoop};
use crate::driver::{Driver, Ready, Received, Socket};
use crate::link::{Flag, Link};
use crate::listener::Accepted;
use crate::session::{Desk, Route, Serves, Session};
use crate::trace;
use crate::udp::{DatagramWorkshop, UdpStatus, discard, is_refusal};
use crate::{Callback, EndpointId, ListenerId};

mod opening;

impl<D: Driver> EventLoop<D> {
    /// Visits a session, together with its socket.
    pub(super) fn visit_session(
        &mut self,
        id: EndpointId,
        f: impl FnOnce(&mut Session, &mut Desk<'_, D::Socket>) -> UdpStatus,
    ) {
        let Some((session, socket)) = self.entries.session_mut(id) else { return };
        let (out, sent) = (&mut self.shop.out, &mut self.datagrams.out);
        let mut desk = Desk { core: &mut self.core, out, socket, sent, returned: 0 };
        let status = f(session, &mut desk);
        socket.outlet.send(&mut self.core, sent, &self.datagrams.batch);
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
            if batch.is_large() {
                self.core.spare.remind(self.core.now);
            }
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
            let DatagramWorkshop { batch, out } = &mut self.datagrams;
            socket.outlet.send(&mut self.core, out, batch);
            if let Some(error) = socket.take_refusal() {
                self.refuse_session(id, error);
            }
        }
    }

    /// Hands a datagram of the batch to its session: a new one, if need be and may be. False if the socket has gone.
    #[inline]
    fn on_datagram(&mut self, id: EndpointId, index: usize, last: &mut Option<(SocketAddr, EndpointId)>) -> bool {
        let (received, _) = self.datagrams.batch.datagram(index);
        // What comes together is often of one peer: to look it up costs a third of all else.
        if let Some((peer, session)) = last
            && *peer == received.source
            && self.hand_to(*session, index)
        {
            return true;
        }
        let received = *self.datagrams.batch.datagram(index).0;
        let Some(session) = self.session_of(id, received) else { return self.entries.get(id).is_some() };
        *last = Some((received.source, session));
        self.hand_to(session, index);
        true
    }

    /// Hands a datagram of the batch to this session. False if that has gone.
    #[inline]
    fn hand_to(&mut self, id: EndpointId, index: usize) -> bool {
        let Some((session, socket)) = self.entries.session_mut(id) else { return false };
        let DatagramWorkshop { batch, out: sent } = &mut self.datagrams;
        let bit = if batch.is_plain() { 1 << index } else { 0 };
        let (&Received { local, .. }, payload) = batch.datagram(index);
        let mut desk = Desk { core: &mut self.core, out: &mut self.shop.out, socket, sent, returned: 0 };
        if session.on_datagram(&mut desk, local, bit, payload) == UdpStatus::Gone {
            self.remove_session(id);
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
            let DatagramWorkshop { batch, out } = &mut self.datagrams;
            socket.outlet.send(&mut self.core, out, batch); // last words of the batch that is handed over
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
