//! Topics: who gets what, in which order, and until when.

mod crowd;
mod datagrams;
mod depth;
mod orders;
mod slow;

use std::cell::Cell;
use std::rc::Rc;

use switchboard::testkit::Harness;
use switchboard::{Bytes, ConnectionId, LimitExceeded, Limits, Message, Publication, Slow};

use crate::spy::{Log, Spy};
use crate::world::{World, address};

/// Subscribed to "t" from the beginning on.
fn subscriber(name: &'static str, log: &Log, slow: Slow) -> Spy {
    Spy::new(name, log).on_open(move |cx| Ok(cx.subscribe("t", slow)?))
}

fn open(world: &mut World, spy: Spy) -> ConnectionId {
    let id = world.event_loop.connect(address(1), spy);
    world.settle();
    world.network.next_outgoing().unwrap().establish();
    world.settle();
    id
}

fn letter(text: &str) -> Message {
    Bytes::copy_from_slice(text.as_bytes()).into()
}

#[test]
fn every_subscriber_gets_it_once_in_the_order_of_subscriptions() {
    let log = Log::default();
    let mut world = World::new();
    for name in ["a", "b", "c"] {
        open(&mut world, subscriber(name, &log, Slow::default()));
    }
    let stranger = open(&mut world, Spy::new("d", &log));
    log.take();
    let core = world.event_loop.core();
    assert_eq!(core.publish("t", "1"), 3);
    assert_eq!(core.publish("another", "2"), 0);
    assert_eq!(core.waiting_messages(), 3);
    world.turn();
    assert_eq!(log.take(), ["a heard 1", "b heard 1", "c heard 1"]);
    assert!(!world.is_busy());
    assert!(world.event_loop.core().is_open(stranger));
}

#[test]
fn whoever_publishes_gets_it_too_if_subscribed_and_in_the_same_turn() {
    let log = Log::default();
    let mut harness = Harness::new(subscriber("it", &log, Slow::default()).on_data(|cx, input| {
        assert_eq!(cx.publish("t", input.take_all().to_vec()), 1);
        Ok(())
    }));
    harness.feed(b"hello");
    assert_eq!(log.take(), ["it open", "it data hello", "it heard hello"]);
}

#[test]
fn posts_and_publications_share_one_order() {
    let log = Log::default();
    let mut harness = Harness::new(subscriber("it", &log, Slow::default()));
    let id = harness.id();
    for round in ["1", "2", "3"] {
        harness.core().publish("t", format!("p{round}"));
        harness.core().post(id, letter(&format!("m{round}"))).unwrap();
    }
    harness.settle();
    let heard = ["it heard p1", "it message m1", "it heard p2", "it message m2", "it heard p3", "it message m3"];
    assert_eq!(log.take()[1..], heard);
}

#[test]
fn posts_have_their_limit_apart_from_publications() {
    let log = Log::default();
    let limits = Limits { mailbox: 2, ..Limits::default() };
    let mut harness = Harness::with_limits(subscriber("it", &log, Slow::DropNewest { waiting: 10 }), limits);
    let id = harness.id();
    for text in ["p1", "p2", "p3"] {
        assert_eq!(harness.core().publish("t", text), 1);
    }
    for text in ["m1", "m2"] {
        harness.core().post(id, letter(text)).unwrap();
    }
    harness.core().post(id, letter("m3")).unwrap_err();
    assert_eq!(harness.core().publish("t", "p4"), 1);
    harness.settle();
    assert_eq!(log.take().len(), 1 + 6);
}

#[test]
fn the_publications_of_a_turn_leave_in_one_write() {
    let mut harness = Harness::new(subscriber("it", &Log::default(), Slow::default()).on_message(|cx, message| {
        let Message::Published(publication) = message else { unreachable!() };
        cx.send_shared(publication.payload().clone());
        Ok(())
    }));
    let before = harness.peer().calls().1;
    for _ in 0..100 {
        harness.core().publish("t", "x");
    }
    harness.settle();
    assert_eq!(harness.take_sent().len(), 100);
    assert_eq!(harness.peer().calls().1, before + 1);
}

