//! What is counted, and how long the loop's turns take, from reading the clock after the poll to the last write.

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use switchboard::Core;

use crate::arena::Arena;

/// The longest that is told apart, in nanoseconds.
const MINUTE: u64 = 60_000_000_000;

/// The turns since the start, and those since the last line was printed.
pub(crate) struct Timing {
    all: RefCell<Turns>,
    recent: RefCell<Turns>,
}

/// In nanoseconds, to three digits: all turns in which something happened, and of those the ones that carried a tick.
struct Turns {
    any: Histogram<u64>,
    ticks: Histogram<u64>,
}

/// What happened, in totals since the start.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct Counts {
    pub(crate) moves: u64,
    /// Moves that were numbered and did not come.
    pub(crate) lost: u64,
    /// Moves that were overtaken by a later one, or came twice.
    pub(crate) stale: u64,
    pub(crate) snapshots: u64,
    /// Snapshots that were not sent, since the system was slow to take those before.
    pub(crate) skipped: u64,
    /// Datagrams of who had no token.
    pub(crate) forged: u64,
    pub(crate) lines: u64,
}

/// What `/counters` serves.
#[derive(Serialize)]
struct Report {
    players: usize,
    turns: u64,
    turn_p50_us: u64,
    turn_p99_us: u64,
    turn_max_us: u64,
    tick_p50_us: u64,
    tick_p99_us: u64,
    #[serde(flatten)]
    counts: Counts,
    sessions_refused: u64,
    datagrams_in: u64,
    datagrams_dropped: u64,
    sessions: usize,
    held_bytes: usize,
}

impl Timing {
    pub(crate) fn new() -> Self {
        Self { all: RefCell::new(Turns::new()), recent: RefCell::new(Turns::new()) }
    }

    /// A turn in which something happened has ended.
    pub(crate) fn add(&self, took: Duration, has_tick: bool) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        for turns in [&self.all, &self.recent] {
            let mut turns = turns.borrow_mut();
            turns.any.saturating_record(nanos);
            if has_tick {
                turns.ticks.saturating_record(nanos);
            }
        }
    }

    /// All turns, in words.
    pub(crate) fn total(&self) -> String {
        self.all.borrow().to_string()
    }

    /// Those since this was last asked, in words.
    pub(crate) fn take_recent(&self) -> String {
        std::mem::replace(&mut *self.recent.borrow_mut(), Turns::new()).to_string()
    }

    /// Everything that is counted, as JSON.
    pub(crate) fn report(&self, arena: &Arena, core: &Core) -> String {
        let (all, counters) = (self.all.borrow(), core.counters());
        let report = Report {
            players: arena.players(),
            turns: all.any.len(),
            turn_p50_us: all.any.value_at_quantile(0.5) / 1000,
            turn_p99_us: all.any.value_at_quantile(0.99) / 1000,
            turn_max_us: all.any.max() / 1000,
            tick_p50_us: all.ticks.value_at_quantile(0.5) / 1000,
            tick_p99_us: all.ticks.value_at_quantile(0.99) / 1000,
            counts: arena.counts(),
            sessions_refused: counters.sessions_refused,
            datagrams_in: counters.datagrams_in,
            datagrams_dropped: counters.datagrams_dropped,
            sessions: core.open_sessions(),
            held_bytes: core.held_bytes(),
        };
        serde_json::to_string(&report).unwrap_or_default() // it has no map with keys that JSON can't have
    }
}

impl Turns {
    fn new() -> Self {
        let histogram =
            || Histogram::new_with_bounds(1, MINUTE, 3).unwrap_or_else(|_| unreachable!("1 to 5 digits can be kept"));
        Self { any: histogram(), ticks: histogram() }
    }
}

impl fmt::Display for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, before, times) in [("turns", "", &self.any), ("ticks", "; ", &self.ticks)] {
            let at = |quantile| Duration::from_micros(times.value_at_quantile(quantile) / 1000);
            let max = Duration::from_micros(times.max() / 1000);
            write!(f, "{before}{} {what}: p50 {:?}, p99 {:?}, max {max:?}", times.len(), at(0.5), at(0.99))?;
        }
        Ok(())
    }
}
