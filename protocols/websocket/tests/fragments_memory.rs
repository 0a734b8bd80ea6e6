//! What messages in very many or very large parts take of the memory, measured: put together, in pieces, compressed, on
//! both sides; and messages longer than what a loop may hold, both ways.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

mod common;

use allocation_counter::measure;
use common::pieces::*;
use switchboard::Limits;
use switchboard_websocket::deflate::{Compression, Deflater, Inflater, WindowBits};
use switchboard_websocket::error::MessageLimit;
use switchboard_websocket::frame::{Header, OpCode, Role};
use switchboard_websocket::{Message, Settings};

/// Bytes that a connection may take beyond what its limits say: the parts of its message's state, the loop's own.
const SMALL: u64 = 4096;

/// Of so many a message is made, where the limits allow it.
const MANY: u32 = 1_000_000;

fn counting(whole: bool) -> Pieces {
    let app = Pieces { whole, ..Pieces::default() };
    app.on_piece.set(Does::Counts);
    app
}

fn many(compression: Option<Compression>) -> Settings {
    Settings { max_fragments: MANY, max_streamed_fragments: MANY, max_message: 2 << 20, ..settings(compression) }
}

/// What feeding it takes at most, and how much the loop was told of at most.
fn fed(link: &mut Link, frames: &[u8], times: u32) -> (u64, usize) {
    let mut most_held = 0;
    let info = measure(|| {
        for _ in 0..times {
            link.harness.feed(frames);
            most_held = most_held.max(link.harness.core().held_bytes());
        }
    });
    (info.bytes_max, most_held)
}

/// A million fragments of no byte, or of one: what they take is what their bytes take, and each is counted.
#[test]
fn a_million_fragments() {
    for role in ROLES {
        for whole in [true, false] {
            for bytes in [0, 1] {
                let mut link = Link::open_with(role, counting(whole), many(None), Limits::default());
                link.feed(link.frame(false, OpCode::Binary, ""));
                let thousand = link.frame(false, OpCode::Continuation, &[7; 1][..bytes]).repeat(1000);
                fed(&mut link, &thousand, 1); // the harness has its buffers now
                let (allocated, held) = fed(&mut link, &thousand, 998);
                // A buffer that grows is there twice, for a moment.
                let most = if whole { 3 * 1_000_000 * bytes as u64 } else { 0 };
                assert!(allocated <= most + SMALL, "{role:?} whole: {whole}, {bytes} each: {allocated} bytes");
                let most_held = if whole { 2 * 1_000_000 * bytes } else { 0 };
                assert!(held <= most_held, "{held} bytes are declared");
                assert!(!whole || held >= 998_000 * bytes, "{held} bytes are declared");
                link.feed(link.frame(false, OpCode::Continuation, "").repeat(999));
                assert!(link.harness.is_open());
                link.feed(link.frame(false, OpCode::Continuation, ""));
                let limit = if whole {
                    MessageLimit::Fragments { limit: MANY }
                } else {
                    MessageLimit::StreamedFragments { limit: MANY }
                };
                assert_eq!(link.error(), limit.to_string());
                assert_eq!(link.held(), 0);
            }
        }
    }
}

/// The same of compressed messages: their decompressor is charged, too.
#[test]
fn a_hundred_thousand_fragments_of_a_compressed_message() {
    for role in ROLES {
        for whole in [true, false] {
            for bytes in [0, 1] {
                let mut link = Link::open_with(role, counting(whole), many(Some(SHARED)), Limits::default());
                let mut random = fastrand::Rng::with_seed(1);
                let plain: Vec<u8> = (0..100_000).map(|_| random.u8(..)).collect();
                let payload = deflated(&plain); // no shorter
                let frames: Vec<u8> = payload[1..100_001]
                    .iter()
                    .flat_map(|byte| frame(role, false, false, OpCode::Continuation, &[*byte][..bytes]))
                    .collect();
                link.feed(frame(role, false, true, OpCode::Binary, &payload[..1]));
                let (frames, length) = (&frames[..], frames.len() / 100);
                let mut most_held = 0;
                let info = measure(|| {
                    for part in frames.chunks(length) {
                        link.harness.feed(part);
                        most_held = most_held.max(link.harness.core().held_bytes());
                    }
                });
                assert!(link.harness.is_open());
                let buffer = if whole { 3 * 100_000 * bytes as u64 } else { 0 };
                let most = buffer + Inflater::MOST_MEMORY as u64 + length as u64 + SMALL;
                assert!(info.bytes_max <= most, "{role:?} whole: {whole}, {bytes} each: {}", info.bytes_max);
                assert!(most_held >= Inflater::MOST_MEMORY, "{most_held}");
                let rest = &payload[if bytes == 0 { 1 } else { 100_001 }..];
                link.feed(frame(role, true, false, OpCode::Continuation, rest));
                assert_eq!(link.app.bytes.get(), 100_000);
                assert_eq!(link.held(), 0);
            }
        }
    }
}

/// Longer than everything that the loop may hold.
const LONG: u64 = if cfg!(debug_assertions) { 96 << 20 } else { 1 << 30 };

fn narrow() -> (Settings, Limits) {
    let settings = Settings { max_message: 1 << 20, ..settings(None) };
    (settings, Limits { loop_memory: 4 << 20, ..Limits::default() })
}

