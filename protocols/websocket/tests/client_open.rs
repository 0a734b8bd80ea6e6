//! An open WebSocket from the client's side: masks, messages, control frames, and the end.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "what must not fail in a test may panic")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::server::{Server, client_frames, plain, plain_text};
use common::{close_frame, close_payload, text_frame};
use switchboard::Bytes;
use switchboard_heartbeat::PeerSilent;
use switchboard_websocket::close::ClosePayloadError;
use switchboard_websocket::error::{MessageLimit, ProtocolError};
use switchboard_websocket::frame::{FrameError, OpCode};
use switchboard_websocket::utf8::InvalidUtf8;
use switchboard_websocket::{CloseCode, Post, Settings};

/// The error that the connection ended with.
fn error<E: std::error::Error + Clone + 'static>(server: &mut Server) -> E {
    let reason = server.harness.close_reason().expect("it has closed");
    reason.error().and_then(|error| error.downcast_ref::<E>()).unwrap_or_else(|| panic!("another: {reason}")).clone()
}

fn server_close(code: u16, reason: &str) -> Vec<u8> {
    plain(true, OpCode::Close, close_payload(code, reason))
}

#[test]
fn every_frame_has_a_key_of_its_own() {
    let mut server = Server::open();
    for number in 0..2000 {
        server.feed(plain(true, if number % 2 == 0 { OpCode::Ping } else { OpCode::Binary }, [7; 8]));
    }
    let sent = server.harness.take_sent();
    let (frames, keys) = client_frames(&sent);
    assert_eq!(frames.len(), 2000);
    assert!(frames.iter().all(|(_, payload)| *payload == [7; 8]));
    let distinct: BTreeSet<_> = keys.iter().collect();
    assert!(distinct.len() >= 1999, "2000 of 2^32: {} distinct ones", distinct.len());
    // No bit of a key is fixed, and none follows from the one before it by a step that is always the same.
    let bits = |combine: fn(u32, u32) -> u32| {
        keys.iter().map(|key| u32::from_be_bytes(*key)).reduce(combine).expect("there are some")
    };
    assert_eq!((bits(|a, b| a & b), bits(|a, b| a | b)), (0, u32::MAX));
    let steps: BTreeSet<u32> =
        keys.windows(2).map(|pair| u32::from_be_bytes(pair[1]).wrapping_sub(u32::from_be_bytes(pair[0]))).collect();
    assert!(steps.len() > 1990);
}

#[test]
fn messages_of_every_length() {
    let mut server = Server::open();
    for length in [0, 1, 125, 126, 127, 4095, 4096, 4097, 65_535, 65_536, 300_000] {
        let payload: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
        let frame = plain(true, OpCode::Binary, &payload);
        for pieces in [frame.len(), frame.len() / 2 + 1, frame.len() - 1] {
            for piece in frame.chunks(pieces) {
                server.feed(piece);
            }
            assert_eq!(server.frames(), [(OpCode::Binary, payload.clone())], "{length} in pieces of {pieces}");
        }
        assert_eq!(server.harness.core().held_bytes(), 0);
    }
}

#[test]
fn fragments_and_control_frames_between_them() {
    let mut server = Server::open();
    server.feed(plain(false, OpCode::Text, "h\u{e9}".as_bytes().split_last().unwrap().1));
    server.feed(plain(true, OpCode::Ping, "between"));
    server.feed(plain(true, OpCode::Continuation, [0xa9]));
    server.feed(plain(true, OpCode::Pong, "unasked"));
    assert_eq!(server.frames(), [(OpCode::Pong, b"between".to_vec()), text_frame("h\u{e9}")]);
    assert_eq!(server.take_log(), ["text h\u{e9}", "pong unasked"]);
}

#[test]
fn what_is_shared_is_masked_in_a_copy() {
    let mut server = Server::open();
    let (small, large) = (Bytes::from(vec![1; 10]), Bytes::from(vec![2; 100_000]));
    for bytes in [&small, &large] {
        server.harness.post(Post::Binary(bytes.clone().into())).unwrap();
    }
    assert_eq!(server.frames(), [(OpCode::Binary, small.to_vec()), (OpCode::Binary, large.to_vec())]);
    assert!(small.iter().all(|byte| *byte == 1) && large.iter().all(|byte| *byte == 2));
}

#[test]
fn what_a_server_must_not_send() {
    let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    let cases: [(&[u8], ProtocolError, u16); 7] = [
        (&masked, FrameError::Masked.into(), 1002),
        (&[0x89, 0x80, 1, 2, 3, 4], FrameError::Masked.into(), 1002),
        (&[0xc1, 0x00], FrameError::ReservedBits(4).into(), 1002),
        (&[0x81, 0x7e, 0x00, 0x7d], FrameError::LengthNotMinimal.into(), 1002),
        (&[0x80, 0x00], FrameError::UnexpectedContinuation.into(), 1002),
        (&[0x88, 0x02, 0x03, 0xed], ClosePayloadError::ForbiddenCode(CloseCode::NO_STATUS).into(), 1002),
        (&[0x81, 0x01, 0xff], ProtocolError::Text(InvalidUtf8), 1007),
    ];
    for (bytes, expected, code) in cases {
        for whole in [true, false] {
            let mut server = Server::open();
            let pieces = if whole { bytes.len() } else { 1 };
            bytes.chunks(pieces).for_each(|piece| server.harness.feed(piece));
            assert_eq!(error::<ProtocolError>(&mut server), expected);
            assert_eq!(server.frames(), [close_frame(code, &expected.to_string())]);
            let [log] = &server.take_log()[..] else { panic!("one line") };
            assert!(log.starts_with(&format!("close {code} ")) && log.ends_with("by us, unclean"), "{log}");
        }
    }
}

