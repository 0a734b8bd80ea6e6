//! Large pieces are written at once from where they lie; what that changes of order, counts, errors and ends: nothing.

use std::time::Duration;

use switchboard::testkit::{Harness, Peer};
use switchboard::{Bytes, CloseReason, Context, Failure, Layer, Layered, LimitExceeded, Limits};

use crate::cipher::{self, Cipher};
use crate::spy::{Log, Spy};
use crate::world::{PORT, World, address};

/// So large that it is written at once whatever else is sent.
const LARGE: usize = 64 * 1024;

/// Large enough to be, where it is likely the last.
const MIDDLE: usize = 16 * 1024;

fn idle() -> Harness {
    Harness::new(Spy::new("it", &Log::default()))
}

fn large(byte: u8) -> Vec<u8> {
    vec![byte; LARGE]
}

/// Bytes that the system took, and bytes that were lost.
fn counted(harness: &mut Harness) -> (usize, usize) {
    let counters = harness.core().counters();
    (usize::try_from(counters.bytes_out).unwrap(), usize::try_from(counters.bytes_unsent).unwrap())
}

#[test]
fn a_large_piece_takes_along_what_was_sent_before_it_and_is_gone_when_send_returns() {
    let mut harness = idle();
    let (_, writes) = harness.peer().calls();
    harness.with(|cx| {
        cx.send(b"before ");
        cx.send_shared(Bytes::from(vec![b's'; 3000]));
        assert_eq!(cx.backlog(), 3007);
        cx.send(&large(b'l'));
        assert_eq!((cx.backlog(), cx.counters().bytes_out), (0, 3007 + LARGE as u64));
        cx.send(b" behind");
        assert_eq!(cx.backlog(), 7);
    });
    assert_eq!(harness.peer().calls().1, writes + 2);
    assert_eq!(harness.take_sent(), [&b"before "[..], &[b's'; 3000], &large(b'l'), b" behind"].concat());
    assert_eq!((counted(&mut harness), harness.core().held_bytes()), ((3014 + LARGE, 0), 0));
}

#[test]
fn more_shared_pieces_than_one_write_takes_go_before_it() {
    for shared in [1, 6, 7, 8, 9, 40] {
        let mut harness = idle();
        let mut expected = Vec::new();
        harness.with(|cx| {
            for byte in 0..shared {
                cx.send(&[byte]);
                cx.send_shared(Bytes::from(vec![byte; 2000]));
                expected.extend(vec![byte; 2001]);
            }
            cx.send(&large(shared));
            expected.extend(large(shared));
        });
        assert!(harness.take_sent() == expected, "{shared}");
        assert_eq!(counted(&mut harness), (expected.len(), 0));
    }
}

/// What is written while this much input is answered piece by piece, and in how many writes.
fn echoed(input: usize, piece: usize) -> (u64, u64) {
    let log = Log::default();
    let spy = Spy::new("it", &log).on_data(move |cx, input| {
        while !input.is_empty() {
            cx.send(input.take(piece));
        }
        assert_eq!(cx.backlog(), 0, "the last took all along");
        Ok(())
    });
    let mut harness = Harness::new(spy);
    let (_, before) = harness.peer().calls();
    harness.feed(&vec![b'x'; input]);
    (harness.core().counters().bytes_out, harness.peer().calls().1 - before)
}

#[test]
fn several_that_are_not_very_large_are_written_together() {
    assert_eq!(echoed(MIDDLE, MIDDLE), (MIDDLE as u64, 1));
    assert_eq!(echoed(4 * MIDDLE, MIDDLE), (4 * MIDDLE as u64, 1));
    assert_eq!(echoed(3 * LARGE, LARGE), (3 * LARGE as u64, 3));
    let mut harness = idle();
    let (_, before) = harness.peer().calls();
    harness.with(|cx| {
        for _ in 0..4 {
            cx.send(&[7; MIDDLE]);
        }
        assert_eq!(cx.backlog(), 3 * MIDDLE, "of those that answer nothing the first goes at once");
    });
    assert_eq!(harness.peer().calls().1 - before, 2);
}

