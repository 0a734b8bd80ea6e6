//! Who is asked to stop, and told that there is room again.

use std::cell::Cell;
use std::rc::Rc;

use switchboard::testkit::Harness;
use switchboard::{CloseReason, Context, Limits, protocol_fn};
use switchboard_echo::TcpEcho;

use crate::spy::{Log, Spy};
use crate::writing::small;

#[test]
fn a_no_from_has_room_is_followed_by_exactly_one_drain() {
    let log = Log::default();
    let mut harness = Harness::with_limits(Spy::new("it", &log), small());
    harness.set_window(0);
    harness.with(|cx| {
        cx.send(&[0; 500]);
        assert!(cx.has_room(), "500 bytes are half of the high-water mark");
        cx.send(&[0; 1]);
        assert!(!cx.has_room());
        assert!(!cx.has_room());
    });
    harness.with(|cx| assert!(!cx.has_room()));
    log.take();
    harness.set_window(400);
    assert_eq!(log.take(), [""; 0], "101 bytes are above the low-water mark");
    harness.set_window(1);
    assert_eq!(log.take(), ["it drain"]);
    harness.set_window(1000);
    harness.with(|cx| assert!(cx.has_room()));
    assert_eq!(log.take(), [""; 0], "once");
}

#[test]
fn a_drain_is_owed_even_if_everything_was_written_at_once() {
    let log = Log::default();
    let mut harness = Harness::with_limits(Spy::new("it", &log), small());
    log.take();
    harness.with(|cx| {
        cx.send(&[0; 900]);
        assert!(!cx.has_room(), "corked output counts");
    });
    assert_eq!(log.take(), ["it drain"]);
}

#[test]
fn nobody_who_did_not_ask_is_told_of_a_drain() {
    let log = Log::default();
    let mut harness = Harness::with_limits(Spy::new("it", &log), small());
    harness.set_window(0);
    harness.with(|cx| cx.send(&[0; 5000]));
    harness.set_window(10_000);
    assert_eq!(log.take(), ["it open"]);
}

#[test]
fn a_drain_that_asks_again_is_told_again() {
    let sent = Rc::new(Cell::new(0));
    let count = Rc::clone(&sent);
    let produce = move |cx: &mut Context<'_>| {
        while cx.has_room() && count.get() < 100 {
            cx.send(&[0; 300]);
            count.set(count.get() + 1);
        }
        Ok(())
    };
    let mut harness =
        Harness::with_limits(Spy::new("it", &Log::default()).on_open(produce.clone()).on_drain(produce), small());
    assert_eq!(harness.take_sent().len(), 30_000);
    assert_eq!(sent.get(), 100);
}

#[test]
fn a_close_settles_what_was_owed() {
    let log = Log::default();
    let mut harness = Harness::with_limits(Spy::new("it", &log), small());
    harness.set_window(0);
    harness.with(|cx| {
        cx.send(&[0; 600]);
        assert!(!cx.has_room());
    });
    harness.reset();
    assert_eq!(log.len(), 2, "open and close, and no drain");
    assert!(matches!(harness.close_reason(), Some(CloseReason::Io { unsent: 600, .. })));
}

/// Answers every input with so many bytes.
fn answering(log: &Log, bytes: usize) -> Spy {
    Spy::new("it", log).on_data(move |cx, input| {
        input.take_all();
        cx.send(&vec![0; bytes]);
        Ok(())
    })
}

#[test]
fn reading_is_held_above_the_high_water_mark_until_the_low_one() {
    let log = Log::default();
    let mut harness = Harness::with_limits(answering(&log, 500), small());
    log.take();
    harness.set_window(0);
    harness.feed(b"one");
    harness.feed(b"two");
    harness.feed(b"at the mark");
    assert_eq!(log.take(), ["it data one", "it data two", "it data at the mark"]);
    assert_eq!(harness.with(|cx| cx.is_reading_paused()), Some(true));
    harness.feed(b"above it");
    harness.set_window(1399);
    assert_eq!(log.take(), [""; 0]);
    harness.set_window(1);
    assert_eq!(log.take(), ["it data above it"]);
    assert_eq!(harness.with(|cx| cx.is_reading_paused()), Some(false));
}

