//! How connections end: the last words, the wait for the peer, the reasons told.

use std::time::Duration;

use switchboard::testkit::Harness;
use switchboard::{Blame, CloseReason, Failure, Limits, Truncated};

use crate::spy::{Log, Spy};
use crate::world::{World, address, millis};

/// Sends `ERR …` and fails at the first byte.
fn strict() -> Spy {
    Spy::new("strict", &Log::default()).on_data(|cx, _| {
        cx.send(b"ERR no\n");
        Err(Failure::peer("no"))
    })
}

#[test]
fn the_last_words_of_a_failure_arrive_though_input_is_left_unread() {
    let mut harness = Harness::new(strict());
    harness.feed(&[b'x'; 100_000]);
    assert_eq!(harness.take_sent(), b"ERR no\n");
    assert!(harness.saw_eof() && !harness.peer().is_closed(), "half-closed, and waiting for the peer");
    assert!(matches!(harness.close_reason(), Some(CloseReason::Failure(_))));
    harness.feed(&[b'x'; 100_000]);
    assert_eq!(harness.peer().unread(), 0, "discarded");
    harness.eof();
    assert!(harness.peer().is_closed() && !harness.peer().saw_reset());
    assert_eq!(harness.core().open_connections(), 0);
    assert_eq!(harness.core().armed_timers(), 0);
    let counters = harness.core().counters();
    assert_eq!((counters.bytes_in, counters.bytes_discarded), (200_000, 200_000));
}

#[test]
fn last_words_that_must_wait_are_waited_for() {
    let mut harness = Harness::new(strict());
    harness.set_window(0);
    harness.feed(&[b'x'; 1000]);
    assert!(harness.is_open(), "on_close comes when they are out");
    harness.set_window(3);
    harness.feed(&[b'x'; 1000]);
    harness.set_window(1000);
    assert_eq!(harness.take_sent(), b"ERR no\n");
    assert!(harness.saw_eof());
    let reason = harness.close_reason().unwrap();
    assert_eq!((reason.blame(), reason.to_string()), (Some(Blame::Peer), "the peer broke the protocol: no".into()));
    assert_eq!(harness.peer().unread(), 0);
}

#[test]
fn who_never_closes_is_waited_for_two_seconds() {
    let mut harness = Harness::new(strict());
    harness.feed(b"x");
    harness.advance(millis(1999));
    assert!(!harness.peer().is_closed());
    harness.advance(millis(1));
    assert!(harness.peer().is_closed());
    assert_eq!(harness.core().open_connections(), 0);
}

#[test]
fn who_never_closes_and_goes_on_sending_is_waited_for_eight_seconds() {
    let mut harness = Harness::new(strict());
    harness.feed(b"x");
    for _ in 0..5 {
        harness.advance(millis(1500));
        harness.feed(b"more");
        assert!(!harness.peer().is_closed());
    }
    harness.advance(millis(499));
    assert!(!harness.peer().is_closed());
    harness.advance(millis(1));
    assert!(harness.peer().is_closed());
    assert_eq!(harness.core().open_connections(), 0);
}

#[test]
fn who_goes_on_sending_is_discarded_up_to_a_bound() {
    let limits = Limits { linger_bytes: 10_000, ..Limits::default() };
    let mut harness = Harness::with_limits(strict(), limits);
    harness.feed(b"x");
    for _ in 0..100 {
        harness.feed(&[0; 6000]);
    }
    assert!(!harness.peer().is_closed(), "not read any more, but not reset either: the last words have their time");
    harness.advance(Limits::default().linger);
    assert!(harness.peer().is_closed());
    let discarded = harness.core().counters().bytes_discarded;
    assert_eq!(discarded, 1 + 2 * 6000, "the bound, and what the read that crosses it gives");
    assert_eq!(harness.core().open_connections(), 0);
}

#[test]
fn what_was_discarded_while_output_waited_does_not_shorten_the_last_words_time() {
    let limits = Limits { linger_bytes: 10_000, ..Limits::default() };
    let mut harness = Harness::with_limits(strict(), limits);
    harness.set_window(0);
    harness.feed(b"x");
    for _ in 0..10 {
        harness.feed(&[0; 5000]);
    }
    harness.set_window(1000);
    assert_eq!(harness.take_sent(), b"ERR no\n");
    assert!(harness.saw_eof() && !harness.peer().is_closed());
    harness.advance(Limits::default().linger);
    assert!(harness.peer().is_closed());
}

