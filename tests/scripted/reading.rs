//! Input: offered until it is consumed, paused and resumed, in whatever pieces it comes.

use switchboard::Limits;
use switchboard::testkit::Harness;
use switchboard_echo::TcpEcho;
use switchboard_websocket::{WebSocket, message_fn};

use crate::common::web_socket;
use crate::spy::{Log, Spy};
use crate::world::{World, address, millis};

#[test]
fn what_is_left_is_offered_again_with_more_behind_it() {
    let log = Log::default();
    let pairs = Spy::new("pairs", &log).on_data(|_, input| {
        while input.len() >= 2 {
            input.take(2);
        }
        Ok(())
    });
    let mut harness = Harness::new(pairs);
    for piece in ["abc", "d", "e", "fg"] {
        harness.feed(piece.as_bytes());
    }
    harness.eof();
    assert_eq!(
        log.take(),
        [
            "pairs open",
            "pairs data abc",
            "pairs data cd",
            "pairs data e",
            "pairs data efg",
            "pairs eof g",
            "pairs close: closed by the peer"
        ]
    );
}

#[test]
fn wait_for_holds_the_next_call_until_enough_is_there() {
    let log = Log::default();
    let five = Spy::new("five", &log).on_data(|_, input| {
        if input.len() < 5 {
            input.wait_for(5);
        } else {
            input.take_all();
        }
        Ok(())
    });
    let mut harness = Harness::new(five);
    for byte in "12345".chars() {
        harness.feed(byte.to_string().as_bytes());
    }
    harness.feed(b"ab");
    harness.eof();
    assert_eq!(
        log.take()[1..],
        ["five data 1", "five data 12345", "five data ab", "five eof ab", "five close: closed by the peer"]
    );
}

#[test]
fn who_waits_for_more_than_the_receive_buffer_holds_is_closed() {
    let limits = Limits { receive_buffer: 1000, read_budget: 1000, ..Limits::default() };
    let mut harness = Harness::with_limits(
        Spy::new("greedy", &Log::default()).on_data(|_, input| {
            input.wait_for(1001);
            Ok(())
        }),
        limits,
    );
    harness.feed(b"x");
    assert_eq!(
        harness.close_reason().unwrap().to_string(),
        "a limit was hit: receive_buffer: 1001 bytes are waited for, 1000 allowed"
    );
    assert_eq!(harness.core().held_bytes(), 0);
}

#[test]
fn who_waits_for_all_that_the_receive_buffer_holds_gets_it_and_no_more() {
    for rest in [500, 501, 5000] {
        let limits = Limits { receive_buffer: 1000, read_budget: 1000, ..Limits::default() };
        let log = Log::default();
        let patient = Spy::new("it", &log).on_data(|_, input| {
            if input.len() < 1000 {
                input.wait_for(1000);
            } else {
                input.take_all();
            }
            Ok(())
        });
        let mut harness = Harness::with_limits(patient, limits);
        harness.feed(&[0; 500]);
        harness.feed(&vec![0; rest]);
        assert!(harness.is_open(), "{:?}", harness.close_reason());
        assert_eq!(log.take()[..3], ["it open", "it data (500)", "it data (1000)"], "{rest} more");
        assert_eq!(harness.peer().unread(), 0, "what did not fit was read afterwards");
    }
}

#[test]
fn who_has_consumed_everything_holds_nothing_whatever_it_waits_for() {
    let limits = Limits { receive_buffer: 1000, read_budget: 1000, ..Limits::default() };
    let log = Log::default();
    let pairs = Spy::new("it", &log).on_data(|_, input| {
        if input.len() >= 2 {
            input.take_all();
        }
        input.wait_for(if input.is_empty() { 1001 } else { 2 });
        Ok(())
    });
    let mut harness = Harness::with_limits(pairs, limits);
    for piece in ["ab", "c", "d", "ef"] {
        harness.feed(piece.as_bytes());
    }
    assert!(harness.is_open(), "{:?}", harness.close_reason());
    assert_eq!(log.take(), ["it open", "it data ab", "it data c", "it data cd", "it data ef"]);
    assert_eq!(harness.core().held_bytes(), 0);
}

