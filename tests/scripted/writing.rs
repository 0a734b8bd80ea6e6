//! Output: corked, in order, with room asked for and drains told, reading held back and let go.

use std::time::Duration;

use switchboard::driver::Ready;
use switchboard::testkit::Harness;
use switchboard::{Bytes, CloseReason, Context, EndpointId, LimitExceeded, Limits, Message};
use switchboard_echo::TcpEcho;

use crate::spy::{Log, Spy};
use crate::world::{World, millis};

/// Small marks: room up to 500 bytes, reading held above 1,000, both again at 100.
pub(crate) fn small() -> Limits {
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
    assert_eq!(
        reason.to_string(),
        "a limit was hit: write_stall: of the output that waits the peer took too little in 30s"
    );
    assert!(harness.peer().saw_reset(), "what it never took is lost");
    assert_eq!(harness.core().counters().bytes_unsent, 4);
}

/// The peer takes so many bytes each 29 seconds. After how many seconds it has all, or is closed.
fn taken_by(bytes: usize, output: usize) -> (u64, Option<String>) {
    let mut harness = idle(Limits::default());
    harness.set_window(0);
    harness.with(|cx| cx.send(&vec![7; output]));
    let mut seconds = 0;
    while harness.is_open() && harness.core().held_bytes() > 0 {
        harness.advance(Duration::from_secs(1));
        seconds += 1;
        assert!(seconds < 10_000, "it ends");
        if seconds % 29 == 0 && harness.is_open() {
            harness.set_window(bytes);
        }
    }
    assert_eq!((harness.core().held_bytes(), harness.core().armed_timers()), (0, 0));
    (seconds, harness.close_reason().map(ToString::to_string))
}

#[test]
fn a_peer_that_takes_hardly_a_byte_now_and_then_is_closed_too_and_a_slow_one_is_not() {
    let reason = "a limit was hit: write_stall: of the output that waits the peer took too little in 240s";
    let closed = |seconds| (seconds, Some(reason.to_owned()));
    assert_eq!(taken_by(1, 1 << 20), closed(240));
    assert_eq!(taken_by(1, 100), closed(240));
    assert_eq!(taken_by(1, 8), (8 * 29, None), "all in time");
    // 128 KiB each 240 seconds are enough, and a mebibyte takes its time.
    assert_eq!(taken_by(16 << 10, 1 << 20), (64 * 29, None));
    assert_eq!(taken_by((16 << 10) - 1, 1 << 20), closed(240));
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
