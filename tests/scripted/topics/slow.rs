//! Subscribers that do not take what comes: each policy with a peer whose window is zero.

use switchboard::testkit::Harness;
use switchboard::{CloseReason, Counters, LimitExceeded, Limits, Message, Slow};

use super::subscriber;
use crate::spy::Log;
use crate::world::{World, address};

/// A subscriber whose peer takes nothing, with more output waiting than `high_water`. Sends what it is told.
fn slow(log: &Log, policy: Slow) -> Harness {
    let limits = Limits { high_water: 1000, low_water: 100, send_buffer: 10_000, ..Limits::default() };
    let spy = subscriber("it", log, policy).on_message(|cx, message| {
        if let Message::Published(publication) = message {
            cx.send_shared(publication.payload().clone());
        }
        Ok(())
    });
    let mut harness = Harness::with_limits(spy, limits);
    harness.set_window(0);
    harness.with(|cx| cx.send(&[b'-'; 1001]));
    log.take();
    harness
}

/// What it hears when its peer takes everything again.
fn heard(harness: &mut Harness, log: &Log) -> Vec<String> {
    harness.set_window(usize::MAX);
    let heard =
        log.take().iter().filter_map(|note| note.strip_prefix("it heard ")).map(str::to_owned).collect::<Vec<_>>();
    let sent = harness.take_sent();
    assert_eq!(String::from_utf8_lossy(&sent[1001..]), heard.concat());
    heard
}

/// (put down, delivered, dropped), of the topic and of the loop alike.
#[track_caller]
fn assert_counted(harness: &mut Harness, publications: u64, delivered: u64, dropped: u64) {
    let Counters { publications: all, publications_delivered, publications_dropped, .. } = harness.core().counters();
    assert_eq!((all, publications_delivered, publications_dropped), (publications, delivered, dropped));
    let counters = harness.core().topic_counters("t").unwrap();
    assert_eq!((counters.published, counters.delivered, counters.dropped), (publications, delivered, dropped));
}

fn publish(harness: &mut Harness, texts: &[&'static str]) -> Vec<usize> {
    let told = texts.iter().map(|text| harness.core().publish("t", *text)).collect();
    harness.settle();
    told
}

#[test]
fn the_oldest_is_dropped() {
    let log = Log::default();
    let mut harness = slow(&log, Slow::DropOldest { waiting: 3 });
    assert_eq!(publish(&mut harness, &["1", "2", "3", "4", "5"]), [1; 5]);
    assert_eq!(log.take(), [""; 0]);
    assert_counted(&mut harness, 5, 0, 2);
    assert_eq!(heard(&mut harness, &log), ["3", "4", "5"]);
    assert_counted(&mut harness, 5, 3, 2);
}

#[test]
fn the_newest_is_dropped() {
    let log = Log::default();
    let mut harness = slow(&log, Slow::DropNewest { waiting: 3 });
    assert_eq!(publish(&mut harness, &["1", "2", "3", "4", "5"]), [1, 1, 1, 0, 0]);
    assert_eq!(heard(&mut harness, &log), ["1", "2", "3"]);
    assert_counted(&mut harness, 5, 3, 2);
}

#[test]
fn the_latest_of_each_key_takes_the_place_of_the_older_one() {
    let log = Log::default();
    let mut harness = slow(&log, Slow::KeepLatest { waiting: 3 });
    let held = harness.core().held_bytes() - 1001;
    let mut publish = |key, text: &'static str| {
        assert_eq!(harness.core().publish_keyed("t", key, text), 1);
        harness.settle();
    };
    for (key, text) in [(1, "a1"), (2, "b1"), (1, "a2"), (2, "b2"), (1, "a3"), (3, "c1")] {
        publish(key, text);
    }
    assert_counted(&mut harness, 6, 0, 3);
    assert_eq!(heard(&mut harness, &log), ["a3", "b2", "c1"]);
    assert_counted(&mut harness, 6, 3, 3);
    assert_eq!(harness.core().held_bytes(), held, "what was replaced is held no more");
}

