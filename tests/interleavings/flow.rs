//! One connection: backpressure, pausing, ends, switches.

use std::rc::Rc;

use switchboard::testkit;
use switchboard::testkit::{MemoryDriver, Network};

use crate::actor::{Actor, Reactions};
use crate::explorer::Choice::*;
use crate::explorer::{Choice, Script, explore, replay};
use crate::notes::Notes;
use crate::side::Side;
use crate::world::{World, tiny};

/// One connection that listens to `reactions`, in a world that does `actions`. Its window is closed
/// from the beginning if `shut`.
pub(crate) fn run<const D: bool>(
    network: (MemoryDriver<D>, Network),
    script: &Rc<Script>,
    actions: &[Choice],
    reactions: Reactions,
    shut: bool,
) {
    let mut world = World::new(network, script, tiny());
    let notes = Notes::default();
    let actor = Actor::new(script, reactions, &notes);
    let peer = world.accept(actor, shut);
    world.sides.push(Side::new(Some(peer), &notes).shut(shut));
    world.turn();
    world.explore(actions, act);
    world.end();
}

pub(crate) fn act<const D: bool>(world: &mut World<D>, choice: Choice) {
    let World { sides, network, .. } = world;
    if sides[0].act(choice, network) {
        return;
    }
    let id = world.sides[0].notes.borrow().id;
    match choice {
        Letter => {
            let notes = world.sides[0].notes.clone();
            notes.post(|id, message| world.core().post(id, message));
        }
        CloseIt | AbortIt => {
            world.cut_all();
            let Some(id) = id else { return };
            if choice == CloseIt { world.core().close(id) } else { world.core().abort(id) }
        }
        _ => unreachable!("{choice:?} is nothing of this world's"),
    }
}

const BACKPRESSURE: &[Choice] = &[Byte, Flood, Shut, Crack, Gap, Open, CutWrite, BlockWrite, Letter, Later];
const PRESSED: Reactions = Reactions {
    data: &[Usual, Shout, AwaitDrain, One, Choke],
    drain: &[Usual, Shout, AwaitDrain],
    message: &[Usual, Shout, AwaitDrain],
    ..Reactions::USUAL
};

#[test]
fn backpressure() {
    explore("backpressure", 4, |script| run(testkit::network(), script, BACKPRESSURE, PRESSED, true));
}

#[test]
fn backpressure_where_readiness_ends_at_would_block() {
    explore("backpressure until it would block", 3, |script| {
        run(testkit::network_until_would_block(), script, BACKPRESSURE, PRESSED, true);
    });
}

const READING: &[Choice] = &[Byte, Flood, End, CutRead, BlockRead, Stale, Later];
const READER: Reactions = Reactions {
    data: &[Usual, One, Most, Leave, Pause, PauseLeaving, Blink],
    eof: &[Usual, Shout, Ignore, Close],
    timer: &[Usual, Pause, Shout],
    ..Reactions::USUAL
};

#[test]
fn reading() {
    explore("reading", 4, |script| run(testkit::network(), script, READING, READER, false));
}

#[test]
fn reading_where_readiness_ends_at_would_block() {
    explore("reading until it would block", 3, |script| {
        run(testkit::network_until_would_block(), script, READING, READER, false);
    });
}

const ENDING: &[Choice] = &[Flood, End, Reset, Crack, Open, Stale, Bygone, CloseIt, AbortIt, Later, Letter, Shutdown];
const ENDER: Reactions = Reactions {
    open: &[Usual, Shout, Close, Fail, Finish],
    data: &[Usual, Leave, Shout, Finish, Close, Abort, Fail],
    eof: &[Usual, Ignore, Close, Fail],
    timer: &[Usual, Close],
    drain: &[Usual, Close, Finish],
    message: &[Usual, Close, Abort, Fail],
    shutdown: &[Usual, Shout, Finish, Ignore],
};

#[test]
fn ending() {
    explore("ending", 3, |script| run(testkit::network(), script, ENDING, ENDER, true));
}

const SWITCHING: &[Choice] = &[Byte, Flood, End, Crack, Open, Letter, Later, Shutdown];
const SWITCHER: Reactions = Reactions {
    open: &[Usual, Shout, Pause, Switch],
    data: &[Usual, Shout, PauseLeaving, Switch, SwitchOne, SwitchPaused],
    eof: &[Usual, Switch, SwitchPaused],
    timer: &[Usual, Switch],
    drain: &[Usual, Switch],
    message: &[Usual, Switch],
    shutdown: &[Usual, Switch],
};

#[test]
fn switching() {
    explore("switching", 3, |script| run(testkit::network(), script, SWITCHING, SWITCHER, true));
}

/// A protocol that took over and paused in its `on_open` was called with what was unread all the same.
#[test]
fn who_takes_over_and_pauses_is_not_called() {
    let story = [Usual, Turn, Byte, Turn, Switch, Pause];
    replay(&story, |script| run(testkit::network(), script, SWITCHING, SWITCHER, true));
}
