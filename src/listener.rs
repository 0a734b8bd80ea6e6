//! Listeners: what accepts connections, and the factory that gives each its protocol.

use std::net::SocketAddr;

use crate::link::Link;
use crate::{ListenerId, Protocol};

/// How to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenOptions {
    /// Connections that the system holds until they are accepted. The system may cap it. Default
    /// 1,024.
    pub backlog: u32,
    /// Sets `TCP_NODELAY` on accepted connections: output is corked by the loop already. Default on.
    pub nodelay: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { backlog: 1024, nodelay: true }
    }
}

/// What a listener's factory is told of a peer.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Accepted {
    /// The peer's address.
    pub peer: SocketAddr,
    /// Who accepted it.
    pub listener: ListenerId,
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
