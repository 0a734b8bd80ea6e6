//! What RFC 6455 §5 to §8 require of frames, both ways: frames of every kind as they are sent, by a decoder of the
//! test's own, and those that must fail the connection.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::server::{Server, plain, plain_text};
use common::wire::{Seen, decode};
use common::*;
use switchboard::testkit::Harness;
use switchboard::{Bytes, EventLoop, Failure};
use switchboard_websocket::error::{ProtocolError, UsageError};
use switchboard_websocket::frame::{FrameError, OpCode};
use switchboard_websocket::{CloseCode, Connect, Handler, Message, Peer, Post, SharedText, WebSocket};

const OPCODES: [OpCode; 6] =
    [OpCode::Continuation, OpCode::Text, OpCode::Binary, OpCode::Close, OpCode::Ping, OpCode::Pong];

/// How a peer makes a frame: masked or not.
type Frame = fn(bool, OpCode, &'static [u8]) -> Vec<u8>;

/// Sends one of each kind.
struct OneOfEach;

impl Handler for OneOfEach {
    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        peer.text("text");
        peer.binary(&[1; 200]);
        peer.text_shared(SharedText::from("shared".to_owned()));
        peer.binary_shared(Bytes::from(vec![2; 70_000]));
        peer.ping(b"ping")
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
        peer.close(CloseCode::NORMAL, "bye")
    }
}

/// What either side sends when it opens, gets a ping, is silent for a while, and closes.
fn one_of_each(client: bool) -> Vec<Seen> {
    let frame: Frame = if client { plain } else { frame };
    let mut harness = if client {
        let mut harness = Harness::new(WebSocket::client(Connect::to("ws://a/").unwrap(), OneOfEach));
        let request = String::from_utf8(harness.take_sent()).unwrap();
        harness.feed(server::switching(&request).as_bytes());
        harness
    } else {
        let mut harness = Harness::new(WebSocket::server(OneOfEach));
        harness.feed(UPGRADE.as_bytes());
        harness
    };
    harness.feed(&frame(true, OpCode::Ping, b"you"));
    harness.advance(Duration::from_secs(40));
    harness.feed(&frame(true, OpCode::Text, b""));
    let sent = harness.take_sent();
    decode(sent.strip_prefix(SWITCHING.as_bytes()).unwrap_or(&sent))
}

/// RFC 6455 §5.1, §5.2, §5.4, §6.1: FIN, no reserved bit, the kind's opcode; masked or not, by who sends.
#[test]
fn every_kind_of_frame_is_sent_whole_and_masked_by_clients_alone() {
    for client in [false, true] {
        let frames = one_of_each(client);
        let firsts: Vec<u8> = frames.iter().map(|frame| frame.first).collect();
        assert_eq!(firsts, [0x81, 0x82, 0x81, 0x82, 0x89, 0x8a, 0x89, 0x88], "client: {client}");
        assert!(frames.iter().all(|frame| frame.key.is_some() == client), "client: {client}");
        let payloads: Vec<&[u8]> = frames.iter().map(|frame| &frame.payload[..]).collect();
        assert_eq!(payloads[0], b"text");
        assert!(payloads[1] == [1; 200] && payloads[2] == b"shared" && payloads[3] == [2; 70_000]);
        assert!(payloads[4] == b"ping" && payloads[5] == b"you" && payloads[6].starts_with(b"beat"));
        assert_eq!(payloads[7], b"\x03\xe8bye", "a code in network byte order, then the reason");
        let keys: BTreeSet<_> = frames.iter().map(|frame| frame.key).collect();
        assert_eq!(keys.len(), if client { frames.len() } else { 1 }, "a fresh key for each");
    }
}

/// RFC 6455 §4.1, §5.3, §10.3: keys come from the loop's generator, whose seed is the system's and not always the same.
#[test]
fn two_loops_have_different_randomness() {
    let random = || {
        let mut octets = [0; 16];
        EventLoop::new().unwrap().core().random(&mut octets);
        octets
    };
    let (first, second) = (random(), random());
    assert!(first != second && first != [0; 16], "{first:x?} twice");
}

/// RFC 6455 §5.2: "the minimal number of bytes MUST be used to encode the length".
#[test]
fn lengths_are_sent_in_their_shortest_form() {
    let (mut client, mut server) = (Client::open(), Server::open());
    for (length, extended) in [(0, 0), (1, 0), (125, 0), (126, 2), (127, 2), (65_535, 2), (65_536, 8), (300_000, 8)] {
        for harness in [&mut client.harness, &mut server.harness] {
            harness.post(Post::Binary(vec![7; length].into())).unwrap();
            let [frame] = &decode(&harness.take_sent())[..] else { panic!("not one frame") };
            assert_eq!((frame.extended, frame.payload.len()), (extended, length));
        }
    }
}

