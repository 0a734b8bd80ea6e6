//! Messages: whole, fragmented, in every chunking; limits, and what is refused where it stands.

mod common;

use common::*;
use switchboard::{Blame, LimitExceeded, Limits};
use switchboard_websocket::Settings;
use switchboard_websocket::error::{MessageLimit, ProtocolError};
use switchboard_websocket::frame::{FrameError, OpCode};
use switchboard_websocket::utf8::InvalidUtf8;

/// A stream with every kind of frame, and what comes of it.
fn stream() -> (Vec<u8>, Vec<&'static str>, Frames) {
    let bytes = [
        text("whole"),
        ping("one"),
        frame(false, OpCode::Text, "frag"),
        ping("between"),
        frame(false, OpCode::Continuation, "ment"),
        frame(false, OpCode::Continuation, ""),
        frame(true, OpCode::Pong, "nobody asked"),
        frame(true, OpCode::Continuation, "ed é"),
        binary([7; 300]),
        text(""),
        frame(false, OpCode::Binary, [1; 126]),
        frame(true, OpCode::Continuation, [2; 200]),
        text("κόσμε 🦀"),
    ];
    let log = vec![
        "text whole",
        "pong nobody asked",
        "text fragmented é",
        "binary 300 2100",
        "text ",
        "binary 326 526",
        "text κόσμε 🦀",
    ];
    let pong = |payload: &str| (OpCode::Pong, payload.as_bytes().to_vec());
    let frames = vec![
        text_frame("whole"),
        pong("one"),
        pong("between"),
        text_frame("fragmented é"),
        (OpCode::Binary, vec![7; 300]),
        text_frame(""),
        (OpCode::Binary, [vec![1; 126], vec![2; 200]].concat()),
        text_frame("κόσμε 🦀"),
    ];
    (bytes.concat(), log, frames)
}

#[test]
fn every_split_of_a_stream_gives_the_same_events() {
    let (bytes, log, frames) = stream();
    for split in 0..=bytes.len() {
        let mut client = Client::open();
        client.feed(&bytes[..split]).feed(&bytes[split..]);
        assert_eq!(client.take_log(), log, "at {split}");
        assert_eq!(client.frames(), frames, "at {split}");
        assert_eq!(client.held(), 0, "at {split}");
    }
}

#[test]
fn every_chunk_size_and_random_chunks() {
    let (bytes, log, frames) = stream();
    for size in 1..40 {
        let mut client = Client::open();
        client.feed_chunks(&bytes, size);
        assert_eq!(client.take_log(), log, "chunks of {size}");
        assert_eq!(client.frames(), frames, "chunks of {size}");
        assert_eq!(client.held(), 0);
    }
    let mut random = fastrand::Rng::with_seed(4);
    for round in 0..200 {
        let mut client = Client::open();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(random.usize(1..=rest.len().min(200)));
            client.feed(chunk);
            rest = after;
        }
        assert_eq!(client.take_log(), log, "round {round}");
        assert_eq!(client.frames(), frames, "round {round}");
    }
}

/// Damaged at random, fed in two chunkings: the same events, the same answer, the same end.
#[test]
fn any_chunking_of_any_damage_comes_to_the_same() {
    let (bytes, ..) = stream();
    let mut random = fastrand::Rng::with_seed(5);
    let mut ended = 0;
    for round in 0..300 {
        let mut damaged = bytes.clone();
        for _ in 0..4 {
            damaged[random.usize(..bytes.len())] ^= 1 << random.u8(..8);
        }
        let mut outcomes = [bytes.len(), 1, random.usize(2..50)].map(|size| {
            let mut client = Client::open();
            client.feed_chunks(&damaged, size);
            let end = client.harness.close_reason().map(ToString::to_string);
            (client.take_log(), client.frames(), end)
        });
        ended += u32::from(outcomes[0].2.is_some());
        // A frame whose end never comes holds what follows back, a control frame's until it is whole: what was done
        // until the end of the stream is the same all the same.
        let (whole, parts) = outcomes.split_first_mut().unwrap();
        for part in parts {
            assert_eq!(part, whole, "round {round}");
        }
    }
    assert!(ended > 50, "the damage is noticed, now and then");
}

