//! What RFC 6455 §5.5.2 and §7.1 require while the connection closes, and what an application is told of it, on both sides.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

mod common;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use common::server::{plain, switching};
use common::wire::decode;
use common::{UPGRADE, close_payload, frame};
use switchboard::testkit::Harness;
use switchboard::{Closing, Failure};
use switchboard_websocket::frame::OpCode;
use switchboard_websocket::{CloseCode, Closed, Connect, Handler, Message, Peer, Post, WebSocket};

/// The connection's close code and close reason, as RFC 6455 §7.1.5 and §7.1.6 define them.
type End = Rc<RefCell<Option<(u16, String)>>>;

struct Noting(End);

impl Handler for Noting {
    fn on_message(&mut self, _: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, closed: &Closed<'_>) {
        let (code, reason) = closed.received.unwrap_or((CloseCode::ABNORMAL, ""));
        *self.0.borrow_mut() = Some((code.0, reason.to_owned()));
    }
}

/// An open WebSocket of either side.
struct Side {
    harness: Harness,
    client: bool,
    end: End,
}

impl Side {
    fn both() -> [Self; 2] {
        [false, true].map(|client| {
            let end = End::default();
            let handler = Noting(Rc::clone(&end));
            let mut harness = if client {
                let mut harness = Harness::new(WebSocket::client(Connect::to("ws://a/").unwrap(), handler));
                let request = String::from_utf8(harness.take_sent()).unwrap();
                harness.feed(switching(&request).as_bytes());
                harness
            } else {
                let mut harness = Harness::new(WebSocket::server(handler));
                harness.feed(UPGRADE.as_bytes());
                harness
            };
            let _ = harness.take_sent();
            Self { harness, client, end }
        })
    }

    fn frame(&self, fin: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
        if self.client { plain(fin, opcode, payload) } else { frame(fin, opcode, payload) }
    }

    fn feed(&mut self, opcode: OpCode, payload: &[u8]) {
        self.harness.feed(&self.frame(true, opcode, payload));
    }

    fn close(&mut self) {
        let _ = self.harness.post(Post::Close(CloseCode(4000), "ours".into())); // handed back by who is gone
    }

    /// First octets and payloads.
    fn sent(&mut self) -> Vec<(u8, Vec<u8>)> {
        decode(&self.harness.take_sent()).into_iter().map(|frame| (frame.first, frame.payload)).collect()
    }

    fn ends(&mut self) -> (u16, String) {
        self.harness.eof();
        self.end.take().expect("it has ended")
    }
}

/// §7.1.5, §7.1.6: the code and the reason of the first close frame that was received, whoever began; 1005 where it has
/// no code, 1006 where none came.
#[test]
fn the_close_code_and_reason_are_those_received() {
    for ours in [false, true] {
        for (payload, code, reason) in [
            (close_payload(1000, ""), 1000, ""),
            (close_payload(4003, "th\u{e9}irs"), 4003, "th\u{e9}irs"),
            (vec![], 1005, ""),
        ] {
            for mut side in Side::both() {
                if ours {
                    side.close();
                }
                side.feed(OpCode::Close, &payload);
                side.feed(OpCode::Close, &close_payload(4004, "a second one"));
                assert_eq!(side.ends(), (code, reason.to_owned()), "client: {}, ours first: {ours}", side.client);
            }
        }
        for mut side in Side::both() {
            if ours {
                side.close();
                side.harness.advance(Duration::from_secs(6));
            }
            assert_eq!(side.ends(), (1006, String::new()));
        }
    }
}

/// §5.5.2: pings are answered until the peer's close frame has come, though one was sent; §5.5.1: but no data.
#[test]
fn pings_are_answered_behind_the_own_close_frame() {
    for mut side in Side::both() {
        let half = side.frame(false, OpCode::Text, b"begun, ");
        side.harness.feed(&half);
        side.close();
        let bytes = [
            side.frame(true, OpCode::Ping, b"one"),
            side.frame(true, OpCode::Continuation, b"and ended"),
            side.frame(true, OpCode::Pong, b"unasked"),
            side.frame(true, OpCode::Ping, b""),
            side.frame(true, OpCode::Binary, &[0; 300]),
            side.frame(true, OpCode::Ping, &[7; 125]),
            side.frame(true, OpCode::Close, &close_payload(4000, "ours")),
            side.frame(true, OpCode::Ping, b"too late"),
        ];
        for byte in bytes.concat() {
            side.harness.feed(&[byte]);
        }
        let expected =
            [(0x88, close_payload(4000, "ours")), (0x8a, b"one".to_vec()), (0x8a, vec![]), (0x8a, vec![7; 125])];
        assert_eq!(side.sent(), expected, "client: {}", side.client);
        assert_eq!(side.ends(), (4000, "ours".to_owned()));
    }
}

/// §5.5.2, §5.5.3: until the WebSocket is closed a client may send pings, and unasked pongs, behind its close frame: before it
/// has got the server's. They reset nothing, and so don't destroy that frame on its way; §7.1.1: they are discarded.
#[test]
fn pings_behind_the_peers_close_frame_reset_nothing() {
    for ours in [false, true] {
        let [mut side, _] = Side::both();
        if ours {
            side.close();
        }
        side.feed(OpCode::Close, &close_payload(4000, "ours"));
        assert!(side.harness.saw_eof() && !side.harness.peer().is_closed(), "a FIN, at once, and no more");
        side.feed(OpCode::Ping, b"not yet answered");
        side.feed(OpCode::Pong, b"unasked");
        assert_eq!(side.harness.peer().unread(), 0);
        assert_eq!(side.sent(), [(0x88, close_payload(4000, "ours"))]);
        assert_eq!(side.ends(), (4000, "ours".to_owned()));
        assert!(side.harness.peer().is_closed() && !side.harness.peer().saw_reset());
    }
}

/// §5.5.1: the first close frame of the peer's is answered by one, in every order, and no side sends two.
#[test]
fn each_side_sends_one_close_frame() {
    for mut side in Side::both() {
        side.feed(OpCode::Close, &close_payload(3001, "why"));
        side.close();
        side.feed(OpCode::Close, &close_payload(3001, "why"));
        let sent = side.sent();
        assert!(sent.len() == 1 && sent[0].0 == 0x88 && sent[0].1.starts_with(&3001_u16.to_be_bytes()), "{sent:?}");
    }
    for mut side in Side::both() {
        side.close();
        side.close();
        side.feed(OpCode::Close, &close_payload(3001, "why"));
        side.close();
        assert_eq!(side.sent(), [(0x88, close_payload(4000, "ours"))]);
    }
}
