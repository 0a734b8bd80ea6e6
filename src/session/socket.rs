//! A UDP socket with sessions on it.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::Admission;
use crate::driver::Socket;
use crate::link::Link;
use crate::listener::Factory;
use crate::udp::Outlet;
use crate::{Core, EndpointId};

/// The socket's entry in the slab.
pub(crate) struct SessionSocket<K> {
    pub(crate) outlet: Outlet<K>,
    pub(crate) link: Link,
    /// Where it is bound.
    pub(crate) local: Option<SocketAddr>,
    pub(crate) serves: Serves,
    /// Sessions that wait for the queue to go down.
    owed: Vec<EndpointId>,
    /// Opens no more sessions, and goes when the last has gone and the queue is empty.
    pub(crate) closing: bool,
}

/// Whose datagrams come.
pub(crate) enum Serves {
    /// A bound socket: anybody's.
    Anybody(Box<Peers>),
    /// A connected socket: those of one peer; the session's id until it has gone.
    One(Option<EndpointId>),
}

/// The peers that a bound socket knows, and what it does with others.
pub(crate) struct Peers {
    /// Asked by address alone, and never gone through in its own order, which no two runs have in common.
    sessions: HashMap<Key, EndpointId>,
    pub(crate) factory: Factory,
    pub(crate) admission: Admission,
    pub(crate) most: usize,
    pub(crate) idle_timeout: Duration,
}

/// A peer's address, so that it takes one write to hash: what else sockets say of it (a flow label) is not its name.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key([u8; 24]);

impl From<&SocketAddr> for Key {
    fn from(address: &SocketAddr) -> Self {
        // No socket has peers of both forms of one address.
        let (ip, scope) = match address {
            SocketAddr::V4(address) => (address.ip().to_ipv6_mapped(), 0),
            SocketAddr::V6(address) => (*address.ip(), address.scope_id()),
        };
        let mut key = [0; 24];
        key[..16].copy_from_slice(&ip.octets());
        key[16..20].copy_from_slice(&scope.to_ne_bytes());
        key[20..22].copy_from_slice(&address.port().to_ne_bytes());
        Self(key)
    }
}

impl Key {
    /// What `::ffff:a.b.c.d` begins with.
    const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Of an IPv4 address only what differs: one block instead of three, some 60 instructions less.
        match self.0.strip_prefix(&Self::MAPPED) {
            Some(&[a, b, c, d, 0, 0, 0, 0, low, high, ..]) => state.write(&[a, b, c, d, low, high, 0]),
            _ => state.write(&self.0),
        }
    }
}

impl Peers {
    pub(crate) fn new(factory: Factory, admission: Admission, most: usize, idle_timeout: Duration) -> Self {
        Self { sessions: HashMap::new(), factory, admission, most, idle_timeout }
    }

    pub(crate) fn get(&self, peer: &SocketAddr) -> Option<EndpointId> {
        self.sessions.get(&peer.into()).copied()
    }

    pub(crate) fn insert(&mut self, peer: SocketAddr, id: EndpointId) {
        self.sessions.insert((&peer).into(), id);
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    fn remove(&mut self, peer: &SocketAddr) {
        /// Below this much capacity memory is not worth giving back.
        const WORTH_SHRINKING: usize = 256;
        self.sessions.remove(&peer.into());
        let (len, capacity) = (self.sessions.len(), self.sessions.capacity());
        if capacity > WORTH_SHRINKING && len < capacity / 8 {
            self.sessions.shrink_to(2 * len);
        }
    }
}

impl<K: Socket> SessionSocket<K> {
    pub(crate) fn new(socket: K, link: Link, serves: Serves) -> Self {
        let local = socket.local_addr().ok();
        let outlet = Outlet::new(socket, link.counters);
        Self { outlet, link, local, serves, owed: Vec::new(), closing: false }
    }

    /// The ids of its sessions, in an order that is the same in every run.
    pub(crate) fn ids(&self) -> Vec<EndpointId> {
        let mut ids: Vec<EndpointId> = match &self.serves {
            Serves::Anybody(peers) => peers.sessions.values().copied().collect(),
            Serves::One(id) => id.iter().copied().collect(),
        };
        ids.sort_unstable();
        ids
    }

    /// A session has gone.
    pub(crate) fn forget(&mut self, id: EndpointId, peer: &SocketAddr, is_owed: bool) {
        match &mut self.serves {
            Serves::Anybody(peers) => peers.remove(peer),
            Serves::One(only) => {
                *only = None;
                self.closing = true;
            }
        }
        if is_owed {
            self.owed.retain(|&owed| owed != id);
        }
    }

    /// Whether nothing keeps it any more.
    pub(crate) fn is_done(&self) -> bool {
        let is_empty = match &self.serves {
            Serves::Anybody(peers) => peers.len() == 0,
            Serves::One(id) => id.is_none(),
        };
        self.closing && is_empty && self.outlet.is_empty()
    }

    /// Whether the queue is so short that a drain can be announced.
    pub(crate) fn has_drained(&self, core: &Core) -> bool {
        self.outlet.len() <= core.limits.low_water.min(core.limits.datagram_queue / 4)
    }

    /// A session is to be served when the queue has gone down; that may be so already.
    pub(crate) fn owe_drain(&mut self, core: &mut Core, id: EndpointId) {
        if self.has_drained(core) {
            core.ready.push(id);
        } else {
            self.owed.push(id);
        }
    }

    /// The system has room again.
    pub(crate) fn on_writable(&mut self, core: &mut Core) {
        self.outlet.on_writable(core);
        if self.has_drained(core) {
            core.ready.append(&mut self.owed);
        }
    }

    /// What a connected socket's peer has refused by; of others it is one peer's affair, and nobody knows whose.
    pub(crate) fn take_refusal(&mut self) -> Option<io::Error> {
        let refusal = self.outlet.refusal.take()?;
        matches!(self.serves, Serves::One(_)).then_some(refusal)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddrV6};

    use super::*;

    #[test]
    fn peers_are_told_apart_by_all_that_makes_an_address() {
        let v6 = |last, port, flow, scope| -> SocketAddr {
            SocketAddrV6::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last), port, flow, scope).into()
        };
        let mut peers = vec![v6(1, 7, 0, 0), v6(2, 7, 0, 0), v6(1, 8, 0, 0), v6(1, 7, 0, 1), v6(1, 7 << 8, 0, 0)];
        peers.extend([1, 256, 65_535].map(|port| SocketAddr::from(([127, 0, 0, 1], port))));
        peers.extend([2, 3].map(|last| SocketAddr::from(([127, 0, 0, last], 1))));
        let keys: std::collections::HashSet<Key> = peers.iter().map(Key::from).collect();
        assert_eq!(keys.len(), peers.len());
        assert!(Key::from(&v6(1, 7, 0, 0)) == Key::from(&v6(1, 7, 99, 0)), "a flow label is no part of it");
    }
}
