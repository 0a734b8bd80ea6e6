use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;

const OWNER: EndpointId = EndpointId::new(3, 1);

struct Wheel {
    timers: Timers,
    head: u32,
    due: Vec<(Time, u32, TimerId)>,
}

impl Wheel {
    fn new() -> Self {
        Self { timers: Timers::new(), head: NONE, due: Vec::new() }
    }

    fn set(&mut self, deadline: Time) -> TimerId {
        self.timers.set(OWNER, &mut self.head, 0, deadline)
    }

    /// Turns to `now` and fires what is due.
    fn fire(&mut self, now: Time) -> Vec<TimerId> {
        self.due.clear();
        self.timers.collect(now, &mut self.due);
        let due = std::mem::take(&mut self.due);
        due.iter().map(|&(.., timer)| timer).filter(|&timer| self.timers.fire(&mut self.head, timer)).collect()
    }
}

fn at(duration: Duration) -> Time {
    Time::ZERO + duration
}

#[test]
fn fires_exactly_at_the_deadline_and_not_before() {
    let mut wheel = Wheel::new();
    for nanos in [0, 1, (1 << TICK_BITS) - 1, 1 << TICK_BITS, 5_000_000_000, 1 << 50] {
        let start = wheel.timers.tick << TICK_BITS;
        let deadline = Time::from_nanos(start + nanos);
        let timer = wheel.set(deadline);
        if nanos > 0 {
            assert_eq!(wheel.fire(Time::from_nanos(start + nanos - 1)), [], "{nanos}");
        }
        assert_eq!(wheel.fire(deadline), [timer], "{nanos}");
        assert_eq!(wheel.timers.next_deadline(), None);
    }
}

#[test]
fn next_deadline_reaches_the_timer_in_a_few_steps() {
    let mut wheel = Wheel::new();
    let timer = wheel.set(at(Duration::from_secs(86_400 * 30)));
    let first = wheel.set(at(Duration::from_secs(1)));
    assert_eq!(wheel.fire(at(Duration::from_secs(1))), [first]);
    for step in 0.. {
        assert!(step <= LEVELS, "one step a level at the most");
        let next = wheel.timers.next_deadline().expect("the timer is armed");
        if wheel.fire(next) == [timer] {
            assert_eq!(next, at(Duration::from_secs(86_400 * 30)));
            break;
        }
    }
}

#[test]
fn a_cancelled_timer_never_fires_not_even_in_the_batch_it_is_cancelled_in() {
    let mut wheel = Wheel::new();
    let (first, second) = (wheel.set(at(Duration::from_secs(1))), wheel.set(at(Duration::from_secs(1))));
    wheel.timers.collect(at(Duration::from_secs(2)), &mut wheel.due);
    assert_eq!(wheel.due.len(), 2);
    assert!(wheel.timers.fire(&mut wheel.head, first));
    assert!(wheel.timers.cancel(&mut wheel.head, second));
    assert!(!wheel.timers.fire(&mut wheel.head, second));
    assert!(!wheel.timers.cancel(&mut wheel.head, second));
    assert_eq!((wheel.timers.len(), wheel.head), (0, NONE));
}

#[test]
fn a_timer_postponed_after_it_was_collected_waits_again() {
    let mut wheel = Wheel::new();
    let timer = wheel.set(at(Duration::from_secs(1)));
    wheel.timers.collect(at(Duration::from_secs(1)), &mut wheel.due);
    assert!(wheel.timers.postpone(timer, at(Duration::from_secs(3))));
    assert!(!wheel.timers.fire(&mut wheel.head, timer));
    assert_eq!(wheel.fire(at(Duration::from_secs(2))), []);
    assert_eq!(wheel.fire(at(Duration::from_secs(3))), [timer]);
    assert!(!wheel.timers.postpone(timer, at(Duration::from_secs(4))), "it has fired");
}

#[test]
fn a_postponed_timer_does_not_hide_a_later_one() {
    // The postponed entry stays in its old slot, the first of the wheel: the second must not wait for it.
    let mut wheel = Wheel::new();
    let first = wheel.set(at(Duration::from_millis(5)));
    let second = wheel.set(at(Duration::from_millis(10)));
    wheel.timers.postpone(first, at(Duration::from_millis(50)));
    assert_eq!(wheel.fire(at(Duration::from_millis(2))), []);
    let mut fired = Vec::new();
    for _ in 0..4 {
        let Some(next) = wheel.timers.next_deadline() else { break };
        fired.extend(wheel.fire(next).into_iter().map(|timer| (timer, next)));
    }
    assert_eq!(fired, [(second, at(Duration::from_millis(10))), (first, at(Duration::from_millis(50)))]);
}

#[test]
fn cancels_by_depth_and_finds_by_depth() {
    let mut wheel = Wheel::new();
    let timers = &mut wheel.timers;
    let ids: Vec<_> =
        (0..4).map(|depth| timers.set(OWNER, &mut wheel.head, depth, at(Duration::from_secs(1)))).collect();
    assert_eq!(timers.find(wheel.head, 2), Some(ids[2]));
    timers.cancel_depths(&mut wheel.head, 2..=LOOP_DEPTH);
    assert_eq!(timers.find(wheel.head, 2), None);
    assert_eq!(timers.len(), 2);
    assert_eq!(wheel.fire(at(Duration::from_secs(1))).len(), 2);
}

