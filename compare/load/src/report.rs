//! What came out.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::options::Options;
use crate::process::Usage;

/// The result of a load.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Messages that came back while it was measured.
    pub messages: u64,
    /// How long that was.
    pub seconds: f64,
    /// Messages a second.
    pub rate: f64,
    /// From a batch's first byte until its replies are all there.
    pub latency: Latency,
    /// Datagrams that did not come back within 300 ms.
    pub lost: u64,
    /// Bytes that came back to the connection that floods.
    pub flooded: u64,
    /// What the server used.
    pub server: Option<ServerReport>,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// Ninety-nine of a hundred batches took no longer.
    pub p99: f64,
    /// 999 of a thousand took no longer.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

/// What the server's process used.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ServerReport {
    /// Seconds of processor time for a million messages.
    pub seconds_a_million: f64,
    /// The part of the time that it was ready to run and could not: above 0.05, its rate means little.
    pub waited: f64,
}

/// Collects a report.
pub(crate) struct Recorder {
    latencies: Histogram<u64>,
    pub(crate) messages: u64,
    pub(crate) lost: u64,
    pub(crate) flooded: u64,
}

impl Recorder {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { latencies: Histogram::new_with_max(60_000_000_000, 3)?, messages: 0, lost: 0, flooded: 0 })
    }

    /// The measurement begins here.
    pub(crate) fn clear(&mut self) {
        self.latencies.reset();
        (self.messages, self.lost, self.flooded) = (0, 0, 0);
    }

    /// A batch of `messages` is back.
    pub(crate) fn batch(&mut self, messages: usize, took: Duration) {
        self.messages += messages as u64;
        self.latencies.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn report(&self, took: Duration, used: Option<Usage>) -> Result<Report> {
        ensure!(self.messages > 0, "not one message came back while it was measured");
        let seconds = took.as_secs_f64();
        let micros = |quantile| self.latencies.value_at_quantile(quantile) as f64 / 1e3;
        let messages = self.messages as f64;
        Ok(Report {
            messages: self.messages,
            seconds,
            rate: messages / seconds,
            latency: Latency { p50: micros(0.5), p99: micros(0.99), p999: micros(0.999), max: micros(1.0) },
            lost: self.lost,
            flooded: self.flooded,
            server: used.map(|used| ServerReport {
                seconds_a_million: used.running as f64 / 1e9 / (messages / 1e6),
                waited: used.waiting as f64 / 1e9 / seconds,
            }),
        })
    }
}

/// When what is measured begins and ends.
pub(crate) struct Window {
    server: Option<u32>,
    /// Not where messages are counted.
    duration: Option<Duration>,
    begin: Instant,
    /// What the server had used when it began; none before.
    used: Option<Usage>,
    open: bool,
}

impl Window {
    /// Begins at once where messages are counted, else after the warm-up.
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let counts = options.messages.is_some();
        let warm_up = if counts { Duration::ZERO } else { options.warm_up };
        let duration = (!counts).then_some(options.duration);
        let mut window =
            Self { server: options.server, duration, begin: Instant::now() + warm_up, used: None, open: false };
        if counts {
            window.begins(window.begin)?;
        }
        Ok(window)
    }

    /// Whether it begins now.
    pub(crate) fn begins(&mut self, now: Instant) -> Result<bool> {
        if self.open || now < self.begin {
            return Ok(false);
        }
        (self.open, self.begin, self.used) = (true, now, self.server.map(Usage::of).transpose()?);
        Ok(true)
    }

    /// Whether its time is up.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.open && self.duration.is_some_and(|duration| now - self.begin >= duration)
    }

    /// How long it has been open, and what the server used in it.
    pub(crate) fn end(&self, now: Instant) -> Result<(Duration, Option<Usage>)> {
        let after = self.server.map(Usage::of).transpose()?;
        Ok((now - self.begin, after.zip(self.used).map(|(after, before)| after - before)))
    }
}
