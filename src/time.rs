//! Time as the loop tells it.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

/// A point in time, in nanoseconds since the event loop was made.
///
/// The loop reads its clock once a turn and hands the same value to every callback
/// ([`Core::now`](crate::Core::now)); a protocol never asks the operating system. So a run on the
/// simulated clock and a run on the real one are the same code.
///
/// It reaches 584 years; arithmetic saturates there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The moment the loop was made.
    pub const ZERO: Self = Self(0);
    /// The latest time there is; stands for "never".
    pub const MAX: Self = Self(u64::MAX);

    /// The time `nanos` nanoseconds after the loop was made.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the loop was made.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Saturates at [`Time::MAX`].
    fn add(self, after: Duration) -> Self {
        let nanos = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addition_saturates_instead_of_wrapping() {
        assert_eq!(Time::ZERO + Duration::MAX, Time::MAX);
        assert_eq!(Time::MAX + Duration::from_nanos(1), Time::MAX);
    }

    #[test]
    fn since_a_later_time_is_zero() {
        let later = Time::ZERO + Duration::from_secs(2);
        assert_eq!(later.saturating_since(Time::ZERO), Duration::from_secs(2));
        assert_eq!(Time::ZERO.saturating_since(later), Duration::ZERO);
    }
}