#[test]
fn with_more_keys_than_may_wait_the_one_that_waits_longest_goes() {
    let log = Log::default();
    let mut harness = slow(&log, Slow::KeepLatest { waiting: 2 });
    for (key, text) in [(1, "a1"), (2, "b1"), (3, "c1"), (1, "a2"), (3, "c2")] {
        harness.core().publish_keyed("t", key, text);
    }
    assert_eq!(heard(&mut harness, &log), ["c2", "a2"]);
    assert_counted(&mut harness, 5, 2, 3);
}

#[test]
fn without_a_key_nothing_is_an_older_one() {
    let log = Log::default();
    let mut harness = slow(&log, Slow::KeepLatest { waiting: 3 });
    harness.core().publish("t", "1");
    harness.core().publish_keyed("t", 0, "a1");
    harness.core().publish("t", "2");
    harness.core().publish_keyed("t", 0, "a2");
    harness.core().publish("t", "3");
    assert_eq!(heard(&mut harness, &log), ["a2", "2", "3"]);
}

#[test]
fn who_must_not_miss_anything_is_closed() {
    let log = Log::default();
    let mut harness = slow(&log, Slow::Close { waiting: 2 });
    assert_eq!(publish(&mut harness, &["1", "2"]), [1, 1]);
    assert!(harness.is_open());
    assert_eq!(publish(&mut harness, &["3", "4"]), [0, 0], "subscribed no more from the third on");
    let reason = harness.close_reason();
    assert!(
        matches!(reason, Some(CloseReason::Limit(LimitExceeded::SlowSubscriber { waiting: 2 }))),
        "closed because of {reason:?}"
    );
    assert!(harness.peer().saw_reset(), "what was to be sent is lost, and the peer must know");
    assert_eq!(log.take().len(), 1, "on_close and nothing else");
    let totals = harness.core().counters();
    assert_eq!((totals.publications, totals.publications_delivered, totals.publications_dropped), (3, 0, 3));
    assert_eq!((totals.bytes_unsent, totals.messages_undelivered), (1001, 0));
    assert_eq!((harness.core().held_bytes(), harness.core().topics()), (0, 0));
}

#[test]
fn more_in_one_turn_than_may_wait_is_too_much_for_a_fast_one_too() {
    let log = Log::default();
    let mut harness = Harness::new(subscriber("it", &log, Slow::DropOldest { waiting: 2 }));
    for text in ["1", "2", "3"] {
        harness.core().publish("t", text);
    }
    harness.settle();
    assert_eq!(log.take()[1..], ["it heard 2", "it heard 3"]);
}

#[test]
fn who_allows_none_to_wait_has_one_wait_all_the_same() {
    let log = Log::default();
    let mut harness = Harness::new(subscriber("it", &log, Slow::Close { waiting: 0 }));
    assert_eq!(publish(&mut harness, &["1"]), [1]);
    assert_eq!(log.take()[1..], ["it heard 1"]);
    assert_eq!(Slow::DropNewest { waiting: 0 }.waiting(), 1);
}

#[test]
fn each_subscription_has_its_own_policy_on_one_mailbox() {
    let log = Log::default();
    let mut harness = slow(&log, Slow::DropOldest { waiting: 1 });
    let id = harness.id();
    harness.with(|cx| cx.subscribe("u", Slow::DropNewest { waiting: 1 }).unwrap());
    harness.with(|cx| cx.subscribe("v", Slow::KeepLatest { waiting: 1 }).unwrap());
    for round in 1..=3 {
        harness.core().publish("t", format!("t{round}"));
        harness.core().post(id, super::letter(&format!("m{round}"))).unwrap();
        harness.core().publish("u", format!("u{round}"));
        harness.core().publish_keyed("v", 1, format!("v{round}"));
    }
    harness.set_window(usize::MAX);
    assert_eq!(
        log.take(),
        ["it message m1", "it heard u1", "it heard v3", "it message m2", "it heard t3", "it message m3"]
    );
}

