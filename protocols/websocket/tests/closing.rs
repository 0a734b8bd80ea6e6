//! The closing handshake in every order, its timeouts, and ends without one.

mod common;

use std::time::Duration;

use common::*;
use switchboard::{Blame, Bytes, Limits};
use switchboard_websocket::close::ClosePayloadError;
use switchboard_websocket::error::{ProtocolError, UsageError};
use switchboard_websocket::frame::{FrameError, OpCode};
use switchboard_websocket::{CloseCode, Post, Settings};

#[test]
fn the_peer_begins() {
    for (payload, code, reason) in [
        (close_payload(1000, "bye"), 1000, "bye"),
        (close_payload(4999, ""), 4999, ""),
        (vec![], 1005, ""),
        (close_payload(3000, &"é".repeat(61)), 3000, &*"é".repeat(61)),
    ] {
        let bytes = [text("last"), frame(true, OpCode::Close, &payload), text("not looked at"), vec![0xff; 9]].concat();
        let mut client = Client::open();
        client.feed(bytes);
        assert_eq!(client.frames(), [text_frame("last"), (OpCode::Close, payload)], "the same code and reason");
        assert_eq!(client.take_log(), ["text last".to_owned(), format!("close {code} {reason:?} by peer, clean")]);
        assert_eq!(client.close_reason(), "closed by this side");
    }
}

