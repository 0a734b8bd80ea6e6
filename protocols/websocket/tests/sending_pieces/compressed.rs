//! Messages that are sent in pieces and compressed.

use switchboard::Limits;
use switchboard_websocket::deflate::{Compression, Deflater, Inflater, WindowBits};
use switchboard_websocket::frame::{OpCode, Role};

use crate::common::pieces::*;
use crate::plain;

#[test]
fn compressed_piece_by_piece() {
    for role in ROLES {
        for compression in [SHARED, DEDICATED] {
            let mut link = Link::open(role, Some(compression));
            let mut inflater = Inflater::new();
            for round in 0..3 {
                let pieces =
                    ["a héllo, a wörld 🦀".repeat(200), "and more".to_owned(), String::new(), "!".repeat(9000)];
                let mut arrived = Vec::new();
                for (index, piece) in pieces.iter().enumerate() {
                    link.text(piece, false);
                    for (header, payload) in link.sent() {
                        assert_eq!((header.fin, header.compressed), (false, index == 0), "{round} {index}");
                        inflater.push(&payload, &mut |plain| inflate(&mut arrived, plain)).unwrap();
                    }
                    let so_far: usize = pieces[..=index].iter().map(String::len).sum();
                    assert_eq!(arrived.len(), so_far, "all of it is there at once");
                }
                let ends = ["", "the end"][round % 2];
                link.text(ends, true);
                let frames = link.sent();
                assert_eq!((frames.len(), frames[0].0.fin, frames[0].0.opcode), (1, true, OpCode::Continuation));
                inflater.push(&frames[0].1, &mut |plain| inflate(&mut arrived, plain)).unwrap();
                inflater.finish().unwrap();
                assert_eq!(String::from_utf8(arrived).unwrap(), pieces.concat() + ends);
                // One that is sent whole, from the same compressor.
                let whole = "a héllo, a wörld 🦀".repeat(200);
                link.with_peer(|peer| peer.text(&whole));
                let [(header, payload)] = &link.sent()[..] else { panic!() };
                assert!(header.compressed && header.fin);
                assert_eq!(inflater.message(payload, 100_000).as_deref(), Ok(whole.as_bytes()));
                let alone = deflated(&whole).len();
                assert!(compression == SHARED || payload.len() < alone, "{} of {alone}: it refers back", payload.len());
            }
            // Nothing at all, in pieces.
            link.text("", false);
            link.text("", true);
            let [(header, payload)] = &link.sent()[..] else { panic!() };
            assert_eq!((header.fin, header.compressed, &payload[..]), (true, true, &[0][..]), "RFC 7692 §7.2.3.6");
            assert_eq!(inflater.message(payload, 0).as_deref(), Ok(&b""[..]));
        }
    }
}

fn inflate(into: &mut Vec<u8>, plain: &[u8]) -> Result<(), switchboard_websocket::deflate::InflateError> {
    into.extend_from_slice(plain);
    Ok(())
}

#[test]
fn what_waited_is_compressed_in_its_turn() {
    for role in ROLES {
        for compression in [SHARED, DEDICATED] {
            let mut link = Link::open(role, Some(compression));
            let mut inflater = Inflater::new();
            let (first, second) = ("first ".repeat(50), "second ".repeat(50));
            link.text(&first, false);
            link.with_peer(|peer| {
                peer.text(&second);
                peer.text_shared(second.clone());
            });
            link.text(&first, true);
            let frames = link.sent();
            let shape: Vec<_> = frames.iter().map(|(header, _)| (header.fin, header.compressed)).collect();
            assert_eq!(shape, [(false, true), (true, false), (true, true), (true, true)]);
            let begun = [&frames[0].1[..], &frames[1].1].concat();
            assert_eq!(inflater.message(&begun, 10_000).as_deref(), Ok(first.repeat(2).as_bytes()));
            for (_, payload) in &frames[2..] {
                assert_eq!(inflater.message(payload, 10_000).as_deref(), Ok(second.as_bytes()));
            }
        }
    }
}

/// The compressor is charged while the message lasts, and where there is no memory for it, it is done without.
#[test]
fn the_memory_of_the_compressor() {
    let most = Compression { threshold: 0, ..SHARED };
    let mut link = Link::open(Role::Server, Some(most));
    link.text("begun", false);
    assert_eq!(link.held(), Deflater::memory(WindowBits::MAX));
    link.text("", true);
    assert_eq!(link.held(), 0, "it is the thread's");

    for compression in [SHARED, DEDICATED] {
        let settings = switchboard_websocket::Settings { max_message: 1000, ..settings(Some(compression)) };
        let limits = Limits { loop_memory: 300_000, ..Limits::default() };
        let mut link = Link::open_with(Role::Server, Pieces::default(), settings, limits);
        link.text("begun", false);
        assert_eq!(link.shorts(), [plain(false, OpCode::Text, "begun")]);
        assert_eq!(link.held(), 0);
        link.text("ended", true);
        assert_eq!(link.shorts(), [plain(true, OpCode::Continuation, "ended")]);
        assert_eq!(link.held(), 0);
        assert!(link.harness.is_open());
    }
}
