//! Messages that are sent in pieces.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

mod common;
#[path = "sending_pieces/compressed.rs"]
mod compressed;

use std::time::Duration;

use common::pieces::*;
use common::{ping, text as masked_text};
use fastrand::Rng;
use switchboard::{LimitExceeded, Limits};
use switchboard_websocket::error::UsageError;
use switchboard_websocket::frame::{Header, OpCode, Role};
use switchboard_websocket::{CloseCode, Message, Post};

const SECOND: Duration = Duration::from_secs(1);

/// A frame, in short: whether it is the last of its message, whether it is compressed, its opcode, its payload.
type Short = (bool, bool, OpCode, Vec<u8>);

fn short((header, payload): (Header, Vec<u8>)) -> Short {
    (header.fin, header.compressed, header.opcode, payload)
}

fn plain(fin: bool, opcode: OpCode, payload: impl AsRef<[u8]>) -> Short {
    (fin, false, opcode, payload.as_ref().to_vec())
}

impl Link {
    fn text(&mut self, piece: &str, last: bool) {
        self.with_peer(|peer| peer.send_piece(Message::Text(piece), last)).unwrap();
    }

    fn binary(&mut self, piece: &[u8], last: bool) {
        self.with_peer(|peer| peer.send_piece(Message::Binary(piece), last)).unwrap();
    }

    fn shorts(&mut self) -> Vec<Short> {
        self.sent().into_iter().map(short).collect()
    }
}

#[test]
fn each_piece_is_a_frame() {
    for role in ROLES {
        let mut link = Link::open(role, None);
        link.text("é", false);
        assert_eq!(link.shorts(), [plain(false, OpCode::Text, "é")], "at once");
        link.text("", false);
        assert_eq!(link.shorts(), [], "nothing says nothing");
        link.text(&"x".repeat(70_000), false);
        assert_eq!(link.shorts(), [plain(false, OpCode::Continuation, "x".repeat(70_000))]);
        assert!(link.with_peer(|peer| peer.is_sending()));
        link.text("", true);
        assert_eq!(link.shorts(), [plain(true, OpCode::Continuation, "")]);
        assert!(!link.with_peer(|peer| peer.is_sending()));

        link.binary(&[1], true);
        assert_eq!(link.shorts(), [plain(true, OpCode::Binary, [1])], "a message of one piece is a message");
        link.binary(&[], false);
        assert!(link.with_peer(|peer| peer.is_sending()));
        assert_eq!(link.shorts(), []);
        link.binary(&[2], false);
        link.binary(&[3], true);
        assert_eq!(link.shorts(), [plain(false, OpCode::Binary, [2]), plain(true, OpCode::Continuation, [3])]);
        link.binary(&[], false);
        link.binary(&[], true);
        assert_eq!(link.shorts(), [plain(true, OpCode::Binary, [])]);
        assert_eq!(link.held(), 0);
    }
}

/// RFC 6455 §5.4: "The fragments of one message MUST NOT be interleaved between the fragments of another message".
#[test]
fn other_messages_wait_and_control_frames_do_not() {
    for role in ROLES {
        let mut link = Link::open(role, None);
        link.text("one, ", false);
        let before = link.held();
        link.with_peer(|peer| {
            peer.text("two");
            peer.ping(b"between").unwrap();
            peer.binary_shared(b"three");
            assert!(peer.has_room());
            assert!(peer.backlog() > 8, "what waits is output");
        });
        link.harness.post(Post::Text("four".into())).unwrap();
        link.feed(link.frame(true, OpCode::Ping, "asked"));
        assert!(link.held() > before + 12, "what waits is charged: {}", link.held());
        let control = |opcode, payload: &str| plain(true, opcode, payload);
        assert_eq!(
            link.shorts(),
            [plain(false, OpCode::Text, "one, "), control(OpCode::Ping, "between"), control(OpCode::Pong, "asked"),]
        );
        link.text("one.", true);
        assert_eq!(
            link.shorts(),
            [
                plain(true, OpCode::Continuation, "one."),
                plain(true, OpCode::Text, "two"),
                plain(true, OpCode::Binary, "three"),
                plain(true, OpCode::Text, "four"),
            ]
        );
        assert_eq!(link.held(), 0);
        link.with_peer(|peer| peer.text("five"));
        assert_eq!(link.shorts(), [plain(true, OpCode::Text, "five")]);
    }
}

