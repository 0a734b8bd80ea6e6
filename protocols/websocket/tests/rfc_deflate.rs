//! What RFC 7692 §5 to §7 require of what is sent and received once parameters are agreed on, on both sides.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

mod common;

use common::server::{Server, URL};
use common::wire::decode;
use common::{Client, UPGRADE};
use switchboard::Limits;
use switchboard::testkit::Harness;
use switchboard_websocket::deflate::{Compression, InflateError, Inflater, Memory, WindowBits};
use switchboard_websocket::frame::{Header, OpCode};
use switchboard_websocket::{Connect, Post, Settings, mask};

const KEY: mask::Key = [0x37, 0xfa, 0x21, 0x3d];

/// `Hello` as RFC 7692 §7.2.3.1 has it, and as §7.2.3.2 has it the second time.
const HELLO: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
const AGAIN: &[u8] = &[0xf2, 0x00, 0x11, 0x00, 0x00];

/// Whatever may be taken over is.
fn greedy() -> Compression {
    let (compressor, decompressor) = (Memory::Dedicated, Memory::Dedicated);
    Compression { compressor, decompressor, threshold: 1, ..Compression::default() }
}

fn settings(compression: Compression) -> Settings {
    Settings { compression: Some(compression), heartbeat: None, ..Settings::default() }
}

/// A server with these settings whose client has offered this, and what it answered.
fn server(compression: Compression, offer: &str) -> (Client, String) {
    let mut client = Client::with(true, settings(compression), Limits::default());
    client.feed(UPGRADE.replace("\r\n\r\n", &format!("\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n")));
    let answer = client.sent_text();
    assert_eq!(client.take_log(), ["open"]);
    let agreed = answer.split_once("Sec-WebSocket-Extensions: ").map(|(_, rest)| rest.trim_end().to_owned());
    (client, agreed.unwrap_or_default())
}

/// A client with these settings whose server has answered this.
fn client(compression: Compression, agreed: &str) -> Server {
    let mut server = Server::asked_by(Connect::to(URL).unwrap(), settings(compression), Limits::default());
    let field = if agreed.is_empty() { String::new() } else { format!("\r\nSec-WebSocket-Extensions: {agreed}") };
    server.feed(server.switching.replace("\r\n\r\n", &format!("{field}\r\n\r\n")));
    assert_eq!(server.take_log(), ["open"], "{agreed}");
    server
}

/// A whole frame of either side's.
fn frame(masked: bool, compressed: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut payload = payload.to_vec();
    let mask = masked.then_some(KEY);
    mask::apply(&mut payload, mask.unwrap_or_default());
    [&Header { fin: true, compressed, opcode, mask, payload: payload.len() as u64 }.encode()[..], &payload].concat()
}

/// The first octet and the payload of the one frame that was sent.
fn sent(harness: &mut Harness) -> (u8, Vec<u8>) {
    let mut frames = decode(&harness.take_sent());
    assert_eq!(frames.len(), 1);
    let frame = frames.remove(0);
    (frame.first, frame.payload)
}

/// Has a side send this message: it is what came to it, as it is.
fn send(harness: &mut Harness, masked: bool, message: &[u8]) -> (u8, Vec<u8>) {
    harness.feed(&frame(masked, false, OpCode::Binary, message));
    sent(harness)
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..length).map(|_| random.u8(..)).collect()
}

/// RFC 7692 §7.2.1: who agreed to no context takeover begins each message with an empty window, whatever it would like
/// to do; who did not may refer back.
#[test]
fn each_message_starts_anew_where_that_was_agreed_on() {
    let check = |harness: &mut Harness, masked: bool, forgets: bool| {
        let message: Vec<u8> = noise(1, 300).iter().map(|byte| byte % 32).collect();
        let [(octet, first), (_, second)] = [(); 2].map(|()| send(harness, masked, &message));
        assert_eq!(octet, 0xc2);
        let mut inflater = Inflater::new();
        assert_eq!(inflater.message(&first, 300).as_ref(), Ok(&message));
        if forgets {
            assert_eq!(second, first);
        } else {
            assert!(second.len() < 50);
            assert_eq!(Inflater::new().message(&second, 300), Err(InflateError::Corrupt), "it refers back");
            assert_eq!(inflater.message(&second, 300).as_ref(), Ok(&message));
        }
    };
    for (offer, forgets) in
        [("", false), ("; server_no_context_takeover", true), ("; client_no_context_takeover", false)]
    {
        let (mut client, agreed) = server(greedy(), &format!("permessage-deflate{offer}"));
        assert_eq!(agreed, format!("permessage-deflate{offer}"));
        check(&mut client.harness, true, forgets);
    }
    for (answer, forgets) in
        [("", false), ("; client_no_context_takeover", true), ("; server_no_context_takeover", false)]
    {
        check(&mut client(greedy(), &format!("permessage-deflate{answer}")).harness, false, forgets);
    }
}

