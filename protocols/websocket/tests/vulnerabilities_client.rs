//! Faults of other WebSocket clients that this one must not have: each test is the server that did harm there. What they
//! are, and what could not happen here, is in docs/vulnerabilities.md.

mod common;

use std::collections::BTreeSet;

use allocation_counter::measure;
use common::server::*;
use common::*;
use switchboard::testkit::Harness;
use switchboard::{Blame, CloseReason, Limits};
use switchboard_websocket::deflate::{Compression, Deflater, Inflater, Memory, WindowBits};
use switchboard_websocket::error::{MessageLimit, ProtocolError};
use switchboard_websocket::frame::{FrameError, Header, OpCode};
use switchboard_websocket::handshake::{AnswerError, InvalidConnect, Url};
use switchboard_websocket::{Connect, Settings, WebSocket, message_fn};

const DEDICATED: Compression = Compression {
    window_bits: WindowBits::MAX,
    peer_window_bits: WindowBits::MAX,
    compressor: Memory::Dedicated,
    decompressor: Memory::Dedicated,
    level: 6,
    threshold: 64,
};

fn compressing() -> Settings {
    Settings { compression: Some(DEDICATED), max_message: 1 << 20, ..Settings::default() }
}

/// A client that was asked to be answered with this extension.
fn answered(chosen: &str) -> Server {
    let mut server = Server::asked_by(Connect::to(URL).expect("a URL"), compressing(), Limits::default());
    let field = format!("\r\nSec-WebSocket-Extensions: {chosen}\r\n\r\n");
    server.feed(server.switching.replace("\r\n\r\n", &field));
    server
}

/// Why an open WebSocket failed.
fn failure<E: std::error::Error + Copy + 'static>(server: &mut Server) -> E {
    match server.harness.close_reason() {
        Some(CloseReason::Failure(failure)) => *failure.error().downcast_ref().expect("another error"),
        reason => panic!("no failure: {reason:?}"),
    }
}

/// CVE-2020-35678 (Autobahn): what stood in a URL could end the line it was written in. CVE-2026-1527 (undici): so could
/// the `Upgrade` field's value.
#[test]
fn line_ends_in_a_request() {
    for url in ["ws://a/b\r\nX: 1", "ws://a\r\nX: 1/", "ws://a/?q\nX: 1", "ws://a/%0d%0a\r", "ws://a/\u{560d}\u{560a}"]
    {
        assert!(url.parse::<Url>().is_err() && Connect::to(url).is_err(), "{url:?}");
    }
    let connect = || Connect::to("ws://a/%0d%0aX:1").unwrap();
    let injected = || "1\r\nX-B: 2".to_owned();
    for (connect, error) in [
        (connect().header("X-A", injected()), InvalidConnect::Header("X-A".to_owned())),
        (connect().header(injected(), "1"), InvalidConnect::Header(injected())),
        (connect().subprotocol(injected()), InvalidConnect::Subprotocol(injected())),
        (connect().origin(injected()), InvalidConnect::Origin(injected())),
        (connect().header("Upgrade", "1"), InvalidConnect::ReservedHeader("upgrade".to_owned())),
    ] {
        let mut harness = Harness::new(WebSocket::client(connect, message_fn(|_, _| Ok(()))));
        assert_eq!(harness.take_sent(), b"", "{error}");
        let reason = harness.close_reason().unwrap();
        assert_eq!(reason.blame(), Some(Blame::Caller));
        assert_eq!(reason.error().unwrap().downcast_ref(), Some(&error));
    }
    let mut harness = Harness::new(WebSocket::client(connect(), message_fn(|_, _| Ok(()))));
    assert!(harness.take_sent().starts_with(b"GET /%0d%0aX:1 HTTP/1.1\r\nHost: a\r\n"), "what is encoded stays so");
}

/// CVE-2026-42498 (Tomcat): to where an answer redirects, the credentials went along.
#[test]
fn credentials_are_for_who_they_were_given_for() {
    let connect = Connect::to(URL).unwrap().header("Authorization", "Bearer secret").header("Cookie", "secret=1");
    for status in [301, 302, 303, 307, 308] {
        let mut server = Server::asked_by(connect.clone(), Settings::default(), Limits::default());
        server.feed(format!("HTTP/1.1 {status} \r\nLocation: ws://evil.example/\r\nContent-Length: 0\r\n\r\n"));
        let error = server.error();
        assert!(matches!(error, AnswerError::Redirect(_)), "{error}");
        assert_eq!(server.harness.take_sent(), b"");
        assert!(server.harness.network().next_outgoing().is_none(), "nobody is called");
        assert!(!format!("{error:?} {error} {:?}", connect).contains("secret"));
    }
}

/// CVE-2024-23326 (Envoy): an answer of 200 was taken for a switch of protocols.
#[test]
fn only_101_switches() {
    for status in [200, 204, 301, 426, 500] {
        let mut server = Server::asked();
        let switching = server.switching.replace("101 Switching Protocols", &format!("{status} X"));
        server.feed([switching.as_bytes(), &plain_text("hello")].concat());
        server.harness.eof();
        assert!(matches!(server.error(), AnswerError::Refused(_)), "{status}");
        assert!(server.take_log().iter().all(|line| line.starts_with("failed")), "{status}");
    }
}

/// CVE-2026-2229 (undici): a window that there is not, in an answer, crashed the client with the first message.
#[test]
fn windows_that_there_are_not() {
    for bits in ["7", "16", "0", "-8", "+8", "010", "1e1", "99999999999999999999", "\"\"", "\"1 0\"", "x"] {
        for name in ["server_max_window_bits", "client_max_window_bits"] {
            let mut server = answered(&format!("permessage-deflate; {name}={bits}"));
            let error = server.error();
            assert!(matches!(error, AnswerError::Compression(_) | AnswerError::BadExtensions(_)), "{bits}: {error}");
        }
    }
    assert!(matches!(answered("permessage-deflate; server_max_window_bits").error(), AnswerError::Compression(_)));
}

