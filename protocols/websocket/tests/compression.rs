//! permessage-deflate on a connection (RFC 7692): what is agreed on, what comes and goes, what is refused.

mod common;

use common::pieces::DEDICATED;
use common::server::{Server, URL};
use common::{Client, SWITCHING, UPGRADE, close, close_payload};
use switchboard::Limits;
use switchboard_websocket::deflate::{
    Compression, Deflater, InflateError, Inflater, Memory, NegotiationError, WindowBits,
};
use switchboard_websocket::error::{MessageLimit, ProtocolError};
use switchboard_websocket::frame::{FrameError, Header, OpCode, Receiver, Role, parse};
use switchboard_websocket::handshake::{AnswerError, HandshakeError};
use switchboard_websocket::utf8::InvalidUtf8;
use switchboard_websocket::{Connect, Settings, extensions, mask};

const KEY: mask::Key = [0x37, 0xfa, 0x21, 0x3d];

const SHARED: Compression = Compression { compressor: Memory::Shared, decompressor: Memory::Shared, ..DEDICATED };

fn settings(compression: Compression) -> Settings {
    Settings { compression: Some(compression), heartbeat: None, ..Settings::default() }
}

/// A request that offers this, and what is answered.
fn upgrade(client: &mut Client, offers: &[&str]) -> String {
    let fields: String = offers.iter().map(|offer| format!("Sec-WebSocket-Extensions: {offer}\r\n")).collect();
    client.feed(UPGRADE.replace("\r\n\r\n", &format!("\r\n{fields}\r\n")));
    client.sent_text()
}

fn open(settings: Settings) -> Client {
    let mut client = Client::with(true, settings, Limits::default());
    let answer = upgrade(&mut client, &["permessage-deflate; client_max_window_bits"]);
    assert!(answer.contains("\r\nSec-WebSocket-Extensions: permessage-deflate"), "{answer}");
    assert_eq!(client.take_log(), ["open"]);
    client
}

fn frame(fin: bool, compressed: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut masked = payload.to_vec();
    mask::apply(&mut masked, KEY);
    let header = Header { fin, compressed, opcode, mask: Some(KEY), payload: masked.len() as u64 };
    [&header.encode()[..], &masked].concat()
}

fn deflate(deflater: &mut Deflater, message: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    deflater.deflate(message, &mut payload);
    payload
}

fn compressed(opcode: OpCode, message: impl AsRef<[u8]>) -> Vec<u8> {
    frame(true, true, opcode, &deflate(&mut Deflater::new(WindowBits::MAX, 9), message.as_ref()))
}

/// What was sent since this was last asked: whether it is compressed, the opcode, the payload.
fn sent(client: &mut Client) -> Vec<(bool, OpCode, Vec<u8>)> {
    let bytes = client.harness.take_sent();
    let (mut rest, mut frames) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        let receiver = Receiver { role: Role::Client, in_message: false, compression: true };
        let (header, start) = parse(rest, receiver).expect("a valid frame").expect("a whole header");
        let end = start + usize::try_from(header.payload).expect("a length that fits");
        frames.push((header.compressed, header.opcode, rest[start..end].to_vec()));
        rest = &rest[end..];
    }
    frames
}

#[test]
fn what_is_agreed_on() {
    let small = Compression {
        window_bits: WindowBits::new(10).unwrap(),
        peer_window_bits: WindowBits::new(9).unwrap(),
        ..DEDICATED
    };
    for (compression, offers, answer) in [
        (None, &["permessage-deflate"][..], None),
        (Some(DEDICATED), &[], None),
        (Some(DEDICATED), &["x-other"], None),
        (Some(DEDICATED), &["permessage-deflate; mystery"], None),
        (Some(DEDICATED), &["permessage-deflate"], Some("")),
        (
            Some(DEDICATED),
            &["x-other", "permessage-deflate; server_max_window_bits=8"],
            Some("; server_max_window_bits=8"),
        ),
        (Some(SHARED), &["permessage-deflate"], Some("; server_no_context_takeover; client_no_context_takeover")),
        (
            Some(small),
            &["permessage-deflate; client_max_window_bits"],
            Some("; server_max_window_bits=10; client_max_window_bits=9"),
        ),
    ] {
        let settings = Settings { compression, ..Settings::default() };
        let mut client = Client::with(true, settings, Limits::default());
        let answered = upgrade(&mut client, offers);
        let field = answer.map(|agreed| format!("\r\nSec-WebSocket-Extensions: permessage-deflate{agreed}\r\n\r\n"));
        let expected = field.map_or(SWITCHING.to_owned(), |field| SWITCHING.replace("\r\n\r\n", &field));
        assert_eq!(answered, expected, "{offers:?}");
    }
}

