//! The client and the server of this crate on one link, under everything that a network does; and the client with
//! `tungstenite` as its server, on a real socket.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]
#![allow(clippy::result_large_err, reason = "tungstenite's callbacks have such errors")]

use std::cell::RefCell;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use switchboard::testkit::{Conditions, Pair, Side, check_seeds};
use switchboard::{CloseReason, Closing, EventLoop, Failure};
use switchboard_websocket::deflate::{Compression, Memory, WindowBits};
use switchboard_websocket::handshake::AnswerError;
use switchboard_websocket::{
    Accept, Answer, Begin, CloseCode, Closed, Connect, Delivery, Handler, Message, Peer, Request, Response, Settings,
    WebSocket,
};

/// Sends messages, each when the echo of the one three before it has come, and closes after the last.
struct Talker {
    messages: Vec<Vec<u8>>,
    sent: usize,
    echoed: usize,
    ends: Ends,
}

/// How WebSockets ended, in words.
type Ends = Rc<RefCell<Vec<String>>>;

impl Talker {
    fn new(seed: u64, most: usize, ends: &Ends) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let lengths = [0, 1, 125, 126, 1000, 4095, 4096, 65_535, 65_536, 200_000];
        let messages = (0..20).map(|_| {
            let longest = random.choice(lengths).unwrap_or_default().min(most);
            let length = random.usize(..=longest);
            (0..length).map(|_| random.u8(b' '..=b'~')).collect()
        });
        Self { messages: messages.collect(), sent: 0, echoed: 0, ends: Rc::clone(ends) }
    }

    fn talk(&mut self, peer: &mut Peer<'_, '_>) {
        while self.sent < self.messages.len().min(self.echoed + 3) {
            let message = &self.messages[self.sent];
            match self.sent % 2 {
                0 => peer.binary(message),
                _ => peer.text(str::from_utf8(message).expect("ASCII")),
            }
            self.sent += 1;
        }
    }
}

impl Handler for Talker {
    fn on_accepted(&mut self, _: &mut Peer<'_, '_>, answer: &Answer<'_>) -> Result<(), Failure> {
        assert_eq!(answer.subprotocol(), Some("echo"));
        Ok(())
    }

    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        self.talk(peer);
        Ok(())
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        assert_eq!(message.as_bytes(), self.messages[self.echoed]);
        assert_eq!(matches!(message, Message::Text(_)), self.echoed % 2 == 1);
        self.echoed += 1;
        if self.echoed == self.messages.len() {
            return peer.close(CloseCode::NORMAL, "done");
        }
        self.talk(peer);
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, closed: &Closed<'_>) {
        let end = (closed.code.0, closed.reason, closed.by_peer, closed.clean);
        self.ends.borrow_mut().push(format!("client {end:?} after {}", self.echoed));
        cx.shutdown(Duration::from_secs(10));
    }

    fn on_failed(&mut self, cx: &mut Closing<'_>, cause: &CloseReason) {
        let refusal = cause.error().and_then(|error| error.downcast_ref()).and_then(AnswerError::refusal);
        let body = refusal.map(|refusal| String::from_utf8_lossy(refusal.body()));
        self.ends.borrow_mut().push(format!("failed: {cause} {}", body.unwrap_or_default()));
        cx.shutdown(Duration::from_secs(10));
    }
}

struct Echo(Ends);

impl Handler for Echo {
    fn on_handshake(&mut self, _: &mut Peer<'_, '_>, request: &Request<'_>) -> Result<Accept, Response> {
        assert_eq!(request.host(), Some("a:7000"));
        Ok(Accept::new().subprotocol("echo"))
    }

    /// What is not whole is repeated in pieces, every other one.
    fn on_begin(&mut self, _: &mut Peer<'_, '_>, begin: &Begin) -> Result<Delivery, Failure> {
        Ok(if begin.is_text { Delivery::Pieces } else { Delivery::Whole })
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        peer.send(message);
        Ok(())
    }

    fn on_piece(&mut self, peer: &mut Peer<'_, '_>, piece: Message<'_>, last: bool) -> Result<(), Failure> {
        peer.send_piece(piece, last)
    }

    fn on_close(&mut self, _: &mut Closing<'_>, closed: &Closed<'_>) {
        let end = (closed.code.0, closed.reason, closed.by_peer, closed.clean);
        self.0.borrow_mut().push(format!("server {end:?}"));
    }
}

fn connect(url: &str) -> Connect {
    Connect::to(url).unwrap().subprotocol("other").subprotocol("echo")
}

fn pair(conditions: Conditions, seed: u64) -> (Pair, Ends) {
    let ends = Ends::default();
    let [client, server] = [seed / 2, seed / 3].map(|seed| Rc::new(settings(seed)));
    let talker = Talker::new(seed, 20_000, &ends);
    let client = WebSocket::client_with_settings(connect("ws://a:7000/"), talker, &client);
    (Pair::with(conditions, seed, client, WebSocket::with_settings(Echo(Rc::clone(&ends)), &server)), ends)
}

