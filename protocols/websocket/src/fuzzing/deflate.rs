//! Compressed messages: what is negotiated, what arrives, and the way there and back.

use super::inflate::naive_inflate;
use super::octets::Octets;
use crate::deflate::{
    Compression, Deflater, InflateError, Inflater, Memory, NAME, Offer, PIECE, Parameters, WindowBits, accept,
};
use crate::extensions::{self, Extension};

const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Takes `data` as settings (two bytes), the sizes of pieces (three, by turns), the value of a header field behind its
/// length (one), and messages, each behind its length (two), and checks what becomes of them: the header's against what
/// was agreed on, the messages, as what is received, against a naive decoder, whole and in pieces; as what is sent, there
/// and back.
///
/// # Panics
/// If the crate and the naive decoder disagree, if pieces make a difference, if a limit is not kept.
pub fn deflate(data: &[u8]) {
    let mut input = Octets::new(data);
    let (choices, level) = (input.choice(), input.choice() % 10);
    let memory = |bit: u8| if choices >> bit & 1 == 0 { Memory::Shared } else { Memory::Dedicated };
    let window = |bits: u8| WindowBits::new(8 + bits % 8).expect("8 to 15");
    let compression = Compression {
        compressor: memory(0),
        decompressor: memory(1),
        window_bits: window(choices >> 2),
        peer_window_bits: window(choices >> 5),
        level,
        threshold: 0,
    };
    let sizes: [usize; 3] = [(); 3].map(|()| 1 + usize::from(input.choice()));
    let length = usize::from(input.choice());
    negotiate(input.bytes(length), &compression);

    let mut messages = Vec::new();
    while let Some(high) = input.next() {
        let length = usize::from(u16::from_be_bytes([high, input.choice()]));
        messages.push(input.bytes(length));
    }
    receive(&messages, compression.decompressor, sizes);
    send(&messages, &compression);
}

/// A header field as a request's, then as an answer's.
fn negotiate(value: &[u8], compression: &Compression) {
    let parsed = extensions::parse([value]);
    if !value.contains(&b'"') {
        assert_eq!(parsed.is_ok(), is_list(value), "{value:?}");
    }
    let Ok(list) = parsed else { return };
    let offers = || list.iter().filter(|extension| extension.name == NAME);
    for offer in offers().filter_map(|extension| Offer::parse(extension).ok()) {
        assert_eq!(reread(&offer.to_string(), Offer::parse), offer);
        let agreed = offer.answer(compression);
        assert_eq!(reread(&agreed.to_string(), |extension| offer.check(std::slice::from_ref(extension))), Some(agreed));
        let server_window = agreed.server_max_window_bits.unwrap_or(WindowBits::MAX);
        assert!(server_window <= compression.window_bits);
        assert!(offer.server_max_window_bits.is_none_or(|most| server_window <= most));
        assert!(agreed.server_no_context_takeover || !offer.server_no_context_takeover);
    }
    let first = offers().find_map(|extension| Offer::parse(extension).ok());
    assert_eq!(accept(&list, compression), first.map(|offer| offer.answer(compression)));

    let offer = Offer::new(compression);
    if let Ok(Some(agreed)) = offer.check(&list) {
        assert_eq!(list.len(), 1);
        assert_eq!(reread(&agreed.to_string(), Parameters::parse), agreed);
        assert!(agreed.server_no_context_takeover || compression.decompressor == Memory::Dedicated);
        assert!(agreed.server_max_window_bits.unwrap_or(WindowBits::MAX) <= compression.peer_window_bits);
    }
}

