//! The slab of everything on the loop. Indices come from the registry, which hands out ids before
//! anything stands behind them.

use super::connecting::Delayed;
use super::dialing::Dialing;
use crate::EndpointId;
use crate::connection::Connection;
use crate::driver::Driver;
use crate::listener::Listener;
use crate::session::{Session, SessionSocket};
use crate::udp::UdpEndpoint;

/// What an id can name. The others are few: their boxes keep a connection's entry small.
pub(super) enum Entry<D: Driver> {
    Connection(Connection<D::Stream>),
    /// A connection to be, whose time has not come.
    Delayed(Box<Delayed>),
    /// A connection to be, whose name is looked up or whose addresses are tried.
    Dialing(Box<Dialing<D::Stream>>),
    Listener(Box<Listener<D::Listener>>),
    Socket(Box<UdpEndpoint<D::Socket>>),
    /// A UDP socket with a session for each peer, or a connected one with its only session.
    SessionSocket(Box<SessionSocket<D::Socket>>),
    Session(Box<Session>),
}

impl<D: Driver> Entry<D> {
    fn id(&self) -> EndpointId {
        match self {
            Self::Connection(connection) => connection.link.id,
            Self::Delayed(delayed) => delayed.link.id,
            Self::Dialing(dialing) => dialing.link.id,
            Self::Listener(listener) => listener.link.id,
            Self::Socket(socket) => socket.link.id,
            Self::SessionSocket(socket) => socket.link.id,
            Self::Session(session) => session.link.id,
        }
    }
}

pub(super) struct Entries<D: Driver> {
    slots: Vec<Option<Entry<D>>>,
    count: usize,
}

impl<D: Driver> Default for Entries<D> {
    fn default() -> Self {
        Self { slots: Vec::new(), count: 0 }
    }
}

impl<D: Driver> Entries<D> {
    /// Below this many slots memory is not worth giving back.
    const WORTH_SHRINKING: usize = 256;

    #[inline]
    pub(super) fn get(&self, id: EndpointId) -> Option<&Entry<D>> {
        self.slots.get(id.index())?.as_ref().filter(|entry| entry.id() == id)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: EndpointId) -> Option<&mut Entry<D>> {
        self.slots.get_mut(id.index())?.as_mut().filter(|entry| entry.id() == id)
    }

    /// The connection of this id: what nearly everything is about.
    #[inline]
    pub(super) fn connection_mut(&mut self, id: EndpointId) -> Option<&mut Connection<D::Stream>> {
        match self.slots.get_mut(id.index()) {
            Some(Some(Entry::Connection(connection))) if connection.link.id == id => Some(connection),
            _ => None,
        }
    }

    /// The session of this id, with its socket.
    #[inline]
    pub(super) fn session_mut(&mut self, id: EndpointId) -> Option<(&mut Session, &mut SessionSocket<D::Socket>)> {
        let Some(Entry::Session(session)) = self.get(id) else { return None };
        let socket = session.socket;
        match self.slots.get_disjoint_mut([id.index(), socket.index()]) {
            Ok([Some(Entry::Session(session)), Some(Entry::SessionSocket(socket))]) => Some((session, socket)),
            _ => None,
        }
    }

    pub(super) fn insert(&mut self, id: EndpointId, entry: Entry<D>) {
        if id.index() >= self.slots.len() {
            self.slots.resize_with(id.index() + 1, || None);
        }
        self.count += 1;
        self.slots[id.index()] = Some(entry);
    }

    pub(super) fn remove(&mut self, id: EndpointId) -> Option<Entry<D>> {
        let entry = self.slots.get_mut(id.index())?.take_if(|entry| entry.id() == id)?;
        self.count -= 1;
        Some(entry)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether so many have gone that memory should be given back. True only at powers of two, and when
    /// the last connection has gone, so that the work for it stays in proportion.
    pub(super) fn is_worth_shrinking(&self, connections: usize) -> bool {
        (self.count.is_power_of_two() || connections == 0)
            && self.slots.len() > Self::WORTH_SHRINKING
            && self.count <= self.slots.len() / 4
    }

    pub(super) fn shrink(&mut self) {
        let len = self.slots.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        self.slots.truncate(len);
        self.slots.shrink_to_fit();
    }

    /// The ids of all there are, in the order of their slots.
    pub(super) fn ids(&self) -> Vec<EndpointId> {
        self.slots.iter().flatten().map(Entry::id).collect()
    }
}
