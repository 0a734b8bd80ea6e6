//! Compressed messages: permessage-deflate (RFC 7692), its negotiation and its codec.
//!
//! ```text
//!  extensions::parse ─> accept (server) or Offer::check (client) ─> Parameters ─> Codec
//!                                                                                  ├─ Deflater: a message, compressed
//!                                                                                  └─ Inflater: back, piece by piece
//! ```
//!
//! # Why it is not on by default
//!
//! [`Settings::compression`](crate::Settings::compression) is `None`, for two reasons. Compression gives away by the
//! length of a message what it has in common with others: where a secret and what an attacker chose are in one message,
//! or with context takeover on one connection, the attacker can guess the secret a piece at a time by what shrinks (as
//! CRIME and BREACH did to HTTP; RFC 7692 §8 refers to it). And it costs time, and memory that peers can ask for. So
//! it is for who knows what is sent.
//!
//! # What it costs
//!
//! | a connection's own | sending | receiving |
//! | --- | --- | --- |
//! | [`Memory::Shared`] | nothing | nothing but while a message arrives that is not here at once: 88 KiB at most |
//! | [`Memory::Dedicated`], window 15 | 371 KiB from the first message on | 48 to 88 KiB from the first message on |
//! | window 12 | 259 KiB | the same |
//! | window 9 (or 8) | 245 KiB | the same |
//!
//! So a small window saves the *peer* memory; most of a compressor is tables. All of that is declared to the loop and counts
//! against [`Limits::loop_memory`](switchboard::Limits::loop_memory). Where that has no room for a compressor of the
//! connection's own, the thread's does the work; where it has none for a message that arrives, the connection ends with
//! close code 1013. A connection that has agreed on compression takes 200 bytes more than one that has not, its [`Codec`]
//! among them, also while it is idle.
//!
//! For those that share them, a thread keeps at most 8 idle compressors and 8 idle decompressors, and one buffer of at most
//! 64 KiB: together no more than 3.7 MiB, which no loop counts, whatever peers do and however many there are.
//!
//! What a message inflates to is given out in pieces of at most [`PIECE`] bytes, so that whoever takes them can stop at
//! any limit: a bomb never gets its memory, and eight at once stay within the loop's.
//!
//! What is left of JSON records, no two alike, and the microseconds of one core of a loaded server that it took to compress
//! them:
//!
//! | bytes of a message | level 1 | level 3 | level 6 | level 9 | level 6, dedicated |
//! | --- | --- | --- | --- | --- | --- |
//! | 256 | 78 %, 6 | 65 %, 13 | 65 %, 13 | 65 %, 14 | 30 %, 12 |
//! | 1,024 | 55 %, 8 | 41 %, 21 | 41 %, 22 | 41 %, 26 | 26 %, 36 |
//! | 4,096 | 46 %, 19 | 31 %, 46 | 30 %, 53 | 31 %, 77 | 24 %, 125 |
//! | 16,384 | 43 %, 65 | 29 %, 144 | 26 %, 238 | 27 %, 346 | 24 %, 477 |
//!
//! To decompress takes about a fifth. Hence the defaults: shared, since 400 KiB a connection are worth it only for small
//! messages that are alike; level 6; and a threshold of 1024 bytes, below which a message that is compressed by itself
//! saves no packet. Dedicated, a threshold of some 100 bytes pays.
//!
//! # To many peers
//!
//! A [`SharedText`](crate::SharedText) or [`SharedBinary`](crate::SharedBinary), posted or sent, is compressed once for
//! each window and level that the connections have agreed on, whatever their number, without reference to what was sent
//! before; and there is one copy of each such form, which goes with the last connection that has it to send. A
//! connection with a compressor of its own begins anew with its next message then, for the peer's window has moved on.
//! So what many get is cheap, but does not profit from context takeover.

mod codec;
mod deflater;
mod inflater;
mod negotiation;
mod outgoing;
mod pool;

pub use codec::{Codec, Incoming};
pub use deflater::Deflater;
#[cfg(test)]
pub(crate) use deflater::compressions;
pub use inflater::{InflateError, Inflater, PIECE};
pub use negotiation::{NegotiationError, Offer, Parameters, WindowBits, accept};
pub use outgoing::Outgoing;
pub(crate) use pool::{alone, buffer, keep_buffer};

/// The extension's registered name (RFC 7692 §9.1).
pub const NAME: &str = "permessage-deflate";

/// What every message ends with once it is flushed, and is sent without (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// How messages are compressed, where the peer knows how to: one value for both roles.
///
/// ```
/// use switchboard_websocket::deflate::{Compression, Memory, WindowBits};
///
/// // The best ratio for many small messages that are alike, at some 400 KiB a connection.
/// let thorough = Compression { compressor: Memory::Dedicated, decompressor: Memory::Dedicated, ..Compression::default() };
/// // Peers of small memory: they need not remember more than a kilobyte.
/// let small = Compression { window_bits: WindowBits::new(10).unwrap(), ..Compression::default() };
/// # let _ = (thorough, small);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// Whose compressor sends. Default [`Memory::Shared`].
    pub compressor: Memory,
    /// Whose decompressor receives. Shared, the peer is told to take no context over. Default [`Memory::Shared`].
    pub decompressor: Memory,
    /// How far back what is sent refers, at most: the peer's decompressor remembers as much. Default 15 (32 KiB).
    pub window_bits: WindowBits,
    /// How far back what is received should refer, at most. Peers that can't choose refer as far as they like. It saves
    /// this side nothing. Default 15.
    pub peer_window_bits: WindowBits,
    /// From 0 (none, for measuring) over 1 (fast) to 9 (small); more counts as 9. Default 6.
    pub level: u8,
    /// A message of fewer bytes is sent as it is. Default 1024.
    pub threshold: usize,
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            compressor: Memory::Shared,
            decompressor: Memory::Shared,
            window_bits: WindowBits::MAX,
            peer_window_bits: WindowBits::MAX,
            level: 6,
            threshold: 1024,
        }
    }
}

/// Whose a compressor or a decompressor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Memory {
    /// The thread's: it forgets each message ("no context takeover", RFC 7692 §7.1.1), and connections that have nothing
    /// to say cost nothing.
    #[default]
    Shared,
    /// The connection's own, from its first compressed message on: messages refer back to those before ("context
    /// takeover"), unless the peer refuses.
    Dedicated,
}
