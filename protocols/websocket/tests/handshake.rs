//! The opening handshake on a connection: whole and in pieces, refused, late, and plain HTTP in its place.

mod common;

use std::time::Duration;

use common::server::{Asking, Server};
use common::*;
use switchboard::{Blame, Limits};
use switchboard_websocket::error::UsageError;
use switchboard_websocket::frame::OpCode;
use switchboard_websocket::handshake::{HandshakeError, InvalidAnswer};
use switchboard_websocket::{Post, Settings, WebSocket, message_fn};

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn split_at_every_byte_with_frames_behind_it() {
    let bytes = [UPGRADE.as_bytes(), &text("early"), &ping("p")].concat();
    for split in 0..=bytes.len() {
        let mut client = Client::connected();
        client.feed(&bytes[..split]).feed(&bytes[split..]);
        let sent = client.harness.take_sent();
        let frames = sent.strip_prefix(SWITCHING.as_bytes()).expect("the 101 comes first");
        assert_eq!(server_frames(frames), [text_frame("early"), (OpCode::Pong, b"p".to_vec())], "at {split}");
        assert_eq!(client.take_log(), ["open", "text early"], "at {split}");
    }
    let mut client = Client::connected();
    for byte in &bytes {
        client.feed([*byte]);
    }
    assert_eq!(client.take_log(), ["open", "text early"], "byte by byte");
    assert_eq!(client.held(), 0, "nothing is kept of the request");
}

#[test]
fn frames_behind_the_request_that_are_not_whole() {
    let mut client = Client::connected();
    let early = text("in two");
    client.feed([UPGRADE.as_bytes(), &early[..7]].concat());
    assert_eq!(client.sent_text(), SWITCHING);
    client.feed(&early[7..]);
    assert_eq!(client.frames(), [text_frame("in two")]);
}

#[test]
fn the_applications_answers() {
    let mut client = Client::connected();
    let request =
        UPGRADE.replace("/chat?room=1", "/sub").replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: x, chat\r\n\r\n");
    client.feed(request);
    let sent = client.sent_text();
    assert!(sent.ends_with("\r\nSec-WebSocket-Protocol: chat\r\nSet-Cookie: a=1\r\n\r\n"), "{sent}");

    let mut client = Client::connected();
    client.feed(UPGRADE.replace("/chat", "/forbidden"));
    let sent = client.sent_text();
    assert!(sent.starts_with("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 12\r\n"), "{sent}");
    assert!(sent.ends_with("\r\nX-Why: path\r\n\r\nnot for you\n"), "{sent}");
    assert_eq!(client.close_reason(), "closed by this side");
    assert_eq!(client.take_log(), [""; 0], "a WebSocket that never stood is not closed");
}

#[test]
fn an_answer_that_cannot_be_sent_is_the_programs_mistake() {
    for request in [UPGRADE.replace("/chat", "/injected"), get("/injected")] {
        let mut client = Client::connected();
        client.feed(request);
        let sent = client.sent_text();
        assert!(sent.starts_with("HTTP/1.1 500 Internal Server Error\r\n") && !sent.contains("X-B"), "{sent}");
        let reason = client.harness.close_reason().unwrap();
        assert_eq!(reason.blame(), Some(Blame::Caller));
        let error = reason.error().unwrap().downcast_ref();
        assert_eq!(error, Some(&InvalidAnswer::Header("X-A".to_owned())));
    }
    let mut client = Client::connected();
    client.feed(UPGRADE.replace("/chat", "/sub"));
    assert!(client.sent_text().starts_with("HTTP/1.1 500 "), "a subprotocol that was not offered");
}

#[test]
fn a_handler_can_cut_the_connection_off() {
    let mut client = Client::connected();
    client.feed([UPGRADE.replace("/chat", "/abort").as_bytes(), &text("x")].concat());
    assert_eq!(client.sent_text(), "");
    assert!(client.close_reason().starts_with("aborted"));
    assert_eq!(client.take_log(), [""; 0]);
}

#[test]
fn plain_http() {
    let mut client = Client::connected();
    client.feed(get("/"));
    let sent = client.sent_text();
    assert_eq!(
        sent,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 12\r\n\
         Content-Type: text/html; charset=utf-8\r\n\r\n<p>hello</p>"
    );
    assert_eq!(client.close_reason(), "closed by this side");

    let mut client = Client::connected();
    client.feed(get("/").replace("GET", "HEAD"));
    assert_eq!(client.sent_text() + "<p>hello</p>", sent, "HEAD is GET without the body");

    let mut client = Client::connected();
    client.feed([get("/other"), get("/")].concat());
    let sent = client.sent_text();
    assert!(sent.starts_with("HTTP/1.1 404 ") && sent.ends_with("\r\n\r\nnothing here\n"), "one answer: {sent}");

    let mut client = Client::connected();
    client.harness.feed_eof(get("/").as_bytes());
    assert!(client.sent_text().starts_with("HTTP/1.1 200 "), "to a client that half-closes behind its request, too");
}