#[test]
fn a_long_upload() {
    for compressed in [false, true] {
        let (narrow, limits) = narrow();
        let settings = Settings { compression: compressed.then_some(SHARED), ..narrow };
        let mut link = Link::open_with(Role::Server, counting(false), settings, limits);
        let block = vec![7; 1 << 20];
        let mut deflater = Deflater::new(WindowBits::MAX, 6);
        let mut next = |index: u64| {
            let (first, last) = (index == 0, index == (LONG >> 20) - 1);
            let opcode = if first { OpCode::Binary } else { OpCode::Continuation };
            if !compressed {
                return frame(Role::Server, last, false, opcode, &block);
            }
            let mut payload = Vec::new();
            deflater.deflate(&block, &mut payload);
            if !last {
                payload.extend([0x00, 0x00, 0xff, 0xff]);
            }
            frame(Role::Server, last, first, opcode, &payload)
        };
        for index in 0..LONG >> 20 {
            let bytes = next(index);
            let (mut most_held, limits) = (0, Limits::default());
            let info = measure(|| {
                for chunk in bytes.chunks(limits.read_budget) {
                    link.harness.feed(chunk);
                    most_held = most_held.max(link.harness.core().held_bytes());
                }
            });
            let most = 2 * limits.read_budget as u64 + if compressed { Inflater::MOST_MEMORY as u64 } else { 0 };
            assert!(info.bytes_max <= most + SMALL, "{}", info.bytes_max);
            assert!(most_held as u64 <= most, "{most_held}");
        }
        assert_eq!(link.app.bytes.get(), LONG);
        assert!(link.harness.is_open());
        assert_eq!(link.held(), 0);
    }
}

/// A buffer that a message before left may be longer than need be. Where the loop has no memory for that, a shorter one does.
#[test]
fn a_used_buffer_that_the_loop_has_no_memory_for() {
    for compression in [None, Some(SHARED)] {
        let limits = Limits { loop_memory: 2 << 20, ..Limits::default() };
        let settings = Settings { max_message: 1 << 20, ..settings(compression) };
        let mut link = Link::open_with(Role::Server, counting(true), settings, limits.clone());
        link.feed(link.frame(false, OpCode::Binary, [7; 20_000]));
        assert!(link.held() >= 20_000);
        link.feed(link.frame(true, OpCode::Continuation, ""));
        assert_eq!((link.app.bytes.take(), link.held()), (20_000, 0));
        assert!(link.harness.core().spare_bytes() >= 20_000);

        // Almost all of the loop's memory goes to a message that waits behind one in pieces.
        let decompressor = compression.map_or(0, |_| Inflater::MOST_MEMORY);
        let left = decompressor + (8 << 10);
        link.with_peer(|peer| peer.send_piece(Message::Text("begun"), false)).unwrap();
        let waiting = limits.loop_memory - left - link.held();
        link.with_peer(|peer| peer.binary(&vec![7; waiting]));
        let before = link.held();
        assert!(before > limits.loop_memory - left && link.harness.is_open(), "{before}");

        let payload = if compression.is_some() { deflated([7; 3000]) } else { vec![7; 3000] };
        link.feed(frame(Role::Server, false, compression.is_some(), OpCode::Binary, &payload));
        let held = link.held() - before;
        assert!((3000..=left).contains(&held), "{held}: {:?}", link.harness.close_reason());
        link.feed(link.frame(true, OpCode::Continuation, ""));
        assert_eq!((link.app.bytes.get(), link.held()), (3000, before));
        assert!(link.harness.is_open());
    }
}

/// It is made as fast as the peer takes it.
#[test]
fn a_long_download() {
    for role in ROLES {
        let (settings, limits) = narrow();
        let most = limits.high_water / 2 + (64 << 10);
        let mut link = Link::open_with(role, counting(false), settings, limits);
        let (piece, mut left, mut arrived) = (vec![7; 64 << 10], LONG, 0);
        while left > 0 {
            link.harness.set_window(0);
            left = link.with_peer(|peer| {
                let mut left = left;
                while left > 0 && peer.has_room() {
                    left -= piece.len() as u64;
                    peer.send_piece(Message::Binary(&piece), left == 0).unwrap();
                }
                left
            });
            assert!(link.held() <= most + 64, "{}", link.held());
            link.harness.set_window(usize::MAX);
            for (Header { payload, fin, .. }, _) in link.sent() {
                arrived += payload;
                assert_eq!(fin, arrived == LONG);
            }
        }
        assert_eq!(arrived, LONG);
        assert_eq!(link.held(), 0);
    }
}

/// Messages that wait behind one in pieces are charged with all that they take.
#[test]
fn what_waits() {
    for shared in [false, true] {
        for bytes in [0, 1, 100] {
            let mut link = Link::open(Role::Server, None);
            link.with_peer(|peer| peer.send_piece(Message::Text("begun"), false)).unwrap();
            let before = link.held();
            let wait = |peer: &mut switchboard_websocket::Peer<'_, '_>| {
                for _ in 0..10_000 {
                    if shared { peer.binary_shared(vec![7; bytes]) } else { peer.binary(&vec![7; bytes]) }
                }
            };
            let info = measure(|| link.with_peer(wait));
            let (held, taken) = ((link.held() - before) as u64, info.bytes_max);
            assert!(held + SMALL >= taken && held < 2 * taken, "{held} declared, {taken} taken");
        }
    }
}
