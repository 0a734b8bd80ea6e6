//! Round-trip times in twelve bytes.

use std::time::Duration;

/// The round-trip times seen on one connection, in whole microseconds.
///
/// A round trip above [`Rtt::LONGEST`] counts as that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtt {
    /// The latest sample.
    pub last: Duration,
    /// The smoothed one: RFC 6298 §2's `SRTT`, to which each sample contributes an eighth.
    pub smoothed: Duration,
    /// The longest sample.
    pub worst: Duration,
}

impl Rtt {
    /// The longest round trip told apart, a little under nine minutes.
    pub const LONGEST: Duration = Duration::from_micros(Estimate::LONGEST as u64);
}

/// An [`Rtt`], packed: microseconds, the smoothed one in eighths, so that small differences are
/// not lost to rounding and it settles on a steady sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estimate {
    last: u32,
    smoothed_eighths: u32,
    worst: u32,
}

impl Estimate {
    /// Eight times this fits a `u32`.
    const LONGEST: u32 = u32::MAX / 8;
    /// No sample can be this.
    const NONE: u32 = u32::MAX;

    pub(crate) const fn new() -> Self {
        Self { last: Self::NONE, smoothed_eighths: 0, worst: 0 }
    }

    /// RFC 6298 §2.2 for the first sample, §2.3 (alpha = 1/8) for each later one.
    pub(crate) fn add(&mut self, sample: Duration) {
        let sample = u32::try_from(sample.as_micros()).map_or(Self::LONGEST, |micros| micros.min(Self::LONGEST));
        self.smoothed_eighths = if self.last == Self::NONE {
            sample * 8
        } else {
            // At most 7/8 of `u32::MAX` plus 1/8 of it.
            self.smoothed_eighths - self.smoothed_eighths / 8 + sample
        };
        self.last = sample;
        self.worst = self.worst.max(sample);
    }

    /// `None` before the first sample.
    pub(crate) fn rtt(&self) -> Option<Rtt> {
        (self.last != Self::NONE).then(|| Rtt {
            last: micros(self.last),
            smoothed: micros(self.smoothed_eighths / 8),
            worst: micros(self.worst),
        })
    }
}

fn micros(micros: u32) -> Duration {
    Duration::from_micros(u64::from(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(samples: &[Duration]) -> Option<Rtt> {
        let mut estimate = Estimate::new();
        for &sample in samples {
            estimate.add(sample);
        }
        estimate.rtt()
    }

    #[test]
    fn there_is_none_before_the_first_sample() {
        assert_eq!(after(&[]), None);
    }

    #[test]
    fn the_first_sample_is_all_three() {
        let sample = Duration::from_micros(1234);
        assert_eq!(after(&[sample]), Some(Rtt { last: sample, smoothed: sample, worst: sample }));
        assert_eq!(after(&[Duration::ZERO]).unwrap().worst, Duration::ZERO);
    }

    #[test]
    fn a_later_sample_counts_an_eighth() {
        let rtt = after(&[Duration::from_micros(800), Duration::from_micros(1600)]).unwrap();
        assert_eq!(rtt.last, Duration::from_micros(1600));
        assert_eq!(rtt.smoothed, Duration::from_micros(900));
        assert_eq!(rtt.worst, Duration::from_micros(1600));
    }

    #[test]
    fn the_worst_stays_and_the_smoothed_settles() {
        let mut samples = vec![Duration::from_millis(100)];
        samples.extend([Duration::from_micros(20); 200]);
        let rtt = after(&samples).unwrap();
        assert_eq!(rtt.worst, Duration::from_millis(100));
        assert_eq!(rtt.smoothed, Duration::from_micros(20));
        samples.extend([Duration::from_micros(21); 200]);
        let settled = after(&samples).unwrap().smoothed;
        assert!(settled >= Duration::from_micros(20) && settled <= Duration::from_micros(21));
    }

    /// Against the RFC's formula in floating point.
    #[test]
    fn the_smoothed_one_follows_the_formula_to_a_microsecond() {
        let samples: Vec<u64> = (0..500u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 44).collect();
        let mut estimate = Estimate::new();
        let mut srtt: Option<f64> = None;
        for &sample in &samples {
            estimate.add(Duration::from_micros(sample));
            let r = sample as f64;
            let expected = srtt.map_or(r, |srtt| 0.875 * srtt + 0.125 * r);
            srtt = Some(expected);
            let smoothed = estimate.rtt().unwrap().smoothed.as_micros() as f64;
            assert!((smoothed - expected).abs() <= 2.0, "{smoothed} for {expected}");
        }
    }

    #[test]
    fn what_is_too_long_counts_as_the_longest() {
        for _ in 0..3 {
            let rtt = after(&[Duration::MAX, Duration::MAX, Rtt::LONGEST]).unwrap();
            assert_eq!(rtt.worst, Rtt::LONGEST);
            assert_eq!(rtt.smoothed, Rtt::LONGEST);
        }
    }
}