#[test]
fn an_id_kept_too_long_names_nothing() {
    let mut wheel = Wheel::new();
    let old = wheel.set(at(Duration::from_secs(1)));
    wheel.timers.cancel(&mut wheel.head, old);
    let new = wheel.set(at(Duration::from_secs(1)));
    assert_eq!(old.index, new.index, "the slot is used again");
    assert!(!wheel.timers.postpone(old, Time::ZERO));
    assert!(!wheel.timers.cancel(&mut wheel.head, old));
    assert_eq!(wheel.fire(at(Duration::from_secs(1))), [new]);
}

#[test]
fn memory_behind_the_last_timer_is_given_back() {
    let mut wheel = Wheel::new();
    let kept = wheel.set(at(Duration::from_secs(1)));
    let others: Vec<_> = (0..1000).map(|_| wheel.set(at(Duration::from_secs(2)))).collect();
    for timer in others.into_iter().rev() {
        assert!(wheel.timers.cancel(&mut wheel.head, timer));
    }
    assert!(wheel.timers.entries.capacity() > 1000);
    wheel.timers.shrink();
    assert!(wheel.timers.entries.capacity() < 10);
    assert_eq!(wheel.fire(at(Duration::from_secs(1))), [kept]);
}

/// A naive list of timers, the oracle.
#[derive(Default)]
struct Model(Vec<(Time, TimerId)>);

impl Model {
    fn fire(&mut self, now: Time) -> Vec<TimerId> {
        let mut due: Vec<_> = self.0.iter().filter(|(deadline, _)| *deadline <= now).copied().collect();
        self.0.retain(|(deadline, _)| *deadline > now);
        due.sort_by_key(|&(deadline, timer)| (deadline, timer.index));
        due.into_iter().map(|(_, timer)| timer).collect()
    }
}

#[test]
fn agrees_with_a_naive_list_over_random_operations() {
    for seed in 0..200 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (mut wheel, mut model, mut now) = (Wheel::new(), Model::default(), Time::ZERO);
        for _ in 0..300 {
            let span = 1_u64 << (random.next_u32() % 42);
            let after = Duration::from_nanos(random.next_u64() % span);
            let pick = (random.next_u32() as usize).checked_rem(model.0.len());
            match (random.next_u32() % 5, pick) {
                (0 | 1, _) | (_, None) => model.0.push((now + after, wheel.set(now + after))),
                (2, Some(pick)) => {
                    assert!(wheel.timers.postpone(model.0[pick].1, now + after), "seed {seed}");
                    model.0[pick].0 = now + after;
                }
                (3, Some(pick)) => {
                    assert!(wheel.timers.cancel(&mut wheel.head, model.0.remove(pick).1), "seed {seed}");
                }
                _ => {
                    let next = wheel.timers.next_deadline().expect("timers are armed");
                    let earliest = model.0.iter().map(|&(deadline, _)| deadline).min();
                    assert!(earliest.is_none_or(|earliest| next <= earliest), "seed {seed}: late by its own account");
                    now = if random.next_u32() % 2 == 0 { next.max(now) } else { now + after };
                    let mut fired = wheel.fire(now);
                    let mut expected = model.fire(now);
                    let deadlines = |ids: &mut Vec<TimerId>| ids.sort_by_key(|timer| timer.index);
                    deadlines(&mut fired);
                    deadlines(&mut expected);
                    assert_eq!(fired, expected, "seed {seed}");
                    let next = wheel.timers.next_deadline();
                    assert!(next.is_none_or(|next| next > now), "seed {seed}: the loop would spin");
                }
            }
            assert_eq!(wheel.timers.len(), model.0.len(), "seed {seed}");
        }
    }
}

#[test]
fn what_each_timer_costs() {
    assert_eq!(size_of::<Entry>(), 28);
}

#[test]
fn a_turn_looks_at_the_few_that_are_due_next_however_many_are_armed() {
    let mut wheel = Wheel::new();
    const ARMED: u64 = 100_000;
    // Heartbeats of five seconds, each with a head of its own as connections have.
    let spread = 5_000_000_000 / ARMED;
    for timer in 0..ARMED {
        let deadline = Time::from_nanos(5_000_000_000 + timer * spread);
        wheel.timers.set(OWNER, &mut NONE.clone(), 0, deadline);
    }
    assert_eq!(wheel.timers.next_deadline(), Some(Time::from_nanos(5_000_000_000)));
    for timer in 0..ARMED {
        let deadline = Time::from_nanos(5_000_000_000 + timer * spread);
        assert_eq!(wheel.timers.next_deadline(), Some(deadline), "the next one exactly: no wake-up for nothing");
        assert!(wheel.fire(deadline).len() == 1);
        let tick = (deadline.as_nanos() >> TICK_BITS) as usize % SLOTS;
        assert!(wheel.timers.list(tick).count() <= 2, "what lies in the slot is looked at again at the next deadline");
    }
    assert_eq!(wheel.timers.len(), 0);
}

impl Timers {
    /// The entries of a slot of the lowest level, in order.
    fn list(&self, slot: usize) -> impl Iterator<Item = u32> {
        let mut index = self.slots[slot].first;
        std::iter::from_fn(move || {
            let entry = self.entries.get(index)?;
            let found = std::mem::replace(&mut index, entry.next);
            Some(found)
        })
    }
}

#[test]
fn timers_of_one_deadline_fire_in_the_order_they_were_set() {
    for after in [Duration::from_micros(1), Duration::from_secs(1), Duration::from_secs(100_000)] {
        let mut wheel = Wheel::new();
        let timers = [0; 20].map(|_| wheel.set(at(after)));
        assert_eq!(wheel.fire(at(after)), timers, "{after:?}");
    }
}
