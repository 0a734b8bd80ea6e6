//! Who may open a session: a source address proves nothing, so there are only so many.

use std::time::Duration;

use crate::Time;

/// Counts new sessions against so many a second, in the loop's time: as a bucket that holds one second's, kept as the
/// time at which it will be full again.
#[derive(Debug)]
pub(crate) struct Admission {
    /// What one more adds to the time; `None`: nobody is admitted.
    interval: Option<Duration>,
    full_at: Time,
}

impl Admission {
    /// What the bucket holds.
    const BURST: Duration = Duration::from_secs(1);

    pub(crate) fn new(per_second: u32) -> Self {
        Self { interval: Self::BURST.checked_div(per_second), full_at: Time::ZERO }
    }

    /// Whether one more may come now.
    pub(crate) fn admit(&mut self, now: Time) -> bool {
        let Some(interval) = self.interval else { return false };
        let full_at = self.full_at.max(now) + interval;
        let fits = full_at.saturating_since(now) <= Self::BURST;
        if fits {
            self.full_at = full_at;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(admission: &mut Admission, now: Time, asked: usize) -> usize {
        (0..asked).filter(|_| admission.admit(now)).count()
    }

    #[test]
    fn a_second_s_worth_at_once_then_so_many_a_second() {
        let mut admission = Admission::new(100);
        let start = Time::ZERO + Duration::from_secs(10);
        assert_eq!(admitted(&mut admission, start, 1000), 100);
        assert_eq!(admitted(&mut admission, start + Duration::from_millis(9), 10), 0);
        assert_eq!(admitted(&mut admission, start + Duration::from_millis(10), 10), 1);
        assert_eq!(admitted(&mut admission, start + Duration::from_millis(510), 1000), 50);
        assert_eq!(admitted(&mut admission, start + Duration::from_secs(60), 1000), 100, "no more is saved up");
    }

    #[test]
    fn none_and_any_number() {
        assert_eq!(admitted(&mut Admission::new(0), Time::ZERO, 10), 0);
        assert_eq!(admitted(&mut Admission::new(1), Time::ZERO, 10), 1);
        assert_eq!(admitted(&mut Admission::new(u32::MAX), Time::ZERO, 100_000), 100_000);
    }
}
