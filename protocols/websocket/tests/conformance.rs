//! Whole conversations under every way in which they can reach a WebSocket.

mod common;

use std::rc::Rc;
use std::time::Duration;

use common::noting::Noting;
use common::{UPGRADE, binary, close, frame, ping, text};
use switchboard::Bytes;
use switchboard::testkit::{Script, check_conformance};
use switchboard_websocket::frame::OpCode;
use switchboard_websocket::{Settings, WebSocket};

fn server() -> WebSocket<Noting> {
    WebSocket::with_settings(Noting, &Rc::new(Settings { max_message: 64 << 10, ..Settings::default() }))
}

/// Checks what a client sends after the handshake, in one input with it.
fn check(frames: &[Vec<u8>]) {
    println!("{}", check_conformance(server, &Script::new().send(UPGRADE).send(frames.concat())));
}

#[test]
fn messages_fragments_and_a_close() {
    check(&[
        text("hello"),
        frame(false, OpCode::Text, "häl".as_bytes()),
        ping("between"),
        frame(false, OpCode::Continuation, &"é".as_bytes()[..1]),
        frame(true, OpCode::Continuation, &"é".as_bytes()[1..]),
        frame(true, OpCode::Pong, "unasked"),
        binary([0, 255]),
        text(""),
        close(1000, "bye"),
        text("too late"),
    ]);
}

#[test]
fn messages_with_longer_lengths() {
    check(&[text(&"x".repeat(126)), binary([1; 200])]);
}

#[test]
fn broken_frames() {
    check(&[text("before"), frame(true, OpCode::Text, [0xff]), text("behind")]);
    check(&[text("before"), frame(true, OpCode::Continuation, "nothing to continue")]);
    check(&[ping("before"), vec![0x83, 0x80, 0, 0, 0, 0]]);
    check(&[text("before"), vec![0x81, 0x01, b'u']]);
    check(&[close(1005, "")]);
}

#[test]
fn requests_that_are_refused() {
    let requests = ["GET / HTTP/1.1\r\nHost: a\r\n\r\nbehind", "nonsense\r\n\r\n", "GET /\0 HTTP/1.1\r\n\r\n"];
    for request in requests {
        println!("{}", check_conformance(server, &Script::new().send(request)));
    }
}

#[test]
fn a_conversation_in_steps() {
    let script = Script::new()
        .send(UPGRADE)
        .send(text("one"))
        .advance(Duration::from_secs(1))
        .post(|| Bytes::from_static(b"anything").into())
        .send(text("two"))
        .shutdown(Duration::from_secs(30))
        .send(text("three"))
        .send(close(1001, ""));
    println!("{}", check_conformance(server, &script));
}
