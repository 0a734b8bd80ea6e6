//! The bytes of a connection that arrived and were not consumed.

/// The least that it is made for.
const LEAST: usize = 256;

/// What is less is cheaply copied. Up to so much a tail doubles when it must grow, and it is not made smaller.
pub(crate) const SMALL: usize = 8 * 1024;

/// A buffer that the system reads into behind what is already there.
///
/// It exists only while something is unconsumed. It grows with what has arrived, never by a length
/// that the peer declared.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// Zeroed once, then filled from `start` to `end`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The protocol does not want to be called before this many bytes are here.
    pub(crate) wait_for: usize,
    /// Bytes that the loop's memory was charged with for it.
    pub(crate) charged: usize,
}

impl Tail {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut tail = Self::default();
        tail.append(bytes);
        tail
    }

    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Bytes of memory it takes.
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.len()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }

    /// Drops what was consumed from the front, so that `left` bytes are left; gives memory back that
    /// so few do not need.
    pub(crate) fn keep_last(&mut self, left: usize) {
        self.start = self.end - left;
        if self.buffer.len() > SMALL && left < self.buffer.len() / 4 {
            let mut buffer = vec![0; left];
            buffer[..left].copy_from_slice(&self.buffer[self.start..self.end]);
            (self.buffer, self.start, self.end) = (buffer, 0, left);
        }
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        self.buffer[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Empties it; its buffer stays.
    pub(crate) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Room to read into, at most `most` bytes; then [`filled`](Self::filled).
    pub(crate) fn spare(&mut self, most: usize) -> &mut [u8] {
        if self.end == self.buffer.len() {
            self.make_room(self.len().min(most)); // what was consumed in front of it is room, too, if it is half of all
        }
        let end = self.buffer.len().min(self.end.saturating_add(most));
        &mut self.buffer[self.end..end]
    }

    pub(crate) fn filled(&mut self, count: usize) {
        self.end += count;
    }

    fn make_room(&mut self, count: usize) {
        if self.buffer.len() - self.end >= count {
            return;
        }
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.len());
        if self.buffer.len() - self.end < count {
            let len = (self.end + count).max(SMALL.min(2 * self.buffer.len()).max(LEAST));
            self.buffer.reserve_exact(len - self.buffer.len());
            self.buffer.resize(len, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_while_it_is_filled_and_emptied() {
        let mut tail = Tail::new(b"abc");
        let spare = tail.spare(usize::MAX);
        spare[..3].copy_from_slice(b"def");
        tail.filled(3);
        tail.keep_last(4);
        tail.append(b"gh");
        assert_eq!(tail.bytes_mut(), b"cdefgh");
    }

    #[test]
    fn grows_with_what_arrives_and_shrinks_with_what_is_left() {
        let mut tail = Tail::new(b"x");
        for _ in 0..15 {
            let room = tail.spare(usize::MAX).len();
            assert!(room <= tail.len().max(LEAST), "at most doubles");
            tail.filled(room);
        }
        assert!(tail.capacity() > 1 << 20);
        tail.keep_last(10);
        assert_eq!((tail.len(), tail.capacity()), (10, 10));
        for length in 11..SMALL {
            tail.append(b"x");
            assert!((length..=LEAST.max(2 * length)).contains(&tail.capacity()));
        }
    }

    #[test]
    fn never_lends_more_room_than_asked() {
        let mut tail = Tail::new(&[1; 100]);
        assert_eq!(tail.spare(7).len(), 7);
    }
}
