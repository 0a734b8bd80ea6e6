//! Datagrams, as they are written and read: `docs/wire-format.md` has the layout.

/// This version of the protocol, in the upper half of every datagram's first byte.
const VERSION: u8 = 0x10;
const OPEN: u8 = VERSION | 1;
const ACCEPT: u8 = VERSION | 2;
const DATA: u8 = VERSION | 3;
const FIN: u8 = VERSION | 4;
const ACK: u8 = VERSION | 5;
const PING: u8 = VERSION | 6;
const DONE: u8 = VERSION | 7;
const RESET: u8 = VERSION | 8;

/// Bytes of a `DATA` datagram before its chunks.
pub(crate) const DATA_HEADER: usize = 21;
/// Bytes of an `ACK` before its bitmap.
#[cfg(test)]
pub(crate) const ACK_HEADER: usize = 17;
/// The most segments that a receiver may take at once; so the longest bitmap has an eighth as many bytes.
pub(crate) const MOST_SEGMENTS: usize = 1024;

/// What one end says of itself when a session opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The id it gave the session, never zero: what the other end addresses its datagrams to.
    pub(crate) id: u64,
    /// The sequence number of its first segment.
    pub(crate) first: u32,
    /// How many segments it takes ahead of what it has delivered, 2 to [`MOST_SEGMENTS`].
    pub(crate) window: u16,
    /// Bytes of the longest datagram it takes.
    pub(crate) datagram: u16,
    /// Bytes of the longest message it takes.
    pub(crate) message: u32,
}

/// What one end has received and what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Every segment before this one has arrived.
    pub(crate) ack: u32,
    /// The first segment that it has no room for.
    pub(crate) limit: u32,
}

/// A datagram that is in order as far as its layout goes. `to` is the id of the end it is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Datagram<'a> {
    /// Asks to open a session.
    Open(Terms),
    /// Answers an `OPEN`.
    Accept { to: u64, terms: Terms },
    /// A segment: chunks of messages.
    Data { to: u64, progress: Progress, sequence: u32, chunks: &'a [u8] },
    /// The last segment, which is empty.
    Fin { to: u64, progress: Progress, sequence: u32 },
    /// What has arrived: bit `i` of byte `b` stands for segment `ack + 1 + 8 b + i`.
    Ack { to: u64, progress: Progress, bitmap: &'a [u8] },
    /// Asks for an `ACK`.
    Ping { to: u64, progress: Progress },
    /// Whoever has the id `from` has received everything, and knows that the other end has; it answers one, and is gone.
    Done { to: u64, from: u64 },
    /// There is no session of the id `from` any more; `to` is 0 where the sender doesn't know.
    Reset { to: u64, from: u64 },
}

impl<'a> Datagram<'a> {
    /// `None` if it is none of this protocol's.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = Reader(bytes);
        let kind = rest.u8()?;
        let datagram = match kind {
            OPEN => Self::Open(rest.terms()?),
            ACCEPT => Self::Accept { to: rest.u64()?, terms: rest.terms()? },
            DATA => {
                let (to, progress, sequence) = (rest.u64()?, rest.progress()?, rest.u32()?);
                let chunks = rest.all();
                if !Chunks::are_whole(chunks) {
                    return None;
                }
                Self::Data { to, progress, sequence, chunks }
            }
            FIN => Self::Fin { to: rest.u64()?, progress: rest.progress()?, sequence: rest.u32()? },
            ACK => {
                let (to, progress, bitmap) = (rest.u64()?, rest.progress()?, rest.all());
                if bitmap.len() > MOST_SEGMENTS / 8 {
                    return None;
                }
                Self::Ack { to, progress, bitmap }
            }
            PING => Self::Ping { to: rest.u64()?, progress: rest.progress()? },
            DONE => Self::Done { to: rest.u64()?, from: rest.u64()? },
            RESET => Self::Reset { to: rest.u64()?, from: rest.u64()? },
            _ => return None,
        };
        rest.0.is_empty().then_some(datagram)
    }

    /// The id of the end it is meant for; `None` where there is none to look at.
    pub(crate) fn to(&self) -> Option<u64> {
        match *self {
            Self::Open(_) | Self::Reset { .. } => None,
            Self::Accept { to, .. }
            | Self::Data { to, .. }
            | Self::Fin { to, .. }
            | Self::Ack { to, .. }
            | Self::Ping { to, .. }
            | Self::Done { to, .. } => Some(to),
        }
    }

    /// Appends it to `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Open(terms) => {
                out.push(OPEN);
                write_terms(out, terms);
            }
            Self::Accept { to, terms } => {
                write_kind(out, ACCEPT, to);
                write_terms(out, terms);
            }
            Self::Data { to, progress, sequence, chunks } => {
                out.extend_from_slice(&segment_header(false, to, progress, sequence));
                out.extend_from_slice(chunks);
            }
            Self::Fin { to, progress, sequence } => {
                out.extend_from_slice(&segment_header(true, to, progress, sequence));
            }
            Self::Ack { to, progress, bitmap } => {
                write_kind(out, ACK, to);
                write_progress(out, progress);
                out.extend_from_slice(bitmap);
            }
            Self::Ping { to, progress } => {
                write_kind(out, PING, to);
                write_progress(out, progress);
            }
            Self::Done { to, from } => {
                write_kind(out, DONE, to);
                out.extend_from_slice(&from.to_be_bytes());
            }
            Self::Reset { to, from } => {
                write_kind(out, RESET, to);
                out.extend_from_slice(&from.to_be_bytes());
            }
        }
    }
}

