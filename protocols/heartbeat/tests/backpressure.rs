//! The line protocol and peers that do not take its output.

use std::time::Duration;

use switchboard::testkit::Harness;
use switchboard::{CloseReason, Context, Failure, Input, LimitExceeded, Limits, Protocol};
use switchboard_heartbeat::{Config, Heartbeat, PingPong};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn heartbeat() -> Heartbeat {
    Heartbeat::new(Config::default().with_jitter(Duration::ZERO).expect("no jitter is allowed"))
}

fn sent(harness: &mut Harness) -> String {
    String::from_utf8(harness.take_sent()).expect("text")
}

/// Small enough that a test reaches every mark.
fn small() -> Limits {
    Limits { high_water: 1_000, low_water: 100, send_buffer: 1_500, read_budget: 700, ..Limits::default() }
}

/// `count` pings that nobody takes the answers of.
fn flooded(count: u64) -> Harness {
    let mut harness = Harness::with_limits(heartbeat().around(PingPong::default()), small());
    harness.set_window(0);
    for number in 0..count {
        harness.feed(format!("PING {number}\n").as_bytes());
        // The output that waits, and the rest of one read, for which the loop takes 4 KiB at least.
        let held = harness.core().held_bytes();
        assert!(held <= 1_000 + 4 * 1_024, "{held} bytes held");
    }
    harness
}

#[test]
fn a_flood_nobody_reads_the_answers_of_waits_with_the_peer() {
    let mut harness = flooded(5_000);
    assert!(harness.peer().unread() > 40_000);
    let mut answers = String::new();
    loop {
        harness.set_window(333);
        let taken = sent(&mut harness);
        if taken.is_empty() {
            break;
        }
        answers.push_str(&taken);
    }
    let expected: String = (0..5_000).map(|number| format!("PONG {number}\n")).collect();
    assert!(answers == expected, "an answer was lost, doubled or moved");
    assert_eq!(harness.core().held_bytes(), 0);
}

#[test]
fn a_peer_that_takes_nothing_is_ended_by_the_write_stall_not_for_silence() {
    let mut harness = flooded(5_000);
    let stall = small().write_stall;
    harness.advance(stall - ms(1));
    assert!(harness.is_open());
    harness.advance(ms(2));
    assert!(matches!(harness.close_reason(), Some(CloseReason::Limit(LimitExceeded::WriteStall(_)))));
    harness.advance(secs(10));
    assert_eq!((harness.core().held_bytes(), harness.core().armed_timers()), (0, 0));
}

#[test]
fn no_pings_pile_up_behind_output_that_waits() {
    let mut harness = Harness::new(heartbeat().around(PingPong::default()));
    harness.set_window(0);
    harness.feed(b"PING 1\n");
    for taken in ["P", "O", "N", "G", " ", "1"] {
        harness.advance(secs(20));
        harness.set_window(1);
        assert_eq!(sent(&mut harness), taken);
    }
    assert!(harness.is_open(), "two minutes of silence, but it had something to read");
    harness.set_window(1_000);
    harness.advance(secs(5));
    assert_eq!(sent(&mut harness), "\nPING 1\n", "and now it is asked");
}

/// Fills the output at the peer's half-close, then lets the line protocol take over.
struct Prefix;

impl Protocol for Prefix {
    fn on_data(&mut self, _: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
        cx.send(&[b'.'; 900]);
        cx.switch_to(PingPong::default());
        Ok(())
    }
}

#[test]
fn taking_over_behind_a_half_close_it_answers_what_was_left() {
    let mut harness = Harness::with_limits(Prefix, small());
    harness.set_window(0);
    harness.feed_eof(b"PING 1\nPING 2\n");
    harness.set_window(10_000);
    assert_eq!(sent(&mut harness), format!("{}PONG 1\nPONG 2\n", ".".repeat(900)));
    assert!(matches!(harness.close_reason(), Some(CloseReason::Peer)));
}