/// Sends pieces of all kinds in one callback.
fn send_all(cx: &mut Context<'_>) {
    for byte in 0..8 {
        cx.send(&[byte; 5]);
        cx.send(&large(byte));
        cx.send(&[byte + 100; MIDDLE]);
        cx.send_shared(Bytes::from(vec![byte; 2000]));
    }
}

fn all() -> Vec<u8> {
    (0..8).flat_map(|byte| [vec![byte; 5], large(byte), vec![byte + 100; MIDDLE], vec![byte; 2000]].concat()).collect()
}

#[test]
fn whatever_the_system_takes_every_byte_leaves_once_and_in_order() {
    for cut in [1, 4, 5, 6, 4096, LARGE - 1, LARGE, LARGE + 5, 30_000, 0] {
        for calls in [1, 3, 30] {
            let mut harness = idle();
            harness.peer().cut_writes(std::iter::repeat_n(cut, calls));
            harness.with(send_all);
            harness.settle();
            assert!(harness.take_sent() == all(), "{calls} writes of {cut}");
            assert_eq!((counted(&mut harness), harness.core().held_bytes()), ((all().len(), 0), 0));
        }
    }
}

#[test]
fn so_it_does_where_only_would_block_ends_readiness() {
    for cut in [1, 6, LARGE, 30_000, 0] {
        let mut world = World::until_would_block();
        world.listen(|| {
            Spy::new("it", &Log::default()).on_open(|cx| {
                send_all(cx);
                Ok(())
            })
        });
        let peer = world.network.connect(address(PORT)).unwrap();
        peer.cut_writes(std::iter::repeat_n(cut, 20));
        world.settle();
        assert!(peer.take_received() == all(), "writes of {cut}");
    }
}

#[test]
fn interrupted_it_is_tried_again() {
    for calls in 1..4 {
        let mut harness = idle();
        harness.peer().interrupt(calls);
        harness.with(send_all);
        harness.settle();
        assert!(harness.take_sent() == all());
    }
}

#[test]
fn once_the_system_took_less_it_is_not_asked_again_in_that_visit() {
    let mut harness = idle();
    harness.set_window(LARGE + 7);
    let (_, writes) = harness.peer().calls();
    harness.with(|cx| {
        cx.send(&large(1));
        cx.send(b"seven++");
        cx.send(&large(2));
        assert_eq!(cx.backlog(), LARGE, "the window was used up");
        cx.send(&large(3));
        assert_eq!(cx.backlog(), 2 * LARGE);
        assert!(cx.has_room());
    });
    assert_eq!(harness.peer().calls().1, writes + 2, "nor at its end");
    assert_eq!(harness.core().held_bytes(), 2 * LARGE);
    let (_, writes) = harness.peer().calls();
    harness.with(|cx| {
        cx.send(&large(4));
        assert_eq!(cx.backlog(), 3 * LARGE);
    });
    assert_eq!(harness.peer().calls().1, writes, "what waits goes first");
    harness.set_window(usize::MAX);
    assert!(harness.take_sent() == [&large(1)[..], b"seven++", &large(2), &large(3), &large(4)].concat());
    assert_eq!((counted(&mut harness), harness.core().held_bytes()), ((4 * LARGE + 7, 0), 0));
    harness.with(|cx| {
        cx.send(&large(5));
        assert_eq!(cx.backlog(), 0, "and now it is asked again");
    });
}

#[test]
fn what_is_refused_fills_the_room_and_a_drain_follows() {
    let log = Log::default();
    let limits = Limits { high_water: 2 * LARGE, low_water: 100, ..Limits::default() };
    let mut harness = Harness::with_limits(Spy::new("it", &log), limits);
    harness.set_window(LARGE - 1);
    harness.with(|cx| {
        cx.send(&large(1));
        assert!(cx.has_room(), "one byte waits");
        cx.send(&large(2));
        assert!(!cx.has_room());
    });
    log.take();
    harness.set_window(usize::MAX);
    assert_eq!(log.take(), ["it drain"]);
}

