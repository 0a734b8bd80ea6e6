//! The slab of everything on the loop. Indices come from the registry, which hands out ids before
//! anything stands behind them.

use std::convert::Infallible;
use std::marker::PhantomData;

use super::connecting::Delayed;
use super::dialing::Dialing;
use crate::EndpointId;
use crate::connection::Connection;
use crate::driver::Driver;
use crate::link::Link;
use crate::listener::Listener;
use crate::session::{Session, SessionSocket};
use crate::udp::UdpEndpoint;

/// What an id can name, held in one of the ways below. All but connections are few, or boxed for the sake of these.
pub(super) enum Entry<D: Driver, H: Hold = Owned> {
    Connection(H::Inline<Connection<D::Stream>>),
    /// A connection to be, whose time has not come.
    Delayed(H::Boxed<Delayed>),
    /// A connection to be, whose name is looked up or whose addresses are tried.
    Dialing(H::Boxed<Dialing<D::Stream>>),
    Listener(H::Boxed<Listener<D::Listener>>),
    Socket(H::Boxed<UdpEndpoint<D::Socket>>),
    /// A UDP socket with a session for each peer, or a connected one with its only session.
    SessionSocket(H::Boxed<SessionSocket<D::Socket>>),
    Session(H::Boxed<Session>),
}

/// How an [`Entry`] holds what it names.
pub(super) trait Hold {
    type Inline<T: 'static>;
    type Boxed<T: 'static>;
}

/// On its way into the slab, or out of it.
pub(super) enum Owned {}
/// In the slab, where connections are apart.
enum Kept {}
/// Lent to be looked at.
pub(super) struct Shown<'a>(PhantomData<&'a ()>);
/// Lent to be worked on.
pub(super) struct Lent<'a>(PhantomData<&'a ()>);

impl Hold for Owned {
    type Inline<T: 'static> = T;
    type Boxed<T: 'static> = Box<T>;
}

impl Hold for Kept {
    type Inline<T: 'static> = Infallible;
    type Boxed<T: 'static> = Box<T>;
}

impl<'a> Hold for Shown<'a> {
    type Inline<T: 'static> = &'a T;
    type Boxed<T: 'static> = &'a Box<T>;
}

impl<'a> Hold for Lent<'a> {
    type Inline<T: 'static> = &'a mut T;
    type Boxed<T: 'static> = &'a mut Box<T>;
}

/// The same entry, held in another way.
macro_rules! hold {
    ($entry:expr, $connection:pat => $then:expr) => {
        match $entry {
            Entry::Connection($connection) => $then,
            Entry::Delayed(delayed) => Entry::Delayed(delayed),
            Entry::Dialing(dialing) => Entry::Dialing(dialing),
            Entry::Listener(listener) => Entry::Listener(listener),
            Entry::Socket(socket) => Entry::Socket(socket),
            Entry::SessionSocket(socket) => Entry::SessionSocket(socket),
            Entry::Session(session) => Entry::Session(session),
        }
    };
}

/// A place of the slab.
///
/// Two kinds, so that the file descriptor's one invalid value can tell them apart: an enum of all of them would take
/// eight bytes more for each connection.
enum Slot<D: Driver> {
    Connection(Connection<D::Stream>),
    Other(Option<Entry<D, Kept>>),
}

impl<D: Driver> Slot<D> {
    fn show(&self) -> Option<Entry<D, Shown<'_>>> {
        match self {
            Self::Connection(connection) => Some(Entry::Connection(connection)),
            Self::Other(other) => Some(hold!(other.as_ref()?, never => match *never {})),
        }
    }

    #[inline]
    fn lend(&mut self) -> Option<Entry<D, Lent<'_>>> {
        match self {
            Self::Connection(connection) => Some(Entry::Connection(connection)),
            Self::Other(other) => Some(hold!(other.as_mut()?, never => match *never {})),
        }
    }

    fn link(&self) -> Option<&Link> {
        Some(match self.show()? {
            Entry::Connection(connection) => &connection.link,
            Entry::Delayed(delayed) => &delayed.link,
            Entry::Dialing(dialing) => &dialing.link,
            Entry::Listener(listener) => &listener.link,
            Entry::Socket(socket) => &socket.link,
            Entry::SessionSocket(socket) => &socket.link,
            Entry::Session(session) => &session.link,
        })
    }

    fn id(&self) -> Option<EndpointId> {
        self.link().map(|link| link.id)
    }
}

pub(super) struct Entries<D: Driver> {
    slots: Vec<Slot<D>>,
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

    pub(super) fn get(&self, id: EndpointId) -> Option<Entry<D, Shown<'_>>> {
        self.slots.get(id.index()).filter(|slot| slot.id() == Some(id))?.show()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: EndpointId) -> Option<Entry<D, Lent<'_>>> {
        self.slots.get_mut(id.index()).filter(|slot| slot.id() == Some(id))?.lend()
    }

    /// The connection of this id: what nearly everything is about.
    #[inline]
    pub(super) fn connection_mut(&mut self, id: EndpointId) -> Option<&mut Connection<D::Stream>> {
        match self.slots.get_mut(id.index()) {
            Some(Slot::Connection(connection)) if connection.link.id == id => Some(connection),
            _ => None,
        }
    }

    /// The session of this id, with its socket.
    #[inline]
    pub(super) fn session_mut(&mut self, id: EndpointId) -> Option<(&mut Session, &mut SessionSocket<D::Socket>)> {
        let socket = match self.slots.get(id.index()) {
            Some(Slot::Other(Some(Entry::Session(session)))) if session.link.id == id => session.socket,
            _ => return None,
        };
        match self.slots.get_disjoint_mut([id.index(), socket.index()]) {
            Ok([Slot::Other(Some(Entry::Session(session))), Slot::Other(Some(Entry::SessionSocket(socket)))]) => {
                Some((session, socket))
            }
            _ => None,
        }
    }

    pub(super) fn insert(&mut self, id: EndpointId, entry: Entry<D>) {
        if id.index() >= self.slots.len() {
            self.slots.resize_with(id.index() + 1, || Slot::Other(None));
        }
        self.count += 1;
        let slot = &mut self.slots[id.index()];
        *slot = Slot::Other(Some(hold!(entry, connection => return *slot = Slot::Connection(connection))));
    }

    pub(super) fn remove(&mut self, id: EndpointId) -> Option<Entry<D>> {
        let slot = self.slots.get_mut(id.index()).filter(|slot| slot.id() == Some(id))?;
        self.count -= 1;
        match std::mem::replace(slot, Slot::Other(None)) {
            Slot::Connection(connection) => Some(Entry::Connection(connection)),
            Slot::Other(other) => Some(hold!(other?, never => match never {})),
        }
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
        let len = self.slots.iter().rposition(|slot| slot.id().is_some()).map_or(0, |last| last + 1);
        self.slots.truncate(len);
        self.slots.shrink_to_fit();
    }

    /// Who is at this index now.
    pub(super) fn id_at(&self, index: u32) -> Option<EndpointId> {
        self.slots.get(index as usize)?.id()
    }

    /// The ids of all there are, in the order of their slots.
    pub(super) fn ids(&self) -> Vec<EndpointId> {
        self.slots.iter().filter_map(Slot::id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::{MioDriver, MioStream};

    #[test]
    #[cfg(unix)]
    fn what_each_connection_costs() {
        // mio's stream is a descriptor, with something more in debug builds.
        assert_eq!(size_of::<Connection<std::os::fd::OwnedFd>>(), 64);
        assert_eq!(size_of::<Slot<MioDriver>>(), size_of::<Connection<MioStream>>(), "nothing says what it is");
    }
}