#[test]
fn offers_that_are_no_list() {
    let mut client = Client::with(true, settings(SHARED), Limits::default());
    let answer = upgrade(&mut client, &["permessage-deflate; =1"]);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(client.error::<HandshakeError>(), HandshakeError::BadExtensions(extensions::Malformed));
    assert!(client.take_log().is_empty());
}

#[test]
fn messages_there_and_back() {
    for compression in [SHARED, DEDICATED] {
        for size in [1, 7, 100_000] {
            let mut client = open(settings(compression));
            let (mut deflater, mut inflater) = (Deflater::new(WindowBits::MAX, 6), Inflater::new());
            let mut lengths = Vec::new();
            for round in 0..4 {
                let text = "a héllo, a wörld 🦀".repeat(100);
                client.feed_chunks(&frame(true, true, OpCode::Text, &deflate(&mut deflater, text.as_bytes())), size);
                if compression.decompressor == Memory::Shared {
                    deflater.reset();
                }
                assert_eq!(client.take_log(), [format!("text {text}")]);
                let frames = sent(&mut client);
                let [(true, OpCode::Text, payload)] = &frames[..] else { panic!("{frames:?}") };
                assert_eq!(inflater.message(payload, 1 << 20).as_deref(), Ok(text.as_bytes()), "round {round}");
                if compression.compressor == Memory::Shared {
                    inflater.reset();
                }
                lengths.push(payload.len());
            }
            let refers_back = 3 * lengths[1] < 2 * lengths[0];
            assert_eq!(refers_back, compression.compressor == Memory::Dedicated, "{lengths:?}");
        }
    }
}

/// RFC 7692 §6: a compressed message can be in fragments, with control frames in between; others are not compressed.
#[test]
fn fragments_and_messages_that_are_not_compressed() {
    let mut client = open(settings(DEDICATED));
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    client.feed(
        [
            frame(false, true, OpCode::Text, &hello[..3]),
            frame(true, false, OpCode::Ping, b"still there?"),
            frame(false, false, OpCode::Continuation, b""),
            frame(true, false, OpCode::Continuation, &hello[3..]),
            frame(true, false, OpCode::Text, b"plain"),
            frame(true, true, OpCode::Binary, &[0xf2, 0x00, 0x11, 0x00, 0x00]),
            frame(true, true, OpCode::Text, &[0x00]),
            frame(true, true, OpCode::Text, b""),
        ]
        .concat(),
    );
    assert_eq!(client.take_log(), ["text Hello", "text plain", "binary 5 500", "text ", "text "]);
    let expected = ["still there?", "Hello", "plain", "Hello", "", ""];
    let frames = sent(&mut client);
    assert_eq!(frames.len(), expected.len());
    for ((compressed, _, payload), expected) in frames.iter().zip(expected) {
        assert!(!compressed, "below the threshold");
        assert_eq!(payload, expected.as_bytes());
    }
    client.feed(close(1000, ""));
    assert_eq!(client.take_log(), ["close 1000 \"\" by peer, clean"]);
}

#[test]
fn what_can_not_be_compressed_is_sent_as_it_is_unless_the_window_must_have_it() {
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = (0..5000).map(|_| random.u8(..)).collect();
    for (compression, expected) in [(SHARED, false), (DEDICATED, true)] {
        let mut client = open(settings(compression));
        client.feed(frame(true, false, OpCode::Binary, &noise));
        let frames = sent(&mut client);
        let [(is_compressed, OpCode::Binary, payload)] = &frames[..] else { panic!("{frames:?}") };
        assert_eq!(*is_compressed, expected);
        let plain = if expected { Inflater::new().message(payload, 5000).unwrap() } else { payload.clone() };
        assert!(plain == noise);
    }
}

#[test]
fn rsv1_where_it_must_not_be() {
    let reserved = ProtocolError::Frame(FrameError::ReservedBits(0b100));
    let mut client = Client::open();
    client.feed(compressed(OpCode::Text, "not negotiated"));
    assert_eq!(client.error::<ProtocolError>(), reserved);
    for frames in [
        vec![frame(true, true, OpCode::Ping, b"")],
        vec![frame(true, true, OpCode::Close, &close_payload(1000, ""))],
        vec![frame(false, true, OpCode::Text, &[0xf2]), frame(true, true, OpCode::Continuation, &[0x48])],
    ] {
        let mut client = open(settings(SHARED));
        client.feed(frames.concat());
        assert_eq!(client.error::<ProtocolError>(), reserved);
        assert_eq!(&sent(&mut client)[0].2[..2], 1002u16.to_be_bytes());
    }
}

