//! How connections come about: outgoing ones, and those that wait to be accepted.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use switchboard::driver::AcceptError;
use switchboard::testkit;
use switchboard::{EndpointId, Limits, Time};

use crate::actor::{Actor, Reactions};
use crate::explorer::Choice::*;
use crate::explorer::{Choice, Script, explore};
use crate::flow;
use crate::notes::Notes;
use crate::side::{Side, raise_stale};
use crate::world::{World, tiny};

const OUTGOING: &[Choice] = &[Establish, Refuse, Byte, End, Stale, Letter, CloseIt, AbortIt, Later, Shutdown];
const CALLER: Reactions = Reactions {
    open: &[Usual, Shout, Close, Finish],
    data: &[Usual, Close],
    message: &[Usual, Close],
    shutdown: &[Usual, Finish],
    ..Reactions::USUAL
};

fn connect(script: &Rc<Script>, delay: Duration) {
    let mut world = World::new(testkit::network(), script, tiny());
    let notes = Notes::default();
    let address = world.address();
    let id = world.event_loop.connect_after(delay, address, Actor::new(script, CALLER, &notes));
    notes.borrow_mut().id = Some(id);
    world.sides.push(Side::new(None, &notes).outgoing());
    world.explore(OUTGOING, |world, choice| {
        if choice == Refuse && world.sides[0].peer.is_none() {
            world.sides[0].notes.borrow_mut().cut = true;
            return world.network.refuse_connect(io::ErrorKind::NetworkUnreachable);
        }
        let peer = &mut world.sides[0].peer;
        *peer = peer.take().or_else(|| world.network.next_outgoing());
        if peer.is_some() || matches!(choice, Letter | CloseIt | AbortIt) {
            flow::act(world, choice);
        }
    });
    world.settle();
    if !delay.is_zero() && notes.borrow().closed == 0 && world.event_loop.core().now() < Time::ZERO + delay {
        assert!(world.network.next_outgoing().is_none(), "its time has not come");
        world.jump();
        world.settle();
    }
    world.sides[0].peer = world.sides[0].peer.take().or_else(|| world.network.next_outgoing());
    world.end();
}

#[test]
fn outgoing_connections() {
    explore("outgoing connections", 4, |script| connect(script, Duration::ZERO));
}

#[test]
fn outgoing_connections_after_a_delay() {
    explore("outgoing connections after a delay", 4, |script| connect(script, Duration::from_millis(30)));
}

const ACCEPTING: &[Choice] = &[Connect, Exhausted, Vanished, Byte, End, OtherEnd, Stale, Later, Shutdown];
const ACCEPTED: Reactions = Reactions { open: &[Usual, Close], data: &[Usual, Close], ..Reactions::USUAL };

/// Two places for whoever comes, and one accept a turn.
fn accept(script: &Rc<Script>) {
    let limits = Limits { connections: 2, accepts_per_turn: 1, ..tiny() };
    let mut world = World::new(testkit::network(), script, limits);
    let queue = Rc::new(RefCell::new(VecDeque::<Notes>::new()));
    let (address, waiting, with_script) = (world.address(), Rc::clone(&queue), Rc::clone(script));
    let next = move || Some(Actor::new(&with_script, ACCEPTED, &waiting.borrow_mut().pop_front().unwrap()));
    let listener = world.event_loop.listen(address, move |_| next()).unwrap();
    let listener = EndpointId::from(listener);
    world.explore(ACCEPTING, |world, choice| match choice {
        Connect => {
            if let Some(peer) = world.network.connect(world.address()) {
                let notes = Notes::default();
                queue.borrow_mut().push_back(notes.clone());
                world.sides.push(Side::new(Some(peer), &notes));
            }
        }
        Exhausted => world.network.fail_accept(world.address(), AcceptError::Exhausted(io::ErrorKind::Other.into())),
        Vanished => world.network.fail_accept(world.address(), AcceptError::Retry(io::ErrorKind::Other.into())),
        Stale => raise_stale(&world.network, listener.key()),
        _ => {
            let World { sides, network, .. } = world;
            if let Some(side) = sides.get_mut(usize::from(choice == OtherEnd)) {
                side.act(choice, network);
            }
        }
    });
    // In the end each has its turn: those that wait are accepted when others have gone.
    world.end();
}

#[test]
fn accepted_connections() {
    explore("accepted connections", 4, accept);
}
