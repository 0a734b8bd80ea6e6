//! Large buffers that nobody needs just now.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::{Core, Time};

/// A smaller one is not worth keeping: an allocator has it at hand.
const LEAST: usize = 16 * 1024;

/// How long one may lie unused, at most twice.
const IDLE: Duration = Duration::from_millis(500);

/// The part of [`Limits::loop_memory`](crate::Limits::loop_memory) that all together may take: one in so many.
const SHARE: usize = 64;

/// The buffers, and how many of them were there at all times since they were last looked through.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
    unused: usize,
    /// When they are looked through next; `None` if there are none.
    due: Option<Time>,
}

impl Spare {
    /// When there is something to be given back to the system.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.due
    }

    /// Gives back those that nobody needed for a while. True if none are left: no large message has passed for as long.
    #[inline]
    pub(crate) fn age(&mut self, now: Time) -> bool {
        self.due.is_some_and(|due| due <= now) && self.give_up_unused(now)
    }

    #[cold]
    fn give_up_unused(&mut self, now: Time) -> bool {
        // Those in front were taken least: the last that fits is.
        self.bytes -= self.buffers.drain(..self.unused).map(discard).sum::<usize>();
        self.unused = self.buffers.len();
        self.due = (self.unused > 0).then(|| now + IDLE);
        if self.due.is_none() {
            self.buffers = Vec::new();
        }
        self.due.is_none()
    }

    fn take(&mut self, lengths: &RangeInclusive<usize>) -> Option<Vec<u8>> {
        let fitting = self.buffers.iter().enumerate().filter(|(_, buffer)| lengths.contains(&buffer.len()));
        // Of several of the same length the last.
        let (index, _) = fitting.min_by_key(|(index, buffer)| (buffer.len(), usize::MAX - index))?;
        let buffer = self.buffers.remove(index);
        self.bytes -= buffer.capacity();
        self.unused = self.unused.min(self.buffers.len());
        Some(buffer)
    }

    fn give(&mut self, buffer: Vec<u8>, now: Time, most: usize) {
        if buffer.len() < LEAST || buffer.capacity() > most.saturating_sub(self.bytes) {
            discard(buffer);
            return;
        }
        self.bytes += buffer.capacity();
        self.buffers.push(buffer);
        self.due.get_or_insert_with(|| now + IDLE);
    }
}

/// Frees a buffer, and says how much that was. It is made small first: a large one that is freed at once has glibc keep as
/// much, twice, of what is freed from then on.
pub(crate) fn discard(mut buffer: Vec<u8>) -> usize {
    let bytes = buffer.capacity();
    buffer.truncate(1);
    buffer.shrink_to_fit();
    bytes
}

/// Large buffers, lent from one protocol to the next: fresh memory costs the system a page fault for each 4 KiB, which is
/// more than it costs to receive them.
impl Core {
    /// Takes a buffer for a large message, if one lies here whose length is within `lengths`: the shortest of these. What it
    /// contains is of no meaning; it saves making and zeroing a new one.
    ///
    /// What is taken is the protocol's, so it is to be declared by [`hold`](crate::Context::hold), and to be
    /// [given back](Self::give_spare).
    pub fn take_spare(&mut self, lengths: RangeInclusive<usize>) -> Option<Vec<u8>> {
        self.spare.take(&lengths)
    }

    /// Leaves a buffer to whoever takes it next, wherever it came from. It is freed if it is shorter than 16 KiB, if those
    /// that lie here would take more than a 64th of [`Limits::loop_memory`](crate::Limits::loop_memory) together, or when
    /// nobody has needed it for a second.
    pub fn give_spare(&mut self, buffer: Vec<u8>) {
        self.spare.give(buffer, self.now, self.limits.loop_memory / SHARE);
    }

    /// Bytes of memory that the buffers take that lie here. They do not count as [`held_bytes`](Self::held_bytes).
    #[must_use]
    pub fn spare_bytes(&self) -> usize {
        self.spare.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 1 << 20;

    fn at(milliseconds: u64) -> Time {
        Time::ZERO + Duration::from_millis(milliseconds)
    }

    fn with(lengths: &[usize]) -> Spare {
        let mut spare = Spare::default();
        lengths.iter().for_each(|&length| spare.give(vec![0; length], at(0), MOST));
        spare
    }

    #[test]
    fn the_shortest_that_fits_is_taken() {
        let mut spare = with(&[64 << 10, 16 << 10, 128 << 10]);
        assert!(spare.take(&(20_000..=60_000)).is_none());
        assert_eq!(spare.take(&(20_000..=1_000_000)).map(|buffer| buffer.len()), Some(64 << 10));
        assert_eq!(spare.take(&(20_000..=1_000_000)).map(|buffer| buffer.len()), Some(128 << 10));
        assert!(spare.take(&(20_000..=1_000_000)).is_none());
        assert_eq!(spare.bytes, 16 << 10);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let spare = with(&[LEAST - 1, MOST - LEAST, LEAST + 1, LEAST, LEAST]);
        assert_eq!((spare.buffers.len(), spare.bytes), (2, MOST));
    }

    #[test]
    fn what_a_buffer_takes_counts_however_short_it_is() {
        let mut spare = Spare::default();
        let buffer = |capacity| {
            let mut buffer = Vec::with_capacity(capacity);
            buffer.resize(LEAST, 0);
            buffer
        };
        spare.give(buffer(MOST + 1), at(0), MOST);
        assert_eq!((spare.buffers.len(), spare.bytes), (0, 0));
        spare.give(buffer(MOST / 2), at(0), MOST);
        spare.give(buffer(MOST / 2), at(0), MOST);
        spare.give(buffer(LEAST), at(0), MOST);
        assert_eq!((spare.buffers.len(), spare.bytes), (2, MOST));
        assert!(spare.take(&(LEAST..=LEAST)).is_some_and(|buffer| buffer.capacity() == MOST / 2));
        assert_eq!(spare.bytes, MOST / 2);
        (500..=1000).step_by(500).for_each(|now| _ = spare.age(at(now)));
        assert_eq!((spare.buffers.len(), spare.bytes), (0, 0));
    }

    #[test]
    fn those_not_needed_are_given_up_and_those_needed_stay() {
        let mut spare = with(&[LEAST, LEAST, LEAST]);
        assert_eq!(spare.deadline(), Some(at(500)));
        let buffer = spare.take(&(LEAST..=LEAST)).expect("there are some");
        spare.give(buffer, at(400), MOST);
        spare.age(at(499));
        assert_eq!(spare.buffers.len(), 3);
        spare.age(at(500));
        assert_eq!((spare.buffers.len(), spare.bytes, spare.deadline()), (3, 3 * LEAST, Some(at(1000))));
        let buffer = spare.take(&(LEAST..=LEAST)).expect("there are some");
        spare.give(buffer, at(700), MOST);
        spare.age(at(1000));
        assert_eq!((spare.buffers.len(), spare.bytes, spare.deadline()), (1, LEAST, Some(at(1500))));
        spare.age(at(1500));
        assert_eq!((spare.buffers.len(), spare.bytes, spare.deadline()), (0, 0, None));
        assert_eq!(spare.buffers.capacity(), 0);
    }
}
