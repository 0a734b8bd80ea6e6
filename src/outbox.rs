//! Output that waits to be written.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::Bytes;

use crate::driver::Stream;
use crate::spare::discard;

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
    /// Where in `flat` each datagram ends, on a session.
    ends: Vec<usize>,
    /// Capacity that it keeps when it is emptied.
    keep: usize,
    /// It is where a visit's output goes, with nothing between it and the system.
    for_visits: bool,
    /// The connection's end is told as soon as all of it is written.
    pub(crate) is_last: bool,
    /// Bytes of this visit that the system took before its end.
    pub(crate) gone: usize,
    /// Why the system took nothing of it, if that was tried before the end of the visit.
    pub(crate) failed: Option<io::Error>,
}

#[derive(Debug)]
struct Shared {
    /// The offset in `flat` before which it comes.
    at: usize,
    bytes: Bytes,
}

impl Outbox {
    /// The outbox for each visit's output. It keeps this much capacity for as long as it lives.
    pub(crate) fn for_visits(keep: usize) -> Self {
        Self { flat: Vec::with_capacity(keep), keep, for_visits: true, ..Self::default() }
    }

    /// Begins anew with a buffer that nothing was written to.
    pub(crate) fn give_back(&mut self) {
        debug_assert!(self.is_empty());
        discard(std::mem::take(&mut self.flat));
        self.flat = Vec::with_capacity(self.keep);
    }