#[test]
fn what_is_published_while_messages_are_handed_over_waits_for_the_next_turn() {
    let log = Log::default();
    let mut world = World::new();
    open(
        &mut world,
        subscriber("a", &log, Slow::default()).on_message(|cx, message| {
            if let Message::Published(publication) = message
                && publication.payload().len() < 3
            {
                cx.publish("t", [publication.payload(), &b"'"[..]].concat());
            }
            Ok(())
        }),
    );
    open(&mut world, subscriber("b", &log, Slow::default()));
    log.take();
    world.event_loop.core().publish("t", "1");
    for expected in ["1", "1'", "1''"] {
        world.turn();
        assert_eq!(log.take(), [format!("a heard {expected}"), format!("b heard {expected}")]);
    }
    assert!(!world.is_busy());
}

#[test]
fn a_topic_exists_while_it_has_subscribers_and_counts_from_its_beginning() {
    let log = Log::default();
    let mut world = World::new();
    assert_eq!(world.event_loop.core().topic_counters("t"), None);
    let a = open(&mut world, subscriber("a", &log, Slow::default()));
    let b = open(&mut world, subscriber("b", &log, Slow::default()));
    world.event_loop.core().publish("t", "1");
    world.event_loop.core().publish("t", "2");
    world.settle();
    let counters = world.event_loop.core().topic_counters("t").unwrap();
    assert_eq!((counters.subscribers, counters.published, counters.delivered, counters.dropped), (2, 2, 4, 0));
    let totals = world.event_loop.counters();
    assert_eq!((totals.publications, totals.publications_delivered, totals.publications_dropped), (4, 4, 0));
    for id in [a, b] {
        assert_eq!(world.event_loop.core().topics(), 1);
        world.event_loop.core().abort(id);
        world.settle();
    }
    assert_eq!(world.event_loop.core().topics(), 0);
    assert_eq!(world.event_loop.core().topic_counters("t"), None);
    assert_eq!(world.event_loop.core().publish("t", "3"), 0);
    world.assert_nothing_left();
    open(&mut world, subscriber("c", &log, Slow::default()));
    assert_eq!(world.event_loop.core().topic_counters("t").unwrap().published, 0, "it is another");
}

#[test]
fn nothing_comes_after_unsubscribing_and_what_waited_is_counted() {
    let log = Log::default();
    let mut harness = Harness::new(subscriber("it", &log, Slow::default()).on_message(|cx, message| {
        if let Message::Published(publication) = message
            && &**publication.payload() == b"enough"
        {
            assert!(cx.unsubscribe("t"));
            assert!(!cx.unsubscribe("t"));
        }
        Ok(())
    }));
    let id = harness.id();
    harness.with(|cx| cx.subscribe("u", Slow::default()).unwrap());
    log.take();
    for (topic, text) in [("t", "1"), ("u", "2"), ("t", "enough"), ("t", "3"), ("u", "4"), ("t", "5")] {
        harness.core().publish(topic, text);
    }
    harness.core().post(id, letter("6")).unwrap();
    harness.settle();
    assert_eq!(log.take(), ["it heard 1", "it heard 2", "it heard enough", "it heard 4", "it message 6"]);
    assert_eq!(harness.core().publish("t", "7"), 0);
    let totals = harness.core().counters();
    assert_eq!((totals.publications, totals.publications_delivered, totals.publications_dropped), (6, 4, 2));
}

#[test]
fn all_subscriptions_can_be_ended_at_once() {
    let log = Log::default();
    let mut harness = Harness::new(subscriber("it", &log, Slow::default()));
    harness.with(|cx| cx.subscribe("u", Slow::default()).unwrap());
    harness.core().publish("t", "1");
    harness.with(|cx| cx.unsubscribe_all());
    harness.settle();
    assert_eq!(log.take(), ["it open"]);
    assert_eq!(harness.core().topics(), 0);
    assert_eq!(harness.core().held_bytes(), 0);
}

#[test]
fn a_close_ends_the_subscriptions_at_once_though_output_waits() {
    let log = Log::default();
    let mut harness = Harness::new(subscriber("it", &log, Slow::default()));
    harness.set_window(0);
    harness.core().publish("t", "1");
    harness.with(|cx| {
        cx.send(b"goodbye");
        cx.close();
    });
    assert_eq!(harness.core().topics(), 0);
    assert_eq!(harness.core().publish("t", "2"), 0);
    harness.set_window(100);
    assert_eq!(log.take(), ["it open", "it close: closed by this side"]);
    let totals = harness.core().counters();
    assert_eq!((totals.publications_delivered, totals.publications_dropped, totals.messages_undelivered), (0, 1, 0));
    assert_eq!(harness.core().held_bytes(), 0);
}

