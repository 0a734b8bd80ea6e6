//! Messages longer than a read: what is read lands in the message's own buffer, which others had before.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

mod common;

use std::time::Duration;

use allocation_counter::measure;
use common::pieces::*;
use switchboard::Limits;
use switchboard_websocket::frame::{OpCode, Role};
use switchboard_websocket::{Message, WebSocket, message_fn};

/// Bytes of a message: several reads of the loop's.
const LONG: usize = 1 << 20;

fn whole() -> Pieces {
    Pieces { whole: true, ..Pieces::default() }
}

fn open(role: Role) -> Link {
    Link::open_with(role, whole(), settings(None), Limits::default())
}

fn text() -> String {
    "grüße, мир — 世界 hello 🦀 "
        .chars()
        .cycle()
        .scan(0, |size, it| {
            *size += it.len_utf8();
            (*size <= LONG).then_some(it)
        })
        .collect()
}

/// Feeds `frames` in pieces of so many bytes.
fn feed_in_pieces(link: &mut Link, frames: &[u8], piece: usize) {
    frames.chunks(piece).for_each(|bytes| link.harness.feed(bytes));
}

#[test]
fn text_and_binary_in_pieces_of_any_length() {
    let (text, binary) = (text(), (0..=250).cycle().take(LONG).collect::<Vec<u8>>());
    for role in ROLES {
        for piece in [997, 65_536, 262_144, 262_145, LONG - 1, LONG + 13, 3 * LONG] {
            let mut link = open(role);
            let frames = [
                link.frame(true, OpCode::Text, &text),
                link.frame(true, OpCode::Binary, &binary),
                link.frame(true, OpCode::Text, "short"),
            ];
            feed_in_pieces(&mut link, &frames.concat(), piece);
            let told: Vec<_> = link.app.take().into_iter().filter(|told| !matches!(told, Told::Begin(_))).collect();
            let expected = [Told::Text(text.clone()), Told::Binary(binary.clone()), Told::Text("short".to_owned())];
            assert!(told == expected, "{role:?} in pieces of {piece}");
            assert_eq!(link.held(), 0);
        }
    }
}

/// Messages that are read at once, or nearly: the last is waited for where it was read, in the loop's own buffer.
#[test]
fn what_a_read_has_cut_is_not_copied() {
    const SHORT: usize = 16_384;
    let long = text();
    for role in ROLES {
        for length in [100_000, 200_000, 262_144] {
            let cut = (0..=length).rev().find(|&end| long.is_char_boundary(end)).unwrap();
            let text = &long[..cut];
            for before in [0, 1, 5, 9] {
                let mut link = open(role);
                let mut frames: Vec<u8> =
                    (0..before).flat_map(|_| link.frame(true, OpCode::Binary, vec![7; SHORT])).collect();
                frames.extend(link.frame(true, OpCode::Text, text));
                let rest = frames.split_off(frames.len().min(262_144 + 5 * before));
                link.harness.feed(&frames);
                link.harness.feed(&rest);
                let told: Vec<_> = link.app.take().into_iter().filter(|told| !matches!(told, Told::Begin(_))).collect();
                assert_eq!(told.len(), before + 1);
                assert!(told.ends_with(&[Told::Text(text.to_owned())]), "{role:?}, {length} behind {before}");
                assert_eq!(link.held(), 0);
            }
        }
    }
    let mut link = open(Role::Server);
    let frame = link.frame(true, OpCode::Binary, vec![7; 262_144]);
    link.harness.feed(&frame);
    assert_eq!(link.app.take().len(), 2, "it begins and is there");
    assert_eq!(link.harness.core().spare_bytes(), 0, "no buffer of its own has been used for it");
    let mut invalid = long.into_bytes();
    invalid.truncate(262_144);
    invalid[262_143] = 0xff;
    let frame = link.frame(true, OpCode::Text, &invalid);
    link.harness.feed(&frame);
    assert!(!link.app.take().iter().any(|told| matches!(told, Told::Text(_))), "and checked all the same");
}

/// Fragments land behind one another, with control frames in between.
#[test]
fn fragments_land_in_one_buffer() {
    let text = text();
    for role in ROLES {
        let mut link = open(role);
        let mut frames = Vec::new();
        let parts: Vec<_> = text.as_bytes().chunks(200_001).collect(); // within characters
        for (index, part) in parts.iter().enumerate() {
            let opcode = if index == 0 { OpCode::Text } else { OpCode::Continuation };
            frames.extend(link.frame(index == parts.len() - 1, opcode, part));
            frames.extend(link.frame(true, OpCode::Pong, [b'0' + u8::try_from(index).unwrap()]));
        }
        feed_in_pieces(&mut link, &frames, 50_000);
        let told = link.app.take();
        assert!(told.contains(&Told::Text(text.clone())));
        assert_eq!(told.iter().filter(|told| matches!(told, Told::Pong(_))).count(), parts.len());
    }
}

