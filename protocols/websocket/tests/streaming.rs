//! Messages that are received in pieces.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

mod common;

use common::pieces::*;
use fastrand::Rng;
use switchboard::testkit::Harness;
use switchboard::{Failure, Limits};
use switchboard_websocket::deflate::{Deflater, WindowBits};
use switchboard_websocket::error::{MessageLimit, UsageError};
use switchboard_websocket::frame::{OpCode, Role};
use switchboard_websocket::{Begin, Delivery, Handler, Message, Peer, Settings, WebSocket};

fn text(piece: &str, last: bool) -> Told {
    Told::TextPiece(piece.to_owned(), last)
}

fn binary(piece: impl AsRef<[u8]>, last: bool) -> Told {
    Told::BinaryPiece(piece.as_ref().to_vec(), last)
}

fn begins(told: &Told) -> Begin {
    let Told::Begin(begin) = told else { panic!("{told:?}") };
    *begin
}

#[test]
fn pieces_come_as_they_arrive() {
    for role in ROLES {
        let mut link = Link::open(role, None);
        let message = link.frame(true, OpCode::Text, "a héllo");
        let cut = message.len() - 4; // within the é
        link.feed(&message[..cut]);
        let told = link.app.take();
        let begin = begins(&told[0]);
        assert_eq!((begin.is_text, begin.is_compressed, begin.payload, begin.fin), (true, false, 8, true));
        assert_eq!(begin.length(), Some(8));
        assert_eq!(told[1..], [text("a h", false)]);
        link.feed(&message[cut..]);
        assert_eq!(link.app.take(), [text("é", false), text("llo", true)]);
        assert_eq!(link.held(), 0);

        link.feed(link.frame(false, OpCode::Binary, [1, 2]));
        let told = link.app.take();
        assert_eq!(begins(&told[0]).length(), None, "more frames are to come");
        assert_eq!(told[1..], [binary([1, 2], false)]);
        let rest = [
            link.frame(true, OpCode::Ping, "?"),
            link.frame(true, OpCode::Pong, "!"),
            link.frame(false, OpCode::Continuation, ""),
            link.frame(false, OpCode::Continuation, [3]),
            link.frame(true, OpCode::Continuation, ""),
            link.frame(true, OpCode::Binary, [4]),
        ];
        link.feed(rest.concat());
        let expected = [Told::Pong(b"!".to_vec()), binary([3], false), binary([], true), Told::Binary(vec![4])];
        assert_eq!(link.app.take(), expected, "the last one lies whole in the read");
        assert_eq!(link.sent().len(), 1, "a pong");
    }
}

#[test]
fn a_message_that_is_wanted_whole() {
    let app = Pieces { whole: true, ..Pieces::default() };
    let mut link = Link::open_with(Role::Server, app, settings(None), Limits::default());
    link.feed(link.frame(false, OpCode::Text, "in "));
    link.feed(link.frame(true, OpCode::Continuation, "two"));
    assert_eq!(link.app.take()[1..], [Told::Text("in two".to_owned())]);
}

/// Says that it wants pieces, and does not take them.
struct Forgetful;

impl Handler for Forgetful {
    fn on_begin(&mut self, _: &mut Peer<'_, '_>, _: &Begin) -> Result<Delivery, Failure> {
        Ok(Delivery::Pieces)
    }

