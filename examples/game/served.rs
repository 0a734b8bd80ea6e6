//! What bots see of how they are served.

use std::mem;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest that is told apart, in microseconds.
const MINUTE: u64 = 60_000_000;

/// What the bots of a loop have seen since the last report.
pub(crate) struct Served {
    pub(crate) playing: usize,
    pub(crate) count: Count,
    /// Between two snapshots of a bot, in microseconds.
    gaps: Histogram<u64>,
    /// From a move to the snapshot that shows it, in microseconds.
    round_trips: Histogram<u64>,
}

#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct Count {
    pub(crate) moves: u64,
    pub(crate) snapshots: u64,
    /// Ticks of which no snapshot came.
    pub(crate) missing: u64,
    /// Snapshots that a later one had overtaken.
    pub(crate) stale: u64,
    pub(crate) chats: u64,
    /// Connections that ended unasked.
    pub(crate) broken: u64,
}

/// A line of the bots' output.
#[derive(Serialize)]
struct Report {
    playing: usize,
    #[serde(flatten)]
    count: Count,
    gap_p50_us: u64,
    gap_p99_us: u64,
    gap_max_us: u64,
    round_trip_p50_us: u64,
    round_trip_p99_us: u64,
}

impl Served {
    pub(crate) fn new() -> Self {
        let histogram =
            || Histogram::new_with_bounds(1, MINUTE, 3).unwrap_or_else(|_| unreachable!("1 to 5 digits can be kept"));
        Self { playing: 0, count: Count::default(), gaps: histogram(), round_trips: histogram() }
    }

    /// A snapshot came that was newer than the one before, which came so long ago; some ticks are missing between them.
    pub(crate) fn next_snapshot(&mut self, gap: Duration, missing: u32) {
        self.gaps.saturating_record(micros(gap));
        self.count.missing += u64::from(missing);
    }

    /// A snapshot shows a move that was sent so long ago.
    pub(crate) fn round_trip(&mut self, took: Duration) {
        self.round_trips.saturating_record(micros(took));
    }

    /// What was seen since this was last asked, as JSON.
    pub(crate) fn take_report(&mut self) -> String {
        let Self { playing, count, gaps, round_trips } = mem::replace(self, Self::new());
        self.playing = playing;
        let report = Report {
            playing,
            count,
            gap_p50_us: gaps.value_at_quantile(0.5),
            gap_p99_us: gaps.value_at_quantile(0.99),
            gap_max_us: gaps.max(),
            round_trip_p50_us: round_trips.value_at_quantile(0.5),
            round_trip_p99_us: round_trips.value_at_quantile(0.99),
        };
        serde_json::to_string(&report).unwrap_or_default() // it has no map with keys that JSON can't have
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
