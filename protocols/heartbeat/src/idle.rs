//! An end for connections on which nothing happens.

use std::time::Duration;

use switchboard::{Context, Failure, Inner, Layer, Layered, Protocol, TimerId};
use thiserror::Error;

/// A layer around any protocol that closes its connection after a time without traffic, with
/// [`Idle`] as the reason.
///
/// It writes nothing, and looks at bytes rather than messages: whatever the system gave or took for
/// this connection is traffic, in either direction, a keystroke of a request as well as a piece of a
/// long answer. While reading is paused, or output waits for the peer, the connection is not idle
/// but busy; a peer that takes nothing is ended by
/// [`Limits::write_stall`](switchboard::Limits::write_stall).
///
/// # Cost
///
/// One timer a connection, set at most once in each idle time, and nothing at all for a message.
///
/// ```
/// use std::time::Duration;
/// use switchboard::{protocol_fn, testkit::Harness};
/// use switchboard_heartbeat::IdleTimeout;
///
/// let echo = protocol_fn(|cx, input| {
///     cx.send(input.take_all());
///     Ok(())
/// });
/// let mut harness = Harness::new(IdleTimeout::new(Duration::from_secs(60)).around(echo));
/// harness.advance(Duration::from_secs(59));
/// harness.feed(b"still here");
/// harness.advance(Duration::from_secs(59));
/// assert!(harness.is_open());
/// harness.advance(Duration::from_secs(1));
/// assert_eq!(harness.close_reason().unwrap().to_string(), "a limit was hit: nothing came or went for 60s");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct IdleTimeout {
    after: Duration,
}

/// Nothing came or went on the connection for too long.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("nothing came or went for {idle:?}")]
#[non_exhaustive]
pub struct Idle {
    /// How long: at least what was allowed.
    pub idle: Duration,
}

impl IdleTimeout {
    /// Closes after this long without traffic. [`Duration::MAX`] stands for never; zero closes every
    /// connection at once.
    #[must_use]
    pub const fn new(after: Duration) -> Self {
        Self { after }
    }

    /// Puts it around a protocol.
    #[must_use]
    pub fn around<P: Protocol>(self, protocol: P) -> Layered<Self, P> {
        Layered::new(self, protocol)
    }
}

impl<P: Protocol> Layer<P> for IdleTimeout {
    fn on_open(&mut self, cx: &mut Context<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        cx.set_timer(self.after);
        inner.on_open(cx)
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId, _: &mut Inner<P>) -> Result<(), Failure> {
        if cx.backlog() > 0 || cx.is_reading_paused() {
            cx.set_timer(self.after);
            return Ok(());
        }
        let idle = cx.now().saturating_since(cx.last_read().max(cx.last_write()));
        if idle >= self.after {
            return Err(Failure::limit(Idle { idle }));
        }
        cx.set_timer(self.after - idle);
        Ok(())
    }
}
