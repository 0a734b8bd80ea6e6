//! What the heads of requests and answers cost on a connection: each byte is looked at once, the limit ends it, and
//! nothing is allocated for what comes in small pieces but the buffer it is in.

use std::rc::Rc;

use allocation_counter::measure;
use switchboard::testkit::Harness;
use switchboard::{CloseReason, Failure};

use crate::{Connect, Handler, Message, Peer, Settings, WebSocket};

use super::head::EXAMINED;
use super::{AnswerError, HandshakeError};

/// 16 MB, as the peer's flood is.
const FLOOD: usize = 16_000_000;

struct Nothing;

impl Handler for Nothing {
    fn on_message(&mut self, _: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

fn settings(max_handshake: usize) -> Rc<Settings> {
    Rc::new(Settings { max_handshake, ..Settings::default() })
}

fn server(max_handshake: usize) -> Harness {
    Harness::new(WebSocket::with_settings(Nothing, &settings(max_handshake)))
}

/// Once it has asked.
fn client(max_handshake: usize) -> Harness {
    let connect = Connect::to("ws://a/").unwrap();
    let mut harness = Harness::new(WebSocket::client_with_settings(connect, Nothing, &settings(max_handshake)));
    assert!(!harness.take_sent().is_empty());
    harness
}

/// `begin`, and then `repeated` up to the size of the flood.
fn flood(begin: &str, repeated: &str) -> Vec<u8> {
    [begin, &repeated.repeat(FLOOD / repeated.len())].concat().into_bytes()
}

/// Feeds the flood, by pieces of this size until the connection ends and then by larger ones. Gives the bytes that were
/// taken up to its end, those that were looked at, and the memory that was allocated for it: how often, how much.
fn feed(harness: &mut Harness, flood: &[u8], size: usize) -> (usize, usize, u64, u64) {
    let (examined, mut fed) = (EXAMINED.get(), 0);
    let info = measure(|| {
        while harness.is_open() && fed < flood.len() {
            let end = flood.len().min(fed + size);
            harness.feed(&flood[fed..end]);
            fed = end;
        }
    });
    for rest in flood[fed..].chunks(1 << 20) {
        harness.feed(rest);
    }
    (fed, EXAMINED.get() - examined, info.count_total, info.bytes_total)
}

fn error<E: std::error::Error + Clone + 'static>(harness: &mut Harness) -> E {
    match harness.close_reason() {
        Some(CloseReason::Failure(failure)) => failure.error().downcast_ref::<E>().expect("another error").clone(),
        reason => panic!("no failure: {reason:?}"),
    }
}

/// What is linear in the limit, and not in its square, is eight times as much for a limit that is eight times as large.
#[test]
fn a_flood_costs_a_server_no_more_than_the_limit() {
    for (begin, repeated) in [
        ("GET / HTTP/1.1\r\nHost: a\r\nX: ", "x"),
        ("GET / HTTP/1.1\r\nHost: a\r\n", "a:b\r\n"),
        ("GET /", "x"),
        ("", "x"),
        ("", "\r\n"),
        ("GET / HTTP/1.1\r\nSec-WebSocket-Protocol: ", "a, "),
        ("GET / HTTP/1.1\r\nSec-WebSocket-Extensions: a; b=\"", "\\c"),
    ] {
        let flood = flood(begin, repeated);
        for limit in [16 * 1024, 128 * 1024] {
            let mut whole = server(limit);
            let (_, examined, ..) = feed(&mut whole, &flood, FLOOD);
            assert_eq!(examined, limit, "{begin}{repeated}… whole");
            let refused = error::<HandshakeError>(&mut whole);
            assert!([HandshakeError::TooLarge { limit }, HandshakeError::TargetTooLong { limit }].contains(&refused));

            let mut bytewise = server(limit);
            let (fed, examined, allocations, allocated) = feed(&mut bytewise, &flood, 1);
            assert_eq!((fed, examined), (limit, limit), "{begin}{repeated}… byte by byte");
            assert_eq!(error::<HandshakeError>(&mut bytewise), refused);
            assert!(allocations < 100, "{allocations} allocations");
            assert!(allocated < 8 * limit as u64, "{allocated} bytes allocated");
            assert_eq!(bytewise.take_sent(), whole.take_sent());
        }
    }
}

#[test]
fn a_flood_costs_a_client_no_more_than_the_limit() {
    for (begin, repeated) in [
        ("HTTP/1.1 101 Switching Protocols\r\nX: ", "x"),
        ("HTTP/1.1 101 Switching Protocols\r\n", "a:b\r\n"),
        ("HTTP/1.1 200 ", "x"),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
    ] {
        let flood = flood(begin, repeated);
        for limit in [16 * 1024, 128 * 1024] {
            let mut whole = client(limit);
            let (_, examined, ..) = feed(&mut whole, &flood, FLOOD);
            assert_eq!(examined, limit, "{begin}{repeated}… whole");
            assert_eq!(error::<AnswerError>(&mut whole), AnswerError::TooLarge { limit });

            let mut bytewise = client(limit);
            let (fed, examined, allocations, allocated) = feed(&mut bytewise, &flood, 1);
            assert_eq!((fed, examined), (limit, limit), "{begin}{repeated}… byte by byte");
            assert_eq!(error::<AnswerError>(&mut bytewise), AnswerError::TooLarge { limit });
            // A few for the head of each interim answer.
            let interim = if begin.is_empty() { limit / repeated.len() } else { 0 } as u64;
            assert!(allocations < 100 + 4 * interim, "{allocations} allocations");
            assert!(allocated < 8 * limit as u64 + 10_000 * interim, "{allocated} bytes allocated");
        }
    }
}

/// The scanner looks at a head that is in order once, and the parser once more.
#[test]
fn the_longest_request_that_passes() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nX: \r\n\r\n";
    let limit = 16 * 1024;
    let request = request.replace("X: ", &format!("X: {}", "x".repeat(limit - request.len())));
    for size in [1, 7, limit] {
        let (mut harness, examined) = (server(limit), EXAMINED.get());
        let info = measure(|| request.as_bytes().chunks(size).for_each(|piece| harness.feed(piece)));
        assert!(harness.take_sent().starts_with(b"HTTP/1.1 101 "));
        assert_eq!(EXAMINED.get() - examined, limit, "in pieces of {size}");
        assert!(info.count_total < 100, "{} allocations in pieces of {size}", info.count_total);
    }
}
