//! Datagrams that cross the border together.

use std::io;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Received, Socket};
use crate::spare::discard;

mod outgoing;
#[cfg(test)]
mod tests;

pub(crate) use outgoing::Returned;
pub use outgoing::{Outgoing, Transmit};

/// A datagram has an address always.
pub(super) const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Room for the datagrams that one call receives.
///
/// A slot has room for the largest datagram, so that none is ever cut. All of them together are memory that the system
/// only gives where it is written to: of a slot that has never held a large datagram, one page.
#[derive(Debug, Default)]
pub struct Batch {
    memory: Vec<u8>,
    arrivals: Arrivals,
}

/// What a batch has received, slot by slot.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// How many slots may be used now.
    slots: usize,
    used: usize,
    /// What has arrived, then what is left of batches before.
    list: Vec<Arrived>,
    count: usize,
    /// Bytes of payload in all of them.
    bytes: usize,
    /// The bits of all lengths of what lies in a slot.
    lengths: usize,
    /// Each slot has one datagram, of which nothing is known but length and source.
    is_plain: bool,
    /// What is left of batches before says nothing else of those slots, either.
    is_prepared: bool,
}

/// A datagram that has arrived: where it lies in the memory, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    start: usize,
    pub(crate) received: Received,
}

impl Batch {
    /// Slots, and so datagrams in a call: enough to make the call's share of a datagram small, and few enough to stay in
    /// the first cache.
    pub const SLOTS: usize = 64;
    /// A payload has 65,507 bytes at most over IPv4, 65,527 over IPv6 (without jumbograms).
    const SLOT: usize = 65_535;
    /// Slots begin at different offsets of a page: at equal ones they would all compete for the same lines of the cache.
    const STRIDE: usize = 65_536 + 64;

    /// Empties it, and opens so many slots, as far as there are.
    #[inline]
    pub(crate) fn open(&mut self, slots: usize) {
        if self.memory.is_empty() {
            self.memory = vec![0; Self::STRIDE * Self::SLOTS];
        }
        let Self { arrivals, .. } = self;
        (arrivals.slots, arrivals.used, arrivals.is_plain) = (slots.min(Self::SLOTS), 0, true);
        (arrivals.count, arrivals.bytes, arrivals.lengths) = (0, 0, 0);
    }

    /// Gives back what its memory takes. What it holds is lost.
    pub(crate) fn give_back(&mut self) {
        discard(std::mem::take(self).memory);
    }

    /// Whether something that it has received takes more than a page, so that it took memory that is worth giving back.
    #[inline]
    pub(crate) fn is_large(&self) -> bool {
        self.arrivals.lengths >= 4096
    }

    /// The next free slot; `None` if all are used.
    #[must_use]
    pub fn slot(&mut self) -> Option<&mut [u8]> {
        let start = self.arrivals.used * Self::STRIDE;
        (self.room() > 0).then(|| &mut self.memory[start..start + Self::SLOT])
    }

    /// The free slot has received this.
    pub fn push(&mut self, received: Received) {
        self.arrivals.push(received);
    }

    /// How many free slots there are.
    #[must_use]
    pub fn room(&self) -> usize {
        self.arrivals.slots - self.arrivals.used
    }

    /// Receives one by one until no slot is free.
    pub(crate) fn fill(&mut self, socket: &mut (impl Socket + ?Sized)) -> io::Result<()> {
        while let Some(slot) = self.slot() {
            let received = socket.recv_from(slot)?;
            self.push(received);
        }
        Ok(())
    }

    /// How many datagrams it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.arrivals.count
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of payload.
    pub(crate) fn bytes(&self) -> usize {
        self.arrivals.bytes
    }

    /// Those from the one with this index on.
    pub(crate) fn received_from(&self, index: usize) -> impl ExactSizeIterator<Item = Received> {
        self.parts().0.get(index..).unwrap_or_default().iter().map(|arrived| arrived.received)
    }

    /// What it holds, and the memory in which that lies.
    #[inline]
    pub(crate) fn parts(&self) -> (&[Arrived], &[u8]) {
        (&self.arrivals.list[..self.len()], &self.memory)
    }