#[test]
fn who_goes_can_publish_that() {
    let log = Log::default();
    let mut world = World::new();
    open(&mut world, subscriber("a", &log, Slow::default()));
    let spy = subscriber("b", &log, Slow::default()).on_close(|cx, _| {
        assert_eq!(cx.publish("t", "b has gone"), 1, "not to the one who goes");
    });
    let b = open(&mut world, spy);
    log.take();
    world.event_loop.core().abort(b);
    world.settle();
    assert_eq!(log.take(), ["b close: aborted by this side, 0 bytes unsent", "a heard b has gone"]);
}

#[test]
fn handles_publish() {
    let log = Log::default();
    let mut world = World::new();
    open(&mut world, subscriber("it", &log, Slow::KeepLatest { waiting: 10 }));
    let handle = world.event_loop.handle();
    std::thread::spawn(move || {
        handle.publish("t", "1").unwrap();
        handle.publish_keyed("t", 7, "2").unwrap();
        handle.publish_keyed("t", 7, "3").unwrap();
        handle.publish("nobody", "4").unwrap();
    })
    .join()
    .unwrap();
    log.take();
    world.settle();
    assert_eq!(log.take(), ["it heard 1", "it heard 3"]);
    let handle = world.event_loop.handle();
    drop(world);
    assert_eq!(&*handle.publish("t", "5").unwrap_err().into_inner(), b"5");
}

#[test]
fn a_burst_of_another_thread_makes_nobody_slow_who_takes_what_comes() {
    let (mut world, log) = (World::new(), Log::default());
    let id = open(&mut world, subscriber("spy", &log, Slow::Close { waiting: 64 }));
    let handle = world.event_loop.handle();
    for number in 0..1000 {
        handle.publish("t", format!("{number}")).unwrap();
    }
    world.settle();
    assert!(world.event_loop.core().is_open(id));
    assert_eq!(world.event_loop.counters().publications_delivered, 1000);
}

#[test]
fn subscriptions_have_a_limit_and_each_counts_once() {
    let limits = Limits { subscriptions: 3, ..Limits::default() };
    let mut harness = Harness::with_limits(Spy::new("it", &Log::default()), limits);
    harness.with(|cx| {
        for topic in ["a", "b", "c", "a", "b"] {
            cx.subscribe(topic, Slow::default()).unwrap();
        }
        assert_eq!(cx.subscribe("d", Slow::default()), Err(LimitExceeded::Subscriptions(3)));
        assert_eq!(cx.publish("d", "nobody"), 0);
        assert!(cx.unsubscribe("b"));
        cx.subscribe("d", Slow::default()).unwrap();
        assert_eq!(cx.topics(), 3);
    });
    harness.settle();
}

#[test]
fn topics_and_their_names_count_against_the_loops_memory() {
    let limits = Limits { loop_memory: 10_000, ..Limits::default() };
    let mut harness = Harness::with_limits(Spy::new("it", &Log::default()), limits);
    harness.with(|cx| {
        let too_long = "x".repeat(10_000);
        let refused = cx.subscribe(&too_long, Slow::default());
        assert!(matches!(refused, Err(LimitExceeded::LoopMemory { limit: 10_000, wanted }) if wanted > 10_000));
        assert_eq!((cx.held_bytes(), cx.topics()), (0, 0));
        let mut made = 0;
        while cx.subscribe(&format!("{made} {}", "x".repeat(1000)), Slow::default()).is_ok() {
            made += 1;
        }
        assert!((5..10).contains(&made), "{made}");
        assert!(cx.held_bytes() > made * 1000);
    });
    harness.with(|cx| cx.abort());
    assert_eq!(harness.core().held_bytes(), 0);
}

#[test]
fn what_was_published_can_be_kept_and_posted_to_who_comes_later() {
    let log = Log::default();
    let kept: Rc<Cell<Option<Publication>>> = Rc::default();
    let keep = Rc::clone(&kept);
    let mut world = World::new();
    open(
        &mut world,
        subscriber("a", &log, Slow::default()).on_message(move |_, message| {
            if let Message::Published(publication) = message {
                keep.set(Some(publication));
            }
            Ok(())
        }),
    );
    world.event_loop.core().publish_keyed("t", 7, "state");
    world.settle();
    let late = open(&mut world, Spy::new("late", &log));
    log.take();
    let publication = kept.take().unwrap();
    assert_eq!((publication.topic(), publication.key()), ("t", Some(7)));
    world.event_loop.core().post(late, publication).unwrap();
    world.settle();
    assert_eq!(log.take(), ["late heard state"]);
}
