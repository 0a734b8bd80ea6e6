//! The client's opening handshake: what is sent, what is accepted, and every way in which it fails.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

mod common;

use std::time::Duration;

use common::server::{Server, URL, client_frames, plain_text};
use common::{Frames, text_frame};
use switchboard::testkit::Harness;
use switchboard::{Blame, Bytes, Limits};
use switchboard_websocket::handshake::{AnswerError, InvalidConnect};
use switchboard_websocket::{Connect, Post, Settings, WebSocket, message_fn};

#[test]
fn a_websocket_opens() {
    let connect = Connect::to(URL).unwrap().subprotocol("chat").origin("http://a").header("X-A", "b");
    let mut server = Server::asked_by(connect, Settings::default(), Limits::default());
    let answer = server.switching.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\n");
    server.feed([answer.as_bytes(), &plain_text("hello"), &plain_text("you")].concat());
    assert_eq!(server.take_log(), ["subprotocol chat", "open", "text hello", "text you"]);
    assert_eq!(server.frames(), [text_frame("hello"), text_frame("you")]);
    assert!(server.harness.is_open());
}

#[test]
fn the_request_as_it_is_sent() {
    let connect = Connect::to(URL).unwrap().subprotocol("a").subprotocol("b");
    let mut harness = Harness::new(WebSocket::client(connect, message_fn(|_, _| Ok(()))));
    let request = String::from_utf8(harness.take_sent()).unwrap();
    let (head, rest) = request.split_once("Sec-WebSocket-Key: ").unwrap();
    assert_eq!(
        head,
        "GET /chat?room=1 HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    );
    assert_eq!(&rest[22..24], "==", "16 bytes in base64");
    assert_eq!(&rest[24..], "\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a, b\r\n\r\n");
}

#[test]
fn keys_of_connections_differ() {
    // Two connections of one loop.
    let mut harness = Harness::new(WebSocket::client(Connect::to(URL).unwrap(), message_fn(|_, _| Ok(()))));
    let first = harness.take_sent();
    let other = WebSocket::client(Connect::to(URL).unwrap(), message_fn(|_, _| Ok(())));
    harness.core().connect(("127.0.0.1", 2), other);
    harness.settle();
    let peer = harness.network().next_outgoing().unwrap();
    peer.establish();
    harness.settle();
    let second = peer.take_received();
    assert_eq!(first.len(), second.len());
    assert_ne!(first, second);
}

#[test]
fn every_refusal_fails_the_connection() {
    let good = Server::asked().switching;
    let cases: Vec<(String, AnswerError)> = vec![
        (good.replace("HTTP/1.1", "HTTP/1.0"), AnswerError::HttpVersion),
        (good.replace("Upgrade: websocket\r\n", ""), AnswerError::NoUpgrade),
        (good.replace("Connection: Upgrade\r\n", ""), AnswerError::NoConnectionUpgrade),
        (good.replace("Accept: ", "Accept: x"), AnswerError::BadAccept),
        (good.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: a\r\n\r\n"), AnswerError::Extension("a".into())),
        (good.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: a\r\n\r\n"), AnswerError::Subprotocol("a".into())),
        ("HTTP/1.1 101 X\r\nA\r\n\r\n".into(), AnswerError::Malformed("invalid header name")),
        ("SSH-2.0-OpenSSH\r\n".into(), AnswerError::Malformed("it does not begin with HTTP/")),
        ("HTTP/1.1 101 X\n".into(), AnswerError::Malformed("an LF without CR")),
    ];
    for (answer, error) in cases {
        let mut server = Server::asked();
        server.feed(&answer);
        assert_eq!(server.error(), error);
        assert_eq!(server.harness.close_reason().unwrap().blame(), Some(Blame::Peer));
        assert_eq!(server.take_log(), [format!("failed: {}", server.close_reason())]);
        assert!(server.harness.take_sent().is_empty() && server.harness.saw_eof(), "nothing is said to it");
        server.harness.eof();
        server.assert_gone();
    }
}

#[test]
fn the_limits_of_the_head() {
    let settings = || Settings { max_handshake: 200, max_headers: 4, ..Settings::default() };
    let asked = || Server::asked_by(Connect::to(URL).unwrap(), settings(), Limits::default());
    let mut server = asked();
    let padding = 200 - server.switching.len() - "X: \r\n".len();
    let longest = server.switching.replace("\r\n\r\n", &format!("\r\nX: {}\r\n\r\n", "x".repeat(padding)));
    server.feed(&longest);
    assert_eq!(server.take_log(), ["open"]);
    let mut server = asked();
    server.feed(longest.replace("X: ", "X: x"));
    assert_eq!(server.error(), AnswerError::TooLarge { limit: 200 });
    assert_eq!(server.harness.close_reason().unwrap().blame(), Some(Blame::Limit));
    let mut server = asked();
    server.feed(server.switching.replace("\r\n\r\n", "\r\nA: b\r\nA: b\r\n\r\n"));
    assert_eq!(server.error(), AnswerError::TooManyHeaders { limit: 4 });
    // Garbage without end is refused at the limit, however it comes.
    for size in [1, 16 << 20] {
        let mut server = asked();
        let garbage = ["HTTP/1.1 101 X\r\nA: ".as_bytes(), &vec![b'a'; 16 << 20]].concat();
        let sent = garbage.chunks(size).take_while(|chunk| {
            server.harness.feed(chunk);
            server.harness.is_open()
        });
        assert!(sent.count() < 200);
        assert_eq!(server.error(), AnswerError::TooLarge { limit: 200 });
    }
}

#[test]
fn a_refusal_comes_with_its_body() {
    let body = |answer: &str, settings: Settings, eof: bool| {
        let mut server = Server::asked_by(Connect::to(URL).unwrap(), settings, Limits::default());
        for byte in answer.as_bytes() {
            server.feed([*byte]);
        }
        if eof {
            assert!(server.harness.is_open(), "more may come");
            server.harness.eof();
        }
        let error = server.error();
        let refusal = error.refusal().expect("a refusal");
        assert_eq!(refusal.header("x-why").unwrap(), b"path");
        assert_eq!(server.take_log(), [format!("failed: {}", server.close_reason())]);
        (refusal.status(), String::from_utf8(refusal.body().to_vec()).unwrap())
    };
    let small = || Settings { max_refusal: 4, ..Settings::default() };
    let sized = "HTTP/1.1 403 No\r\nX-Why: path\r\nContent-Length: 9\r\n\r\nnot you!\n";
    assert_eq!(body(sized, Settings::default(), false), (403, "not you!\n".into()));
    assert_eq!(body(sized, small(), false), (403, "not ".into()));
    let unsized_body = "HTTP/1.0 503 X\r\nX-Why: path\r\n\r\nlater";
    assert_eq!(body(unsized_body, Settings::default(), true), (503, "later".into()));
    assert_eq!(body(unsized_body, small(), false), (503, "late".into()));
    let chunked = "HTTP/1.1 502 X\r\nX-Why: path\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbad\r\n4\r\n way\r\n0\r\n";
    assert_eq!(body(chunked, Settings::default(), false), (502, "bad way".into()));
    assert_eq!(body("HTTP/1.1 204 X\r\nX-Why: path\r\n\r\n", Settings::default(), false), (204, String::new()));
    assert_eq!(body(sized, Settings { max_refusal: 0, ..Settings::default() }, false), (403, String::new()));
}

#[test]
fn half_a_body_is_told_at_the_timeout() {
    let mut server = Server::asked();
    server.feed("HTTP/1.1 500 X\r\nContent-Length: 100\r\n\r\nso far");
    assert_eq!(server.harness.core().held_bytes(), 4096);
    server.harness.advance(Duration::from_secs(11));
    assert_eq!(server.error().refusal().unwrap().body(), b"so far");
    server.harness.eof();
    server.assert_gone();
}

#[test]
fn a_body_that_the_loop_has_no_memory_for_is_not_kept() {
    let limits = Limits { loop_memory: 1_000_000, ..Limits::default() };
    let settings = Settings { max_refusal: 1_000_001, max_message: 1000, ..Settings::default() };
    let mut server = Server::asked_by(Connect::to(URL).unwrap(), settings, limits);
    server.feed("HTTP/1.1 500 X\r\nContent-Length: 2\r\n\r\nno");
    assert_eq!(server.error().refusal().unwrap().body(), b"");
}

#[test]
fn a_redirect_says_where() {
    let mut server = Server::asked();
    server.feed("HTTP/1.1 308 Permanent Redirect\r\nLocation: ws://b/c\r\nContent-Length: 0\r\n\r\n");
    let error = server.error();
    assert!(matches!(&error, AnswerError::Redirect(refusal) if refusal.location() == Some("ws://b/c")), "{error}");
}

#[test]
fn who_does_not_answer_in_time() {
    for part in ["", "HTTP/1.1 101 Switch"] {
        let mut server = Server::asked();
        server.feed(part);
        server.harness.advance(Duration::from_millis(9_999));
        assert!(server.harness.is_open());
        server.harness.advance(Duration::from_millis(2));
        assert_eq!(server.error(), AnswerError::Timeout);
        assert_eq!(server.take_log(), [format!("failed: {}", server.close_reason())]);
        assert!(server.harness.take_sent().is_empty());
    }
}

#[test]
fn who_ends_before_the_answer() {
    for part in ["", "HTTP/1.1 101 Switch"] {
        let mut server = Server::asked();
        server.harness.feed_eof(part.as_bytes());
        assert_eq!(server.error(), AnswerError::Ended);
        let mut server = Server::asked();
        server.feed(part);
        server.harness.reset();
        assert!(server.take_log()[0].starts_with("failed: "));
        server.assert_gone();
    }
    let mut server = Server::asked();
    server.harness.shutdown(Duration::from_secs(1));
    assert_eq!(server.take_log(), ["failed: closed by this side"]);
}

#[test]
fn a_connection_that_is_refused_fails() {
    let log = common::Log::default();
    let logged = common::Logged { log: std::rc::Rc::clone(&log), echo: false };
    let client = WebSocket::client(Connect::to(URL).unwrap(), common::server::Asking(logged));
    let mut harness = Harness::connecting(client, Limits::default());
    harness.peer().refuse(std::io::ErrorKind::ConnectionRefused);
    harness.settle();
    assert_eq!(log.borrow().len(), 1);
    assert!(log.borrow()[0].starts_with("failed: "), "{log:?}");
}

#[test]
fn a_request_that_can_not_be_sent_is_the_programs_fault() {
    let connect = Connect::to(URL).unwrap().header("X", "a\r\nB: c");
    let mut harness = Harness::new(WebSocket::client(connect, message_fn(|_, _| Ok(()))));
    assert!(harness.take_sent().is_empty());
    let reason = harness.close_reason().unwrap();
    assert_eq!(reason.blame(), Some(Blame::Caller));
    assert_eq!(reason.error().unwrap().downcast_ref(), Some(&InvalidConnect::Header("X".into())));
}

#[test]
fn what_is_posted_before_is_sent_then() {
    let mut server = Server::asked();
    server.harness.post(Post::Text("early".into())).unwrap();
    server.harness.post(Post::Binary(Bytes::from_static(b"bird").into())).unwrap();
    assert!(server.harness.take_sent().is_empty());
    let answer = server.switching.replace("\r\n\r\n", "\r\nX-Do: text\r\n\r\n");
    server.feed(answer);
    let binary = (switchboard_websocket::frame::OpCode::Binary, b"bird".to_vec());
    assert_eq!(server.frames(), [text_frame("first"), text_frame("early"), binary]);
}

#[test]
fn what_the_application_does_with_the_answer() {
    let outcome = |what: &str| {
        let mut server = Server::asked();
        server.harness.post(Post::Text("early".into())).unwrap();
        server.feed(server.switching.replace("\r\n\r\n", &format!("\r\nX-Do: {what}\r\n\r\n")));
        let frames: Frames = client_frames(&server.harness.take_sent()).0;
        server.harness.eof();
        (frames, server.take_log())
    };
    let (frames, log) = outcome("fail");
    assert_eq!(frames, [common::close_frame(1011, "")]);
    assert_eq!(log, ["close 1011 \"\" by us, unclean, 1 unsent"]);
    let (frames, log) = outcome("abort");
    assert_eq!(frames, []);
    assert_eq!(log, ["close 1006 \"\" by us, unclean, 1 unsent"]);
    let (frames, log) = outcome("close");
    assert_eq!(frames, [common::close_frame(4000, "told to")]);
    assert_eq!(log, ["close 4000 \"told to\" by us, unclean, 1 unsent"]);
}
