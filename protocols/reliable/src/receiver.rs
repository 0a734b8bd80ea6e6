//! What has arrived: in order it goes on, ahead of its turn it waits; and what is acknowledged when.

use std::collections::VecDeque;
use std::time::Duration;

use switchboard::Time;

use crate::header::Progress;

/// A segment that waits; an empty one is the end.
type Waiting = Box<[u8]>;

/// One direction of a session, at its end.
#[derive(Debug)]
pub(crate) struct Receiver {
    /// The segment to deliver next.
    next: u32,
    /// The segments from `next` on that are there and were not delivered, with gaps.
    waiting: VecDeque<Option<Waiting>>,
    /// How many segments it takes from `next` on.
    window: u32,
    /// The highest limit that the peer was told.
    told: u32,
    /// Bytes of all that wait.
    held: usize,
    finished: bool,
    /// Segments since the last acknowledgement.
    unacknowledged: u32,
    ack_due: Option<Time>,
    delay: Duration,
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is to be delivered now.
    Next,
    /// It waits.
    Waits,
    /// It had arrived before.
    Duplicate,
    /// It is none that the peer may send.
    Beyond,
}

/// What is to be delivered next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    Segment(Waiting),
    End,
}

impl Receiver {
    /// `first` is the peer's first segment; `window` segments are taken ahead, and an acknowledgement may be delayed by
    /// `delay`.
    pub(crate) fn new(first: u32, window: u16, delay: Duration) -> Self {
        let window = u32::from(window);
        Self {
            next: first,
            waiting: VecDeque::new(),
            window,
            told: first.wrapping_add(window),
            held: 0,
            finished: false,
            unacknowledged: 0,
            ack_due: None,
            delay,
        }
    }

    /// Segment `sequence` has arrived; no `chunks` mean the end. `can_deliver` tells whether it may be delivered now, if it
    /// is its turn.
    pub(crate) fn on_segment(&mut self, now: Time, sequence: u32, chunks: &[u8], can_deliver: bool) -> Arrival {
        let Ok(ahead) = usize::try_from(sequence.wrapping_sub(self.next).cast_signed()) else {
            self.ack_due = Some(now);
            return Arrival::Duplicate;
        };
        if self.finished || sequence.wrapping_sub(self.limit()).cast_signed() >= 0 {
            self.ack_due = Some(now);
            return Arrival::Beyond;
        }
        if self.waiting.get(ahead).is_some_and(Option::is_some) {
            self.ack_due = Some(now);
            return Arrival::Duplicate;
        }
        // RFC 5681 §4.2: out of order at once, when it fills a gap at once, else each second one.
        self.unacknowledged += 1;
        let at_once = ahead > 0 || !self.waiting.is_empty() || self.unacknowledged >= 2 || chunks.is_empty();
        let due = if at_once { now } else { now + self.delay };
        self.ack_due = Some(self.ack_due.map_or(due, |before| before.min(due)));
        if ahead == 0 && can_deliver && !chunks.is_empty() {
            self.waiting.pop_front();
            self.next = self.next.wrapping_add(1);
            return Arrival::Next;
        }
        if self.waiting.len() <= ahead {
            self.waiting.resize_with(ahead + 1, || None);
        }
        self.held += chunks.len();
        self.waiting[ahead] = Some(chunks.into());
        Arrival::Waits
    }

    /// Takes what is to be delivered next, if it is there.
    pub(crate) fn take_ready(&mut self) -> Option<Ready> {
        let segment = self.waiting.front_mut()?.take()?;
        self.waiting.pop_front();
        self.next = self.next.wrapping_add(1);
        self.held -= segment.len();
        if segment.is_empty() {
            self.finished = true;
            self.waiting.clear(); // a peer that sends something after its end
            self.held = 0;
            return Some(Ready::End);
        }
        Some(Ready::Segment(segment))
    }

    /// The rest of a segment that was to be delivered waits on.
    pub(crate) fn put_back(&mut self, rest: &[u8]) {
        debug_assert!(!rest.is_empty());
        self.held += rest.len();
        self.next = self.next.wrapping_sub(1);
        self.waiting.push_front(Some(rest.into()));
    }

    /// Room has been made of which the peer should know (RFC 9293 §3.8.6.2.2): half a window or more.
    pub(crate) fn tell_of_room(&mut self, now: Time) {
        if self.limit().wrapping_sub(self.told) >= self.window / 2 {
            self.ack_due = Some(now);
        }
    }

    /// The peer asks.
    pub(crate) fn on_ping(&mut self, now: Time) {
        self.ack_due = Some(now);
    }

    /// When an acknowledgement is due; `None` if there is nothing to tell.
    pub(crate) fn ack_due(&self) -> Option<Time> {
        self.ack_due
    }

    /// What to tell the peer. A limit, once told, stands.
    pub(crate) fn progress(&self) -> Progress {
        Progress { ack: self.next.wrapping_add(self.contiguous()), limit: self.limit() }
    }

    fn limit(&self) -> u32 {
        let limit = self.next.wrapping_add(self.window);
        if limit.wrapping_sub(self.told).cast_signed() > 0 { limit } else { self.told }
    }

    /// How many that wait have no gap before them; none unless delivery waits.
    fn contiguous(&self) -> u32 {
        let count = self.waiting.iter().take_while(|segment| segment.is_some()).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Appends what has arrived behind the first gap.
    pub(crate) fn write_bitmap(&self, out: &mut Vec<u8>) {
        let behind = self.waiting.iter().skip(self.contiguous() as usize + 1);
        let start = out.len();
        for (bit, segment) in behind.enumerate() {
            if bit % 8 == 0 {
                out.push(0);
            }
            if let (true, Some(byte)) = (segment.is_some(), out.get_mut(start + bit / 8)) {
                *byte |= 1 << (bit % 8);
            }
        }
    }

    /// The peer is being told the progress: in an acknowledgement, or along with a segment, which has no bitmap.
    pub(crate) fn on_told(&mut self, with_bitmap: bool) {
        self.told = self.limit();
        if with_bitmap || self.waiting.is_empty() {
            self.ack_due = None;
            self.unacknowledged = 0;
        }
    }

    /// Whether the peer has ended and all it sent was delivered.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Bytes of memory.
    pub(crate) fn held(&self) -> usize {
        self.held + self.waiting.capacity() * size_of::<Option<Waiting>>()
    }

    /// Gives back what is kept for the next ones.
    pub(crate) fn shrink(&mut self) {
        if self.waiting.is_empty() {
            self.waiting.shrink_to_fit();
        }
    }
}

#[cfg(test)]
#[path = "receiver_tests.rs"]
mod tests;
