//! Frame headers on the wire (RFC 6455 §5.2): parsed strictly, written minimally.
//!
//! ```text
//!  octet 0          octet 1          then
//!  FIN RSV1-3 OPCODE  MASK LENGTH(7)   length in 2 octets (126) or 8 (127), masking key in 4 (if MASK)
//!  1   3      4       1    7
//! ```
//!
//! This module knows one header at a time. Of what came before it needs one bit, [`Receiver::in_message`], and it knows
//! nothing of payloads: those are [`mask`](crate::mask)'s and [`utf8`](crate::utf8)'s.

use thiserror::Error;

use crate::mask::Key;

/// The most bytes a header can have: 2, a length in 8 more, a masking key in 4.
pub const MAX_HEADER: usize = 14;

/// The longest payload of a control frame (RFC 6455 §5.5), in bytes.
pub const MAX_CONTROL: u64 = 125;

/// The first of the reserved bits in octet 0.
const RSV1: u8 = 0x40;

/// Which end of the connection this is. It decides who masks (RFC 6455 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Receives masked frames, sends unmasked ones.
    Server,
    /// Receives unmasked frames, sends masked ones.
    Client,
}

/// What a frame is (RFC 6455 §5.2, §11.8). The reserved opcodes have no value here: they are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OpCode {
    /// Continues the message begun by the last `Text` or `Binary`.
    Continuation = 0x0,
    /// Begins a message of UTF-8 text.
    Text = 0x1,
    /// Begins a message of bytes.
    Binary = 0x2,
    /// Begins or answers the closing handshake.
    Close = 0x8,
    /// Asks for a `Pong` with the same payload.
    Ping = 0x9,
    /// Answers a `Ping`, or is a sign of life that nobody asked for.
    Pong = 0xa,
}

impl OpCode {
    /// The opcode of these four bits, unless reserved.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    /// Whether this is a control frame's (RFC 6455 §5.5).
    #[inline]
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// The header of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The last frame of its message.
    pub fin: bool,
    /// The frame begins a compressed message: RSV1, as permessage-deflate defines it (RFC 7692 §6).
    pub compressed: bool,
    /// What the frame is.
    pub opcode: OpCode,
    /// The masking key, on frames from a client.
    pub mask: Option<Key>,
    /// The bytes of payload the sender declares, at most 2^63 - 1. Declared only: not a length to allocate by.
    pub payload: u64,
}

/// The state a header is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receiver {
    /// The end that receives.
    pub role: Role,
    /// A fragmented message has begun and not ended.
    pub in_message: bool,
    /// permessage-deflate was negotiated: messages may be compressed.
    pub compression: bool,
}

/// The peer sent a header that RFC 6455 forbids: the connection must be failed, with close code 1002.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// RSV1, RSV2 or RSV3 is set, and no extension was negotiated that gives it a meaning on such a frame.
    #[error("reserved bits {0:#05b} are set, without an extension that defines them (RFC 6455 §5.2)")]
    ReservedBits(u8),
    /// An opcode nobody has defined.
    #[error("opcode {0:#x} is reserved (RFC 6455 §5.2)")]
    ReservedOpCode(u8),
    /// A client's frame without a mask.
    #[error("a frame from a client is not masked (RFC 6455 §5.1)")]
    NotMasked,
    /// A server's frame with a mask.
    #[error("a frame from a server is masked (RFC 6455 §5.1)")]
    Masked,
    /// A control frame that is not the whole of its message.
    #[error("a control frame is fragmented (RFC 6455 §5.5)")]
    FragmentedControl,
    /// A control frame of more than 125 bytes.
    #[error("a control frame has more than 125 bytes (RFC 6455 §5.5)")]
    LongControl,
    /// A length that would fit into fewer octets.
    #[error("a payload length is not in its shortest form (RFC 6455 §5.2)")]
    LengthNotMinimal,
    /// A 64-bit length with the most significant bit set.
    #[error("a payload length has its most significant bit set (RFC 6455 §5.2)")]
    LengthTooLarge,
    /// A continuation frame with nothing to continue.
    #[error("a continuation frame without a message to continue (RFC 6455 §5.4)")]
    UnexpectedContinuation,
    /// A new message within a fragmented one.
    #[error("a new message before the last fragment of the one before it (RFC 6455 §5.4)")]
    ExpectedContinuation,
}