#[test]
fn who_sends_for_as_long_as_there_is_room_comes_to_an_end() {
    let limits = Limits { high_water: 3 * LARGE, low_water: 100, ..Limits::default() };
    let log = Log::default();
    let mut harness = Harness::with_limits(Spy::new("it", &log), limits);
    let mut sent = 0;
    harness.with(|cx| {
        while cx.has_room() {
            cx.send(&large(1));
            sent += 1;
        }
        assert_eq!(
            cx.counters().bytes_out,
            4 * LARGE as u64,
            "all of a high-water mark, and the piece that exceeds it"
        );
    });
    assert_eq!(sent, 4 + 2, "then the room fills up");
    harness.settle();
    assert_eq!(log.take(), ["it open", "it drain"]);
    assert!(harness.take_sent() == large(1).repeat(6));
    harness.with(|cx| {
        cx.send(&large(2));
        assert_eq!(cx.backlog(), 0, "the next visit begins anew");
    });
}

#[test]
fn a_peer_that_takes_no_more_of_it_is_given_up() {
    let mut harness = idle();
    harness.set_window(LARGE / 2);
    harness.with(|cx| cx.send(&large(1)));
    harness.advance(Duration::from_secs(30));
    assert!(matches!(harness.close_reason(), Some(CloseReason::Limit(LimitExceeded::WriteStall(_)))));
    assert_eq!(counted(&mut harness), (LARGE / 2, LARGE / 2));
}

#[test]
fn when_it_was_taken_is_noted() {
    let mut harness = idle();
    harness.advance(Duration::from_secs(5));
    let now = harness.now();
    harness.with(|cx| {
        cx.send(&large(1));
        assert_eq!(cx.last_write(), now);
    });
}

#[test]
fn an_error_is_heard_when_the_callback_has_returned_and_as_it_was_first_told() {
    let log = Log::default();
    let mut harness = Harness::new(Spy::new("it", &log));
    harness.peer().reset();
    let _ = harness.network().take_events();
    harness.with(|cx| {
        cx.send(b"corked");
        cx.send(&large(1));
        cx.send(&large(2));
        assert_eq!(cx.backlog(), 2 * LARGE + 6, "nothing has happened yet");
    });
    let Some(CloseReason::Io { error, unsent }) = harness.close_reason() else {
        panic!("{:?}", harness.close_reason())
    };
    assert_eq!((error.kind(), *unsent), (std::io::ErrorKind::ConnectionReset, 2 * LARGE + 6));
    assert_eq!(counted(&mut harness), (0, 2 * LARGE + 6));
}

