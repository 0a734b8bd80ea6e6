//! Connections that break while output waits: what the peer had said before is heard.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use switchboard::driver::Ready;
use switchboard::testkit::Harness;
use switchboard::{CloseReason, Failure, Limits};

use crate::spy::{Log, Spy};

/// Reading is held above 1,000 bytes of answers; four bytes are read at once.
fn small() -> Limits {
    Limits { high_water: 1000, low_water: 100, read_budget: 4, ..Limits::default() }
}

/// Answers all it is offered at once with 600 bytes.
fn answering(log: &Log) -> Spy {
    Spy::new("it", log).on_data(|cx, input| {
        input.take_all();
        cx.send(&[0; 600]);
        Ok(())
    })
}

/// What was called since this was last asked; of the end only that it was told.
fn called(log: &Log) -> Vec<String> {
    let short = |note: String| if note.starts_with("it close: connection broke") { CLOSE.to_owned() } else { note };
    log.take().into_iter().map(short).collect()
}

const CLOSE: &str = "it close";

/// Bytes that the end says were never sent, and the loop counts.
fn unsent(harness: &mut Harness) -> (usize, u64) {
    let Some(&CloseReason::Io { unsent, .. }) = harness.close_reason() else { panic!("{:?}", harness.close_reason()) };
    (unsent, harness.event_loop().counters().bytes_unsent)
}

/// The peer says its last words and resets at once, in one event.
fn leave(harness: &mut Harness, last_words: &[u8]) {
    harness.peer().send(last_words);
    harness.reset();
}

#[test]
fn what_the_loop_did_not_read_is_read() {
    let log = Log::default();
    let mut harness = Harness::with_limits(answering(&log), small());
    harness.set_window(0);
    harness.feed(b"a");
    harness.feed(b"b");
    harness.feed(b"held"); // above the high-water mark
    log.take();
    leave(&mut harness, b"bye, all");
    assert_eq!(called(&log), ["it data held", "it data bye,", "it data  all", CLOSE]);
    assert_eq!(unsent(&mut harness), (5 * 600, 5 * 600), "and what was answered meanwhile is lost, too");
    assert_eq!(harness.event_loop().core().held_bytes(), 0);
}

#[test]
fn who_waits_for_room_has_it() {
    let log = Log::default();
    let spy = answering(&log).on_drain(|cx| {
        assert!(cx.has_room(), "nothing waits any more");
        cx.resume_reading();
        Ok(())
    });
    let mut harness = Harness::with_limits(spy, small());
    harness.set_window(0);
    harness.with(|cx| {
        cx.send(&[0; 800]);
        assert!(!cx.has_room());
        cx.pause_reading();
    });
    log.take();
    leave(&mut harness, b"bye");
    assert_eq!(called(&log), ["it drain", "it data bye", CLOSE]);
    assert_eq!(unsent(&mut harness), (1400, 1400));
}

#[test]
fn who_has_paused_is_not_made_to_read() {
    let log = Log::default();
    let mut harness = Harness::with_limits(answering(&log), small());
    harness.set_window(0);
    harness.with(|cx| {
        cx.send(&[0; 800]);
        cx.pause_reading();
    });
    log.take();
    leave(&mut harness, b"bye");
    assert_eq!(called(&log), [CLOSE]);
    assert_eq!(unsent(&mut harness), (800, 800));
}

#[test]
fn who_pauses_at_the_last_words_ends_there() {
    let log = Log::default();
    let spy = Spy::new("it", &log).on_data(|cx, input| {
        input.take_all();
        cx.pause_reading();
        Ok(())
    });
    let mut harness = Harness::with_limits(spy, small());
    harness.set_window(0);
    harness.with(|cx| cx.send(b"never taken"));
    log.take();
    leave(&mut harness, b"bye, all");
    assert_eq!(called(&log), ["it data bye,", CLOSE]);
    assert_eq!(unsent(&mut harness), (11, 11));
}

#[test]
fn who_never_makes_progress_does_not_keep_the_loop() {
    let log = Log::default();
    let spy = Spy::new("it", &log).on_data(|cx, _| {
        cx.pause_reading();
        cx.resume_reading(); // offer it again
        Ok(())
    });
    let mut harness = Harness::with_limits(spy, small());
    harness.set_window(0);
    harness.with(|cx| cx.send(b"never taken"));
    leave(&mut harness, b"bye, all");
    assert_eq!(unsent(&mut harness), (11, 11));
}

#[test]
fn closing_at_the_last_words_is_no_end_in_order() {
    let log = Log::default();
    let spy = Spy::new("it", &log).on_data(|cx, input| {
        input.take_all();
        cx.close();
        Ok(())
    });
    let mut harness = Harness::with_limits(spy, Limits::default());
    harness.set_window(0);
    harness.with(|cx| cx.send(b"never taken"));
    leave(&mut harness, b"bye");
    assert_eq!(unsent(&mut harness), (11, 11));
}

#[test]
fn a_failure_at_the_last_words_is_the_reason() {
    let log = Log::default();
    let spy = Spy::new("it", &log).on_data(|_, _| Err(Failure::peer("nonsense")));
    let mut harness = Harness::with_limits(spy, Limits::default());
    harness.set_window(0);
    harness.with(|cx| cx.send(b"never taken"));
    leave(&mut harness, b"bye");
    assert!(matches!(harness.close_reason(), Some(CloseReason::Failure(_))), "{:?}", harness.close_reason());
    assert_eq!(harness.event_loop().counters().bytes_unsent, 11);
}

#[test]
fn an_error_that_came_to_nothing_costs_nothing() {
    let log = Log::default();
    let mut harness = Harness::with_limits(answering(&log), Limits::default());
    harness.set_window(0);
    harness.feed(b"a");
    let key = harness.peer().id().unwrap().key();
    harness.network().raise(Ready { key, error: true, ..Ready::default() });
    harness.settle();
    harness.set_window(600);
    harness.advance(Duration::ZERO);
    assert_eq!(harness.take_sent().len(), 600);
    assert!(harness.is_open());
}

/// Who stopped in the midst of what it was offered goes on with the rest of that, and then with what was not read yet.
#[test]
fn who_waits_for_room_with_input_left_has_it_too() {
    let (log, taken) = (Log::default(), Rc::new(Cell::new(0)));
    let count = Rc::clone(&taken);
    let spy = Spy::new("it", &log)
        .on_data(move |cx, input| {
            while !input.is_empty() && !cx.is_reading_paused() {
                input.take(1);
                count.set(count.get() + 1);
                cx.send(&[0; 600]);
                if !cx.has_room() {
                    cx.pause_reading();
                }
            }
            Ok(())
        })
        .on_drain(|cx| {
            cx.resume_reading();
            Ok(())
        });
    let mut harness = Harness::with_limits(spy, small());
    harness.set_window(0);
    harness.feed(b"a");
    leave(&mut harness, b"bye, all");
    assert_eq!(taken.get(), 9);
    assert_eq!(unsent(&mut harness), (9 * 600, 9 * 600));
}
