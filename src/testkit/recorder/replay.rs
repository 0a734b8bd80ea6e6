//! A recording, played in virtual time.

use std::fmt;
use std::time::Duration;

use crate::testkit::fuzz::{Budget, Player};
use crate::testkit::transcript::Escaped;
use crate::testkit::trial::aloud;
use crate::testkit::{Entry, Operation, Schedule, Transcript};
use crate::{Limits, Protocol};

/// Deadlines on the way, at the most: a recording may come from anywhere, and has to end.
const MOST_DEADLINES: u32 = 1_000_000;

/// Plays a recording of a [`FlightRecorder`](super::FlightRecorder) to a new protocol, in virtual time, and says what comes of
/// it. Any other [`Schedule`] will do, too.
///
/// # Panics
///
/// If the protocol does, or breaks the contract (spins, say).
///
/// ```
/// use switchboard::testkit::{Operation, Schedule, replay};
/// use switchboard_echo::TcpEcho;
///
/// let recording = Schedule::from(vec![
///     Operation::Feed(b"hello".to_vec()),
///     Operation::Sent(b"help".to_vec()),
/// ]);
/// let replay = replay(|| TcpEcho, &recording.encode());
/// assert_eq!(replay.first_difference(), Some(3));
/// ```
#[track_caller]
pub fn replay<P: Protocol>(protocol: impl FnOnce() -> P, recording: &[u8]) -> Replay {
    replay_with_limits(Limits::default(), protocol, recording)
}

/// As [`replay`], with the limits that the recorded loop had.
///
/// ```
/// use switchboard::testkit::replay_with_limits;
/// use switchboard::{Limits, protocol_fn};
///
/// let limits = Limits { read_budget: 4, ..Limits::default() };
/// let count = || {
///     protocol_fn(|cx, input| {
///         cx.send(format!("{} ", input.take_all().len()).as_bytes());
///         Ok(())
///     })
/// };
/// assert_eq!(replay_with_limits(limits, count, b"123456").sent(), b"4 2 ");
/// ```
///
/// # Panics
///
/// As [`replay`], and if the limits contradict each other.
#[track_caller]
pub fn replay_with_limits<P: Protocol>(limits: Limits, protocol: impl FnOnce() -> P, recording: &[u8]) -> Replay {
    let recording = Schedule::decode(recording);
    let budget = Budget { time: Duration::MAX, stops: MOST_DEADLINES };
    let (transcript, complete) = aloud(|| {
        let mut player = Player::new(protocol(), limits, budget);
        recording.operations().iter().for_each(|operation| player.play(operation));
        player.stop()
    });
    Replay::new(&recording, transcript, complete)
}

/// What came of a [`replay`], and what should have.
///
/// Its `Display` is the conversation, and how it compares.
///
/// ```
/// use switchboard::testkit::replay;
/// use switchboard_echo::TcpEcho;
///
/// let replay = replay(|| TcpEcho, b"hello\xf6shello\xf6e\xf6qclosed by the peer");
/// assert!(replay.is_faithful());
/// assert_eq!((replay.sent(), replay.close_reason()), (b"hello".to_vec(), Some("closed by the peer")));
/// println!("{replay}");
/// ```
#[derive(Clone)]
pub struct Replay {
    transcript: Transcript,
    complete: bool,
    recorded: Vec<u8>,
    recorded_reason: Option<String>,
    begins_in_the_middle: bool,
    /// Something was left out of what was recorded as sent.
    has_gaps: bool,
    /// The recording ends with a peer that does not take everything.
    window_closed: bool,
}

impl Replay {
    fn new(recording: &Schedule, transcript: Transcript, complete: bool) -> Self {
        let operations = recording.operations();
        let mut replay = Self {
            transcript,
            complete,
            recorded: Vec::new(),
            recorded_reason: None,
            begins_in_the_middle: operations.first() == Some(&Operation::Gap),
            has_gaps: false,
            window_closed: false,
        };
        for operation in operations {
            match operation {
                Operation::Gap => replay.has_gaps = true,
                Operation::Sent(bytes) if !replay.has_gaps => replay.recorded.extend_from_slice(bytes),
                Operation::Window(window) => replay.window_closed = *window != usize::MAX,
                Operation::Closed(reason) => replay.recorded_reason = Some(reason.clone()),
                _ => {}
            }
        }
        replay
    }

    /// The conversation as it went this time.
    #[must_use]
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// What was sent this time, as far as the peer took it.
    #[must_use]
    pub fn sent(&self) -> Vec<u8> {
        self.transcript.all_sent()
    }

    /// What was sent when it was recorded, up to where something is missing.
    #[must_use]
    pub fn recorded(&self) -> &[u8] {
        &self.recorded
    }

    /// Why the connection closed this time; `None` if it has not.
    #[must_use]
    pub fn close_reason(&self) -> Option<&str> {
        self.transcript.entries().iter().find_map(|(_, entry)| match entry {
            Entry::Note(note) => note.strip_prefix("closed: "),
            _ => None,
        })
    }

    /// Why it closed when it was recorded; `None` if the recording was made before.
    #[must_use]
    pub fn recorded_close_reason(&self) -> Option<&str> {
        self.recorded_reason.as_deref()
    }

    /// Whether the recording had dropped its beginning: what the protocol knew by then, the replay does not.
    #[must_use]
    pub fn begins_in_the_middle(&self) -> bool {
        self.begins_in_the_middle
    }

    /// The first byte sent that is not as recorded; `None` if all are, as far as the record goes.
    #[must_use]
    pub fn first_difference(&self) -> Option<usize> {
        let sent = self.sent();
        let same = sent.iter().zip(&self.recorded).take_while(|(a, b)| a == b).count();
        let more = sent.len() > same && !(same == self.recorded.len() && self.has_gaps);
        let less = self.recorded.len() > same && !(same == sent.len() && self.window_closed);
        (more || less).then_some(same)
    }

    /// Whether all of the recording was played. Of time in which more than a million things become due (a periodic timer
    /// and centuries of [`Operation::Advance`]), the rest is left out.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether all was played, and everything came as it was recorded: what was sent, and the close reason.
    #[must_use]
    pub fn is_faithful(&self) -> bool {
        self.complete && self.first_difference().is_none() && self.close_reason() == self.recorded_close_reason()
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("transcript", &self.transcript)
            .field("recorded", &format_args!("{}", Escaped(&self.recorded)))
            .field("recorded_close_reason", &self.recorded_reason)
            .field("is_complete", &self.complete)
            .field("is_faithful", &self.is_faithful())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.begins_in_the_middle {
            writeln!(f, "the recording begins in the middle")?;
        }
        self.transcript.fmt(f)?;
        if !self.complete {
            writeln!(f, "not complete: time in which more than {MOST_DEADLINES} things became due was left out")?;
        }
        if let Some(at) = self.first_difference() {
            let (sent, rest) = (self.sent(), |bytes: &[u8]| bytes.get(at..).unwrap_or_default().to_vec());
            writeln!(f, "not as recorded from byte {at} of what was sent on:")?;
            writeln!(f, "recorded ← {}", Escaped(&rest(&self.recorded)))?;
            writeln!(f, "this time ← {}", Escaped(&rest(&sent)))?;
        }
        if self.close_reason() != self.recorded_close_reason() {
            let reason = self.recorded_close_reason();
            writeln!(f, "recorded: {}", reason.map_or("not closed".into(), |reason| format!("closed: {reason}")))?;
        }
        match self.is_faithful() {
            true if self.has_gaps => writeln!(f, "as recorded, as far as that goes"),
            true => writeln!(f, "as recorded"),
            false => Ok(()),
        }
    }
}
