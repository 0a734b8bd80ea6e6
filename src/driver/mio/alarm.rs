//! How a wait ends at a time: by a timer of the system's that stays armed over many waits.

use std::time::Duration;

use ::mio::Registry;

use super::Clock;
use crate::Time;

/// Stands in for a wait's timeout.
///
/// The system makes a timer for each wait that has one, and undoes it when something else ends the wait: of an echo of one
/// message that takes 0.25 of 17 microseconds. This one is set again only to ring earlier than it would. So a loop whose
/// deadlines move on with each message has it ring once in a while for nothing, rather than set twice for each.
#[derive(Debug)]
pub(super) struct Alarm {
    /// When it rings. It has, if that is over.
    at: Time,
    /// The wait that it was set for: from no later time on it rings before one as long would end.
    wait: Duration,
    /// If there is one to be had: else waits have timeouts.
    bell: Option<system::Bell>,
}

impl Alarm {
    /// Longer waits end early.
    const LONGEST: Duration = Duration::from_hours(1);
    /// What the clock has shown so recently is what a wait was reckoned by.
    const RECENT: Duration = Duration::from_micros(100);

    pub(super) fn new(registry: &Registry) -> Self {
        Self { at: Time::ZERO, wait: Duration::MAX, bell: system::Bell::hang(registry) }
    }

    /// The timeout that a wait which begins now still needs. `seen` is the latest time that the clock has shown.
    #[inline]
    pub(super) fn stand_in(&mut self, timeout: Option<Duration>, seen: Time, clock: Clock) -> Option<Duration> {
        let wait = timeout.filter(|wait| !wait.is_zero());
        // To compare what waits take first spares 10 instructions where all take the same.
        let is_early = |alarm: &Self, wait| wait >= alarm.wait || alarm.at <= seen + wait;
        let is_set = |wait| (seen < self.at && is_early(self, wait)) || self.set(wait, seen, clock);
        if wait.is_some_and(is_set) { None } else { timeout }
    }

    #[cold]
    fn set(&mut self, wait: Duration, seen: Time, clock: Clock) -> bool {
        let Some(bell) = &self.bell else { return false };
        let now = clock.now();
        // For the time that is meant: set later by what the calls take, each wait for the same would set it anew.
        let begin = if now <= seen + Self::RECENT { seen } else { now };
        let at = begin + wait.min(Self::LONGEST);
        let is_set = bell.set(at.saturating_since(now).max(Duration::from_nanos(1)));
        if is_set {
            (self.at, self.wait) = (at, wait);
        }
        is_set
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::os::fd::{AsFd, AsRawFd};
    use std::time::Duration;

    use ::mio::unix::SourceFd;
    use ::mio::{Interest, Registry, Token};
    use nix::sys::time::TimeSpec;
    use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

    use super::super::WAKE;

    /// Beside the one of wake-ups, it names nothing, either.
    const ALARM: Token = Token(WAKE.0 - 1);

    /// A timerfd(2).
    #[derive(Debug)]
    pub(super) struct Bell(TimerFd);

    impl Bell {
        pub(super) fn hang(registry: &Registry) -> Option<Self> {
            let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
            let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).ok()?;
            let fd = timer.as_fd().as_raw_fd();
            registry.register(&mut SourceFd(&fd), ALARM, Interest::READABLE).ok()?;
            Some(Self(timer))
        }

        /// Has it ring after so long, and not before. (After no time at all it never would.)
        pub(super) fn set(&self, after: Duration) -> bool {
            // That it has rung needs not be read: each time is told of once, and to set it makes it forget.
            self.0.set(Expiration::OneShot(TimeSpec::from(after)), TimerSetTimeFlags::empty()).is_ok()
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::time::Duration;

    use ::mio::Registry;

    /// There is none.
    #[derive(Debug)]
    pub(super) enum Bell {}

    impl Bell {
        pub(super) fn hang(_: &Registry) -> Option<Self> {
            None
        }

        pub(super) fn set(&self, _: Duration) -> bool {
            match *self {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]
mod tests;