#[test]
fn a_pause_of_the_protocols_own_outlasts_the_loops() {
    let log = Log::default();
    let mut harness = Harness::with_limits(Spy::new("it", &log), small());
    log.take();
    harness.set_window(0);
    harness.with(|cx| {
        cx.send(&[0; 2000]);
        cx.pause_reading();
    });
    harness.feed(b"hello");
    harness.set_window(2000);
    assert_eq!(log.take(), [""; 0]);
    harness.with(|cx| cx.resume_reading());
    assert_eq!(log.take(), ["it data hello"]);
}

#[test]
fn resuming_while_output_is_slow_reads_only_when_it_has_drained() {
    let log = Log::default();
    let mut harness = Harness::with_limits(
        Spy::new("it", &log).on_data(|cx, input| {
            input.take(1);
            cx.send(&[0; 2000]);
            cx.pause_reading();
            Ok(())
        }),
        small(),
    );
    harness.set_window(0);
    harness.feed(b"abc");
    log.take();
    harness.with(|cx| cx.resume_reading());
    assert_eq!(log.take(), [""; 0], "who takes no answers is asked for no more");
    harness.set_window(2000);
    assert_eq!(log.take(), ["it data bc"]);
}

#[test]
fn an_echo_whose_peer_never_reads_holds_no_more_than_documented() {
    let limits = Limits::default();
    let bound = limits.high_water + limits.read_budget;
    let mut harness = Harness::with_limits(TcpEcho, limits);
    harness.set_window(0);
    for _ in 0..100 {
        harness.feed(&[b'x'; 100_000]);
        let held = harness.core().held_bytes();
        assert!(held <= bound, "{held} bytes");
    }
    assert!(harness.peer().unread() >= 10_000_000 - bound, "the rest is the peer's own, or the kernel's");
    harness.peer().finish();
    harness.set_window(usize::MAX);
    harness.settle();
    assert_eq!(harness.take_sent().len(), 10_000_000, "and all of it comes when the peer reads at last");
    assert!(harness.saw_eof());
    assert_eq!(harness.core().held_bytes(), 0);
}

#[test]
fn a_drain_may_end_the_connection() {
    let log = Log::default();
    let spy = Spy::new("it", &log).on_drain(|cx| {
        cx.abort();
        Ok(())
    });
    let mut harness = Harness::with_limits(spy, small());
    harness.set_window(0);
    harness.with(|cx| {
        cx.send(&[0; 501]);
        assert!(!cx.has_room());
    });
    harness.set_window(501);
    assert_eq!(log.take(), ["it open", "it drain", "it close: aborted by this side, 0 bytes unsent"]);
    assert_eq!((harness.core().open_connections(), harness.core().armed_timers()), (0, 0));
}

#[test]
fn what_is_offered_again_when_the_output_has_drained_may_end_the_connection() {
    let log = Log::default();
    let mut first = true;
    let spy = Spy::new("it", &log).on_data(move |cx, _| {
        if std::mem::take(&mut first) {
            cx.send(&[0; 2000]);
            cx.pause_reading();
        } else {
            cx.abort();
        }
        Ok(())
    });
    let mut harness = Harness::with_limits(spy, small());
    harness.set_window(0);
    harness.feed(b"rest");
    harness.with(|cx| cx.resume_reading());
    assert_eq!(log.take(), ["it open", "it data rest"], "not offered again while the peer takes nothing");
    harness.set_window(2000);
    assert_eq!(log.take(), ["it data rest", "it close: aborted by this side, 0 bytes unsent"]);
    assert!(harness.peer().saw_reset());
    assert_eq!((harness.core().open_connections(), harness.core().held_bytes()), (0, 0));
}

