//! Chance: the conditions between hosts, the generator that everything is drawn from, and the digest
//! of what came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::{Conditions, Faults};

/// The conditions between hosts, and the dice.
pub(super) struct Weather {
    default: Conditions,
    /// By pair, the lower host first.
    between: BTreeMap<(usize, usize), Conditions>,
    random: ChaCha8Rng,
    pub(super) faults: Faults,
}

/// What has a chance of its own, and a count.
type Fault = (fn(&Conditions) -> f64, fn(&mut Faults) -> &mut u64);

pub(super) const SHORT_READ: Fault = (|it| it.short_reads, |faults| &mut faults.short_reads);
pub(super) const SHORT_WRITE: Fault = (|it| it.short_writes, |faults| &mut faults.short_writes);
pub(super) const WOULD_BLOCK: Fault = (|it| it.would_block, |faults| &mut faults.would_blocks);
pub(super) const RESET: Fault = (|it| it.resets, |faults| &mut faults.resets);
pub(super) const REFUSED: Fault = (|it| it.refused, |faults| &mut faults.refused);
pub(super) const ABORTED: Fault = (|it| it.aborted_accepts, |faults| &mut faults.aborted_accepts);
pub(super) const EXHAUSTED: Fault = (|it| it.exhausted_accepts, |faults| &mut faults.exhausted);
pub(super) const LOOKUP_FAILED: Fault = (|it| it.failed_lookups, |faults| &mut faults.failed_lookups);
pub(super) const LOOKUP_SLOW: Fault = (|it| it.slow_lookups, |faults| &mut faults.slow_lookups);
pub(super) const SEGMENT_LOST: Fault = (|it| it.loss, |faults| &mut faults.retransmitted);
pub(super) const DATAGRAM_LOST: Fault = (|it| it.loss, |faults| &mut faults.datagrams_lost);
pub(super) const DUPLICATED: Fault = (|it| it.duplicated, |faults| &mut faults.datagrams_duplicated);
pub(super) const REORDERED: Fault = (|it| it.reordered, |faults| &mut faults.datagrams_reordered);

/// A pair of hosts, whichever comes first.
pub(super) fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl Weather {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            default: Conditions::default(),
            between: BTreeMap::new(),
            random: ChaCha8Rng::seed_from_u64(seed),
            faults: Faults::default(),
        }
    }

    /// Sets the conditions everywhere, or only between two hosts.
    pub(super) fn set(&mut self, conditions: Conditions, between: Option<(usize, usize)>) {
        conditions.check();
        match between {
            Some((a, b)) => {
                self.between.insert(pair(a, b), conditions);
            }
            None => {
                self.default = conditions;
                self.between.clear();
            }
        }
    }

    pub(super) fn between(&self, a: usize, b: usize) -> &Conditions {
        if self.between.is_empty() { &self.default } else { self.between.get(&pair(a, b)).unwrap_or(&self.default) }
    }

    /// Whether a fault happens between two hosts now; if so it is counted.
    pub(super) fn strikes(&mut self, (chance, count): Fault, a: usize, b: usize) -> bool {
        let chance = chance(self.between(a, b));
        // Calm weather draws nothing, and is fast.
        if chance <= 0.0 || f64::from(self.random.next_u32()) >= chance * f64::from(u32::MAX) + chance {
            return false;
        }
        *count(&mut self.faults) += 1;
        true
    }

    /// How long a packet takes between two hosts.
    pub(super) fn latency(&mut self, a: usize, b: usize) -> Duration {
        let (from, to) = (*self.between(a, b).latency.start(), *self.between(a, b).latency.end());
        if from == to { from } else { from + self.up_to(to - from) }
    }

    /// A random time up to `most`.
    pub(super) fn up_to(&mut self, most: Duration) -> Duration {
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.random.next_u64() % nanos.saturating_add(1))
    }

    /// A random part of `most`, at least 1 and, if that is possible, less than all.
    pub(super) fn part(&mut self, most: usize) -> usize {
        if most <= 1 {
            return most;
        }
        let spread = u64::try_from(most - 1).unwrap_or(u64::MAX);
        1 + usize::try_from(self.random.next_u64() % spread).unwrap_or(0)
    }

    /// Randomness for a host's loop.
    pub(super) fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.random.fill_bytes(&mut seed);
        seed
    }
}

/// A running hash of everything that happened. Each step is invertible, so no difference is lost but
/// by the chance of one in 2^64.
#[derive(Clone, Copy)]
pub(super) struct Digest(pub(super) u64);

impl Digest {
    pub(super) fn mix(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(23) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    pub(super) fn mix_bytes(&mut self, bytes: &[u8]) {
        let (chunks, rest) = bytes.as_chunks();
        for chunk in chunks {
            self.mix(u64::from_le_bytes(*chunk));
        }
        for &byte in rest {
            self.mix(byte.into());
        }
        self.mix(bytes.len() as u64);
    }
}
