//! Datagrams on their way out.

use std::net::{IpAddr, SocketAddr};
use std::slice;

use super::{Arrived, Batch, Received};
use crate::Ecn;
use crate::datagram::Envelope;

/// Datagrams to be sent, in order.
#[derive(Clone, Debug, Default)]
pub struct Outgoing<'a> {
    returned: Returned<'a>,
    envelopes: slice::Iter<'a, Envelope>,
    payloads: &'a [u8],
    /// How many these are, and how many bytes of payload.
    count: usize,
    bytes: usize,
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
    pub(crate) fn new(returned: Returned<'a>, envelopes: &'a [Envelope], payloads: &'a [u8]) -> Self {
        let back = returned.which.count_ones() as usize;
        let bytes = payloads.len() + returned.bytes(back);
        Self { returned, envelopes: envelopes.iter(), payloads, count: back + envelopes.len(), bytes }
    }

    /// The next.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[inline]
    pub(in crate::driver) fn first(&self) -> Option<Transmit<'a>> {
        if !self.returned.is_empty() {
            return self.returned.clone().next();
        }
        let &Envelope { target, source, ecn, len } = self.envelopes.as_slice().first()?;
        Some(Transmit { payload: &self.payloads[..len], target, source, ecn })
    }

    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.count == 0
    }

    /// Goes on behind the first `count`. Says how many bytes those had.
    pub(crate) fn skip_first(&mut self, count: usize) -> usize {
        let before = self.bytes;
        if count >= self.count {
            *self = Self::default();
        } else {
            self.by_ref().take(count).for_each(drop);
        }
        before - self.bytes
    }

    /// Those that go back as they came; and where the others go, with their payloads, end to end.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(in crate::driver) fn parts(&self) -> (&Returned<'a>, &'a [Envelope], &'a [u8]) {
        (&self.returned, self.envelopes.as_slice(), self.payloads)
    }
}

impl<'a> Iterator for Outgoing<'a> {
    type Item = Transmit<'a>;

    #[inline]
    fn next(&mut self) -> Option<Transmit<'a>> {
        let next = match self.returned.next() {
            Some(returned) => returned,
            None => {
                let &Envelope { target, source, ecn, len } = self.envelopes.next()?;
                let (payload, rest) = self.payloads.split_at(len);
                self.payloads = rest;
                Transmit { payload, target, source, ecn }
            }
        };
        (self.count, self.bytes) = (self.count - 1, self.bytes - next.payload.len());
        Some(next)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Outgoing<'_> {}

/// Datagrams of a plain batch that go back to where they came from, from where they lie.
#[derive(Clone, Debug, Default)]
pub(crate) struct Returned<'a> {
    /// Their indices, each as a bit.
    which: u64,
    arrived: &'a [Arrived],
    slots: &'a [[u8; Batch::STRIDE]],
    /// Bytes of payload in all that have arrived.
    all: usize,
}

impl<'a> Returned<'a> {
    #[inline]
    pub(crate) fn new(which: u64, batch: &'a Batch) -> Self {
        let (slots, _) = batch.memory.as_chunks();
        Self { which, arrived: &batch.arrivals.list[..batch.len()], slots, all: batch.bytes() }
    }

    #[inline]
    pub(in crate::driver) fn is_empty(&self) -> bool {
        self.which == 0
    }

    /// Bytes of payload in all of them, which are so many.
    fn bytes(&self, count: usize) -> usize {
        if count == self.arrived.len() {
            return self.all;
        }
        self.clone().map(|next| next.payload.len()).sum()
    }

    /// Takes out those of the first that lie one behind the other, in slots that do.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[inline]
    pub(in crate::driver) fn next_run(&mut self) -> Option<impl Iterator<Item = (SocketAddr, &'a [u8])> + use<'a>> {
        let first = self.which.trailing_zeros();
        let len = self.which.checked_shr(first)?.trailing_ones();
        self.which &= !(u64::MAX >> (u64::BITS - len) << first);
        let run = first as usize..(first + len) as usize;
        let arrived = self.arrived[run.clone()].iter().zip(&self.slots[run]);
        Some(arrived.map(|(arrived, slot)| (arrived.received.source, &slot[..arrived.received.len])))
    }
}

impl<'a> Iterator for Returned<'a> {
    type Item = Transmit<'a>;

    fn next(&mut self) -> Option<Transmit<'a>> {
        if self.which == 0 {
            return None;
        }
        let index = self.which.trailing_zeros() as usize;
        self.which &= self.which - 1;
        let Received { len, source, .. } = self.arrived[index].received;
        Some(Transmit { payload: &self.slots[index][..len], target: source, source: None, ecn: None })
    }
}
