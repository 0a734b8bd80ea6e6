//! Compressed messages: permessage-deflate (RFC 7692), its negotiation and its codec.
//!
//! ```text
//!  extensions::parse ─> accept (server) or Offer::check (client) ─> Parameters ─> Codec
//!                                                                                  ├─ Deflater: a message, compressed
//!                                                                                  └─ Inflater: back, piece by piece
//! ```
//!
//! # Memory
//!
//! A compressor takes 240 to 370 KiB, hardly less for a small window: most of it is tables. A decompressor takes about
//! 50 KiB, whatever the window. So neither is a connection's own by default ([`Memory::Shared`]): no message refers back
//! to an earlier one, and the connections of a thread share one compressor, and a few decompressors, one for each message
//! that is arriving. [`Deflater::memory`] and [`Inflater::MOST_MEMORY`] have the figures.
//!
//! What a message inflates to is given out in pieces of at most [`PIECE`] bytes, so that whoever takes them can stop at
//! any limit: a bomb never gets its memory.

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
