//! `turn_within`: a turn that is left when its time is up, and gone on with.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::{Network, Peer};
use switchboard::{
    Bytes, CloseReason, Closing, ConnectionId, Context, Failure, Input, Limits, Message, Protocol, TimerId,
};

use crate::common::Sequence;
use crate::spy::{Log, Spy};
use crate::world::{PORT, World, address, millis};

/// Every callback of it takes a millisecond.
fn slow(name: &'static str, log: &Log, network: &Network) -> Spy {
    let (data, timer, message) = (network.clone(), network.clone(), network.clone());
    Spy::new(name, log)
        .on_data(move |_, input| {
            input.take_all();
            data.advance(millis(1));
            Ok(())
        })
        .on_timer(move |_, _| {
            timer.advance(millis(1));
            Ok(())
        })
        .on_message(move |_, _| {
            message.advance(millis(1));
            Ok(())
        })
}

/// So many of them, with their ids.
fn crowd(world: &mut World, count: usize, log: &Log) -> (Vec<Peer>, Vec<ConnectionId>) {
    let (notes, network, ids) = (log.clone(), world.network.clone(), Rc::new(RefCell::new(Vec::new())));
    let opened = Rc::clone(&ids);
    world.listen(move || {
        let opened = Rc::clone(&opened);
        slow("it", &notes, &network).on_open(move |cx| {
            opened.borrow_mut().push(cx.id());
            Ok(())
        })
    });
    let peers = (0..count).map(|_| world.peer()).collect();
    log.take();
    (peers, ids.take())
}

/// Turns with this budget until nothing is left of what there was; how many calls that took.
fn finish(world: &mut World, budget: Duration) -> usize {
    (1..1000).find(|_| world.event_loop.turn_within(budget).unwrap()).expect("an end")
}

#[test]
fn it_stops_when_its_time_is_used_up_and_goes_on_where_it_stopped() {
    let (mut world, log) = (World::new(), Log::default());
    let (peers, _) = crowd(&mut world, 10, &log);
    for peer in &peers {
        peer.send(b"x");
    }
    let start = world.network.now();
    for calls in 1..=3 {
        assert!(!world.event_loop.turn_within(millis(3)).unwrap());
        assert_eq!(world.network.now(), start + calls * millis(3), "no more than the budget");
        assert_eq!(log.take(), ["it data x"; 3]);
        let due = world.event_loop.next_deadline();
        assert!(due.is_some_and(|due| due <= world.network.now()), "something is left");
    }
    assert!(world.event_loop.turn_within(millis(3)).unwrap());
    assert_eq!(log.take(), ["it data x"]);
    assert_eq!(world.event_loop.next_deadline(), None);
}

#[test]
fn without_any_time_it_makes_one_visit() {
    let (mut world, log) = (World::new(), Log::default());
    let (peers, _) = crowd(&mut world, 5, &log);
    for peer in &peers {
        peer.send(b"x");
    }
    for _ in 0..5 {
        assert!(!world.event_loop.turn_within(Duration::ZERO).unwrap());
        assert_eq!(log.take().len(), 1);
    }
    assert!(world.event_loop.turn_within(Duration::ZERO).unwrap());
    assert_eq!(log.len(), 0);
}

#[test]
fn what_is_left_goes_before_anything_new() {
    let (mut world, log) = (World::new(), Log::default());
    let (peers, _) = crowd(&mut world, 4, &log);
    for (peer, name) in peers.iter().zip(["a", "b", "c", "d"]) {
        peer.send(name.as_bytes());
    }
    assert!(!world.event_loop.turn_within(millis(1)).unwrap());
    peers[0].send(b"again");
    finish(&mut world, millis(2));
    assert_eq!(log.take(), ["it data a", "it data b", "it data c", "it data d", "it data again"]);
}

#[test]
fn a_turn_finishes_what_was_left_and_asks_for_nothing_new() {
    let (mut world, log) = (World::new(), Log::default());
    let (peers, _) = crowd(&mut world, 4, &log);
    for peer in &peers {
        peer.send(b"x");
    }
    assert!(!world.event_loop.turn_within(Duration::ZERO).unwrap());
    peers[0].send(b"y");
    world.turn();
    assert_eq!(log.take(), ["it data x"; 4]);
    world.turn();
    assert_eq!(log.take(), ["it data y"]);
}

