//! The idle timeout in virtual time.

use std::time::Duration;

use switchboard::testkit::Harness;
use switchboard::{
    Blame, CloseReason, Context, Failure, Input, LimitExceeded, Limits, Message, Protocol, TimerId, protocol_fn,
};
use switchboard_heartbeat::{Idle, IdleTimeout};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const MINUTE: Duration = Duration::from_secs(60);

fn echo() -> impl Protocol {
    protocol_fn(|cx, input| {
        cx.send(input.take_all());
        Ok(())
    })
}

fn around(protocol: impl Protocol) -> Harness {
    Harness::new(IdleTimeout::new(MINUTE).around(protocol))
}

fn assert_closes_after(harness: &mut Harness, idle: Duration) {
    harness.advance(idle - ms(1));
    assert!(harness.is_open(), "{:?}", harness.close_reason());
    harness.advance(ms(1));
    let reason = harness.close_reason().expect("closed");
    let error = reason.error().and_then(|error| error.downcast_ref::<Idle>());
    assert!(error.is_some_and(|error| error.idle >= MINUTE), "{reason}");
    assert_eq!(reason.blame(), Some(Blame::Limit));
    assert!(harness.saw_eof() && !harness.peer().saw_reset());
    harness.advance(MINUTE);
    assert_eq!((harness.core().armed_timers(), harness.core().open_connections()), (0, 0));
}

#[test]
fn it_closes_at_the_time_and_writes_nothing() {
    let mut harness = around(echo());
    assert_closes_after(&mut harness, MINUTE);
    assert_eq!(harness.take_sent(), b"");
    assert!(harness.close_reason().unwrap().to_string().contains("nothing came or went for 60s"));
}

#[test]
fn input_puts_it_off_to_the_millisecond() {
    let mut harness = around(echo());
    for after in [1, 30_000, 59_999, 12_345, 59_999, 59_999] {
        harness.advance(ms(after));
        harness.feed(b"x");
    }
    assert_closes_after(&mut harness, MINUTE);
}

/// Sends something each half minute, from a timer the layer never sees.
struct Stream {
    left: u32,
}

impl Protocol for Stream {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.set_timer(MINUTE / 2);
        Ok(())
    }

    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        input.take_all();
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        cx.send(b"news");
        self.left -= 1;
        if self.left > 0 {
            cx.set_timer(MINUTE / 2);
        }
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, _: Message) -> Result<(), Failure> {
        cx.send(b"mail");
        Ok(())
    }
}

#[test]
fn output_puts_it_off_whoever_sends_it() {
    let mut harness = around(Stream { left: 10 });
    harness.advance(MINUTE * 5);
    assert_eq!(harness.take_sent(), b"news".repeat(10));
    harness.advance(MINUTE / 2);
    harness.post(Message::user(())).unwrap();
    harness.advance(MINUTE / 2);
    harness.with(|cx| cx.send(b"from outside")).unwrap();
    assert_closes_after(&mut harness, MINUTE);
}

#[test]
fn a_large_message_that_trickles_in_is_traffic() {
    let patient = protocol_fn(|_, input| {
        if input.len() < 1_000 {
            input.wait_for(1_000);
        } else {
            input.take_all();
        }
        Ok(())
    });
    let mut harness = around(patient);
    for _ in 0..999 {
        harness.advance(MINUTE - ms(1));
        harness.feed(b"x");
        assert!(harness.is_open());
    }
    assert_closes_after(&mut harness, MINUTE);
}

#[test]
fn a_protocol_that_does_not_read_is_not_idle() {
    let mut harness = around(protocol_fn(|cx, input| {
        input.take_all();
        cx.pause_reading();
        Ok(())
    }));
    harness.feed(b"x");
    harness.advance(MINUTE * 10);
    assert!(harness.is_open());
    harness.with(|cx| cx.resume_reading()).unwrap();
    harness.advance(MINUTE);
    assert!(!harness.is_open());
}

#[test]
fn output_that_waits_is_left_to_the_write_stall() {
    let limits = Limits { write_stall: MINUTE * 3, ..Limits::default() };
    let mut harness = Harness::with_limits(IdleTimeout::new(MINUTE).around(echo()), limits);
    harness.set_window(0);
    harness.feed(b"hello");
    harness.advance(MINUTE * 3 - ms(1));
    assert!(harness.is_open());
    harness.advance(ms(1));
    assert!(matches!(harness.close_reason(), Some(CloseReason::Limit(LimitExceeded::WriteStall(_)))));
}

#[test]
fn a_slow_reader_is_not_idle() {
    let limits = Limits { write_stall: MINUTE * 5, ..Limits::default() };
    let mut harness = Harness::with_limits(IdleTimeout::new(MINUTE).around(echo()), limits);
    harness.set_window(0);
    harness.feed(&[b'x'; 100]);
    for _ in 0..99 {
        harness.advance(ms(20_000));
        harness.set_window(1);
    }
    assert!(harness.is_open());
    harness.set_window(100);
    harness.advance(MINUTE);
    assert!(!harness.is_open());
}

#[test]
fn never_and_at_once() {
    let mut harness = Harness::new(IdleTimeout::new(Duration::MAX).around(echo()));
    harness.advance(MINUTE * 60 * 24 * 365);
    assert!(harness.is_open());
    let mut harness = Harness::new(IdleTimeout::new(Duration::ZERO).around(echo()));
    harness.settle();
    assert!(!harness.is_open());
}
