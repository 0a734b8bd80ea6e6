//! Datagrams that wait to be sent.

use std::net::{IpAddr, SocketAddr};

use crate::driver::{Batch, Outgoing, Returned};
use crate::{Ecn, SendOptions};

/// Datagrams that wait to be sent, payloads end to end; in front of them those of the batch that is handed over that go
/// back as they came, and lie there.
#[derive(Debug, Default)]
pub(crate) struct Datagrams {
    payloads: Vec<u8>,
    envelopes: Vec<Envelope>,
    /// Those that go back, each as the bit of its index.
    returned: u64,
}

/// Where a datagram goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    pub(crate) target: SocketAddr,
    pub(crate) len: usize,
    /// The local address it is sent from, if that is not the system's choice.
    pub(crate) source: Option<IpAddr>,
    pub(crate) ecn: Option<Ecn>,
}

impl Datagrams {
    /// From so many on, or so many bytes, they leave before more are made.
    const MANY: usize = 64;
    const MUCH: usize = 128 << 10;

    #[inline]
    pub(crate) fn push(&mut self, target: SocketAddr, SendOptions { source, ecn }: SendOptions, payload: &[u8]) {
        self.payloads.extend_from_slice(payload);
        self.envelopes.push(Envelope { target, len: payload.len(), source, ecn });
    }

    /// The batch's datagram with this bit goes back as it came. False if it has to be copied: it has none, or something
    /// that waits here was sent before it.
    #[inline]
    pub(crate) fn give_back(&mut self, bit: u64) -> bool {
        let can_wait_there = bit != 0 && self.envelopes.is_empty();
        if can_wait_there {
            self.returned |= bit;
        }
        can_wait_there
    }

    /// What a datagram of `len` bytes takes while it waits: an empty one is not free.
    pub(crate) const fn cost(len: usize) -> usize {
        len + size_of::<Envelope>()
    }

    /// Bytes that all take that wait here.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.payloads.len() + self.envelopes.len() * Self::cost(0)
    }

    /// How many wait that do not go back.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.envelopes.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.envelopes.is_empty() && self.returned == 0
    }

    #[inline]
    pub(crate) fn is_much(&self) -> bool {
        self.envelopes.len() >= Self::MANY || self.payloads.len() >= Self::MUCH
    }

    /// Where the only one goes that waits here, and what it carries, if there is one alone that says no more than that.
    #[inline]
    pub(crate) fn only<'a>(&'a self, batch: &'a Batch) -> Option<(SocketAddr, &'a [u8])> {
        match self.envelopes.as_slice() {
            [] if self.returned.is_power_of_two() => Some(batch.returned(self.returned.trailing_zeros() as usize)),
            &[Envelope { target, source: None, ecn: None, .. }] if self.returned == 0 => Some((target, &self.payloads)),
            _ => None,
        }
    }

    /// All of them, in order. `batch` is the one that is handed over.
    pub(crate) fn leaving<'a>(&'a self, batch: &'a Batch) -> Outgoing<'a> {
        Outgoing::new(Returned::new(self.returned, batch), &self.envelopes, &self.payloads)
    }

    /// All of them, in order, where none go back.
    pub(crate) fn iter(&self) -> Outgoing<'_> {
        Outgoing::new(Returned::default(), &self.envelopes, &self.payloads)
    }

    /// Forgets the first `count`, where none go back.
    pub(crate) fn remove_first(&mut self, count: usize) {
        let bytes: usize = self.envelopes.drain(..count).map(|envelope| envelope.len).sum();
        self.payloads.drain(..bytes);
    }

    /// Takes back all but the first `others` of those that don't go back, and of those that do the one with this bit, of
    /// `len` bytes. Says how many those are, and how many bytes they would have taken.
    pub(crate) fn take_back(&mut self, others: usize, bit: u64, len: usize) -> (usize, usize) {
        let (count, before) = (self.envelopes.len() - others, self.len());
        let bytes: usize = self.envelopes.drain(others..).map(|envelope| envelope.len).sum();
        self.payloads.truncate(self.payloads.len() - bytes);
        let taken_back = before - self.len();
        if self.returned & bit == 0 {
            return (count, taken_back);
        }
        self.returned &= !bit;
        (count + 1, taken_back + Self::cost(len))
    }

    /// Empties it. What much took is given back.
    pub(crate) fn clear(&mut self) {
        self.payloads.clear();
        self.envelopes.clear();
        self.returned = 0;
        if self.payloads.capacity() > 2 * Self::MUCH || self.envelopes.capacity() > 64 * Self::MANY {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_much_took_is_given_back() {
        let target = SocketAddr::from(([127, 0, 0, 1], 1));
        for (count, payload) in [(100_000, &b""[..]), (10, &[0; 60_000])] {
            let mut out = Datagrams::default();
            (0..count).for_each(|_| out.push(target, SendOptions::default(), payload));
            out.clear();
            assert_eq!(out.payloads.capacity() + out.envelopes.capacity(), 0, "{count}");
        }
    }

    #[test]
    fn what_little_took_is_kept() {
        let mut out = Datagrams::default();
        (0..Datagrams::MANY).for_each(|_| {
            out.push(SocketAddr::from(([127, 0, 0, 1], 1)), SendOptions::default(), &[0; 1472]);
        });
        out.clear();
        assert!(out.payloads.capacity() >= 64 * 1472 && out.envelopes.capacity() >= 64);
    }
}