fn write_kind(out: &mut Vec<u8>, kind: u8, to: u64) {
    out.push(kind);
    out.extend_from_slice(&to.to_be_bytes());
}

fn write_progress(out: &mut Vec<u8>, progress: Progress) {
    out.extend_from_slice(&progress.ack.to_be_bytes());
    out.extend_from_slice(&progress.limit.to_be_bytes());
}

fn write_terms(out: &mut Vec<u8>, terms: Terms) {
    out.extend_from_slice(&terms.id.to_be_bytes());
    out.extend_from_slice(&terms.first.to_be_bytes());
    out.extend_from_slice(&terms.window.to_be_bytes());
    out.extend_from_slice(&terms.datagram.to_be_bytes());
    out.extend_from_slice(&terms.message.to_be_bytes());
}

/// What stands before a segment's chunks.
pub(crate) fn segment_header(is_fin: bool, to: u64, progress: Progress, sequence: u32) -> [u8; DATA_HEADER] {
    let mut header = [0; DATA_HEADER];
    header[0] = if is_fin { FIN } else { DATA };
    header[1..9].copy_from_slice(&to.to_be_bytes());
    header[9..13].copy_from_slice(&progress.ack.to_be_bytes());
    header[13..17].copy_from_slice(&progress.limit.to_be_bytes());
    header[17..].copy_from_slice(&sequence.to_be_bytes());
    header
}

/// Takes a datagram apart from its front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn progress(&mut self) -> Option<Progress> {
        Some(Progress { ack: self.u32()?, limit: self.u32()? })
    }

    /// Terms under which nothing could be sent are none.
    fn terms(&mut self) -> Option<Terms> {
        let (id, first, window, datagram, message) = (self.u64()?, self.u32()?, self.u16()?, self.u16()?, self.u32()?);
        let usable =
            id != 0 && (2..=MOST_SEGMENTS).contains(&usize::from(window)) && usize::from(datagram) >= SHORTEST_DATAGRAM;
        usable.then_some(Terms { id, first, window, datagram, message })
    }
}

/// Every end takes datagrams of this many bytes.
pub(crate) const SHORTEST_DATAGRAM: usize = 128;
/// No datagram is longer: the length of a chunk has 15 bits.
pub(crate) const LONGEST_DATAGRAM: usize = 32 * 1024;

/// Bytes before a chunk of a message: whether the message goes on in the next segment, and how long the chunk is.
pub(crate) const CHUNK_HEADER: usize = 2;
const GOES_ON: u16 = 0x8000;

/// Part of a message, or all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk<'a> {
    pub(crate) bytes: &'a [u8],
    /// Whether the message goes on, with the first chunk of the next segment.
    pub(crate) goes_on: bool,
}

impl Chunk<'_> {
    /// Appends it to a segment. `bytes` are [`LONGEST_DATAGRAM`] less a header at most.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        let length = u16::try_from(self.bytes.len()).unwrap_or(GOES_ON) & !GOES_ON;
        debug_assert_eq!(usize::from(length), self.bytes.len());
        out.extend_from_slice(&(length | if self.goes_on { GOES_ON } else { 0 }).to_be_bytes());
        out.extend_from_slice(self.bytes);
    }
}

/// The chunks of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunks<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        let (header, rest) = self.0.split_first_chunk()?;
        let header = u16::from_be_bytes(*header);
        let (bytes, rest) = rest.split_at_checked(usize::from(header & !GOES_ON))?;
        self.0 = rest;
        Some(Chunk { bytes, goes_on: header & GOES_ON != 0 })
    }
}

impl Chunks<'_> {
    /// Whether this is a segment's: one chunk at least, none cut off, and only the last may go on, with a byte at least.
    fn are_whole(segment: &[u8]) -> bool {
        let mut chunks = Chunks(segment);
        while let Some(chunk) = chunks.next() {
            if chunk.goes_on && (chunk.bytes.is_empty() || !chunks.0.is_empty()) {
                return false;
            }
        }
        !segment.is_empty() && chunks.0.is_empty()
    }
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
