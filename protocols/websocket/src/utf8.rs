//! UTF-8 checked while it streams (RFC 6455 §8.1, RFC 3629).
//!
//! A text message may be cut anywhere, in the middle of a character too, by fragmentation and by the network alike.
//! [`Decoder`] takes the parts as they come, checks every byte once, and refuses at the first byte that can't be right,
//! however little of the character (or of the frame) has arrived. What it gives back is `&str`, so nobody has to check
//! again. The bulk is `simdutf8`'s; here is only what happens at the cuts.

use thiserror::Error;

/// A text message is not UTF-8 (RFC 6455 §8.1): the connection must be failed, with close code 1007.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("text is not valid UTF-8 (RFC 6455 §8.1)")]
pub struct InvalidUtf8;

/// The whole of a message, checked at once.
///
/// # Errors
/// [`InvalidUtf8`] if `bytes` are not UTF-8 from the first to the last.
#[inline]
pub fn check(bytes: &[u8]) -> Result<&str, InvalidUtf8> {
    /// Shorter ones `simdutf8` gives to the standard library, too, by two calls more.
    const WIDE: usize = 64;
    if bytes.len() < WIDE {
        return std::str::from_utf8(bytes).map_err(|_| InvalidUtf8);
    }
    simdutf8::basic::from_utf8(bytes).map_err(|_| InvalidUtf8)
}

/// What a part of a text has added: first the character that earlier parts had begun, then the rest.
///
/// The beginning of a character at the part's end is not in it: the decoder keeps that until the rest arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// A character begun in earlier parts and completed by this one.
    pub head: Option<char>,
    /// All whole characters after it.
    pub body: &'a str,
}

/// Checks a text part by part. Holds at most three bytes: those of a character that is not complete.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Decoder {
    begun: [u8; 4],
    len: u8,
}

impl Decoder {
    /// A decoder at the start of a text.
    #[must_use]
    pub const fn new() -> Self {
        Self { begun: [0; 4], len: 0 }
    }

    /// Checks the next part of the text.
    ///
    /// # Errors
    /// [`InvalidUtf8`] as soon as a byte is seen that can't continue what is before it. The decoder is then of no use.
    pub fn push<'a>(&mut self, part: &'a [u8]) -> Result<Piece<'a>, InvalidUtf8> {
        let (head, part) = if self.len == 0 { (None, part) } else { self.complete(part)? };
        let (whole, begun) = part.split_at(part.len() - begun_at_end(part));
        let body = check(whole)?;
        for &byte in begun {
            self.begin(byte)?;
        }
        Ok(Piece { head, body })
    }

    /// The bytes of a character that is not complete.
    #[must_use]
    pub fn begun(&self) -> &[u8] {
        &self.begun[..usize::from(self.len)]
    }

    /// How many bytes that character lacks; 0 if none is begun.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.begun().first().map_or(0, |first| width(*first) - self.begun().len())
    }

    /// The text ends here.
    ///
    /// # Errors
    /// [`InvalidUtf8`] if it ends within a character.
    pub fn finish(self) -> Result<(), InvalidUtf8> {
        if self.len == 0 { Ok(()) } else { Err(InvalidUtf8) }
    }

    /// Takes bytes off `part` until the character begun earlier is complete, or `part` is used up.
    fn complete<'a>(&mut self, mut part: &'a [u8]) -> Result<(Option<char>, &'a [u8]), InvalidUtf8> {
        while let [byte, rest @ ..] = part {
            part = rest;
            self.begin(*byte)?;
            let begun = &self.begun[..usize::from(self.len)];
            if begun.len() == width(self.begun[0]) {
                let head = std::str::from_utf8(begun).map_err(|_| InvalidUtf8)?.chars().next();
                self.len = 0;
                return Ok((head, part));
            }
        }
        Ok((None, part))
    }

    /// Adds a byte to the character begun, if it can stand there.
    fn begin(&mut self, byte: u8) -> Result<(), InvalidUtf8> {
        let fits = match (self.len, self.begun[0]) {
            (0, _) => true, // `begun_at_end` gives only bytes that begin a character of several
            // The first continuation byte is the one that tells overlong forms, surrogates and what is above U+10FFFF
            // (RFC 3629 §4).
            (1, 0xe0) => matches!(byte, 0xa0..=0xbf),
            (1, 0xed) => matches!(byte, 0x80..=0x9f),
            (1, 0xf0) => matches!(byte, 0x90..=0xbf),
            (1, 0xf4) => matches!(byte, 0x80..=0x8f),
            _ => is_continuation(byte),
        };
        if !fits {
            return Err(InvalidUtf8);
        }
        self.begun[usize::from(self.len)] = byte;
        self.len += 1;
        Ok(())
    }
}

