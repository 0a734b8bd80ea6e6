//! TCP echo on the network in memory.

use std::time::Duration;

use switchboard::testkit::{Harness, Peer};
use switchboard::{CloseReason, Context, Failure, Input, LimitExceeded, Limits, Protocol};
use switchboard_echo::TcpEcho;

/// Bytes in which a lost, doubled or moved piece shows.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0]).collect()
}

/// Small enough that a test reaches every mark.
fn small() -> Limits {
    Limits { high_water: 1_000, low_water: 100, send_buffer: 1_000, read_budget: 700, ..Limits::default() }
}

/// What may be held under these limits: the output that waits, and the unread rest of one read,
/// for which the loop takes 4 KiB at least.
const MOST: usize = 1_000 + 4 * 1_024;

/// What is held for the connection, on both sides of the echo.
fn held(harness: &mut Harness) -> usize {
    harness.core().held_bytes()
}

/// Lets the peer take `step` bytes at a time until nothing comes any more.
fn drain(harness: &mut Harness, step: usize) -> Vec<u8> {
    let mut echoed = Vec::new();
    loop {
        harness.set_window(step);
        let taken = harness.take_sent();
        if taken.is_empty() {
            return echoed;
        }
        echoed.extend(taken);
    }
}

#[test]
fn it_is_zero_sized() {
    assert_eq!(size_of::<TcpEcho>(), 0);
}

#[test]
fn every_byte_comes_back_however_it_was_cut() {
    let bytes = pattern(60);
    for first in 0..=bytes.len() {
        let mut harness = Harness::new(TcpEcho);
        harness.feed(&bytes[..first]);
        harness.feed(&bytes[first..]);
        assert_eq!(harness.take_sent(), bytes, "cut at {first}");
    }
    let mut harness = Harness::new(TcpEcho);
    for byte in &bytes {
        harness.feed(&[*byte]);
    }
    assert_eq!(harness.take_sent(), bytes);
    assert_eq!(held(&mut harness), 0);
}

#[test]
fn a_half_close_is_answered_when_all_is_echoed() {
    let mut harness = Harness::new(TcpEcho);
    harness.feed(b"hello");
    assert!(!harness.saw_eof());
    harness.eof();
    assert_eq!(harness.take_sent(), b"hello");
    assert!(harness.saw_eof());
    assert!(matches!(harness.close_reason(), Some(CloseReason::Peer)));
    assert!(harness.peer().is_closed() && !harness.peer().saw_reset());
}

#[test]
fn bytes_with_the_half_close_right_behind_them_are_echoed() {
    let mut harness = Harness::new(TcpEcho);
    harness.feed_eof(b"hello");
    assert_eq!(harness.take_sent(), b"hello");
    assert!(harness.saw_eof());
}

#[test]
fn a_half_close_without_a_byte_is_answered() {
    let mut harness = Harness::new(TcpEcho);
    harness.eof();
    assert!(harness.saw_eof());
    assert!(matches!(harness.close_reason(), Some(CloseReason::Peer)));
}

#[test]
fn eight_mebibytes_at_once_and_a_half_close_come_back_whole() {
    let bytes = pattern(8 << 20);
    let mut harness = Harness::new(TcpEcho);
    harness.feed_eof(&bytes);
    assert!(harness.take_sent() == bytes, "something was lost or moved");
    assert!(harness.saw_eof());
}

#[test]
fn a_peer_that_never_reads_is_not_read_beyond_the_limits() {
    let mut harness = Harness::with_limits(TcpEcho, small());
    harness.set_window(0);
    for _ in 0..100 {
        harness.feed(&pattern(500));
        assert!(held(&mut harness) <= MOST, "{} bytes held", held(&mut harness));
    }
    assert!(harness.peer().unread() > 40_000, "the rest waits with the peer");
    assert!(harness.is_open());
}

#[test]
fn a_peer_that_never_reads_is_given_up() {
    let limits = small();
    let stall = limits.write_stall;
    let mut harness = Harness::with_limits(TcpEcho, limits);
    harness.set_window(0);
    harness.feed(&pattern(5_000));
    harness.advance(stall - Duration::from_millis(1));
    assert!(harness.is_open());
    harness.advance(Duration::from_millis(2));
    assert!(matches!(harness.close_reason(), Some(CloseReason::Limit(LimitExceeded::WriteStall(_)))));
    assert_eq!(held(&mut harness), 0);
}

