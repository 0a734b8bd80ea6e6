//! Buffers that nobody needs just now: large ones, and a few small ones.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::{Core, Time};

/// Of buffers of at most so many bytes only a few are kept: an allocator has such at hand, if not for nothing.
const SMALL: usize = 32 * 1024;

/// How many of those.
const FEW: usize = 8;

/// A longer one of which less was used is not worth keeping: only what was used can be lent.
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
    /// Something else than these was in use since: the loop's own buffers.
    others_used: bool,
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
        self.due = (self.unused > 0 || std::mem::take(&mut self.others_used)).then(|| now + IDLE);
        if self.due.is_none() {
            self.buffers = Vec::new();
        }
        self.due.is_none()
    }

    /// Has the loop look whether its own buffers can be given back: not before they have lain unused for as long as these.
    pub(crate) fn remind(&mut self, now: Time) {
        self.others_used = true;
        self.due.get_or_insert_with(|| now + IDLE);
    }

    fn take(&mut self, lengths: &RangeInclusive<usize>) -> Option<Vec<u8>> {
        let fitting = self.buffers.iter().enumerate().filter(|(_, buffer)| lengths.contains(&buffer.len()));
        // Of several of the same length the last.
        let (index, _) = fitting.min_by_key(|(index, buffer)| (buffer.len(), usize::MAX - index))?;
        Some(self.remove(index))
    }

    fn remove(&mut self, index: usize) -> Vec<u8> {
        let buffer = self.buffers.remove(index);
        self.bytes -= buffer.capacity();
        self.unused = self.unused.min(self.buffers.len());
        buffer
    }

    fn give(&mut self, mut buffer: Vec<u8>, now: Time, most: usize) {
        let capacity = buffer.capacity();
        let is_small = capacity <= SMALL;
        let is_kept = capacity <= most.saturating_sub(self.bytes)
            && if is_small { self.has_place(capacity) } else { buffer.len() >= LEAST };
        if !is_kept {
            discard(buffer);
            return;
        }
        if is_small {
            buffer.resize(capacity, 0);
        }
        self.bytes += capacity;
        self.buffers.push(buffer);
        self.due.get_or_insert_with(|| now + IDLE);
    }

    /// Whether a small one of this capacity is kept: rather the longer ones, which serve all.
    fn has_place(&mut self, capacity: usize) -> bool {
        let small = self.buffers.iter().map(Vec::capacity).enumerate().filter(|&(_, capacity)| capacity <= SMALL);
        let (count, shortest) = (small.clone().count(), small.min_by_key(|&(_, capacity)| capacity));
        match shortest {
            Some((index, shortest)) if count == FEW && shortest < capacity => {
                self.remove(index);
                true
            }
            _ => count < FEW && capacity > 0,
        }
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

/// Buffers, lent from one protocol to the next: fresh memory costs the system a page fault for each 4 KiB, which is
/// more than it costs to receive them.
impl Core {
    /// Takes a buffer for a message, if one lies here whose length is within `lengths`: the shortest of these. What it
    /// contains is of no meaning; it saves making and zeroing a new one.
    ///
    /// What is taken is the protocol's, so it is to be declared by [`hold`](crate::Context::hold), and to be
    /// [given back](Self::give_spare).
    pub fn take_spare(&mut self, lengths: RangeInclusive<usize>) -> Option<Vec<u8>> {
        self.spare.take(&lengths)
    }

    /// Leaves a buffer to whoever takes it next, wherever it came from. It is freed if those that lie here would take more
    /// than a 64th of [`Limits::loop_memory`](crate::Limits::loop_memory) together, or when nobody has needed it for a second;
    /// one of at most 32 KiB also if eight such lie here that are no smaller, a larger one if it is shorter than 16 KiB.
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
        let spare = with(&[MOST - LEAST, LEAST + 1, LEAST, LEAST]);
        assert_eq!((spare.buffers.len(), spare.bytes), (2, MOST));
    }

    #[test]
    fn of_small_ones_the_longest_few_are_kept() {
        let spare = with(&[0; 20]);
        assert_eq!((spare.buffers.len(), spare.due), (0, None), "nothing is nothing");
        let mut spare = with(&[100; 20]);
        assert_eq!((spare.buffers.len(), spare.bytes), (FEW, 800));
        for length in [SMALL, 99, 101, SMALL + 1, 100] {
            spare.give(vec![0; length], at(0), MOST);
        }
        assert_eq!((spare.buffers.len(), spare.bytes), (FEW + 1, 600 + 101 + 2 * SMALL + 1));
        let mut spare = Spare::default();
        spare.give(Vec::with_capacity(SMALL), at(0), MOST);
        spare.give(Vec::with_capacity(SMALL + 1), at(0), MOST);
        assert_eq!(
            (spare.buffers.len(), spare.bytes),
            (1, SMALL),
            "what was never used is made use of where it is little"
        );
        assert!(spare.take(&(SMALL..=SMALL)).is_some_and(|buffer| buffer.len() == SMALL));
    }

    #[test]
    fn a_small_one_is_not_given_up_for_one_that_there_is_no_room_for() {
        let mut spare = with(&[100; FEW]);
        spare.give(vec![0; 101], at(0), 800);
        assert_eq!((spare.buffers.len(), spare.bytes), (FEW, 800));
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
    fn the_loop_is_told_when_its_own_have_lain_unused() {
        let mut spare = Spare::default();
        spare.remind(at(0));
        assert_eq!(spare.deadline(), Some(at(500)));
        assert!(!spare.age(at(499)) && !spare.age(at(500)));
        spare.remind(at(700));
        assert!(!spare.age(at(1000)), "they were used meanwhile");
        assert!(spare.age(at(1500)));
        assert_eq!(spare.deadline(), None);
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