/// Any stream at all gives events or one error, never a panic, and never more memory than the limits allow.
#[test]
fn any_stream_at_all() {
    let mut random = fastrand::Rng::with_seed(6);
    let likely = [0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a, 0xfe, 0xff, 0x85, 0x83];
    let settings = Settings { max_message: 500, max_fragments: 5, ..Settings::default() };
    for round in 0..3000 {
        let mut client = Client::open_with(settings.clone());
        for _ in 0..random.usize(..8) {
            let noise: Vec<u8> = (0..random.usize(..60))
                .map(|_| if random.u8(..4) > 0 { likely[random.usize(..likely.len())] } else { random.u8(..) })
                .collect();
            let frames = [text("x"), frame(false, OpCode::Text, "y"), frame(true, OpCode::Continuation, "z"), noise];
            client.feed(&frames[random.usize(..4)]);
            assert!(client.held() < 6000, "round {round}: {} held", client.held());
        }
        let closed = client.harness.close_reason().map(|reason| reason.blame());
        assert!(matches!(closed, None | Some(None | Some(Blame::Peer | Blame::Limit))), "round {round}: {closed:?}");
        let frames = client.frames();
        let behind = frames.iter().skip_while(|(opcode, _)| *opcode != OpCode::Close).count();
        assert!(behind <= 1, "round {round}: nothing follows a close frame: {frames:?}");
        assert_eq!(behind == 1, closed.is_some(), "round {round}: and none goes without one");
    }
}

#[test]
fn a_message_of_a_mebibyte_in_pieces() {
    let payload: Vec<u8> = (0..1 << 20).map(|index: u32| index.to_le_bytes()[0]).collect();
    let bytes = binary(&payload);
    let mut client = Client::open();
    let mut most = 0;
    for (index, chunk) in bytes.chunks(50_000).enumerate() {
        client.feed(chunk);
        let arrived = ((index + 1) * 50_000).min(bytes.len());
        assert!(client.held() <= 2 * arrived + 4096, "{} held of {arrived}", client.held());
        most = most.max(client.held());
    }
    assert!(most >= 1 << 19, "it is accounted for: {most}");
    assert_eq!(client.frames(), [(OpCode::Binary, payload)]);
    assert_eq!(client.held(), 0, "and given back");
}

#[test]
fn no_memory_by_a_declared_length() {
    let mut client = Client::open();
    client.feed(&binary(vec![0; 15 << 20])[..100]);
    assert!(client.held() < 1024, "{} held for 100 bytes", client.held());
}

