//! Everything that can be done with topics, in any order, also by those who are being handed something.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use switchboard::testkit::Peer;
use switchboard::{Bytes, ConnectionId, Context, Failure, Limits, Message, Publication, Slow};

use crate::common::Sequence;
use crate::spy::{Log, Spy};
use crate::world::{World, address, millis};

const TOPICS: [&str; 3] = ["a", "b", "c"];
const KIB: usize = 1024;

/// What all of them share: where their choices come from, and the number of the next publication.
struct Fate {
    sequence: Sequence,
    next: u64,
    handed_over: u64,
}

/// What a subscriber knows of its own subscriptions: what came last, by key.
type Known = BTreeMap<&'static str, BTreeMap<Option<u64>, u64>>;

fn subscriber(log: &Log, fate: &Rc<RefCell<Fate>>) -> Spy {
    let (known, shared) = (Rc::new(RefCell::new(Known::new())), Rc::clone(fate));
    let (inside, log) = (Rc::clone(&known), log.clone());
    let act = move |cx: &mut Context<'_>| act(cx, &log, &shared, &mut known.borrow_mut());
    let (act, fate) = (Rc::new(act), Rc::clone(fate));
    let (opened, told) = (Rc::clone(&act), Rc::clone(&act));
    Spy::new("it", &Log::default()).on_open(move |cx| opened(cx)).on_message(move |cx, message| {
        if let Message::Published(publication) = &message {
            heard(&mut inside.borrow_mut(), publication);
            fate.borrow_mut().handed_over += 1;
            cx.send_shared(publication.payload().clone());
        }
        let acts = fate.borrow_mut().sequence.below(4) == 0;
        if acts { told(cx) } else { Ok(()) }
    })
}

/// It comes in order, and not without a subscription.
fn heard(known: &mut Known, publication: &Publication) {
    let last = known.get_mut(publication.topic()).expect("nothing comes after the end");
    let number = u64::from_le_bytes(publication.payload()[..8].try_into().unwrap());
    let before = last.insert(publication.key(), number);
    assert!(before.is_none_or(|before| before < number), "{number} after {before:?}");
}

/// Something at random.
fn act(cx: &mut Context<'_>, log: &Log, fate: &Rc<RefCell<Fate>>, known: &mut Known) -> Result<(), Failure> {
    let (choice, topic, waiting) = {
        let sequence = &mut fate.borrow_mut().sequence;
        (sequence.below(12), TOPICS[sequence.below(TOPICS.len())], sequence.below(5))
    };
    match choice {
        0..4 => {
            let slow = [
                Slow::DropOldest { waiting },
                Slow::DropNewest { waiting },
                Slow::KeepLatest { waiting },
                Slow::Close { waiting: 4 * waiting },
            ][choice];
            if cx.subscribe(topic, slow).is_ok() {
                known.entry(topic).or_default();
            }
        }
        4 => {
            let known = known.remove(topic).is_some();
            assert!(known || !cx.unsubscribe(topic)); // one that is to be closed has none left
            cx.unsubscribe(topic);
        }
        5 => {
            cx.unsubscribe_all();
            known.clear();
        }
        6 => publish(cx, fate, topic),
        7 if waiting == 0 => cx.close(),
        8 if waiting == 0 => cx.abort(),
        9 if waiting < 2 => cx.switch_to(subscriber(log, fate)),
        10 => {
            let id = cx.id();
            let _ = cx.post(id, Publication::new("posted", "itself").payload().clone());
        }
        _ => {}
    }
    Ok(())
}

fn publish(core: &mut switchboard::Core, fate: &Rc<RefCell<Fate>>, topic: &str) {
    let (number, key, len) = {
        let fate = &mut *fate.borrow_mut();
        fate.next += 1;
        (fate.next, fate.sequence.below(4) as u64, fate.sequence.below(4 * KIB))
    };
    let payload = Bytes::from([&number.to_le_bytes()[..], &vec![0; len]].concat());
    match key {
        0 => core.publish(topic, payload),
        key => core.publish_keyed(topic, key, payload),
    };
}

fn limits() -> Limits {
    Limits { loop_memory: 96 * KIB, high_water: 8 * KIB, low_water: 2 * KIB, subscriptions: 2, ..Limits::default() }
}

#[test]
fn whatever_happens_in_whatever_order_everything_is_counted_once() {
    let (mut delivered, mut dropped) = (0, 0);
    for seed in 0..600 {
        let fate = Fate { sequence: Sequence::new(seed), next: 0, handed_over: 0 };
        let (fate, log, mut world) = (Rc::new(RefCell::new(fate)), Log::default(), World::with_limits(limits()));
        let mut members: Vec<(ConnectionId, Peer)> = Vec::new();
        for _ in 0..150 {
            let choice = fate.borrow_mut().sequence.below(16);
            let pick = fate.borrow_mut().sequence.below(members.len().max(1));
            match (choice, members.get(pick)) {
                (0, _) if members.len() < 6 => {
                    let id = world.event_loop.connect(address(1), subscriber(&log, &fate));
                    let peer = world.network.next_outgoing().unwrap();
                    peer.establish();
                    members.push((id, peer));
                }
                (1..9, _) => publish(world.event_loop.core(), &fate, TOPICS[pick % TOPICS.len()]),
                (9, Some((id, _))) => drop(world.event_loop.core().post(*id, Bytes::from("a post"))),
                (10, Some((_, peer))) => peer.set_window(0),
                (11, Some((_, peer))) => {
                    peer.set_window(usize::MAX);
                    drop(peer.take_received());
                }
                (12, Some((id, _))) if pick == 5 => world.event_loop.core().close(*id),
                (13, _) => drop(world.event_loop.turn_within(millis(0)).unwrap()),
                _ => world.turn(),
            }
            let core = world.event_loop.core();
            let counters = core.counters();
            let known = counters.publications_delivered + counters.publications_dropped;
            let waits = (core.waiting_messages() as u64).min(counters.publications);
            assert!((counters.publications - waits..=counters.publications).contains(&known), "seed {seed}");
            assert_eq!(counters.publications_delivered, fate.borrow().handed_over, "seed {seed}");
        }
        for (id, peer) in members {
            peer.set_window(usize::MAX);
            world.event_loop.core().abort(id);
        }
        world.settle();
        world.advance(millis(60_000));
        world.assert_nothing_left();
        assert_eq!(world.event_loop.core().topics(), 0);
        let counters = world.event_loop.counters();
        assert_eq!(counters.publications, counters.publications_delivered + counters.publications_dropped);
        (delivered, dropped) = (delivered + counters.publications_delivered, dropped + counters.publications_dropped);
    }
    assert!(delivered > 5000 && dropped > 5000, "{delivered} {dropped}");
}
