//! The round-trip time and the retransmission timeout: RFC 6298.

use std::time::Duration;

use crate::Settings;

/// The clock's granularity: RFC 6298's `G`.
const GRANULARITY: Duration = Duration::from_millis(1);

/// `SRTT`, `RTTVAR` and `RTO`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rtt {
    /// `SRTT` and `RTTVAR`; `None` before the first sample.
    smoothed: Option<(Duration, Duration)>,
    rto: Duration,
    min: Duration,
    max: Duration,
    /// How often the timeout was doubled since the last sample.
    doubled: u32,
}

impl Rtt {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { smoothed: None, rto: settings.initial_rto, min: settings.min_rto, max: settings.max_rto, doubled: 0 }
    }

    /// Takes a sample, of something that was sent only once (§3, Karn's algorithm), and ends the back-off (§5).
    pub(crate) fn sample(&mut self, sample: Duration) {
        let (srtt, rttvar) = match self.smoothed {
            None => (sample, sample / 2), // §2.2
            // §2.3: beta = 1/4, alpha = 1/8; the variation first, by the old mean.
            Some((srtt, rttvar)) => ((srtt * 7 + sample) / 8, (rttvar * 3 + srtt.abs_diff(sample)) / 4),
        };
        self.smoothed = Some((srtt, rttvar));
        self.rto = (srtt + GRANULARITY.max(rttvar * 4)).clamp(self.min, self.max);
        self.doubled = 0;
    }

    /// The timeout was not long enough: it doubles until the next sample (§5.5).
    pub(crate) fn back_off(&mut self) {
        self.doubled = self.doubled.saturating_add(1);
    }

    pub(crate) fn is_backed_off(&self) -> bool {
        self.doubled > 0
    }

    /// The timeout for what is sent again, with the back-off.
    pub(crate) fn rto(&self) -> Duration {
        self.rto_doubled(self.doubled)
    }

    /// The timeout after `times` times of waiting in vain, whatever the back-off.
    pub(crate) fn rto_doubled(&self, times: u32) -> Duration {
        self.rto.saturating_mul(1 << times.min(30)).min(self.max.max(self.rto))
    }

    /// `SRTT`; `None` before the first sample.
    pub(crate) fn smoothed(&self) -> Option<Duration> {
        self.smoothed.map(|(srtt, _)| srtt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn before_a_sample_it_is_the_initial_one() {
        let rtt = Rtt::new(&Settings::default());
        assert_eq!((rtt.smoothed(), rtt.rto()), (None, ms(1_000)));
    }

    #[test]
    fn samples_count_as_the_rfc_says() {
        let mut rtt = Rtt::new(&Settings::default());
        rtt.sample(ms(100));
        assert_eq!((rtt.smoothed(), rtt.rto()), (Some(ms(100)), ms(300)));
        rtt.sample(ms(180));
        // RTTVAR = 3/4 50 + 1/4 80 = 57.5, SRTT = 7/8 100 + 1/8 180 = 110.
        assert_eq!((rtt.smoothed(), rtt.rto()), (Some(ms(110)), ms(340)));
    }

    #[test]
    fn it_stays_between_its_bounds() {
        let settings = Settings { max_rto: ms(5_000), ..Settings::default() };
        let mut rtt = Rtt::new(&settings);
        rtt.sample(ms(1));
        assert_eq!(rtt.rto(), settings.min_rto);
        rtt.sample(ms(100_000));
        assert_eq!(rtt.rto(), ms(5_000));
        rtt.sample(Duration::MAX / 16);
        assert_eq!(rtt.rto(), ms(5_000));
    }

    #[test]
    fn it_doubles_up_to_its_bound_until_the_next_sample() {
        let mut rtt = Rtt::new(&Settings { max_rto: ms(3_000), ..Settings::default() });
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(rtt.rto());
            rtt.back_off();
        }
        assert_eq!(seen, [ms(1_000), ms(2_000), ms(3_000), ms(3_000)]);
        rtt.sample(ms(400));
        assert_eq!(rtt.rto(), ms(1_200));
    }
}