fn reread<T, E: std::fmt::Debug>(text: &str, read: impl Fn(&Extension<'_>) -> Result<T, E>) -> T {
    let list = extensions::parse([text.as_bytes()]).expect("what is written is a list");
    assert_eq!(list.len(), 1);
    read(&list[0]).expect("what is written is read back")
}

/// Whether it is a list of extensions, of a value without quotes.
fn is_list(value: &[u8]) -> bool {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let trim = |mut bytes: &[u8]| {
        while let [first, rest @ ..] = bytes
            && blank(first)
        {
            bytes = rest;
        }
        while let [rest @ .., last] = bytes
            && blank(last)
        {
            bytes = rest;
        }
        crate::handshake::is_token(bytes) || bytes.is_empty()
    };
    let is_empty = |bytes: &[u8]| bytes.iter().all(blank);
    let is_token = |bytes: &[u8]| !is_empty(bytes) && trim(bytes);
    let mut elements = value.split(|byte| *byte == b',').filter(|element| !is_empty(element)).peekable();
    elements.peek().is_some()
        && elements.all(|element| {
            let mut parts = element.split(|byte| *byte == b';');
            parts.next().is_some_and(is_token)
                && parts.all(|part| {
                    let halves: Vec<&[u8]> = part.splitn(2, |byte| *byte == b'=').collect();
                    halves.iter().all(|half| is_token(half))
                })
        })
}

/// The messages as they come, whole and in pieces.
fn receive(messages: &[&[u8]], memory: Memory, sizes: [usize; 3]) {
    let (mut whole, mut parts) = (Inflater::new(), Inflater::new());
    let mut plain = Vec::new();
    for payload in messages {
        if memory == Memory::Shared {
            plain.clear();
        }
        let start = plain.len();
        let before_tail = naive_inflate(payload, &mut plain);
        let size = plain.len();
        plain.truncate(start);
        let behind_tail = naive_inflate(&[payload, &TAIL[..]].concat(), &mut plain);
        let is_whole = payload.is_empty() || before_tail.is_after_final();
        let is_good = is_whole || (!behind_tail.is_bad() && plain.len() == size);
        plain.truncate(size);
        let expected = match memory {
            Memory::Shared => is_good && (is_whole || behind_tail.is_boundary()),
            Memory::Dedicated => is_good,
        };
        let inflated = inflate(&mut whole, memory, [*payload]);
        assert_eq!(inflated.is_ok(), expected, "{payload:x?}: {before_tail:?}, {behind_tail:?}, {inflated:?}");
        let mut rest = *payload;
        let pieces = sizes.into_iter().cycle().map_while(|size| {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            rest = after;
            (!piece.is_empty()).then_some(piece)
        });
        assert_eq!(inflate(&mut parts, memory, pieces), inflated, "pieces of {sizes:?}");
        if let Ok(inflated) = &inflated {
            assert!(*inflated == plain[start..], "{payload:x?}");
        }
        if start == 0 {
            let half = size / 2;
            let limited = Inflater::new().message(payload, half);
            assert!(limited.is_err() || size <= half);
        }
        if memory == Memory::Dedicated && !(inflated.is_ok() && (is_whole || behind_tail.is_boundary())) {
            return; // nobody knows what comes next
        }
    }
}

fn inflate<'a>(
    inflater: &mut Inflater,
    memory: Memory,
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, InflateError> {
    let mut plain = Vec::new();
    let mut add = |piece: &[u8]| {
        assert!((1..=PIECE).contains(&piece.len()));
        plain.extend_from_slice(piece);
        Ok::<_, InflateError>(())
    };
    let pushed = parts.into_iter().try_for_each(|part| inflater.push(part, &mut add));
    let finished = pushed.and_then(|()| match memory {
        Memory::Shared => inflater.finish_and_reset(),
        Memory::Dedicated => inflater.finish(),
    });
    if memory == Memory::Shared {
        inflater.reset();
    }
    finished.map(|()| plain)
}

/// The messages compressed, and read by the naive decoder.
fn send(messages: &[&[u8]], compression: &Compression) {
    let mut deflater = Deflater::new(compression.window_bits, compression.level);
    let (mut plain, mut expected) = (Vec::new(), Vec::new());
    for message in messages {
        if compression.compressor == Memory::Shared {
            deflater.reset();
            plain.clear();
            expected.clear();
        }
        let mut payload = Vec::new();
        deflater.deflate(message, &mut payload);
        payload.extend(TAIL);
        let end = naive_inflate(&payload, &mut plain);
        expected.extend_from_slice(message);
        assert!(end.is_boundary() && !end.has_final() && plain == expected, "{end:?}");
        assert!(end.distance() <= 1 << compression.window_bits.bits(), "{end:?}");
    }
}