#[test]
fn the_peer_begins_byte_by_byte_within_a_message() {
    let mut client = Client::open();
    client.feed(frame(false, OpCode::Text, "begun"));
    for byte in close(1001, "leaving") {
        client.feed([byte]);
    }
    assert_eq!(client.frames(), [close_frame(1001, "leaving")]);
    assert_eq!(client.take_log(), [r#"close 1001 "leaving" by peer, clean"#]);
    assert_eq!(client.held(), 0);
}

#[test]
fn this_side_begins() {
    let mut client = Client::open();
    let pong = |payload: &str| (OpCode::Pong, payload.as_bytes().to_vec());
    client.feed([text("close"), text("dropped"), ping("still there?")].concat());
    assert_eq!(client.frames(), [close_frame(4000, "told to"), pong("still there?")], "and no message after it");
    client.feed(frame(false, OpCode::Binary, [0; 70_000])).feed(ping("x")).feed(frame(true, OpCode::Continuation, "x"));
    assert_eq!(client.frames(), [pong("x")], "until the peer's close frame has come (RFC 6455 §5.5.2)");
    assert!(client.harness.is_open());
    client.feed([close(4000, "yes"), text("behind"), ping("behind")].concat());
    assert_eq!(client.frames(), []);
    assert_eq!(client.take_log(), [r#"close 4000 "told to" by us, clean"#]);
    assert_eq!(client.close_reason(), "closed by this side");
}

/// Who takes our close frame and goes on asking for pongs has no more time than others.
#[test]
fn pings_do_not_put_off_the_end() {
    let mut client = Client::open();
    client.feed(text("close"));
    for _ in 0..5 {
        client.harness.set_window(200);
        client.feed(ping(&"x".repeat(125)).repeat(100));
        client.harness.advance(Duration::from_secs(1));
    }
    assert!(client.held() > 0, "there is always a pong that waits");
    client.harness.advance(Duration::from_millis(2));
    client.feed(ping("not answered any more"));
    client.harness.set_window(usize::MAX);
    assert!(client.frames().iter().all(|(_, payload)| payload.len() != 21), "what was sent is delivered");
    assert_eq!(client.error::<ProtocolError>(), ProtocolError::CloseTimeout(Duration::from_secs(5)));
}

#[test]
fn this_side_begins_in_the_midst_of_a_message_and_the_answer_is_split_everywhere() {
    let message = frame(false, OpCode::Text, "a message that is begun");
    let rest = [&message[12..], &frame(true, OpCode::Continuation, "rest"), &close(1001, "")].concat();
    for split in 0..=rest.len() {
        let mut client = Client::open();
        client.feed(&message[..12]);
        client.harness.post(Post::Close(CloseCode::GOING_AWAY, "".into())).unwrap();
        assert_eq!(client.frames(), [close_frame(1001, "")]);
        assert_eq!(client.held(), 0, "the message will never be whole");
        client.feed(&rest[..split]).feed(&rest[split..]);
        assert_eq!(client.take_log(), [r#"close 1001 "" by us, clean"#], "at {split}");
    }
}

#[test]
fn this_side_begins_in_the_midst_of_the_last_frame_of_a_message() {
    for opening in [vec![], frame(false, OpCode::Text, "begun, ")] {
        let opcode = if opening.is_empty() { OpCode::Text } else { OpCode::Continuation };
        let last = frame(true, opcode, "and ended");
        let (begun, rest) = last.split_at(9);
        let mut client = Client::open();
        client.feed([&opening, begun].concat());
        client.harness.post(Post::Close(CloseCode::GOING_AWAY, "".into())).unwrap();
        client.feed([rest, &text("another, sent before the close frame was seen"), &close(1001, "")].concat());
        assert_eq!(client.frames(), [close_frame(1001, "")]);
        assert_eq!(client.take_log(), [r#"close 1001 "" by us, clean"#]);
    }
}

#[test]
fn what_can_not_be_sent_any_more_is_counted() {
    let mut client = Client::open();
    client.feed(text("close"));
    client.harness.post(Post::Text("too late".into())).unwrap();
    client.harness.post(Post::Close(CloseCode::NORMAL, "".into())).unwrap();
    client.harness.post(Bytes::from_static(b"for the handler")).unwrap();
    client.feed(close(4000, ""));
    assert_eq!(client.frames(), [close_frame(4000, "told to")]);
    assert_eq!(client.take_log(), [r#"close 4000 "told to" by us, clean, 2 unsent"#]);
}

#[test]
fn what_is_sent_before_the_websocket_stands_is_counted() {
    let mut client = Client::connected();
    client.feed([UPGRADE.replace("/chat", "/early").as_bytes(), &close(1000, "")].concat());
    let sent = client.harness.take_sent();
    assert_eq!(server_frames(sent.strip_prefix(SWITCHING.as_bytes()).unwrap()), [close_frame(1000, "")]);
    assert_eq!(client.take_log(), ["open", r#"close 1000 "" by peer, clean, 1 unsent"#]);
}

#[test]
fn a_handler_that_goes_on_sending_after_its_close_is_told_how_much_was_not_sent() {
    let mut client = Client::open();
    client.feed(text("close and go on")).feed(close(1000, ""));
    assert_eq!(client.frames(), [close_frame(1000, "")]);
    assert_eq!(client.take_log(), [r#"close 1000 "" by us, clean, 4 unsent"#]);
}

#[test]
fn both_begin_at_once() {
    let mut client = Client::open();
    client.harness.set_window(0);
    client.feed(text("close"));
    client.feed(close(1000, "")); // sent before ours was seen
    client.harness.set_window(usize::MAX);
    assert_eq!(client.frames(), [close_frame(4000, "told to")], "one close frame answers the other");
    assert_eq!(client.take_log(), [r#"close 4000 "told to" by us, clean"#]);
}

#[test]
fn the_peer_does_not_answer() {
    let mut client = Client::open();
    client.feed(text("close"));
    client.harness.advance(Duration::from_millis(4_999));
    client.feed(text("still talking"));
    assert!(client.harness.is_open());
    client.harness.advance(Duration::from_millis(1));
    assert_eq!(client.error::<ProtocolError>(), ProtocolError::CloseTimeout(Duration::from_secs(5)));
    assert_eq!(client.frames(), [close_frame(4000, "told to")]);
    assert_eq!(client.take_log(), [r#"close 4000 "told to" by us, unclean"#]);
}

#[test]
fn the_peers_time_begins_when_it_has_the_close_frame() {
    let mut client = Client::open();
    client.harness.set_window(3);
    client.feed(text("close"));
    client.harness.advance(Duration::from_secs(20));
    assert!(client.harness.is_open(), "it has not been told yet");
    client.harness.set_window(usize::MAX);
    client.feed(close(4000, ""));
    assert_eq!(client.take_log(), [r#"close 4000 "told to" by us, clean"#]);
}

#[test]
fn the_peer_takes_nothing_at_all() {
    let mut client = Client::open();
    client.harness.set_window(0);
    client.feed(text("close"));
    client.harness.advance(Duration::from_secs(31));
    assert!(client.close_reason().contains("write_stall"), "{}", client.close_reason());
    assert_eq!(client.take_log(), [r#"close 4000 "told to" by us, unclean"#]);
}

#[test]
fn ends_without_a_close_frame() {
    let mut client = Client::open();
    client.feed(&text("begun")[..4]);
    client.harness.eof();
    assert_eq!(client.error::<ProtocolError>(), ProtocolError::NoClose);
    assert_eq!(client.frames(), []);
    assert_eq!(client.take_log(), [r#"close 1006 "" by us, unclean"#]);

    let mut client = Client::open();
    client.harness.feed_eof(&text("answered"));
    assert_eq!(client.frames(), [text_frame("answered")]);
    assert_eq!(client.error::<ProtocolError>(), ProtocolError::NoClose);

    let mut client = Client::open();
    client.harness.reset();
    assert_eq!(client.harness.close_reason().unwrap().blame(), Some(Blame::System));
    assert_eq!(client.take_log(), [r#"close 1006 "" by us, unclean"#]);

    let mut client = Client::open();
    client.feed(text("close"));
    client.harness.eof();
    assert_eq!(client.take_log(), [r#"close 4000 "told to" by us, unclean"#]);
    assert_eq!(client.close_reason(), "closed by the peer");

    let mut client = Client::open();
    client.harness.feed_eof(&close(1000, ""));
    assert_eq!(client.frames(), [close_frame(1000, "")]);
    assert_eq!(client.take_log(), [r#"close 1000 "" by peer, clean"#]);
}

#[test]
fn close_frames_that_break_the_protocol() {
    for (payload, error, code) in [
        (vec![3], ClosePayloadError::HalfCode, 1002),
        (close_payload(1005, ""), ClosePayloadError::ForbiddenCode(CloseCode(1005)), 1002),
        (close_payload(5000, "x"), ClosePayloadError::ForbiddenCode(CloseCode(5000)), 1002),
        (b"\x03\xe8\xff".to_vec(), ClosePayloadError::InvalidReason, 1007),
    ] {
        let mut client = Client::open();
        client.feed(frame(true, OpCode::Close, &payload));
        assert_eq!(client.error::<ProtocolError>(), ProtocolError::Close(error));
        assert_eq!(client.frames(), [close_frame(code, &error.to_string())]);
        assert_eq!(client.take_log(), [format!("close {code} {:?} by us, unclean", error.to_string())]);

        let mut client = Client::open();
        client.feed(text("close")).feed(frame(true, OpCode::Close, &payload));
        assert_eq!(client.frames(), [close_frame(4000, "told to")], "after a close frame no other");
        assert_eq!(client.error::<ProtocolError>(), ProtocolError::Close(error));
        assert_eq!(client.take_log(), [r#"close 4000 "told to" by us, unclean"#]);
    }
}

#[test]
fn frames_are_checked_while_closing() {
    let mut client = Client::open();
    client.feed(text("close")).feed([0x81, 0x05]);
    assert_eq!(client.frames(), [close_frame(4000, "told to")]);
    assert_eq!(client.error::<ProtocolError>(), ProtocolError::Frame(FrameError::NotMasked));
    assert_eq!(client.take_log(), [r#"close 4000 "told to" by us, unclean"#]);
}

#[test]
fn the_loop_drains() {
    let mut client = Client::open();
    client.feed(frame(false, OpCode::Text, "begun"));
    client.harness.shutdown(Duration::from_secs(9));
    assert_eq!(client.frames(), [close_frame(1001, "")]);
    assert!(client.harness.is_open(), "it waits for the answer");
    client.feed(close(1001, ""));
    assert_eq!(client.take_log(), [r#"close 1001 "" by us, clean"#]);

    let mut client = Client::open();
    client.harness.shutdown(Duration::from_secs(2));
    client.harness.advance(Duration::from_secs(2));
    assert_eq!(client.take_log(), [r#"close 1001 "" by us, unclean"#], "cut off at the deadline");

    let mut client = Client::connected();
    client.feed("GET /");
    client.harness.shutdown(Duration::from_secs(2));
    assert_eq!(client.close_reason(), "closed by this side");
    assert_eq!(client.sent_text(), "");
}

#[test]
fn codes_that_may_not_be_sent_are_the_programs_mistake() {
    let mut client = Client::open();
    client.feed(text("close badly"));
    assert_eq!(client.error::<UsageError>(), UsageError::CloseCode(CloseCode::ABNORMAL));
    assert_eq!(client.harness.close_reason().unwrap().blame(), Some(Blame::Caller));
    assert_eq!(client.frames(), [close_frame(1011, "")]);

    let mut client = Client::open();
    client.harness.post(Post::Close(CloseCode(999), "".into())).unwrap();
    assert_eq!(client.error::<UsageError>(), UsageError::CloseCode(CloseCode(999)));
    assert_eq!(client.frames(), [close_frame(1011, "")]);

    let mut client = Client::open();
    client.harness.post(Post::Close(CloseCode::NO_STATUS, "dropped with the code".into())).unwrap();
    assert_eq!(client.frames(), [(OpCode::Close, vec![])]);
    client.feed(frame(true, OpCode::Close, ""));
    assert_eq!(client.take_log(), [r#"close 1005 "" by us, clean"#]);
}

#[test]
fn who_failed_holds_no_message_while_its_last_words_wait() {
    let mut client = Client::open();
    client.harness.set_window(0);
    client.feed([frame(false, OpCode::Text, "fail"), frame(true, OpCode::Continuation, "")].concat());
    assert_eq!(client.held(), 4, "the close frame");
    client.harness.set_window(usize::MAX);
    assert_eq!(client.frames(), [close_frame(1011, "")]);
}

#[test]
fn a_long_reason_is_cut() {
    let mut client = Client::open();
    client.harness.post(Post::Close(CloseCode(3000), "é".repeat(100).into())).unwrap();
    assert_eq!(client.frames(), [close_frame(3000, &"é".repeat(61))]);
}

#[test]
fn closing_reads_again() {
    let mut client = Client::with(true, Settings::default(), Limits::default()).upgraded();
    client.feed([text("pause"), text("unread")].concat());
    assert_eq!(client.frames(), [text_frame("pause")]);
    client.harness.post(Post::Close(CloseCode::NORMAL, "".into())).unwrap();
    client.feed(close(1000, ""));
    assert_eq!(client.frames(), [close_frame(1000, "")]);
    assert_eq!(client.take_log(), [r#"close 1000 "" by us, clean"#]);
}

/// A peer that has enough says so and closes, with messages to it unread: its system makes a reset of that.
#[test]
fn the_last_words_of_a_peer_that_is_sent_too_much_are_heard() {
    let mut client = Client::open();
    client.harness.set_window(0);
    client.feed(binary(vec![1; 1 << 20])); // the echo waits, and with it what comes behind
    client.harness.peer().send(&[text("unread so far"), close(1009, "too big")].concat());
    client.harness.reset();
    let log = client.take_log();
    assert_eq!(log.last().unwrap(), r#"close 1009 "too big" by peer, unclean"#, "{log:?}");
    assert!(log.contains(&"text unread so far".to_owned()), "{log:?}");
    assert_eq!(client.held(), 0);
}