#[test]
fn another_policy_holds_for_what_waits_already() {
    let log = Log::default();
    let mut harness = slow(&log, Slow::DropOldest { waiting: 10 });
    for (key, text) in [(1, "a1"), (2, "b1"), (1, "a2"), (2, "b2")] {
        harness.core().publish_keyed("t", key, text);
    }
    harness.with(|cx| cx.subscribe("t", Slow::KeepLatest { waiting: 10 }).unwrap());
    harness.core().publish_keyed("t", 1, "a3"); // takes the place of a2
    harness.with(|cx| cx.subscribe("t", Slow::DropNewest { waiting: 4 }).unwrap());
    assert_eq!(harness.core().publish_keyed("t", 1, "a4"), 0);
    harness.with(|cx| cx.subscribe("t", Slow::KeepLatest { waiting: 3 }).unwrap());
    harness.core().publish_keyed("t", 3, "c1"); // only three may wait now
    assert_eq!(heard(&mut harness, &log), ["a3", "b2", "c1"]);
    assert_counted(&mut harness, 7, 3, 4);
}

#[test]
fn a_key_can_be_waited_for_again_once_it_was_heard() {
    let log = Log::default();
    let mut harness = slow(&log, Slow::KeepLatest { waiting: 2 });
    for round in 0..3 {
        harness.core().publish_keyed("t", 1, format!("a{round}"));
        harness.core().publish_keyed("t", 1, format!("b{round}"));
        harness.set_window(usize::MAX);
        assert_eq!(log.take(), [format!("it heard b{round}")]);
        harness.set_window(0);
        harness.with(|cx| cx.send(&[b'-'; 1001]));
    }
}

#[test]
fn payloads_that_wait_count_once_and_what_finds_no_room_is_dropped_for_all() {
    let log = Log::default();
    let mut harness = slow(&log, Slow::DropOldest { waiting: 10 });
    harness.with(|cx| cx.subscribe("u", Slow::DropOldest { waiting: 10 }).unwrap());
    let before = harness.core().held_bytes();
    harness.core().publish("t", vec![b'x'; 100_000]);
    let one = harness.core().held_bytes() - before;
    assert!((100_000..100_500).contains(&one), "{one}");
    harness.with(|cx| assert!(cx.unsubscribe("t")));
    let limit = harness.core().held_bytes();
    assert!(limit < before, "given back with the last that waited for it");
}

#[test]
fn who_is_slow_does_not_take_the_memory_of_those_who_are_not() {
    let limits = Limits { high_water: 1000, low_water: 100, loop_memory: 50_000, ..Limits::default() };
    for policy in [Slow::DropOldest { waiting: 100 }, Slow::KeepLatest { waiting: 100 }] {
        let log = Log::default();
        let mut world = World::with_limits(limits.clone());
        let slow = world.event_loop.connect(address(1), subscriber("slow", &log, policy));
        world.settle();
        let peer = world.network.next_outgoing().unwrap();
        peer.set_window(0);
        peer.establish();
        super::open(&mut world, subscriber("fast", &log, Slow::Close { waiting: 10 }));
        world.event_loop.with(slow, |cx| cx.send(&[0; 1001])).unwrap();
        log.take();
        for round in 0..20 {
            assert_eq!(world.event_loop.core().publish_keyed("t", round, vec![b'x'; 10_000]), 2, "round {round}");
            world.settle();
            assert_eq!(log.take(), ["fast heard (10000)"]);
            assert!(world.event_loop.core().held_bytes() <= 50_000);
        }
        peer.set_window(usize::MAX);
        world.settle();
        assert_eq!(log.take(), ["slow heard (10000)"; 4], "as many of the last as there is memory for");
    }
}

#[test]
fn a_publication_that_the_loop_has_no_memory_for_is_dropped_for_all_and_who_must_not_miss_it_is_closed() {
    let limits = Limits { loop_memory: 50_000, ..Limits::default() };
    for (policy, closed) in [(Slow::default(), false), (Slow::Close { waiting: 10 }, true)] {
        let log = Log::default();
        let mut harness = Harness::with_limits(subscriber("it", &log, policy), limits.clone());
        assert_eq!(publish(&mut harness, &["1"]), [1]);
        assert_eq!(harness.core().publish("t", vec![0; 50_000]), 0);
        harness.settle();
        assert_eq!(harness.is_open(), !closed);
        if !closed {
            assert_eq!(publish(&mut harness, &["2"]), [1]);
            assert_counted(&mut harness, 3, 2, 1);
        }
        assert_eq!(harness.core().counters().publications_dropped, 1);
        harness.with(|cx| cx.abort());
        assert_eq!(harness.core().held_bytes(), 0);
    }
}