#[test]
fn the_heartbeat_goes_on_within_a_message() {
    let settings = switchboard_websocket::Settings::default();
    let mut link = Link::open_with(Role::Server, Pieces::default(), settings, Limits::default());
    link.binary(&[1], false);
    link.harness.advance(31 * SECOND);
    let frames = link.shorts();
    assert_eq!(frames[0], plain(false, OpCode::Binary, [1]));
    assert!(matches!(&frames[1], (true, false, OpCode::Ping, payload) if payload.starts_with(b"beat")), "{frames:?}");
    link.harness.advance(31 * SECOND);
    assert!(link.error().contains("no sign of life"), "{}", link.error());
    assert_eq!(link.app.take(), [Told::Closed("1006 by us, unclean, 1 unsent".to_owned())]);
}

#[test]
fn kinds_do_not_mix() {
    for role in ROLES {
        let mut link = Link::open(role, None);
        link.text("text, ", false);
        let mixed = link.with_peer(|peer| peer.send_piece(Message::Binary(&[1]), true)).unwrap_err();
        assert_eq!(mixed.error().downcast_ref(), Some(&UsageError::MixedPieces));
        link.text("and text", true);
        assert_eq!(link.shorts().len(), 2, "the message goes on, if its sender does");
        link.binary(&[1], false);
        link.with_peer(|peer| peer.send_piece(Message::Text("x"), false)).unwrap_err();
    }
}

#[test]
fn outside_of_the_open_phase_nothing_is_sent() {
    let mut link = Link::open(Role::Server, None);
    link.with_peer(|peer| {
        peer.close(CloseCode::NORMAL, "").unwrap();
        for last in [false, false, true] {
            peer.send_piece(Message::Text("late"), last).unwrap();
        }
        assert!(!peer.is_sending());
    });
    assert_eq!(link.shorts().len(), 1, "the close frame");
    link.feed(link.close_frame(1000));
    assert_eq!(link.app.take(), [Told::Closed("1000 by us, clean, 1 unsent".to_owned())]);
}

#[test]
fn what_breaks_off_and_what_waits_behind_it_is_counted() {
    for role in ROLES {
        for (how, told, code) in [
            (0, "1000 by us, clean, 3 unsent", Some(1000)),
            (1, "1001 by peer, clean, 3 unsent", Some(1001)),
            (2, "1006 by us, unclean, 3 unsent", None),
            (3, "1006 by us, unclean, 3 unsent", None),
            (4, "1002 by us, unclean, 3 unsent", Some(1002)),
            (5, "1001 by us, clean, 3 unsent", Some(1001)),
        ] {
            for compression in [None, Some(SHARED), Some(DEDICATED)] {
                let mut link = Link::open(role, compression);
                link.text("begun", false);
                link.with_peer(|peer| {
                    peer.text("waits");
                    peer.binary(b"waits, too");
                });
                let _ = link.sent();
                match how {
                    0 => link.with_peer(|peer| peer.close(CloseCode::NORMAL, "")).unwrap(),
                    1 => drop(link.feed(link.close_frame(1001))),
                    2 => link.with_peer(|peer| peer.abort()),
                    3 => link.harness.eof(),
                    4 => drop(link.feed([0xff; 10])),
                    _ => link.harness.shutdown(60 * SECOND),
                }
                let frames = if how == 2 { vec![] } else { link.shorts() };
                let codes = frames.iter().map(|(.., payload)| u16::from_be_bytes([payload[0], payload[1]]));
                assert_eq!(
                    codes.collect::<Vec<_>>(),
                    Vec::from_iter(code),
                    "a close frame between frames, and no more"
                );
                if how == 0 || how == 5 {
                    link.feed(link.close_frame(1000));
                }
                link.harness.eof();
                assert_eq!(link.app.take(), [Told::Closed(told.to_owned())]);
                link.assert_gone();
                let core = link.harness.core();
                assert_eq!(core.counters().messages_undelivered, 3);
            }
        }
    }
}

