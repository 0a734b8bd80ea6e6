//! Compression: the examples of RFC 7692, every size of buffer, every window.

use super::super::Inflater;
use super::*;
use crate::fuzzing::naive_inflate;

fn bits(bits: u8) -> WindowBits {
    WindowBits::new(bits).unwrap()
}

fn deflate(deflater: &mut Deflater, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    deflater.deflate(message, &mut out);
    out
}

/// Text that refers back to many distances.
fn text(random: &mut fastrand::Rng, length: usize) -> Vec<u8> {
    let mut text: Vec<u8> = Vec::new();
    while text.len() < length {
        if random.bool() || text.is_empty() {
            text.extend((0..random.usize(1..30)).map(|_| random.u8(b'a'..b'h')));
        } else {
            let start = random.usize(..text.len());
            let end = (start + random.usize(..300)).min(text.len());
            text.extend_from_within(start..end);
        }
    }
    text.truncate(length);
    text
}

#[test]
fn the_examples_of_the_rfc() {
    // RFC 7692 §7.2.3.1 and §7.2.3.2.
    let mut deflater = Deflater::new(WindowBits::MAX, 6);
    assert_eq!(deflate(&mut deflater, b"Hello"), [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    assert_eq!(deflate(&mut deflater, b"Hello"), [0xf2, 0x00, 0x11, 0x00, 0x00]);
    deflater.reset();
    assert_eq!(deflate(&mut deflater, b"Hello"), [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    // §7.2.3.3: without compression, but for bits that are "don't care".
    let mut stored = Deflater::new(WindowBits::MAX, 0);
    assert_eq!(deflate(&mut stored, b"Hello"), b"\x00\x05\x00\xfa\xffHello\x00");
    // §7.2.3.6.
    assert_eq!(deflate(&mut deflater, b""), [0x00]);
    assert_eq!(deflate(&mut deflater, b""), [0x00]);
}

#[test]
fn a_buffer_of_any_size_will_do() {
    let mut random = fastrand::Rng::with_seed(1);
    for length in (1..2000).step_by(37) {
        let message: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
        let expected = deflate(&mut Deflater::new(WindowBits::MAX, 6), &message);
        for room in [0, 1, 5, 6, 64, length, length + 1, length + 5, length + 6, length + 7, length + 11, 4 * length] {
            let mut out = Vec::with_capacity(3 + room);
            out.extend_from_slice(b"abc");
            Deflater::new(WindowBits::MAX, 6).deflate(&message, &mut out);
            assert_eq!(&out[..3], b"abc");
            assert_eq!(Inflater::new().message(&out[3..], length).as_deref(), Ok(&message[..]));
            assert!(out[3..] == expected, "{} bytes for {}, room for {room}", out.len() - 3, expected.len());
        }
    }
}

/// The peer's window holds no more: with 8 bits, too, for which zlib has no window.
#[test]
fn nothing_refers_back_behind_the_window() {
    let mut random = fastrand::Rng::with_seed(2);
    for window_bits in 8..=15 {
        for level in 0..=9 {
            let mut deflater = Deflater::new(bits(window_bits), level);
            let (mut plain, mut inflated, mut farthest) = (Vec::new(), Vec::new(), 0);
            for _ in 0..12 {
                let length = random.usize(..12_000);
                let message = text(&mut random, length);
                plain.extend_from_slice(&message);
                let mut payload = deflate(&mut deflater, &message);
                payload.extend(TAIL);
                let end = naive_inflate(&payload, &mut inflated);
                assert!(end.is_boundary(), "{window_bits} bits, level {level}: {end:?}");
                farthest = farthest.max(end.distance());
            }
            assert!(inflated == plain, "{window_bits} bits, level {level}");
            assert!(farthest <= 1 << window_bits, "{farthest} bytes back, {window_bits} bits, level {level}");
            if level > 1 {
                assert!(farthest > (1 << window_bits) / 4, "only {farthest} bytes back, {window_bits} bits");
            }
        }
    }
}

#[test]
fn what_can_not_be_compressed_hardly_grows() {
    let mut random = fastrand::Rng::with_seed(3);
    for level in 0..=9 {
        let message: Vec<u8> = (0..300_000).map(|_| random.u8(..)).collect();
        let payload = deflate(&mut Deflater::new(WindowBits::MAX, level), &message);
        let more = if level == 1 { message.len() / 16 } else { message.len() / 1000 };
        assert!(payload.len() <= message.len() + more + 64, "{} at level {level}", payload.len());
    }
}

/// What follows a message that was compressed alone is what a compressor makes of it that has seen none, at every level
/// and window.
#[test]
fn alone_leaves_nothing_behind() {
    let mut random = fastrand::Rng::with_seed(7);
    for level in 0..=9 {
        for window in [9, 12, 15] {
            let mut used = Deflater::new(bits(window), level);
            for length in [1, 20, 1024, 600, 70_000, 33_000, 5, 200_000, 1024] {
                let message = text(&mut random, length);
                let (mut alone, mut fresh) = (Vec::new(), Vec::new());
                used.deflate_alone(&message, &mut alone);
                Deflater::new(bits(window), level).deflate_alone(&message, &mut fresh);
                assert!(alone == fresh, "level {level}, window {window}, {length} bytes");
                let mut plain = Vec::new();
                naive_inflate(&[&alone[..], &TAIL].concat(), &mut plain);
                assert!(plain == message, "level {level}, window {window}, {length} bytes");
            }
        }
    }
}

/// The buffer may be one that another connection's messages have left.
#[test]
fn alone_tells_nothing_of_the_room_that_there_was() {
    let mut random = fastrand::Rng::with_seed(8);
    for level in 0..=9 {
        for length in [1, 20, 300, 3000, 20_000] {
            let noise = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
            for message in [text(&mut random, length), noise, vec![0xff; length]] {
                let mut deflater = Deflater::new(bits(9), level);
                let mut alone = |room| {
                    let mut out = Vec::with_capacity(room);
                    deflater.deflate_alone(&message, &mut out);
                    out
                };
                let expected = alone(100_000);
                let exact = expected.len() + TAIL.len();
                for room in (exact.saturating_sub(8)..exact + 8).chain([0, length, length + 40, 2 * length]) {
                    assert!(alone(room) == expected, "level {level}, {length} bytes, room for {room}");
                }
            }
        }
    }
}