#[test]
fn each_step_can_be_left() {
    let (mut world, log) = (World::new(), Log::default());
    let (peers, ids) = crowd(&mut world, 3, &log);
    for &id in &ids {
        world.event_loop.with(id, |cx| cx.set_timer(millis(5)));
    }
    world.network.advance(millis(5));
    let handle = world.event_loop.handle();
    for (&id, peer) in ids.iter().zip(&peers) {
        peer.send(b"x");
        handle.post(id, Bytes::from("m")).unwrap();
        handle.run(move |core| core.close(id)).unwrap();
    }
    let calls = finish(&mut world, Duration::ZERO);
    let visits: Vec<String> = log.take();
    assert_eq!(visits[..6], ["it data x", "it data x", "it data x", "it timer", "it timer", "it timer"]);
    // Closed behind the messages of handles, but before the round: they were not handed over.
    assert_eq!(visits[6..], ["it close: closed by this side"; 3]);
    assert_eq!(world.event_loop.counters().messages_undelivered, 3);
    assert_eq!(calls, 3 + 3 + 6 + 3 + 3 + 1, "reads, timers, requests, commands, the round, and one for the end");
}

#[test]
fn letters_arrive_in_order_one_round_after_the_other() {
    let (mut world, log) = (World::new(), Log::default());
    let (_, ids) = crowd(&mut world, 3, &log);
    for round in ["1", "2"] {
        for &id in &ids {
            world.event_loop.core().post(id, Bytes::from(round)).unwrap();
        }
    }
    assert!(!world.event_loop.turn_within(Duration::ZERO).unwrap(), "a visit to the first");
    assert_eq!(log.take(), ["it message 1", "it message 2"]);
    world.event_loop.core().post(ids[0], Bytes::from("3")).unwrap();
    world.event_loop.core().post(ids[2], Bytes::from("3")).unwrap();
    finish(&mut world, Duration::ZERO);
    let rest = ["it message 1", "it message 2", "it message 1", "it message 2", "it message 3", "it message 3"];
    assert_eq!(log.take(), rest, "the last two on a round of their own");
    assert_eq!(world.event_loop.core().waiting_messages(), 0);
}

#[test]
fn who_goes_while_a_turn_is_left_is_not_visited_and_who_comes_has_its_turn() {
    let (mut world, log) = (World::new(), Log::default());
    let (peers, ids) = crowd(&mut world, 4, &log);
    for peer in &peers {
        peer.send(b"x");
    }
    assert!(!world.event_loop.turn_within(Duration::ZERO).unwrap());
    world.event_loop.with(ids[1], |cx| cx.abort());
    let fifth = world.network.connect(address(PORT)).unwrap(); // takes the second's place in the slab
    fifth.send(b"y");
    finish(&mut world, Duration::ZERO);
    finish(&mut world, Duration::ZERO);
    let notes = log.take();
    let ends = ["it data x", "it close: aborted by this side, 0 bytes unsent", "it data x", "it data x"];
    assert_eq!(notes[..4], ends);
    assert_eq!(notes[4..], ["it open", "it data y"]);
}

#[test]
fn a_drain_says_goodbye_to_one_after_the_other() {
    let (mut world, log) = (World::new(), Log::default());
    let (peers, _) = crowd(&mut world, 3, &log);
    world.event_loop.core().shutdown(millis(100));
    // The drain begins, the listener goes, then a goodbye and an end each.
    for notes in [0, 0, 2, 2, 2] {
        assert!(!world.event_loop.turn_within(Duration::ZERO).unwrap());
        assert_eq!(log.take().len(), notes);
    }
    for peer in &peers {
        peer.finish();
    }
    finish(&mut world, Duration::ZERO);
    let tally = world.event_loop.tally().expect("all have gone");
    assert_eq!((tally.drained, tally.cut_off), (3, 0));
    world.assert_nothing_left();
}

#[test]
fn the_end_of_the_loop_finishes_a_turn_that_was_left() {
    for by_handle in [true, false] {
        let (mut world, log) = (World::new(), Log::default());
        let (_, ids) = crowd(&mut world, 3, &log);
        let handle = world.event_loop.handle();
        for &id in &ids {
            handle.post(id, Bytes::from("m")).unwrap();
        }
        if by_handle {
            handle.stop().unwrap();
            handle.post(ids[0], Bytes::from("too late")).unwrap();
        }
        assert!(!world.event_loop.turn_within(Duration::ZERO).unwrap(), "one request is served");
        if by_handle {
            finish(&mut world, Duration::ZERO);
            let tally = world.event_loop.tally().expect("it has ended");
            assert_eq!((tally.cut_off, world.event_loop.counters().messages_undelivered), (3, 4));
            assert!(world.event_loop.turn_within(Duration::ZERO).unwrap(), "and nothing follows");
        } else {
            drop(world.event_loop);
        }
        let ends = log.take();
        assert_eq!(ends.len(), 3, "{ends:?}");
        assert!(ends.iter().all(|end| end.starts_with("it close: cut off")));
    }
}

