//! One connection whose protocol is inside layers.

use std::rc::Rc;

use switchboard::testkit;
use switchboard::{Context, Failure, Inner, Input, Layer, Layered, Protocol};

use crate::actor::{Actor, Reactions};
use crate::explorer::Choice::*;
use crate::explorer::{Choice, Script, explore, replay};
use crate::flow::act;
use crate::notes::Notes;
use crate::side::Side;
use crate::world::{World, tiny};

const MASK: u8 = 0x55;
const GREETING: &[u8] = b"?";

/// Changes every byte. If it is to be greeted, its inner protocol is opened after the first byte.
struct Mask {
    greeted: bool,
}

impl<P: Protocol> Layer<P> for Mask {
    const SEALS: bool = true;

    fn on_open(&mut self, cx: &mut Context<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        if self.greeted { inner.on_open(cx) } else { Ok(()) }
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        if !self.greeted {
            self.greeted = true;
            assert_eq!(input.take(GREETING.len()), GREETING);
            inner.on_open(cx)?;
        }
        let bytes = input.take_all();
        bytes.iter_mut().for_each(|byte| *byte ^= MASK);
        inner.feed(cx, bytes)
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, _: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        inner.feed_eof(cx)
    }

    fn seal(&mut self, cx: &mut Context<'_>, plain: &mut [u8]) -> Result<(), Failure> {
        plain.iter_mut().for_each(|byte| *byte ^= MASK);
        cx.send(plain);
        Ok(())
    }

    fn can_seal(&self) -> bool {
        self.greeted
    }
}

/// Leaves everything to its inner protocol.
struct Pass;

impl<P: Protocol> Layer<P> for Pass {}

fn run<P: Protocol>(script: &Rc<Script>, reactions: Reactions, mask: u8, greeting: &[u8], wrap: fn(Actor) -> P) {
    let mut world = World::new(testkit::network(), script, tiny());
    let notes = Notes::default();
    let peer = world.accept(wrap(Actor::new(script, reactions, &notes)), true);
    world.sides.push(Side::new(Some(peer), &notes).shut(true).masked(mask, greeting));
    world.turn();
    world.explore(ACTIONS, act);
    world.end();
}

const ACTIONS: &[Choice] = &[Byte, Flood, End, Crack, Open, Letter, Later, Shutdown];
const REACTIONS: Reactions = Reactions {
    open: &[Usual, Shout, Pause, Switch],
    data: &[
        Usual,
        One,
        Most,
        Leave,
        Shout,
        AwaitDrain,
        PauseLeaving,
        Choke,
        Switch,
        SwitchOne,
        SwitchPaused,
        Finish,
        Close,
    ],
    eof: &[Usual, Ignore, Switch, SwitchPaused],
    timer: &[Usual, Switch],
    drain: &[Usual, Shout, Switch],
    message: &[Usual, Switch],
    shutdown: &[Usual, Finish],
};

#[test]
fn inside_a_layer_that_seals() {
    explore("inside a layer that seals", 3, |script| {
        run(script, REACTIONS, MASK, b"", |actor| Layered::new(Mask { greeted: true }, actor));
    });
}

#[test]
fn inside_a_layer_with_a_handshake() {
    explore("inside a layer with a handshake", 3, |script| {
        run(script, REACTIONS, MASK, GREETING, |actor| Layered::new(Mask { greeted: false }, actor));
    });
}

#[test]
fn inside_a_layer_that_leaves_the_bytes_alone() {
    explore("inside a layer that leaves the bytes alone", 3, |script| {
        run(script, REACTIONS, 0, b"", |actor| Layered::new(Pass, actor));
    });
}

#[test]
fn inside_two_layers() {
    explore("inside two layers", 3, |script| {
        run(script, REACTIONS, MASK, b"", |actor| Layered::new(Pass, Layered::new(Mask { greeted: true }, actor)));
    });
}

/// A protocol that took over from one that had consumed everything was offered nothing.
#[test]
fn who_takes_over_is_not_called_with_nothing() {
    replay(&[Usual, Turn, Byte, Turn, SwitchOne], |script| {
        run(script, REACTIONS, 0, b"", |actor| Layered::new(Pass, actor));
    });
}

/// What was unread was offered to the protocol that took over, and then once more.
#[test]
fn who_takes_over_is_offered_the_rest_once() {
    replay(&[Usual, Turn, Flood, Turn, Usual, Turn, Switch, Usual, One], |script| {
        run(script, REACTIONS, MASK, b"", |actor| Layered::new(Mask { greeted: true }, actor));
    });
}

/// What the protocol before waited for held the rest back from the one that took over.
#[test]
fn who_takes_over_waits_for_nothing() {
    replay(&[Usual, Turn, Byte, Turn, Leave, Letter, Turn, Switch], |script| {
        run(script, REACTIONS, MASK, b"", |actor| Layered::new(Mask { greeted: true }, actor));
    });
}

/// Who took over from one that had just taken over was read for before it was offered the rest, and
/// then called with nothing.
#[test]
fn who_takes_over_after_another_is_not_called_with_nothing() {
    replay(&[Usual, Turn, Flood, Turn, Usual, Turn, Switch, Usual, SwitchOne, Usual, Turn, SwitchOne], |script| {
        run(script, REACTIONS, 0, b"", |actor| Layered::new(Pass, actor));
    });
}

/// Who took over, paused, and was told that the loop drains, was told again when it resumed.
#[test]
fn who_takes_over_and_pauses_is_told_of_the_drain_once() {
    replay(&[Switch, Pause, Turn, Shutdown, Turn, Finish], |script| {
        run(script, REACTIONS, MASK, b"", |actor| Layered::new(Mask { greeted: true }, actor));
    });
}