/// What must fail an open connection of either side: the reason it ended for and the one close frame it sent.
fn server_fails(bytes: &[u8], expected: FrameError) {
    let mut client = Client::open();
    client.feed(bytes);
    assert_eq!(client.error::<ProtocolError>(), ProtocolError::Frame(expected), "{bytes:x?}");
    assert_eq!(client.frames(), [close_frame(1002, &expected.to_string())], "{bytes:x?}");
    assert!(client.harness.saw_eof(), "the TCP connection is closed, at once: {bytes:x?}");
}

fn client_fails(bytes: &[u8], expected: FrameError) {
    let mut server = Server::open();
    server.feed(bytes);
    assert!(server.close_reason().ends_with(&expected.to_string()), "{bytes:x?}: {}", server.close_reason());
    assert_eq!(server.frames(), [close_frame(1002, &expected.to_string())], "{bytes:x?}");
    assert!(server.harness.saw_eof(), "the TCP connection is closed, at once: {bytes:x?}");
}

/// RFC 6455 §5.1, for frames of every kind, with and without a payload.
#[test]
fn who_masks_as_it_must_not_is_failed() {
    for opcode in OPCODES {
        // A continuation needs something to continue.
        let begin = |frame: Frame| frame(false, OpCode::Text, b"begun");
        let begin = |frame| if opcode == OpCode::Continuation { begin(frame) } else { Vec::new() };
        for payload in [&b""[..], b"\x03\xe8"] {
            server_fails(&[begin(frame), plain(true, opcode, payload)].concat(), FrameError::NotMasked);
            client_fails(&[begin(plain), frame(true, opcode, payload)].concat(), FrameError::Masked);
        }
    }
}

/// RFC 6455 §5.2, on both sides: all reserved opcodes, and all reserved bits on frames of every kind.
#[test]
fn what_is_reserved_is_failed() {
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        server_fails(&[0x80 | opcode, 0x80, 0, 0, 0, 0], FrameError::ReservedOpCode(opcode));
        client_fails(&[0x80 | opcode, 0x00], FrameError::ReservedOpCode(opcode));
    }
    for opcode in OPCODES.into_iter().skip(1) {
        for bits in 1..8 {
            let first = 0x80 | bits << 4 | opcode as u8;
            server_fails(&[first, 0x80, 0, 0, 0, 0], FrameError::ReservedBits(bits));
            client_fails(&[first, 0x00], FrameError::ReservedBits(bits));
        }
    }
}

/// RFC 6455 §5.5, on both sides: a control frame that is no longer than it may be is taken, one more octet is not.
#[test]
fn control_frames_are_whole_and_short() {
    for opcode in [OpCode::Close, OpCode::Ping, OpCode::Pong] {
        let first = opcode as u8;
        server_fails(&[first, 0x80, 0, 0, 0, 0], FrameError::FragmentedControl);
        client_fails(&[first, 0x00], FrameError::FragmentedControl);
        server_fails(&[0x80 | first, 0xfe, 0, 126, 0, 0, 0, 0], FrameError::LongControl);
        client_fails(&[0x80 | first, 0x7e, 0, 126], FrameError::LongControl);
    }
}

/// RFC 6455 §5.5.2, §5.5.3: "identical" payloads, of every length that a ping can have.
#[test]
fn a_pong_repeats_its_ping() {
    let (mut client, mut server) = (Client::open(), Server::open());
    let mut random = fastrand::Rng::with_seed(553);
    for length in 0..=125 {
        let payload: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
        client.feed(frame(true, OpCode::Ping, &payload));
        assert_eq!(client.frames(), [(OpCode::Pong, payload.clone())]);
        server.feed(plain(true, OpCode::Ping, &payload));
        assert_eq!(server.frames(), [(OpCode::Pong, payload)]);
    }
}

/// RFC 6455 §5.5.2: a ping in front of the peer's close frame is answered, one behind it is not.
#[test]
fn pings_are_answered_until_the_close_frame() {
    let answers = [(OpCode::Pong, b"before".to_vec()), close_frame(1000, "")];
    let mut client = Client::open();
    client.feed([ping("before"), close(1000, ""), ping("behind")].concat());
    assert_eq!(client.frames(), answers);
    let mut server = Server::open();
    let close = plain(true, OpCode::Close, close_payload(1000, ""));
    server.feed([plain(true, OpCode::Ping, "before"), close, plain(true, OpCode::Ping, "behind")].concat());
    server.feed(plain(true, OpCode::Ping, "later"));
    assert_eq!(server.frames(), answers);
}

