//! Messages between connections: in order, within limits, one visit a target and turn.

use std::cell::Cell;
use std::rc::Rc;

use switchboard::testkit::Harness;
use switchboard::{Bytes, ConnectionId, Limits, Message};

use crate::spy::{Log, Spy};
use crate::world::{World, address};

fn letter(text: &str) -> Message {
    Bytes::copy_from_slice(text.as_bytes()).into()
}

/// A connection that stands, with this protocol.
fn open(world: &mut World, spy: Spy) -> ConnectionId {
    let id = world.event_loop.connect(address(1), spy);
    world.settle();
    world.network.next_outgoing().unwrap().establish();
    world.settle();
    id
}

#[test]
fn messages_arrive_in_the_order_posted() {
    let log = Log::default();
    let mut world = World::new();
    let a = open(&mut world, Spy::new("a", &log));
    let b = open(&mut world, Spy::new("b", &log));
    log.take();
    for (to, text) in [(b, "1"), (a, "2"), (b, "3"), (a, "4")] {
        world.event_loop.core().post(to, letter(text)).unwrap();
    }
    assert_eq!(world.event_loop.core().waiting_messages(), 4);
    world.turn();
    assert_eq!(log.take(), ["b message 1", "b message 3", "a message 2", "a message 4"]);
    assert_eq!(world.event_loop.core().waiting_messages(), 0);
}

#[test]
fn a_visit_with_many_messages_writes_once() {
    let log = Log::default();
    let mut harness = Harness::new(Spy::new("it", &log).on_message(|cx, message| {
        let Message::Bytes(bytes) = message else { unreachable!() };
        cx.send(&bytes);
        Ok(())
    }));
    let (id, before) = (harness.id(), harness.peer().calls().1);
    for _ in 0..100 {
        harness.core().post(id, letter("x")).unwrap();
    }
    harness.settle();
    assert_eq!(harness.take_sent().len(), 100);
    assert_eq!(harness.peer().calls().1, before + 1);
}

#[test]
fn what_is_posted_while_messages_are_delivered_waits_for_the_next_turn() {
    let log = Log::default();
    let mut world = World::new();
    let b_id = Rc::new(Cell::new(None));
    let to = Rc::clone(&b_id);
    let a = open(
        &mut world,
        Spy::new("a", &log).on_message(move |cx, _| {
            cx.post(to.get().unwrap(), letter("from a")).unwrap();
            Ok(())
        }),
    );
    let b = open(&mut world, Spy::new("b", &log));
    b_id.set(Some(b));
    log.take();
    world.event_loop.core().post(a, letter("1")).unwrap();
    world.event_loop.core().post(b, letter("2")).unwrap();
    world.turn();
    assert_eq!(log.take(), ["a message 1", "b message 2"]);
    world.turn();
    assert_eq!(log.take(), ["b message from a"]);
}

#[test]
fn who_posts_to_itself_is_called_once_a_turn_for_ever() {
    let log = Log::default();
    let spy = Spy::new("it", &log).on_message(|cx, message| {
        let id = cx.id();
        cx.post(id, message).unwrap();
        Ok(())
    });
    let mut world = World::new();
    let id = open(&mut world, spy);
    world.event_loop.core().post(id, letter("again")).unwrap();
    log.take();
    for turn in 1..=20 {
        world.turn();
        assert_eq!(log.take(), ["it message again"], "turn {turn}");
    }
}

#[test]
fn a_full_mailbox_hands_the_message_back() {
    let log = Log::default();
    let mut harness = Harness::with_limits(Spy::new("it", &log), Limits { mailbox: 3, ..Limits::default() });
    let id = harness.id();
    for text in ["1", "2", "3"] {
        harness.core().post(id, letter(text)).unwrap();
    }
    let handed_back = harness.core().post(id, letter("4")).unwrap_err();
    assert!(matches!(handed_back, Message::Bytes(bytes) if &*bytes == b"4"));
    harness.settle();
    harness.post(letter("5")).unwrap();
    assert_eq!(log.take(), ["it open", "it message 1", "it message 2", "it message 3", "it message 5"]);
}