    fn on_message(&mut self, _: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

#[test]
fn pieces_are_not_lost_silently() {
    let mut harness = Harness::new(WebSocket::server(Forgetful));
    harness.feed(common::UPGRADE.as_bytes());
    harness.feed(&frame(Role::Server, false, false, OpCode::Text, b"x"));
    let error = harness.close_reason().unwrap().error().unwrap().downcast_ref();
    assert_eq!(error, Some(&UsageError::NoOnPiece));
}

/// What comes compressed is asked about wherever it lies, for nobody knows how long it will be.
#[test]
fn compressed_messages_in_pieces() {
    for role in ROLES {
        for compression in [SHARED, DEDICATED] {
            let mut link = Link::open(role, Some(compression));
            let mut deflater = Deflater::new(WindowBits::MAX, 9);
            for message in ["", "héllo, wörld 🦀", &"🦀é".repeat(5000)] {
                let mut payload = Vec::new();
                deflater.deflate(message.as_bytes(), &mut payload);
                if compression == SHARED {
                    deflater.reset();
                }
                for chunk in [1, 7, 100_000] {
                    let bytes = frame(role, true, true, OpCode::Text, &payload);
                    for part in bytes.chunks(chunk) {
                        link.feed(part);
                    }
                    let told = link.app.take_joined();
                    let begin = begins(&told[0]);
                    assert_eq!(
                        (begin.is_compressed, begin.payload, begin.length()),
                        (true, payload.len() as u64, None)
                    );
                    assert_eq!(told[1..], [text(message, true)]);
                    if compression == DEDICATED {
                        break; // each message refers back to the ones before
                    }
                }
            }
            link.feed(link.frame(true, OpCode::Binary, [1]));
            assert_eq!(link.app.take(), [Told::Binary(vec![1])]);
        }
    }
}

/// A read that inflates to a megabyte is given out in portions; the handler stops it wherever it likes.
#[test]
fn pausing_within_a_message() {
    for role in ROLES {
        for compressed in [false, true] {
            let mut link = Link::open(role, compressed.then_some(SHARED));
            let message = vec![0; 1 << 20];
            let payload = if compressed { deflated(&message) } else { message.clone() };
            let behind = link.frame(true, OpCode::Text, "behind");
            link.app.on_piece.set(Does::Pauses);
            link.feed([frame(role, true, compressed, OpCode::Binary, &payload), behind].concat());
            let (mut arrived, mut pieces) = (0, 0);
            loop {
                let told = link.app.take();
                if told == [Told::Text("behind".to_owned())] {
                    break;
                }
                let Some(Told::BinaryPiece(piece, _)) = told.last() else { panic!("{told:?}") };
                assert_eq!(told.len(), if pieces == 0 { 2 } else { 1 }, "one piece for each resumption");
                arrived += piece.len();
                pieces += 1;
                assert!(link.held() < 2 * message.len(), "{}", link.held());
                link.resume();
            }
            assert_eq!(arrived, message.len());
            assert!(pieces > if compressed { 100 } else { 3 }, "{pieces}");
            assert_eq!(link.held(), 0);
        }
    }
}

#[test]
fn pausing_when_a_message_begins() {
    for compressed in [false, true] {
        let mut link = Link::open(Role::Server, Some(SHARED));
        let payload = if compressed { deflated("all of it") } else { b"all of it".to_vec() };
        link.app.on_begin.set(Does::Pauses);
        link.feed(frame(Role::Server, false, compressed, OpCode::Text, &payload));
        assert_eq!(link.app.take().len(), 1, "nothing but its beginning");
        link.resume();
        link.feed(link.frame(true, OpCode::Continuation, ""));
        assert_eq!(link.app.take_joined(), [text("all of it", true)]);
    }
    // Of an empty one nothing would be left to come later: it comes at once, and nobody is asked.
    for role in ROLES {
        let mut link = Link::open(role, Some(SHARED));
        link.app.on_begin.set(Does::Pauses);
        link.feed(frame(role, true, true, OpCode::Text, b""));
        assert_eq!(link.app.take(), [Told::Text(String::new())]);
    }
}

/// An echo in pieces to a peer that does not read it: what is not read stops there.
#[test]
fn who_does_not_take_the_answers_is_not_asked_for_more() {
    for compressed in [false, true] {
        let limits = Limits { high_water: 20_000, low_water: 5_000, ..Limits::default() };
        let mut link =
            Link::open_with(Role::Server, Pieces::default(), settings(compressed.then_some(SHARED)), limits.clone());
        link.app.on_piece.set(Does::Echoes);
        link.harness.set_window(0);
        let mut random = Rng::with_seed(7);
        let message: Vec<u8> = (0..2_000_000).map(|_| random.u8(b'a'..b'c')).collect();
        let payload = if compressed { deflated(&message) } else { message.clone() };
        for chunk in frame(Role::Server, true, compressed, OpCode::Binary, &payload).chunks(10_000) {
            link.feed(chunk);
        }
        let waiting = link.harness.core().held_bytes();
        let decompressor = if compressed { 500_000 } else { 0 }; // and a compressor
        assert!(
            waiting < limits.receive_buffer + 2 * limits.high_water + limits.read_budget + decompressor,
            "{waiting}"
        );
        let arrived = link.app.bytes.get();
        assert!(arrived < 600_000, "{arrived}");
        let mut bytes = Vec::new();
        while link.app.bytes.get() < 2_000_000 {
            link.harness.set_window(50_000);
            bytes.extend(link.harness.take_sent());
        }
        link.harness.set_window(usize::MAX);
        bytes.extend(link.harness.take_sent());
        let frames = frames_of(Role::Server, &bytes);
        assert!(frames.len() > 10 && frames.last().unwrap().0.fin);
        assert!(frames.iter().all(|(header, _)| header.compressed == (compressed && header.opcode == OpCode::Binary)));
        let echo: Vec<u8> = frames.into_iter().flat_map(|(_, payload)| payload).collect();
        let echo = if compressed {
            switchboard_websocket::deflate::Inflater::new().message(&echo, 3_000_000).unwrap()
        } else {
            echo
        };
        assert!(echo == message);
        assert_eq!(link.held(), 0);
    }
}

#[test]
fn limits_of_their_own() {
    let settings = |max_streamed, max_streamed_fragments| Settings {
        max_message: 100,
        max_fragments: 2,
        max_streamed,
        max_streamed_fragments,
        ..settings(Some(SHARED))
    };
    for role in ROLES {
        // By the header.
        let mut link = Link::open_with(role, Pieces::default(), settings(1000, 5), Limits::default());
        link.feed(link.frame(false, OpCode::Binary, [0; 1000]));
        let header = link.frame(true, OpCode::Continuation, [0]);
        link.feed(&header[..header.len() - 1]);
        let error = MessageLimit::Streamed { size: 1001, limit: 1000 };
        assert_eq!(link.error(), error.to_string());
        assert_eq!(link.sent()[0].1[..2], 1009_u16.to_be_bytes());
        // By what it inflates to, which is given out so far.
        let mut link = Link::open_with(role, Pieces::default(), settings(100_000, 5), Limits::default());
        link.app.on_piece.set(Does::Counts);
        link.feed(frame(role, true, true, OpCode::Binary, &deflated([0; 100_001])));
        assert!(link.error().starts_with("max_streamed: "), "{}", link.error());
        assert!(link.app.bytes.get() > 90_000 && link.app.bytes.get() <= 100_000);
        assert_eq!(link.held(), 0);
        let mut link = Link::open_with(role, Pieces::default(), settings(100_000, 5), Limits::default());
        link.app.on_piece.set(Does::Counts);
        link.feed(frame(role, true, true, OpCode::Binary, &deflated([0; 100_000])));
        assert!(link.harness.is_open() && link.app.bytes.get() == 100_000);
        // By fragments.
        let mut link = Link::open_with(role, Pieces::default(), settings(100, 5), Limits::default());
        link.feed(link.frame(false, OpCode::Binary, ""));
        for _ in 0..4 {
            link.feed(link.frame(false, OpCode::Continuation, ""));
        }
        assert!(link.harness.is_open());
        link.feed(link.frame(false, OpCode::Continuation, ""));
        assert_eq!(link.error(), MessageLimit::StreamedFragments { limit: 5 }.to_string());
        // A length of 63 bits is no number to allocate by, nor to overflow with.
        for payload in [u64::MAX >> 1, 1 << 62] {
            let unlimited = Settings { max_streamed: u64::MAX, ..settings(0, 5) };
            let mut link = Link::open_with(role, Pieces::default(), unlimited, Limits::default());
            link.feed(link.frame(false, OpCode::Binary, [1, 2]));
            let header = [&[0x80, if role == Role::Server { 0xff } else { 0x7f }][..], &payload.to_be_bytes(), &[0; 4]];
            let payload_begins = header.concat();
            link.feed(&payload_begins[..if role == Role::Server { 14 } else { 10 }]).feed([3, 4]);
            assert_eq!(link.app.take()[1..], [binary([1, 2], false), binary([3, 4], false)]);
            link.feed(vec![0; 100_000]);
            assert!(link.harness.is_open());
            assert_eq!(link.held(), 0);
        }
    }
}

/// Text is refused at the first byte that can't be right, inside a frame that is not complete.
#[test]
fn text_is_refused_at_the_first_byte_that_cannot_be_right() {
    let bad: [&[u8]; 5] = [b"ok\xff", b"ok\xc3a", b"\xed\xa0", b"\xf4\x90", b"ok \xe2\x82\x28"];
    for role in ROLES {
        for bytes in bad {
            for whole in [false, true] {
                // The message would have a kilobyte more; nothing of it has come.
                let mut message = frame(role, true, false, OpCode::Text, &[bytes, &[b'x'; 1000]].concat());
                message.truncate(message.len() - 1000);
                let app = Pieces { whole, ..Pieces::default() };
                let mut link = Link::open_with(role, app, settings(None), Limits::default());
                link.feed(&message[..message.len() - 1]);
                assert!(link.harness.is_open(), "{bytes:x?}");
                link.feed(&message[message.len() - 1..]);
                assert!(!link.harness.is_open(), "{bytes:x?}");
                assert_eq!(link.sent()[0].1[..2], 1007_u16.to_be_bytes());
                assert_eq!(link.held(), 0);
                // The same compressed: as much as has been inflated is checked.
                let mut flushed = deflated(bytes);
                flushed.extend([0x00, 0x00, 0xff, 0xff]);
                let mut message = frame(role, true, true, OpCode::Text, &[&flushed[..], &[0; 1000]].concat());
                message.truncate(message.len() - 1000);
                let app = Pieces { whole, ..Pieces::default() };
                let mut link = Link::open_with(role, app, settings(Some(SHARED)), Limits::default());
                link.feed(&message);
                assert!(!link.harness.is_open(), "{bytes:x?}");
                assert_eq!(link.sent()[0].1[..2], 1007_u16.to_be_bytes());
            }
        }
        // It ends within a character: with the last byte of a frame, and with a frame of none.
        for compressed in [false, true] {
            let payload = if compressed { deflated(b"ok\xe2\x82") } else { b"ok\xe2\x82".to_vec() };
            let mut link = Link::open(role, Some(SHARED));
            let message = frame(role, true, compressed, OpCode::Text, &payload);
            link.feed(&message[..message.len() - 1]);
            assert!(link.harness.is_open());
            link.feed(&message[message.len() - 1..]);
            assert_eq!(link.sent()[0].1[..2], 1007_u16.to_be_bytes());
            assert!(!link.app.take().iter().any(|told| matches!(told, Told::TextPiece(_, true))), "no last piece");
            let payload = if compressed { deflated(b"ok\xf0\x9f\xa6") } else { b"ok\xf0\x9f\xa6".to_vec() };
            let mut link = Link::open(role, Some(SHARED));
            link.feed(frame(role, false, compressed, OpCode::Text, &payload));
            assert_eq!(link.app.take_joined()[1..], [text("ok", false)]);
            link.feed(link.frame(true, OpCode::Continuation, ""));
            assert_eq!(link.sent()[0].1[..2], 1007_u16.to_be_bytes());
            let told = link.app.take();
            assert_eq!(told, [Told::Closed("1007 by us, unclean, 0 unsent".to_owned())], "no last piece");
        }
    }
}

#[test]
fn a_compressed_message_that_is_broken() {
    for role in ROLES {
        let mut link = Link::open(role, Some(SHARED));
        let whole = deflated("a message that is cut off");
        link.feed(frame(role, true, true, OpCode::Text, &whole[..whole.len() - 3]));
        assert_eq!(link.sent()[0].1[..2], 1007_u16.to_be_bytes());
        assert!(!link.app.take().iter().any(|told| matches!(told, Told::TextPiece(_, true))), "no last piece");
        let mut link = Link::open(role, Some(SHARED));
        link.feed(frame(role, true, true, OpCode::Text, &[0xff; 100]));
        assert_eq!(link.sent()[0].1[..2], 1007_u16.to_be_bytes());
    }
}