/// What one visit sends and asks for, with so much room, until everybody has done.
fn end(window: usize, visit: impl Fn(&mut Context<'_>) -> Result<(), Failure> + 'static) -> (Harness, Vec<u8>) {
    let spy = Spy::new("it", &Log::default()).on_data(move |cx, input| {
        input.take_all();
        visit(cx)
    });
    let mut harness = Harness::new(spy);
    harness.set_window(window);
    harness.feed(b"go");
    harness.set_window(usize::MAX);
    let sent = harness.take_sent();
    (harness, sent)
}

#[test]
fn how_a_visit_ends_counts_for_what_follows_it() {
    for window in [0, 5, LARGE / 2, LARGE + 3, usize::MAX] {
        let (mut harness, sent) = end(window, |cx| {
            cx.send(b"then ");
            cx.send(&large(1));
            cx.finish();
            cx.send(&large(2));
            Ok(())
        });
        assert!(sent == [&b"then "[..], &large(1)].concat() && harness.saw_eof(), "{window}");
        assert_eq!(counted(&mut harness), (LARGE + 5, LARGE));

        let (mut harness, sent) = end(window, |cx| {
            cx.send(&large(1));
            cx.close();
            cx.send(&large(2));
            Ok(())
        });
        assert!(sent == large(1) && matches!(harness.close_reason(), Some(CloseReason::Local)), "{window}");
        assert_eq!(counted(&mut harness), (LARGE, LARGE));

        let (mut harness, sent) = end(window, |cx| {
            cx.send(&large(1));
            cx.send(b"why");
            Err(Failure::peer("no more"))
        });
        assert!(sent == [&large(1)[..], b"why"].concat(), "{window}");
        assert!(matches!(harness.close_reason(), Some(CloseReason::Failure(_))));
        assert_eq!(counted(&mut harness), (LARGE + 3, 0));

        let (mut harness, sent) = end(window, |cx| {
            cx.send(&large(1));
            cx.send(b"corked");
            cx.abort();
            Ok(())
        });
        assert!(sent == large(1)[..window.min(LARGE)], "what the system took before cannot be called back");
        let lost = LARGE + 6 - sent.len();
        assert!(matches!(harness.close_reason(), Some(&CloseReason::Aborted { unsent }) if unsent == lost));
        assert_eq!(counted(&mut harness), (sent.len(), lost));
    }
}

#[test]
fn who_takes_over_sends_behind_it() {
    for window in [0, 5, LARGE, LARGE + 5, usize::MAX] {
        let (mut harness, sent) = end(window, |cx| {
            cx.send(&large(1));
            let next = Spy::new("next", &Log::default()).on_open(|cx| {
                cx.send(b"next");
                cx.send(&large(2));
                Ok(())
            });
            cx.switch_to(next);
            Ok(())
        });
        assert!(sent == [&large(1)[..], b"next", &large(2)].concat(), "{window}");
        assert_eq!(counted(&mut harness), (2 * LARGE + 4, 0));
    }
}

#[test]
fn what_a_layer_seals_is_not_written_before_it() {
    let spy = Spy::new("it", &Log::default()).on_data(|cx, input| {
        input.take_all();
        send_all(cx);
        assert_eq!(cx.counters().bytes_out, 0);
        Ok(())
    });
    let mut harness = Harness::new(Layered::new(Cipher::default(), spy));
    harness.feed(b"go");
    let mut sent = harness.take_sent();
    cipher::apply(&mut 0, &mut sent);
    assert!(sent == all());
}

/// A layer that leaves everything as it is.
struct Plain;

impl<P: switchboard::Protocol> Layer<P> for Plain {}

#[test]
fn through_a_layer_that_does_not_it_is() {
    let spy = Spy::new("it", &Log::default()).on_data(|cx, input| {
        input.take_all();
        cx.send(b"corked");
        cx.send(&large(1));
        assert_eq!(cx.counters().bytes_out, LARGE as u64 + 6);
        Ok(())
    });
    let mut harness = Harness::new(Layered::new(Plain, Layered::new(Plain, spy)));
    harness.feed(b"go");
    assert!(harness.take_sent() == [&b"corked"[..], &large(1)].concat());
}

#[test]
fn to_a_connection_that_broke_nothing_is_written() {
    let limits = Limits { high_water: 1000, low_water: 100, read_budget: 4, ..Limits::default() };
    let spy = Spy::new("it", &Log::default()).on_data(|cx, input| {
        input.take_all();
        cx.send(&large(1));
        Ok(())
    });
    let mut harness = Harness::with_limits(spy, limits);
    harness.set_window(0);
    harness.feed(b"a");
    let writes = |peer: &Peer| peer.calls().1;
    let before = writes(harness.peer());
    harness.peer().send(b"bye, all");
    harness.reset();
    assert_eq!(writes(harness.peer()), before);
    let Some(&CloseReason::Io { unsent, .. }) = harness.close_reason() else { panic!("{:?}", harness.close_reason()) };
    assert_eq!((unsent, counted(&mut harness)), (3 * LARGE, (0, 3 * LARGE)));
}