#[test]
fn what_is_refused() {
    for compression in [SHARED, DEDICATED] {
        let corrupt = ProtocolError::Compressed(InflateError::Corrupt);
        for (frames, error) in [
            (frame(true, true, OpCode::Binary, b"\xf2\x00\x11\x00\x00"), corrupt),
            (frame(true, true, OpCode::Binary, b"\x00\x09\x00\xf6\xffHello"), InflateError::Incomplete.into()),
            // At the byte that can't be right, with the message still to come.
            (frame(false, true, OpCode::Binary, b"\x06"), corrupt),
            (compressed(OpCode::Text, b"h\xff")[..9].to_vec(), InvalidUtf8.into()),
            (compressed(OpCode::Text, "é".repeat(99).as_bytes().split_last().unwrap().1), InvalidUtf8.into()),
        ] {
            let mut client = open(settings(compression));
            client.feed(frames);
            assert_eq!(client.error::<ProtocolError>(), error);
            assert_eq!(&sent(&mut client)[0].2[..2], 1007u16.to_be_bytes());
            assert_eq!(client.held(), 0);
        }
    }
}

/// A message of the largest size may become larger by compression; what it inflates to may not.
#[test]
fn limits() {
    let mut random = fastrand::Rng::with_seed(2);
    let noise: Vec<u8> = (0..100_000).map(|_| random.u8(144..)).collect();
    let limited = || Settings { max_message: 100_000, ..settings(DEDICATED) };
    let payload = deflate(&mut Deflater::new(WindowBits::MAX, 1), &noise);
    assert!(payload.len() > noise.len());
    let mut client = open(limited());
    client.feed(frame(true, true, OpCode::Binary, &payload));
    assert_eq!(client.take_log().len(), 1);

    let mut client = open(limited());
    client.feed(compressed(OpCode::Binary, vec![0; 100_001]));
    let MessageLimit::Size { size, limit: 100_000 } = client.error::<MessageLimit>() else { panic!("a size") };
    assert!((100_001..=108_192).contains(&size), "{size}");
    assert_eq!(&sent(&mut client)[0].2[..2], 1009u16.to_be_bytes());

    let mut client = open(limited());
    client.feed(&frame(true, true, OpCode::Binary, &vec![0; 112_565])[..14]);
    assert_eq!(client.error::<MessageLimit>(), MessageLimit::Size { size: 112_565, limit: 100_000 });
}

/// What a message takes is counted while it arrives, its decompressor too, and a bomb gets no more than the limit.
/// Of text in little pieces, each flushed as it comes, compression makes more than twice as much.
#[test]
fn a_message_that_grows_by_flushes_is_no_longer_than_it_is() {
    for (length, fits) in [(500, true), (501, false)] {
        let mut client = open(Settings { max_message: 500, ..settings(SHARED) });
        let (mut deflater, mut random) = (Deflater::new(WindowBits::MAX, 6), fastrand::Rng::with_seed(4));
        let mut octets = 0;
        for index in 0..length {
            let mut payload = deflate(&mut deflater, &[random.u8(b'a'..=b'z')]);
            let (last, first) = (index + 1 == length, index == 0);
            if !last {
                payload.extend([0x00, 0x00, 0xff, 0xff]);
            }
            octets += payload.len();
            client.feed(frame(last, first, if first { OpCode::Text } else { OpCode::Continuation }, &payload));
        }
        assert!(octets > 1000, "{octets}");
        assert_eq!(client.harness.is_open(), fits, "{length} bytes");
    }
}