#[test]
fn who_never_consumes_is_closed_at_the_receive_buffers_limit() {
    let limits = Limits { receive_buffer: 10_000, read_budget: 10_000, ..Limits::default() };
    let deaf = Spy::new("deaf", &Log::default()).on_data(|_, _| Ok(()));
    let mut harness = Harness::with_limits(deaf, limits);
    harness.feed(&[0; 4000]);
    harness.feed(&[0; 5999]);
    assert!(harness.is_open(), "one byte more may come");
    harness.feed(&[0; 4000]);
    assert_eq!(
        harness.close_reason().unwrap().to_string(),
        "a limit was hit: receive_buffer: 10001 bytes are waited for, 10000 allowed"
    );
    assert_eq!(harness.core().held_bytes(), 0);
}

#[test]
fn a_paused_protocol_hears_nothing_until_it_resumes() {
    let log = Log::default();
    let spy = Spy::new("it", &log).on_open(|cx| {
        cx.pause_reading();
        Ok(())
    });
    let mut harness = Harness::new(spy);
    harness.feed(b"one");
    harness.feed(b"two");
    harness.eof();
    assert_eq!(log.take(), ["it open"]);
    assert_eq!(harness.peer().unread(), 6, "not even read");
    harness.with(|cx| cx.resume_reading());
    assert_eq!(log.take(), ["it data onetwo", "it eof", "it close: closed by the peer"]);
}

#[test]
fn resuming_from_a_timer_reads_what_arrived_meanwhile() {
    let log = Log::default();
    let spy = Spy::new("it", &log)
        .on_open(|cx| {
            cx.pause_reading();
            cx.set_timer(millis(10));
            Ok(())
        })
        .on_timer(|cx, _| {
            cx.resume_reading();
            Ok(())
        });
    let mut harness = Harness::new(spy);
    harness.feed(b"hello");
    harness.advance(millis(10));
    assert_eq!(log.take(), ["it open", "it timer", "it data hello"], "its edge came before the pause ended");
}

#[test]
fn resuming_from_a_message_reads_what_arrived_meanwhile() {
    let log = Log::default();
    let spy = Spy::new("it", &log)
        .on_open(|cx| {
            cx.pause_reading();
            Ok(())
        })
        .on_message(|cx, _| {
            cx.resume_reading();
            Ok(())
        });
    let mut harness = Harness::new(spy);
    harness.feed_eof(b"hello");
    harness.post(switchboard::Bytes::from_static(b"go")).unwrap();
    assert_eq!(log.take(), ["it open", "it message go", "it data hello", "it eof", "it close: closed by the peer"]);
}

#[test]
fn resuming_offers_the_rest_again_in_the_same_turn_without_new_bytes() {
    let log = Log::default();
    let spy = Spy::new("it", &log).on_data(|cx, input| {
        input.take(1);
        if input.len() > 2 {
            cx.pause_reading();
        }
        Ok(())
    });
    let mut world = World::new();
    let id = world.event_loop.connect(address(1), spy);
    world.settle();
    let peer = world.network.next_outgoing().unwrap();
    peer.establish();
    world.settle();
    peer.send(b"abcdef");
    world.settle();
    assert_eq!(log.take(), ["it open", "it data abcdef"]);
    world.event_loop.with(id, |cx| cx.resume_reading()).unwrap();
    assert_eq!(log.take(), ["it data bcdef"], "at once, and paused again");
    world.event_loop.with(id, |cx| cx.resume_reading()).unwrap();
    world.event_loop.with(id, |cx| cx.resume_reading()).unwrap();
    assert_eq!(log.take(), ["it data cdef", "it data def"]);
    world.settle();
    assert_eq!(log.take(), [""; 0], "not paused, and nothing new: left alone");
    peer.send(b"g");
    world.settle();
    assert_eq!(log.take(), ["it data efg"]);
}

#[test]
fn pausing_and_resuming_in_one_callback_offers_what_was_left() {
    let log = Log::default();
    let spy = Spy::new("it", &log).on_data(|cx, input| {
        input.take(1);
        cx.pause_reading();
        cx.resume_reading();
        Ok(())
    });
    let mut harness = Harness::new(spy);
    harness.feed(b"abc");
    assert_eq!(log.take(), ["it open", "it data abc", "it data bc", "it data c"]);
}

#[test]
fn resuming_inside_of_pausing_reads_the_half_close_too() {
    let log = Log::default();
    let spy = Spy::new("it", &log).on_data(|cx, input| {
        input.take_all();
        cx.pause_reading();
        Ok(())
    });
    let mut harness = Harness::new(spy);
    harness.feed_eof(b"bytes");
    assert_eq!(log.take(), ["it open", "it data bytes"], "paused before the half-close");
    assert!(harness.is_open());
    harness.with(|cx| cx.resume_reading());
    assert_eq!(log.take(), ["it eof", "it close: closed by the peer"]);
}

