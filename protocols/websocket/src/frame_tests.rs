//! Frame headers: every octet pair, every boundary of the lengths, every prefix.

use super::FrameError::*;
use super::*;

const SERVER: Receiver = Receiver { role: Role::Server, in_message: false, compression: false };
const CLIENT: Receiver = Receiver { role: Role::Client, in_message: false, compression: false };
const SERVER_IN_MESSAGE: Receiver = Receiver { in_message: true, ..SERVER };

const KEY: Key = [0x37, 0xfa, 0x21, 0x3d];

fn header(fin: bool, opcode: OpCode, payload: u64) -> Header {
    Header { fin, compressed: false, opcode, mask: None, payload }
}

#[test]
fn examples_of_the_rfc() {
    // RFC 6455 §5.7.
    let parsed = parse(b"\x81\x05Hello", CLIENT);
    assert_eq!(parsed, Ok(Some((header(true, OpCode::Text, 5), 2))));
    let parsed = parse(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", SERVER);
    assert_eq!(parsed, Ok(Some((Header { mask: Some(KEY), ..header(true, OpCode::Text, 5) }, 6))));
    assert_eq!(parse(b"\x01\x03Hel", CLIENT), Ok(Some((header(false, OpCode::Text, 3), 2))));
    let continued = parse(b"\x80\x02lo", Receiver { in_message: true, ..CLIENT });
    assert_eq!(continued, Ok(Some((header(true, OpCode::Continuation, 2), 2))));
    assert_eq!(parse(b"\x89\x05Hello", CLIENT), Ok(Some((header(true, OpCode::Ping, 5), 2))));
    assert_eq!(parse(b"\x82\x7e\x01\x00", CLIENT), Ok(Some((header(true, OpCode::Binary, 256), 4))));
    let parsed = parse(b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", CLIENT);
    assert_eq!(parsed, Ok(Some((header(true, OpCode::Binary, 65_536), 10))));
}

/// All first octets, in both states: the verdict comes with that octet alone.
#[test]
fn first_octet() {
    for first in 0..=255u8 {
        for receiver in [SERVER, SERVER_IN_MESSAGE] {
            let (fin, rsv, opcode) = (first & 0x80 != 0, first >> 4 & 7, first & 0xf);
            let expected = match opcode {
                _ if rsv != 0 => Err(ReservedBits(rsv)),
                3..=7 | 0xb..=0xf => Err(ReservedOpCode(opcode)),
                0 if !receiver.in_message => Err(UnexpectedContinuation),
                1 | 2 if receiver.in_message => Err(ExpectedContinuation),
                8..=10 if !fin => Err(FragmentedControl),
                _ => Ok(None),
            };
            assert_eq!(parse(&[first], receiver), expected, "{first:#x} {receiver:?}");
        }
    }
}

/// RFC 7692 §6: RSV1 on the first frame of a message, and on no other.
#[test]
fn first_octet_with_compression() {
    for first in 0..=255u8 {
        for plain in [SERVER, SERVER_IN_MESSAGE] {
            let begins = matches!(first & 0x7f, 0x41 | 0x42);
            let expected = if begins { first & !0x40 } else { first };
            let receiver = Receiver { compression: true, ..plain };
            assert_eq!(parse(&[first], receiver), parse(&[expected], plain), "{first:#x} {receiver:?}");
        }
    }
    let receiver = Receiver { compression: true, ..CLIENT };
    let compressed = Header { compressed: true, ..header(true, OpCode::Text, 7) };
    assert_eq!(parse(b"\xc1\x07", receiver), Ok(Some((compressed, 2))));
    assert_eq!(*compressed.encode(), *b"\xc1\x07");
    assert_eq!(parse(b"\x81\x07", receiver), Ok(Some((header(true, OpCode::Text, 7), 2))));
    assert_eq!(whole_message(b"\xc1\x80\0\0\0\0"), None);
}

/// All second octets, for a data and a control frame, in both roles: the verdict comes with that octet.
#[test]
fn second_octet() {
    for second in 0..=255u8 {
        for (role, opcode) in [(Role::Server, 0x1), (Role::Server, 0x9), (Role::Client, 0x2), (Role::Client, 0x8)] {
            let (masked, length) = (second & 0x80 != 0, second & 0x7f);
            let expected = match role {
                Role::Server if !masked => Err(NotMasked),
                Role::Client if masked => Err(Masked),
                _ if opcode >= 8 && length > 125 => Err(LongControl),
                Role::Server => Ok(None),
                Role::Client if length >= 126 => Ok(None),
                Role::Client => {
                    let opcode = OpCode::from_bits(opcode).unwrap();
                    Ok(Some((header(true, opcode, u64::from(length)), 2)))
                }
            };
            let parsed = parse(&[0x80 | opcode, second], Receiver { role, in_message: false, compression: false });
            assert_eq!(parsed, expected, "{opcode} {second:#x} {role:?}");
        }
    }
}

#[test]
fn lengths_must_be_minimal_and_below_2_to_the_63() {
    let read = |bytes: &[u8]| parse(bytes, CLIENT).map(|parsed| parsed.map(|(header, _)| header.payload));
    assert_eq!(read(&[0x82, 126, 0, 125]), Err(LengthNotMinimal));
    assert_eq!(read(&[0x82, 126, 0, 126]), Ok(Some(126)));
    assert_eq!(read(&[0x82, 126, 0xff, 0xff]), Ok(Some(65_535)));
    assert_eq!(read(&[0x82, 126, 0]), Ok(None), "0 may still become 126");
    assert_eq!(read(&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), Err(LengthNotMinimal));
    assert_eq!(read(&[0x82, 127, 0, 0, 0, 0, 0, 0]), Err(LengthNotMinimal), "six zeros say so already");
    assert_eq!(read(&[0x82, 127, 0, 0, 0, 0, 0]), Ok(None));
    assert_eq!(read(&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]), Ok(Some(65_536)));
    assert_eq!(read(&[0x82, 127, 0x7f, 255, 255, 255, 255, 255, 255, 255]), Ok(Some(u64::MAX >> 1)));
    assert_eq!(read(&[0x82, 127, 0x80]), Err(LengthTooLarge), "refused with the octet that says so");
    assert_eq!(read(&[0x82, 127, 0xff, 255, 255, 255, 255, 255, 255, 255]), Err(LengthTooLarge));
}

#[test]
fn what_is_written_is_read_back_and_every_prefix_waits() {
    let lengths = [0, 1, 125, 126, 127, 255, 256, 65_535, 65_536, 1 << 32, u64::MAX >> 1];
    for opcode in [OpCode::Continuation, OpCode::Text, OpCode::Binary, OpCode::Close, OpCode::Ping, OpCode::Pong] {
        for fin in [true, false] {
            for payload in lengths {
                for mask in [None, Some(KEY)] {
                    if opcode.is_control() && (!fin || payload > MAX_CONTROL) {
                        continue;
                    }
                    let header = Header { fin, compressed: false, opcode, mask, payload };
                    let bytes = header.encode();
                    let role = if mask.is_some() { Role::Server } else { Role::Client };
                    let receiver = Receiver { role, in_message: opcode == OpCode::Continuation, compression: false };
                    assert_eq!(parse(&bytes, receiver), Ok(Some((header, bytes.len()))));
                    for end in 0..bytes.len() {
                        assert_eq!(parse(&bytes[..end], receiver), Ok(None), "{header:?} cut at {end}");
                    }
                    let mut longer = bytes.to_vec();
                    longer.extend([0xff; 20]);
                    assert_eq!(parse(&longer, receiver), Ok(Some((header, bytes.len()))), "what follows is not read");
                }
            }
        }
    }
}

#[test]
fn lengths_are_written_in_the_shortest_form() {
    for (payload, length) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10), (u64::MAX >> 1, 10)] {
        assert_eq!(header(true, OpCode::Binary, payload).encode().len(), length);
        let masked = Header { mask: Some(KEY), ..header(true, OpCode::Binary, payload) };
        assert_eq!(masked.encode().len(), length + 4);
    }
}

