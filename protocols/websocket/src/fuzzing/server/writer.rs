//! What the peer writes: valid frames, and all the others.

use super::echo::{CLOSE, FAIL, LOUD, PAUSE};
use crate::deflate::Deflater;
use crate::fuzzing::octets::Octets;

/// A text that has characters of every length, to be cut anywhere.
const TEXT: &str = "a\u{e9}\u{20ac}\u{1f980}z";

/// Writes to a buffer, from which chunks are taken.
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// It writes as a client does, to a server.
    masks: bool,
    /// Bytes written since this was last asked.
    written: usize,
    /// A fragmented message has begun.
    message: Option<Begun>,
    frames: u8,
    /// What compresses, where that is to be agreed on; and whether it forgets each message.
    deflater: Option<(Deflater, bool)>,
}

/// A message of which not all is written.
#[derive(Clone, Copy)]
struct Begun {
    text: bool,
    compressed: bool,
    /// How far it has come.
    offset: usize,
}

impl Writer {
    /// Begins with this head (a client's request, a server's answer), or (6) with it damaged, or (7) without.
    pub(super) fn new(head: &[u8], opening: u8, deflater: Option<(Deflater, bool)>, input: &mut Octets<'_>) -> Self {
        let masks = head.starts_with(b"GET ");
        let mut writer = Self { bytes: Vec::new(), masks, written: 0, message: None, frames: 0, deflater };
        if opening < 7 {
            writer.write(head);
        }
        if opening == 6 {
            let at = usize::from(input.choice()) % head.len();
            writer.bytes[at] ^= 1 << (input.choice() % 8);
        }
        writer
    }

    /// The next bytes, at most `count`.
    pub(super) fn take(&mut self, count: usize) -> Vec<u8> {
        let count = count.min(self.bytes.len());
        self.bytes.drain(..count).collect()
    }

    /// Bytes written since this was last asked.
    pub(super) fn written(&mut self) -> usize {
        std::mem::take(&mut self.written)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.written += bytes.len();
    }

    /// A frame as it should be, with a mask of its own where there must be one.
    fn frame(&mut self, first: u8, payload: &[u8]) {
        self.frames = self.frames.wrapping_add(1);
        let key = [self.frames, 0, 0x5a, self.frames.wrapping_mul(37)];
        let mut bytes = vec![first];
        match payload.len() {
            short @ 0..126 => bytes.push(u8::try_from(short).unwrap_or_default()),
            long => {
                bytes.push(0x7e);
                bytes.extend(u16::try_from(long).unwrap_or(u16::MAX).to_be_bytes());
            }
        }
        if self.masks {
            bytes[1] |= 0x80;
            bytes.extend(key);
            bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        } else {
            bytes.extend(payload);
        }
        self.write(&bytes);
    }

    /// A message, or a fragment: the beginning of one, or what continues the one that has begun.
    pub(super) fn data(&mut self, input: &mut Octets<'_>) {
        let kind = input.choice();
        let length = match usize::from(input.choice()) {
            short @ 0..200 => short,
            long => (long - 199) * 45, // up to 2520
        };
        let fin = kind & 3 != 0;
        let begun = self.message.unwrap_or_else(|| {
            let compressed = kind & 16 != 0 && self.deflater.is_some();
            Begun { text: kind & 4 != 0, compressed, offset: 0 }
        });
        let Begun { text, compressed, offset } = begun;
        let mut payload: Vec<u8> = if text {
            TEXT.bytes().cycle().skip(offset % TEXT.len()).take(length).collect()
        } else {
            vec![kind; length]
        };
        if kind >= 0xe0 {
            if let (Some(first), false) = (payload.first_mut(), text) {
                *first = [LOUD, PAUSE, FAIL, CLOSE][usize::from(kind >> 3 & 3)];
            }
        } else if kind & 8 != 0 {
            payload = input.bytes(length).to_vec();
        }
        let opcode = match (self.message, text) {
            (Some(_), _) => 0,
            (None, true) => 1,
            (None, false) => 2,
        };
        let offset = offset + payload.len();
        // What the input itself chose is sent as it is: compressed or not, as it may be.
        if compressed && (kind & 8 == 0 || kind >= 0xe0) {
            payload = self.compress(&payload, fin);
        }
        let rsv1 = if compressed && opcode != 0 { 0x40 } else { 0 };
        self.message = (!fin).then_some(Begun { offset, ..begun });
        self.frame(u8::from(fin) << 7 | rsv1 | opcode, &payload);
    }

    /// A part of a message, compressed.
    fn compress(&mut self, part: &[u8], last: bool) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some((deflater, forgets)) = &mut self.deflater {
            deflater.deflate(part, &mut out);
            if !last {
                out.extend([0x00, 0x00, 0xff, 0xff]);
            } else if *forgets {
                deflater.reset();
            }
        }
        out
    }

    /// A ping or a pong, now and then a byte or two too long.
    pub(super) fn control(&mut self, input: &mut Octets<'_>) {
        let choice = input.choice();
        let payload = vec![choice; usize::from(choice & 0x7f)];
        self.frame(if choice & 0x80 == 0 { 0x89 } else { 0x8a }, &payload);
    }

    /// A close frame, with a code and a reason or less.
    pub(super) fn close(&mut self, input: &mut Octets<'_>) {
        let length = usize::from(input.choice() & 0x7f);
        let code = match input.choice() {
            special @ 0..128 => 1000 + u16::from(special & 15),
            _ => input.wide_choice(),
        };
        let payload: Vec<u8> = code.to_be_bytes().into_iter().chain(TEXT.bytes().cycle()).take(length).collect();
        self.frame(0x88, &payload);
    }

    /// The input as it is.
    pub(super) fn raw(&mut self, input: &mut Octets<'_>) {
        let length = usize::from(input.choice());
        let bytes = input.bytes(length).to_vec();
        self.write(&bytes);
    }

    /// A header of the input's own, and its payload or something like it.
    pub(super) fn header(&mut self, input: &mut Octets<'_>) {
        let (first, second) = (input.choice(), input.choice());
        let mut bytes = vec![first, second];
        match second & 0x7f {
            126 => bytes.extend(input.wide_choice().to_be_bytes()),
            127 => bytes.extend([(); 8].map(|()| input.choice())),
            _ => {}
        }
        bytes.extend([0; 4].iter().take(if self.masks { 4 } else { 0 }));
        bytes.extend(TEXT.bytes().cycle().take(usize::from(second & 0x7f)));
        self.write(&bytes);
    }

    /// Flips a bit of what waits to be taken, counted from its end.
    pub(super) fn damage(&mut self, input: &mut Octets<'_>) {
        let (back, bit) = (usize::from(input.choice()), input.choice() % 8);
        if let Some(at) = self.bytes.len().checked_sub(1 + back) {
            self.bytes[at] ^= 1 << bit;
        }
    }
}