#[test]
fn input_in_any_pieces_echoes_the_same() {
    let script: Vec<u8> = (0..=255).cycle().take(3000).collect();
    for piece in [1, 2, 3, 7, 64, 999, 3000] {
        let mut harness = Harness::new(TcpEcho);
        harness.peer().cut_reads(std::iter::repeat_n(piece, 3000 / piece));
        harness.peer().cut_writes([1, 0, 2, 0, 0, 5]);
        harness.feed_eof(&script);
        assert_eq!(harness.take_sent(), script, "pieces of {piece}");
        assert!(harness.saw_eof());
    }
}

#[test]
fn storms_of_would_block_lose_nothing() {
    let mut harness = Harness::new(TcpEcho);
    harness.peer().cut_reads([0, 0, 0, 1, 0, 0, 2, 0]);
    harness.peer().cut_writes([0, 0, 1, 0, 0, 0, 1, 0]);
    harness.feed(b"storm");
    assert_eq!(harness.take_sent(), b"storm");
    assert!(harness.is_open());
}

#[test]
fn what_a_signal_interrupts_is_tried_again_without_an_edge() {
    for calls in 1..=5 {
        let mut harness = Harness::new(TcpEcho);
        harness.peer().interrupt(calls);
        harness.feed(b"signals");
        assert_eq!(harness.take_sent(), b"signals", "{calls} calls interrupted");
        assert!(harness.is_open());
    }
    let mut harness = Harness::new(Spy::new("it", &Log::default()));
    harness.peer().interrupt(3);
    harness.with(|cx| cx.send(b"hello"));
    assert_eq!(harness.take_sent(), b"hello", "writing starts with the write");
}

/// What a connection is told, and answers, when a conversation comes byte by byte, in pieces, and at once.
fn conversation<const SHORT_MEANS_DRAINED: bool>(mut world: World<SHORT_MEANS_DRAINED>) -> Vec<u8> {
    world.listen(|| TcpEcho);
    let peer = world.peer();
    for piece in [&b"a"[..], b"bc", &[b'd'; 5000], b"e"] {
        peer.send(piece);
        world.settle();
    }
    peer.cut_reads([1, 1, 0, 3]);
    peer.cut_writes([1, 0, 1, 0]);
    peer.send(b"in pieces");
    world.settle();
    peer.set_window(4);
    peer.send(b"window");
    peer.finish();
    world.settle();
    peer.set_window(100);
    world.settle();
    assert!(peer.saw_eof());
    assert!(peer.is_closed() && !peer.saw_reset());
    world.assert_nothing_left();
    peer.take_received()
}

#[test]
fn readiness_that_ends_only_at_would_block_makes_no_difference() {
    let sent = [&b"abc"[..], &[b'd'; 5000], b"ein pieceswindow"].concat();
    assert_eq!(conversation(World::new()), sent);
    assert_eq!(conversation(World::until_would_block()), sent);
}

#[test]
fn a_burst_of_web_socket_messages_takes_one_read_and_one_write() {
    let mut harness = Harness::new(WebSocket::server(message_fn(|peer, message| {
        peer.send(message);
        Ok(())
    })));
    harness.feed(web_socket::REQUEST);
    assert!(harness.take_sent().starts_with(b"HTTP/1.1 101 "));
    let burst = web_socket::frame(web_socket::TEXT, b"a message of 20 byte").repeat(16);
    let before = harness.peer().calls();
    for round in 1..=100 {
        harness.feed(&burst);
        assert_eq!(harness.take_sent(), b"\x81\x14a message of 20 byte".repeat(16));
        assert_eq!(harness.peer().calls(), (before.0 + round, before.1 + round));
    }
}

#[test]
fn a_short_read_is_not_followed_by_another_and_a_burst_is_written_once() {
    let mut world = World::new();
    let listener = world.listen(|| TcpEcho);
    let peer = world.peer();
    let before = peer.calls();
    for burst in 1..=100 {
        for _ in 0..16 {
            peer.send(b"a message of 20 byte");
        }
        world.settle();
        assert_eq!(peer.calls(), (before.0 + burst, before.1 + burst));
    }
    assert_eq!(world.event_loop.core().listener_counters(listener).reads, 100);
}
