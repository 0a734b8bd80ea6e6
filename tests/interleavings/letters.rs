//! Two connections that write to each other.

use std::rc::Rc;

use switchboard::testkit;

use crate::actor::{Actor, Reactions};
use crate::explorer::Choice::*;
use crate::explorer::{Choice, Script, explore};
use crate::notes::Notes;
use crate::side::Side;
use crate::world::{World, tiny};

const ACTIONS: &[Choice] = &[Byte, Letter, Open, End, CloseIt, OtherByte, OtherLetter, OtherOpen, OtherEnd, OtherReset];
const REACTIONS: Reactions = Reactions {
    data: &[Usual, Post, CloseOther, Shout, Close],
    drain: &[Usual, Post],
    message: &[Usual, Post, CloseOther, Shout, Close],
    ..Reactions::USUAL
};

fn run(script: &Rc<Script>) {
    let mut world = World::new(testkit::network(), script, tiny());
    let notes = [Notes::default(), Notes::default()];
    for (this, other) in [(0, 1), (1, 0)] {
        let actor = Actor::new(script, REACTIONS, &notes[this]).with_other(&notes[other]);
        let peer = world.accept(actor, true);
        world.sides.push(Side::new(Some(peer), &notes[this]).shut(true));
    }
    world.turn();
    world.explore(ACTIONS, act);
    world.end();
}

fn act(world: &mut World<true>, choice: Choice) {
    let side = usize::from(matches!(choice, OtherByte | OtherLetter | OtherOpen | OtherEnd | OtherReset));
    let World { sides, network, .. } = world;
    if sides[side].act(choice, network) {
        return;
    }
    let notes = world.sides[side].notes.clone();
    match choice {
        Letter | OtherLetter => notes.post(|id, message| world.core().post(id, message)),
        CloseIt => {
            notes.borrow_mut().cut = true;
            let id = notes.borrow().id;
            id.into_iter().for_each(|id| world.core().close(id));
        }
        _ => unreachable!("{choice:?} is nothing of this world's"),
    }
}

#[test]
fn two_write_to_each_other() {
    explore("two write to each other", 4, run);
}
