//! Tunnels through an HTTP proxy.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

mod common;

use std::time::Duration;

use common::server::{Asking, Server, URL, plain_text, switching};
use common::{Log, Logged};
use switchboard::testkit::{Harness, Script, check_conformance};
use switchboard::{Blame, Limits, protocol_fn};
use switchboard_websocket::handshake::AnswerError;
use switchboard_websocket::proxy::{InvalidTunnel, ProxyError, Tunnel};
use switchboard_websocket::{Connect, Post, WebSocket};

const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

/// A WebSocket client through a tunnel.
fn client(log: &Log) -> impl switchboard::Protocol {
    let handler = Asking(Logged { log: Log::clone(log), echo: true });
    let tunnel = Tunnel::to("server.example.com", 80).unwrap();
    tunnel.around(WebSocket::client(Connect::to(URL).unwrap(), handler))
}

fn asked() -> (Harness, Log) {
    let log = Log::default();
    let mut harness = Harness::new(client(&log));
    let request = "CONNECT server.example.com:80 HTTP/1.1\r\nHost: server.example.com:80\r\n\r\n";
    assert_eq!(harness.take_sent(), request.as_bytes());
    (harness, log)
}

fn error(harness: &mut Harness) -> ProxyError {
    let reason = harness.close_reason().expect("it has closed");
    reason.error().and_then(|error| error.downcast_ref::<ProxyError>()).unwrap_or_else(|| panic!("{reason}")).clone()
}

#[test]
fn a_websocket_through_a_proxy() {
    let (harness, log) = asked();
    let mut server = Server { harness, log, switching: String::new() };
    server.harness.post(Post::Text("early".into())).unwrap();
    server.harness.post(Post::Text("bird".into())).unwrap();
    server.feed("HTTP/1.0 100 Continue\r\n\r\nHTTP/1.0 299 Fine\r\nContent-Length: 5\r\n\r\n");
    let request = String::from_utf8(server.harness.take_sent()).unwrap();
    assert!(request.starts_with("GET /chat?room=1 HTTP/1.1\r\nHost: server.example.com\r\n"), "{request}");
    server.switching = switching(&request);
    server.accept();
    assert_eq!(server.frames(), [common::text_frame("early"), common::text_frame("bird")]);
    server.feed(plain_text("hello"));
    assert_eq!(server.frames(), [common::text_frame("hello")]);
    server.harness.advance(Duration::from_secs(20));
    assert!(server.harness.is_open(), "the timeout went with the tunnel's protocol");
}