#[test]
fn a_peer_that_reads_late_gets_everything_in_steps_of_any_size() {
    let bytes = pattern(20_000);
    for step in [1, 7, 99, 100, 101, 500, 1_000, 3_000] {
        let mut harness = Harness::with_limits(TcpEcho, small());
        harness.set_window(0);
        harness.feed(&bytes);
        assert!(harness.peer().unread() > 0);
        assert!(drain(&mut harness, step) == bytes, "in steps of {step}");
        assert_eq!(held(&mut harness), 0);
        harness.eof();
        assert!(harness.saw_eof());
    }
}

#[test]
fn a_half_close_behind_a_backlog_waits_for_it() {
    let bytes = pattern(20_000);
    let mut harness = Harness::with_limits(TcpEcho, small());
    harness.set_window(0);
    harness.feed_eof(&bytes);
    assert!(!harness.saw_eof());
    assert!(drain(&mut harness, 333) == bytes);
    assert!(harness.saw_eof());
    assert!(matches!(harness.close_reason(), Some(CloseReason::Peer)));
}

/// Reads, writes and the peer's appetite cut at (fixed) random: nothing is lost, doubled or moved,
/// and the marks hold all the time.
#[test]
fn nothing_is_lost_on_any_schedule() {
    for seed in 1..=200u64 {
        let mut random = Random(seed);
        let bytes = pattern(5_000 + random.below(5_000));
        let mut harness = Harness::with_limits(TcpEcho, small());
        let (mut fed, mut echoed) = (0, Vec::new());
        while fed < bytes.len() {
            cut(harness.peer(), &mut random);
            let next = (fed + random.below(900)).min(bytes.len());
            harness.feed(&bytes[fed..next]);
            fed = next;
            harness.set_window(random.below(600));
            assert!(held(&mut harness) <= MOST, "seed {seed}: {} bytes held", held(&mut harness));
            echoed.extend(harness.take_sent());
        }
        harness.eof();
        echoed.extend(harness.take_sent());
        echoed.extend(drain(&mut harness, 501));
        assert!(echoed == bytes, "seed {seed}");
        assert!(harness.saw_eof(), "seed {seed}");
    }
}

fn cut(peer: &Peer, random: &mut Random) {
    peer.cut_reads((0..random.below(4)).map(|_| random.below(300)).collect::<Vec<_>>());
    peer.cut_writes((0..random.below(4)).map(|_| random.below(300)).collect::<Vec<_>>());
}

/// xorshift64*: the schedule must be the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).expect("31 bits") % bound
    }
}

#[test]
fn a_reset_leaves_nothing_behind() {
    let mut harness = Harness::with_limits(TcpEcho, small());
    harness.set_window(0);
    harness.feed(&pattern(5_000));
    harness.reset();
    assert!(matches!(harness.close_reason(), Some(CloseReason::Io { .. })));
    assert_eq!((held(&mut harness), harness.core().armed_timers()), (0, 0));
}

#[test]
fn a_drain_delivers_what_is_on_its_way() {
    let mut harness = Harness::new(TcpEcho);
    harness.set_window(2);
    harness.feed(b"hello");
    harness.shutdown(Duration::from_secs(1));
    harness.set_window(100);
    assert_eq!(harness.take_sent(), b"hello");
    assert!(harness.saw_eof());
}

/// Fills the output and lets the echo take over: when 300 bytes are there, or at the half-close.
struct Prefix {
    at_eof: bool,
}

impl Prefix {
    fn switch(cx: &mut Context<'_>) {
        cx.send(&[b'.'; 900]);
        cx.switch_to(TcpEcho);
    }
}

impl Protocol for Prefix {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        if input.len() >= 300 && !self.at_eof {
            Self::switch(cx);
        }
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
        Self::switch(cx);
        Ok(())
    }
}

/// The echo begins with no room, so there is input that it must leave and take up again.
#[test]
fn it_can_take_over_a_connection_with_output_waiting() {
    let bytes = pattern(700);
    for (at_eof, with_eof) in [(false, false), (false, true), (true, true)] {
        let limits = Limits { send_buffer: 2_000, ..small() };
        let mut harness = Harness::with_limits(Prefix { at_eof }, limits);
        harness.set_window(0);
        harness.feed(&bytes[..10]);
        if with_eof {
            harness.feed_eof(&bytes[10..]);
        } else {
            harness.feed(&bytes[10..]);
        }
        let echoed = drain(&mut harness, 70);
        assert!(echoed[..900] == [b'.'; 900] && echoed[900..] == bytes, "{:?}", harness.close_reason());
        assert_eq!(harness.saw_eof(), with_eof);
    }
}
