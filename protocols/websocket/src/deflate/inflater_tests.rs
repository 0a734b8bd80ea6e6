//! Decompression: the examples of RFC 7692, every split, damage, bombs.

use super::super::{Deflater, WindowBits};
use super::*;

const HELLO: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

fn message(inflater: &mut Inflater, payload: &[u8]) -> Result<Vec<u8>, InflateError> {
    inflater.message(payload, 1 << 20)
}

fn hello(inflater: &mut Inflater, payload: &[u8]) {
    assert_eq!(message(inflater, payload).as_deref(), Ok(&b"Hello"[..]), "{payload:x?}");
}

#[test]
fn the_examples_of_the_rfc() {
    let inflater = &mut Inflater::new();
    // RFC 7692 §7.2.3.1: a block with a fixed code.
    hello(inflater, HELLO);
    // §7.2.3.2: with the window taken over.
    hello(inflater, &[0xf2, 0x00, 0x11, 0x00, 0x00]);
    // §7.2.3.3: a block without compression.
    hello(inflater, &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]);
    // §7.2.3.5: two blocks.
    hello(inflater, &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00]);
    // §7.2.3.6: empty.
    assert_eq!(message(inflater, &[0x00]), Ok(Vec::new()));
    hello(inflater, &[0xf2, 0x00, 0x11, 0x00, 0x00]);
}

/// RFC 7692 §7.2.3.4: a block that says it is the last one.
#[test]
fn what_follows_a_last_block() {
    const LAST: &[u8] = &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    const AGAIN: &[u8] = &[0xf2, 0x00, 0x11, 0x00, 0x00];
    let inflater = &mut Inflater::new();
    hello(inflater, LAST);
    hello(inflater, AGAIN);
    hello(inflater, LAST);
    // Within a message, and where the empty block behind it is left out.
    let twice = [&LAST[..7], HELLO].concat();
    assert_eq!(message(inflater, &twice).as_deref(), Ok(&b"HelloHello"[..]));
    assert_eq!(message(inflater, &[&LAST[..7], AGAIN].concat()).as_deref(), Ok(&b"HelloHello"[..]));
    hello(inflater, &LAST[..7]);
    hello(inflater, AGAIN);
    // All of 32 KiB is remembered, over messages.
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = (0..WINDOW).map(|_| random.u8(..)).collect();
    let mut deflater = Deflater::new(WindowBits::MAX, 0);
    let mut payload = Vec::new();
    deflater.deflate(&noise, &mut payload);
    assert_eq!(message(inflater, &payload).as_deref(), Ok(&noise[..]));
    assert_eq!(message(inflater, &[0x03, 0x00, 0x00]), Ok(Vec::new()));
    // A fixed block: length 3 from 32,768 back (7 bits 0000001, 5 bits 11101, 13 bits of ones), end.
    let back = fixed_block(&[(0b000_0001, 7), (0b11101, 5), (0x1fff, 13), (0, 7)]);
    assert_eq!(message(inflater, &back).as_deref(), Ok(&noise[..3]));
    let forgotten = message(&mut Inflater::new(), &back);
    assert_eq!(forgotten, Err(InflateError::Corrupt), "nothing is that far back");
    // Later than in the first message, too.
    let inflater = &mut Inflater::new();
    hello(inflater, HELLO);
    hello(inflater, LAST);
    hello(inflater, AGAIN);
    hello(inflater, AGAIN);
}

