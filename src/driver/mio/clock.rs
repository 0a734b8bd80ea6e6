//! The clock of the real world.

use crate::Time;

/// The system's monotonic clock, from when it was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(system::Start);

impl Clock {
    pub(super) fn starting_now() -> Self {
        Self(system::start())
    }

    #[inline]
    pub(super) fn now(self) -> Time {
        system::since(self.0)
    }
}

/// On Linux without `Instant`, whose two parts and their difference cost 80 instructions more a turn.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use nix::time::{ClockId, clock_gettime};

    use crate::Time;

    pub(super) type Start = u64;

    pub(super) fn start() -> Start {
        nanos()
    }

    #[inline]
    pub(super) fn since(start: Start) -> Time {
        Time::from_nanos(nanos().wrapping_sub(start))
    }

    /// Since the system was started, which is less than 2^63.
    #[inline]
    fn nanos() -> u64 {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
        now.tv_sec().cast_unsigned().wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec().cast_unsigned())
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::time::Instant;

    use crate::Time;

    pub(super) type Start = Instant;

    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub(super) fn start() -> Start {
        Instant::now()
    }

    pub(super) fn since(start: Start) -> Time {
        Time::ZERO + start.elapsed()
    }
}
