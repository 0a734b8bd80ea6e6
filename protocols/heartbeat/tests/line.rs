//! The line protocol in virtual time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::Harness;
use switchboard::{Blame, CloseReason};
use switchboard_heartbeat::{
    Config, Heartbeat, HeartbeatLine, LONGEST_LINE, LineError, PeerRefused, PeerSilent, PingPong, Rtt,
};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// 5 s and 15 s without jitter.
fn steady() -> Config {
    Config::default().with_jitter(Duration::ZERO).expect("no jitter is allowed")
}

fn beating() -> Harness {
    Harness::new(Heartbeat::new(steady()).around(PingPong::default()))
}

fn answering() -> Harness {
    Harness::new(PingPong::default())
}

fn sent(harness: &mut Harness) -> String {
    String::from_utf8(harness.take_sent()).expect("text")
}

fn rtt(harness: &mut Harness) -> Option<Rtt> {
    harness.protocol::<HeartbeatLine>()?.layer().rtt()
}

/// The error that the connection closed with.
fn error<E: std::error::Error + Clone + 'static>(harness: &mut Harness) -> E {
    let reason = harness.close_reason().expect("closed");
    reason.error().and_then(|error| error.downcast_ref::<E>()).unwrap_or_else(|| panic!("{reason}")).clone()
}

/// It has closed, gave everything back and left nothing behind.
fn assert_nothing_left(harness: &mut Harness) {
    harness.advance(secs(10));
    assert!(harness.peer().is_closed() && !harness.peer().saw_reset());
    assert_eq!((harness.core().held_bytes(), harness.core().armed_timers()), (0, 0));
    assert_eq!(harness.core().open_connections(), 0);
}

#[test]
fn a_ping_is_answered_with_its_number() {
    let mut harness = answering();
    for number in ["0", "1", "4294967296", "18446744073709551615"] {
        harness.feed(format!("PING {number}\n").as_bytes());
        assert_eq!(sent(&mut harness), format!("PONG {number}\n"));
    }
}

#[test]
fn alone_it_sends_nothing_of_itself() {
    let mut harness = answering();
    harness.advance(secs(3_600));
    assert_eq!(sent(&mut harness), "");
    assert!(harness.is_open());
}

#[test]
fn a_heartbeat_sends_one_ping_an_interval() {
    let mut harness = beating();
    for number in 1..100 {
        harness.advance(ms(4_999));
        assert_eq!(sent(&mut harness), "");
        harness.advance(ms(1));
        assert_eq!(sent(&mut harness), format!("PING {number}\n"));
        harness.feed(format!("PONG {number}\n").as_bytes());
    }
}

#[test]
fn jitter_sends_it_up_to_its_bound_earlier() {
    let mut harness = Harness::new(Heartbeat::new(Config::default()).around(PingPong::default()));
    let mut last = harness.now();
    let mut gaps = Vec::new();
    while gaps.len() < 200 {
        harness.advance(ms(1));
        let line = sent(&mut harness);
        if !line.is_empty() {
            gaps.push(harness.now().saturating_since(last));
            last = harness.now();
            harness.feed(line.replace("PING", "PONG").as_bytes());
        }
    }
    let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
    assert!((ms(4_500)..ms(4_550)).contains(least), "{least:?}");
    assert!((ms(4_950)..=ms(5_000)).contains(most), "{most:?}");
}

#[test]
fn round_trips_are_told_and_can_be_read() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&seen);
    let heartbeat = Heartbeat::new(steady()).observed_by(move |id, rtt| noted.borrow_mut().push((id, rtt)));
    let mut harness = Harness::new(heartbeat.around(PingPong::default()));
    assert_eq!(rtt(&mut harness), None);
    for (number, trip) in [(1, 8), (2, 16), (3, 0)] {
        harness.advance(secs(5) - (harness.now().saturating_since(switchboard::Time::ZERO) - secs(5) * (number - 1)));
        harness.advance(ms(trip));
        harness.feed(format!("PONG {number}\n").as_bytes());
    }
    let rtt = rtt(&mut harness).unwrap();
    assert_eq!((rtt.last, rtt.worst), (ms(0), ms(16)));
    assert_eq!(rtt.smoothed, Duration::from_micros(7_875), "RFC 6298 §2: 8, 9, 7.875");
    let seen = seen.borrow();
    assert!(seen.iter().all(|&(id, _)| id == harness.id()));
    assert_eq!(seen.iter().map(|(_, rtt)| rtt.last).collect::<Vec<_>>(), [ms(8), ms(16), ms(0)]);
    assert_eq!(seen[2].1, rtt);
}