/// After every amount of what went before.
#[test]
fn what_a_last_block_is_followed_by_refers_back_32_kib() {
    let mut random = fastrand::Rng::with_seed(2);
    let (mut deflater, mut inflater, mut plain) = (Deflater::new(WindowBits::MAX, 1), Inflater::new(), Vec::new());
    for round in 0..60 {
        let noise: Vec<u8> = (0..random.usize(1..20_000)).map(|_| random.u8(..)).collect();
        let mut payload = Vec::new();
        deflater.deflate(&noise, &mut payload);
        assert!(message(&mut inflater, &payload).as_deref() == Ok(&noise[..]));
        plain.extend_from_slice(&noise);
        assert_eq!(message(&mut inflater, &[0x03, 0x00, 0x00]), Ok(Vec::new()));
        assert!(inflater.memory() <= Inflater::MOST_MEMORY);
        if plain.len() >= WINDOW {
            let back = fixed_block(&[(0b000_0001, 7), (0b11101, 5), (0x1fff, 13), (0, 7)]);
            let start = plain.len() - WINDOW;
            let expected = plain[start..start + 3].to_vec();
            assert_eq!(message(&mut inflater, &back).as_deref(), Ok(&expected[..]), "round {round}");
            plain.extend(expected);
        }
        deflater.reset(); // what it refers to is no longer where it thinks
    }
}

/// A fixed block of these codes, then the header of an empty stored block. Extra bits come least significant bit first,
/// and codes the other way round: what is more than 5 and not 7 bits wide is extra.
fn fixed_block(codes: &[(usize, u32)]) -> Vec<u8> {
    let mut bits = vec![0, 1, 0];
    for &(code, width) in codes {
        let each = 0..width;
        let bit = |index: u32| code >> index & 1;
        if width > 7 { bits.extend(each.map(bit)) } else { bits.extend(each.rev().map(bit)) }
    }
    bits.extend([0, 0, 0]);
    let byte = |bits: &[usize]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::try_from(*bit).unwrap());
    bits.chunks(8).map(byte).collect()
}

#[test]
fn all_windows_both_ways_and_in_all_pieces() {
    let mut random = fastrand::Rng::with_seed(4);
    for round in 0..160u8 {
        let window_bits = WindowBits::new(8 + round % 8).unwrap();
        let takeover = round / 8 % 2 == 0;
        let (mut deflater, mut inflater) = (Deflater::new(window_bits, round % 10), Inflater::new());
        for _ in 0..20 {
            let length = if random.bool() { random.usize(..60) } else { random.usize(..70_000) };
            let alphabet = random.u8(1..=255);
            let plain: Vec<u8> = (0..length).map(|_| random.u8(..alphabet)).collect();
            let mut payload = Vec::new();
            deflater.deflate(&plain, &mut payload);
            let mut inflated: Vec<u8> = Vec::new();
            let mut rest = &payload[..];
            while !rest.is_empty() {
                let most = if random.bool() { 5 } else { rest.len() };
                let (part, after) = rest.split_at(random.usize(..=rest.len().min(most)));
                let add = &mut |piece: &[u8]| {
                    assert!((1..=PIECE).contains(&piece.len()));
                    inflated.extend_from_slice(piece);
                    Ok::<_, InflateError>(())
                };
                inflater.push(part, add).unwrap();
                rest = after;
            }
            if takeover {
                inflater.finish().unwrap();
            } else {
                inflater.finish_and_reset().unwrap();
                deflater.reset();
            }
            assert!(inflated == plain, "round {round}");
        }
    }
}

#[test]
fn every_split_of_a_message() {
    let text = "a héllo, a wörld, a héllo 🦀 ".repeat(40);
    let mut payload = Vec::new();
    Deflater::new(WindowBits::MAX, 9).deflate(text.as_bytes(), &mut payload);
    let inflater = &mut Inflater::new();
    for first in 0..=payload.len() {
        for second in first..=payload.len() {
            let mut inflated = Vec::new();
            for part in [&payload[..first], &payload[first..second], &payload[second..]] {
                let add = &mut |piece: &[u8]| {
                    inflated.extend_from_slice(piece);
                    Ok::<_, InflateError>(())
                };
                inflater.push(part, add).unwrap();
            }
            inflater.finish_and_reset().unwrap();
            assert_eq!(inflated, text.as_bytes());
        }
    }
}