/// Once a prefix is refused, all that begins with it is refused for the same reason; what is not refused stays so
/// until its last octet. Checked on random octets, biased to the interesting ones.
#[test]
fn verdicts_do_not_change_with_what_follows() {
    let mut random = fastrand::Rng::with_seed(6455);
    let octets = [0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a, 0x7d, 0x7e, 0x7f, 0xfe, 0xff, 0xfd];
    for _ in 0..100_000 {
        let bytes: Vec<u8> = (0..MAX_HEADER).map(|_| octets[random.usize(..octets.len())]).collect();
        let receiver = if random.bool() { SERVER } else { CLIENT };
        let receiver = Receiver { in_message: random.bool(), compression: random.bool(), ..receiver };
        let verdict = parse(&bytes, receiver);
        assert_ne!(verdict, Ok(None), "the longest header fits");
        let mut decided = false;
        for end in 0..=bytes.len() {
            match parse(&bytes[..end], receiver) {
                Ok(None) => assert!(!decided, "{bytes:x?} undecided again at {end}"),
                parsed => {
                    assert_eq!(parsed, verdict, "{bytes:x?} at {end}");
                    decided = true;
                }
            }
        }
    }
}

#[test]
fn whole_messages_are_found_by_the_shorter_way() {
    for opcode in [OpCode::Text, OpCode::Binary] {
        for payload in [0, 1, 125, 126, 127, 255, 256, 65_535, 65_536] {
            let head = Header { mask: Some(KEY), ..header(true, opcode, payload as u64) }.encode();
            let (start, end) = (head.len(), head.len() + payload);
            let mut bytes = head.to_vec();
            bytes.resize(end + 20, 0xff);
            let whole = Some(WholeMessage { opcode, key: KEY, start, end });
            assert_eq!(whole_message(&bytes), whole, "{payload} bytes, and what follows");
            assert_eq!(whole_message(&bytes[..end]), whole, "{payload} bytes");
            for cut in (0..end.min(40)).chain([end - 1]) {
                assert_eq!(whole_message(&bytes[..cut]), None, "{payload} bytes, cut at {cut}");
            }
        }
    }
}

