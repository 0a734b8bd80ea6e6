//! Whether a protocol behaves the same however its conversation reaches it.

use std::any::type_name;
use std::fmt;

use crate::Protocol;
use crate::testkit::trial::{Outcome, aloud, demand, fail, with_context};

mod compare;
mod delivery;
mod flood;
mod layer;
mod play;
mod probe;
mod script;

pub use layer::check_layer;
pub use probe::LayerProbe;
pub use script::Script;

use delivery::{Delivery, How};
use play::{Run, play};
use script::Step;

/// What [`check_conformance`] has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conformance {
    /// Runs of the protocol, each with a value of its own.
    pub runs: u64,
    /// Callbacks of all runs together.
    pub callbacks: u64,
    /// Bytes of the script's input.
    pub input: usize,
    /// Bytes that the protocol answers to it.
    pub output: usize,
    /// Notes that it makes.
    pub notes: usize,
    /// Whether memory was measured, and not only what is declared looked at: see [`Script::measure_memory`].
    pub measured_memory: bool,
}

impl fmt::Display for Conformance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, callbacks, input, output, notes, measured_memory } = self;
        write!(f, "conforms: {runs} runs, {callbacks} callbacks; {input} bytes in, {output} bytes out, {notes} notes")?;
        if *measured_memory { Ok(()) } else { f.write_str("; memory not measured") }
    }
}

/// Plays a conversation with a protocol in every way in which it could reach it, and panics where
/// the protocol does not behave as it should.
///
/// `protocol` makes a new value for each run; all must be alike. First the script is played with
/// each input in one piece. Then it must come to the same output, the same [notes](super::note),
/// half-close and close reason
///
/// - with the input cut at each byte, and at each two bytes (up to 4,000 pairs; of more, 4,000 that are
///   always the same), and one byte at a time; in one go, and with [time](Script::pause) between the pieces;
/// - with reads that give one byte, and `WouldBlock` in between;
/// - if it [lends](crate::Context::lend_read_buffer) the loop a buffer to read into: with the same cuts and all of the
///   input by `on_data`;
/// - with a peer that takes the output up to each byte and the rest later, that takes it one byte at a
///   time, with `WouldBlock` in between, or that takes nothing until a step has come to rest; each of these also
///   with a [`high_water`](crate::Limits::high_water) of 32 bytes, so that [`has_room`](crate::Context::has_room) often
///   says no.
///
/// At each byte of the input the conversation breaks off: the peer half-closes, in an event of its own and in
/// that of the bytes before it, which must come to the same; it resets the connection; the loop
/// drains; nothing happens but time passing. What was sent and noted up to there must be what the
/// whole conversation began with.
///
/// Last the connection is flooded, with the script's last input and with single bytes, by a peer that reads
/// the answers and one that doesn't. No more may be held than [`Limits::loop_memory`](crate::Limits::loop_memory) says; with
/// [`Script::measure_memory`] no more may be *allocated* than that, and a MiB. (The flood is
/// of twice that, but never of more than 16 MiB, and a flood ends when its answers are four times as long. Choose `loop_memory` small.)
/// Once more it is flooded while others hold all that memory: what [`hold`](crate::Context::hold) answers then must not be ignored.
///
/// In all runs, as long as they take: no panic; no spin, which is 1,000 callbacks within a millisecond that
/// consume nothing and send nothing; `on_close` exactly once, and nothing after it; no lost `on_drain`; and at the
/// end no connection, timer, byte or message that is left. Of inputs above 2,000 bytes that many places are
/// tried, evenly.
///
/// What a protocol understood is compared only if it says it: by its output, or by [`note`](super::note). One that
/// says nothing at all does not pass.
///
/// ```
/// use switchboard::testkit::{Script, check_conformance};
/// use switchboard::{Context, Failure, Input, Protocol};
///
/// /// Answers each line with its length.
/// struct LineLength;
///
/// impl Protocol for LineLength {
///     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
///         while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
///             let line = input.take(end + 1);
///             cx.send(format!("{}\n", line.len() - 1).as_bytes());
///         }
///         Ok(())
///     }
/// }
///
/// let script = Script::new().send("four\nthree\n\n").expect_sent("4\n5\n0\n");
/// println!("{}", check_conformance(|| LineLength, &script));
/// ```
///
/// # Panics
///
/// At the first deviation. The message says what is wrong, in which delivery (how the input was cut, at which
/// byte), what was expected and what came. Runs are the same each time, so calling this again shows it again.
#[track_caller]
pub fn check_conformance<P: Protocol>(protocol: impl FnMut() -> P, script: &Script) -> Conformance {
    let name = type_name::<P>();
    aloud(|| {
        with_context(
            || Check { protocol, script: script.clone(), done: Conformance::default(), fills: 0 }.run(),
            |text| blame(name, text),
        )
    })
}