    /// Whether each slot has one datagram, of which nothing is known but length and source.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.arrivals.is_plain
    }

    /// Those from the one with this index on, each with its payload.
    pub(crate) fn datagrams_from(&mut self, index: usize) -> impl Iterator<Item = (&Arrived, &mut [u8])> {
        let (mut rest, mut position) = (&mut self.memory[..], 0);
        self.arrivals.list[..self.arrivals.count].iter().skip(index).map(move |arrived| {
            let (_, from_here) = std::mem::take(&mut rest).split_at_mut(arrived.start - position);
            let payload;
            (payload, rest) = from_here.split_at_mut(arrived.received.len);
            position = arrived.start + arrived.received.len;
            (arrived, payload)
        })
    }

    /// As [`datagrams_from`](Self::datagrams_from), where the batch [is plain](Self::is_plain): four instructions less each.
    #[inline]
    pub(crate) fn plain_datagrams_from(&mut self, index: usize) -> impl Iterator<Item = (&Arrived, &mut [u8])> {
        let (slots, _) = self.memory.as_chunks_mut::<{ Self::STRIDE }>();
        let arrived = &self.arrivals.list[index..self.arrivals.count];
        arrived.iter().zip(&mut slots[index..]).map(|(arrived, slot)| (arrived, &mut slot[..arrived.received.len]))
    }

    /// The first of them. Panics where there is none.
    #[inline]
    pub(crate) fn first(&mut self) -> (&Arrived, &mut [u8]) {
        let arrived = &self.arrivals.list[..self.arrivals.count][0];
        (arrived, &mut self.memory[arrived.start..][..arrived.received.len])
    }

    /// Where the memory begins.
    pub(crate) fn address(&self) -> usize {
        self.memory.as_ptr().addr()
    }

    /// One of them. Panics where there is none.
    #[inline]
    pub(crate) fn datagram(&mut self, index: usize) -> (&Received, &mut [u8]) {
        let Arrived { start, received } = &self.arrivals.list[..self.arrivals.count][index];
        (received, &mut self.memory[*start..][..received.len])
    }

    /// Where the one with this index goes back to, in a [plain](Self::is_plain) batch, and what it carries.
    #[inline]
    pub(crate) fn returned(&self, index: usize) -> (SocketAddr, &[u8]) {
        let Received { len, source, .. } = self.arrivals.list[..self.arrivals.count][index].received;
        let (slots, _) = self.memory.as_chunks::<{ Self::STRIDE }>();
        (source, &slots[index][..len])
    }

    /// The next `N` slots, if so many are free; and the list of what they receive, from the first on.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[inline(always)]
    pub(super) fn next_slots<const N: usize>(&mut self) -> Option<([[IoSliceMut<'_>; 1]; N], &mut Arrivals)> {
        let (all, _) = self.memory.as_chunks_mut::<{ Self::STRIDE }>();
        let free = all[self.arrivals.used..self.arrivals.slots].first_chunk_mut::<N>()?;
        // Filled in afterwards: made at once, of what an iterator may not have, it would cost twice as much.
        let mut pieces = std::array::from_fn(|_| [IoSliceMut::new(&mut [])]);
        for (piece, slot) in pieces.iter_mut().zip(free) {
            *piece = [IoSliceMut::new(&mut slot[..Self::SLOT])];
        }
        Some((pieces, &mut self.arrivals))
    }
}

impl Arrivals {
    /// Has the list say of the slots that are left what it says of each in a plain batch.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[cold]
    fn prepare(&mut self) {
        let nothing = Received { len: 0, source: NOBODY, local: None, ecn: None };
        let slots = self.count..Batch::SLOTS;
        self.list.truncate(self.count);
        self.list.extend(slots.map(|slot| Arrived { start: slot * Batch::STRIDE, received: nothing }));
        self.is_prepared = self.is_plain;
    }

    /// The next slot has received one datagram.
    pub(super) fn push(&mut self, received: Received) {
        if received.local.is_some() || received.ecn.is_some() {
            (self.is_plain, self.is_prepared) = (false, false);
        }
        self.add(0, received);
        self.lengths |= received.len;
        self.used += 1;
    }

    /// The next slot has received several of one peer, end to end, each of `len` bytes but the last.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn push_segments(&mut self, len: usize, all: Received) {
        (self.is_plain, self.is_prepared) = (false, false);
        for offset in (0..all.len).step_by(len.max(1)) {
            self.add(offset, Received { len: len.min(all.len - offset), ..all });
        }
        self.lengths |= all.len;
        self.used += 1;
    }

    fn add(&mut self, offset: usize, received: Received) {
        let arrived = Arrived { start: self.used * Batch::STRIDE + offset, received };
        match self.list.get_mut(self.count) {
            Some(place) => *place = arrived,
            None => self.list.push(arrived),
        }
        self.count += 1;
        self.bytes += received.len;
    }

    /// The next slots have received one datagram each, of which nothing is known but length and source.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[inline(always)]
    pub(super) fn extend(&mut self, all: impl Iterator<Item = (usize, SocketAddr)>) {
        if !self.is_prepared {
            self.prepare();
        }
        let (mut got, mut bytes, mut lengths) = (0, 0, 0);
        // Written where it stays, and no more than that, which costs 10 instructions each less than to push it (34 before).
        for (Arrived { received, .. }, (len, source)) in self.list[self.count..].iter_mut().zip(all) {
            (received.len, received.source) = (len, source);
            got += 1;
            bytes += len;
            lengths |= len;
        }
        self.used += got;
        self.count += got;
        self.bytes += bytes;
        self.lengths |= lengths;
    }

    /// How many slots have received something.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn used(&self) -> usize {
        self.used
    }
}

impl Arrived {
    /// Where it lies, in memory that begins at this address.
    #[inline]
    pub(crate) fn address(&self, memory: usize) -> usize {
        memory + self.start
    }
}
