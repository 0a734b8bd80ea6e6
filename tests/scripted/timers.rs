//! Timers in virtual time: exact, in order, never after they were cancelled.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::Harness;
use switchboard::{Context, Failure, Input, Protocol, Time, TimerId};

use crate::spy::{Log, Spy};
use crate::world::{World, address, millis};

#[test]
fn a_timer_fires_once_at_its_time_and_not_before() {
    let log = Log::default();
    let mut harness = Harness::new(Spy::new("it", &log));
    harness.with(|cx| cx.set_timer(millis(100)));
    harness.advance(millis(100) - Duration::from_nanos(1));
    assert_eq!(log.take(), ["it open"]);
    harness.advance(Duration::from_nanos(1));
    assert_eq!(log.take(), ["it timer"]);
    harness.advance(Duration::from_secs(100));
    assert_eq!(log.take(), [""; 0]);
}

/// Notes which of its timers fire, and when.
#[derive(Default)]
struct Alarm {
    fired: Vec<(TimerId, Time)>,
}

impl Protocol for Alarm {
    fn on_data(&mut self, _: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, timer: TimerId) -> Result<(), Failure> {
        self.fired.push((timer, cx.now()));
        Ok(())
    }
}

#[test]
fn timers_fire_in_the_order_of_their_deadlines_however_late_the_turn() {
    let mut world = World::new();
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(world.event_loop.connect(address(1), Alarm::default()));
        world.settle();
        world.network.next_outgoing().unwrap().establish();
        world.settle();
    }
    // Spread over connections and levels of the wheel, in an order of no meaning.
    let mut set: Vec<(u64, usize, TimerId)> = (0..600_u64)
        .map(|n| {
            let after = n * 7919 % 100_000;
            let owner = (n % 3) as usize;
            let timer = world.event_loop.with(ids[owner], |cx| cx.set_timer(millis(after))).unwrap();
            (after, owner, timer)
        })
        .collect();
    set.sort_by_key(|&(after, ..)| after);
    world.network.advance(Duration::from_secs(100)); // and one turn sees them all
    world.settle();
    for (owner, id) in ids.into_iter().enumerate() {
        let fired: Vec<TimerId> =
            world.event_loop.protocol::<Alarm>(id).unwrap().fired.iter().map(|&(timer, _)| timer).collect();
        let expected: Vec<TimerId> = set.iter().filter(|&&(_, of, _)| of == owner).map(|&(.., timer)| timer).collect();
        assert_eq!(fired, expected);
    }
}