#[test]
fn text_is_refused_at_the_first_byte_that_cannot_be_right() {
    // A frame that declares more than ever comes; the last byte shown is the one that can't be right.
    for begin in ["ok \u{7ff}".as_bytes(), b""] {
        for bad in [&b"\xff"[..], b"\xc0", b"\xed\xa0", b"\xf4\x90", b"\xe0\x80", b"a\x80", b"\xf0\x9f\x41"] {
            let payload = [begin, bad, &[b'x'; 400]].concat();
            let bytes = frame(false, OpCode::Text, &payload);
            let header = bytes.len() - payload.len();
            let at = header + begin.len() + bad.len();
            let mut client = Client::open();
            client.feed(&bytes[..at - 1]);
            assert!(client.harness.is_open(), "{bad:x?} too early");
            client.feed(&bytes[at - 1..at]);
            assert_eq!(client.error::<ProtocolError>(), ProtocolError::Text(InvalidUtf8), "{bad:x?}");
            assert_eq!(client.frames(), [close_frame(1007, "text is not valid UTF-8 (RFC 6455 §8.1)")]);
            assert_eq!(client.take_log(), [r#"close 1007 "text is not valid UTF-8 (RFC 6455 §8.1)" by us, unclean"#]);
        }
    }
}

#[test]
fn text_that_ends_in_a_character() {
    for bytes in [
        frame(true, OpCode::Text, b"\xe2\x82"),
        [frame(false, OpCode::Text, b"\xe2"), frame(true, OpCode::Continuation, b"\x82")].concat(),
        [frame(false, OpCode::Text, b"\xe2\x82"), frame(true, OpCode::Continuation, b"")].concat(),
    ] {
        for split in [bytes.len(), bytes.len() - 1, 3] {
            let mut client = Client::open();
            client.feed(&bytes[..split]).feed(&bytes[split..]);
            assert_eq!(client.error::<ProtocolError>(), ProtocolError::Text(InvalidUtf8), "{bytes:x?} at {split}");
        }
    }
    let mut client = Client::open();
    client.feed(binary(b"\xe2\x82\xff"));
    assert_eq!(client.frames(), [(OpCode::Binary, b"\xe2\x82\xff".to_vec())], "bytes need not be text");
}

#[test]
fn an_invalid_header_is_refused_with_the_octet_that_shows_it() {
    for (bytes, error) in [
        (&[0xf1][..], FrameError::ReservedBits(7)),
        (&[0x83], FrameError::ReservedOpCode(3)),
        (&[0x80], FrameError::UnexpectedContinuation),
        (&[0x08], FrameError::FragmentedControl),
        (&[0x81, 0x05], FrameError::NotMasked),
        (&[0x89, 0xfe], FrameError::LongControl),
        (&[0x82, 0xfe, 0, 125], FrameError::LengthNotMinimal),
        (&[0x82, 0xff, 0, 0, 0, 0, 0, 0], FrameError::LengthNotMinimal),
        (&[0x82, 0xff, 0x80], FrameError::LengthTooLarge),
    ] {
        for before in [vec![], text("before"), ping("x")] {
            let mut client = Client::open();
            client.feed(&before).feed(&bytes[..bytes.len() - 1]);
            assert!(client.harness.is_open(), "{error}: too early");
            client.feed(&bytes[bytes.len() - 1..]);
            assert_eq!(client.error::<ProtocolError>(), ProtocolError::Frame(error));
            assert_eq!(client.harness.close_reason().unwrap().blame(), Some(Blame::Peer));
            let frames = client.frames();
            assert_eq!(frames.last(), Some(&close_frame(1002, &error.to_string())), "answered in full");
            assert_eq!(frames.len(), usize::from(!before.is_empty()) + 1);
        }
    }
    let mut client = Client::open();
    client.feed(frame(false, OpCode::Text, "a")).feed([0x81]);
    assert_eq!(client.error::<ProtocolError>(), ProtocolError::Frame(FrameError::ExpectedContinuation));
}

#[test]
fn what_comes_behind_an_error_is_not_looked_at() {
    let mut client = Client::open();
    client.feed([text("good"), vec![0xff], text("behind"), ping("behind")].concat());
    client.feed(text("later"));
    assert_eq!(client.frames().len(), 2, "the echo and the close frame");
    let log = client.take_log();
    assert_eq!(log.len(), 2, "{log:?}");
    assert_eq!(log[0], "text good");
}

fn small() -> Settings {
    Settings { max_message: 1000, max_fragments: 4, ..Settings::default() }
}

#[test]
fn too_big_is_refused_at_the_header() {
    let mut client = Client::open_with(small());
    client.feed(binary([0; 1000]));
    assert_eq!(client.frames().len(), 1, "as much as is allowed");
    client.feed(&binary([0; 1001])[..8]);
    assert_eq!(client.error::<MessageLimit>(), MessageLimit::Size { size: 1001, limit: 1000 });
    assert_eq!(client.frames(), [close_frame(1009, "max_message: a message of 1001 bytes or more, 1000 allowed")]);
    assert_eq!(client.harness.close_reason().unwrap().blame(), Some(Blame::Limit));

    let mut client = Client::open_with(small());
    client.feed(binary([0; 1001]));
    assert_eq!(
        client.error::<MessageLimit>(),
        MessageLimit::Size { size: 1001, limit: 1000 },
        "whole in the read, too"
    );

    let mut client = Client::open_with(small());
    client.feed(frame(false, OpCode::Binary, [0; 600])).feed(&frame(true, OpCode::Continuation, [0; 401])[..8]);
    assert_eq!(client.error::<MessageLimit>(), MessageLimit::Size { size: 1001, limit: 1000 });
    assert_eq!(client.held(), 0);

    let mut client = Client::open_with(small());
    client.feed([0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4]);
    assert_eq!(client.error::<MessageLimit>(), MessageLimit::Size { size: u64::MAX >> 1, limit: 1000 });
}

#[test]
fn too_many_fragments() {
    let mut client = Client::open_with(small());
    client.feed(frame(false, OpCode::Text, ""));
    client.feed(frame(false, OpCode::Continuation, "").repeat(2)).feed(frame(true, OpCode::Continuation, "4"));
    assert_eq!(client.frames(), [text_frame("4")], "as many as are allowed");
    client.feed(frame(false, OpCode::Text, "")).feed(frame(false, OpCode::Continuation, "").repeat(4));
    assert_eq!(client.error::<MessageLimit>(), MessageLimit::Fragments { limit: 4 });
    assert_eq!(client.frames(), [close_frame(1009, "max_fragments: a message of more than 4 fragments")]);
}

#[test]
fn fragments_cost_no_memory() {
    let mut client = Client::open();
    client.feed(frame(false, OpCode::Text, "x"));
    let held = client.held();
    for _ in 0..100 {
        client.feed(frame(false, OpCode::Continuation, "").repeat(1000));
        assert_eq!(client.held(), held);
    }
    client.feed(frame(true, OpCode::Continuation, "y"));
    assert_eq!(client.frames(), [text_frame("xy")]);
}

#[test]
fn the_loops_memory_is_a_limit_too() {
    let settings = Settings { max_message: 90_000, ..Settings::default() };
    let limits = Limits { loop_memory: 90_000, ..Limits::default() };
    let mut client = Client::with(false, settings, limits).upgraded();
    let bytes = binary([0; 90_000]);
    client.feed_chunks(&bytes, 10_000);
    assert_eq!(client.take_log(), ["binary 90000 0"], "the largest message fits, alone");

    // Output that waits takes some of it.
    client.harness.set_window(0);
    client.feed(ping("x")).feed(&bytes);
    assert_eq!(client.take_log(), ["binary 90000 0"], "a message whole in the read needs nothing");
    client.feed_chunks(&bytes, 45_000);
    client.harness.set_window(usize::MAX);
    assert!(matches!(client.error::<LimitExceeded>(), LimitExceeded::LoopMemory { limit: 90_000, .. }));
    assert_eq!(client.frames(), [(OpCode::Pong, b"x".to_vec()), close_frame(1013, "")]);
    assert_eq!(client.held(), 0);
}

#[test]
fn a_handler_that_fails() {
    let mut client = Client::open();
    client.feed([text("one"), text("fail"), text("two")].concat());
    assert_eq!(client.frames(), [text_frame("one"), close_frame(1011, "")]);
    assert_eq!(client.take_log(), ["text one", r#"close 1011 "" by us, unclean"#]);
    let reason = client.harness.close_reason().unwrap();
    assert_eq!((reason.blame(), reason.error().unwrap().to_string()), (Some(Blame::Caller), "told to fail".to_owned()));

    let mut client = Client::open();
    client.feed(frame(false, OpCode::Text, "fa")).feed(frame(true, OpCode::Continuation, "il"));
    assert_eq!(client.frames(), [close_frame(1011, "")], "in a message that was put together, too");
    assert_eq!(client.held(), 0);
}

#[test]
fn a_handler_that_cuts_off() {
    let mut client = Client::open();
    client.feed([text("abort"), text("two")].concat());
    assert!(client.close_reason().starts_with("aborted"));
    assert_eq!(client.take_log(), [r#"close 1006 "" by us, unclean"#]);
}