/// With compression of some kind, more often than not.
fn settings(seed: u64) -> Settings {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut memory = || if random.bool() { Memory::Shared } else { Memory::Dedicated };
    let (compressor, decompressor) = (memory(), memory());
    let mut window = || WindowBits::new(random.u8(8..=15)).unwrap();
    let (window_bits, peer_window_bits) = (window(), window());
    let (level, threshold) = (random.u8(..10), random.usize(..200));
    let compression = Compression { compressor, decompressor, window_bits, peer_window_bits, level, threshold };
    Settings {
        compression: random.choice([None, Some(compression), Some(compression)]).unwrap(),
        ..Settings::default()
    }
}

const ENDS: [&str; 2] = [r#"client (1000, "done", false, true) after 20"#, r#"server (1000, "done", true, true)"#];

fn everything_arrives(conditions: Conditions, seed: u64) {
    let (mut pair, ends) = pair(conditions, seed);
    assert!(pair.run_until(Duration::from_secs(3600), |pair| !pair.left().is_open() && !pair.right().is_open()));
    let mut ends = ends.take();
    ends.sort();
    assert_eq!(ends, ENDS);
    assert_eq!(pair.left().close_reason().unwrap().to_string(), "closed by the peer", "the server ends it");
    assert_eq!(pair.right().close_reason().unwrap().to_string(), "closed by this side");
}

#[test]
fn both_sides_on_a_calm_link() {
    everything_arrives(Conditions::default(), 0);
}

#[test]
fn both_sides_on_a_rough_link() {
    check_seeds(0..150, |seed| everything_arrives(Conditions::rough(), seed));
}

#[test]
fn both_sides_on_a_link_that_breaks() {
    check_seeds(0..150, |seed| {
        let (mut pair, ends) = pair(Conditions::hostile(), seed);
        pair.run_for(Duration::from_secs(600));
        assert!(!pair.left().is_open() && !pair.right().is_open(), "{ends:?}");
        let count = |whose: &str| ends.borrow().iter().filter(|end| end.starts_with(whose)).count();
        assert!(count("client") + count("failed") == 1 && count("server") <= 1, "{ends:?}");
        let left_over = |mut side: Side<'_>| {
            let core = side.event_loop().core();
            (core.armed_timers(), core.held_bytes())
        };
        assert_eq!((left_over(pair.left()), left_over(pair.right())), ((0, 0), (0, 0)));
    });
}

/// Runs a client of a server that serves one connection on a thread of its own.
fn against<R: Send + 'static>(serve: impl FnOnce(TcpListener) -> R + Send + 'static) -> (Vec<String>, R) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let server = thread::spawn(move || serve(listener));
    let (mut event_loop, ends) = (EventLoop::new().unwrap(), Ends::default());
    let talker = Talker::new(7, usize::MAX, &ends);
    event_loop.connect(address, WebSocket::client(connect(&format!("ws://{address}/path")), talker));
    event_loop.run().unwrap();
    (ends.take(), server.join().unwrap())
}

#[test]
fn tungstenite_serves() {
    use tungstenite::handshake::server::{Request, Response};
    let (ends, counts) = against(|listener| {
        let (stream, _) = listener.accept().unwrap();
        let mut server = tungstenite::accept_hdr(stream, |request: &Request, mut response: Response| {
            assert_eq!(request.headers()["sec-websocket-protocol"], "other, echo");
            assert_eq!(request.uri().path(), "/path");
            response.headers_mut().append("sec-websocket-protocol", "echo".parse().unwrap());
            Ok(response)
        })
        .unwrap();
        let (mut echoed, mut pongs) = (0, 0);
        loop {
            match server.read() {
                Ok(message) if message.is_close() => {}
                Ok(message) if message.is_pong() => pongs += 1,
                Ok(message) => {
                    server.send(tungstenite::Message::Ping(vec![1; 20].into())).unwrap();
                    server.send(message).unwrap();
                    echoed += 1;
                }
                Err(tungstenite::Error::ConnectionClosed) => return (echoed, pongs),
                Err(error) => panic!("{error}"),
            }
        }
    });
    assert_eq!(ends, [ENDS[0]]);
    assert_eq!(counts, (20, 20), "messages and pongs");
}

#[test]
fn tungstenite_refuses() {
    use tungstenite::handshake::server::{ErrorResponse, Request, Response};
    let (ends, ()) = against(|listener| {
        let (stream, _) = listener.accept().unwrap();
        let refused = tungstenite::accept_hdr(stream, |_: &Request, _: Response| {
            let response = ErrorResponse::new(Some("not for you".to_owned()));
            let (mut parts, body) = response.into_parts();
            parts.status = "403".parse().unwrap();
            Err(ErrorResponse::from_parts(parts, body))
        });
        assert!(refused.is_err());
    });
    assert_eq!(ends, ["failed: the peer broke the protocol: the server refuses: status 403 not for you"]);
}