#[test]
fn each_timer_is_seen_at_its_own_nanosecond() {
    let mut harness = Harness::new(Alarm::default());
    let start = harness.now();
    let mut expected: Vec<Duration> = (0..200_u64).map(|n| Duration::from_nanos(n * n * 1_234_567 + 1)).collect();
    for &after in &expected {
        harness.with(|cx| cx.set_timer(after));
    }
    expected.sort();
    harness.advance(Duration::from_secs(60));
    let fired = &harness.protocol::<Alarm>().unwrap().fired;
    let seen: Vec<Duration> = fired.iter().map(|&(_, at)| at.saturating_since(start)).collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_timer_cancelled_by_one_of_the_same_batch_does_not_fire() {
    let log = Log::default();
    let timers: Rc<RefCell<Vec<TimerId>>> = Rc::default();
    let shared = Rc::clone(&timers);
    let mut harness = Harness::new(Spy::new("it", &log).on_timer(move |cx, fired| {
        let mut timers = shared.borrow_mut();
        assert!(!cx.cancel_timer(fired), "it is gone already");
        if fired == timers[0] {
            assert!(cx.cancel_timer(timers[1]));
            assert!(!cx.cancel_timer(timers[1]), "once");
            assert!(cx.postpone_timer(timers[2], millis(50)));
            timers.push(cx.set_timer(Duration::ZERO));
        }
        Ok(())
    }));
    for after in [1, 2, 3] {
        let timer = harness.with(|cx| cx.set_timer(millis(after))).unwrap();
        timers.borrow_mut().push(timer);
    }
    log.take();
    // All three are due in one and the same turn.
    harness.network().advance(millis(10));
    harness.event_loop().turn(None).unwrap();
    assert_eq!(log.take(), ["it timer"], "one was cancelled, one moved, and one just set is for the next turn");
    harness.settle();
    assert_eq!(log.take(), ["it timer"], "the one just set");
    harness.advance(millis(49));
    assert_eq!(log.take(), [""; 0]);
    harness.advance(millis(1));
    assert_eq!(log.take(), ["it timer"], "the one moved");
    assert_eq!(harness.core().armed_timers(), 0);
}

#[test]
fn a_connection_that_ends_in_a_batch_takes_its_due_timers_along() {
    let log = Log::default();
    let mut world = World::new();
    let victim = world.event_loop.connect(address(1), Spy::new("victim", &log));
    let killer = world.event_loop.connect(
        address(1),
        Spy::new("killer", &log).on_timer(|cx, _| {
            cx.set_timer(Duration::ZERO);
            cx.abort();
            Ok(())
        }),
    );
    world.settle();
    for _ in 0..2 {
        world.network.next_outgoing().unwrap().establish();
    }
    world.settle();
    for after in [1, 3, 5] {
        world.event_loop.with(killer, |cx| cx.set_timer(millis(after))).unwrap();
        world.event_loop.with(victim, |cx| cx.set_timer(millis(after))).unwrap();
    }
    log.take();
    world.network.advance(millis(10));
    world.settle();
    assert_eq!(
        log.take(),
        [
            "killer timer",
            "killer close: aborted by this side, 0 bytes unsent",
            "victim timer",
            "victim timer",
            "victim timer"
        ]
    );
    assert_eq!(world.event_loop.core().armed_timers(), 0);
}

#[test]
fn a_postponed_timer_fires_at_its_last_deadline_only() {
    let log = Log::default();
    let mut harness = Harness::new(Spy::new("it", &log));
    let timer = harness.with(|cx| cx.set_timer(millis(100))).unwrap();
    log.take();
    for _ in 0..50 {
        harness.advance(millis(90));
        assert_eq!(harness.with(|cx| cx.postpone_timer(timer, millis(100))), Some(true));
    }
    harness.advance(millis(99));
    assert_eq!(log.take(), [""; 0]);
    harness.advance(millis(1));
    assert_eq!(log.take(), ["it timer"]);
    assert_eq!(harness.with(|cx| cx.postpone_timer(timer, millis(1))), Some(false), "it has fired");
}

#[test]
fn a_timer_can_be_moved_nearer() {
    let log = Log::default();
    let mut harness = Harness::new(Spy::new("it", &log));
    let timer = harness.with(|cx| cx.set_timer(Duration::from_secs(3600))).unwrap();
    harness.with(|cx| cx.postpone_timer(timer, millis(5)));
    harness.advance(millis(5));
    assert_eq!(log.take(), ["it open", "it timer"]);
}

#[test]
fn a_postponed_timer_wakes_the_loop_no_more_than_once_in_vain() {
    let mut harness = Harness::new(Alarm::default());
    let timer = harness.with(|cx| cx.set_timer(millis(1000))).unwrap();
    let mut woken = 0;
    for _ in 0..1000 {
        // Traffic each 10 ms pushes it back.
        harness.with(|cx| cx.postpone_timer(timer, millis(1000)));
        let until = harness.now() + millis(10);
        while let Some(due) = harness.event_loop().next_deadline().filter(|&due| due <= until) {
            let now = harness.now();
            harness.network().advance(due.saturating_since(now));
            harness.event_loop().turn(None).unwrap();
            woken += 1;
        }
        let now = harness.now();
        harness.network().advance(until.saturating_since(now));
    }
    assert!(woken <= 25, "{woken} turns for ten timeouts' worth of time");
}

#[test]
fn durations_without_end_are_as_good_as_never() {
    let log = Log::default();
    let mut harness = Harness::new(Spy::new("it", &log));
    for after in [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_nanos(u64::MAX)] {
        harness.with(|cx| cx.set_timer(after));
    }
    harness.advance(Duration::from_secs(1 << 30));
    assert_eq!(log.take(), ["it open"]);
    assert_eq!(harness.core().armed_timers(), 3);
}

#[test]
fn who_sets_a_timer_for_now_in_every_callback_gets_one_a_turn() {
    let count = Rc::new(Cell::new(0));
    let shared = Rc::clone(&count);
    let mut harness = Harness::new(Spy::new("it", &Log::default()).on_timer(move |cx, _| {
        shared.set(shared.get() + 1);
        if shared.get() < 50 {
            cx.set_timer(Duration::ZERO);
        }
        Ok(())
    }));
    harness.with(|cx| cx.set_timer(Duration::ZERO));
    assert_eq!(count.get(), 50);
    harness.network().advance(millis(1));
    assert_eq!(harness.event_loop().next_deadline(), None);
}

#[test]
fn ten_thousand_timers_go_with_their_connection() {
    let mut harness = Harness::new(Alarm::default());
    harness.with(|cx| {
        for n in 1..=10_000 {
            cx.set_timer(millis(n));
        }
    });
    assert_eq!(harness.core().armed_timers(), 10_000);
    harness.reset();
    assert_eq!(harness.core().armed_timers(), 0);
}