#[test]
fn last_words_that_wait_do_not_stop_the_discarding_of_a_long_input() {
    let limits = Limits { read_budget: 1000, ..Limits::default() };
    let mut harness = Harness::with_limits(strict(), limits);
    harness.set_window(0);
    let before = harness.peer().calls().0;
    harness.feed(&[b'x'; 9500]);
    assert_eq!(harness.peer().unread(), 0);
    assert_eq!(harness.peer().calls().0, before + 10, "the tenth is short, and so the last");
    harness.set_window(1000);
    assert_eq!(harness.take_sent(), b"ERR no\n");
    assert!(harness.saw_eof() && !harness.peer().is_closed());
}

#[test]
fn who_closes_while_last_words_wait_for_it_gets_them_and_no_lingering() {
    let log = Log::default();
    let mut harness = Harness::new(Spy::new("it", &log));
    harness.set_window(0);
    harness.with(|cx| {
        cx.send(b"bye");
        cx.close();
    });
    harness.eof();
    assert_eq!(log.take(), ["it open"], "no on_eof after a close, and on_close comes when the words are out");
    harness.set_window(1000);
    assert_eq!(harness.take_sent(), b"bye");
    assert!(harness.peer().is_closed() && !harness.peer().saw_reset());
    assert_eq!(log.take(), ["it close: closed by this side"]);
    assert_eq!(harness.core().armed_timers(), 0);
}

#[test]
fn no_lingering_when_the_peer_has_closed_already() {
    let mut harness = Harness::new(Spy::new("it", &Log::default()));
    harness.eof();
    assert!(harness.peer().is_closed() && !harness.peer().saw_reset());
    assert_eq!(harness.core().armed_timers(), 0);
}

#[test]
fn no_lingering_without_a_linger_time() {
    let limits = Limits { linger: Duration::ZERO, ..Limits::default() };
    let mut harness = Harness::with_limits(Spy::new("it", &Log::default()), limits);
    harness.with(|cx| cx.close());
    assert!(harness.peer().is_closed());
}

#[test]
fn a_lingering_connections_reset_is_nothing_to_tell() {
    let log = Log::default();
    let mut harness = Harness::new(Spy::new("it", &log));
    harness.with(|cx| cx.close());
    harness.reset();
    assert!(harness.peer().is_closed());
    assert_eq!(log.take(), ["it open", "it close: closed by this side"]);
    assert_eq!(harness.core().open_connections(), 0);
}

#[test]
fn whoever_closes_first_is_named() {
    for (peer_first, expected) in [(true, "closed by the peer"), (false, "closed by this side")] {
        let mut harness = Harness::new(Spy::new("it", &Log::default()));
        if peer_first {
            harness.eof();
        } else {
            harness.with(|cx| cx.finish());
            assert!(harness.saw_eof() && harness.is_open());
            harness.eof();
        }
        let reason = harness.close_reason().unwrap();
        assert!(reason.is_clean() && reason.blame().is_none());
        assert_eq!(reason.to_string(), expected);
    }
}

#[test]
fn a_half_close_lets_input_go_on() {
    let log = Log::default();
    let mut harness = Harness::new(Spy::new("it", &log));
    harness.with(|cx| {
        cx.send(b"all I have");
        cx.finish();
        cx.send(b"not sent");
    });
    assert_eq!(harness.take_sent(), b"all I have");
    harness.feed(b"answer");
    harness.eof();
    assert_eq!(log.take(), ["it open", "it data answer", "it eof", "it close: closed by this side"]);
    assert_eq!(harness.core().counters().bytes_unsent, 8);
}

#[test]
fn a_half_close_waits_for_the_output_before_it() {
    let mut harness = Harness::new(Spy::new("it", &Log::default()));
    harness.set_window(3);
    harness.with(|cx| {
        cx.send(b"123456");
        cx.finish();
    });
    assert!(!harness.saw_eof());
    harness.set_window(3);
    assert_eq!(harness.take_sent(), b"123456");
    assert!(harness.saw_eof() && harness.is_open());
}

#[test]
fn who_answers_a_half_close_late_may_do_so() {
    let mut harness = Harness::new(Spy::new("it", &Log::default()).on_eof(|_, _| Ok(())));
    harness.eof();
    harness.advance(Duration::from_secs(3600));
    assert!(harness.is_open());
    harness.with(|cx| {
        cx.send(b"late");
        cx.finish();
    });
    assert_eq!(harness.take_sent(), b"late");
    assert!(matches!(harness.close_reason(), Some(CloseReason::Peer)));
}

