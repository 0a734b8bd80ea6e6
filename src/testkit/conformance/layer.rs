//! Whether a layer lets everything through.

use std::any::type_name;
use std::time::Duration;

use super::delivery::{Delivery, Ending, How, Taken};
use super::play::play;
use super::probe::{LayerProbe, NOTE, TIMER};
use super::script::{Script, Step};
use super::{Check, Conformance, blame, compare};
use crate::testkit::trial::{Outcome, aloud, demand, fail, with_context};
use crate::{Bytes, Protocol};

/// Checks that a [layer](crate::Layer) keeps nothing from the protocol inside it, and panics where it does.
///
/// `layered` puts the layer around a probe, which is a [`Protocol`] like any other: what it is told in plain
/// bytes it does (it sends, sets timers, asks for room, pauses, switches, closes, fails), and it notes all
/// that reaches it. The same is done with the probe alone, with the layer around it and with the layer
/// twice around it: what reaches the probe, and what its peer gets, must be the same. That is so of open, data, eof,
/// its own timers, drain, message, shutdown, and close with its reason, of its pauses, and of a [switch](crate::Context::switch_to)
/// of the inner protocol, which must not lose a byte. Then all that [`check_conformance`](super::check_conformance) does
/// is done with a conversation that has all of it: so the switch is tried at every split point.
///
/// The script gives limits and the like; of its steps those that come before the conversation with the inner
/// protocol (a layer's own handshake). Where the layer transforms the bytes, [`Script::encoding`] says how.
/// The conversation takes less than three seconds of time: a layer that does something of
/// itself after a time is given longer ones.
///
/// ```
/// use switchboard::testkit::{Script, check_layer};
/// use switchboard::{Context, Failure, Inner, Layer, Layered, Protocol};
///
/// /// Says how long a connection was drained. It forgets to pass the drain on.
/// #[derive(Default)]
/// struct Drains(u32);
///
/// impl<P: Protocol> Layer<P> for Drains {
///     fn on_drain(&mut self, _: &mut Context<'_>, _: &mut Inner<P>) -> Result<(), Failure> {
///         self.0 += 1;
///         Ok(())
///     }
/// }
///
/// let check = || check_layer(|probe| Layered::new(Drains::default(), probe), &Script::new());
/// let said = std::panic::catch_unwind(check).unwrap_err().downcast::<String>().unwrap();
/// assert!(said.contains("on_drain does not reach the inner protocol"), "{said}");
/// ```
///
/// # Panics
///
/// At the first deviation, as [`check_conformance`](super::check_conformance).
#[track_caller]
pub fn check_layer<P: Protocol>(layered: impl Fn(LayerProbe) -> P, script: &Script) -> Conformance {
    let name = type_name::<P>();
    aloud(|| with_context(|| check(&layered, script), |text| blame(name, text)))
}

/// A conversation with the probe that shows whether all of something reaches it.
struct Showing {
    what: &'static str,
    plain: Script,
    taken: Taken,
    /// How it ends, if not by itself.
    ending: Option<How>,
}

fn check<P: Protocol>(layered: &impl Fn(LayerProbe) -> P, script: &Script) -> Conformance {
    let mut done = Conformance::default();
    for showing in showings() {
        let bare = show(probe(script), &settled(&showing.plain, script), &showing);
        for depth in [1, 2] {
            with_context(
                || showing.compare(&bare, &show_layered(layered, script, &showing, depth)),
                |text| format!("{text}\n  with the layer {} it", if depth == 1 { "around" } else { "twice around" }),
            );
            done.runs += 1;
        }
    }
    for depth in [1, 2] {
        let protocol = || wrapped(layered, script, depth);
        let all = Check { protocol, script: wire(&whole_conversation(), script, depth), done, fills: 0 }.run();
        done = all;
    }
    done
}

impl Showing {
    fn compare(&self, bare: &Outcome, got: &Outcome) {
        let Self { what, .. } = self;
        let head = "as it would without the layer";
        if let Some(difference) = compare::notes(&bare.notes, &got.notes) {
            let part = bare.notes.iter().zip(&got.notes).position(|(one, other)| one != other);
            let part = part.unwrap_or(bare.notes.len().min(got.notes.len()));
            match bare.notes.get(part) {
                Some(note) => {
                    fail(format!("{} does not reach the inner protocol {head} ({what})\n{difference}", event(note)))
                }
                None => fail(format!(
                    "{} reaches the inner protocol, not {head} ({what})\n{difference}",
                    event(&got.notes[part])
                )),
            }
        }
        if let Some(difference) = compare::bytes(&bare.sent, &got.sent) {
            fail(format!("what the inner protocol sends does not reach the peer {head} ({what})\n{difference}"));
        }
        demand!(bare.half_closed == got.half_closed, "the peer does not see the end of the stream {head} ({what})");
    }
}