#[test]
fn no_application_for_plain_http() {
    let handler = message_fn(|_, _| Ok(()));
    let mut harness = switchboard::testkit::Harness::new(WebSocket::server(handler));
    harness.feed(get("/").as_bytes());
    let sent = String::from_utf8(harness.take_sent()).unwrap();
    assert!(sent.starts_with("HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n"), "{sent}");
}

#[test]
fn refused_requests_get_their_status_and_end() {
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(20_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(100));
    for (request, status, error) in [
        (UPGRADE.replace("Version: 13", "Version: 8"), "426", HandshakeError::UnsupportedVersion),
        (UPGRADE.replace("GET", "POST"), "405", HandshakeError::NotGet),
        (UPGRADE.replace("ZQ==", "Z==="), "400", HandshakeError::BadKey),
        (UPGRADE.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello"), "413", HandshakeError::Body),
        (UPGRADE.replace("Upgrade: websocket\r\n", ""), "400", HandshakeError::NoUpgrade),
        (large, "431", HandshakeError::TooLarge { limit: 16 * 1024 }),
        (many, "431", HandshakeError::TooManyHeaders { limit: 100 }),
        ("\u{16}\u{3}\u{1}".to_owned(), "400", HandshakeError::Malformed("a control character")),
        ("PRI * HTTP/2.0\r\n\r\n".to_owned(), "505", HandshakeError::HttpVersion),
    ] {
        let mut client = Client::connected();
        client.feed(&request);
        let sent = client.sent_text();
        assert!(sent.starts_with(&format!("HTTP/1.1 {status} ")), "{error}: {sent}");
        assert!(sent.ends_with(&format!("\r\n\r\n{error}\n")), "{error}: {sent}");
        assert_eq!(client.error::<HandshakeError>(), error);
        assert_eq!(client.take_log(), [""; 0]);
    }
}

#[test]
fn a_refused_head_request_gets_no_body() {
    let mut client = Client::connected();
    client.feed(UPGRADE.replace("GET", "HEAD"));
    let sent = client.sent_text();
    assert!(sent.starts_with("HTTP/1.1 405 ") && sent.ends_with("\r\n\r\n"), "{sent}");
}

#[test]
fn a_request_that_does_not_end() {
    let mut client = Client::connected();
    client.feed(&UPGRADE[..UPGRADE.len() - 1]);
    client.harness.advance(Duration::from_millis(9_999));
    assert!(client.harness.is_open());
    client.harness.advance(Duration::from_millis(1));
    assert!(client.sent_text().starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert_eq!(client.error::<HandshakeError>(), HandshakeError::Timeout);
    assert_eq!(client.harness.close_reason().unwrap().blame(), Some(Blame::Limit));

    let mut client = Client::connected();
    client.harness.advance(Duration::from_secs(10));
    assert_eq!(client.sent_text(), "", "nothing is said to who said nothing");
    assert_eq!(client.error::<HandshakeError>(), HandshakeError::Timeout);

    let mut client = Client::connected();
    for byte in UPGRADE.bytes().take(20) {
        client.feed([byte]);
        client.harness.advance(Duration::from_millis(499));
    }
    client.harness.advance(Duration::from_millis(20));
    assert_eq!(client.error::<HandshakeError>(), HandshakeError::Timeout, "slow bytes do not put it off");
}

#[test]
fn a_client_that_leaves_before_the_end() {
    let mut client = Client::connected();
    client.harness.eof();
    assert_eq!(client.close_reason(), "closed by the peer");
    let mut client = Client::connected();
    client.harness.feed_eof(b"GET / HT");
    assert!(client.close_reason().contains("8 bytes of an incomplete message"), "{}", client.close_reason());
    assert_eq!(client.take_log(), [""; 0]);
}

#[test]
fn the_timeout_ends_with_the_handshake() {
    let mut client = Client::open();
    client.harness.advance(Duration::from_secs(26));
    assert!(client.harness.is_open());
    assert_eq!(client.frames(), []);
}

#[test]
fn the_request_is_held_to_its_limit_however_it_comes() {
    let settings = Settings { max_handshake: 100, ..Settings::default() };
    let mut client = Client::with(true, settings, Limits::default());
    for _ in 0..99 {
        client.feed("x");
    }
    assert!(client.harness.is_open());
    assert!(client.held() < 8 * 1024);
    client.feed("x");
    assert_eq!(client.error::<HandshakeError>(), HandshakeError::TargetTooLong { limit: 100 });
}

/// RFC 9112 §3: a target that is too long has a status of its own.
#[test]
fn what_is_too_long_is_named() {
    let settings = || Settings { max_handshake: 100, ..Settings::default() };
    let long = |length| "x".repeat(length);
    for (request, status) in [
        (format!("GET /{} HTTP/1.1\r\n", long(85)), "414 URI Too Long"),
        (format!("\r\n\r\nGET /{}", long(91)), "414 URI Too Long"),
        (format!("GET /{} HTTP/1.1\r\n", long(84)), "431 Request Header Fields Too Large"),
        (format!("GET / HTTP/1.1\r\nX: {}", long(81)), "431 Request Header Fields Too Large"),
        ("\r\n".repeat(50), "431 Request Header Fields Too Large"),
    ] {
        for size in [1, 100] {
            let mut client = Client::with(true, settings(), Limits::default());
            client.feed_chunks(&request.as_bytes()[..100], size);
            let sent = client.sent_text();
            assert!(sent.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request:?}: {sent}");
            assert_eq!(client.harness.close_reason().unwrap().blame(), Some(Blame::Limit));
        }
    }
}

#[test]
fn limits_of_the_loop_that_are_too_small_are_named() {
    let settings = Settings { max_message: 64 << 20, ..Settings::default() };
    let mut client = Client::with(true, settings, Limits::default());
    let error = client.error::<UsageError>();
    assert!(matches!(error, UsageError::Limits { setting: "max_message", limit: "send_buffer", .. }), "{error}");
    assert_eq!(client.harness.close_reason().unwrap().blame(), Some(Blame::Caller));
}

/// RFC 9110 §9.3.2: whoever forwards it would take a body for the next response.
#[test]
fn no_answer_to_head_has_a_body() {
    for request in [
        "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD /missing HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD / HTTP/1.1\r\n\r\n",
        "\r\nHEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        "HEAD / HTTP/1.1\n",
    ] {
        let mut client = Client::connected();
        client.feed(request);
        let answer = client.sent_text();
        assert!(answer.starts_with("HTTP/1.1 ") && answer.ends_with("\r\n\r\n"), "{request:?}: {answer:?}");
        assert!(!client.harness.is_open());
    }
}

/// Found by the fuzz target `handshake`: a line that ends before `HEAD` made it none, unless both came in one read.
#[test]
fn what_stands_behind_the_byte_that_is_refused_changes_nothing() {
    let request = "\nHEAD / HTTP/1.1\r\n\r\n";
    let [mut whole, mut parts] = [Client::connected(), Client::connected()];
    whole.feed(request);
    parts.feed_chunks(request.as_bytes(), 1);
    let answer = whole.sent_text();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("(RFC 9112)\n"), "{answer:?}");
    assert_eq!(parts.sent_text(), answer);
}

/// What is posted early waits for the WebSocket: where there will be none, it is lost, and counted.
#[test]
fn what_was_posted_before_a_no_is_counted() {
    for request in [
        UPGRADE.replace("/chat", "/forbidden"),
        UPGRADE.replace("/chat?room=1", "/injected"),
        UPGRADE.replace("/chat?room=1", "/abort"),
        UPGRADE.replace("Version: 13", "Version: 7"),
        get("/"),
        get("/injected"),
        "GET / HTTP/1.1\n".to_owned(),
    ] {
        let mut client = Client::connected();
        client.harness.post(Post::Text("early".into())).expect("a place in the mailbox");
        client.harness.settle();
        client.feed(&request);
        client.harness.eof();
        assert!(!client.harness.is_open());
        assert_eq!(client.harness.core().counters().messages_undelivered, 1, "{request}");
    }
    let mut server = Server::asked();
    server.harness.post(Post::Text("early".into())).expect("a place in the mailbox");
    server.harness.settle();
    let id = server.harness.id();
    server.harness.event_loop().with_protocol(id, |socket: &mut WebSocket<Asking>, cx| socket.parts(cx).1.abort());
    server.harness.settle();
    assert_eq!(server.take_log().len(), 1, "it has failed");
    assert_eq!(server.harness.core().counters().messages_undelivered, 1);
}
