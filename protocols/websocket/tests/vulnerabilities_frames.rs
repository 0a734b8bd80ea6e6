//! Faults of other WebSocket libraries that this one must not have, in frames, messages and the end of a WebSocket: each
//! test does what did harm there. What they are, and what could not happen here, is in docs/vulnerabilities.md. Those of
//! clients are in `vulnerabilities_client.rs`.

mod common;

use std::time::Duration;

use allocation_counter::measure;
use common::*;
use switchboard::Limits;
use switchboard::testkit::Harness;
use switchboard_websocket::deflate::{Compression, Deflater, Inflater, Memory, WindowBits};
use switchboard_websocket::error::{MessageLimit, ProtocolError};
use switchboard_websocket::frame::{FrameError, Header, OpCode};
use switchboard_websocket::{Settings, WebSocket, message_fn};

/// The beginning of a client's frame: its first octet, and a 64-bit length that may be anything.
fn declared(first: u8, length: u64) -> Vec<u8> {
    [&[first, 0xff][..], &length.to_be_bytes(), b"mask"].concat()
}

/// CVE-2020-13935 (Tomcat), CVE-2021-26423 (.NET): a length with its highest bit set made the server loop for ever.
/// Without a number (baresip's re): one just below 2^64 overflowed the check against what had arrived.
#[test]
fn lengths_with_the_highest_bit() {
    for length in [1 << 63, (1 << 63) + 1, u64::MAX - 13, u64::MAX - 3, u64::MAX] {
        for first in [0x81, 0x82, 0x02] {
            for size in [1, 14] {
                let mut client = Client::open();
                client.feed_chunks(&declared(first, length), size);
                let error = ProtocolError::Frame(FrameError::LengthTooLarge);
                assert_eq!(client.error::<ProtocolError>(), error, "{length:#x}");
                assert_eq!(client.frames(), [close_frame(1002, &error.to_string())]);
                assert_eq!(client.held(), 0);
            }
        }
    }
}

/// CVE-2020-27813 (gorilla/websocket): the lengths of fragments were added up until the sum was negative, and no limit
/// held any more. CVE-2025-51495 (Mongoose): an offset within a fragmented message overflowed.
#[test]
fn sums_of_lengths() {
    for length in [i64::MAX as u64, i64::MAX as u64 - 99, u64::from(u32::MAX) - 99, u64::from(u32::MAX) + 1] {
        let mut client = Client::open();
        client.feed(frame(false, OpCode::Binary, [7; 100])).feed(declared(0x80, length));
        let limit = Settings::default().max_message;
        assert_eq!(client.error::<MessageLimit>(), MessageLimit::Size { size: length + 100, limit });
        assert_eq!(client.held(), 0);
        assert!(client.take_log()[0].starts_with("close 1009"));
    }
}

/// CVE-2022-35922 (rust-websocket): memory was allocated as a header declared it. CVE-2016-10542 (ws), CVE-2016-10544
/// (uWebSockets), CVE-2018-21035 (Qt): the limit was none, or gigabytes.
#[test]
fn memory_by_declared_length() {
    let limit = Settings::default().max_message;
    let mut client = Client::open();
    let info = measure(|| {
        client.feed(declared(0x82, limit as u64)).feed([7; 100]);
    });
    assert!(info.bytes_total < 8192, "{} bytes allocated for 100", info.bytes_total);
    assert!(client.held() < 4096, "{} held", client.held());
    assert!(client.harness.is_open());

    let mut client = Client::open();
    client.feed(declared(0x82, limit as u64 + 1));
    assert_eq!(client.error::<MessageLimit>(), MessageLimit::Size { size: limit as u64 + 1, limit });
    assert!(limit <= 1 << 24, "the default is no more than many a message");
}

/// CVE-2014-0193 (Netty): a message of fragments without end was put together without a limit. CVE-2026-48779 (ws):
/// fragments of a byte, or of none, cost more memory than the limit counts.
#[test]
fn fragments_without_end() {
    for (payload, most_memory) in [(&b""[..], 20_000), (b"x", 400_000)] {
        let mut client = Client::open();
        let fragments = frame(false, OpCode::Continuation, payload).repeat(1000);
        client.feed(frame(false, OpCode::Binary, payload));
        let (mut sent, mut most_held) = (1, 0);
        let info = measure(|| {
            while client.harness.is_open() {
                client.harness.feed(&fragments);
                most_held = most_held.max(client.held());
                sent += 1000;
            }
        });
        let limit = Settings::default().max_fragments;
        assert_eq!(client.error::<MessageLimit>(), MessageLimit::Fragments { limit });
        assert!(sent <= limit as usize + 1000, "{sent} fragments");
        assert!(info.bytes_max < most_memory, "{} bytes for {} of payload", info.bytes_max, sent * payload.len());
        assert!((most_held as u64) < most_memory, "{most_held} held");
        assert!(info.count_total < 2000, "{} allocations: each would be one to keep", info.count_total);
    }
}

/// CVE-2026-54274 (aiohttp): what had arrived of a frame that is not whole counted against no limit.
#[test]
fn parts_of_frames_count() {
    let limits = Limits { loop_memory: 20_000_000, ..Limits::default() };
    let mut client = Client::with(true, Settings::default(), limits).upgraded();
    client.feed(declared(0x82, 16_000_000));
    for part in 1..=150 {
        client.feed(vec![b'x'; 100_000]);
        assert!(client.held() >= 100_000 * part, "{} held of {}", client.held(), 100_000 * part);
    }
    assert!(client.held() < 20_000_000, "{}", client.held());
    client.harness.reset();
    assert_eq!(client.held(), 0);
}