#[test]
fn a_silent_peer_is_given_up_after_the_timeout_and_the_reason_says_so() {
    let mut harness = beating();
    harness.advance(ms(14_999));
    assert!(harness.is_open());
    harness.advance(ms(1));
    assert_eq!(sent(&mut harness), "PING 1\nPING 2\n");
    assert_eq!(error::<PeerSilent>(&mut harness).silent, secs(15));
    let reason = harness.close_reason().unwrap();
    assert_eq!(reason.blame(), Some(Blame::Limit));
    assert_eq!(reason.to_string(), "a limit was hit: no sign of life from the peer for 15s");
    assert_nothing_left(&mut harness);
}

#[test]
fn any_traffic_proves_life() {
    for piece in ["PING 7\n", "PONG 99\n", "P"] {
        let mut harness = beating();
        for _ in 0..100 {
            harness.advance(ms(14_999));
            harness.feed(piece.as_bytes());
            assert!(harness.is_open(), "{piece:?}: {:?}", harness.close_reason());
            if piece == "P" {
                harness.feed(b"ING 1\n");
            }
        }
        assert_eq!(rtt(&mut harness), None, "{piece:?}");
        harness.advance(secs(15));
        assert_eq!(error::<PeerSilent>(&mut harness).silent, secs(15));
    }
}

#[test]
fn a_process_that_was_stopped_asks_before_it_gives_up() {
    let mut harness = beating();
    harness.network().advance(secs(3_600));
    harness.settle();
    assert_eq!(sent(&mut harness), "PING 1\n");
    harness.advance(ms(9_999));
    assert!(harness.is_open());
    harness.advance(ms(1));
    assert_eq!(error::<PeerSilent>(&mut harness).silent, secs(15));
}

#[test]
fn a_pong_that_answers_nothing_is_life_and_no_more() {
    let mut harness = beating();
    harness.feed(b"PONG 1\nPONG 0\nPONG 18446744073709551615\n");
    assert_eq!(rtt(&mut harness), None, "before any was asked for");
    harness.advance(secs(5));
    harness.feed(b"PONG 2\nPONG 4294967297\n");
    assert_eq!(rtt(&mut harness), None, "2 was not asked for, and 2^32 + 1 is not 1");
    harness.advance(ms(3));
    harness.feed(b"PONG 1\n");
    assert_eq!(rtt(&mut harness).unwrap().last, ms(3));
    harness.advance(ms(1));
    harness.feed(b"PONG 1\n");
    assert_eq!(rtt(&mut harness).unwrap().last, ms(3), "a second time");
    assert_eq!(sent(&mut harness), "PING 1\n", "none of them is answered");
    assert!(harness.is_open());
}

/// The figure that tells of a stall must not be lost because two answers come in one piece.
#[test]
fn answers_to_several_pings_at_once_time_the_oldest() {
    let mut harness = beating();
    harness.advance(secs(12));
    assert_eq!(sent(&mut harness), "PING 1\nPING 2\n");
    harness.feed(b"PONG 1\nPONG 2\n");
    assert_eq!(rtt(&mut harness).unwrap().worst, secs(7));
}

#[test]
fn any_other_line_is_answered_with_a_reason_and_a_close() {
    for (line, expected) in [
        ("hello\n", LineError::Unknown),
        ("\n", LineError::Unknown),
        ("PING 1\r\n", LineError::Number),
        ("PONG x\n", LineError::Number),
        ("PING 18446744073709551616\n", LineError::Number),
    ] {
        let mut harness = beating();
        harness.feed(format!("PING 1\n{line}PING 2\n").as_bytes());
        assert_eq!(sent(&mut harness), format!("PONG 1\nERR {expected}\n"), "{line:?}");
        assert!(harness.saw_eof());
        assert_eq!(error::<LineError>(&mut harness), expected);
        assert_eq!(harness.close_reason().unwrap().blame(), Some(Blame::Peer));
        assert_nothing_left(&mut harness);
    }
}

#[test]
fn a_line_too_long_is_refused_before_its_end() {
    let mut harness = beating();
    for _ in 1..LONGEST_LINE {
        harness.feed(b"x");
        assert!(harness.is_open());
    }
    harness.feed(b"x");
    assert_eq!(sent(&mut harness), format!("ERR {}\n", LineError::TooLong));
    assert_eq!(error::<LineError>(&mut harness), LineError::TooLong);
    assert_nothing_left(&mut harness);
}

