//! How long to wait before trying again.

use std::time::Duration;

/// A truncated exponential back-off with jitter: how long a [`Reconnect`](crate::Reconnect) waits, and when it gives up.
///
/// The first wait is drawn from `first`, each further one from `factor` times as much, up to `most`.
///
/// ```
/// use std::time::Duration;
/// use switchboard::{Backoff, Jitter};
///
/// let backoff = Backoff { most: Duration::from_secs(5), jitter: Jitter::Equal, ..Backoff::default() };
/// assert_eq!(backoff.wait(1, 0), Duration::from_millis(500), "half of a second for certain");
/// assert_eq!(backoff.wait(2, 1 << 31), Duration::from_millis(1500), "of two, in the middle of the rest");
/// assert!(backoff.wait(100, u32::MAX) < Duration::from_secs(5));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// What the wait before the first retry is drawn from. Default 1 s.
    pub first: Duration,
    /// What no wait is drawn from more than. Default 60 s.
    pub most: Duration,
    /// How many times as much each further wait is drawn from; 1 or 0 for as much as the first. Default 2.
    pub factor: u32,
    /// Which part of that is up to chance. Default [`Jitter::Full`].
    pub jitter: Jitter,
    /// How often in a row it is tried again before it is given up; `None` for as long as the loop runs, which costs no
    /// more than a timer. Default `None`.
    pub retries: Option<u32>,
    /// How long a connection must have stood for the back-off to begin anew when it ends: a peer that accepts and then
    /// closes is no better than one that refuses. Default 10 s.
    pub healthy_after: Duration,
}

/// Which part of a wait is up to chance, so that those who lost the same peer at the same moment do not all come back
/// at the same moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Jitter {
    /// All of it: from nothing to the whole, which spreads a crowd most evenly.
    #[default]
    Full,
    /// Half of it: from half to the whole.
    Equal,
    /// None: everybody comes at the same time. For tests, and for who is alone.
    None,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            most: Duration::from_secs(60),
            factor: 2,
            jitter: Jitter::Full,
            retries: None,
            healthy_after: Duration::from_secs(10),
        }
    }
}

impl Backoff {
    /// The wait before the `retry`th retry in a row, of which 1 is the first. `random` is any number, evenly, such as
    /// [`Core::random_u32`](crate::Core::random_u32) gives: 0 makes the wait shortest.
    #[must_use]
    pub fn wait(&self, retry: u32, random: u32) -> Duration {
        let growth = self.factor.max(1).saturating_pow(retry.saturating_sub(1));
        let whole = self.first.saturating_mul(growth).min(self.most);
        let certain = match self.jitter {
            Jitter::Full => Duration::ZERO,
            Jitter::Equal => whole / 2,
            Jitter::None => whole,
        };
        between(certain, whole, random)
    }
}

/// A time from `least` up to `most`, as far along as `random` is among its kind.
pub(crate) fn between(least: Duration, most: Duration, random: u32) -> Duration {
    let span = most.saturating_sub(least).as_nanos();
    least + Duration::from_nanos_u128((span * u128::from(random)) >> u32::BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn it_grows_up_to_the_most() {
        let backoff = Backoff { first: MS(100), most: MS(750), jitter: Jitter::None, ..Backoff::default() };
        let waits: Vec<Duration> = (1..=6).map(|retry| backoff.wait(retry, 7)).collect();
        assert_eq!(waits, [MS(100), MS(200), MS(400), MS(750), MS(750), MS(750)]);
        for (factor, third) in [(0, 100), (1, 100), (3, 750)] {
            assert_eq!(Backoff { factor, ..backoff.clone() }.wait(3, 0), MS(third), "{factor}");
        }
    }

    #[test]
    fn nothing_overflows() {
        let most = Duration::MAX;
        for jitter in [Jitter::Full, Jitter::Equal, Jitter::None] {
            let backoff = Backoff { first: most, most, factor: u32::MAX, jitter, ..Backoff::default() };
            assert!(backoff.wait(u32::MAX, u32::MAX) > most / 2);
            assert!(backoff.wait(0, 0) <= most);
        }
        assert_eq!(Backoff { first: MS(5), most: MS(1), ..Backoff::default() }.wait(1, 0), MS(0));
    }

    #[test]
    fn jitter_keeps_its_bounds_and_fills_them() {
        for (jitter, least) in [(Jitter::Full, 0), (Jitter::Equal, 500), (Jitter::None, 1000)] {
            let backoff = Backoff { jitter, ..Backoff::default() };
            assert_eq!(backoff.wait(1, 0), MS(least));
            let longest = backoff.wait(1, u32::MAX);
            assert!(longest <= MS(1000) && longest > MS(999), "{jitter:?}: {longest:?}");
            let middle = backoff.wait(1, 1 << 31);
            assert_eq!(middle, MS((1000 + least) / 2), "{jitter:?}: evenly");
        }
    }
}
