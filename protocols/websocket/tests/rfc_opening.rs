//! What RFC 6455 §3, §4 and §9 to §11 require of the opening handshake, where it takes a whole connection to show it.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

mod common;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;

use common::server::{Asking, Server, URL, client_frames, plain_text, switching};
use common::*;
use switchboard::testkit::Harness;
use switchboard::{CloseReason, Closing, Context, Core, Failure, Inner, Input, Layer, Layered, Limits, Protocol};
use switchboard_websocket::handshake::{AnswerError, HandshakeError, UrlError};
use switchboard_websocket::{
    Accept, Answer, CloseCode, Connect, Handler, Message, Peer, Request, Response, Settings, WebSocket,
};

/// The fields of [`UPGRADE`] and of an answer, without their order.
const REQUEST: [&str; 5] = [
    "Host: server.example.com\r\n",
    "Upgrade: websocket\r\n",
    "Connection: Upgrade\r\n",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "Sec-WebSocket-Version: 13\r\n",
];

/// Every order of `items`.
fn orders<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    let Some((first, rest)) = items.split_first() else { return vec![vec![]] };
    let insert = |order: Vec<T>| {
        (0..=order.len()).map(move |at| [&order[..at], std::slice::from_ref(first), &order[at..]].concat())
    };
    orders(rest).into_iter().flat_map(insert).collect()
}

/// What a server answers to this request.
fn answer_to(request: impl AsRef<[u8]>) -> String {
    let mut client = Client::connected();
    client.feed(request);
    client.sent_text()
}

/// RFC 6455 §4.2.1: "the order of the header fields is not important", for a client (§4.1) neither.
#[test]
fn header_fields_come_in_any_order_and_any_case() {
    assert_eq!(orders(&REQUEST).len(), 120);
    for fields in orders(&REQUEST) {
        assert_eq!(answer_to(format!("GET /chat HTTP/1.1\r\n{}\r\n", fields.concat())), SWITCHING);
    }
    let (line, fields) = UPGRADE.split_once("\r\n").unwrap();
    for name in REQUEST.map(|field| field.split_once(':').unwrap().0) {
        let changed = fields.replace(name, &name.to_ascii_uppercase());
        assert_eq!(answer_to(format!("{line}\r\n{changed}")), SWITCHING);
    }
    let asked = Server::asked();
    let fields: Vec<&str> = asked.switching.split_inclusive("\r\n").skip(1).filter(|line| *line != "\r\n").collect();
    assert_eq!(orders(&fields).len(), 6);
    for order in 0..6 {
        let mut server = Server::asked();
        let line = server.switching.split_inclusive("\r\n").next().unwrap();
        let fields: Vec<&str> =
            server.switching.split_inclusive("\r\n").skip(1).filter(|line| *line != "\r\n").collect();
        let answer =
            format!("{line}{}\r\n", orders(&fields)[order].concat().replace("Sec-WebSocket-A", "SEC-websocket-a"));
        server.feed(answer);
        assert_eq!(server.take_log(), ["open"]);
    }
}

/// RFC 6455 §4.2.1: an absolute URI is a request target, too; and what is not known is ignored.
#[test]
fn absolute_targets_and_unknown_fields_are_taken() {
    for target in ["http://server.example.com/chat", "HTTPS://server.example.com:8/chat?x"] {
        assert_eq!(answer_to(UPGRADE.replace("/chat?room=1", target)), SWITCHING, "{target}");
    }
    let unknown = "\r\nCookie: a=b\r\nX-Unknown: \u{e9}\r\nSec-WebSocket-Unknown: 1\r\n\r\n";
    assert_eq!(answer_to(UPGRADE.replace("\r\n\r\n", unknown)), SWITCHING);
}

/// RFC 6455 §4.2.2, §4.4: any version but 13 is answered by an error and the version that would do.
#[test]
fn the_answer_to_another_version_names_the_one_that_would_do() {
    for version in (0..=255_u32).filter(|version| *version != 13) {
        let answer = answer_to(UPGRADE.replace("Version: 13", &format!("Version: {version}")));
        assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
        assert_eq!(answer.matches("\r\nSec-WebSocket-Version: 13\r\n").count(), 1, "{answer}");
    }
}

