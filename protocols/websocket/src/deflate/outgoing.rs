//! Compressing a message that is sent in pieces.

use super::{Codec, Deflater, Memory, TAIL, WindowBits, pool};

impl Codec {
    /// A message begins to be sent in pieces. Given [back](Self::end_pieces) when its last piece was. `None` where `hold`
    /// does not agree to how much memory the connection will then have of its own.
    pub(crate) fn begin_pieces(&mut self, hold: &mut dyn FnMut(usize) -> bool) -> Option<Outgoing> {
        let (window_bits, level) = (self.window_bits, self.level);
        let more = if self.deflater.is_some() { 0 } else { Deflater::memory(window_bits) };
        if !hold(self.memory() + more) {
            return None;
        }
        let mut deflater = match self.compressor {
            Memory::Dedicated => self.deflater.take().unwrap_or_else(|| Deflater::new(window_bits, level)),
            Memory::Shared => pool::deflater(window_bits, level),
        };
        if std::mem::take(&mut self.is_stale) {
            deflater.reset();
        }
        Some(Outgoing { deflater: Some(deflater), memory: self.compressor, window_bits, level, owes_tail: false })
    }

    /// The message was sent whole: later ones may refer back to it.
    pub(crate) fn end_pieces(&mut self, mut outgoing: Outgoing) {
        if outgoing.memory == Memory::Dedicated {
            self.deflater = outgoing.deflater.take();
        }
    }
}

/// The compressor of a message that is sent in pieces.
#[derive(Debug)]
pub struct Outgoing {
    /// There until it is given back or dropped.
    deflater: Option<Deflater>,
    memory: Memory,
    window_bits: WindowBits,
    level: u8,
    /// The pieces so far were flushed, and the end of the flush left out, as it must be behind the last one.
    owes_tail: bool,
}

impl Outgoing {
    /// Compresses the next piece into `out`, which it replaces: so that the receiver can inflate all of it at once.
    pub fn push(&mut self, piece: &[u8], last: bool, out: &mut Vec<u8>) {
        out.clear();
        let Some(deflater) = &mut self.deflater else { return };
        if !piece.is_empty() {
            if self.owes_tail {
                out.extend_from_slice(&TAIL);
            }
            deflater.deflate(piece, out);
            self.owes_tail = true;
        } else if last && !self.owes_tail {
            deflater.deflate(b"", out);
        }
    }

    /// Bytes of memory it takes, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        Deflater::memory(self.window_bits)
    }
}

/// A message that is not going to end, or whose compressor is shared: that goes back to the thread.
impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Some(deflater) = self.deflater.take()
            && self.memory == Memory::Shared
        {
            pool::keep_deflater(self.window_bits, self.level, deflater);
        }
    }
}
