//! Any protocol under the fuzzer: the input chooses what arrives, and when, and in which pieces.

use std::any::type_name;
use std::time::Duration;

use super::transcript::Escaped;
use super::trial::{Trial, aloud, demand, with_context};
use super::{Operation, Schedule, Transcript};
use crate::{Limits, Protocol};

mod chunks;
mod corpus;
mod player;

pub use corpus::replay_seeds;
pub(super) use player::{Budget, Player};
use player::{Run, answers};

/// Runs a protocol through whatever `data` stands for, and checks all that holds for any protocol.
///
/// `data` is decoded to a [`Schedule`]: bytes that arrive, time that passes, half-closes, resets, messages, a peer
/// that takes no output, a drain. Every byte string is one. While it runs, and at its end, what
/// [`check_conformance`](super::check_conformance) checks is checked: `on_close` comes once and last, nothing spins,
/// memory stays bounded, an owed `on_drain` comes, nothing is left at the end; and reading that was paused goes on
/// once the peer has taken everything, and each timer has had its turn. (Who pauses and then has a timer end the
/// connection may mean it: that passes, unless `on_drain` came while it was paused and did not make it go on. A loop that
/// drains is not asked.) And the run is repeated:
///
/// * as it was, which must give the same conversation: a protocol has no clock and no dice of its own;
/// * with the bytes merged, and cut into other pieces, between one other thing that happens and the next: TCP does
///   that, too, so the answers, the [notes](super::note) and the close reason must be the same. (Left as they are: bytes
///   that arrive after a finite [`Operation::Window`] and before the next that takes everything, as a protocol that
///   waits for its peer may stop anywhere; those that arrive after an [`Operation::Jump`], together with timers that
///   are late; and runs that outlast the virtual time, or the deadlines, that there are.)
///
/// Gives the conversation, for what can be checked of this protocol alone. [`Fuzz`] has settings;
/// [`fuzz_protocol!`](crate::fuzz_protocol) makes a target of it for cargo-fuzz.
///
/// # Panics
///
/// If the protocol does, or if something does not hold.
///
/// ```
/// use switchboard::testkit;
/// use switchboard_echo::TcpEcho;
///
/// let transcript = testkit::fuzz(|| TcpEcho, b"hello\xf6a\x05world\xf6e");
/// assert_eq!(transcript.to_string(), r#"
/// 0.000s → "hello"
/// 0.000s ← "hello"
/// 1.000s → "world"
/// 1.000s ← "world"
/// 1.000s → half-close
/// 1.000s closed: closed by the peer
/// "#.trim_start());
/// ```
#[track_caller]
pub fn fuzz<P: Protocol>(protocol: impl Fn() -> P, data: &[u8]) -> Transcript {
    Fuzz::new().run(protocol, data)
}

/// [`fuzz`] with settings.
///
/// ```
/// use switchboard::testkit::Fuzz;
/// use switchboard::{Context, Failure, Input, Protocol};
///
/// /// Does not answer before it was greeted. Then it says how much came at once: that depends on the pieces.
/// #[derive(Default)]
/// struct Gauge {
///     greeted: bool,
/// }
///
/// impl Protocol for Gauge {
///     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
///         if !self.greeted {
///             let Some(end) = input.iter().position(|&byte| byte == b'\n') else { return Ok(()) };
///             self.greeted = *input.take(end + 1) == *b"hello\n";
///         }
///         let count = input.take_all().len();
///         if self.greeted && count > 0 {
///             cx.send(format!("{count}\n").as_bytes());
///         }
///         Ok(())
///     }
/// }
///
/// let fuzz = Fuzz::new().prefix(b"hello\n").chunking_matters();
/// let transcript = fuzz.run(Gauge::default, b"abc\xf6fde");
/// assert_eq!(transcript.all_sent(), b"3\n2\n");
/// ```
#[derive(Clone, Debug)]
pub struct Fuzz {
    limits: Limits,
    prefix: Vec<u8>,
    chunking_matters: bool,
    may_stop_reading: bool,
    budget: Budget,
}

impl Default for Fuzz {
    fn default() -> Self {
        Self::new()
    }
}

impl Fuzz {
    /// Narrow limits, so that a short input reaches them (1 KiB of waiting output is the high-water mark), a
    /// week of virtual time, and no more than 10,000 deadlines on the way.
    #[must_use]
    pub fn new() -> Self {
        Self {
            limits: Limits { high_water: 1024, low_water: 256, read_budget: 1024, ..Trial::limits() },
            prefix: Vec::new(),
            chunking_matters: false,
            may_stop_reading: false,
            budget: Budget { time: Duration::from_secs(7 * 24 * 60 * 60), stops: 10_000 },
        }
    }

    /// Runs within these limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Feeds these bytes first, as they are: a handshake, so that the fuzzer gets behind it.
    #[must_use]
    pub fn prefix(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.prefix = bytes.as_ref().to_vec();
        self
    }

    /// Does not demand the same answers for the same bytes in other pieces: for protocols on datagrams, and those that
    /// say how much came at once.
    #[must_use]
    pub fn chunking_matters(mut self) -> Self {
        self.chunking_matters = true;
        self
    }

    /// Does not mind that reading is paused for good: for protocols that wait for a message before they go on, or for
    /// timers that take days or dozens of turns.
    #[must_use]
    pub fn may_stop_reading(mut self) -> Self {
        self.may_stop_reading = true;
        self
    }