/// RFC 6455 §4.2.2: without a subprotocol that both want, the answer has no such field. §11.3.4: a request's may be
/// split.
#[test]
fn a_subprotocol_is_answered_only_if_one_was_chosen() {
    let offering = |path: &str| {
        let fields = "\r\nSec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: y, chat\r\n\r\n";
        answer_to(UPGRADE.replace("/chat?room=1", path).replace("\r\n\r\n", fields))
    };
    assert_eq!(offering("/"), SWITCHING);
    let chosen = offering("/sub");
    assert_eq!(chosen.matches("\r\nSec-WebSocket-Protocol: chat\r\n").count(), 1, "{chosen}");
}

/// Serves what it has, to its own pages.
struct Service;

impl Handler for Service {
    fn on_handshake(&mut self, _: &mut Peer<'_, '_>, request: &Request<'_>) -> Result<Accept, Response> {
        match (request.path(), request.is_same_origin()) {
            (_, false) => Err(Response::text(403, "not from there\n")),
            ("/chat", _) => Ok(Accept::new()),
            _ => Err(Response::text(404, "no such service\n")),
        }
    }

    fn on_message(&mut self, _: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

/// RFC 6455 §4.2.2, §10.2: what is not there is a 404, who comes from elsewhere gets a 403, and neither a WebSocket.
/// Who names no origin is no browser's page (§4.2.1).
#[test]
fn what_the_application_refuses_gets_its_status_and_no_websocket() {
    for (path, origin, status) in [
        ("/chat?room=1", "", "101 "),
        ("/chat?room=1", "Origin: http://server.example.com\r\n", "101 "),
        ("/chat?room=1", "Origin: http://evil.example\r\n", "403 "),
        ("/chat?room=1", "Origin: null\r\n", "403 "),
        ("/other", "", "404 "),
    ] {
        let mut harness = Harness::new(WebSocket::server(Service));
        let request = UPGRADE.replace("/chat?room=1", path).replace("\r\n\r\n", &format!("\r\n{origin}\r\n"));
        harness.feed(&[request.as_bytes(), &ping("x")].concat());
        let sent = harness.take_sent();
        assert!(sent.starts_with(format!("HTTP/1.1 {status}").as_bytes()), "{}", sent.escape_ascii());
        let opened = status == "101 ";
        assert_eq!((harness.is_open(), sent.ends_with(b"\x8a\x01x")), (opened, opened), "{path} {origin}");
        assert_eq!(harness.saw_eof(), !opened);
    }
}

/// RFC 6455 §8.1: octets that are not UTF-8 fail the opening handshake wherever they would be read as text.
#[test]
fn what_is_not_utf8_fails_the_opening_handshake() {
    for (part, status) in [("/chat?room=1", "400"), ("server.example.com", "400"), ("websocket", "400"), ("13", "426")]
    {
        let (before, after) = UPGRADE.split_once(part).unwrap();
        let answer = answer_to([before.as_bytes(), b"\xff\xfe", after.as_bytes()].concat());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{part}: {answer}");
    }
    for field in ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"] {
        let head = UPGRADE.trim_end().as_bytes();
        let answer = answer_to([head, b"\r\n", field.as_bytes(), b": \xff\xfe\r\n\r\n"].concat());
        assert!(answer.starts_with("HTTP/1.1 400 "), "{field}: {answer}");
        let mut server = Server::asked();
        let head = server.switching.trim_end().as_bytes().to_vec();
        server.feed([&head[..], b"\r\n", field.as_bytes(), b": \xff\xfe\r\n\r\n"].concat());
        assert!(server.take_log()[0].starts_with("failed: "), "{field}");
    }
}

/// RFC 6455 §3, §4.1: a `#` in a path or a query is `%23`, and goes out as that; a fragment is refused.
#[test]
fn a_number_sign_is_sent_escaped() {
    let connect = Connect::to("ws://server.example.com/b%23c?d=%23").unwrap();
    let mut harness = Harness::new(WebSocket::client(connect, Service));
    assert!(harness.take_sent().starts_with(b"GET /b%23c?d=%23 HTTP/1.1\r\n"));
    assert_eq!(Connect::to("ws://server.example.com/b#c").unwrap_err(), UrlError::Fragment);
    assert!(answer_to(UPGRADE.replace("/chat?room=1", "/chat#room")).starts_with("HTTP/1.1 400 "));
}

/// RFC 6455 §4.1, §11.3.1, §11.3.5: each field that must be there is there once.
#[test]
fn no_field_of_the_request_is_there_twice() {
    let connect = Connect::to(URL).unwrap().subprotocol("a").subprotocol("b").header("X-A", "b");
    let mut harness = Harness::new(WebSocket::client(connect, Service));
    let request = String::from_utf8(harness.take_sent()).unwrap();
    let names: Vec<&str> = request.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0)).collect();
    let expected = [&REQUEST.map(|field| field.split_once(':').unwrap().0)[..], &["Sec-WebSocket-Protocol", "X-A"]];
    assert_eq!(names, expected.concat());
}

