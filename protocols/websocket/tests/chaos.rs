//! Valid traffic, cut anywhere, to a peer that reads when it likes, on a loop with narrow marks: every message comes
//! back, every ping is answered, in order, and nothing is held afterwards.

mod common;

use std::time::Duration;

use common::*;
use fastrand::Rng;
use switchboard::{Bytes, Limits};
use switchboard_websocket::frame::OpCode;
use switchboard_websocket::{CloseCode, Post, Settings};

fn limits() -> Limits {
    Limits { high_water: 2_000, low_water: 500, ..Limits::default() }
}

fn payload(random: &mut Rng, longest: usize) -> Vec<u8> {
    let length = if random.u8(..) < 200 { random.usize(..40) } else { random.usize(..=longest) };
    (0..length).map(|_| random.alphanumeric() as u8).collect()
}

/// A message in one frame or many, with pings in between; what is to come back goes to `expected`.
fn message(random: &mut Rng, expected: &mut Frames) -> Vec<u8> {
    let opcode = if random.bool() { OpCode::Text } else { OpCode::Binary };
    let payload = payload(random, 5_000);
    let (mut bytes, mut rest, mut next) = (Vec::new(), &payload[..], opcode);
    loop {
        let (part, after) = rest.split_at(if random.bool() { rest.len() } else { random.usize(..=rest.len()) });
        let fin = after.is_empty() && random.bool();
        bytes.extend(frame(fin, next, part));
        (rest, next) = (after, OpCode::Continuation);
        if fin {
            break;
        }
        if random.bool() {
            let asked = self::payload(random, 125);
            bytes.extend(frame(true, OpCode::Ping, &asked));
            expected.push((OpCode::Pong, asked));
        }
    }
    expected.push((opcode, payload));
    bytes
}

/// Feeds `bytes` in pieces, while the peer takes its output as it likes; gives what was sent.
fn talk(random: &mut Rng, client: &mut Client, mut bytes: &[u8]) -> Vec<u8> {
    let mut sent = Vec::new();
    while !bytes.is_empty() {
        match random.u8(..8) {
            0 => client.harness.set_window(0),
            1 => client.harness.set_window(random.usize(..3_000)),
            2 => client.harness.set_window(usize::MAX),
            3 => client.harness.advance(Duration::from_millis(random.u64(..50))),
            _ => {
                let longest = if random.bool() { 9 } else { 8_000 };
                let (piece, rest) = bytes.split_at(random.usize(1..=bytes.len().min(longest)));
                client.feed(piece);
                bytes = rest;
            }
        }
        sent.extend(client.harness.take_sent());
    }
    client.harness.set_window(usize::MAX);
    sent.extend(client.harness.take_sent());
    sent
}

/// When the peer has gone, too.
fn assert_nothing_left(client: &mut Client, seed: u64) {
    client.harness.eof();
    assert_eq!((client.held(), client.harness.core().armed_timers()), (0, 0), "seed {seed}");
    assert_eq!(client.harness.core().open_connections(), 0, "seed {seed}");
}

#[test]
fn everything_comes_back_in_order() {
    for seed in 0..300 {
        let mut random = Rng::with_seed(seed);
        let mut client = Client::with(true, Settings::default(), limits()).upgraded();
        let mut expected = Frames::new();
        let bytes: Vec<u8> = (0..random.usize(1..30)).flat_map(|_| message(&mut random, &mut expected)).collect();
        let sent = talk(&mut random, &mut client, &bytes);
        assert!(server_frames(&sent) == expected, "seed {seed}");
        assert_eq!(client.held(), 0, "seed {seed}");
        client.feed(close(1000, ""));
        assert_eq!(client.frames(), [close_frame(1000, "")], "seed {seed}");
        assert_eq!(client.take_log().last().unwrap(), r#"close 1000 "" by peer, clean"#, "seed {seed}");
        assert_nothing_left(&mut client, seed);
    }
}

/// A close from this side somewhere in it: what came back is the beginning of what should, then the close frame, and
/// the rest is dropped frame by frame, but for pings.
#[test]
fn a_close_in_the_midst_of_it_ends_in_order() {
    for seed in 0..300 {
        let mut random = Rng::with_seed(seed);
        let mut client = Client::with(true, Settings::default(), limits()).upgraded();
        let mut expected = Frames::new();
        let bytes: Vec<u8> = (0..random.usize(1..20)).flat_map(|_| message(&mut random, &mut expected)).collect();
        let (before, after) = bytes.split_at(random.usize(..=bytes.len()));
        let mut sent = talk(&mut random, &mut client, before);
        client.harness.post(Post::Close(CloseCode::GOING_AWAY, "".into())).unwrap();
        client.harness.post(Post::Binary(Bytes::from_static(b"too late").into())).unwrap();
        sent.extend(talk(&mut random, &mut client, &[after, &close(1001, "")].concat()));
        let frames = server_frames(&sent);
        let close = frames.iter().position(|frame| *frame == close_frame(1001, "")).expect("a close frame");
        assert!(expected.starts_with(&frames[..close]), "seed {seed}");
        let pongs = |frames: &[(OpCode, Vec<u8>)]| -> Frames {
            frames.iter().filter(|(opcode, _)| *opcode == OpCode::Pong).cloned().collect()
        };
        assert_eq!(pongs(&frames).len() - pongs(&frames[..close]).len(), frames.len() - close - 1, "only pongs behind");
        assert_eq!(pongs(&frames), pongs(&expected), "seed {seed}");
        assert_eq!(client.take_log().last().unwrap(), r#"close 1001 "" by us, clean, 1 unsent"#, "seed {seed}");
        assert_nothing_left(&mut client, seed);
    }
}

/// The same traffic with a bit flipped somewhere: an end in order or a failure, never a panic, and nothing held.
#[test]
fn damage_ends_it_and_leaves_nothing() {
    for seed in 0..500 {
        let mut random = Rng::with_seed(seed);
        let mut client = Client::with(true, Settings::default(), limits());
        let mut bytes = UPGRADE.as_bytes().to_vec();
        bytes.extend((0..random.usize(1..10)).flat_map(|_| message(&mut random, &mut Frames::new())));
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            bytes[at] ^= 1 << random.u8(..8);
        }
        talk(&mut random, &mut client, &bytes);
        client.harness.eof();
        assert!(!client.harness.is_open(), "seed {seed}");
        assert_nothing_left(&mut client, seed);
    }
}