#[test]
fn a_target_that_has_gone_hands_the_message_back() {
    let mut harness = Harness::new(Spy::new("it", &Log::default()));
    harness.with(|cx| cx.close());
    assert!(harness.post(letter("too late")).is_err());
    let id = harness.id();
    assert!(!harness.core().is_open(id));
}

#[test]
fn what_waits_when_the_target_goes_counts_as_undelivered() {
    let log = Log::default();
    let mut harness = Harness::new(Spy::new("it", &log).on_message(|cx, _| {
        cx.close();
        Ok(())
    }));
    let id = harness.id();
    for text in ["1", "2", "3"] {
        harness.core().post(id, letter(text)).unwrap();
    }
    harness.settle();
    assert_eq!(log.take(), ["it open", "it message 1", "it close: closed by this side"]);
    assert_eq!(harness.core().counters().messages_undelivered, 2);
    assert_eq!(harness.core().waiting_messages(), 0);
}

#[test]
fn messages_wait_until_an_outgoing_connection_stands() {
    let log = Log::default();
    let mut harness = Harness::connecting(Spy::new("it", &log), Limits::default());
    let id = harness.id();
    for text in ["1", "2"] {
        harness.post(letter(text)).unwrap();
    }
    assert_eq!(log.take(), [""; 0]);
    harness.peer().establish();
    harness.settle();
    harness.core().post(id, letter("3")).unwrap();
    harness.settle();
    assert_eq!(log.take(), ["it open", "it message 1", "it message 2", "it message 3"]);
}

#[test]
fn messages_to_a_connection_that_never_stood_count_as_undelivered() {
    let log = Log::default();
    let mut harness = Harness::connecting(Spy::new("it", &log), Limits::default());
    harness.post(letter("1")).unwrap();
    harness.peer().refuse(std::io::ErrorKind::ConnectionRefused);
    harness.settle();
    assert_eq!(log.take(), ["it close: could not connect: connection refused"]);
    assert_eq!(harness.core().counters().messages_undelivered, 1);
}

#[test]
fn messages_wait_while_the_target_is_slow_and_block_later_ones() {
    let log = Log::default();
    let limits = Limits { high_water: 1000, low_water: 100, ..Limits::default() };
    let mut harness = Harness::with_limits(Spy::new("it", &log), limits);
    harness.set_window(0);
    harness.with(|cx| cx.send(&[0; 1000]));
    harness.post(letter("0")).unwrap();
    assert_eq!(log.take(), ["it open", "it message 0"], "its backlog is at the high-water mark");
    harness.with(|cx| cx.send(&[0; 1]));
    for text in ["1", "2"] {
        harness.post(letter(text)).unwrap();
    }
    assert_eq!(log.take(), [""; 0], "its backlog is above the high-water mark");
    harness.set_window(900);
    assert_eq!(log.take(), [""; 0], "101 bytes are above the low-water mark");
    harness.post(letter("3")).unwrap();
    harness.set_window(1);
    assert_eq!(log.take(), ["it message 1", "it message 2", "it message 3"]);
}

#[test]
fn messages_that_make_a_target_slow_leave_the_rest_waiting() {
    let limits = Limits { high_water: 64 << 10, low_water: 16 << 10, send_buffer: 1 << 20, ..Limits::default() };
    let spy = Spy::new("it", &Log::default()).on_message(|cx, message| {
        let Message::Bytes(bytes) = message else { unreachable!() };
        cx.send_shared(bytes);
        Ok(())
    });
    let mut harness = Harness::with_limits(spy, limits);
    let (id, chunk) = (harness.id(), Bytes::from(vec![0; 16 << 10]));
    for _ in 0..200 {
        harness.core().post(id, chunk.clone()).unwrap();
    }
    harness.settle();
    assert!(harness.is_open(), "closed: {}", harness.close_reason().unwrap());
    assert_eq!(harness.take_sent().len(), 200 * chunk.len());

    harness.set_window(0);
    for _ in 0..200 {
        harness.core().post(id, chunk.clone()).unwrap();
    }
    harness.settle();
    assert!(harness.is_open(), "closed: {}", harness.close_reason().unwrap());
    let held = harness.core().held_bytes();
    assert!(held <= (64 << 10) + chunk.len(), "{held} bytes wait: the high-water mark holds letters back");
    harness.set_window(usize::MAX);
    assert_eq!(harness.take_sent().len(), 200 * chunk.len());
}

