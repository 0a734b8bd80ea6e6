//! Output: corked, in order, with room asked for and drains told, reading held back and let go.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use switchboard::driver::Ready;
use switchboard::testkit::Harness;
use switchboard::{Bytes, CloseReason, Context, EndpointId, LimitExceeded, Limits, Message};
use switchboard_echo::TcpEcho;

use crate::spy::{Log, Spy};
use crate::world::{World, millis};

/// Small marks: room up to 500 bytes, reading held above 1,000, both again at 100.
fn small() -> Limits {
    Limits { high_water: 1000, low_water: 100, ..Limits::default() }
}

fn idle(limits: Limits) -> Harness {
    Harness::with_limits(Spy::new("it", &Log::default()), limits)
}

#[test]
fn when_the_system_took_a_part_is_noted() {
    let mut harness = Harness::new(TcpEcho);
    harness.set_window(3);
    harness.advance(millis(5000));
    harness.feed(b"answer");
    let now = harness.now();
    assert_eq!(harness.with(|cx| (cx.backlog(), cx.last_write())), Some((3, now)));
}

#[test]
fn what_one_callback_sends_leaves_in_one_write() {
    let mut harness = idle(Limits::default());
    let before = harness.peer().calls().1;
    harness.with(|cx| {
        for _ in 0..100 {
            cx.send(b"piece ");
        }
        cx.send_buffer().unwrap().extend_from_slice(b"in place");
    });
    assert_eq!(harness.take_sent(), [b"piece ".repeat(100), b"in place".to_vec()].concat());
    assert_eq!(harness.peer().calls().1, before + 1);
}

#[test]
fn shared_and_copied_pieces_keep_their_order_through_any_short_writes() {
    let shared: Vec<Bytes> = (0..40_u8).map(|n| Bytes::from(vec![n; 1000 + usize::from(n) * 37])).collect();
    let mut expected = Vec::new();
    for (n, piece) in (0_u8..).zip(&shared) {
        expected.extend([n; 3]);
        expected.extend_from_slice(piece);
        expected.extend_from_slice(&piece[..10]);
    }
    for cut in [1, 2, 5, 1000, 1001, 4096, 16_384] {
        let mut harness = idle(Limits::default());
        harness.peer().cut_writes(std::iter::repeat_n(cut, 40));
        let pieces = shared.clone();
        harness.with(move |cx| {
            for (n, piece) in (0_u8..).zip(pieces) {
                cx.send(&[n; 3]);
                let small = piece.slice(..10);
                cx.send_shared(piece);
                cx.send_shared(small);
            }
        });
        harness.settle();
        assert!(harness.take_sent() == expected, "writes of {cut}");
        assert_eq!(harness.core().held_bytes(), 0);
    }
}

#[test]
fn output_that_waits_stays_before_output_that_follows() {
    let mut harness = idle(Limits::default());
    harness.set_window(2);
    for piece in ["abcd", "efgh", "ij"] {
        harness.with(|cx| cx.send(piece.as_bytes()));
    }
    harness.with(|cx| cx.send_shared(Bytes::from(vec![b'k'; 2000])));
    harness.with(|cx| cx.send(b"l"));
    for window in [1, 3, 100, 5000] {
        harness.set_window(window);
    }
    assert_eq!(harness.take_sent(), [&b"abcdefghij"[..], &[b'k'; 2000], b"l"].concat());
}

#[test]
fn input_is_no_reason_to_try_writing_again() {
    let mut harness = idle(Limits::default());
    harness.set_window(3);
    let (_, writes) = harness.peer().calls();
    harness.with(|cx| cx.send(b"waits"));
    let before = harness.peer().calls();
    assert_eq!(before.1, writes + 1, "a short write says that no more is taken");
    harness.feed(b"input");
    assert_eq!(harness.peer().calls(), (before.0 + 1, before.1));
    harness.set_window(2);
    assert_eq!(harness.take_sent(), b"waits");
}

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
fn a_peer_that_takes_no_byte_for_the_stall_time_is_closed() {
    let mut harness = idle(Limits { write_stall: Duration::from_secs(30), ..small() });
    harness.set_window(0);
    harness.with(|cx| cx.send(b"12345"));
    harness.advance(millis(29_999));
    harness.set_window(1); // one byte is a sign of life
    harness.advance(millis(29_999));
    assert!(harness.is_open());
    harness.advance(millis(1));
    let reason = harness.close_reason().unwrap();
    assert_eq!(reason.to_string(), "a limit was hit: write_stall: the peer took no byte for 30s");
    assert!(harness.peer().saw_reset(), "what it never took is lost");
    assert_eq!(harness.core().counters().bytes_unsent, 4);
}

