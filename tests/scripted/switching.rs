//! One protocol takes over from another in mid-connection, and nothing is lost.

use std::time::Duration;

use switchboard::testkit::Harness;
use switchboard::{CloseReason, Context, Failure, Input, LimitExceeded, Limits, Protocol};

use crate::spy::{Log, Spy};
use crate::world::millis;

/// Waits for `UPGRADE\n`, says so, and hands over to an echo that shouts.
struct Upgrade;

/// Echoes in capitals, and has its say when the peer half-closes.
struct Shout;

impl Protocol for Upgrade {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        if input.len() >= 8 {
            assert_eq!(input.take(8), b"UPGRADE\n");
            cx.send(b"ok ");
            cx.switch_to(Shout);
        }
        Ok(())
    }
}

impl Protocol for Shout {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.send(b"open ");
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        let bytes = input.take_all();
        bytes.make_ascii_uppercase();
        cx.send(bytes);
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        assert!(rest.is_empty());
        cx.send(b" bye");
        cx.finish();
        Ok(())
    }
}

#[test]
fn nothing_is_lost_at_any_split_point() {
    let script = b"UPGRADE\nhello, you there";
    for first in 0..=script.len() {
        for second in first..=script.len() {
            for eof_with_last in [false, true] {
                let mut harness = Harness::new(Upgrade);
                harness.feed(&script[..first]);
                harness.feed(&script[first..second]);
                if eof_with_last {
                    harness.feed_eof(&script[second..]);
                } else {
                    harness.feed(&script[second..]);
                    harness.eof();
                }
                assert_eq!(harness.take_sent(), b"ok open HELLO, YOU THERE bye", "split at {first} and {second}");
                assert!(matches!(harness.close_reason(), Some(CloseReason::Peer)));
                assert_eq!(harness.core().held_bytes(), 0);
            }
        }
    }
}

#[test]
fn nothing_is_lost_however_reads_and_writes_are_cut() {
    let script = b"UPGRADE\nhello, you there";
    for size in 1..=script.len() {
        let mut harness = Harness::new(Upgrade);
        harness.peer().cut_reads([size, 0, size, 1]);
        harness.peer().cut_writes([1, 0, size, 2]);
        harness.feed_eof(script);
        assert_eq!(harness.take_sent(), b"ok open HELLO, YOU THERE bye", "pieces of {size}");
        assert!(harness.saw_eof());
    }
}

#[test]
fn a_switch_from_a_message_hands_over_what_was_left() {
    let log = Log::default();
    let next = log.clone();
    let old = Spy::new("old", &log).on_data(|_, _| Ok(())).on_message(move |cx, _| {
        cx.switch_to(Spy::new("new", &next));
        Ok(())
    });
    let mut harness = Harness::new(old);
    harness.feed(b"left");
    harness.post(switchboard::Message::user(())).unwrap();
    assert_eq!(log.take()[2..], ["old message", "old close: another protocol took over", "new open", "new data left"]);
    harness.feed(b"more");
    assert_eq!(log.take(), ["new data more"]);
}

#[test]
fn a_switch_in_a_pause_reads_on() {
    let log = Log::default();
    let next = log.clone();
    let old = Spy::new("old", &log)
        .on_open(|cx| {
            cx.pause_reading();
            Ok(())
        })
        .on_message(move |cx, _| {
            cx.switch_to(Spy::new("new", &next));
            Ok(())
        });
    let mut harness = Harness::new(old);
    harness.feed_eof(b"unread");
    harness.post(switchboard::Message::user(())).unwrap();
    assert_eq!(log.take()[3..], ["new open", "new data unread", "new eof", "new close: closed by the peer"]);
}

#[test]
fn a_switch_at_the_half_close_hands_over_the_rest_and_the_half_close() {
    let log = Log::default();
    let next = log.clone();
    let old = Spy::new("old", &log).on_data(|_, _| Ok(())).on_eof(move |cx, _| {
        cx.switch_to(Spy::new("new", &next));
        Ok(())
    });
    let mut harness = Harness::new(old);
    harness.feed_eof(b"rest");
    assert_eq!(
        log.take()[1..],
        [
            "old data rest",
            "old eof rest",
            "old close: another protocol took over",
            "new open",
            "new data rest",
            "new eof",
            "new close: closed by the peer"
        ]
    );
}

#[test]
fn a_switch_while_the_loop_drains_tells_the_next_one() {
    let log = Log::default();
    let next = log.clone();
    let old = Spy::new("old", &log).on_shutdown(move |cx| {
        cx.switch_to(Spy::new("new", &next));
        Ok(())
    });
    let mut harness = Harness::new(old);
    harness.shutdown(Duration::from_secs(1));
    assert_eq!(
        log.take()[1..],
        [
            "old shutdown",
            "old close: another protocol took over",
            "new open",
            "new shutdown",
            "new close: closed by this side"
        ]
    );
}

