//! The timing of a heartbeat: when to probe, when to give up, how long a round trip takes.
//!
//! [`Beat`] is the core alone. It sends nothing, sets no timer, reads no clock and draws no random
//! number: it is told the time and a random number and answers what to do. What a probe looks like
//! (a line, a WebSocket ping) and what carries the timer is its owner's business.

use std::time::Duration;

use switchboard::Time;
use thiserror::Error;

use crate::{Config, Rtt, rtt::Estimate};

/// The heartbeat of one connection: 40 bytes, and one store for each message received.
///
/// Its owner keeps one timer for each connection, calls [`tick`](Self::tick) when it fires and sets it anew
/// by the answer; calls [`heard`](Self::heard) when anything arrives, or just before it ticks with the time of
/// [`last_read`](switchboard::Context::last_read); and calls [`answered`](Self::answered) with the
/// answer to a probe. Traffic never touches the timer: a tick that finds it came too early says how
/// long to wait on.
///
/// # What is held against the peer
///
/// Any traffic proves life, not answers alone. Silence counts up to the moment the next probe
/// falls due: a probe that goes out late (the process was stopped, the machine slept) moves the
/// deadline by as much, since a peer that only answers had nothing to say. And while its owner
/// does not read, it calls [`forgive`](Self::forgive): a peer that is not listened to is not silent.
///
/// # What is timed
///
/// Of the probes not answered yet the oldest is timed, as RFC 6298 §3 times one segment at a time,
/// so that a round trip longer than the interval is seen as what it is. The answer to a later one
/// ends the timing without a sample (RFC 6455 §5.5.3 lets a peer answer the latest ping alone).
/// Any other answer, to no probe, to one answered before or to one given up, gives no sample:
/// a peer can't make a round trip look shorter than it is.
///
/// ```
/// use std::time::Duration;
/// use switchboard::Time;
/// use switchboard_heartbeat::{Beat, Config, Tick};
///
/// let config = Config::default().with_jitter(Duration::ZERO)?;
/// let mut now = Time::ZERO;
/// let mut beat = Beat::new(&config, now, 0);
///
/// let Tick::Wait(wait) = beat.tick(&config, now, 0) else { unreachable!() };
/// now = now + wait;
/// let Tick::Probe { number, wait } = beat.tick(&config, now, 0) else { unreachable!() };
/// assert_eq!((number, wait), (1, Duration::from_secs(5)));
///
/// now = now + Duration::from_millis(3);
/// assert_eq!(beat.answered(now, number), Some(Duration::from_millis(3)));
/// assert_eq!(beat.rtt().map(|rtt| rtt.worst), Some(Duration::from_millis(3)));
///
/// now = now + Duration::from_secs(4);
/// beat.heard(now); // anything at all
/// # Ok::<(), switchboard_heartbeat::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Beat {
    /// When the peer was heard last, moved on by the lateness of our own probes.
    heard: Time,
    /// When the timed probe was sent; what `next_ms` counts from.
    base: Time,
    /// When the next probe is due.
    next_ms: u32,
    /// The latest probe's number; they count from 1 and wrap.
    number: u32,
    /// How many probes were sent since, and with, the timed one; 0 if none is timed.
    unanswered: u32,
    estimate: Estimate,
}

/// What [`Beat::tick`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a heartbeat whose answers are not acted on never beats"]
pub enum Tick {
    /// Nothing is due: tick again after this long, which is never zero.
    Wait(Duration),
    /// Send a probe now, then tick again after `wait`, which is never zero.
    Probe {
        /// The probe's number, for [`Beat::answered`].
        number: u32,
        /// How long to wait for the next tick.
        wait: Duration,
    },
    /// The peer is gone: close, with this error as the reason.
    Dead(PeerSilent),
}

/// The peer gave no sign of life for the whole timeout.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("no sign of life from the peer for {silent:?}")]
#[non_exhaustive]
pub struct PeerSilent {
    /// How long it was silent, as far as that is held against it; at least the timeout.
    pub silent: Duration,
}