#[test]
fn news_of_room_where_no_byte_is_taken_do_not_prolong_the_stall_time() {
    let mut harness = idle(Limits { write_stall: Duration::from_secs(30), ..small() });
    harness.set_window(0);
    harness.with(|cx| cx.send(b"waits"));
    harness.advance(Duration::from_secs(20));
    let key = EndpointId::from(harness.id()).key();
    harness.network().raise(Ready { key, writable: true, ..Ready::default() });
    harness.settle();
    harness.advance(Duration::from_secs(10));
    assert!(!harness.is_open(), "30 s without a byte");
}

#[test]
fn an_idle_connection_never_stalls() {
    let mut harness = idle(small());
    harness.with(|cx| cx.send(b"taken"));
    harness.set_window(1);
    harness.with(|cx| cx.send(b"12"));
    harness.set_window(5);
    assert_eq!(harness.core().armed_timers(), 0);
    harness.advance(Duration::from_secs(3600));
    assert!(harness.is_open());
}

#[test]
fn a_closing_connection_stalls_too() {
    let mut harness = idle(small());
    harness.set_window(0);
    harness.with(|cx| {
        cx.send(b"never taken");
        cx.close();
    });
    harness.advance(Duration::from_secs(30));
    assert!(matches!(harness.close_reason(), Some(CloseReason::Limit(LimitExceeded::WriteStall(_)))));
    assert_eq!(harness.core().open_connections(), 0);
    assert_eq!(harness.core().armed_timers(), 0);
}

#[test]
fn output_beyond_the_send_buffer_closes_with_its_name() {
    let mut harness = idle(Limits { send_buffer: 2000, ..small() });
    harness.set_window(0);
    harness.with(|cx| cx.send(&[0; 2000]));
    assert!(harness.is_open());
    harness.with(|cx| cx.send(&[0; 1]));
    let reason = harness.close_reason().unwrap();
    assert_eq!(reason.to_string(), "a limit was hit: send_buffer: 2001 bytes wait for the peer, 2000 allowed");
    assert_eq!(harness.core().held_bytes(), 0);
    assert_eq!(harness.core().counters().bytes_unsent, 2001);
}

#[test]
fn a_write_larger_than_the_send_buffer_is_fine_where_the_peer_takes_it() {
    let mut harness = idle(Limits { send_buffer: 2000, ..small() });
    harness.with(|cx| cx.send(&[7; 100_000]));
    assert_eq!(harness.take_sent().len(), 100_000);
    assert!(harness.is_open());
}

#[test]
fn so_it_is_where_others_are_to_have_their_turn() {
    const MOST: usize = 1 << 20;
    let ways: [fn(&mut Context<'_>); 4] = [
        |cx| cx.send(&[7; MOST]),
        |cx| cx.send_shared(vec![7; MOST].into()),
        |cx| {
            cx.send(&[7; MOST / 2]);
            cx.send_shared(vec![7; MOST / 2].into());
        },
        |cx| {
            cx.send(&[7; 258 * 1024]);
            let id = cx.id();
            cx.post(id, Bytes::from(vec![7; MOST - 258 * 1024])).unwrap();
        },
    ];
    for way in ways {
        let limits = Limits { send_buffer: 2000, high_water: 1500, low_water: 100, ..Limits::default() };
        let (mut world, log) = (World::with_limits(limits), Log::default());
        world.listen(move || {
            let it = Spy::new("it", &log).on_data(move |cx, input| {
                input.take_all();
                way(cx);
                Ok(())
            });
            it.on_message(|cx, message| {
                let Message::Bytes(bytes) = message else { unreachable!() };
                cx.send_shared(bytes);
                Ok(())
            })
        });
        let peers = [world.peer(), world.peer(), world.peer()];
        peers[2].set_window(MOST - 2000);
        peers.iter().for_each(|peer| peer.send(b"go"));
        world.settle();
        assert_eq!(peers.each_ref().map(|peer| peer.take_received().len()), [MOST, MOST, MOST - 2000]);
        assert_eq!((world.event_loop.counters().closed, world.event_loop.core().held_bytes()), (0, 2000));
        peers[2].set_window(usize::MAX);
        world.settle();
        assert_eq!((peers[2].take_received().len(), world.event_loop.core().held_bytes()), (2000, 0));
        // Who takes less is no better off than alone.
        peers[1].set_window(MOST - 2001);
        peers.iter().for_each(|peer| peer.send(b"go"));
        world.settle();
        assert_eq!((world.event_loop.counters().closed, world.event_loop.core().held_bytes()), (1, 0));
        assert_eq!(world.event_loop.counters().bytes_unsent, 2001);
    }
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