    /// Runs what `data` stands for: see [`fuzz`](fn@fuzz). `protocol` makes a new one for each of the runs.
    ///
    /// # Panics
    ///
    /// If the protocol does, or if something does not hold. Says what was expected, what came, and when.
    #[track_caller]
    pub fn run<P: Protocol>(&self, protocol: impl Fn() -> P, data: &[u8]) -> Transcript {
        let prefix = (!self.prefix.is_empty()).then(|| Operation::Feed(self.prefix.clone()));
        let operations: Vec<_> = prefix.into_iter().chain(Schedule::decode(data).into_operations()).collect();
        match aloud(|| with_context(|| self.check(&protocol, &operations, data), |text| complaint(text, data))) {
            Ok(transcript) => transcript,
            Err(text) => panic!("{}", complaint(&text, data)),
        }
    }

    fn check<P: Protocol>(
        &self,
        protocol: &impl Fn() -> P,
        operations: &[Operation],
        data: &[u8],
    ) -> Result<Transcript, String> {
        let run = self.play(protocol, operations, "");
        let again = self.play(protocol, operations, "in the very same run once more, ");
        if again.transcript != run.transcript || again.outcome != run.outcome {
            let how = "the very same run gave another conversation: it depends on more than its input";
            return Err(difference::<P>(how, &run, &again));
        }
        if self.chunking_matters || run.exhausted {
            return Ok(run.transcript);
        }
        for (how, operations) in
            [("at once", chunks::merged(operations)), ("in other pieces", chunks::cut(operations, data))]
        {
            let other = self.play(protocol, &operations, &format!("with the bytes arriving {how}, "));
            if !other.exhausted && !same_answers(&run, &other) {
                let how = format!("the same bytes, arriving {how}, gave other answers");
                return Err(difference::<P>(&how, &run, &other));
            }
        }
        Ok(run.transcript)
    }

    /// One run; should it panic, `how` says which.
    fn play<P: Protocol>(&self, protocol: &impl Fn() -> P, operations: &[Operation], how: &str) -> Run {
        let run = || {
            let run = self.played(protocol(), operations).end();
            if run.stopped_reading && !self.may_stop_reading {
                self.check_reading_goes_on(protocol(), operations);
            }
            run
        };
        with_context(run, |text| format!("{how}{text}"))
    }

    /// Looks at what comes of a run in which reading has stopped: in one of its own, so that the time that this takes
    /// does not pass in those that are compared.
    fn check_reading_goes_on(&self, protocol: impl Protocol, operations: &[Operation]) {
        let mut player = self.played(protocol, operations);
        let name = player.name();
        demand!(
            !(player.has_stopped_reading() && player.stays_so()),
            "{name} has stopped reading for good: the peer has taken everything, what timers there are have fired, and \
             input is left",
        );
    }

    fn played(&self, protocol: impl Protocol, operations: &[Operation]) -> Player {
        let mut player = Player::new(protocol, self.limits.clone(), self.budget);
        operations.iter().for_each(|operation| player.play(operation));
        player
    }
}

/// What is wrong, and how to see it again.
fn complaint(text: &str, data: &[u8]) -> String {
    /// From here on it is kept in a file by whoever found it.
    const LONG: usize = 512;
    let input = match data.len() {
        ..LONG => format!("b\"{}\"", data.escape_ascii()),
        len => format!("these {len} bytes: {}", Escaped(data)),
    };
    format!("{text}\n\nto see it again, run it on {input}")
}

/// Whether two runs differ in nothing but the pieces in which bytes arrived.
fn same_answers(one: &Run, other: &Run) -> bool {
    /// How many bytes were there when a limit was hit depends on the pieces.
    fn kind(reason: &str) -> impl Iterator<Item = char> {
        reason.chars().filter(|char| !char.is_ascii_digit())
    }
    answers(&one.transcript) == answers(&other.transcript)
        && one.outcome.notes == other.outcome.notes
        && kind(&one.outcome.close_reason).eq(kind(&other.outcome.close_reason))
}

fn difference<P>(how: &str, one: &Run, other: &Run) -> String {
    let (sent, others) = (&one.outcome.sent, &other.outcome.sent);
    let common = sent.iter().zip(others).take_while(|(a, b)| a == b).count();
    let first = if sent == others {
        "not in what was sent, but in when, in the notes, or in the close reason".to_owned()
    } else {
        format!("at byte {common} of what was sent")
    };
    format!(
        "{}: {how}. They differ {first}.\n\none conversation, noting {:?}:\n{}\nthe other, noting {:?}:\n{}",
        type_name::<P>(),
        one.outcome.notes,
        one.transcript,
        other.outcome.notes,
        other.transcript,
    )
}

/// Makes a cargo-fuzz target of any protocol.
///
/// The fuzz crate needs `libfuzzer-sys`, and the target is two lines:
///
/// ```text
/// #![no_main]
/// switchboard::fuzz_protocol!(MyProtocol::new());
/// ```
///
/// `cargo fuzz run` with a dictionary of the protocol's words, and a corpus of captures or of a
/// [`FlightRecorder`](crate::testkit::FlightRecorder)'s files, begins where users are.
/// [`replay_seeds`](crate::testkit::replay_seeds) runs the corpus in a plain test.
///
/// What comes behind the protocol are settings of [`Fuzz`](crate::testkit::Fuzz), by name:
///
/// ```text
/// switchboard::fuzz_protocol!(MyProtocol::new(), prefix = b"HELLO\r\n", limits = Limits { … }, chunking_matters);
/// ```
///
/// The expression is evaluated for each run, so that every connection has a protocol of its own.
#[macro_export]
macro_rules! fuzz_protocol {
    ($protocol:expr $(, $setting:ident $(= $value:expr)?)* $(,)?) => {
        ::libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            $crate::testkit::Fuzz::new()$(.$setting($($value)?))*.run(|| $protocol, data);
        });
    };
}