/// Found on the simulated network: both ends of a connection sent more than the high-water mark at once, each waited for the
/// other to read, and after the stall time both were closed.
#[test]
fn what_a_protocol_sends_of_itself_does_not_keep_it_from_reading() {
    let log = Log::default();
    let spy = Spy::new("it", &log).on_open(|cx| {
        cx.send(&[b'm'; 3000]);
        Ok(())
    });
    let mut harness = Harness::connecting(spy, small());
    harness.set_window(0);
    harness.peer().establish();
    harness.settle();
    assert!(harness.core().held_bytes() > small().high_water);
    harness.feed(b"read all the same");
    assert_eq!(log.take(), ["it open", "it data read all the same"]);
    assert_eq!(harness.peer().unread(), 0);
}

/// Nor when it had been held for answers, which the peer has taken since.
#[test]
fn reading_goes_on_when_the_answers_are_taken_whatever_else_waits() {
    let log = Log::default();
    let mut harness = Harness::with_limits(answering(&log, 2000), small());
    harness.set_window(0);
    harness.feed(b"question");
    harness.with(|cx| cx.send(&[b'm'; 50_000]));
    harness.feed(b"held");
    assert_eq!(log.take(), ["it open", "it data question"]);
    harness.set_window(1899);
    assert_eq!(log.take(), [""; 0]);
    harness.set_window(1);
    assert_eq!(log.take(), ["it data held"]);
}

/// Takes a byte of each input, sends what `answer` does, and counts what it has taken.
fn taker(answer: impl Fn(&mut Context<'_>, u8) + 'static) -> (Harness, Rc<Cell<usize>>) {
    let taken = Rc::new(Cell::new(0));
    let count = Rc::clone(&taken);
    let protocol = protocol_fn(move |cx, input| {
        while !input.is_empty() && !cx.is_reading_paused() {
            let byte = input.take(1)[0];
            count.set(count.get() + 1);
            answer(cx, byte);
        }
        Ok(())
    });
    let mut harness = Harness::with_limits(protocol, small());
    harness.set_window(0);
    (harness, taken)
}

#[test]
fn what_was_sent_before_input_is_offered_again_is_no_answer_to_it() {
    let (mut harness, taken) = taker(|cx, byte| {
        if byte == b'p' {
            cx.pause_reading();
        }
    });
    harness.feed(b"p1");
    assert_eq!(taken.get(), 1);
    harness.with(|cx| {
        cx.resume_reading();
        cx.send(&[0; 5000]);
    });
    assert_eq!(taken.get(), 2, "offered again");
    harness.feed(b"2");
    assert_eq!(taken.get(), 3, "nobody waits for the peer to take what it did not ask for");
}

#[test]
fn what_is_said_unasked_holds_nobody_back() {
    let (mut harness, taken) = taker(|cx, byte| {
        if byte == b'g' {
            cx.unasked();
        }
        cx.send(&[0; 2000]);
    });
    harness.feed(b"g");
    harness.feed(b"a");
    assert_eq!(taken.get(), 2, "a greeting is no answer");
    harness.feed(b"b");
    assert_eq!(taken.get(), 2, "but this was one, and is not taken");
    harness.set_window(10_000);
    assert_eq!(taken.get(), 3);
}

#[test]
fn what_was_said_unasked_and_is_written_is_not_taken_off_the_answers_behind_it() {
    let (mut harness, taken) = taker(|cx, byte| match byte {
        b'p' => cx.pause_reading(),
        _ => cx.send(&[0; 1500]),
    });
    harness.feed(b"p1");
    harness.set_window(900);
    harness.with(|cx| {
        cx.resume_reading();
        cx.send(&[0; 900]);
    });
    assert_eq!((taken.get(), harness.with(|cx| cx.backlog())), (2, Some(1500)));
    harness.feed(b"2");
    assert_eq!(taken.get(), 2, "more than the high-water mark of answers waits");
}