/// Reads the header that `bytes` begin with: the header and how many bytes it has, or `None` if they are too few yet.
///
/// # Errors
/// [`FrameError`] as soon as an octet is there that can't be right, with or without the rest of the header.
#[inline]
pub fn parse(bytes: &[u8], receiver: Receiver) -> Result<Option<(Header, usize)>, FrameError> {
    // Nearly every header has both octets here; nearly every header without is the end of a read.
    let [first, second, rest @ ..] = bytes else {
        return bytes.first().map_or(Ok(()), |first| check_first(*first, receiver).map(drop)).map(|()| None);
    };
    let opcode = check_first(*first, receiver)?;
    let masked = check_second(*second, opcode, receiver.role)?;
    let (payload, rest) = match second & 0x7f {
        126 => match rest {
            [high, low, rest @ ..] => (length_16([*high, *low])?, rest),
            _ => return Ok(None),
        },
        127 => match length_64(rest)? {
            Some(length) => (length, &rest[8..]),
            None => return Ok(None),
        },
        short => (u64::from(short), rest),
    };
    let (mask, rest) = match (masked, rest.split_first_chunk::<4>()) {
        (true, Some((key, rest))) => (Some(*key), rest),
        (true, None) => return Ok(None),
        (false, _) => (None, rest),
    };
    let header = Header { fin: first & 0x80 != 0, compressed: first & RSV1 != 0, opcode, mask, payload };
    Ok(Some((header, bytes.len() - rest.len())))
}

/// A whole message in one masked frame: what nearly everything that comes to a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WholeMessage {
    /// `Text` or `Binary`.
    pub opcode: OpCode,
    /// The masking key.
    pub key: Key,
    /// Bytes of the header.
    pub start: usize,
    /// Bytes of header and payload.
    pub end: usize,
}

/// Recognises a whole message, not a compressed one, at the beginning of `bytes`: a shorter way to what [`parse`] finds
/// of a server's, between messages. `None` says nothing about `bytes` but that `parse` must look at them.
#[inline(always)]
#[must_use]
pub fn whole_message(bytes: &[u8]) -> Option<WholeMessage> {
    let [first, second, key @ ..] = *bytes.first_chunk::<6>()?;
    let opcode = message_opcode(first)?;
    let (length, key, start) = match second {
        0x80..=0xfd => (usize::from(second & 0x7f), key, 6),
        0xfe => {
            let [_, _, high, low, key @ ..] = *bytes.first_chunk::<8>()?;
            (usize::try_from(length_16([high, low]).ok()?).ok()?, key, 8)
        }
        0xff => {
            let length = length_64(bytes.get(2..10)?).ok()??;
            (usize::try_from(length).ok()?.min(usize::MAX - 14), *bytes[10..].first_chunk()?, 14)
        }
        _ => return None,
    };
    let end = start + length;
    (end <= bytes.len()).then_some(WholeMessage { opcode, key, start, end })
}

/// The opcode of a message's only frame, not compressed.
#[inline]
fn message_opcode(first: u8) -> Option<OpCode> {
    match first {
        0x81 => Some(OpCode::Text),
        0x82 => Some(OpCode::Binary),
        _ => None,
    }
}

/// A whole message in one unmasked frame: what nearly everything that comes to a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnmaskedMessage {
    /// `Text` or `Binary`.
    pub opcode: OpCode,
    /// Bytes of the header.
    pub start: usize,
    /// Bytes of header and payload.
    pub end: usize,
}

/// Recognises a whole message at the beginning of `bytes`: what [`whole_message`] is to a server, to a client.
#[inline(always)]
#[must_use]
pub fn whole_unmasked_message(bytes: &[u8]) -> Option<UnmaskedMessage> {
    let [first, second, ..] = *bytes else { return None };
    let opcode = message_opcode(first)?;
    let (length, start): (usize, usize) = match second {
        0..=0x7d => (usize::from(second), 2),
        0x7e => (usize::try_from(length_16(*bytes[2..].first_chunk()?).ok()?).ok()?, 4),
        0x7f => (usize::try_from(length_64(bytes.get(2..10)?).ok()??).ok()?.min(usize::MAX - 10), 10),
        _ => return None,
    };
    let end = start + length;
    (end <= bytes.len()).then_some(UnmaskedMessage { opcode, start, end })
}

