//! How often to probe and how long to wait: checked once, where it is made.

use std::time::Duration;

use thiserror::Error;

/// The shortest interval: below a millisecond a heartbeat is a flood.
pub const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// The longest timeout, a week: no router or firewall keeps a silent connection nearly as long.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The timing of a heartbeat, in whole milliseconds. Twelve bytes, `Copy`.
///
/// The default probes every 5 s, up to a tenth of that earlier, and gives a silent peer up after
/// 15 s.
///
/// ```
/// use std::time::Duration;
/// use switchboard_heartbeat::Config;
///
/// let config = Config::new(Duration::from_secs(30), Duration::from_secs(60))?;
/// assert_eq!(config.jitter(), Duration::from_secs(3));
/// assert!(Config::new(Duration::from_secs(60), Duration::from_secs(30)).is_err());
/// # Ok::<(), switchboard_heartbeat::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    interval_ms: u32,
    timeout_ms: u32,
    jitter_ms: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { interval_ms: 5_000, timeout_ms: 15_000, jitter_ms: 500 }
    }
}

impl Config {
    /// A probe every `interval`, the peer given up after `timeout` without a sign of life; the
    /// jitter is a tenth of the interval. Fractions of a millisecond are dropped.
    ///
    /// # Errors
    ///
    /// If the interval is below [`SHORTEST_INTERVAL`], the timeout is not longer than the interval
    /// (no probe could be answered in time) or above [`LONGEST_TIMEOUT`].
    pub fn new(interval: Duration, timeout: Duration) -> Result<Self, ConfigError> {
        if interval < SHORTEST_INTERVAL {
            return Err(ConfigError::IntervalTooShort { interval });
        }
        let timeout_ms = millis(timeout).ok_or(ConfigError::TimeoutTooLong { timeout })?;
        match millis(interval) {
            Some(interval_ms) if interval_ms < timeout_ms => {
                Ok(Self { interval_ms, timeout_ms, jitter_ms: interval_ms / 10 })
            }
            _ => Err(ConfigError::TimeoutNotLonger { interval, timeout }),
        }
    }

    /// The same with another jitter: each wait for the next probe is shorter than the interval by
    /// a random part of `jitter`, so that peers who came together do not stay in step (RFC 5880
    /// §6.8.7 does so for its own heartbeat). Zero turns it off.
    ///
    /// # Errors
    ///
    /// If it is more than half the interval.
    pub fn with_jitter(self, jitter: Duration) -> Result<Self, ConfigError> {
        match millis(jitter) {
            Some(jitter_ms) if jitter_ms <= self.interval_ms / 2 => Ok(Self { jitter_ms, ..self }),
            _ => Err(ConfigError::JitterTooLarge { jitter, interval: self.interval() }),
        }
    }

    /// The longest wait between two probes.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms as u64)
    }

    /// How long the peer may be silent.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms as u64)
    }

    /// By how much at most a wait is shorter than the interval.
    #[must_use]
    pub const fn jitter(&self) -> Duration {
        Duration::from_millis(self.jitter_ms as u64)
    }

    /// The wait for the next probe in milliseconds: the interval less the part of the jitter that
    /// `random` is of its whole range.
    pub(crate) fn gap_ms(&self, random: u32) -> u32 {
        let parts = u64::from(self.jitter_ms) + 1;
        let early = (parts * u64::from(random)) >> 32;
        // Below `parts`, and so at most half the interval.
        self.interval_ms - u32::try_from(early).unwrap_or(0)
    }
}

/// Whole milliseconds, up to [`LONGEST_TIMEOUT`].
fn millis(duration: Duration) -> Option<u32> {
    if duration > LONGEST_TIMEOUT {
        return None;
    }
    u32::try_from(duration.as_millis()).ok()
}

/// What is wrong with a [`Config`]: the caller's mistake, told before any connection is made.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The interval is below [`SHORTEST_INTERVAL`].
    #[error("the heartbeat interval of {interval:?} is below {SHORTEST_INTERVAL:?}")]
    IntervalTooShort {
        /// What was asked for.
        interval: Duration,
    },
    /// No probe could be answered before the peer is given up.
    #[error("the heartbeat timeout of {timeout:?} must be longer than the interval of {interval:?}")]
    TimeoutNotLonger {
        /// The interval asked for.
        interval: Duration,
        /// The timeout asked for.
        timeout: Duration,
    },
    /// The timeout is above [`LONGEST_TIMEOUT`].
    #[error("the heartbeat timeout of {timeout:?} is above {LONGEST_TIMEOUT:?}")]
    TimeoutTooLong {
        /// What was asked for.
        timeout: Duration,
    },
    /// The jitter is above half the interval.
    #[error("the heartbeat jitter of {jitter:?} is above half the interval of {interval:?}")]
    JitterTooLarge {
        /// What was asked for.
        jitter: Duration,
        /// The interval it belongs to.
        interval: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_default_is_five_and_fifteen_seconds() {
        let config = Config::default();
        assert_eq!(config.interval(), ms(5_000));
        assert_eq!(config.timeout(), ms(15_000));
        assert_eq!(Config::new(ms(5_000), ms(15_000)), Ok(config));
    }

    #[test]
    fn an_interval_below_a_millisecond_is_refused() {
        let interval = Duration::from_micros(999);
        assert_eq!(Config::new(interval, ms(10)), Err(ConfigError::IntervalTooShort { interval }));
        assert!(Config::new(ms(1), ms(2)).is_ok());
    }

    #[test]
    fn a_timeout_must_be_longer_than_the_interval_by_a_millisecond() {
        let refused = |interval, timeout| {
            assert_eq!(Config::new(interval, timeout), Err(ConfigError::TimeoutNotLonger { interval, timeout }));
        };
        refused(ms(10), ms(10));
        refused(ms(10), ms(9));
        refused(ms(10), Duration::from_micros(10_999));
        refused(Duration::MAX, ms(9));
        assert!(Config::new(ms(10), ms(11)).is_ok());
    }

    #[test]
    fn a_timeout_above_a_week_is_refused() {
        let timeout = LONGEST_TIMEOUT + Duration::from_nanos(1);
        assert_eq!(Config::new(ms(1), timeout), Err(ConfigError::TimeoutTooLong { timeout }));
        assert!(Config::new(ms(1), LONGEST_TIMEOUT).is_ok());
    }

    #[test]
    fn a_jitter_above_half_the_interval_is_refused() {
        let config = Config::default();
        assert!(config.with_jitter(ms(2_500)).is_ok());
        for jitter in [ms(2_501), Duration::MAX] {
            assert_eq!(config.with_jitter(jitter), Err(ConfigError::JitterTooLarge { jitter, interval: ms(5_000) }));
        }
    }

    #[test]
    fn a_gap_spans_the_jitter_and_no_more() {
        let config = Config::default();
        assert_eq!(config.gap_ms(0), 5_000);
        assert_eq!(config.gap_ms(u32::MAX), 4_500);
        let still = config.with_jitter(Duration::ZERO).unwrap();
        assert_eq!(still.gap_ms(u32::MAX), 5_000);
    }

    #[test]
    fn an_error_says_what_to_change() {
        let error = Config::new(ms(20_000), ms(15_000)).unwrap_err();
        assert_eq!(error.to_string(), "the heartbeat timeout of 15s must be longer than the interval of 20s");
    }
}
