//! Whether a protocol behaves on a session over UDP as it should on any.

use std::any::type_name;
use std::time::Duration;

use super::conformance::blame;
use super::session_trial::{Budget, Delivery, Outcome, SessionTrial};
use super::trial::{Trial, aloud, demand, fail, with_context};
use super::{Conformance, Operation, Schedule, Transcript};
use crate::{Limits, Protocol};

/// Checks of a protocol on a session over UDP, with settings: see [`check_session_conformance`] and [`fuzz_session`].
///
/// ```
/// use switchboard::testkit::SessionCheck;
/// use switchboard_echo::TcpEcho;
///
/// let transcript = SessionCheck::new().fuzz(|| TcpEcho, b"one\xf6ftwo\xf6a\x05\xf6x");
/// assert_eq!(transcript.to_string(), r#"
/// 0.000s → "one"
/// 0.000s ← "one"
/// 0.000s → "two"
/// 0.000s ← "two"
/// 1.000s → refused
/// 1.000s closed: connection broke: connection refused, 0 bytes unsent
/// "#.trim_start());
/// ```
#[derive(Clone, Debug)]
pub struct SessionCheck {
    limits: Limits,
    batches_matter: bool,
    budget: Budget,
}

/// Plays what happens to a session with a protocol in every way in which it could reach it: see
/// [`SessionCheck::conformance`].
///
/// ```
/// use switchboard::testkit::{Operation, check_session_conformance};
/// use switchboard_echo::TcpEcho;
///
/// let datagrams = ["one", "two", ""].map(|payload| Operation::Feed(payload.into()));
/// println!("{}", check_session_conformance(|| TcpEcho, datagrams));
/// ```
///
/// # Panics
///
/// At the first deviation, which it tells.
#[track_caller]
pub fn check_session_conformance<P: Protocol>(
    protocol: impl Fn() -> P,
    operations: impl IntoIterator<Item = Operation>,
) -> Conformance {
    SessionCheck::new().conformance(protocol, operations)
}

/// Runs a protocol on a session through whatever `data` stands for: see [`SessionCheck::fuzz`].
///
/// # Panics
///
/// If the protocol does, or if something does not hold.
#[track_caller]
pub fn fuzz_session<P: Protocol>(protocol: impl Fn() -> P, data: &[u8]) -> Transcript {
    SessionCheck::new().fuzz(protocol, data)
}

impl Default for SessionCheck {
    fn default() -> Self {
        Self::new()
    }
}

impl SessionCheck {
    /// The limits of [`Script::narrow_limits`](super::Script::narrow_limits) with room for output: 128 KiB of waiting
    /// output are the high-water mark, 256 KiB the socket's queue. A week of virtual time, and no more than 10,000
    /// deadlines on the way.
    #[must_use]
    pub fn new() -> Self {
        const KIB: usize = 1024;
        let limits = Limits { high_water: 128 * KIB, low_water: 32 * KIB, ..Trial::limits() };
        let budget = Budget { time: Duration::from_secs(7 * 24 * 60 * 60), stops: 10_000 };
        Self { limits, batches_matter: false, budget }
    }

    /// Runs within these limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Does not demand the same answers where datagrams come in one turn: for protocols that gather what comes of a
    /// turn by a timer without delay.
    #[must_use]
    pub fn batches_matter(mut self) -> Self {
        self.batches_matter = true;
        self
    }

