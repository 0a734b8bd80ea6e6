//! Ids: an index into the slab and the generation of what sits there.

use std::fmt;
use std::hash::{Hash, Hasher};

/// A slab's key as the 32 bits that ids and lists hold.
///
/// # Panics
///
/// At 2^32 entries, which no limit allows and no memory holds.
#[inline]
pub(crate) fn index32(key: usize) -> u32 {
    u32::try_from(key).expect("fewer than 2^32 entries in a slab")
}

/// Names one thing on the loop for as long as it lives: a connection, a UDP socket or a listener.
///
/// The index is used again when the thing has gone; the generation is not, so an id kept too long
/// names nothing rather than something else, and an event that arrives late finds nobody.
#[derive(Clone, Copy, Eq, PartialOrd, Ord)]
pub struct EndpointId {
    index: u32,
    generation: u32,
}

/// Both halves at once: every event asks whether a connection is still the one that it was for.
impl PartialEq for EndpointId {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Hash for EndpointId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.key());
    }
}

impl EndpointId {
    pub(crate) const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    pub(crate) const fn index32(self) -> u32 {
        self.index
    }

    pub(crate) const fn index(self) -> usize {
        self.index as usize
    }

    pub(crate) const fn generation(self) -> u32 {
        self.generation
    }

    /// The id as the number that a [`Driver`](crate::driver::Driver) carries through its poll.
    #[must_use]
    pub const fn key(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// The id of [`EndpointId::key`].
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a u64")]
    pub const fn from_key(key: u64) -> Self {
        Self { index: key as u32, generation: (key >> 32) as u32 }
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names one connection, from the call that asked for it (an outgoing one still connecting has its
/// id already) until it closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(crate) EndpointId);

/// Names one listener; its counters can be read by it even after it has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId {
    pub(crate) endpoint: EndpointId,
    pub(crate) counters: u32,
}

/// Names one UDP socket; its counters can be read by it even after it has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId {
    pub(crate) endpoint: EndpointId,
    pub(crate) counters: u32,
}

impl From<ConnectionId> for EndpointId {
    fn from(id: ConnectionId) -> Self {
        id.0
    }
}

impl From<ListenerId> for EndpointId {
    fn from(id: ListenerId) -> Self {
        id.endpoint
    }
}

impl From<SocketId> for EndpointId {
    fn from(id: SocketId) -> Self {
        id.endpoint
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_carries_index_and_generation() {
        let id = EndpointId::new(7, u32::MAX);
        assert_eq!(EndpointId::from_key(id.key()), id);
        assert_eq!((id.index(), id.generation()), (7, u32::MAX));
        assert_eq!(id.to_string(), "7.4294967295");
    }
}