#[test]
fn output_that_waits_survives_and_so_does_its_drain() {
    let log = Log::default();
    let next = log.clone();
    let limits = Limits { high_water: 1000, low_water: 100, ..Limits::default() };
    let mut harness = Harness::with_limits(Spy::new("old", &log), limits);
    harness.set_window(0);
    harness.with(move |cx| {
        cx.send(&[b'o'; 600]);
        assert!(!cx.has_room());
        cx.switch_to(Spy::new("new", &next).on_open(|cx| {
            assert!(!cx.has_room(), "what waits from before counts");
            cx.send(b"new");
            Ok(())
        }));
    });
    log.take();
    harness.set_window(1000);
    assert_eq!(harness.take_sent(), [&[b'o'; 600][..], b"new"].concat());
    assert_eq!(log.take(), ["new drain"]);
}

#[test]
fn a_drain_owed_to_the_old_one_is_not_told_to_one_who_never_asked() {
    let log = Log::default();
    let next = log.clone();
    let limits = Limits { high_water: 1000, low_water: 100, ..Limits::default() };
    let mut harness = Harness::with_limits(Spy::new("old", &log), limits);
    harness.set_window(0);
    harness.with(move |cx| {
        cx.send(&[b'o'; 600]);
        assert!(!cx.has_room());
        cx.switch_to(Spy::new("new", &next));
    });
    log.take();
    harness.set_window(1000);
    assert_eq!(log.take(), [""; 0]);
}

#[test]
fn the_old_ones_timers_go_and_what_it_held_is_given_back() {
    let log = Log::default();
    let next = log.clone();
    let mut harness = Harness::new(Spy::new("old", &log).on_open(|cx| {
        cx.set_timer(millis(10));
        cx.hold(5000)?;
        Ok(())
    }));
    assert_eq!((harness.core().armed_timers(), harness.core().held_bytes()), (1, 5000));
    harness.with(move |cx| cx.switch_to(Spy::new("new", &next)));
    assert_eq!((harness.core().armed_timers(), harness.core().held_bytes()), (0, 0));
    harness.advance(millis(20));
    assert_eq!(log.take(), ["old open", "old close: another protocol took over", "new open"]);
}

#[test]
fn close_and_failure_in_the_same_callback_win_over_the_switch() {
    for fail in [false, true] {
        let log = Log::default();
        let next = log.clone();
        let mut harness = Harness::new(Spy::new("old", &log).on_data(move |cx, input| {
            input.take_all();
            cx.switch_to(Spy::new("new", &next));
            if fail {
                return Err(Failure::peer("bad"));
            }
            cx.close();
            Ok(())
        }));
        harness.feed(b"x");
        assert!(!log.take().iter().any(|note| note.starts_with("new")));
        assert!(!harness.is_open());
    }
}

#[test]
fn wrapping_keeps_the_protocol_alive_inside() {
    let log = Log::default();
    let mut harness = Harness::new(Spy::new("it", &log).on_data(|_, input| {
        input.take(1);
        Ok(())
    }));
    harness.feed(b"ab");
    harness.with(|cx| cx.switch_with(|inner| inner));
    assert_eq!(log.take(), ["it open", "it data ab", "it open", "it data b"], "opened again, and never closed");
}

/// Hands over to another of its kind, consuming `step` bytes each time.
struct Restless {
    step: usize,
}

impl Protocol for Restless {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        input.take(self.step.min(input.len()));
        cx.switch_to(Self { step: self.step });
        Ok(())
    }
}

#[test]
fn a_switch_without_progress_is_limited() {
    let mut harness = Harness::new(Restless { step: 0 });
    harness.feed(b"x");
    let reason = harness.close_reason();
    assert!(matches!(reason, Some(CloseReason::Limit(LimitExceeded::Switches(16)))), "{reason:?}");
}

#[test]
fn a_switch_with_progress_is_not() {
    let mut harness = Harness::new(Restless { step: 1 });
    harness.feed(&[b'x'; 1000]);
    assert!(harness.is_open());
    assert_eq!(harness.core().held_bytes(), 0);
}

/// Hands over as soon as it is opened.
struct Mirror;

impl Protocol for Mirror {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.switch_to(Self);
        Ok(())
    }

    fn on_data(&mut self, _: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

#[test]
fn a_switch_in_every_on_open_is_limited() {
    let mut harness = Harness::new(Mirror);
    assert!(matches!(harness.close_reason(), Some(CloseReason::Limit(LimitExceeded::Switches(_)))));
}

/// Hands over to one like it, so many times.
struct Countdown(u32);

impl Protocol for Countdown {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if let Some(left) = self.0.checked_sub(1) {
            cx.switch_to(Self(left));
        }
        Ok(())
    }

    fn on_data(&mut self, _: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

#[test]
fn the_sixteenth_switch_without_progress_is_the_last() {
    assert!(Harness::new(Countdown(16)).is_open());
    assert!(!Harness::new(Countdown(17)).is_open());
}
