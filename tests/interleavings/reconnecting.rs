//! A client that connects again by itself: its attempts, one after the other.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit;
use switchboard::{Backoff, Jitter, Reconnect, Reconnecting};

use crate::actor::{Actor, Reactions};
use crate::explorer::Choice::*;
use crate::explorer::{Choice, Script, explore};
use crate::notes::Notes;
use crate::side::Side;
use crate::world::{World, tiny};

const COMING_AND_GOING: &[Choice] =
    &[Establish, Refuse, Byte, End, Reset, Stale, Letter, CloseIt, AbortIt, Later, Shutdown];
const CALLER: Reactions = Reactions { open: &[Usual, Close, Abort], data: &[Usual, Fail], ..Reactions::USUAL };
/// Two of them: three attempts at most.
const RETRIES: u32 = 2;

/// Takes what is new of the client into the world: the attempt under way is the last of the sides.
fn catch_up(world: &mut World<true>, client: Reconnecting, made: &RefCell<Vec<Notes>>) {
    let known = world.sides.len();
    world.sides.extend(made.borrow()[known..].iter().map(|notes| Side::new(None, notes).outgoing()));
    let World { sides, network, event_loop, .. } = world;
    let present = sides.last_mut().unwrap();
    present.peer = present.peer.take().or_else(|| network.next_outgoing());
    if let Some(id) = client.connection(event_loop.core()) {
        present.notes.borrow_mut().id = Some(id);
    }
}

fn reconnect(script: &Rc<Script>) {
    let mut world = World::new(testkit::network(), script, tiny());
    let made: Rc<RefCell<Vec<Notes>>> = Rc::default();
    let over = Rc::new(Cell::new(0));
    let (with_script, noted, count) = (Rc::clone(script), Rc::clone(&made), Rc::clone(&over));
    let backoff = Backoff {
        first: Duration::from_millis(10),
        jitter: Jitter::None,
        retries: Some(RETRIES),
        ..Backoff::default()
    };
    let client = Reconnect::new(world.address(), move |_| {
        let notes = Notes::default();
        noted.borrow_mut().push(notes.clone());
        Actor::new(&with_script, CALLER, &notes)
    })
    .backoff(backoff)
    .when_over(move |_, _| count.set(count.get() + 1))
    .start(world.core());
    catch_up(&mut world, client, &made);
    world.explore(COMING_AND_GOING, |world, choice| {
        catch_up(world, client, &made);
        let notes = world.sides.last().unwrap().notes.clone();
        match choice {
            Letter => notes.post(|_, message| client.post(world.core(), message)),
            CloseIt => {
                world.cut_all();
                client.stop(world.core());
            }
            AbortIt => {
                world.cut_all();
                client.connection(world.core()).into_iter().for_each(|id| world.core().abort(id));
            }
            Refuse if world.sides.last().unwrap().peer.is_none() => {
                notes.borrow_mut().cut = true;
                world.network.refuse_connect(io::ErrorKind::NetworkUnreachable);
            }
            _ => {
                let World { sides, network, .. } = world;
                sides.last_mut().unwrap().act(choice, network);
            }
        }
    });
    world.settle();
    catch_up(&mut world, client, &made);
    world.cut_all();
    client.stop(world.core());
    world.end();
    assert_eq!(over.get(), 1, "it is over once");
    assert_eq!(client.connection(world.core()), None);
    let attempts = made.borrow().len();
    assert_eq!(attempts, world.sides.len(), "none follows the stop");
    assert!(attempts <= 1 + RETRIES as usize, "{attempts} attempts");
}

#[test]
fn attempts_follow_each_other() {
    explore("attempts that follow each other", 4, reconnect);
}