impl Beat {
    /// Begins at `now`, as if the peer had just been heard. `random` is any 32 random bits, here
    /// and in [`tick`](Self::tick): they place the next probe within the jitter.
    #[must_use]
    pub fn new(config: &Config, now: Time, random: u32) -> Self {
        Self {
            heard: now,
            base: now,
            next_ms: config.gap_ms(random),
            number: 0,
            unanswered: 0,
            estimate: Estimate::new(),
        }
    }

    /// Something arrived from the peer at `time`, whatever it was.
    #[inline]
    pub fn heard(&mut self, time: Time) {
        self.heard = self.heard.max(time);
    }

    /// Silence up to `now` is not held against the peer, nor is the probe under way timed on: for
    /// an owner that was not reading, when a tick comes.
    pub fn forgive(&mut self, now: Time) {
        self.heard(now);
        self.stop_timing();
    }

    /// The peer answered probe `number`. It gives the round trip's time if this is the probe timed;
    /// else `None`, and the answer proves life like any other traffic.
    pub fn answered(&mut self, now: Time, number: u32) -> Option<Duration> {
        self.heard(now);
        // 0 is the latest probe; anything never sent wraps to far above.
        let age = self.number.wrapping_sub(number);
        if age >= self.unanswered {
            return None;
        }
        let sample = now.saturating_since(self.base);
        let is_timed = age == self.unanswered - 1;
        self.stop_timing();
        is_timed.then(|| {
            self.estimate.add(sample);
            sample
        })
    }

    /// What is due at `now`. A tick too early or too many does no harm.
    pub fn tick(&mut self, config: &Config, now: Time, random: u32) -> Tick {
        let due = self.next_probe();
        let silent = now.min(due).saturating_since(self.heard);
        if silent >= config.timeout() {
            return Tick::Dead(PeerSilent { silent });
        }
        if now < due {
            return Tick::Wait(self.wait(config, now));
        }
        let late = now.saturating_since(due);
        self.heard = (self.heard + late).min(now);
        self.probe(config, now, random);
        Tick::Probe { number: self.number, wait: self.wait(config, now) }
    }

    /// The round-trip times so far; `None` before the first.
    #[must_use]
    pub fn rtt(&self) -> Option<Rtt> {
        self.estimate.rtt()
    }

    fn probe(&mut self, config: &Config, now: Time, random: u32) {
        self.number = self.number.wrapping_add(1);
        // One not answered for a whole timeout, by a peer otherwise alive, never will be.
        if now.saturating_since(self.base) > config.timeout() {
            self.stop_timing();
        }
        self.unanswered += 1;
        if self.unanswered == 1 {
            self.base = now;
        }
        self.set_next(now, config.gap_ms(random));
    }

    /// When the next probe is due.
    #[must_use]
    pub fn next_probe(&self) -> Time {
        self.base + Duration::from_millis(u64::from(self.next_ms))
    }

    /// Puts the next probe `gap_ms` after `from`, or less than a millisecond sooner: so never later
    /// than the interval, and never at once, as a gap has a millisecond at least.
    fn set_next(&mut self, from: Time, gap_ms: u32) {
        // A timeout and an interval at most, since no probe is timed for longer.
        let since_base = from.saturating_since(self.base).as_millis();
        self.next_ms = u32::try_from(since_base).unwrap_or(u32::MAX).saturating_add(gap_ms);
    }

    /// The time to the next probe or, if that is sooner, to the peer's deadline.
    fn wait(&self, config: &Config, now: Time) -> Duration {
        let deadline = self.heard + config.timeout();
        self.next_probe().min(deadline).saturating_since(now)
    }

    fn stop_timing(&mut self) {
        self.unanswered = 0;
    }
}

#[cfg(test)]
#[path = "beat_tests.rs"]
mod tests;