#[test]
fn memory() {
    for compression in [SHARED, DEDICATED] {
        let limited = Settings { max_message: 1 << 20, ..settings(compression) };
        let mut client = open(limited.clone());
        assert_eq!(client.held(), 0);
        let message = frame(true, true, OpCode::Text, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
        client.feed(&message[..7]);
        assert!((Inflater::MEMORY..2 << 17).contains(&client.held()), "{}", client.held());
        client.feed(&message[7..]);
        // With what a last block might be followed by something that refers to.
        let dedicated =
            if compression.decompressor == Memory::Dedicated { Inflater::MEMORY + "Hello".len() } else { 0 };
        assert_eq!(client.held(), dedicated);

        let mut client = open(limited);
        let bomb = compressed(OpCode::Binary, vec![0; 64 << 20]);
        let mut most = 0;
        for part in bomb.chunks(1024) {
            if client.harness.close_reason().is_some() {
                break;
            }
            client.feed(part);
            most = most.max(client.held());
        }
        assert!(matches!(client.error::<MessageLimit>(), MessageLimit::Size { .. }));
        assert!(most <= (1 << 20) + Inflater::MOST_MEMORY + 2048, "{most}");
    }
}

/// What a client offers, and what it makes of the answer.
#[test]
fn as_a_client() {
    let asked = |compression| {
        let server = Server::asked_by(Connect::to(URL).unwrap(), settings(compression), Limits::default());
        let switching = server.switching.clone();
        (server, move |chosen: &str| {
            switching.replace("\r\n\r\n", &format!("\r\nSec-WebSocket-Extensions: {chosen}\r\n\r\n"))
        })
    };
    for (compression, chosen, expected) in [
        (
            SHARED,
            "permessage-deflate",
            AnswerError::Compression(NegotiationError::Ignored("server_no_context_takeover")),
        ),
        (DEDICATED, "permessage-deflate; mystery", AnswerError::Compression(NegotiationError::UnknownParameter)),
        (DEDICATED, "x-other", AnswerError::Compression(NegotiationError::NotOffered)),
        (DEDICATED, "permessage-deflate;", AnswerError::BadExtensions(extensions::Malformed)),
    ] {
        let (mut server, answer) = asked(compression);
        server.feed(answer(chosen));
        assert_eq!(server.error(), expected);
    }

    let (mut server, answer) = asked(DEDICATED);
    let hello = deflate(&mut Deflater::new(WindowBits::MAX, 6), b"Hello, hello, hello, hello");
    let header = Header { fin: true, compressed: true, opcode: OpCode::Text, mask: None, payload: hello.len() as u64 };
    server.feed([answer("permessage-deflate; client_max_window_bits=8").as_bytes(), &header.encode(), &hello].concat());
    assert_eq!(server.take_log(), ["open", "text Hello, hello, hello, hello"]);
    let bytes = server.harness.take_sent();
    let receiver = Receiver { role: Role::Server, in_message: false, compression: true };
    let (header, start) = parse(&bytes, receiver).unwrap().unwrap();
    assert!(header.compressed);
    let mut payload = bytes[start..].to_vec();
    mask::apply(&mut payload, header.mask.unwrap());
    let echoed = Inflater::new().message(&payload, 100);
    assert_eq!(echoed.as_deref(), Ok(&b"Hello, hello, hello, hello"[..]));

    // Nothing was agreed on with a server that knows no compression.
    let mut server = Server::open_with(settings(DEDICATED));
    server.feed([&header_of_compressed(&hello)[..], &hello].concat());
    assert!(server.close_reason().contains("reserved bits"));
}

fn header_of_compressed(payload: &[u8]) -> Vec<u8> {
    let header =
        Header { fin: true, compressed: true, opcode: OpCode::Binary, mask: None, payload: payload.len() as u64 };
    header.encode().to_vec()
}

/// A compressor of the connection's own takes memory that the loop must have. Without it the thread's does the work.
#[test]
fn no_memory_for_a_compressor() {
    let message = "hello, hello, hello, hello, hello!".repeat(10);
    let sizes = |loop_memory: usize| {
        let limits = Limits { loop_memory, ..Limits::default() };
        let mut client = Client::with(true, Settings { max_message: 1000, ..settings(DEDICATED) }, limits);
        upgrade(&mut client, &["permessage-deflate"]);
        let mut inflater = Inflater::new();
        let mut size = || {
            client.feed(frame(true, false, OpCode::Text, message.as_bytes()));
            assert!(client.held() <= loop_memory, "{} of {loop_memory}", client.held());
            let frames = sent(&mut client);
            let [(true, OpCode::Text, payload)] = &frames[..] else { panic!("{frames:?}") };
            assert_eq!(inflater.message(payload, 1000).as_deref(), Ok(message.as_bytes()));
            payload.len()
        };
        [size(), size()]
    };
    let needed = Deflater::memory(WindowBits::MAX);
    let [first, second] = sizes(needed);
    assert!(second < first, "it refers back");
    let [first, second] = sizes(needed - 1);
    assert_eq!(first, second);
}

/// Without memory for a decompressor there is none.
#[test]
fn the_loop_has_no_memory_left() {
    let limits = Limits { loop_memory: 1 << 20, ..Limits::default() };
    let limited = Settings { max_message: (1 << 20) - Inflater::MOST_MEMORY, ..settings(SHARED) };
    assert_eq!(limited.check(&limits), Ok(()));
    let more = Settings { max_message: limited.max_message + 1, ..limited };
    assert!(more.check(&limits).unwrap_err().to_string().contains("loop_memory"));
}