/// RFC 7692 §7.2.2: who was promised nothing remembers the messages before, whatever it would like to do and has
/// hinted at itself.
#[test]
fn what_refers_back_is_understood_where_nothing_else_was_agreed_on() {
    let (mut taking_over, _) = server(greedy(), "permessage-deflate");
    taking_over.feed([frame(true, true, OpCode::Text, HELLO), frame(true, true, OpCode::Text, AGAIN)].concat());
    assert_eq!(taking_over.take_log(), ["text Hello", "text Hello"]);
    // The client says that it itself takes nothing over; the server has not said so.
    let forgetful = Compression { compressor: Memory::Shared, ..greedy() };
    for compression in [greedy(), forgetful] {
        let mut server = client(compression, "permessage-deflate");
        server.feed([frame(false, true, OpCode::Text, HELLO), frame(false, false, OpCode::Text, b"Plain")].concat());
        server.feed(frame(false, true, OpCode::Text, AGAIN));
        assert_eq!(server.take_log(), ["text Hello", "text Plain", "text Hello"]);
    }
}

/// RFC 7692 §7.2.2, §7.2.3.4: a block with BFINAL ends no window, in whichever message it stands.
#[test]
fn what_refers_back_behind_a_last_block_is_understood() {
    const LAST: &[u8] = &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    for messages in [&[LAST, AGAIN][..], &[HELLO, LAST, AGAIN], &[HELLO, AGAIN, LAST, AGAIN, LAST, LAST, AGAIN]] {
        let expected = vec!["text Hello"; messages.len()];
        let (mut asked, _) = server(greedy(), "permessage-deflate");
        let mut asking = client(greedy(), "permessage-deflate");
        for message in messages {
            asked.feed(frame(true, true, OpCode::Text, message));
            asking.feed(frame(false, true, OpCode::Text, message));
        }
        assert_eq!((asked.take_log(), asking.take_log()), (to_owned(&expected), to_owned(&expected)));
    }
}

fn to_owned(log: &[&str]) -> Vec<String> {
    log.iter().map(|line| (*line).to_owned()).collect()
}

/// RFC 7692 §7.2.1: nothing is sent that refers back farther than was agreed on, nor than 32 KiB at all; and the window
/// that is allowed is used, but for the 262 bytes that zlib keeps ahead.
#[test]
fn nothing_refers_back_behind_the_window_that_was_agreed_on() {
    let repeat = noise(2, 200);
    let check = |harness: &mut Harness, masked: bool, bits: u32| {
        let window = 1 << bits;
        let far = [&repeat[..], &noise(3, window + 40 - repeat.len())].concat();
        send(harness, masked, &far);
        let (_, payload) = send(harness, masked, &repeat);
        assert!(payload.len() >= repeat.len(), "{} bytes with {bits} bits", payload.len());
        if bits > 8 {
            send(harness, masked, &[&repeat[..], &noise(4, window - 300 - repeat.len())].concat());
            let (_, payload) = send(harness, masked, &repeat);
            assert!(payload.len() < 40, "{} bytes with {bits} bits", payload.len());
        }
    };
    for bits in 8..=15 {
        let (mut asked, agreed) = server(greedy(), &format!("permessage-deflate; server_max_window_bits={bits}"));
        assert_eq!(agreed, format!("permessage-deflate; server_max_window_bits={bits}"));
        check(&mut asked.harness, true, bits);
        check(
            &mut client(greedy(), &format!("permessage-deflate; client_max_window_bits={bits}")).harness,
            false,
            bits,
        );
        // What a client hints at is its own business: what was agreed on counts, if it is less.
        for hint in 8..=15 {
            let hinting = Compression { window_bits: WindowBits::new(hint).unwrap(), ..greedy() };
            let agreed = format!("permessage-deflate; client_max_window_bits={bits}");
            check(&mut client(hinting, &agreed).harness, false, bits.min(hint.into()));
        }
    }
    check(&mut server(greedy(), "permessage-deflate").0.harness, true, 15);
    check(&mut client(greedy(), "permessage-deflate").harness, false, 15);
}