/// CVE-2018-1000518 (websockets), CVE-2026-54464 and CVE-2026-54490 (websocket-driver, in Ruby and JavaScript), without
/// a number Tornado: the limit held for what was compressed, and not for what came of it.
#[test]
fn compression_bombs() {
    let mut payload = Vec::new();
    Deflater::new(WindowBits::MAX, 9).deflate(&vec![0; 64 << 20], &mut payload);
    assert!(payload.len() < 100_000);
    for memory in [Memory::Shared, Memory::Dedicated] {
        let compression = Compression { compressor: memory, decompressor: memory, ..Compression::default() };
        let settings = Settings { max_message: 1 << 20, compression: Some(compression), ..Settings::default() };
        for fragment in [1000, 10_000, payload.len()] {
            let mut client = Client::with(true, settings.clone(), Limits::default());
            client.feed(UPGRADE.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"));
            assert!(client.sent_text().contains("permessage-deflate"));
            let mut most = 0;
            for (index, part) in payload.chunks(fragment).enumerate() {
                let compressed = index == 0;
                let opcode = if compressed { OpCode::Binary } else { OpCode::Continuation };
                let header = Header { fin: false, compressed, opcode, mask: Some([0; 4]), payload: part.len() as u64 };
                client.feed([&header.encode()[..], part].concat());
                most = most.max(client.held());
            }
            assert!(matches!(client.error::<MessageLimit>(), MessageLimit::Size { limit: 0x10_0000, .. }));
            assert!(most <= (1 << 20) + Inflater::MOST_MEMORY + fragment + 4096, "{most} held");
            assert_eq!(client.take_log().len(), 2, "opened and closed, no message");
        }
    }
}

/// CVE-2020-35896 (ws-rs): a client that took no answers had the server keep all of them.
#[test]
fn answers_that_nobody_takes() {
    let message = vec![b'x'; 1000];
    for flood in [ping(&"p".repeat(125)).repeat(100), binary(&message).repeat(100), text("hello").repeat(100)] {
        let mut client = Client::open();
        client.harness.set_window(0);
        let mut most = 0;
        for _ in 0..2_000_000 / flood.len() {
            client.feed(&flood);
            most = most.max(client.held());
        }
        let limits = Limits::default();
        assert!(most <= limits.high_water + limits.receive_buffer + 4096, "{most} held");
    }
    // Nor are there more where one read asks for many large ones.
    let large = "x".repeat(50_000);
    let mut harness = Harness::new(WebSocket::server(message_fn(move |peer, _| {
        peer.text(&large);
        Ok(())
    })));
    harness.feed(UPGRADE.as_bytes());
    harness.set_window(0);
    harness.feed(&text("?").repeat(1000));
    let (held, limits) = (harness.core().held_bytes(), Limits::default());
    assert!(held <= limits.high_water + limits.receive_buffer + 100_000, "{held} held");
    assert!(harness.is_open());
}

/// CVE-2021-3690 (Undertow): a buffer was lost with each pong. CVE-2016-10518 (ws): a ping of a certain kind was answered
/// with memory that nobody had written.
#[test]
fn pings_and_pongs() {
    let mut harness = Harness::new(WebSocket::server(message_fn(|_, _| Ok(()))));
    harness.feed(UPGRADE.as_bytes());
    assert_eq!(harness.take_sent(), SWITCHING.as_bytes());
    let pongs = frame(true, OpCode::Pong, [7; 125]).repeat(100);
    harness.feed(&pongs);
    let info = measure(|| (0..100).for_each(|_| harness.feed(&pongs)));
    assert!(info.bytes_current < 1000, "{} bytes are left of 10,000 pongs", info.bytes_current);
    assert_eq!(harness.core().held_bytes(), 0);

    let mut client = Client::open();
    for length in 0..=125 {
        let payload = "0123456789".repeat(13)[..length].to_owned();
        client.feed(ping(&payload));
        assert_eq!(client.frames(), [(OpCode::Pong, payload.into_bytes())]);
    }
}

/// CVE-2024-23672 (Tomcat): a client could keep a WebSocket that the server had closed. CVE-2022-25762 (Tomcat): what was
/// sent while it closed went to somebody else. CVE-2021-42340 (Tomcat): what belonged to it stayed for ever.
#[test]
fn the_end_of_a_websocket_is_the_end() {
    for goes_on in [false, true] {
        let mut client = Client::open();
        client.feed(text("close and go on"));
        for _ in 0..5 {
            if goes_on {
                client.feed(text("still here"));
            }
            client.harness.advance(Duration::from_secs(1));
        }
        assert_eq!(client.frames(), [close_frame(1000, "")], "and nothing behind it");
        client.harness.advance(Duration::from_secs(5));
        assert!(!client.harness.is_open());
        let timeout = ProtocolError::CloseTimeout(Duration::from_secs(5));
        assert_eq!(client.error::<ProtocolError>(), timeout);
        let core = client.harness.core();
        assert_eq!((core.open_connections(), core.armed_timers(), core.held_bytes()), (0, 0, 0));
    }
}

/// Without a number (facil.io): a frame without a mask reached the application before the connection was closed for it.
#[test]
fn frames_without_a_mask() {
    for frame in [&b"\x81\x05hello"[..], b"\x82\x00", b"\x89\x00", b"\x01\x01h", b"\x88\x00"] {
        let mut client = Client::open();
        client.feed([frame, &text("more")].concat());
        assert_eq!(client.error::<ProtocolError>(), ProtocolError::Frame(FrameError::NotMasked));
        let log = client.take_log();
        assert!(log.len() == 1 && log[0].starts_with("close 1002"), "{log:?}");
    }
}