/// What a talker has heard and done, by connection.
type Transcripts = Rc<RefCell<Vec<Vec<String>>>>;

/// Answers in many ways: at once, by timers, by messages to others, paused and resumed, by closing.
struct Talker {
    at: usize,
    transcripts: Transcripts,
}

impl Talker {
    fn note(&self, what: String) {
        self.transcripts.borrow_mut()[self.at].push(what);
    }
}

impl Protocol for Talker {
    fn on_open(&mut self, _: &mut Context<'_>) -> Result<(), Failure> {
        self.note("open".into());
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while let Some(&command) = input.first() {
            if input.len() < 2 {
                return Ok(());
            }
            let piece = input.take(2);
            let number = piece[1] - b'0';
            let line = format!("data {}{number} at {}", char::from(command), cx.now());
            self.note(line);
            match command {
                b'e' => cx.send(&[b'e', piece[1]]),
                b't' => {
                    cx.set_timer(millis(number.into()));
                }
                b'm' => {
                    let id = cx.id();
                    let _ = cx.post(id, Bytes::from(format!("m{number}")));
                }
                b'p' => {
                    cx.pause_reading();
                    cx.set_timer(millis(1));
                    return Ok(());
                }
                b'y' => {
                    cx.pause_reading();
                    cx.resume_reading();
                    return Ok(());
                }
                _ => {
                    cx.send(b"bye");
                    cx.close();
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        self.note(format!("timer at {}", cx.now()));
        cx.send(b"t");
        cx.resume_reading();
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        if let Message::Bytes(bytes) = message {
            self.note(format!("message {bytes:?}"));
            cx.send(&bytes);
        }
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, reason: &CloseReason) {
        self.note(format!("close: {reason}"));
    }
}

/// A conversation of many on a small read budget; what each connection saw, and what each peer got.
fn converse(seed: u64, turn: impl Fn(&mut World)) -> (Vec<Vec<String>>, Vec<Vec<u8>>) {
    const TALKERS: usize = 8;
    let mut random = Sequence::new(seed);
    let limits = Limits { read_budget: 16, receive_buffer: 4096, accepts_per_turn: 3, ..Limits::default() };
    let mut world = World::with_limits(limits);
    let transcripts: Transcripts = Rc::new(RefCell::new(vec![Vec::new(); TALKERS]));
    let (shared, mut at) = (Rc::clone(&transcripts), 0);
    world.listen(move || {
        at += 1;
        Talker { at: at - 1, transcripts: Rc::clone(&shared) }
    });
    let peers: Vec<Peer> = (0..TALKERS).map(|_| world.network.connect(address(PORT)).unwrap()).collect();
    let rest = |world: &mut World| {
        for _ in 0..10_000 {
            if !world.is_busy() {
                return;
            }
            turn(world);
        }
        panic!("it never comes to rest");
    };
    for _ in 0..30 {
        for peer in &peers {
            if random.below(3) == 0 {
                continue;
            }
            for _ in 0..random.below(12) {
                let most = if random.below(50) == 0 { 12 } else { 11 }; // few close
                peer.send(&[b"eeeettmmpyyx"[random.below(most)], b"012345678"[random.below(9)]]);
            }
        }
        rest(&mut world);
        world.network.advance(millis(u64::try_from(random.below(4)).unwrap()));
        rest(&mut world);
    }
    for step in 0..200 {
        if step == 100 {
            peers.iter().for_each(Peer::finish);
        }
        world.network.advance(millis(10));
        rest(&mut world);
    }
    world.assert_nothing_left();
    let received = peers.iter().map(Peer::take_received).collect();
    drop(world);
    (transcripts.take(), received)
}

/// The network stands still while the loop works, so what each connection sees is the same however the work is cut.
#[test]
fn the_same_conversation_in_slices_comes_to_the_same() {
    let mut said = 0;
    for seed in 0..200 {
        let whole = converse(seed, |world| world.event_loop.turn(None).unwrap());
        let slices = converse(seed, |world| {
            world.event_loop.turn_within(Duration::ZERO).unwrap();
        });
        assert_eq!(whole, slices, "seed {seed}");
        let mixed = converse(seed, |world| {
            world.event_loop.turn_within(Duration::ZERO).unwrap();
            world.event_loop.turn(None).unwrap();
        });
        assert_eq!(whole, mixed, "seed {seed}");
        said += whole.0.iter().map(Vec::len).sum::<usize>();
    }
    assert!(said > 50_000, "{said}");
}