/// RFC 7692 §7.2.2: what refers back all of 32,768 bytes, over messages, is understood where no smaller window was
/// agreed on.
#[test]
fn a_window_of_32_kib_is_remembered() {
    let plain = noise(5, 32_768);
    let stored = [&[0x00, 0x00, 0x80, 0xff, 0x7f], &plain[..], &[0x00]].concat();
    // A fixed block: a length of 3 (seven bits, 0000001), 32,768 back (11101 and thirteen ones), its end (seven zeros),
    // and the header of an empty block (000).
    let back = [0x02, 0xde, 0xff, 0x0f, 0x00];
    let expected: u32 = plain[..3].iter().map(|byte| u32::from(*byte)).sum();
    let check = |harness: &mut Harness, masked: bool| {
        harness.feed(&frame(masked, true, OpCode::Binary, &stored));
        let _ = harness.take_sent();
        harness.feed(&frame(masked, true, OpCode::Binary, &back));
        assert!(harness.is_open(), "{:?}", harness.close_reason());
    };
    let (mut asked, _) = server(greedy(), "permessage-deflate");
    check(&mut asked.harness, true);
    assert_eq!(asked.take_log().last().unwrap(), &format!("binary 3 {expected}"));
    let mut asking = client(greedy(), "permessage-deflate");
    check(&mut asking.harness, false);
    assert_eq!(asking.take_log().last().unwrap(), &format!("binary 3 {expected}"));
}

/// RFC 7692 §7.1.2.2: client_max_window_bits is answered to who has offered it, and to nobody else.
#[test]
fn what_the_client_did_not_offer_is_not_asked_of_it() {
    let small = Compression { peer_window_bits: WindowBits::new(9).unwrap(), ..greedy() };
    for (offer, agreed) in [
        ("permessage-deflate", "permessage-deflate"),
        ("permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover"),
        ("permessage-deflate; client_max_window_bits", "permessage-deflate; client_max_window_bits=9"),
        ("permessage-deflate; client_max_window_bits=8", "permessage-deflate; client_max_window_bits=8"),
    ] {
        assert_eq!(server(small, offer).1, agreed);
    }
}

/// RFC 7692 §5, RFC 6455 §9.1: what was offered is not used before it is agreed on, and not if it is declined.
#[test]
fn nothing_is_compressed_without_an_agreement() {
    let message = vec![b'x'; 10_000];
    let plain = |harness: &mut Harness, masked| assert_eq!(send(harness, masked, &message), (0x82, message.clone()));
    plain(&mut client(greedy(), "").harness, false);
    plain(&mut Client::open_with(settings(greedy())).harness, true);
    for offer in ["x-other", "permessage-deflate; mystery", "permessage-deflate; server_max_window_bits=7"] {
        let (mut declined, agreed) = server(greedy(), offer);
        assert_eq!(agreed, "");
        plain(&mut declined.harness, true);
        declined.feed(frame(true, false, OpCode::Text, b"plain"));
        assert_eq!(declined.take_log().last().unwrap(), "text plain");
        declined.feed(frame(true, true, OpCode::Text, HELLO));
        assert!(declined.close_reason().contains("reserved bits"), "{}", declined.close_reason());
    }
}

/// RFC 7692 §6, §6.1: the bit is set on compressed messages and on nothing else; the opcode stays.
#[test]
fn the_bit_says_which_messages_are_compressed() {
    let threshold = Compression { threshold: 100, ..greedy() };
    let (mut asked, _) = server(threshold, "permessage-deflate");
    let mut asking = client(threshold, "permessage-deflate");
    for (harness, masked) in [(&mut asked.harness, true), (&mut asking.harness, false)] {
        for (post, expected) in [
            (Post::Text("x".repeat(100).into()), 0xc1),
            (Post::Binary(vec![1; 100].into()), 0xc2),
            (Post::Text("x".repeat(99).into()), 0x81),
            (Post::Binary(vec![1; 99].into()), 0x82),
        ] {
            harness.post(post).unwrap();
            assert_eq!(sent(harness).0, expected);
        }
        harness.feed(&frame(masked, false, OpCode::Ping, &[b'x'; 125]));
        assert_eq!(sent(harness), (0x8a, vec![b'x'; 125]));
        harness.post(Post::Close(4000.into(), "x".repeat(123).into())).unwrap();
        assert_eq!(sent(harness).0, 0x88);
    }
}
