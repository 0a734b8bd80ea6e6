//! How much the peer took, as far as it shows in the output that waits.

use std::mem;

use super::ring::Ring;
use crate::testkit::Operation;

/// A protocol sees how much of its output waits, not when it was taken. That much is written down, with the one
/// choice of time that leads to the same callbacks: output that waits behind other output was taken when the next
/// callback came; of output that nothing waited before, the system took at once what it did take, or the loop would
/// have held the input back (but for an `on_drain`: that says when there was room again).
pub(super) struct Window {
    /// The peer has taken everything, each time.
    open: bool,
    /// All output, that of the callbacks before the last one, and what was taken of it by then.
    sent: u64,
    sent_before: u64,
    taken: u64,
    /// Nothing waited when the last callback came.
    empty_before: bool,
    /// The place where the record of the last callback begins.
    callback: u64,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { open: true, sent: 0, sent_before: 0, taken: 0, empty_before: true, callback: 0 }
    }

    pub(super) fn note_sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// A callback comes that something other than the window brings about; this much output waits.
    pub(super) fn note_callback(&mut self, backlog: usize, ring: &mut Ring) {
        let room = self.taken_since(backlog);
        if backlog == 0 {
            if !mem::replace(&mut self.open, true) {
                ring.push(Operation::Window(usize::MAX));
            }
        } else if self.empty_before {
            self.grant(room, ring);
        } else if room > 0 {
            ring.push(Operation::Window(room));
        }
        self.begin(backlog, ring);
    }

    /// An `on_drain` comes, in the same turn as the last callback or `later`. Whether it is to be written down: the
    /// peer has not taken everything at once.
    pub(super) fn is_drain_noted(&mut self, backlog: usize, later: bool, ring: &mut Ring) -> bool {
        if self.open && (backlog > 0 || later) {
            self.grant(0, ring);
        }
        !self.open
    }

    /// What is noted of an `on_drain`: how much was taken is what brings it about.
    pub(super) fn note_drain(&mut self, backlog: usize, ring: &mut Ring) {
        let room = self.taken_since(backlog);
        self.begin(backlog, ring);
        ring.push(Operation::Window(room));
    }

    /// The connection ends because too much output waits, all of it but `wanted` taken.
    pub(super) fn note_overflow(&mut self, wanted: usize, ring: &mut Ring) {
        if self.empty_before {
            let room = (self.sent - self.sent_before).saturating_sub(wanted as u64);
            self.grant(usize::try_from(room).unwrap_or(usize::MAX), ring);
        }
    }

    /// The connection ends because the peer takes nothing. How much it took before, nobody knows.
    pub(super) fn note_stall(&mut self, ring: &mut Ring) {
        if self.empty_before {
            self.grant(0, ring);
        }
    }

    /// The connection ends when everything was taken.
    pub(super) fn note_end(&mut self, ring: &mut Ring) {
        if !mem::replace(&mut self.open, true) {
            ring.push(Operation::Window(usize::MAX));
        }
    }

    fn begin(&mut self, backlog: usize, ring: &Ring) {
        self.callback = ring.end();
        self.sent_before = self.sent;
        self.empty_before = backlog == 0;
    }

    fn taken_since(&mut self, backlog: usize) -> usize {
        let taken = self.sent.saturating_sub(backlog as u64);
        let more = taken.saturating_sub(mem::replace(&mut self.taken, taken));
        usize::try_from(more).unwrap_or(usize::MAX)
    }

    /// The peer took this much of what the last callback sent, at once: which is to be said before it.
    fn grant(&mut self, room: usize, ring: &mut Ring) {
        match ring.get_mut(self.callback) {
            // What brought an `on_drain` about.
            Some(Operation::Window(window)) if !self.open => *window = window.saturating_add(room),
            _ => ring.insert(self.callback, Operation::Window(room)),
        }
        self.open = false;
    }
}