#[test]
fn a_message_that_is_too_long() {
    let mut server = Server::open_with(Settings { max_message: 10, ..Settings::default() });
    server.feed(plain_text("0123456789"));
    assert_eq!(server.frames(), [text_frame("0123456789")]);
    server.feed(plain_text("0123456789a"));
    assert_eq!(error::<MessageLimit>(&mut server), MessageLimit::Size { size: 11, limit: 10 });
}

#[test]
fn the_server_closes() {
    let mut server = Server::open();
    server.feed([server_close(1001, "bye"), plain_text("behind")].concat());
    assert_eq!(server.frames(), [close_frame(1001, "bye")]);
    assert!(server.harness.is_open() && !server.harness.saw_eof(), "the server is to end the connection first");
    server.feed("anything at all is dropped");
    server.harness.post(Post::Text("too late".into())).unwrap();
    assert!(server.harness.take_sent().is_empty());
    server.harness.eof();
    assert_eq!(server.take_log(), ["close 1001 \"bye\" by peer, clean, 1 unsent"]);
    server.assert_gone();
}

#[test]
fn a_server_that_does_not_end_the_connection() {
    let mut server = Server::open();
    server.feed(server_close(1000, ""));
    server.harness.advance(Duration::from_millis(4_999));
    server.feed("more");
    assert!(server.harness.is_open());
    server.harness.advance(Duration::from_millis(2));
    assert_eq!(server.take_log(), ["close 1000 \"\" by peer, clean"]);
    assert!(server.harness.saw_eof());
}

#[test]
fn the_client_closes() {
    let mut server = Server::open();
    server.feed(plain_text("close"));
    assert_eq!(server.frames(), [close_frame(4000, "told to")]);
    server.feed([plain_text("dropped"), plain(true, OpCode::Ping, "still there?")].concat());
    assert_eq!(server.frames(), [(OpCode::Pong, b"still there?".to_vec())], "RFC 6455 §5.5.2");
    server.feed(server_close(4000, ""));
    assert!(server.harness.is_open() && !server.harness.saw_eof());
    server.harness.eof();
    assert_eq!(server.take_log(), ["close 4000 \"told to\" by us, clean"]);
    server.assert_gone();
}

#[test]
fn a_server_that_does_not_answer_the_close() {
    let mut server = Server::open();
    server.feed(plain_text("close"));
    server.feed(plain_text("a"));
    server.harness.advance(Duration::from_secs(6));
    assert_eq!(error::<ProtocolError>(&mut server), ProtocolError::CloseTimeout(Duration::from_secs(5)));
    assert_eq!(server.take_log(), ["close 4000 \"told to\" by us, unclean"]);
    let mut server = Server::open();
    server.feed(plain_text("close"));
    server.feed([0x81, 0x80, 0, 0, 0, 0]);
    assert_eq!(error::<ProtocolError>(&mut server), FrameError::Masked.into(), "frames that are dropped are checked");
}

#[test]
fn both_close_at_once() {
    let mut server = Server::open();
    server.harness.post(Post::Close(CloseCode(4001), "mine".into())).unwrap();
    server.harness.feed_eof(&server_close(4002, "theirs"));
    assert_eq!(server.frames(), [close_frame(4001, "mine")]);
    assert_eq!(server.take_log(), ["close 4001 \"mine\" by us, clean"]);
    server.assert_gone();
}

#[test]
fn an_end_without_a_close_frame() {
    let mut server = Server::open();
    server.harness.eof();
    assert_eq!(error::<ProtocolError>(&mut server), ProtocolError::NoClose);
    assert_eq!(server.take_log(), ["close 1006 \"\" by us, unclean"]);
}

#[test]
fn a_reset_behind_both_close_frames_is_a_clean_end() {
    let mut server = Server::open();
    server.feed(server_close(1000, ""));
    server.harness.reset();
    assert_eq!(server.take_log(), ["close 1000 \"\" by peer, clean"]);
    server.assert_gone();

    let mut server = Server::open();
    server.feed(plain_text("close")).feed(server_close(4000, ""));
    server.harness.reset();
    assert_eq!(server.take_log(), ["close 4000 \"told to\" by us, clean"]);

    let mut server = Server::open();
    server.feed(plain_text("close"));
    server.harness.reset();
    assert_eq!(server.take_log(), ["close 4000 \"told to\" by us, unclean"], "the server's is missing");

    let mut server = Server::open();
    server.harness.set_window(3);
    server.feed(server_close(1000, ""));
    server.harness.reset();
    assert_eq!(server.take_log(), ["close 1000 \"\" by peer, unclean"], "the client's is not out");
}

#[test]
fn a_drain_says_goodbye_and_waits_for_the_server() {
    let mut server = Server::open();
    server.harness.shutdown(Duration::from_secs(60));
    assert_eq!(server.frames(), [close_frame(1001, "")]);
    server.feed(server_close(1001, ""));
    assert!(server.harness.is_open());
    server.harness.eof();
    assert_eq!(server.take_log(), ["close 1001 \"\" by us, clean"]);
}

#[test]
fn the_heartbeat_is_masked_and_notices_a_silent_server() {
    let mut server = Server::open();
    server.harness.advance(Duration::from_secs(40));
    let frames = server.frames();
    let [(OpCode::Ping, payload)] = &frames[..] else { panic!("{frames:?}") };
    assert!(payload.starts_with(b"beat"));
    server.feed(plain(true, OpCode::Pong, payload));
    assert_eq!(server.take_log(), [""; 0]);
    server.harness.advance(Duration::from_secs(50));
    assert!(server.harness.is_open());
    server.harness.advance(Duration::from_secs(50));
    let silent: PeerSilent = error(&mut server);
    assert!(silent.to_string().contains("60"), "{silent}");
}
