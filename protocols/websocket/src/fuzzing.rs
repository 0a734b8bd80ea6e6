//! What the fuzz targets run, in the crate so that stable tests replay their seeds. Not part of the public interface.

use crate::close::{self, CloseCode};
use crate::frame::{FrameError, Header, OpCode, Receiver, Role, WholeMessage, parse, whole_message, write_unmasked};
use crate::{mask, utf8};

/// Takes `data` as a receiver's state (the first byte) and what it receives, and checks every frame of it against a
/// naive decoder: header, mask, text, close payload, and the way back to bytes.
///
/// # Panics
/// If the crate and the naive decoder disagree.
pub fn frame(data: &[u8]) {
    let Some((state, mut rest)) = data.split_first() else { return };
    let role = if state & 1 == 0 { Role::Server } else { Role::Client };
    let mut receiver = Receiver { role, in_message: state & 2 != 0 };
    while !rest.is_empty() {
        let parsed = parse(rest, receiver);
        if receiver == (Receiver { role: Role::Server, in_message: false }) {
            assert_eq!(whole_message(rest), naive_whole_message(rest, parsed));
        }
        match naive_header(rest, receiver) {
            Naive::Bad => {
                assert!(parsed.is_err(), "{parsed:?} of what is forbidden");
                return;
            }
            Naive::Short => {
                assert_eq!(parsed, Ok(None));
                return;
            }
            Naive::Header(header, length) => {
                assert_eq!(parsed, Ok(Some((header, length))));
                assert_eq!(&*header.encode(), &rest[..length], "a header has one form only");
                if let (Header { fin: true, mask: None, .. }, Ok(payload)) = (header, usize::try_from(header.payload)) {
                    let mut written = vec![1, 2, 3];
                    write_unmasked(header.opcode, payload, &mut written);
                    assert_eq!(&written[3..], &rest[..length]);
                }
                rest = &rest[length..];
                let here = usize::try_from(header.payload).unwrap_or(usize::MAX).min(rest.len());
                let (payload, after) = rest.split_at(here);
                check_payload(header, payload);
                rest = after;
                if !header.opcode.is_control() {
                    receiver.in_message = !header.fin;
                }
            }
        }
    }
}

/// What the short way to whole messages should find, by the long one.
fn naive_whole_message(rest: &[u8], parsed: Result<Option<(Header, usize)>, FrameError>) -> Option<WholeMessage> {
    let (header, start) = parsed.ok()??;
    let end = start.checked_add(usize::try_from(header.payload).ok()?)?;
    let whole = header.fin && !header.opcode.is_control() && end <= rest.len();
    whole.then_some(WholeMessage { opcode: header.opcode, key: header.mask?, start, end })
}

/// Unmasks and checks what is there of a payload, in one and in two parts.
fn check_payload(header: Header, payload: &[u8]) {
    let key = header.mask.unwrap_or_default();
    let plain: Vec<u8> = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    let mut whole = payload.to_vec();
    mask::apply(&mut whole, key);
    assert_eq!(whole, plain);
    let split = payload.len() / 3;
    let mut parts = payload.to_vec();
    let (first, second) = parts.split_at_mut(split);
    mask::apply(first, key);
    mask::apply(second, mask::advance(key, split));
    assert_eq!(parts, plain);

    check_text(&plain, split);
    if header.opcode == OpCode::Close && payload.len() as u64 == header.payload {
        check_close(&plain);
    }
}

fn check_text(plain: &[u8], split: usize) {
    let expected = std::str::from_utf8(plain);
    assert_eq!(utf8::check(plain).ok(), expected.ok());
    let hopeless = expected.is_err_and(|error| error.error_len().is_some());
    let mut decoder = utf8::Decoder::new();
    let mut text = String::new();
    let mut add = |part| {
        let piece = decoder.push(part)?;
        text.extend(piece.head);
        text.push_str(piece.body);
        Ok::<_, utf8::InvalidUtf8>(())
    };
    let added = add(&plain[..split]).and_then(|()| add(&plain[split..]));
    assert_eq!(added.is_err(), hopeless, "{plain:x?}");
    if added.is_ok() {
        assert_eq!(decoder.finish().is_ok(), expected.is_ok());
        assert!(plain.starts_with(text.as_bytes()) && plain.len() - text.len() < 4);
    }
}

fn check_close(plain: &[u8]) {
    let expected = match plain {
        [] => Some((CloseCode::NO_STATUS, "")),
        [_] => None,
        [high, low, reason @ ..] => {
            let code = u16::from(*high) << 8 | u16::from(*low);
            let known = (1000..1015).contains(&code) && ![1004, 1005, 1006].contains(&code);
            let ours = (3000..5000).contains(&code);
            let reason = std::str::from_utf8(reason).ok();
            reason.filter(|_| known || ours).map(|reason| (CloseCode(code), reason))
        }
    };
    assert_eq!(close::parse(plain).ok(), expected);
}

enum Naive {
    Header(Header, usize),
    Short,
    Bad,
}

/// RFC 6455 §5.2, octet by octet, as slowly and plainly as can be.
fn naive_header(bytes: &[u8], receiver: Receiver) -> Naive {
    let bit = |octet: u8, bit: u32| octet >> bit & 1 == 1;
    let Some(&first) = bytes.first() else { return Naive::Short };
    let fin = bit(first, 7);
    let opcode = match first % 16 {
        0 if receiver.in_message => OpCode::Continuation,
        1 if !receiver.in_message => OpCode::Text,
        2 if !receiver.in_message => OpCode::Binary,
        8 if fin => OpCode::Close,
        9 if fin => OpCode::Ping,
        10 if fin => OpCode::Pong,
        _ => return Naive::Bad,
    };
    if bit(first, 6) || bit(first, 5) || bit(first, 4) {
        return Naive::Bad;
    }
    let Some(&second) = bytes.get(1) else { return Naive::Short };
    let masked = bit(second, 7);
    if masked != (receiver.role == Role::Server) || (first % 16 >= 8 && second % 128 > 125) {
        return Naive::Bad;
    }
    let (octets, smallest): (u8, u128) = match second % 128 {
        126 => (2, 126),
        127 => (8, 65_536),
        _ => (0, 0),
    };
    let mut payload = if octets == 0 { u64::from(second % 128) } else { 0 };
    for index in 0..octets {
        let Some(&octet) = bytes.get(2 + usize::from(index)) else { return Naive::Short };
        payload = payload * 256 + u64::from(octet);
        // What is the smallest and the largest this can still become?
        let missing = 8 * (octets - 1 - index);
        let largest = (u128::from(payload) << missing) + (1 << missing) - 1;
        if u128::from(payload) << missing >= 1 << 63 || largest < smallest {
            return Naive::Bad;
        }
    }
    let length = usize::from(2 + octets + if masked { 4 } else { 0 });
    if bytes.len() < length {
        return Naive::Short;
    }
    let mask = masked.then(|| [bytes[length - 4], bytes[length - 3], bytes[length - 2], bytes[length - 1]]);
    Naive::Header(Header { fin, opcode, mask, payload }, length)
}