#[test]
fn the_request() {
    let request = |tunnel: Tunnel| {
        let nothing = protocol_fn(|_, input| {
            input.take_all();
            Ok(())
        });
        String::from_utf8(Harness::new(tunnel.around(nothing)).take_sent()).unwrap()
    };
    assert_eq!(
        request(Tunnel::to("::1", 8080).unwrap().credentials("Aladdin", "open sesame").unwrap()),
        "CONNECT [::1]:8080 HTTP/1.1\r\nHost: [::1]:8080\r\n\
         Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n",
        "the example of RFC 7617 §2"
    );
    assert!(
        request(Tunnel::to("10.0.0.1", 1).unwrap().credentials("\u{fc}", "a:b").unwrap()).contains("Basic w7w6YTpi")
    );
    let shown = format!("{:?}", Tunnel::to("a", 1).unwrap().credentials("Aladdin", "open sesame").unwrap());
    assert_eq!(shown, r#"Tunnel { to: "a:1", timeout: 10s, .. }"#, "the credentials are nobody else's to read");
    for host in ["", "a b", "a:1", "a\r\nX: 1", "[::1]", "a/b", "u@a"] {
        assert_eq!(Tunnel::to(host, 1).err(), Some(InvalidTunnel::Host(host.into())));
    }
    for (user, password) in [("a:b", ""), ("a\n", ""), ("a", "b\r\n"), ("a", "\0")] {
        let tunnel = Tunnel::to("a", 1).unwrap().credentials(user, password);
        assert_eq!(tunnel.err(), Some(InvalidTunnel::Credentials));
    }
}

#[test]
fn what_a_proxy_refuses_the_protocol_inside_is_told() {
    for (answer, expected) in [
        ("HTTP/1.1 407 X\r\nProxy-Authenticate: Basic\r\n\r\n", "the proxy wants credentials: status 407"),
        ("HTTP/1.1 403 X\r\n\r\n", "the proxy refuses: status 403"),
        ("HTTP/1.1 101 X\r\n\r\n", "the proxy refuses: status 101"),
        ("HTTP/1.1 302 X\r\nLocation: a\r\n\r\n", "the proxy refuses: status 302, to \"a\""),
        ("SSH-2.0-x", "proxy: the answer is malformed: it does not begin with HTTP/ (RFC 9112)"),
    ] {
        let (mut harness, log) = asked();
        harness.post(Post::Text("never".into())).unwrap();
        harness.feed(answer.as_bytes());
        assert_eq!(error(&mut harness).to_string(), expected);
        let reason = harness.close_reason().unwrap();
        assert_eq!(reason.blame(), Some(Blame::Peer));
        assert_eq!(log.take(), [format!("failed: {reason}")]);
        assert_eq!(harness.core().counters().messages_undelivered, 1);
        assert!(harness.take_sent().is_empty());
    }
    let (mut harness, _) = asked();
    harness.feed(b"HTTP/1.1 407 X\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n");
    let ProxyError::Authentication(refusal) = error(&mut harness) else { panic!("another error") };
    assert_eq!(refusal.header("proxy-authenticate"), Some(&b"Basic realm=\"x\""[..]));
}

#[test]
fn a_proxy_that_says_nothing_or_too_much() {
    let (mut harness, log) = asked();
    harness.advance(Duration::from_millis(10_001));
    assert_eq!(error(&mut harness), ProxyError::Timeout(Duration::from_secs(10)));
    assert_eq!(harness.close_reason().unwrap().blame(), Some(Blame::Limit));
    assert_eq!(log.borrow().len(), 1);
    for part in ["", "HTTP/1.1 200 OK\r\n"] {
        let (mut harness, log) = asked();
        harness.feed_eof(part.as_bytes());
        assert_eq!(error(&mut harness), ProxyError::Ended);
        assert_eq!(log.borrow().len(), 1);
    }
    let (mut harness, _) = asked();
    harness.feed(&["HTTP/1.1 200 OK\r\nA: ".as_bytes(), &[b'a'; 16 * 1024]].concat());
    assert_eq!(error(&mut harness), ProxyError::Answer(AnswerError::TooLarge { limit: 16 * 1024 }));
    let (mut harness, _) = asked();
    harness.feed(format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(101)).as_bytes());
    assert_eq!(error(&mut harness), ProxyError::Answer(AnswerError::TooManyHeaders { limit: 100 }));
    let log = Log::default();
    let mut harness = Harness::connecting(client(&log), Limits::default());
    harness.peer().refuse(std::io::ErrorKind::ConnectionRefused);
    harness.settle();
    assert_eq!(log.borrow().len(), 1, "{log:?}");
}

#[test]
fn any_protocol_goes_through_in_any_pieces() {
    let shout = || {
        protocol_fn(|cx, input| {
            let bytes = input.take_all();
            bytes.make_ascii_uppercase();
            cx.send(bytes);
            Ok(())
        })
    };
    let tunnelled = || Tunnel::to("a", 1).unwrap().around(shout());
    for answer in [ESTABLISHED, "HTTP/1.1 404 No\r\n\r\n", "HTTP/1.1 200 O\0\r\n\r\n"] {
        println!("{}", check_conformance(tunnelled, &Script::new().send(format!("{answer}and what follows"))));
    }
    let mut harness = Harness::new(tunnelled());
    drop(harness.take_sent());
    harness.feed(format!("{ESTABLISHED}and what follows").as_bytes());
    assert_eq!(harness.take_sent(), b"AND WHAT FOLLOWS");
}