    /// Plays what happens to a session with a protocol in every way in which it could reach it, and panics where the
    /// protocol does not behave as it should. Of the [`Operation`]s [`Feed`](Operation::Feed) is one datagram,
    /// [`Window`](Operation::Window) a number of them, [`Reset`](Operation::Reset) an ICMP refusal, and those of a stream
    /// alone do nothing.
    ///
    /// First each datagram comes in a turn of its own. Then it must come to the same datagrams at the same times, the
    /// same [notes](super::note) and close reason
    ///
    /// - once more: a protocol has no clock and no dice of its own;
    /// - with datagrams that follow each other in one turn, and where the loop reads one a turn;
    /// - where the system takes what is sent only when a step has come to rest;
    /// - on a bound socket, if a datagram comes first (and no refusal, which there is nobody's end).
    ///
    /// After each operation it breaks off: the peer's system refuses; the session is closed, and cut off; the loop drains;
    /// nothing happens but time passing.
    ///
    /// Last the session is flooded, with the last datagram and with empty and garbled ones, by a peer whose system takes
    /// the answers, and does not, and while others hold all the memory of the loop: no more may be held than
    /// [`Limits::loop_memory`] says.
    ///
    /// In all runs: no panic, no spin, `on_close` exactly once and last, no lost `on_drain`, and at the end no session,
    /// timer, byte or message that is left.
    ///
    /// What a protocol understood is compared only if it says it: by what it sends, or by [`note`](super::note). One that
    /// says nothing at all does not pass.
    ///
    /// # Panics
    ///
    /// At the first deviation, which it tells.
    #[track_caller]
    pub fn conformance<P: Protocol>(
        &self,
        protocol: impl Fn() -> P,
        operations: impl IntoIterator<Item = Operation>,
    ) -> Conformance {
        let operations: Vec<Operation> = operations.into_iter().collect();
        let mut done = Conformance::default();
        aloud(|| {
            with_context(
                || {
                    let (_, outcome) = self.compare_all(&protocol, &operations, &mut done);
                    let silent = outcome.sent.is_empty() && outcome.notes.is_empty();
                    demand!(!silent, "it sends nothing and notes nothing, so nothing can be compared");
                    done.input = fed(&operations).map(<[u8]>::len).sum();
                    done.output = outcome.sent.iter().map(|(_, payload)| payload.len()).sum();
                    done.notes = outcome.notes.len();
                    self.break_off(&protocol, &operations, &mut done);
                    self.flood(&protocol, &operations, &mut done);
                },
                |text| blame(type_name::<P>(), text),
            );
        });
        done
    }

    /// Runs a protocol through whatever `data` stands for, a [`Schedule`] in the sense of
    /// [`conformance`](Self::conformance), and compares the ways in which that could reach it, as is done there. Gives
    /// what happened. [`fuzz_session!`](crate::fuzz_session) makes a target of it for cargo-fuzz.
    ///
    /// # Panics
    ///
    /// If the protocol does, or if something does not hold.
    #[track_caller]
    pub fn fuzz<P: Protocol>(&self, protocol: impl Fn() -> P, data: &[u8]) -> Transcript {
        let operations = Schedule::decode(data).into_operations();
        let check = || self.compare_all(&protocol, &operations, &mut Conformance::default()).0;
        let complaint = |text: &str| {
            format!("{}: {text}\n\nto see it again, run it on b\"{}\"", type_name::<P>(), data.escape_ascii())
        };
        aloud(|| with_context(check, complaint))
    }

    /// Every delivery that must come to the same.
    fn compare_all<P: Protocol>(
        &self,
        protocol: &impl Fn() -> P,
        operations: &[Operation],
        done: &mut Conformance,
    ) -> (Transcript, Outcome) {
        let (transcript, outcome, complete) = self.play(protocol(), operations, Delivery::Apart, done);
        let has_windows = operations.iter().any(|operation| matches!(operation, Operation::Window(_)));
        let refused = operations.iter().any(|operation| matches!(operation, Operation::Reset));
        let feeds_first = matches!(operations.first(), Some(Operation::Feed(_)));
        for (delivery, applies) in [
            (Delivery::Apart, true),
            (Delivery::Together, complete && !self.batches_matter && !has_windows),
            (Delivery::OneATurn, complete && !self.batches_matter && !has_windows),
            (Delivery::TakenLater, complete && !has_windows),
            (Delivery::Accepted, complete && feeds_first && !refused),
        ] {
            if !applies {
                continue;
            }
            let (other_transcript, other, other_complete) = self.play(protocol(), operations, delivery, done);
            if complete == other_complete && outcome != other {
                let how = delivery.in_words();
                fail(format!(
                    "it comes to something else with {how}\n\nfirst, noting {:?}:\n{transcript}\nthen, noting {:?}:\n\
                     {other_transcript}",
                    outcome.notes, other.notes
                ));
            }
        }
        (transcript, outcome)
    }

    fn play<P: Protocol>(
        &self,
        protocol: P,
        operations: &[Operation],
        delivery: Delivery,
        done: &mut Conformance,
    ) -> (Transcript, Outcome, bool) {
        let (first, rest) = match operations.split_first() {
            Some((Operation::Feed(first), rest)) if delivery == Delivery::Accepted => (Some(&first[..]), rest),
            _ => (None, operations),
        };
        let mut limits = self.limits.clone();
        if delivery == Delivery::OneATurn {
            limits.datagrams_per_turn = 1;
        }
        let run = || {
            let mut trial = SessionTrial::new(protocol, limits, self.budget, first);
            let complete = trial.play(rest, delivery);
            (trial.callbacks(), trial.end(), complete)
        };
        let (callbacks, (transcript, outcome), complete) =
            with_context(run, |text| format!("{text}\n  delivery: {}", delivery.in_words()));
        done.runs += 1;
        done.callbacks += callbacks;
        (transcript, outcome, complete)
    }