/// Whatever the shorter way finds, `parse` finds: all pairs of first octets, before all kinds of lengths.
#[test]
fn the_shorter_way_finds_nothing_that_is_not_there() {
    let lengths: [[u8; 8]; 7] = [
        [0; 8],
        [0, 125, 0, 0, 0, 0, 0, 0],
        [0, 126, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0xff, 0xff],
        [0, 0, 0, 0, 0, 1, 0, 0],
        [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        [0xff; 8],
    ];
    for first in 0..=255 {
        for second in 0..=255 {
            for length in lengths {
                let mut bytes = [&[first, second][..], &length, &KEY].concat();
                bytes.resize(400, 0);
                let expected = |receiver| match parse(&bytes, receiver) {
                    Ok(Some((header, start))) if header.fin && !header.opcode.is_control() => {
                        let end = start + usize::try_from(header.payload).unwrap();
                        let key = header.mask.unwrap_or_default();
                        (end <= bytes.len()).then_some(WholeMessage { opcode: header.opcode, key, start, end })
                    }
                    _ => None,
                };
                assert_eq!(whole_message(&bytes), expected(SERVER), "{:x?}", &bytes[..MAX_HEADER]);
                let unmasked = |WholeMessage { opcode, start, end, .. }| UnmaskedMessage { opcode, start, end };
                let client = Receiver { role: Role::Client, in_message: false, compression: false };
                let expected = expected(client).map(unmasked);
                assert_eq!(whole_unmasked_message(&bytes), expected, "{:x?}", &bytes[..MAX_HEADER]);
            }
        }
    }
}

#[test]
fn unmasked_headers_are_the_same_by_the_shorter_way() {
    for opcode in [OpCode::Text, OpCode::Binary, OpCode::Close, OpCode::Ping, OpCode::Pong] {
        for payload in [0, 1, 125, 126, 127, 65_535, 65_536] {
            if opcode.is_control() && payload as u64 > MAX_CONTROL {
                continue;
            }
            let mut out = b"before".to_vec();
            write_unmasked(opcode, payload, &mut out);
            assert_eq!(out, [&b"before"[..], &header(true, opcode, payload as u64).encode()].concat());
        }
    }
}