#[test]
fn an_unfinished_message_at_the_half_close_is_truncated() {
    let mut harness = Harness::new(switchboard::protocol_fn(|_, _| Ok(())));
    harness.feed_eof(b"half a message");
    let reason = harness.close_reason().unwrap();
    let truncated = reason.error().and_then(|error| error.downcast_ref::<Truncated>());
    assert_eq!(truncated, Some(&Truncated { unconsumed: 14 }));
    assert_eq!(reason.blame(), Some(Blame::Peer));
}

#[test]
fn an_abort_resets_and_tells_what_was_lost() {
    let mut harness = Harness::new(Spy::new("it", &Log::default()));
    harness.set_window(1);
    harness.with(|cx| cx.send(b"12345"));
    harness.with(|cx| {
        cx.send(b"678");
        cx.abort();
    });
    assert!(harness.peer().saw_reset());
    assert!(matches!(harness.close_reason(), Some(CloseReason::Aborted { unsent: 7 })), "{:?}", harness.close_reason());
    assert_eq!(harness.core().counters().bytes_unsent, 7);
    assert_eq!(harness.core().held_bytes(), 0);
}

#[test]
fn a_failure_stays_the_reason_though_its_last_words_cannot_be_written() {
    let mut harness = Harness::new(strict());
    harness.peer().send(b"x");
    harness.peer().reset(); // the byte is still read; the answer finds the connection broken
    harness.settle();
    let reason = harness.close_reason().unwrap();
    assert!(matches!(reason, CloseReason::Failure(_)), "{reason:?}");
    assert_eq!(harness.core().counters().bytes_unsent, 7, "they are counted");
}

#[test]
fn a_failure_stays_the_reason_though_the_connection_breaks_while_its_last_words_wait() {
    let mut harness = Harness::new(strict());
    harness.set_window(0);
    harness.feed(b"x");
    harness.reset();
    assert!(matches!(harness.close_reason(), Some(CloseReason::Failure(_))), "{:?}", harness.close_reason());
    assert_eq!(harness.core().held_bytes(), 0);
}

#[test]
fn the_strongest_request_of_a_callback_wins() {
    let mut harness = Harness::new(Spy::new("it", &Log::default()));
    harness.with(|cx| {
        cx.abort();
        cx.finish();
        cx.close();
    });
    assert!(harness.peer().saw_reset());
}

#[test]
fn no_callback_follows_a_close() {
    let log = Log::default();
    let mut harness = Harness::new(Spy::new("it", &log));
    harness.set_window(0);
    harness.with(|cx| {
        cx.set_timer(millis(1));
        cx.send(&[0; 300_000]);
        assert!(!cx.has_room());
        cx.close();
    });
    harness.feed(b"ignored");
    harness.advance(millis(10));
    assert!(harness.with(|_| ()).is_none());
    harness.shutdown(Duration::from_secs(60));
    harness.set_window(usize::MAX);
    harness.eof();
    assert_eq!(log.take(), ["it open", "it close: closed by this side"]);
    assert_eq!(harness.take_sent().len(), 300_000);
}

#[test]
fn close_and_abort_by_id_do_as_the_protocols_own() {
    let log = Log::default();
    let mut world = World::new();
    let ids = [(); 3].map(|()| world.event_loop.connect(address(1), Spy::new("it", &log)));
    world.settle();
    let peers = [(); 3].map(|()| world.network.next_outgoing().unwrap());
    peers[0].establish();
    peers[1].establish();
    world.settle();
    let core = world.event_loop.core();
    core.close(ids[0]);
    core.abort(ids[1]);
    core.close(ids[2]); // it does not stand yet
    core.close(ids[0]); // and once more: nothing
    world.settle();
    assert!(peers[0].saw_eof() && peers[1].saw_reset() && peers[2].is_closed());
    let mut closes = log.take();
    closes.sort();
    assert_eq!(closes[..1], ["it close: aborted by this side, 0 bytes unsent"]);
    assert_eq!(closes[2..], ["it close: closed by this side", "it open", "it open"]);
    peers[0].finish();
    world.settle();
    assert_eq!(world.event_loop.core().open_connections(), 0);
}

#[test]
fn an_id_takes_messages_until_its_connection_begins_to_close() {
    let log = Log::default();
    let mut harness = Harness::new(Spy::new("it", &log));
    let id = harness.id();
    assert!(harness.core().is_open(id));
    harness.set_window(0);
    harness.with(|cx| {
        cx.send(b"wait");
        cx.close();
    });
    assert!(!harness.core().is_open(id));
    assert!(harness.post(switchboard::Message::user(())).is_err(), "handed back, not lost");
    assert_eq!(log.take(), ["it open"], "on_close comes when the output is out");
    harness.set_window(4);
    assert_eq!(log.take(), ["it close: closed by this side"]);
}
