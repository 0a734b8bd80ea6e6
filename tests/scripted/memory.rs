//! The budget that all connections share, and what counts against it.

use switchboard::testkit::Harness;
use switchboard::{CloseReason, LimitExceeded, Limits};

use crate::spy::{Log, Spy};
use crate::world::World;

fn tight() -> Limits {
    Limits { loop_memory: 100_000, ..Limits::default() }
}

fn is_loop_memory(reason: Option<&CloseReason>) -> bool {
    matches!(reason, Some(CloseReason::Limit(LimitExceeded::LoopMemory { limit: 100_000, .. })))
}

#[test]
fn unread_input_counts_and_the_one_that_goes_beyond_is_closed() {
    let mut harness = Harness::with_limits(Spy::new("it", &Log::default()).on_data(|_, _| Ok(())), tight());
    for _ in 0..6 {
        harness.feed(&[0; 10_000]);
    }
    assert!(harness.is_open());
    assert!(harness.core().held_bytes() >= 60_000);
    for _ in 0..5 {
        harness.feed(&[0; 10_000]);
    }
    assert!(is_loop_memory(harness.close_reason()), "{:?}", harness.close_reason());
    assert_eq!(harness.core().held_bytes(), 0);
}

#[test]
fn what_goes_beyond_it_was_read_and_discarded() {
    let waits = Spy::new("it", &Log::default()).on_data(|_, input| {
        input.wait_for(1_000_000);
        Ok(())
    });
    let mut harness = Harness::with_limits(waits, Limits { read_budget: 60_000, ..tight() });
    harness.feed(&[0; 200_000]); // at once, so that the read for which memory is short brings something
    assert!(is_loop_memory(harness.close_reason()), "{:?}", harness.close_reason());
    let read = (200_000 - harness.peer().unread()) as u64;
    let calls = harness.peer().calls().0;
    let counters = harness.core().counters();
    assert!(calls > 1 && read > 100_000, "{read} bytes in {calls} reads");
    assert_eq!((counters.reads, counters.bytes_in, counters.bytes_discarded), (calls, read, read));
}

#[test]
fn waiting_output_counts() {
    let mut harness = Harness::with_limits(Spy::new("it", &Log::default()), tight());
    harness.set_window(0);
    harness.with(|cx| cx.send(&[0; 100_000]));
    assert_eq!(harness.core().held_bytes(), 100_000);
    harness.set_window(1000);
    assert_eq!(harness.core().held_bytes(), 99_000);
    harness.with(|cx| cx.send(&[0; 1001]));
    assert!(is_loop_memory(harness.close_reason()), "{:?}", harness.close_reason());
    assert_eq!(harness.core().held_bytes(), 0);
}

#[test]
fn what_a_protocol_declares_counts() {
    let mut harness = Harness::with_limits(
        Spy::new("it", &Log::default()).on_data(|cx, input| {
            let wanted = input.take_all().len() * 1000;
            cx.hold(wanted)?;
            Ok(())
        }),
        tight(),
    );
    harness.feed(&[0; 100]);
    assert_eq!(harness.core().held_bytes(), 100_000);
    harness.feed(&[0; 10]);
    assert_eq!(harness.core().held_bytes(), 10_000, "declared anew, not on top");
    harness.feed(&[0; 101]);
    let Some(CloseReason::Failure(failure)) = harness.close_reason() else { panic!("{:?}", harness.close_reason()) };
    assert_eq!(failure.blame(), switchboard::Blame::Limit);
    assert_eq!(harness.core().held_bytes(), 0);
}

#[test]
fn the_one_that_asks_too_much_goes_and_the_others_stay() {
    let mut world = World::with_limits(tight());
    let log = Log::default();
    let spies = log.clone();
    let mut made = 0;
    world.listen(move || {
        made += 1;
        Spy::new(["first", "second", "third"][made - 1], &spies).on_data(|_, _| Ok(()))
    });
    let peers = [world.peer(), world.peer(), world.peer()];
    log.take();
    for (peer, len) in peers.iter().zip([45_000, 45_000, 20_000]) {
        peer.send(&vec![0; len]);
        world.settle();
    }
    let closes: Vec<String> = log.take().into_iter().filter(|note| note.contains("close")).collect();
    assert_eq!(closes.len(), 1);
    assert!(closes[0].starts_with("third close: a limit was hit: loop_memory: "), "{closes:?}");
    peers[0].finish();
    peers[1].finish();
    peers[2].finish();
    world.settle();
    world.assert_nothing_left();
}

#[test]
fn a_buffer_once_large_is_given_back_when_little_is_left() {
    let mut harness = Harness::new(Spy::new("it", &Log::default()).on_data(|_, input| {
        if input.len() < 900_000 {
            input.wait_for(900_000);
        } else {
            input.take(899_999);
        }
        Ok(())
    }));
    for _ in 0..90 {
        harness.feed(&[0; 10_000]);
    }
    let held = harness.core().held_bytes();
    assert!(held > 0 && held <= 8192, "{held} bytes for the one that is left");
}

#[test]
fn a_receive_buffer_grows_with_what_arrives_not_with_what_is_announced() {
    let mut harness = Harness::new(Spy::new("it", &Log::default()).on_data(|_, input| {
        input.wait_for(1 << 20);
        Ok(())
    }));
    harness.feed(b"x");
    let held = harness.core().held_bytes();
    assert!(held <= 8192, "{held} bytes held for one that arrived");
    for _ in 0..1000 {
        harness.feed(b"y");
    }
    let held = harness.core().held_bytes();
    assert!(held <= 16_384, "{held} bytes held for a thousand");
}

#[test]
fn one_byte_at_a_time_costs_nothing_afterwards() {
    let mut harness = Harness::new(Spy::new("it", &Log::default()).on_data(|_, input| {
        while input.len() >= 100 {
            input.take(100);
        }
        Ok(())
    }));
    for byte in 0..1000_u16 {
        harness.feed(&[byte.to_be_bytes()[1]]);
    }
    assert_eq!(harness.core().held_bytes(), 0);
}