/// Octet 0: FIN, the reserved bits, the opcode, and whether such a frame may come now.
#[inline]
fn check_first(first: u8, receiver: Receiver) -> Result<OpCode, FrameError> {
    let compressed = receiver.compression && first & 0x70 == RSV1 && matches!(first & 0x0f, 0x1 | 0x2);
    if first & 0x70 != 0 && !compressed {
        return Err(FrameError::ReservedBits(first >> 4 & 0x7));
    }
    let Some(opcode) = OpCode::from_bits(first & 0x0f) else {
        return Err(FrameError::ReservedOpCode(first & 0x0f));
    };
    match opcode {
        OpCode::Continuation if !receiver.in_message => Err(FrameError::UnexpectedContinuation),
        OpCode::Text | OpCode::Binary if receiver.in_message => Err(FrameError::ExpectedContinuation),
        opcode if opcode.is_control() && first & 0x80 == 0 => Err(FrameError::FragmentedControl),
        opcode => Ok(opcode),
    }
}

/// Octet 1: whether the frame is masked, as it must be or not be, and a control frame's length.
#[inline]
fn check_second(second: u8, opcode: OpCode, role: Role) -> Result<bool, FrameError> {
    let masked = second & 0x80 != 0;
    match (role, masked) {
        (Role::Server, false) => Err(FrameError::NotMasked),
        (Role::Client, true) => Err(FrameError::Masked),
        _ if opcode.is_control() && u64::from(second & 0x7f) > MAX_CONTROL => Err(FrameError::LongControl),
        _ => Ok(masked),
    }
}

#[inline]
fn length_16(octets: [u8; 2]) -> Result<u64, FrameError> {
    match u64::from(u16::from_be_bytes(octets)) {
        0..126 => Err(FrameError::LengthNotMinimal),
        length => Ok(length),
    }
}

/// The length in the first eight of `octets`, which may not all be there.
fn length_64(octets: &[u8]) -> Result<Option<u64>, FrameError> {
    if octets.first().is_some_and(|octet| octet & 0x80 != 0) {
        return Err(FrameError::LengthTooLarge);
    }
    // Six zero octets first: 16 bits would have done, whatever the last two are.
    if octets.first_chunk::<6>().is_some_and(|high| *high == [0; 6]) {
        return Err(FrameError::LengthNotMinimal);
    }
    Ok(octets.first_chunk::<8>().map(|octets| u64::from_be_bytes(*octets)))
}

/// A header ready to be sent. Dereferences to its bytes.
#[derive(Debug, Clone, Copy)]
pub struct HeaderBytes {
    bytes: [u8; MAX_HEADER],
    len: usize,
}

impl std::ops::Deref for HeaderBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Header {
    /// The header's octets, its length in the shortest form.
    ///
    /// The caller keeps the rules that concern more than the length: who masks, and that a control frame is not
    /// fragmented and has at most [`MAX_CONTROL`] bytes.
    #[inline]
    #[must_use]
    pub fn encode(self) -> HeaderBytes {
        debug_assert!(!self.opcode.is_control() || (self.fin && self.payload <= MAX_CONTROL));
        let mut header = HeaderBytes { bytes: [0; MAX_HEADER], len: 2 };
        let mask_bit = if self.mask.is_some() { 0x80 } else { 0 };
        header.bytes[0] = if self.fin { 0x80 } else { 0 } | if self.compressed { RSV1 } else { 0 } | self.opcode as u8;
        match (u8::try_from(self.payload), u16::try_from(self.payload)) {
            (Ok(short @ 0..126), _) => header.bytes[1] = mask_bit | short,
            (_, Ok(medium)) => {
                header.bytes[1] = mask_bit | 126;
                header.append(medium.to_be_bytes());
            }
            _ => {
                header.bytes[1] = mask_bit | 127;
                header.append(self.payload.to_be_bytes());
            }
        }
        if let Some(key) = self.mask {
            header.append(key);
        }
        header
    }
}

/// Appends the header of a whole unmasked message of `payload` bytes, or of an unmasked control frame: what
/// [`Header::encode`] gives, by a shorter way for the short ones.
#[inline]
pub fn write_unmasked(opcode: OpCode, payload: usize, out: &mut Vec<u8>) {
    match u8::try_from(payload) {
        Ok(short @ 0..126) => out.extend_from_slice(&[0x80 | opcode as u8, short]),
        _ => {
            let header = Header { fin: true, compressed: false, opcode, mask: None, payload: payload as u64 };
            out.extend_from_slice(&header.encode());
        }
    }
}

impl HeaderBytes {
    #[inline]
    fn append<const N: usize>(&mut self, octets: [u8; N]) {
        self.bytes[self.len..self.len + N].copy_from_slice(&octets);
        self.len += N;
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
