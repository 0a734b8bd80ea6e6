//! Datagrams that cross the border together.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::slice;

use super::{Received, Socket};
use crate::Ecn;
use crate::datagram::Envelope;

/// Room for the datagrams that one call receives.
///
/// A slot has room for the largest datagram, so that none is ever cut. All of them together are memory that the system
/// only gives where it is written to: of a slot that has never held a large datagram, one page.
#[derive(Debug, Default)]
pub struct Batch {
    memory: Vec<u8>,
    /// How many slots may be used now.
    slots: usize,
    used: usize,
    arrived: Vec<Arrived>,
    /// Bytes of payload in all of them.
    bytes: usize,
}

/// A datagram that has arrived: where it lies in the memory, and what is known of it.
#[derive(Debug)]
pub(crate) struct Arrived {
    start: usize,
    received: Received,
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
    pub(crate) fn open(&mut self, slots: usize) {
        if self.memory.is_empty() {
            self.memory = vec![0; Self::STRIDE * Self::SLOTS];
        }
        self.arrived.clear();
        self.bytes = 0;
        (self.slots, self.used) = (slots.min(Self::SLOTS), 0);
    }

    /// The next free slot; `None` if all are used.
    #[must_use]
    pub fn slot(&mut self) -> Option<&mut [u8]> {
        let start = self.used * Self::STRIDE;
        (self.used < self.slots).then(|| &mut self.memory[start..start + Self::SLOT])
    }

    /// The free slot has received this.
    pub fn push(&mut self, received: Received) {
        self.bytes += received.len;
        self.arrived.push(Arrived { start: self.used * Self::STRIDE, received });
        self.used += 1;
    }

    /// How many free slots there are.
    #[must_use]
    pub fn room(&self) -> usize {
        self.slots - self.used
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
        self.arrived.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.arrived.is_empty()
    }

    /// Bytes of payload.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Those from the one with this index on.
    pub(crate) fn received_from(&self, index: usize) -> impl ExactSizeIterator<Item = Received> {
        self.arrived.get(index..).unwrap_or_default().iter().map(|arrived| arrived.received)
    }

    /// Those from the one with this index on, and the memory in which they lie.
    pub(crate) fn starting_at(&mut self, index: usize) -> (&[Arrived], &mut [u8]) {
        (&self.arrived[index..], &mut self.memory)
    }

    /// One of them. Panics where there is none.
    #[inline]
    pub(crate) fn datagram(&mut self, index: usize) -> (&Received, &mut [u8]) {
        self.arrived[index].in_memory(&mut self.memory)
    }
}

impl Arrived {
    #[inline]
    pub(crate) fn in_memory<'a>(&'a self, memory: &'a mut [u8]) -> (&'a Received, &'a mut [u8]) {
        (&self.received, &mut memory[self.start..][..self.received.len])
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Batch {
    /// The slots that are free, and the list of what they have received.
    pub(super) fn parts(&mut self) -> (impl Iterator<Item = &mut [u8]>, Arrivals<'_>) {
        let Self { memory, slots, used, arrived, bytes } = self;
        let (all, _) = memory.as_chunks_mut::<{ Self::STRIDE }>();
        let free = all[*used..*slots].iter_mut().map(|slot| &mut slot[..Self::SLOT]);
        let (start, sum) = (*used * Self::STRIDE, *bytes);
        (free, Arrivals { used, arrived, bytes, start, sum })
    }
}

/// The list of what a batch receives, slot by slot. It counts by itself, in registers, until it is told to
/// [finish](Self::finish).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) struct Arrivals<'a> {
    used: &'a mut usize,
    arrived: &'a mut Vec<Arrived>,
    bytes: &'a mut usize,
    /// Where the next slot begins.
    start: usize,
    sum: usize,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Arrivals<'_> {
    /// The next slot has received one datagram.
    #[inline]
    pub(super) fn push(&mut self, received: Received) {
        self.sum += received.len;
        self.arrived.push(Arrived { start: self.start, received });
        self.start += Batch::STRIDE;
    }

    /// The next slot has received several of one peer, end to end, each of `len` bytes but the last.
    pub(super) fn push_segments(&mut self, len: usize, all: Received) {
        for offset in (0..all.len).step_by(len.max(1)) {
            let received = Received { len: len.min(all.len - offset), ..all };
            self.arrived.push(Arrived { start: self.start + offset, received });
        }
        self.sum += all.len;
        self.start += Batch::STRIDE;
    }

    /// How many slots were used before.
    pub(super) fn used(&self) -> usize {
        *self.used
    }

    /// Tells the batch. Says how many slots are used now.
    pub(super) fn finish(self) -> usize {
        (*self.used, *self.bytes) = (self.start / Batch::STRIDE, self.sum);
        *self.used
    }
}

/// Datagrams to be sent, in order.
#[derive(Clone, Debug)]
pub struct Outgoing<'a> {
    envelopes: slice::Iter<'a, Envelope>,
    payloads: &'a [u8],
}

/// A datagram to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transmit<'a> {
    /// What it carries.
    pub payload: &'a [u8],
    /// Whom it goes to.
    pub target: SocketAddr,
    /// The local address that it is to come from, if that is not the system's choice.
    pub source: Option<IpAddr>,
    /// What it is marked with, if not as all of its socket's are ([`UdpOptions::ecn`](crate::UdpOptions::ecn)).
    pub ecn: Option<Ecn>,
}

impl<'a> Outgoing<'a> {
    pub(crate) fn new(envelopes: &'a [Envelope], payloads: &'a [u8]) -> Self {
        Self { envelopes: envelopes.iter(), payloads }
    }

    /// Bytes of payload.
    pub(crate) fn bytes(&self) -> usize {
        self.payloads.len()
    }

    /// Goes on behind the first `count`. Says how many bytes those had.
    pub(crate) fn skip_first(&mut self, count: usize) -> usize {
        let before = self.bytes();
        if count >= self.envelopes.len() {
            (self.envelopes, self.payloads) = ([].iter(), &[]);
        } else {
            self.by_ref().take(count).for_each(drop);
        }
        before - self.bytes()
    }

    /// Where they go, and their payloads, end to end.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn parts(&self) -> (&'a [Envelope], &'a [u8]) {
        (self.envelopes.as_slice(), self.payloads)
    }
}

impl<'a> Iterator for Outgoing<'a> {
    type Item = Transmit<'a>;

    #[inline]
    fn next(&mut self) -> Option<Transmit<'a>> {
        let &Envelope { target, source, ecn, len } = self.envelopes.next()?;
        let (payload, rest) = self.payloads.split_at(len);
        self.payloads = rest;
        Some(Transmit { payload, target, source, ecn })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.envelopes.size_hint()
    }
}

impl ExactSizeIterator for Outgoing<'_> {}
