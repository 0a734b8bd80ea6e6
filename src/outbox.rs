//! Output that waits to be written.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::Bytes;

use crate::driver::Stream;

/// Shared pieces shorter than this are copied: a copy is cheaper than a splice.
const COPY_BELOW: usize = 1024;
/// How many pieces go into one vectored write.
const SLICES: usize = 16;
/// What has been written is cut off the front when it is at least this long, and half of all.
const COMPACT_FROM: usize = 16 * 1024;

/// Output in order: one flat buffer, with shared pieces spliced in at offsets, so that a `send`
/// behind a shared piece allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    flat: Vec<u8>,
    /// How much of `flat` is written already.
    written: usize,
    shared: VecDeque<Shared>,
    shared_len: usize,
}

#[derive(Debug)]
struct Shared {
    /// The offset in `flat` before which it comes.
    at: usize,
    bytes: Bytes,
}

impl Outbox {
    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.flat.extend_from_slice(bytes);
    }

    pub(crate) fn push_shared(&mut self, bytes: Bytes) {
        if bytes.len() < COPY_BELOW {
            return self.push(&bytes);
        }
        self.shared_len += bytes.len();
        self.shared.push_back(Shared { at: self.flat.len(), bytes });
    }

    /// The flat buffer, to append to.
    pub(crate) fn tail_mut(&mut self) -> &mut Vec<u8> {
        &mut self.flat
    }

    /// Bytes that wait.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.flat.len() - self.written + self.shared_len
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything that waits, if it lies in one piece.
    #[inline]
    pub(crate) fn as_flat(&self) -> Option<&[u8]> {
        if self.shared.is_empty() { self.flat.get(self.written..) } else { None }
    }

    /// Forgets everything; keeps up to `keep` bytes of capacity.
    pub(crate) fn clear(&mut self, keep: usize) {
        self.flat.clear();
        self.written = 0;
        self.shared.clear();
        self.shared_len = 0;
        if self.flat.capacity() > keep {
            self.flat.shrink_to(keep);
        }
    }

    /// Everything that waits, in one piece, to be changed.
    pub(crate) fn take_all(&mut self) -> Vec<u8> {
        if self.shared.is_empty() && self.written == 0 {
            return std::mem::take(&mut self.flat);
        }
        let mut all = Vec::with_capacity(self.len());
        let mut from = self.written;
        for shared in &self.shared {
            all.extend_from_slice(&self.flat[from..shared.at]);
            all.extend_from_slice(&shared.bytes);
            from = shared.at;
        }
        all.extend_from_slice(&self.flat[from..]);
        self.clear(usize::MAX);
        all
    }

    /// Takes an empty buffer's capacity over.
    pub(crate) fn reuse(&mut self, mut buffer: Vec<u8>) {
        if self.flat.capacity() == 0 {
            buffer.clear();
            self.flat = buffer;
        }
    }

    /// Moves everything that waits out of here, behind what waits in `self`.
    pub(crate) fn append(&mut self, other: &mut Self) {
        self.compact();
        if self.is_empty() && other.flat.len() > COMPACT_FROM {
            std::mem::swap(self, other);
        } else {
            let base = self.flat.len();
            self.flat.extend_from_slice(&other.flat[other.written..]);
            let shift = |shared: Shared| Shared { at: shared.at - other.written + base, ..shared };
            self.shared.extend(other.shared.drain(..).map(shift));
            self.shared_len += other.shared_len;
        }
        other.clear(usize::MAX);
    }

    /// One write of what waits (which must be something): how much the stream took, and how much it
    /// was asked to take.
    pub(crate) fn write_to<S: Stream + ?Sized>(&mut self, stream: &mut S) -> io::Result<(usize, usize)> {
        let (written, asked) = match self.as_flat() {
            Some(flat) => (stream.write(flat)?, flat.len()),
            None => self.write_vectored_to(stream)?,
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.advance(written);
        Ok((written, asked))
    }

    fn write_vectored_to<S: Stream + ?Sized>(&mut self, stream: &mut S) -> io::Result<(usize, usize)> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        let mut from = self.written;
        // Each shared piece with the flat bytes before it, then the flat bytes behind the last.
        let pieces = self.shared.iter().map(|shared| (shared.at, &*shared.bytes));
        for (at, bytes) in pieces.chain([(self.flat.len(), &[][..])]) {
            if count + 2 > SLICES {
                break;
            }
            for piece in [&self.flat[from..at], bytes] {
                if !piece.is_empty() {
                    slices[count] = IoSlice::new(piece);
                    count += 1;
                }
            }
            from = at;
        }
        let asked = slices[..count].iter().map(|slice| slice.len()).sum();
        Ok((stream.write_vectored(&slices[..count])?, asked))
    }

    /// Takes note that `count` bytes were written, and says how many are left.
    pub(crate) fn advance(&mut self, mut count: usize) -> usize {
        while let Some(shared) = self.shared.front_mut() {
            let before = shared.at - self.written;
            if count < before {
                break;
            }
            count -= before;
            self.written = shared.at;
            let from_shared = count.min(shared.bytes.len());
            count -= from_shared;
            self.shared_len -= from_shared;
            if from_shared < shared.bytes.len() {
                let _ = shared.bytes.split_to(from_shared);
                return self.len();
            }
            self.shared.pop_front();
        }
        self.written += count;
        let left = self.len();
        if left == 0 {
            self.clear(usize::MAX);
        }
        left
    }

    /// Cuts what is written off the front, when that is much of it.
    fn compact(&mut self) {
        if self.written >= COMPACT_FROM && self.written >= self.flat.len() / 2 {
            self.flat.drain(..self.written);
            for shared in &mut self.shared {
                shared.at -= self.written;
            }
            self.written = 0;
        }
    }
}