/// CVE-2026-1526 (undici): a message of a few megabytes became one of gigabytes.
#[test]
fn compression_bombs() {
    let mut payload = Vec::new();
    Deflater::new(WindowBits::MAX, 9).deflate(&vec![0; 64 << 20], &mut payload);
    let mut server = answered("permessage-deflate");
    assert_eq!(server.take_log(), ["open"]);
    let header =
        Header { fin: true, compressed: true, opcode: OpCode::Binary, mask: None, payload: payload.len() as u64 };
    server.feed(&*header.encode());
    let mut most = 0;
    for part in payload.chunks(1000) {
        server.feed(part);
        most = most.max(server.harness.core().held_bytes());
    }
    assert!(matches!(failure(&mut server), MessageLimit::Size { limit: 0x10_0000, .. }));
    assert!(most <= (1 << 20) + Inflater::MOST_MEMORY + 8192, "{most} held");
    server.harness.eof();
    server.assert_gone();
}

/// CVE-2026-59881 (aiohttp): compressed frames were taken from a server that had agreed on no compression.
#[test]
fn compression_that_was_not_agreed_on() {
    for settings in [Settings::default(), compressing()] {
        let mut server = Server::open_with(settings);
        server.feed(b"\xc2\x07\xf2\x48\xcd\xc9\xc9\x07\x00");
        assert_eq!(failure::<ProtocolError>(&mut server), ProtocolError::Frame(FrameError::ReservedBits(0b100)));
    }
}

/// CVE-2026-1528 (undici): a 64-bit length overflowed, and ended the process.
#[test]
fn lengths_of_64_bits() {
    for (length, error) in [(u64::MAX, true), (1 << 63, true), ((1 << 63) - 1, false), (1 << 53, false)] {
        let mut server = Server::open();
        server.feed([&b"\x82\x7f"[..], &length.to_be_bytes()].concat());
        if error {
            assert_eq!(failure::<ProtocolError>(&mut server), ProtocolError::Frame(FrameError::LengthTooLarge));
        } else {
            let limit = Settings::default().max_message;
            assert_eq!(failure::<MessageLimit>(&mut server), MessageLimit::Size { size: length, limit });
        }
        server.harness.eof();
        server.assert_gone();
    }
}

/// CVE-2026-12151 (undici): fragments without end, each of which cost memory.
#[test]
fn fragments_without_end() {
    let mut server = Server::open();
    let fragments = plain(false, OpCode::Continuation, "x").repeat(1000);
    server.feed(plain(false, OpCode::Binary, "x"));
    let info = measure(|| {
        while server.harness.is_open() {
            server.harness.feed(&fragments);
        }
    });
    let limit = Settings::default().max_fragments;
    assert_eq!(failure::<MessageLimit>(&mut server), MessageLimit::Fragments { limit });
    assert!(info.bytes_max < 400_000, "{} bytes", info.bytes_max);
    assert!(info.count_total < 2000, "{} allocations: each would be one to keep", info.count_total);
}

/// CVE-2025-10148 (curl): one mask for all frames let a server have the client send what looks like HTTP to a proxy.
#[test]
fn each_frame_has_a_mask_of_its_own() {
    let mut server = Server::open();
    server.feed(plain_text("again").repeat(1000));
    let (frames, keys) = client_frames(&server.harness.take_sent());
    assert_eq!(frames, vec![text_frame("again"); 1000]);
    let different: BTreeSet<_> = keys.iter().collect();
    assert!(different.len() > 990, "{} masks for 1000 frames", different.len());
    // RFC 6455 §10.3: nor is one made of another, by counting for example.
    let steps: BTreeSet<_> =
        keys.windows(2).map(|two| u32::from_be_bytes(two[1]).wrapping_sub(u32::from_be_bytes(two[0]))).collect();
    assert!(steps.len() > 990, "{} steps between masks", steps.len());
}

/// CVE-2025-5399 (curl): a packet of a server's had the client loop for ever. No more was published; answers that can't be
/// sent, and control frames in between, are what its fix is about.
#[test]
fn pings_of_a_server_that_takes_no_pongs() {
    let mut server = Server::open();
    server.harness.set_window(0);
    let pings = plain(true, OpCode::Ping, [b'p'; 125]).repeat(100);
    let mut most = 0;
    for _ in 0..200 {
        server.feed(&pings);
        most = most.max(server.harness.core().held_bytes());
    }
    let limits = Limits::default();
    assert!(most <= limits.high_water + limits.receive_buffer + 4096, "{most} held");
    server.harness.set_window(usize::MAX);
    assert!(server.harness.is_open());
    assert_eq!(server.frames(), vec![(OpCode::Pong, vec![b'p'; 125]); 20_000], "and not one is lost");
}

/// CVE-2021-32714 (hyper): the size of a chunk overflowed, and what followed was read as something else.
#[test]
fn sizes_of_chunks() {
    for (size, body) in [
        ("ffffffffffffffff", "hello\r\n0\r\n\r\n"), // so long it may be, and has begun
        ("10000000000000005", ""),
        ("fffffffffffffffff0000000000000005", ""),
    ] {
        let mut server = Server::asked();
        server.feed(format!("HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\nhello\r\n0\r\n\r\n"));
        server.harness.eof();
        let error = server.error();
        let refusal = error.refusal().expect("a refusal");
        assert_eq!(refusal.status(), 503);
        assert_eq!(refusal.body(), body.as_bytes(), "{size}");
        server.assert_gone();
    }
}
