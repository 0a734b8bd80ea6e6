//! The compressors and decompressors of a thread, for connections that have none of their own.

use std::cell::RefCell;

use bytes::Bytes;

use super::{Deflater, Inflater, WindowBits};

/// How many of each are kept while they are idle: a compressor for each window there is, and a decompressor for each of
/// a few messages that arrive at the same time.
const KEPT: usize = 8;

thread_local!(static POOL: RefCell<Pool> = RefCell::default());

#[derive(Default)]
struct Pool {
    /// With their window and level; the one that was used last comes last.
    deflaters: Vec<(WindowBits, u8, Deflater)>,
    inflaters: Vec<Inflater>,
    buffer: Vec<u8>,
}

/// The largest buffer that is kept.
const LARGEST: usize = 64 * 1024;

/// An empty buffer, for a message that is compressed and sent at once. It is to be given [back](keep_buffer).
pub(crate) fn buffer() -> Vec<u8> {
    POOL.with_borrow_mut(|pool| std::mem::take(&mut pool.buffer))
}

pub(crate) fn keep_buffer(mut buffer: Vec<u8>) {
    if buffer.capacity() <= LARGEST {
        buffer.clear();
        POOL.with_borrow_mut(|pool| pool.buffer = buffer);
    }
}

/// Appends the compressed form of a message to `out`, by a compressor that remembers nothing.
pub(super) fn deflate(window_bits: WindowBits, level: u8, message: &[u8], out: &mut Vec<u8>) {
    let mut deflater = deflater(window_bits, level);
    deflater.deflate_alone(message, out);
    keep_fresh(window_bits, level, deflater);
}

/// A compressor that remembers nothing. It is to be given [back](keep_deflater).
pub(super) fn deflater(window_bits: WindowBits, level: u8) -> Deflater {
    let idle = POOL.with_borrow_mut(|pool| {
        let index = pool.deflaters.iter().position(|(bits, of, _)| (*bits, *of) == (window_bits, level))?;
        Some(pool.deflaters.remove(index).2)
    });
    idle.unwrap_or_else(|| Deflater::new(window_bits, level))
}

/// Keeps one, whatever it remembers.
pub(super) fn keep_deflater(window_bits: WindowBits, level: u8, mut deflater: Deflater) {
    deflater.reset();
    keep_fresh(window_bits, level, deflater);
}

/// Keeps one that remembers nothing.
fn keep_fresh(window_bits: WindowBits, level: u8, deflater: Deflater) {
    // A thread that ends has dropped its pool before the connections that it still holds.
    let _ = POOL.try_with(|pool| {
        let deflaters = &mut pool.borrow_mut().deflaters;
        if deflaters.len() == KEPT {
            deflaters.remove(0);
        }
        deflaters.push((window_bits, level, deflater));
    });
}

/// The compressed form of a message, in as much memory as it needs. `None` if it is no shorter.
pub(crate) fn alone(window_bits: WindowBits, level: u8, message: &[u8]) -> Option<Bytes> {
    let mut out = buffer();
    deflate(window_bits, level, message, &mut out);
    let form = (out.len() < message.len()).then(|| Bytes::copy_from_slice(&out));
    keep_buffer(out);
    form
}

/// A decompressor that remembers nothing. It is to be given [back](keep_inflater).
pub(super) fn inflater() -> Inflater {
    POOL.with_borrow_mut(|pool| pool.inflaters.pop()).unwrap_or_default()
}

pub(super) fn keep_inflater(mut inflater: Inflater) {
    let _ = POOL.try_with(|pool| {
        let inflaters = &mut pool.borrow_mut().inflaters;
        if inflaters.len() < KEPT {
            inflater.reset();
            inflaters.push(inflater);
        }
    });
}
