//! Listeners: what accepts connections, and the factory that gives each its protocol.

use std::net::{IpAddr, SocketAddr};

use crate::link::Link;
use crate::{ListenerId, Protocol};

/// What a listener's factory is told of a peer.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Accepted {
    /// The peer's address; `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Who accepted it; of a session, the UDP socket it is on, by whose counters it is counted.
    pub listener: ListenerId,
}

impl Accepted {
    /// The peer's IP address, an IPv4 address that came mapped as what it is (RFC 4291 §2.5.5.2);
    /// `None` on a Unix socket.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.ip().to_canonical())
    }
}

/// Makes the protocol of an accepted connection, or refuses it.
pub(crate) type Factory = Box<dyn FnMut(&Accepted) -> Option<Box<dyn Protocol>>>;

/// A listener's entry in the slab.
pub(crate) struct Listener<L> {
    pub(crate) listener: L,
    pub(crate) id: ListenerId,
    pub(crate) link: Link,
    pub(crate) factory: Factory,
}
