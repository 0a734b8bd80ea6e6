//! Frames one by one: header, mask, text, close payload.

use super::naive::{self, Naive};
use crate::close::{self, CloseCode};
use crate::frame::{
    FrameError, Header, OpCode, Receiver, Role, UnmaskedMessage, WholeMessage, parse, whole_message,
    whole_unmasked_message, write_unmasked,
};
use crate::{mask, utf8};

/// Takes `data` as a receiver's state (the first byte) and what it receives, and checks every frame of it against a
/// naive decoder: header, mask, text, close payload, and the way back to bytes.
///
/// # Panics
/// If the crate and the naive decoder disagree.
pub fn frame(data: &[u8]) {
    let Some((state, mut rest)) = data.split_first() else { return };
    let role = if state & 1 == 0 { Role::Server } else { Role::Client };
    let mut receiver = Receiver { role, in_message: state & 2 != 0, compression: state & 4 != 0 };
    while !rest.is_empty() {
        let parsed = parse(rest, receiver);
        if !receiver.in_message {
            let whole = naive_whole_message(rest, parsed);
            match role {
                Role::Server => assert_eq!(whole_message(rest), whole),
                Role::Client => assert_eq!(whole_unmasked_message(rest), whole.map(without_key)),
            }
        }
        match naive::header(rest, receiver) {
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
                if let (Header { fin: true, compressed: false, mask: None, .. }, Ok(payload)) =
                    (header, usize::try_from(header.payload))
                {
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
    let whole = header.fin && !header.compressed && !header.opcode.is_control() && end <= rest.len();
    whole.then_some(WholeMessage { opcode: header.opcode, key: header.mask.unwrap_or_default(), start, end })
}

fn without_key(WholeMessage { opcode, start, end, .. }: WholeMessage) -> UnmaskedMessage {
    UnmaskedMessage { opcode, start, end }
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
    let expected = naive::close(plain).map(|(code, reason)| (CloseCode(code), reason));
    assert_eq!(close::parse(plain).ok(), expected.ok());
}