    /// Every ending after each operation.
    fn break_off<P: Protocol>(&self, protocol: &impl Fn() -> P, operations: &[Operation], done: &mut Conformance) {
        const PATIENCE: Duration = Duration::from_secs(60 * 60);
        let shutdown = Operation::Shutdown(PATIENCE);
        let endings = [None, Some(Operation::Reset), Some(Operation::Close), Some(Operation::Abort), Some(shutdown)];
        for (after, ending) in (0..=operations.len()).flat_map(|after| endings.iter().map(move |it| (after, it))) {
            let how = ending.as_ref().map_or("silence".to_owned(), ToString::to_string);
            let run = || {
                let mut trial = SessionTrial::new(protocol(), self.limits.clone(), self.budget, None);
                trial.play(&operations[..after], Delivery::Apart);
                trial.play(ending.as_slice(), Delivery::Apart);
                let callbacks = trial.callbacks();
                trial.end();
                callbacks
            };
            done.callbacks += with_context(run, |text| format!("{text}\n  after {after} operations: {how}"));
            done.runs += 1;
        }
    }

    /// More than anybody should keep.
    fn flood<P: Protocol>(&self, protocol: &impl Fn() -> P, operations: &[Operation], done: &mut Conformance) {
        let last = operations.iter().rposition(|operation| matches!(operation, Operation::Feed(_)));
        let before = &operations[..last.unwrap_or(operations.len())];
        let input = fed(operations).last().unwrap_or_default().to_vec();
        let mut garbled = input.clone();
        if let Some(middle) = garbled.get_mut(input.len() / 2) {
            *middle ^= 0x55;
        }
        for payload in [input, garbled, vec![], vec![0xff; 1200]] {
            for how in [Flood::Taken, Flood::NotTaken, Flood::Full] {
                let run = || {
                    let mut trial = SessionTrial::new(protocol(), self.limits.clone(), self.budget, None);
                    trial.play(before, Delivery::Apart);
                    how.pour(trial, &payload, self.limits.loop_memory)
                };
                done.callbacks += with_context(run, |text| {
                    format!("{text}\n  a flood of datagrams of {} bytes {}", payload.len(), how.in_words())
                });
                done.runs += 1;
            }
        }
    }
}

/// A way to be flooded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flood {
    Taken,
    NotTaken,
    /// Others hold all the memory of the loop: whatever the protocol declares beyond what it had is too much.
    Full,
}

impl Flood {
    fn in_words(self) -> &'static str {
        match self {
            Self::Taken => "whose answers are taken",
            Self::NotTaken => "whose answers are not taken",
            Self::Full => "whose answers are taken, while others hold all the memory of the loop",
        }
    }

    /// Pours twice as much as the loop may hold, or as many datagrams as show it, and says how many callbacks there were.
    fn pour(self, mut trial: SessionTrial, payload: &[u8], loop_memory: usize) -> u64 {
        /// Datagrams that come at once, and how often.
        const BLOCK: usize = 64;
        const BLOCKS: usize = 64;
        match self {
            Self::Taken => {}
            Self::NotTaken => trial.take_nothing(),
            Self::Full => trial.fill_memory(),
        }
        let enough = (2 * loop_memory).div_ceil(payload.len().max(1) * BLOCK);
        for _ in 0..enough.min(BLOCKS) {
            if trial.is_open() {
                trial.feed(&[payload; BLOCK]);
                trial.forget();
            }
        }
        let callbacks = trial.callbacks();
        trial.end();
        callbacks
    }
}

/// What the peer sends, by datagram.
fn fed(operations: &[Operation]) -> impl Iterator<Item = &[u8]> {
    operations.iter().filter_map(|operation| match operation {
        Operation::Feed(payload) => Some(&payload[..]),
        _ => None,
    })
}

/// Makes a cargo-fuzz target of any protocol on a session over UDP: see
/// [`fuzz_session`](crate::testkit::fuzz_session).
///
/// ```text
/// #![no_main]
/// switchboard::fuzz_session!(MyProtocol::new());
/// ```
///
/// What comes behind the protocol are settings of [`SessionCheck`](crate::testkit::SessionCheck), by name.
#[macro_export]
macro_rules! fuzz_session {
    ($protocol:expr $(, $setting:ident $(= $value:expr)?)* $(,)?) => {
        ::libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            $crate::testkit::SessionCheck::new()$(.$setting($($value)?))*.fuzz(|| $protocol, data);
        });
    };
}
