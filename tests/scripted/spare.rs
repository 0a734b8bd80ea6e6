//! Buffers that nobody needs just now.

use switchboard::testkit::Harness;

use crate::spy::{Log, Spy};
use crate::world::millis;

#[test]
fn they_are_there_for_the_next_and_given_back_when_nobody_needs_them() {
    let mut harness = Harness::new(Spy::new("it", &Log::default()));
    let idle = harness.event_loop().next_deadline();
    let core = harness.core();
    core.give_spare(vec![1; 100_000]);
    assert_eq!((core.spare_bytes(), core.held_bytes()), (100_000, 0));
    (0..20).for_each(|_| core.give_spare(vec![1; 10_000]));
    assert_eq!(core.spare_bytes(), 180_000, "of small ones a few");
    while core.take_spare(1..=99_999).is_some() {}
    let buffer = core.take_spare(60_000..=200_000).unwrap();
    assert_eq!((buffer.len(), core.spare_bytes()), (100_000, 0));
    core.give_spare(buffer);
    assert!(core.take_spare(100_001..=200_000).is_none());
    let most = core.limits().loop_memory / 64;
    core.give_spare(vec![0; most]);
    assert_eq!(core.spare_bytes(), 100_000, "no more than that together");
    harness.settle();
    assert_ne!(harness.event_loop().next_deadline(), idle);
    harness.advance(millis(1000));
    assert_eq!(harness.core().spare_bytes(), 0);
    assert_eq!(harness.event_loop().next_deadline(), idle, "nothing wakes the loop any more");
}