/// A complaint about a protocol, which is named once.
pub(super) fn blame(name: &str, text: &str) -> String {
    let text = text.strip_prefix(name).map_or(text, |rest| rest.trim_start_matches([',', ' ']));
    format!("{name} does not conform: {text}")
}

struct Check<F> {
    protocol: F,
    script: Script,
    done: Conformance,
    /// How often bytes were read straight into what the protocol lent.
    fills: u64,
}

impl<P: Protocol, F: FnMut() -> P> Check<F> {
    /// Everything; what is said of input and output is this script's, the rest adds up.
    fn run(mut self) -> Conformance {
        let Run { outcome: baseline, .. } = self.play(&Delivery::default());
        demand!(
            !(baseline.sent.is_empty() && baseline.notes.is_empty()),
            "it sends nothing and notes nothing, so nothing can be compared: call `note` with what it understands"
        );
        // What the author expects is settled: from here on the whole is compared.
        self.script.steps.retain(|step| !matches!(step, Step::Expect(_)));
        let input = self.script.input_len();
        (self.done.input, self.done.measured_memory) = (input, self.script.measure.is_some());
        (self.done.output, self.done.notes) = (baseline.sent.len(), baseline.notes.len());
        self.compare(&baseline, &Delivery::default()); // a protocol that differs by itself can't be compared
        for delivery in Delivery::equal_ones(input, baseline.sent.len()) {
            self.compare(&baseline, &delivery);
        }
        if self.fills > 0 {
            Delivery::copied_ones(input).for_each(|delivery| self.compare(&baseline, &delivery));
        }
        for after in delivery::places(0, input + 1) {
            self.break_off(&baseline, after);
        }
        self.flood();
        self.done
    }

    fn compare(&mut self, baseline: &Outcome, delivery: &Delivery) {
        let run = self.play(delivery);
        if let Some(difference) = compare::outcomes(baseline, &run.outcome) {
            deviates(&difference, delivery);
        }
    }

    /// Every ending after so many bytes.
    fn break_off(&mut self, baseline: &Outcome, after: usize) {
        let delivery = Delivery::ending(after, How::Eof);
        let run = self.play(&delivery);
        let sent = &run.outcome.sent[..run.sent_before];
        if !baseline.sent.starts_with(sent) {
            let difference = compare::bytes(&baseline.sent, sent).unwrap_or_default();
            deviates(
                &format!("it answers the beginning of an input otherwise than all of it\n{difference}"),
                &delivery,
            );
        }
        let notes = &run.outcome.notes[..run.notes_before.min(run.outcome.notes.len())];
        if !baseline.notes.starts_with(notes) {
            let difference = compare::notes(&baseline.notes, notes).unwrap_or_default();
            deviates(
                &format!("it understands the beginning of an input otherwise than all of it\n{difference}"),
                &delivery,
            );
        }
        if after > 0 {
            self.compare(&run.outcome, &Delivery::ending(after, How::EofAtOnce));
        }
        for how in [How::Reset, How::Shutdown, How::Silence] {
            self.play(&Delivery::ending(after, how));
        }
    }

    fn play(&mut self, delivery: &Delivery) -> Run {
        let Self { protocol, script, done, fills } = self;
        let run = with_context(
            || {
                let run = play(protocol(), script, delivery);
                flood::check_room(&run.outcome);
                run
            },
            |text| format!("{text}\n  delivery: {delivery}"),
        );
        done.runs += 1;
        done.callbacks += run.callbacks;
        *fills += run.fills;
        run
    }
}

fn deviates(difference: &str, delivery: &Delivery) -> ! {
    fail(format!("{difference}\n  delivery: {delivery}"))
}