    pub(crate) fn is_for_visits(&self) -> bool {
        self.for_visits
    }

    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.flat.extend_from_slice(bytes);
    }

    /// Puts bytes in front of all that is in it, of which nothing was written.
    #[cold]
    #[inline(never)]
    pub(crate) fn prepend(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        debug_assert_eq!(self.written, 0);
        self.flat.splice(..0, bytes.iter().copied());
        self.shared.iter_mut().for_each(|shared| shared.at += bytes.len());
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

    /// Everything that waits, where it lies in one piece of which nothing was written: spares 9 instructions.
    #[inline]
    pub(crate) fn as_fresh(&self) -> &[u8] {
        debug_assert!(self.shared.is_empty() && self.written == 0 && self.gone == 0 && self.failed.is_none());
        &self.flat
    }

    /// One datagram; what was written into the buffer before it is another.
    pub(crate) fn push_datagram(&mut self, bytes: &[u8]) {
        self.end_datagram();
        self.push(bytes);
        self.ends.push(self.flat.len());
    }

    /// Appends a datagram in front of all others.
    #[cold]
    pub(crate) fn prepend_datagram(&mut self, bytes: &[u8]) {
        self.prepend(bytes);
        self.ends.iter_mut().for_each(|end| *end += bytes.len());
        self.ends.insert(0, bytes.len());
    }

    /// What was written into the buffer since the last datagram's end is a datagram.
    pub(crate) fn end_datagram(&mut self) {
        if self.flat.len() > self.ends.last().copied().unwrap_or(0) {
            self.ends.push(self.flat.len());
        }
    }

    /// The datagrams, each of which has ended.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        self.ends.iter().scan(0, |start, &end| Some(&self.flat[std::mem::replace(start, end)..end]))
    }

    pub(crate) fn has_datagrams(&self) -> bool {
        !self.ends.is_empty()
    }

    /// Forgets all datagrams.
    pub(crate) fn clear_datagrams(&mut self) {
        self.ends.clear();
        self.clear();
    }

    /// All datagrams, and where each ends.
    pub(crate) fn take_datagrams(&mut self) -> (Vec<u8>, Vec<usize>) {
        (std::mem::take(&mut self.flat), std::mem::take(&mut self.ends))
    }

    /// Forgets everything, where it was [fresh](Self::as_fresh).
    #[inline]
    pub(crate) fn clear_fresh(&mut self) {
        debug_assert!(self.shared.is_empty() && self.written == 0);
        self.flat.clear();
        if self.flat.capacity() > self.keep {
            self.shrink();
        }
    }

    /// Forgets everything; gives capacity back beyond what it began with.
    pub(crate) fn clear(&mut self) {
        self.shared.clear();
        self.shared_len = 0;
        self.failed = None;
        self.written = 0;
        self.clear_fresh();
    }

    #[cold]
    fn shrink(&mut self) {
        self.flat.shrink_to(self.keep);
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
        self.clear();
        all
    }

    /// Takes an empty buffer's capacity over.
    pub(crate) fn reuse(&mut self, mut buffer: Vec<u8>) {
        if self.flat.capacity() == 0 {
            buffer.clear();
            self.flat = buffer;
        }
    }

    /// Takes the capacity of a list of ends over.
    pub(crate) fn reuse_ends(&mut self, mut ends: Vec<usize>) {
        if self.ends.capacity() == 0 {
            ends.clear();
            self.ends = ends;
        }
    }

    /// Moves everything that waits out of here, behind what waits in `self`.
    pub(crate) fn append(&mut self, other: &mut Self) {
        self.compact();
        // A large buffer is handed over rather than copied, if it is not mostly empty.
        if self.is_empty() && other.flat.len() > COMPACT_FROM && other.flat.len() >= other.flat.capacity() / 2 {
            std::mem::swap(&mut self.flat, &mut other.flat);
            std::mem::swap(&mut self.shared, &mut other.shared);
            (self.written, other.written) = (other.written, 0);
            (self.shared_len, other.shared_len) = (other.shared_len, 0);
            other.flat.reserve_exact(other.keep);
        } else {
            let base = self.flat.len();
            self.flat.extend_from_slice(&other.flat[other.written..]);
            let shift = |shared: Shared| Shared { at: shared.at - other.written + base, ..shared };
            self.shared.extend(other.shared.drain(..).map(shift));
            self.shared_len += other.shared_len;
        }
        other.clear();
    }

    /// One write of what waits (which must be something), of at most `most` bytes: how much the stream took, and how much
    /// it was asked to take.
    pub(crate) fn write_to<S: Stream + ?Sized>(&mut self, stream: &mut S, most: usize) -> io::Result<(usize, usize)> {
        let (written, asked) = match self.as_flat() {
            Some(flat) if self.is_last && flat.len() <= most => (stream.write_last(flat)?, flat.len()),
            Some(flat) => (stream.write(&flat[..flat.len().min(most)])?, flat.len().min(most)),
            None => self.write_with(stream, &[], most)?,
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.advance(written);
        Ok((written, asked))
    }

    /// One write of what waits and, if that is in few enough pieces, of `last`, without taking note of it: as
    /// [`write_to`](Self::write_to).
    pub(crate) fn write_with<S: Stream + ?Sized>(
        &self,
        stream: &mut S,
        last: &[u8],
        most: usize,
    ) -> io::Result<(usize, usize)> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let (mut count, mut room) = (0, most);
        let mut from = self.written;
        // Each shared piece with the flat bytes before it, then the flat bytes behind the last of them.
        let pieces = self.shared.iter().map(|shared| (shared.at, &*shared.bytes));
        for (at, bytes) in pieces.chain([(self.flat.len(), last)]) {
            if count + 2 > SLICES {
                break;
            }
            for piece in [&self.flat[from..at], bytes] {
                let piece = &piece[..piece.len().min(room)];
                if !piece.is_empty() {
                    slices[count] = IoSlice::new(piece);
                    (count, room) = (count + 1, room - piece.len());
                }
            }
            from = at;
        }
        let asked = slices[..count].iter().map(|slice| slice.len()).sum();
        Ok((stream.write_vectored(&slices[..count])?, asked))
    }

    /// The system took nothing, for this reason. If that is for good it is to be heard as it is said now: a connection that
    /// was reset says so once, and from then on that it is a broken pipe.
    #[cold]
    pub(crate) fn refused(&mut self, error: io::Error) {
        if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
            self.failed = Some(error);
        }
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
            self.clear();
        } else {
            self.compact();
        }
        left
    }

    /// Cuts what is written off the front, when that is much of it, and gives back capacity that the
    /// rest does not need.
    fn compact(&mut self) {
        if self.written < COMPACT_FROM || self.written < self.flat.len() / 2 {
            return;
        }
        self.flat.drain(..self.written);
        for shared in &mut self.shared {
            shared.at -= self.written;
        }
        self.written = 0;
        if self.flat.len() < self.flat.capacity() / 4 {
            self.flat.shrink_to(self.keep.max(self.flat.len()));
        }
    }
}

#[cfg(test)]
mod tests;