#[test]
fn last_words_arrive_although_input_is_unread() {
    for rest in [1, 1_000, 200_000] {
        let mut harness = beating();
        let mut input = b"hello\n".to_vec();
        input.resize(input.len() + rest, b'x');
        harness.feed(&input);
        harness.feed(&vec![b'y'; rest]);
        assert_eq!(sent(&mut harness), format!("ERR {}\n", LineError::Unknown), "{rest} bytes behind it");
        assert!(harness.saw_eof() && !harness.peer().saw_reset());
        assert_nothing_left(&mut harness);
    }
}

#[test]
fn an_error_of_the_peers_is_not_answered() {
    let mut harness = beating();
    harness.feed(b"ERR \x1b[2Jno\xff\n");
    assert_eq!(sent(&mut harness), "");
    assert_eq!(error::<PeerRefused>(&mut harness).reason, "\\x1b[2Jno\\xff");
    assert_nothing_left(&mut harness);

    let mut harness = beating();
    harness.feed(format!("ERR {}", "x".repeat(10_000)).as_bytes());
    assert_eq!(sent(&mut harness), "");
    assert_eq!(error::<PeerRefused>(&mut harness).reason.len(), LONGEST_LINE - 4);
}

#[test]
fn every_split_gives_the_same_answers_and_the_same_end() {
    let script = b"PING 0\nPONG 3\nPING 18446744073709551615\nPING 12\nPING +1\nPING 2\n";
    let expected = format!("PONG 0\nPONG 18446744073709551615\nPONG 12\nERR {}\n", LineError::Number);
    for first in 0..=script.len() {
        for second in first..=script.len() {
            let mut harness = beating();
            for piece in [&script[..first], &script[first..second], &script[second..]] {
                harness.feed(piece);
            }
            assert_eq!(sent(&mut harness), expected, "split at {first} and {second}");
            assert_eq!(error::<LineError>(&mut harness), LineError::Number);
        }
    }
}

#[test]
fn a_half_close_between_lines_is_a_close_in_order() {
    let mut harness = beating();
    harness.feed_eof(b"PING 1\nPING 2\n");
    assert_eq!(sent(&mut harness), "PONG 1\nPONG 2\n");
    assert!(harness.saw_eof());
    assert!(matches!(harness.close_reason(), Some(CloseReason::Peer)));
    assert_nothing_left(&mut harness);
}

#[test]
fn a_half_close_within_a_line_is_an_error() {
    for whole in ["", "PING 1\n"] {
        let mut harness = beating();
        harness.feed_eof(format!("{whole}PING 2").as_bytes());
        let answered = whole.replace("PING", "PONG");
        assert_eq!(sent(&mut harness), format!("{answered}ERR {}\n", LineError::Unfinished));
        assert_eq!(error::<LineError>(&mut harness), LineError::Unfinished);
        assert_nothing_left(&mut harness);
    }
}

#[test]
fn a_drain_closes_in_order() {
    let mut harness = beating();
    harness.feed(b"PING 1\n");
    harness.shutdown(secs(1));
    assert_eq!(sent(&mut harness), "PONG 1\n");
    assert!(harness.saw_eof());
    assert!(matches!(harness.close_reason(), Some(CloseReason::Local)));
}

#[test]
fn a_reset_leaves_no_timer() {
    let mut harness = beating();
    harness.feed(b"PING 1\nPI");
    harness.reset();
    assert!(matches!(harness.close_reason(), Some(CloseReason::Io { .. })));
    assert_eq!((harness.core().held_bytes(), harness.core().armed_timers()), (0, 0));
}

/// Client and server are the same protocol: each probes, each answers.
#[test]
fn two_ends_keep_each_other_alive() {
    let (mut a, mut b) = (beating(), beating());
    a.advance(secs(2));
    for tick in 0..60_000 {
        let (from_a, from_b) = (a.take_sent(), b.take_sent());
        if !from_a.is_empty() {
            b.feed(&from_a);
        }
        if !from_b.is_empty() {
            a.feed(&from_b);
        }
        a.advance(ms(1));
        b.advance(ms(1));
        assert!(a.is_open() && b.is_open(), "after {tick} ms");
    }
    for end in [&mut a, &mut b] {
        let rtt = rtt(end).unwrap();
        assert!(rtt.worst <= ms(2) && rtt.last > Duration::ZERO, "{rtt:?}");
    }
}

#[test]
fn two_ends_that_disagree_part_without_a_quarrel() {
    let (mut a, mut b) = (beating(), beating());
    a.feed(b"nonsense\n");
    b.feed(&a.take_sent());
    assert_eq!(b.take_sent(), b"");
    assert_eq!(error::<PeerRefused>(&mut b).reason, LineError::Unknown.to_string());
}