/// How many bytes at the end of `bytes` are the beginning of a character that needs more.
///
/// A byte that can't begin a character is left to the check of what is before, which will refuse it.
fn begun_at_end(bytes: &[u8]) -> usize {
    let last = bytes.iter().rev().take(3);
    match last.enumerate().find(|(_, byte)| !is_continuation(**byte)) {
        Some((after, first)) if width(*first) > after + 1 => after + 1,
        _ => 0,
    }
}

/// The bytes of the character that `first` begins (RFC 3629 §4); 1 for what stands alone, rightly or wrongly.
fn width(first: u8) -> usize {
    match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    }
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every boundary of RFC 3629 §4's table, from both sides, and the classics of the conformance suites.
    const SAMPLES: &[&[u8]] = &[
        b"",
        b"plain",
        "κόσμε, Ünï©öde, 日本語, 🦀🦀".as_bytes(),
        b"\x00\x7f",
        b"\xc2\x80\xdf\xbf",
        b"\xe0\xa0\x80\xe0\xbf\xbf",
        b"\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf",
        b"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf",
        b"ok\x80",
        b"ok\xbf\xbf\xbf\xbf\xbf",
        b"\xc0\xaf",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xf0\x8f\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xff\xfe",
        b"\xc3",
        b"\xe2\x82",
        b"\xf0\x9f\xa6",
        b"\xe2\x82a",
        b"\xf0\x9f\xa6\xf0\x9f\xa6\x80",
        b"a\xcc",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80\x65\x64",
    ];

    /// What the standard library makes of it: the text, or how many bytes from the start can still become valid.
    fn naive(bytes: &[u8]) -> Result<&str, usize> {
        std::str::from_utf8(bytes).map_err(|error| error.valid_up_to())
    }

    /// The number of bytes after which `bytes` can no longer become valid, if there is such a number: a prefix is
    /// hopeless when the standard library names a length for its error (none: it only lacks the end).
    fn first_hopeless(bytes: &[u8]) -> Option<usize> {
        (0..=bytes.len())
            .find(|&end| std::str::from_utf8(&bytes[..end]).is_err_and(|error| error.error_len().is_some()))
    }

    fn stream<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<String, InvalidUtf8> {
        let (mut decoder, mut text) = (Decoder::new(), String::new());
        for part in parts {
            let piece = decoder.push(part)?;
            text.extend(piece.head);
            text.push_str(piece.body);
        }
        decoder.finish().map(|()| text)
    }

    #[test]
    fn agrees_with_the_standard_library_at_every_pair_of_splits() {
        for &sample in SAMPLES {
            for first in 0..=sample.len() {
                for second in first..=sample.len() {
                    let parts = [&sample[..first], &sample[first..second], &sample[second..]];
                    let expected = naive(sample).map(str::to_owned).map_err(|_| InvalidUtf8);
                    assert_eq!(stream(parts), expected, "{sample:x?} at {first}, {second}");
                }
            }
        }
    }

    #[test]
    fn fails_at_the_first_byte_that_cannot_be_right() {
        for &sample in SAMPLES {
            let mut decoder = Decoder::new();
            let failed = (0..sample.len()).find(|&at| decoder.push(&sample[at..=at]).is_err()).map(|at| at + 1);
            assert_eq!(failed, first_hopeless(sample), "{sample:x?} byte by byte");

            for end in 0..=sample.len() {
                let hopeless = first_hopeless(&sample[..end]).is_some();
                assert_eq!(Decoder::new().push(&sample[..end]).is_err(), hopeless, "{:x?} at once", &sample[..end]);
            }
        }
    }

    #[test]
    fn every_sequence_of_three_bytes_as_one_and_as_three() {
        // All first bytes, and of the others one of each class that a boundary of the table separates.
        const CLASSES: [u8; 9] = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc2];
        for first in 0..=255 {
            for second in CLASSES {
                for third in CLASSES {
                    let bytes = [first, second, third, 0x80];
                    let expected = naive(&bytes).is_ok();
                    assert_eq!(stream([&bytes[..]]).is_ok(), expected, "{bytes:x?}");
                    assert_eq!(stream(bytes.chunks(1)).is_ok(), expected, "{bytes:x?} byte by byte");
                }
            }
        }
    }

    #[test]
    fn long_random_text_in_random_parts() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let text: String = (0..random.usize(..400)).map(|_| random.char(..)).collect();
            let mut bytes = text.clone().into_bytes();
            let damaged = random.bool() && !bytes.is_empty();
            if damaged {
                let at = random.usize(..bytes.len());
                bytes[at] ^= 1 << random.u8(..8);
            }
            let mut parts = Vec::new();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (part, after) = rest.split_at(random.usize(1..=rest.len().min(90)));
                parts.push(part);
                rest = after;
            }
            let expected = naive(&bytes).map(str::to_owned).map_err(|_| InvalidUtf8);
            assert_eq!(stream(parts), expected, "{bytes:x?}");
        }
    }
}