#[test]
fn other_threads_wake_the_loop_once_however_much_they_ask() {
    let log = Log::default();
    let mut world = World::new();
    let id = open(&mut world, Spy::new("it", &log));
    let handle = world.event_loop.handle();
    for round in 1..=3 {
        for _ in 0..500 {
            handle.post(id, letter("x")).unwrap();
            handle.run(|_| ()).unwrap();
        }
        assert_eq!(world.network.wakes(), round);
        assert!(world.is_busy());
        log.take();
        world.turn();
        assert_eq!(log.len(), 500);
        assert!(!world.is_busy());
    }
}

#[test]
fn a_burst_through_a_handle_may_be_longer_than_the_mailbox() {
    let log = Log::default();
    let mut world = World::with_limits(Limits { mailbox: 10, ..Limits::default() });
    let id = open(&mut world, Spy::new("it", &log));
    let handle = world.event_loop.handle();
    for number in 0..1000 {
        handle.post(id, letter(&number.to_string())).unwrap();
    }
    log.take();
    world.settle();
    let expected: Vec<String> = (0..1000).map(|number| format!("it message {number}")).collect();
    assert_eq!(log.take(), expected);
}

#[test]
fn a_listener_takes_no_messages() {
    let mut world = World::new();
    let listener = world.listen(|| Spy::new("it", &Log::default()));
    assert!(world.event_loop.core().post(listener, letter("x")).is_err());
}

#[test]
fn on_close_can_post_to_others() {
    let log = Log::default();
    let mut world = World::new();
    let heir = open(&mut world, Spy::new("heir", &log));
    let dying =
        open(&mut world, Spy::new("dying", &log).on_close(move |cx, _| cx.post(heir, letter("all is yours")).unwrap()));
    log.take();
    world.event_loop.core().close(dying);
    world.settle();
    assert_eq!(log.take(), ["dying close: closed by this side", "heir message all is yours"]);
}

#[test]
fn a_switch_leaves_the_messages_behind_it_to_the_next_protocol() {
    let log = Log::default();
    let next = log.clone();
    let mut harness = Harness::new(Spy::new("old", &log).on_message(move |cx, _| {
        cx.switch_to(Spy::new("new", &next));
        Ok(())
    }));
    let id = harness.id();
    for text in ["1", "2", "3"] {
        harness.core().post(id, letter(text)).unwrap();
    }
    harness.settle();
    assert_eq!(
        log.take(),
        [
            "old open",
            "old message 1",
            "old close: another protocol took over",
            "new open",
            "new message 2",
            "new message 3"
        ]
    );
}

#[test]
fn a_value_of_the_programs_own_arrives_as_it_was() {
    let seen = Rc::new(Cell::new(0));
    let sink = Rc::clone(&seen);
    let mut harness = Harness::new(Spy::new("it", &Log::default()).on_message(move |_, message| {
        sink.set(message.downcast::<u64>().expect("a u64"));
        Ok(())
    }));
    harness.post(Message::user(42_u64)).unwrap();
    assert_eq!(seen.get(), 42);
}

#[test]
fn what_was_asked_for_behind_a_closure_that_panics_is_still_done() {
    let mut world = World::new();
    let (handle, (noted, notes)) = (world.event_loop.handle(), std::sync::mpsc::channel());
    let ask = |number: u32| {
        let noted = noted.clone();
        handle.run(move |_| if number == 1 { panic!("planted") } else { noted.send(number).unwrap() }).unwrap();
    };
    (0..4).for_each(ask);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.turn()));
    assert!(caught.is_err());
    ask(4);
    world.settle();
    ask(5);
    world.settle();
    assert_eq!(notes.try_iter().collect::<Vec<_>>(), [0, 2, 3, 4, 5]);
}