#[test]
fn a_message_without_its_end() {
    let mut payload = Vec::new();
    Deflater::new(WindowBits::MAX, 6).deflate("to be or not to be, or not to be".repeat(9).as_bytes(), &mut payload);
    for end in 1..payload.len() {
        let mut inflater = Inflater::new();
        let _ = inflater.push(&payload[..end], &mut |_| Ok::<_, InflateError>(()));
        assert!(inflater.finish_and_reset().is_err(), "cut at {end} of {}", payload.len());
        hello(&mut inflater, HELLO); // forgotten
    }
    // What stands uncompressed is cut off: its end would be what the extension appends.
    assert_eq!(message(&mut Inflater::new(), b"\x00\x09\x00\xf6\xffHello"), Err(InflateError::Incomplete));
    assert_eq!(message(&mut Inflater::new(), b"\x00\x05\x00\xfa\xffHello"), Ok(b"Hello".to_vec()), "a block short");
}

#[test]
fn what_is_no_deflate() {
    for payload in [
        &[0x06][..],                           // a block of type 3
        &[0x00, 0x05, 0x00, 0xfb, 0xff],       // a length that is not that of its complement
        &[0xf2, 0x00, 0x11, 0x00, 0x00],       // back to what never was
        &[0x04, 0x00, 0xfe, 0xff, 0xff, 0xff], // a code that can't be
        b"Hello",
    ] {
        let mut inflater = Inflater::new();
        assert_eq!(message(&mut inflater, payload), Err(InflateError::Corrupt), "{payload:x?}");
        inflater.reset();
        hello(&mut inflater, HELLO);
    }
}

/// A gigabyte of zeros in a megabyte is given up at the limit, and at most a piece behind it.
#[test]
fn a_bomb() {
    let zeros = vec![0; 1 << 20];
    let mut deflater = Deflater::new(WindowBits::MAX, 9);
    let mut bomb = Vec::new();
    deflater.deflate(&zeros, &mut bomb);
    bomb.extend(TAIL);
    let (mut again, mut payload) = (Vec::new(), bomb);
    deflater.deflate(&zeros, &mut again);
    again.extend(TAIL);
    for _ in 1..1024 {
        payload.extend_from_slice(&again);
    }
    payload.truncate(payload.len() - TAIL.len());
    assert!(payload.len() < 3 << 19, "{}", payload.len());
    let limit = 16 << 20;
    let mut inflater = Inflater::new();
    assert_eq!(inflater.message(&payload, limit), Err(InflateError::TooLong { limit }));
    let read = usize::try_from(inflater.stream.total_in()).unwrap();
    assert!(read < payload.len() / 60, "it stopped at once: after {read} of {}", payload.len());

    // A kibibyte at a time: each makes a mebibyte, in pieces, and nothing is kept but the window.
    let (mut inflater, mut total, mut largest) = (Inflater::new(), 0u64, 0);
    for part in payload.chunks(1024) {
        let count = &mut |piece: &[u8]| {
            total += piece.len() as u64;
            largest = largest.max(piece.len());
            Ok::<_, InflateError>(())
        };
        inflater.push(part, count).unwrap();
    }
    inflater.finish_and_reset().unwrap();
    assert_eq!((total, largest), (1 << 30, PIECE));
}

#[test]
fn who_wants_no_more_is_heard() {
    let mut calls = 0;
    let stop = &mut |_: &[u8]| {
        calls += 1;
        Err(InflateError::TooLong { limit: 3 })
    };
    assert_eq!(Inflater::new().push(HELLO, stop), Err(InflateError::TooLong { limit: 3 }));
    assert_eq!(calls, 1);
    assert_eq!(Inflater::new().message(HELLO, 5).map(|message| message.capacity()), Ok(5));
    assert_eq!(Inflater::new().message(HELLO, 4), Err(InflateError::TooLong { limit: 4 }));
}