/// RFC 6455 §8.1: at the byte that can't be right, not at the message's end, wherever it was read to.
#[test]
fn text_that_is_none_is_refused_where_it_is_seen() {
    for role in ROLES {
        for at in [1, 65_536, 200_000, LONG - 1] {
            let mut payload = vec![b'a'; LONG];
            payload[at] = 0xff;
            let mut link = open(role);
            let frame = link.frame(true, OpCode::Text, &payload);
            let start = frame.len() - LONG;
            feed_in_pieces(&mut link, &frame[..start + at], 30_000);
            assert!(link.harness.is_open());
            link.feed(&frame[start + at..=start + at]);
            assert!(!link.harness.is_open(), "refused after {at} bytes");
            assert!(link.error().contains("UTF-8"), "{}", link.error());
            assert_eq!(link.sent().last().unwrap().1[..2], 1007_u16.to_be_bytes());
            assert_eq!(link.held(), 0);
        }
        // Cut off within a character.
        let mut link = open(role);
        let frame = link.frame(true, OpCode::Text, [&vec![b'a'; LONG][..], b"\xe2\x82"].concat());
        feed_in_pieces(&mut link, &frame, 300_000);
        assert!(link.error().contains("UTF-8"), "{}", link.error());
    }
}

/// Never by what a header declares: a buffer of its own is at most twice as long as what has arrived; one that lay there
/// already, eight times.
#[test]
fn memory_follows_what_has_arrived() {
    for role in ROLES {
        for used in [false, true] {
            let mut link = open(role);
            if used {
                link.harness.core().give_spare(vec![0xaa; LONG]);
            }
            let frame = link.frame(true, OpCode::Binary, vec![7; LONG]);
            let mut arrived = 0;
            for piece in frame.chunks(10_000) {
                let info = measure(|| link.harness.feed(piece));
                arrived += piece.len();
                let (held, most) = (link.held(), if used { 8 } else { 2 } * arrived);
                assert!(held <= most, "{held} bytes are held, {arrived} have arrived");
                // The old buffer is there while the new one is filled; what the network in memory keeps is not the loop's.
                assert!(info.bytes_max <= 2 * arrived as u64 + 65_536, "{} for {arrived}", info.bytes_max);
            }
            assert_eq!(link.app.take().last(), Some(&Told::Binary(vec![7; LONG])));
            assert_eq!(link.held(), 0);
            assert!(link.harness.core().spare_bytes() >= LONG, "it lies there for the next");
            link.harness.advance(Duration::from_secs(1));
            assert_eq!(link.harness.core().spare_bytes(), 0, "and is given back if there is none");
        }
    }
}

/// Steady traffic of large messages asks the allocator for next to nothing.
#[test]
fn the_next_message_has_the_buffer_of_the_one_before() {
    let app = whole();
    app.on_piece.set(Does::Counts);
    let mut link = Link::open_with(Role::Server, app, settings(None), Limits::default());
    let frame = link.frame(true, OpCode::Binary, vec![7; LONG]);
    let mut feed = || frame.chunks(65_536).for_each(|piece| link.harness.feed(piece));
    feed();
    feed();
    let info = measure(|| (0..4).for_each(|_| feed()));
    // What the network in memory keeps of what is under way.
    let network = 4 * 16 * 65_536;
    assert!(info.bytes_total <= network + 65_536, "{} bytes for four messages", info.bytes_total);
    assert_eq!(link.app.bytes.get(), 6 * LONG as u64);
}

/// Pausing within a message keeps what follows it.
#[test]
fn the_handler_may_pause_with_what_landed() {
    let frames = |link: &Link| {
        [link.frame(true, OpCode::Binary, vec![7; 100_000]), link.frame(true, OpCode::Text, "behind")].concat()
    };
    let mut seen = 0;
    let socket = WebSocket::server(message_fn(move |peer, message: Message<'_>| {
        seen += 1;
        peer.send(if seen == 1 { Message::Text("first") } else { message });
        peer.pause_reading();
        peer.set_timer(Duration::from_secs(1));
        Ok(())
    }));
    let mut harness = switchboard::testkit::Harness::new(socket);
    harness.feed(common::UPGRADE.as_bytes());
    let _ = harness.take_sent();
    let frames = frames(&open(Role::Server));
    frames.chunks(40_000).for_each(|piece| harness.feed(piece));
    assert_eq!(frames_of(Role::Server, &harness.take_sent())[0].1, b"first");
    assert!(harness.core().held_bytes() > 0, "what followed waits, declared");
    harness.with(|cx| cx.resume_reading());
    assert_eq!(frames_of(Role::Server, &harness.take_sent())[0].1, b"behind");
}