/// RFC 6455 §4.1: "ignoring any leading and trailing whitespace".
#[test]
fn blanks_around_the_accept_key_do_not_matter() {
    let mut server = Server::asked();
    let (head, rest) = server.switching.split_once("Accept: ").unwrap();
    let (accept, rest) = rest.split_once("\r\n").unwrap();
    server.feed(format!("{head}Accept: \t {accept} \t\r\n{rest}"));
    assert_eq!(server.take_log(), ["open"]);
}

/// Opens the next of a list of connections when its own stands or has failed.
struct OneByOne(Rc<RefCell<VecDeque<SocketAddr>>>);

impl OneByOne {
    fn next(&self, core: &mut Core) {
        if let Some(address) = self.0.borrow_mut().pop_front() {
            core.connect(address, WebSocket::client(Connect::to("ws://a/").unwrap(), Self(Rc::clone(&self.0))));
        }
    }
}

impl Handler for OneByOne {
    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        self.next(peer);
        Ok(())
    }

    fn on_failed(&mut self, cx: &mut Closing<'_>, _: &CloseReason) {
        self.next(cx);
    }

    fn on_message(&mut self, _: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

/// RFC 6455 §4.1: which connections are opened is the application's, which is told when one is no longer CONNECTING:
/// however many it wants of a host, it can have one at a time.
#[test]
fn an_application_can_open_one_connection_at_a_time() {
    let waiting = Rc::new(RefCell::new((2..6).map(|port| ([127, 0, 0, 1], port).into()).collect()));
    let connect = Connect::to("ws://a/").unwrap();
    let mut harness = Harness::connecting(WebSocket::client(connect, OneByOne(Rc::clone(&waiting))), Limits::default());
    harness.peer().refuse(std::io::ErrorKind::ConnectionRefused);
    for left in [3, 2, 1, 0] {
        harness.settle();
        let peer = harness.network().next_outgoing().expect("the next one");
        assert!(harness.network().next_outgoing().is_none(), "and no other");
        peer.establish();
        harness.settle();
        let request = String::from_utf8(peer.take_received()).unwrap();
        assert!(harness.network().next_outgoing().is_none(), "before the answer it is still CONNECTING");
        assert_eq!(waiting.borrow().len(), left);
        let refusal = "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n".to_owned();
        peer.send(if left % 2 == 0 { refusal } else { switching(&request) }.as_bytes());
    }
    harness.settle();
    assert!(harness.network().next_outgoing().is_none());
}

/// In the place of TLS: a layer with a handshake of its own, after which it changes every byte.
#[derive(Default)]
struct Sealed {
    stands: bool,
}

const HELLO: &[u8] = b"HELLO";

fn sealed(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    bytes.as_ref().iter().map(|byte| byte ^ 0xa5).collect()
}

impl<P: Protocol> Layer<P> for Sealed {
    const SEALS: bool = true;

    fn on_open(&mut self, cx: &mut Context<'_>, _: &mut Inner<P>) -> Result<(), Failure> {
        cx.send(HELLO);
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        if !self.stands {
            if input.take(HELLO.len()) != HELLO {
                return Err(Failure::peer("another layer"));
            }
            self.stands = true;
            inner.on_open(cx)?;
        }
        let mut plain = sealed(input.take_all());
        inner.feed(cx, &mut plain)
    }

    fn seal(&mut self, cx: &mut Context<'_>, plain: &mut [u8]) -> Result<(), Failure> {
        cx.send(&sealed(plain));
        Ok(())
    }
}

/// RFC 6455 §4.1, §4.2.2: inside a layer that encrypts, nothing is said before its handshake, and nothing outside it.
#[test]
fn inside_a_layer_everything_goes_through_it() {
    let log = Log::default();
    let client = || {
        let handler = Asking(Logged { log: Rc::clone(&log), echo: true });
        Layered::new(Sealed::default(), WebSocket::client(Connect::over_tls("wss://a/").unwrap(), handler))
    };
    let mut harness = Harness::new(client());
    assert_eq!(harness.take_sent(), HELLO, "no request yet");
    harness.feed(HELLO);
    let request = String::from_utf8(sealed(harness.take_sent())).unwrap();
    assert!(request.starts_with("GET / HTTP/1.1\r\nHost: a\r\n"), "{request}");
    harness.feed(&sealed([switching(&request).as_bytes(), &plain_text("hello")].concat()));
    assert_eq!(client_frames(&sealed(harness.take_sent())).0, [text_frame("hello")]);
    assert_eq!(log.take(), ["open", "text hello"]);

    let mut harness = Harness::new(client());
    harness.feed(b"OTHER");
    assert_eq!(log.take(), ["failed: the peer broke the protocol: another layer"]);
    assert_eq!(harness.take_sent(), HELLO);

    let server = WebSocket::server(Logged { log: Rc::clone(&log), echo: true });
    let mut harness = Harness::new(Layered::new(Sealed::default(), server));
    harness.feed(HELLO);
    harness.feed(&sealed([UPGRADE.as_bytes(), &text("hello")].concat()));
    let sent = harness.take_sent();
    let sent = sealed(sent.strip_prefix(HELLO).unwrap());
    assert_eq!(server_frames(sent.strip_prefix(SWITCHING.as_bytes()).unwrap()), [text_frame("hello")]);
}

/// Does not go on without compression.
struct Demanding;

impl Handler for Demanding {
    fn on_accepted(&mut self, peer: &mut Peer<'_, '_>, answer: &Answer<'_>) -> Result<(), Failure> {
        match answer.header("sec-websocket-extensions") {
            Some(_) => Ok(()),
            None => peer.close(CloseCode::MANDATORY_EXTENSION, "permessage-deflate"),
        }
    }

    fn on_message(&mut self, _: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

/// RFC 6455 §7.4.1: a client that misses an extension closes with 1010, and says which in the reason.
#[test]
fn a_client_can_say_which_extension_it_misses() {
    let settings = Rc::new(Settings { compression: Some(Default::default()), ..Settings::default() });
    let connect = Connect::to(URL).unwrap();
    let mut harness = Harness::new(WebSocket::client_with_settings(connect, Demanding, &settings));
    let request = String::from_utf8(harness.take_sent()).unwrap();
    harness.feed(switching(&request).as_bytes());
    assert_eq!(client_frames(&harness.take_sent()).0, [close_frame(1010, "permessage-deflate")]);
}

/// RFC 6455 §10.7: what is no handshake is answered by a status (to a server), and not at all by a client; both end.
#[test]
fn what_is_no_handshake_ends_the_connection() {
    let mut random = fastrand::Rng::with_seed(107);
    for _ in 0..300 {
        let noise: Vec<u8> = (0..random.usize(1..200)).map(|_| random.u8(..)).chain(*b"\r\n\r\n").collect();
        let mut client = Client::connected();
        client.feed(&noise);
        assert!(client.sent_text().starts_with("HTTP/1.1 4"), "{}", noise.escape_ascii());
        let _: HandshakeError = client.error();
        let mut server = Server::asked();
        server.feed(&noise);
        assert!(matches!(server.error(), AnswerError::Malformed(_)), "{}", noise.escape_ascii());
        assert!(server.harness.take_sent().is_empty());
    }
}

/// RFC 6455 §9.1: a client fails an answer whose list of extensions is none, whether it has offered any or not.
#[test]
fn a_malformed_list_of_extensions_fails_the_client() {
    for compression in [None, Some(Default::default())] {
        for value in ["", ",", ";", "a b", "permessage-deflate; a=\"b", "permessage-deflate;;", "a=1", "\"a\""] {
            let settings = Settings { compression, ..Settings::default() };
            let mut server = Server::asked_by(Connect::to(URL).unwrap(), settings, Limits::default());
            let field = format!("\r\nSec-WebSocket-Extensions: {value}\r\n\r\n");
            server.feed(server.switching.replace("\r\n\r\n", &field));
            let log = server.take_log();
            assert!(log.len() == 1 && log[0].starts_with("failed: "), "{value:?}, {compression:?}: {log:?}");
        }
    }
}
