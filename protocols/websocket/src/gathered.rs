//! The bytes of a message that is put together.

use std::ops::Deref;

/// The most that is lent to be read into at once: what is lent must be zeroed, unless it was used before.
const MOST_LENT: usize = 256 * 1024;

/// A buffer that grows where it is told to, and that what arrives is read straight into. It dereferences to what has arrived.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// What has arrived, then whatever was there before.
    bytes: Vec<u8>,
    filled: usize,
}

impl Gathered {
    /// How many bytes it can have without growing.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Appends bytes that came otherwise.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        let (over, behind) = bytes.split_at(bytes.len().min(self.bytes.len() - self.filled));
        self.bytes[self.filled..self.filled + over.len()].copy_from_slice(over);
        self.bytes.extend_from_slice(behind);
        self.filled += bytes.len();
    }

    /// Room for the next `wanted` bytes, or for some of them.
    pub(crate) fn room(&mut self, wanted: usize) -> &mut [u8] {
        let end = self.capacity().min(self.filled.saturating_add(wanted.min(MOST_LENT)));
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        &mut self.bytes[self.filled..end]
    }

    /// So many bytes have been read into that [room](Self::room): here they are.
    pub(crate) fn filled(&mut self, count: usize) -> &mut [u8] {
        let start = self.filled;
        self.filled += count;
        &mut self.bytes[start..self.filled]
    }

    /// Grows to `capacity` bytes.
    pub(crate) fn grow(&mut self, capacity: usize) {
        self.bytes.truncate(self.filled); // what is behind need not be moved
        self.bytes.reserve_exact(capacity - self.filled);
    }

    /// Goes on in another buffer, and gives its own away.
    pub(crate) fn move_to(&mut self, mut buffer: Vec<u8>) -> Vec<u8> {
        let (over, behind) = self.split_at(self.filled.min(buffer.len()));
        buffer[..over.len()].copy_from_slice(over);
        buffer.extend_from_slice(behind);
        std::mem::replace(&mut self.bytes, buffer)
    }

    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

impl Deref for Gathered {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_and_what_is_appended_come_in_order() {
        let mut gathered = Gathered::default();
        assert_eq!(gathered.room(10), b"");
        gathered.append(b"one");
        gathered.grow(12);
        gathered.room(100)[..3].copy_from_slice(b"two");
        assert_eq!(gathered.filled(3), b"two");
        gathered.append(b"thr");
        let used = gathered.move_to(vec![b'x'; 20]);
        assert!(used.len() >= 9);
        assert_eq!(gathered.room(2), b"xx", "of what was used before nothing is zeroed");
        gathered.append(b"ee");
        gathered.append(&[b'.'; 9]);
        gathered.append(b"end");
        assert_eq!(&*gathered, b"onetwothree.........end");
    }

    #[test]
    fn a_used_buffer_may_contain_less_than_has_arrived() {
        let mut gathered = Gathered::default();
        gathered.append(b"one two");
        let mut used = Vec::with_capacity(20);
        used.extend_from_slice(b"xxx");
        gathered.move_to(used);
        let capacity = gathered.capacity();
        gathered.append(b" three");
        assert_eq!((&*gathered, gathered.capacity()), (&b"one two three"[..], capacity));
    }

    #[test]
    fn no_more_is_lent_than_is_wanted_or_there() {
        let mut gathered = Gathered::default();
        gathered.grow(2 * MOST_LENT);
        let capacity = gathered.capacity();
        assert_eq!(gathered.room(7).len(), 7);
        assert_eq!(gathered.room(usize::MAX).len(), MOST_LENT);
        gathered.filled(MOST_LENT);
        gathered.append(&vec![1; capacity - MOST_LENT - 5]);
        assert_eq!(gathered.room(7).len(), 5);
        assert_eq!(gathered.capacity(), capacity, "it grows where it is told to, and nowhere else");
    }
}
