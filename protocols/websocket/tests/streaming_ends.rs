//! How messages in pieces end before their end, and those that never do.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

mod common;

use std::time::Duration;

use common::pieces::*;
use switchboard::Limits;
use switchboard_websocket::error::MessageLimit;
use switchboard_websocket::frame::{OpCode, Role};
use switchboard_websocket::{CloseCode, Message, Settings};

const SECOND: Duration = Duration::from_secs(1);

fn text(piece: &str, last: bool) -> Told {
    Told::TextPiece(piece.to_owned(), last)
}

#[test]
fn ending_within_a_message() {
    for role in ROLES {
        for compressed in [false, true] {
            let payload = if compressed { deflated([7; 50_000]) } else { vec![7; 50_000] };
            let (first, rest) = payload.split_at(payload.len() / 2);
            let first = frame(role, false, compressed, OpCode::Binary, first);
            let rest = frame(role, true, false, OpCode::Continuation, rest);
            for (does, ends) in [
                (Does::Closes, "1000 by us, clean, 0 unsent"),
                (Does::Fails, "1011 by us, unclean, 0 unsent"),
                (Does::Aborts, "1006 by us, unclean, 0 unsent"),
            ] {
                for at_beginning in [false, true] {
                    let mut link = Link::open(role, Some(SHARED));
                    if at_beginning {
                        link.app.on_begin.set(does)
                    } else {
                        link.app.on_piece.set(does)
                    }
                    let behind = [link.frame(true, OpCode::Text, "dropped"), link.close_frame(1000)].concat();
                    link.feed([&first[..], &rest, &behind].concat());
                    let told = link.app.take();
                    assert_eq!(
                        told.len(),
                        if at_beginning { 1 } else { 2 } + usize::from(role == Role::Server || does != Does::Closes)
                    );
                    link.harness.eof();
                    let told = [told, link.app.take()].concat();
                    assert_eq!(told.last(), Some(&Told::Closed(ends.to_owned())), "{does:?} {at_beginning}");
                    link.assert_gone();
                }
            }
        }
    }
}

#[test]
fn a_message_that_breaks_off_has_no_last_piece() {
    for role in ROLES {
        for compressed in [false, true] {
            for how in 0..3 {
                let mut link = Link::open(role, Some(SHARED));
                let payload = if compressed { deflated("begun, and no more") } else { b"begun, and no more".to_vec() };
                link.feed(frame(role, false, compressed, OpCode::Text, &payload));
                assert_eq!(link.app.take_joined()[1..], [text("begun, and no more", false)]);
                let ends = match how {
                    0 => {
                        link.harness.eof();
                        "1006 by us, unclean, 0 unsent"
                    }
                    1 => {
                        link.harness.reset();
                        "1006 by us, unclean, 0 unsent"
                    }
                    _ => {
                        link.feed(link.close_frame(1001));
                        link.harness.eof();
                        "1001 by peer, clean, 0 unsent"
                    }
                };
                assert_eq!(link.app.take(), [Told::Closed(ends.to_owned())]);
                link.assert_gone();
            }
        }
    }
}

/// A message that is put together has its time; whoever takes pieces has timers of their own.
#[test]
fn a_message_that_never_ends() {
    for compressed in [false, true] {
        let app = Pieces { whole: true, ..Pieces::default() };
        let mut link = Link::open_with(Role::Server, app, settings(Some(SHARED)), Limits::default());
        let payload = if compressed { deflated([7; 1000]) } else { vec![7; 1000] };
        let message = frame(Role::Server, true, compressed, OpCode::Binary, &payload);
        link.feed(&message[..message.len() - 3]);
        link.harness.advance(299 * SECOND);
        link.feed(&message[message.len() - 3..message.len() - 2]);
        assert!(link.harness.is_open());
        link.harness.advance(2 * SECOND);
        assert_eq!(link.error(), MessageLimit::Timeout(300 * SECOND).to_string());
        assert_eq!(link.sent()[0].1[..2], 1008_u16.to_be_bytes());
        link.harness.eof();
        link.assert_gone();
    }
    // One that ends takes its timer with it, however it ends.
    let app = Pieces { whole: true, ..Pieces::default() };
    let mut link = Link::open_with(Role::Server, app, settings(None), Limits::default());
    for _ in 0..3 {
        link.feed(link.frame(false, OpCode::Binary, [0; 10]));
        assert_eq!(link.harness.core().armed_timers(), 1);
        link.feed(link.frame(true, OpCode::Continuation, [0; 10]));
        assert_eq!(link.harness.core().armed_timers(), 0);
        link.harness.advance(200 * SECOND);
    }
    link.feed(link.frame(false, OpCode::Binary, [0; 10]));
    link.feed(link.close_frame(1000));
    link.harness.eof();
    link.assert_gone();
    // In pieces it may take for ever.
    let mut link = Link::open(Role::Server, None);
    link.feed(link.frame(false, OpCode::Binary, [0; 10]));
    assert_eq!(link.harness.core().armed_timers(), 0);
}

#[test]
fn time_in_which_this_side_does_not_read_is_not_counted() {
    let app = Pieces { whole: true, ..Pieces::default() };
    let mut link = Link::open_with(Role::Server, app, settings(None), Limits::default());
    link.feed(link.frame(false, OpCode::Text, "begun, "));
    link.with_peer(|peer| peer.pause_reading());
    link.harness.advance(1000 * SECOND);
    assert!(link.harness.is_open());
    link.resume();
    link.harness.advance(200 * SECOND);
    link.feed(link.frame(true, OpCode::Continuation, "ended"));
    assert_eq!(link.app.take().last(), Some(&Told::Text("begun, ended".to_owned())));
    assert_eq!(link.harness.core().armed_timers(), 0);
}

/// Whoever sends for as long as there is room comes to an end, where nothing can be sent any more, too.
#[test]
fn there_is_no_room_where_nothing_can_be_sent() {
    let limits = Limits { send_buffer: 1 << 20, high_water: 1 << 18, ..Limits::default() };
    let settings = || Settings { max_message: 1 << 18, ..settings(None) };
    for in_pieces in [true, false] {
        let mut link = Link::open_with(Role::Server, Pieces::default(), settings(), limits.clone());
        link.with_peer(|peer| {
            peer.send_piece(Message::Text("begun"), false).unwrap();
            peer.binary_shared(vec![0; if in_pieces { 1 << 20 } else { 0 }]); // too much waits then
            for count in 0.. {
                if in_pieces && !peer.is_sending() || !peer.has_room() {
                    break;
                }
                assert!(count < 100_000, "it goes on for ever");
                if in_pieces {
                    peer.send_piece(Message::Text("lost"), true).unwrap();
                } else {
                    peer.text("waits");
                }
            }
            assert!(!peer.is_sending() && !peer.has_room(), "it is about to fail");
        });
        link.harness.advance(Duration::from_millis(2));
        assert!(link.error().contains("send_buffer"), "{}", link.error());
    }
    let mut link = Link::open(Role::Server, None);
    link.with_peer(|peer| {
        assert!(peer.has_room());
        peer.close(CloseCode::NORMAL, "").unwrap();
        assert!(!peer.has_room());
        peer.abort();
        assert!(!peer.has_room());
    });
    assert_eq!(link.app.take(), [Told::Closed("1000 by us, unclean, 0 unsent".to_owned())], "and no on_drain");
}
