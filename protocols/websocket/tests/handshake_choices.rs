//! What an application may choose in the opening handshake: who is welcome, the subprotocol, compression, the answer.

mod common;

use std::rc::Rc;

use common::*;
use switchboard::testkit::Harness;
use switchboard::{Blame, Failure, Limits};
use switchboard_websocket::deflate::Compression;
use switchboard_websocket::handshake::{HandshakeError, InvalidAnswer, NoOrigin, OriginPolicy};
use switchboard_websocket::{Accept, Handler, Message, Peer, Request, Response, Settings, WebSocket};

/// [`UPGRADE`] with these header fields besides.
fn upgrade_with(fields: &str) -> String {
    UPGRADE.replace("\r\n\r\n", &format!("\r\n{fields}\r\n\r\n"))
}

/// An application that is its answer to opening handshakes.
struct Door<F>(F);

impl<F> Handler for Door<F>
where
    F: FnMut(&Request<'_>) -> Result<Accept, Response> + 'static,
{
    fn on_handshake(&mut self, _: &mut Peer<'_, '_>, request: &Request<'_>) -> Result<Accept, Response> {
        (self.0)(request)
    }

    fn on_message(&mut self, _: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

fn door(
    settings: &Settings,
    answer: impl FnMut(&Request<'_>) -> Result<Accept, Response> + 'static,
    request: &str,
) -> (Harness, String) {
    let mut harness = Harness::new(WebSocket::with_settings(Door(answer), &Rc::new(settings.clone())));
    harness.feed(request.as_bytes());
    let sent = String::from_utf8(harness.take_sent()).expect("text");
    (harness, sent)
}

fn compressing() -> Settings {
    Settings { compression: Some(Compression::default()), ..Settings::default() }
}

/// RFC 6455 §10.2: as a setting, before any handler is asked.
#[test]
fn pages_of_other_sites_get_403() {
    let settings = || Settings { origins: OriginPolicy::same_origin(NoOrigin::Permit), ..Settings::default() };
    for (origin, error) in [
        ("Origin: https://evil.example", "not one of those allowed"),
        ("Origin: null", "not one of those allowed"),
        ("Origin: http://server.example.com\r\nOrigin: http://server.example.com", "there more than once"),
    ] {
        let mut client = Client::with(true, settings(), Limits::default());
        client.feed([upgrade_with(origin).as_bytes(), &text("hello")].concat());
        let error = HandshakeError::ForbiddenOrigin(error);
        let sent = client.sent_text();
        assert!(sent.starts_with("HTTP/1.1 403 Forbidden\r\nConnection: close\r\n"), "{sent}");
        assert!(sent.ends_with(&format!("\r\n\r\n{error}\n")), "{sent}");
        assert_eq!(client.error::<HandshakeError>(), error);
        assert_eq!(client.harness.close_reason().unwrap().blame(), Some(Blame::Peer));
        assert_eq!(client.take_log(), [""; 0]);
    }
    for request in [upgrade_with("Origin: http://server.example.com"), UPGRADE.to_owned()] {
        let mut client = Client::with(true, settings(), Limits::default());
        client.feed(request);
        assert_eq!(client.sent_text(), SWITCHING);
    }
    // What is broken is told first, and plain HTTP is not meant.
    let mut client = Client::with(true, settings(), Limits::default());
    client.feed(upgrade_with("Origin: https://evil.example").replace("Version: 13", "Version: 7"));
    assert!(client.sent_text().starts_with("HTTP/1.1 426 "));
    let mut client = Client::with(true, settings(), Limits::default());
    client.feed("GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://evil.example\r\n\r\n");
    assert!(client.sent_text().starts_with("HTTP/1.1 200 "));
}

#[test]
fn an_allow_list_where_no_origin_is_refused() {
    let origins = OriginPolicy::allow_list(["https://page.example"], NoOrigin::Refuse).unwrap();
    let mut client =
        Client::with(true, Settings { origins: origins.clone(), ..Settings::default() }, Limits::default());
    client.feed(UPGRADE);
    assert_eq!(client.error::<HandshakeError>(), HandshakeError::ForbiddenOrigin("missing"));

    // The same in a handler, which is told nothing else.
    let answer = move |request: &Request<'_>| origins.check(request).map(|()| Accept::new());
    for (origin, expected) in [("https://page.example", SWITCHING), ("https://other.example", "HTTP/1.1 403 ")] {
        let (_, sent) = door(&Settings::default(), answer.clone(), &upgrade_with(&format!("Origin: {origin}")));
        assert!(sent.starts_with(expected), "{origin}: {sent}");
    }
}

/// RFC 6455 §4.2.2: the server's choice among what is offered, or none, or a no.
#[test]
fn subprotocols() {
    let choose = |request: &Request<'_>| match request.choose_subprotocol(["chat.v2", "chat.v1"]) {
        Some(name) => Ok(Accept::new().subprotocol(name)),
        None if request.subprotocols().next().is_none() => Ok(Accept::new()),
        None => Err(Response::text(400, "this server speaks chat.v1 and chat.v2\n")),
    };
    for (fields, expected) in [
        ("Sec-WebSocket-Protocol: chat.v1, chat.v2", "\r\nSec-WebSocket-Protocol: chat.v2\r\n\r\n"),
        ("Sec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: chat.v1", "\r\nSec-WebSocket-Protocol: chat.v1\r\n\r\n"),
        ("X-None: 1", "Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"),
        ("Sec-WebSocket-Protocol: CHAT.V1", "\r\n\r\nthis server speaks chat.v1 and chat.v2\n"),
    ] {
        let (_, sent) = door(&Settings::default(), choose, &upgrade_with(fields));
        assert!(sent.ends_with(expected), "{fields}: {sent}");
    }
    let (mut harness, sent) = door(&Settings::default(), |_| Ok(Accept::new().subprotocol("mine")), UPGRADE);
    assert!(sent.starts_with("HTTP/1.1 500 "), "{sent}");
    let reason = harness.close_reason().unwrap();
    assert_eq!(reason.blame(), Some(Blame::Caller));
    assert_eq!(reason.error().unwrap().downcast_ref(), Some(&InvalidAnswer::Subprotocol("mine".to_owned())));
}

#[test]
fn compression_can_be_declined() {
    let offer = upgrade_with("Sec-WebSocket-Extensions: x-other, permessage-deflate; client_max_window_bits");
    for (settings, plainly, agreed) in [
        (compressing(), false, true),
        (compressing(), true, false),
        (Settings::default(), false, false),
        (Settings::default(), true, false),
    ] {
        let answer = move |request: &Request<'_>| {
            let offered: Vec<_> = request.extensions().unwrap().iter().map(|extension| extension.name).collect();
            assert_eq!(offered, ["x-other", "permessage-deflate"]);
            Ok(if plainly { Accept::new().without_compression() } else { Accept::new() })
        };
        let (mut harness, sent) = door(&settings, answer, &offer);
        assert_eq!(sent.contains("\r\nSec-WebSocket-Extensions: permessage-deflate"), agreed, "{sent}");
        // RSV1 is an error where nothing was agreed on (RFC 6455 §5.2).
        harness.feed(b"\xc2\x81\0\0\0\0\0");
        assert_eq!(harness.close_reason().is_none(), agreed);
    }
}

/// RFC 6455 §9.1: whoever receives it must fail the connection, whether it compresses or not.
#[test]
fn a_malformed_list_of_extensions_is_refused_by_everybody() {
    for settings in [compressing(), Settings::default()] {
        for fields in ["Sec-WebSocket-Extensions: a;; b", "Sec-WebSocket-Extensions:", "sec-websocket-extensions: a b"]
        {
            let mut client = Client::with(true, settings.clone(), Limits::default());
            client.feed(upgrade_with(fields));
            assert!(client.sent_text().starts_with("HTTP/1.1 400 "), "{fields}");
            assert!(matches!(client.error::<HandshakeError>(), HandshakeError::BadExtensions(_)));
            assert_eq!(client.take_log(), [""; 0]);
        }
    }
}

#[test]
fn every_status_with_fields_and_body() {
    for status in 200..=599 {
        let answer = move |_: &Request<'_>| {
            Err(Response::text(status, "no")
                .header("Retry-After", "30")
                .header("WWW-Authenticate", "Basic realm=\"a\""))
        };
        let (mut harness, sent) = door(&Settings::default(), answer, &[UPGRADE, "GET / HTTP/1.1\r\n\r\n"].concat());
        assert!(sent.starts_with(&format!("HTTP/1.1 {status} ")), "{sent}");
        let (head, body) = sent.split_once("\r\n\r\n").expect("one head");
        assert_eq!(body, if [204, 205, 304].contains(&status) { "" } else { "no" }, "{status}");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let expected = if [204, 304].contains(&status) { None } else { Some(body.len().to_string()) };
        assert_eq!(length.map(str::to_owned), expected, "{status}");
        assert!(head.contains("\r\nRetry-After: 30\r\nWWW-Authenticate: Basic realm=\"a\""), "{sent}");
        assert!(head.contains("\r\nConnection: close"), "{sent}");
        assert!(!harness.is_open());
    }
    for status in [0, 100, 101, 199, 600, u16::MAX] {
        let (mut harness, sent) = door(&Settings::default(), move |_| Err(Response::new(status)), UPGRADE);
        assert!(sent.starts_with("HTTP/1.1 500 "), "{sent}");
        let error = harness.close_reason().unwrap().error().unwrap().downcast_ref::<InvalidAnswer>().cloned();
        assert_eq!(error, Some(InvalidAnswer::Status(status)));
    }
}
