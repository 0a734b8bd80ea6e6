//! What players and server send each other by UDP, read and written without I/O. All numbers are big-endian.
//!
//! | datagram | bytes |
//! | --- | --- |
//! | move, 60 a second | `M`, token (8), number (4), wanted x (2), y (2) |
//! | snapshot, 60 a second | `S`, tick (4), the latest move's number (4), own x (2), y (2), then the players that are near, oneself among them: id (2), x (2), y (2) each |
//!
//! Each is made obsolete by the next, so nothing is ever sent again: who sees an older number than the last drops it.

use bytes::{Buf, BufMut};

/// No datagram is longer: it passes every usual path in one piece (1,280 bytes is IPv6's least MTU, less its headers).
pub(crate) const LONGEST: usize = 1_200;
/// Players that a snapshot tells of, at most: the nearest. 200 would not fit, and far away nobody looks.
pub(crate) const NEAREST: usize = 128;

const MOVE: u8 = b'M';
const SNAPSHOT: u8 = b'S';
const MOVE_LENGTH: usize = 1 + 8 + 4 + 2 + 2;
const HEADER: usize = 1 + 4 + 4 + 2 + 2;
pub(crate) const ENTRY: usize = 2 + 2 + 2;
const _: () = assert!(HEADER + NEAREST * ENTRY <= LONGEST);

/// A place in the arena.
pub(crate) type Place = (u16, u16);

/// A player says where it wants to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    /// What the lobby gave this player over TCP: nobody else can send its moves.
    pub(crate) token: u64,
    pub(crate) number: u32,
    pub(crate) wanted: Place,
}

impl Move {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.put_u8(MOVE);
        out.put_u64(self.token);
        out.put_u32(self.number);
        out.put_u16(self.wanted.0);
        out.put_u16(self.wanted.1);
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() != MOVE_LENGTH || bytes.get_u8() != MOVE {
            return None;
        }
        let (token, number) = (bytes.get_u64(), bytes.get_u32());
        Some(Self { token, number, wanted: (bytes.get_u16(), bytes.get_u16()) })
    }
}

/// Somebody who is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) id: u16,
    pub(crate) at: Place,
}

impl Seen {
    pub(crate) fn encoded(self) -> [u8; ENTRY] {
        let ([a, b], [c, d], [e, f]) = (self.id.to_be_bytes(), self.at.0.to_be_bytes(), self.at.1.to_be_bytes());
        [a, b, c, d, e, f]
    }
}

/// The head of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) tick: u32,
    /// The number of the latest move that it shows.
    pub(crate) number: u32,
    /// Where the player is; the server knows better than the player.
    pub(crate) own: Place,
}

impl Snapshot {
    /// `nearest` are [encoded](Seen::encoded).
    pub(crate) fn encode(self, out: &mut Vec<u8>, nearest: &[u8]) {
        out.put_u8(SNAPSHOT);
        out.put_u32(self.tick);
        out.put_u32(self.number);
        out.put_u16(self.own.0);
        out.put_u16(self.own.1);
        out.extend_from_slice(nearest);
    }

    /// The head, and how many players it tells of.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<(Self, usize)> {
        if bytes.len() < HEADER || bytes.get_u8() != SNAPSHOT {
            return None;
        }
        let (tick, number) = (bytes.get_u32(), bytes.get_u32());
        let own = (bytes.get_u16(), bytes.get_u16());
        bytes.len().is_multiple_of(ENTRY).then_some((Self { tick, number, own }, bytes.len() / ENTRY))
    }
}