/// The callback that a note of the probe is of.
fn event(note: &str) -> &str {
    let event = note.split_once(": ").map_or(note, |(_, event)| event);
    event.split([' ', ',', ':']).next().unwrap_or(event)
}

/// What of each event shows, one after another.
fn showings() -> Vec<Showing> {
    let second = Duration::from_secs(1);
    let say = |lines: &str| Script::new().send(lines);
    let showing = |what, plain| Showing { what, plain, taken: Taken::All, ending: None };
    let slowly = |what, plain| Showing { what, plain, taken: Taken::AfterEachStep, ending: None };
    let message = || Bytes::from_static(b"message").into();
    vec![
        showing("an open and an end", Script::new()),
        showing("lines", say("say one\nsay two\nsay ")),
        showing("a half-close", say("say one\nsay ").eof()),
        showing("a timer", say("timer\n").advance(TIMER)),
        slowly("a peer that is slow", say("fill\nsay on\n")),
        showing("a pause", say("pause\nsay one\n").send("say two\n").advance(TIMER)),
        showing("a half-close in a pause", say("pause\nsay one\n").eof().advance(TIMER)),
        showing("messages", Script::new().post(message).send("say one\n").post(message)),
        showing("a drain of the loop", say("say one\n").shutdown(second)),
        showing("a finish", say("finish\nsay nothing\n").advance(second).send("timer\n").advance(TIMER)),
        showing("a close", say("say one\nclose\nsay two\n")),
        slowly("a close with output waiting", say("say one\nclose\nsay two\n")),
        showing("an abort", say("abort\n")),
        showing("a failure", say("say one\nfail\n")),
        Showing { ending: Some(How::Reset), ..showing("a reset", say("say one\n")) },
        showing("a switch", say("say one\nswitch\nsay two\nswitch\nsay three\n")),
        showing("a switch to one around it", say("say one\nwrap\nsay two\nwrap\nsay three\n")),
        showing("a switch and a half-close", say("switch\nsay one").eof()),
        showing("a switch with a timer set", say("timer\nswitch\nsay one\n").advance(TIMER)),
        slowly("a switch with output waiting", say("fill\nswitch\nfill\nsay on\n")),
    ]
}

/// All of it in one: what it comes to is tried under every delivery.
fn whole_conversation() -> Script {
    Script::new()
        .send("say one\nswitch\nsay two\ntimer\n")
        .advance(TIMER)
        .post(|| Bytes::from_static(b"message").into())
        .send("fill\nsay three\nswitch\nsay four\npause\nsay five\n")
        .advance(TIMER)
        .send("say six\nwrap\nsay seven\nswitch\nsay eight\nsay")
}

/// A probe that fills all the room there is.
fn probe(script: &Script) -> LayerProbe {
    LayerProbe::new(script.limits.high_water)
}

/// The layer as often around the probe.
fn wrapped<P: Protocol>(layered: &impl Fn(LayerProbe) -> P, script: &Script, depth: usize) -> P {
    let inside = (1..depth).fold(probe(script), |inside, _| LayerProbe::of(layered(inside)));
    layered(inside)
}

fn show_layered<P: Protocol>(
    layered: &impl Fn(LayerProbe) -> P,
    script: &Script,
    showing: &Showing,
    depth: usize,
) -> Outcome {
    let mut outcome = show(wrapped(layered, script, depth), &wire(&showing.plain, script, depth), showing);
    if let Some(encoding) = &script.encoding {
        outcome.sent = (0..depth).fold(outcome.sent, |sent, _| (encoding.decode)()(&sent));
    }
    outcome
}

/// Plays a conversation; of the notes those of the probe are kept.
fn show(protocol: impl Protocol, script: &Script, showing: &Showing) -> Outcome {
    let ending = showing.ending.map(|how| Ending { after: script.input_len(), how });
    let delivery = Delivery { taken: showing.taken, ending, ..Delivery::default() };
    let mut outcome = play(protocol, script, &delivery).outcome;
    outcome.notes.retain(|note| note.starts_with(NOTE));
    outcome
}

/// `plain` with what else `script` says of limits and the like.
fn settled(plain: &Script, script: &Script) -> Script {
    Script { steps: plain.steps.clone(), ..script.clone() }
}

/// `plain` as it reaches a layer that is `depth` times around the probe: behind the layers' own beginnings, and encoded.
fn wire(plain: &Script, script: &Script, depth: usize) -> Script {
    (0..depth).fold(settled(plain, script), |inside, _| {
        let mut encode = script.encoding.as_ref().map(|encoding| (encoding.encode)());
        let encoded = inside.steps.iter().map(|step| match (step, &mut encode) {
            (Step::Send(bytes), Some(encode)) => Step::Send(encode(bytes)),
            (step, _) => step.clone(),
        });
        let steps = script.steps.iter().cloned().chain(encoded).collect();
        Script { steps, ..inside }
    })
}
