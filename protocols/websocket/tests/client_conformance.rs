//! Whole conversations under every way in which they can reach a WebSocket client.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

mod common;

use std::rc::Rc;
use std::time::Duration;

use common::close_payload;
use common::noting::Noting;
use common::server::{URL, plain, plain_text, switching};
use switchboard::Bytes;
use switchboard::testkit::{Harness, Script, check_conformance};
use switchboard_websocket::frame::OpCode;
use switchboard_websocket::{Connect, Settings, WebSocket};

fn client() -> WebSocket<Noting> {
    let settings = Settings { max_message: 64 << 10, max_refusal: 20, ..Settings::default() };
    WebSocket::client_with_settings(Connect::to(URL).unwrap().subprotocol("chat"), Noting, &Rc::new(settings))
}

/// What the client's request asks for: its key is the same in each run.
fn answer() -> String {
    let request = String::from_utf8(Harness::new(client()).take_sent()).unwrap();
    switching(&request).replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\n")
}

/// Checks what a server sends after the handshake, in one input with it; the client opens.
fn check(frames: &[Vec<u8>]) {
    let conformance = check_conformance(client, &Script::new().send(answer()).send(frames.concat()));
    println!("{conformance}");
    assert!(conformance.notes >= 3, "accepted, open and close at least");
}

#[test]
fn messages_fragments_and_a_close() {
    check(&[
        plain_text("hello"),
        plain(false, OpCode::Text, "h\u{e4}l"),
        plain(true, OpCode::Ping, "between"),
        plain(false, OpCode::Continuation, [0xc3]),
        plain(true, OpCode::Continuation, [0xa9]),
        plain(true, OpCode::Pong, "unasked"),
        plain(true, OpCode::Binary, [0, 255]),
        plain_text(""),
        plain(true, OpCode::Close, close_payload(1000, "bye")),
        plain_text("too late"),
    ]);
}

#[test]
fn messages_with_longer_lengths() {
    check(&[plain_text(&"x".repeat(126)), plain(true, OpCode::Binary, [1; 200])]);
}

#[test]
fn broken_frames() {
    check(&[plain_text("before"), plain(true, OpCode::Text, [0xff]), plain_text("behind")]);
    check(&[plain_text("before"), plain(true, OpCode::Continuation, "nothing to continue")]);
    check(&[plain_text("before"), vec![0x81, 0x81, 0, 0, 0, 0, b'm']]);
    check(&[plain(true, OpCode::Close, close_payload(1005, ""))]);
}

#[test]
fn answers_that_are_refused() {
    let good = answer();
    for answer in [
        "HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nnot you!\nbehind",
        "HTTP/1.1 500 No\r\n\r\nmore than what is kept of the body",
        "HTTP/1.1 502 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbad\r\n4;a\r\n way\r\n0\r\n\r\n",
        "HTTP/1.1 307 Go\r\nLocation: ws://b/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 X\r\nA : b\r\n\r\n",
        "HTTP/1.1 101 X\nA: b\r\n\r\n",
        "nonsense",
        &good.replace("Accept: ", "Accept: A"),
        &good.replace(": chat", ": other"),
    ] {
        println!("{}", check_conformance(client, &Script::new().send(answer)));
    }
}

#[test]
fn interim_answers_come_first() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n";
    let script = Script::new().send([interim, &answer()].concat()).send(plain_text("one"));
    assert!(check_conformance(client, &script).notes >= 4);
}

#[test]
fn a_conversation_in_steps() {
    let script = Script::new()
        .send(answer())
        .send(plain_text("one"))
        .advance(Duration::from_secs(1))
        .post(|| Bytes::from_static(b"anything").into())
        .send(plain_text("two"))
        .shutdown(Duration::from_secs(30))
        .send(plain_text("three"))
        .send(plain(true, OpCode::Close, close_payload(1001, "")));
    println!("{}", check_conformance(client, &script));
}
