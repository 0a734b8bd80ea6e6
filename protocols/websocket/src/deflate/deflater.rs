//! Compressing messages (RFC 7692 §7.2.1).

use flate2::{Compress, FlushCompress, Status};

use super::{TAIL, WindowBits};

/// What must be free for a flush to need no second one.
const ROOM: usize = 64;

/// A compressor, with a window of its own.
#[derive(Debug)]
pub struct Deflater {
    /// In a box: what a connection has before it needs one stays small.
    stream: Box<Compress>,
}

impl Deflater {
    /// One that refers back 2^`window_bits` bytes at most, at a level from 0 (none) to 9 (smallest).
    #[must_use]
    pub fn new(window_bits: WindowBits, level: u8) -> Self {
        let window_bits = window_bits.for_compressor().bits();
        let level = flate2::Compression::new(u32::from(level.min(9)));
        Self { stream: Box::new(Compress::new_with_window_bits(level, false, window_bits)) }
    }

    /// Bytes of memory that one with such a window takes, or a little less.
    #[must_use]
    pub const fn memory(window_bits: WindowBits) -> usize {
        let window = 1 << window_bits.for_compressor().bits();
        // The window twice, two bytes for each position in it, and tables.
        4 * window + 243 * 1024
    }

    /// Appends the compressed form of `message` to `out`; later messages may refer back to it. It can be longer than
    /// the message: by a sixteenth at level 1, hardly at others.
    pub fn deflate(&mut self, message: &[u8], out: &mut Vec<u8>) {
        self.deflate_and(FlushCompress::Sync, message, out);
    }

    /// The same of a message that no later one refers to: what follows begins as after a [`reset`](Self::reset), which costs
    /// more: it clears another 64 KiB. (An echo of 1 KiB of JSON at level 1: 8.1 µs instead of 9.6.)
    pub(super) fn deflate_alone(&mut self, message: &[u8], out: &mut Vec<u8>) {
        self.deflate_and(FlushCompress::Full, message, out);
    }

    fn deflate_and(&mut self, flush: FlushCompress, message: &[u8], out: &mut Vec<u8>) {
        #[cfg(test)]
        COMPRESSIONS.set(compressions() + 1);
        if message.is_empty() {
            out.push(0x00); // RFC 7692 §7.2.3.6: an empty block, of which a flush would make none
            return;
        }
        let mut rest = message;
        // Where no room is left at the end another flush follows, for five bytes more, and without compression the blocks are
        // as long as there is room: what room messages before have left in the buffer must not show.
        out.reserve(message.len() + message.len() / 8 + ROOM);
        loop {
            let before = self.stream.total_in();
            let status = self.stream.compress_vec(rest, out, flush);
            debug_assert!(matches!(status, Ok(Status::Ok | Status::BufError)), "{status:?}");
            let taken = self.stream.total_in() - before;
            rest = &rest[usize::try_from(taken).unwrap_or(rest.len())..];
            // Room that is left shows that all has been written.
            if rest.is_empty() && out.len() < out.capacity() {
                break;
            }
            out.reserve(rest.len() / 4 + ROOM);
        }
        debug_assert!(rest.is_empty() && out.ends_with(&TAIL));
        out.truncate(out.len() - TAIL.len());
    }

    /// Forgets the messages so far.
    pub fn reset(&mut self) {
        self.stream.reset();
    }
}

#[cfg(test)]
thread_local!(static COMPRESSIONS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) });

/// Messages that this thread has compressed.
#[cfg(test)]
pub(crate) fn compressions() -> usize {
    COMPRESSIONS.get()
}

#[cfg(test)]
#[path = "deflater_tests.rs"]
mod tests;