/// Whoever floods a connection whose message never ends has it fail, as with any other that takes no output.
#[test]
fn what_waits_is_bounded() {
    let limits = Limits { send_buffer: 1 << 20, high_water: 1 << 18, ..Limits::default() };
    let settings = switchboard_websocket::Settings { max_message: 1 << 18, ..settings(None) };
    for role in ROLES {
        for bytes in [0, 1, 10_000] {
            let mut link = Link::open_with(role, Pieces::default(), settings.clone(), limits.clone());
            link.text("never ends", false);
            let mut posted = 0_u32;
            while link.harness.is_open() {
                let _ = link.harness.post(Post::Binary(vec![7; bytes].into()));
                link.harness.advance(Duration::from_millis(1));
                posted += 1;
                assert!(link.held() < (1 << 20) + 100_000, "{} held for {posted}", link.held());
                assert!(posted < 50_000);
            }
            assert!(u64::from(posted) * (bytes as u64 + 80) > 700_000, "{posted}");
            let reason = link.harness.close_reason().unwrap();
            let limit: LimitExceeded = *reason.error().unwrap().downcast_ref().unwrap();
            assert!(matches!(limit, LimitExceeded::SendBuffer { limit: 0x0010_0000, .. }), "{limit:?}");
            let frames = link.shorts();
            assert_eq!(frames[1..], [plain(true, OpCode::Close, 1013_u16.to_be_bytes())]);
            let told = link.app.take();
            let [Told::Closed(words)] = &told[..] else { panic!("{told:?}") };
            assert!(words.starts_with("1013 by us, unclean, "), "{words}");
            link.harness.eof();
            link.assert_gone();
        }
    }
}

#[test]
fn what_waits_counts_against_the_loop() {
    let limits = Limits { loop_memory: 3 << 20, ..Limits::default() };
    let settings = switchboard_websocket::Settings { max_message: 1 << 20, ..settings(None) };
    let mut link = Link::open_with(Role::Server, Pieces::default(), settings, limits);
    link.text("begun", false);
    link.with_peer(|peer| {
        for _ in 0..4 {
            peer.binary(&[0; 1 << 20]);
        }
        peer.send_piece(Message::Text("the end is not sent"), true).unwrap();
        assert!(!peer.is_sending());
    });
    link.harness.advance(Duration::from_millis(2));
    assert_eq!(link.shorts().len(), 2, "the beginning, and a close frame");
    let reason = link.harness.close_reason().unwrap();
    assert!(matches!(reason.error().unwrap().downcast_ref(), Some(LimitExceeded::LoopMemory { .. })), "{reason}");
    let told = link.app.take();
    assert_eq!(told, [Told::Closed("1013 by us, unclean, 5 unsent".to_owned())], "the message, and what waited");
    link.harness.eof();
    link.assert_gone();
}

/// Both directions at once: messages come in, whole and in pieces, while one goes out.
#[test]
fn receiving_goes_on_while_a_message_is_sent() {
    let mut link = Link::open(Role::Server, None);
    link.binary(&[0; 10], false);
    let many: Vec<u8> = (0..20_000).flat_map(|_| masked_text("x")).collect();
    link.app.on_piece.set(Does::Counts);
    link.feed([&many[..], &ping("x"), &frame(Role::Server, false, false, OpCode::Text, b"y")].concat());
    assert_eq!(link.app.bytes.get(), 20_001);
    link.binary(&[], true);
    assert_eq!(link.shorts().len(), 3);
}

/// A producer that asks for room: a message of any length goes out with bounded memory, to a peer that reads as it likes.
#[test]
fn pieces_with_backpressure() {
    let mut random = Rng::with_seed(1);
    for role in ROLES {
        let mut link = Link::open(role, None);
        let limits = Limits::default();
        let (mut made, mut got, mut last, mut unread) = (0_usize, 0, false, Vec::new());
        link.harness.set_window(0);
        while !last {
            loop {
                let more = link.with_peer(|peer| {
                    if made == 8 << 20 || !peer.has_room() {
                        return false;
                    }
                    made += 8192;
                    peer.send_piece(Message::Binary(&[7; 8192]), made == 8 << 20).unwrap();
                    made < 8 << 20
                });
                assert!(link.held() <= limits.high_water / 2 + 8192 + 100, "{}", link.held());
                if !more {
                    break;
                }
            }
            loop {
                let drained = link.app.take().contains(&Told::Drain);
                for (fin, length) in partial(role, &mut link, &mut unread) {
                    got += length;
                    last = fin;
                }
                if drained || link.held() == 0 {
                    break;
                }
                link.harness.set_window(random.usize(1..300_000));
            }
        }
        assert_eq!((made, got), (8 << 20, 8 << 20));
        assert_eq!(link.held(), 0);
    }
}

/// The frames that have come whole by now: whether each is the last, and its length.
fn partial(role: Role, link: &mut Link, unread: &mut Vec<u8>) -> Vec<(bool, usize)> {
    unread.extend(link.harness.take_sent());
    let size = 8192 + if role == Role::Server { 4 } else { 8 };
    let whole = unread.len() / size * size;
    let frames = frames_of(role, &unread[..whole]);
    unread.drain(..whole);
    frames.into_iter().map(|(header, payload)| (header.fin, payload.len())).collect()
}
