//! The line protocol: `PING <n>` is answered by `PONG <n>`.

use switchboard::{Context, Failure, Input, Layered, Protocol};
use thiserror::Error;

use crate::{Heartbeat, LONGEST_LINE, Line, LineError, Probe};

/// Answers each `PING <n>` with `PONG <n>`, on either side of a connection.
///
/// Alone it only answers. To probe the peer as well, put a heartbeat around it:
/// `Heartbeat::new(config).around(PingPong::default())`, a [`HeartbeatLine`]. Each side may do so,
/// whoever connected; a side that only answers and wants to give up a silent peer puts an
/// [`IdleTimeout`](crate::IdleTimeout) around it.
///
/// * Any other line, one longer than [`LONGEST_LINE`] and one unfinished at the peer's half-close is
///   answered with `ERR <reason>` and a close, with a [`LineError`] as the reason.
/// * An `ERR` of the peer's is never answered with another: the connection closes with
///   [`PeerRefused`].
/// * A `PONG` that answers nothing (never asked for, asked for and answered before, too late)
///   proves life and is otherwise ignored: after a timeout the peer can't know that its answer
///   is late, and it gives no round-trip time (see [`Beat`](crate::Beat)).
/// * A peer that asks without taking the answers is not read any more once the output has
///   [no room](Context::has_room), and read on when it has.
///
/// Nothing is kept between lines, so it runs on datagrams as well as on a stream.
///
/// ```
/// use switchboard::testkit::Harness;
/// use switchboard_heartbeat::PingPong;
///
/// let mut harness = Harness::new(PingPong::default());
/// harness.feed(b"PING 1\nPI");
/// harness.feed(b"NG 2\n");
/// assert_eq!(harness.take_sent(), b"PONG 1\nPONG 2\n");
/// harness.feed(b"hello\n");
/// assert_eq!(harness.take_sent(), b"ERR expected PING <n> or PONG <n>\n");
/// assert!(!harness.is_open());
/// ```
#[derive(Clone, Debug, Default)]
pub struct PingPong {
    /// The first `PONG` that no heartbeat was told of. Where several come at once that is the one
    /// to the oldest probe, which is the one timed.
    answered: Option<u32>,
}

/// The line protocol with a heartbeat: answers, probes, and keeps the round-trip times.
///
/// ```
/// use std::time::Duration;
/// use switchboard::testkit::Harness;
/// use switchboard_heartbeat::{Config, Heartbeat, HeartbeatLine, PingPong};
///
/// let line: HeartbeatLine = Heartbeat::new(Config::default()).around(PingPong::default());
/// let mut harness = Harness::new(line);
/// harness.advance(Duration::from_secs(5));
/// assert_eq!(harness.take_sent(), b"PING 1\n");
/// harness.feed(b"PONG 1\n");
/// assert!(harness.protocol::<HeartbeatLine>().unwrap().layer().rtt().is_some());
/// ```
pub type HeartbeatLine = Layered<Heartbeat, PingPong>;

impl Protocol for PingPong {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while cx.has_room() {
            if !self.take_line(cx, input)? {
                return Ok(());
            }
        }
        cx.pause_reading();
        Ok(())
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.resume_reading();
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        while self.take_line(cx, rest)? {}
        if rest.is_empty() {
            cx.close();
            return Ok(());
        }
        Err(refuse(cx, LineError::Unfinished))
    }
}

impl PingPong {
    /// Acts on the next line; false if it has not come to its end.
    fn take_line(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<bool, Failure> {
        let length = match Line::parse(input) {
            Ok(None) => return Ok(false),
            Ok(Some((Line::Ping(number), length))) => {
                send(cx, Line::Pong(number));
                length
            }
            Ok(Some((Line::Pong(number), length))) => {
                self.answered = self.answered.or(u32::try_from(number).ok());
                length
            }
            Ok(Some((Line::Err(reason), _))) => return Err(PeerRefused::new(reason).into()),
            Err(error) => return Err(refuse(cx, error)),
        };
        input.take(length);
        Ok(true)
    }
}

impl Probe for PingPong {
    fn probe(&mut self, cx: &mut Context<'_>, number: u32) -> Result<(), Failure> {
        send(cx, Line::Ping(number.into()));
        Ok(())
    }

    fn answered(&mut self) -> Option<u32> {
        self.answered.take()
    }
}

fn send(cx: &mut Context<'_>, line: Line<'_>) {
    cx.send(line.encode(&mut [0; LONGEST_LINE]));
}

/// Tells the peer why; the runtime sees to it that the words arrive although input is unread.
#[cold]
fn refuse(cx: &mut Context<'_>, error: LineError) -> Failure {
    send(cx, Line::Err(error.to_string().as_bytes()));
    error.into()
}

/// The peer refused what it was sent, with an `ERR` line, and closes.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the peer refused: {reason}")]
#[non_exhaustive]
pub struct PeerRefused {
    /// What it said, with everything but printable ASCII escaped: it may come to stand in a log.
    pub reason: String,
}

impl PeerRefused {
    #[cold]
    fn new(reason: &[u8]) -> Self {
        Self { reason: reason.escape_ascii().to_string() }
    }
}