/// RFC 6455 §5.4, §6.2: a message in every fragmentation is the same message, on both sides.
#[test]
fn the_boundaries_of_frames_mean_nothing() {
    let message = "aé🦀".as_bytes();
    for cuts in 0..1_u32 << (message.len() - 1) {
        let mut pieces = vec![Vec::new()];
        for (index, octet) in message.iter().enumerate() {
            pieces.last_mut().unwrap().push(*octet);
            if cuts >> index & 1 == 1 {
                pieces.push(Vec::new());
            }
        }
        let (mut client, mut server) = (Client::open(), Server::open());
        for (index, piece) in pieces.iter().enumerate() {
            let opcode = if index == 0 { OpCode::Text } else { OpCode::Continuation };
            client.feed(frame(index + 1 == pieces.len(), opcode, piece));
            server.feed(plain(index + 1 == pieces.len(), opcode, piece));
        }
        // And what follows is a message of its own.
        client.feed(text("next"));
        server.feed(plain_text("next"));
        assert_eq!(client.take_log(), ["text aé🦀", "text next"], "cuts {cuts:b}");
        assert_eq!(server.take_log(), ["text aé🦀", "text next"], "cuts {cuts:b}");
    }
}

/// RFC 6455 §7.1.7: after the connection was failed nothing is processed, "including a responding Close frame".
#[test]
fn nothing_is_processed_once_the_connection_was_failed() {
    let mut client = Client::open();
    client.feed([vec![0x83, 0x80, 0, 0, 0, 0], text("behind"), ping("behind"), close(1000, "")].concat());
    client.feed([text("later"), ping("later"), close(1000, "")].concat());
    assert_eq!(client.frames().len(), 1, "the close frame");
    let log = client.take_log();
    assert!(log.len() == 1 && log[0].starts_with("close 1002"), "{log:?}");

    let mut server = Server::open();
    let close = plain(true, OpCode::Close, close_payload(1000, ""));
    server.feed([&[0x83, 0x00], &plain_text("behind")[..], &plain(true, OpCode::Ping, "behind"), &close].concat());
    server.feed([plain_text("later"), plain(true, OpCode::Ping, "later"), close].concat());
    assert_eq!(server.frames().len(), 1, "the close frame");
    let log = server.take_log();
    assert!(log.len() == 1 && log[0].starts_with("close 1002"), "{log:?}");
}

/// RFC 6455 §5.5.1, §7.1.1: the server closes the TCP connection itself and at once, by a FIN and no reset; what still
/// comes is discarded.
#[test]
fn the_server_closes_the_connection_cleanly() {
    for ours in [false, true] {
        let mut client = Client::open();
        if ours {
            client.feed(text("close"));
            assert!(!client.harness.saw_eof(), "not before the peer's close frame");
        }
        client.feed([close(4000, ""), b"trailing".to_vec()].concat());
        assert!(client.harness.saw_eof(), "no time has passed");
        client.feed("more of it");
        assert_eq!(client.harness.peer().unread(), 0, "discarded");
        client.harness.eof();
        assert!(client.harness.peer().is_closed() && !client.harness.peer().saw_reset());
        assert_eq!(client.harness.core().open_connections(), 0);
        assert_eq!(client.frames().len(), 1);
    }
}

/// RFC 6455 §7.1.7, §7.3: a client whose application leaves the WebSocket alone does not close it.
#[test]
fn a_client_does_not_close_by_itself() {
    let mut server = Server::open();
    for _ in 0..24 * 60 * 6 {
        server.harness.advance(Duration::from_secs(10));
        for (opcode, payload) in server.frames() {
            assert_eq!(opcode, OpCode::Ping);
            server.feed(plain(true, OpCode::Pong, payload));
        }
    }
    assert!(server.harness.is_open() && !server.harness.saw_eof(), "after a day");
}

/// RFC 6455 §7.4.1, §7.4.2: codes that are reserved or not used are never on the wire, whoever asks for them.
#[test]
fn no_code_is_sent_that_must_not_be() {
    let wrong = (0..1000).chain([1004, 1006, 1015]).chain((1016..3000).step_by(61)).chain([2999, 5000, 65_535]);
    for code in wrong {
        let (mut client, mut server) = (Client::open(), Server::open());
        client.harness.post(Post::Close(CloseCode(code), "".into())).unwrap();
        assert_eq!(client.error::<UsageError>(), UsageError::CloseCode(CloseCode(code)));
        assert_eq!(client.frames(), [close_frame(1011, "")], "{code}");
        server.harness.post(Post::Close(CloseCode(code), "".into())).unwrap();
        assert_eq!(server.frames(), [close_frame(1011, "")], "{code}");
    }
    let (mut client, mut server) = (Client::open(), Server::open());
    client.harness.post(Post::Close(CloseCode::NO_STATUS, "".into())).unwrap();
    server.harness.post(Post::Close(CloseCode::NO_STATUS, "".into())).unwrap();
    assert_eq!((client.frames(), server.frames()), (vec![(OpCode::Close, vec![])], vec![(OpCode::Close, vec![])]));
}
