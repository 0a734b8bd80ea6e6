//! The last operations that fit into so many bytes.

use std::collections::VecDeque;

use crate::testkit::{Operation, Schedule};

pub(super) struct Ring {
    operations: VecDeque<Operation>,
    /// Memory that they take, and the most that they may.
    bytes: usize,
    capacity: usize,
    /// How many were dropped from the front: places count from the first that ever was.
    dropped: u64,
}

impl Ring {
    pub(super) fn new(capacity: usize) -> Self {
        Self { operations: VecDeque::new(), bytes: 0, capacity, dropped: 0 }
    }

    pub(super) fn schedule(&self) -> Schedule {
        let gap = (self.dropped > 0).then_some(Operation::Gap);
        gap.into_iter().chain(self.operations.iter().cloned()).collect()
    }

    /// Memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The place of what is pushed next.
    pub(super) fn end(&self) -> u64 {
        self.dropped + self.operations.len() as u64
    }

    pub(super) fn get_mut(&mut self, place: u64) -> Option<&mut Operation> {
        let index = usize::try_from(place.checked_sub(self.dropped)?).ok()?;
        self.operations.get_mut(index)
    }

    /// Puts an operation where another is, or at the front if that has been dropped.
    pub(super) fn insert(&mut self, place: u64, operation: Operation) {
        let index = usize::try_from(place.saturating_sub(self.dropped)).unwrap_or(usize::MAX);
        self.bytes += cost(&operation);
        self.operations.insert(index.min(self.operations.len()), operation);
    }

    /// Puts an operation at the end, and drops from the front what there is no room for. The ring holds both the last
    /// that arrived and its answer: of what arrives, the last half of a ring; of output, the first quarter.
    pub(super) fn push(&mut self, mut operation: Operation) {
        let (most_in, most_out) = (self.capacity / 2, self.capacity / 4);
        let mut cut = false;
        match &mut operation {
            Operation::Feed(bytes) | Operation::FeedEof(bytes) | Operation::Post(bytes) if bytes.len() > most_in => {
                self.forget();
                *bytes = bytes.split_off(bytes.len() - most_in);
            }
            Operation::Sent(bytes) if bytes.len() > most_out => {
                bytes.truncate(most_out);
                bytes.shrink_to_fit();
                cut = true;
            }
            _ => {}
        }
        for operation in [Some(operation), cut.then_some(Operation::Gap)].into_iter().flatten() {
            self.bytes += cost(&operation);
            self.operations.push_back(operation);
        }
        while self.bytes > self.capacity
            && let Some(oldest) = self.operations.pop_front()
        {
            self.bytes -= cost(&oldest);
            self.dropped += 1;
        }
    }

    /// Gives all memory back.
    pub(super) fn forget(&mut self) {
        self.dropped = self.end() + 1; // at least one, so that it shows
        self.operations = VecDeque::new();
        self.bytes = 0;
    }
}

/// What an operation takes of the ring.
fn cost(operation: &Operation) -> usize {
    let bytes = match operation {
        Operation::Feed(bytes) | Operation::FeedEof(bytes) | Operation::Post(bytes) | Operation::Sent(bytes) => {
            bytes.capacity()
        }
        Operation::Closed(reason) => reason.capacity(),
        _ => 0,
    };
    size_of::<Operation>() + bytes
}
