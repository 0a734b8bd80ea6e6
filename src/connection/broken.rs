//! A connection that broke while nobody read it: what the peer had said before is still read.
//!
//! A peer that has enough often says so (an error line, a close frame), and closes with input unread; the system makes a
//! reset of that. Its last words have arrived, but if nobody read because of output that waited, they would be lost, and
//! with them the reason.

use std::io;

use super::{Connection, Status, Workshop};
use crate::driver::Stream;
use crate::link::Flag;
use crate::outbox::Outbox;
use crate::timer::LOOP_DEPTH;
use crate::{CloseReason, Core};

/// Why a connection can't be written to any more.
pub(super) struct Broken {
    error: io::Error,
    /// Bytes that were to be sent, and never will be.
    unsent: usize,
}

impl<S: Stream> Connection<S> {
    /// The system says that the connection broke. Output that waits is lost, so nobody need wait for it: there is room, and
    /// what has arrived is read, unless the protocol itself has paused. Then the connection ends.
    #[cold]
    pub(super) fn on_broken(&mut self, core: &mut Core, shop: &mut Workshop, error: io::Error) -> Status {
        self.lose_output(core, error);
        // Who is on the ready list has its turn there: one read a turn.
        if self.link.flags.contains(Flag::QUEUED) { Status::Alive } else { self.read_last_words(core, shop) }
    }

    /// One read a turn, as ever, until there is nothing more.
    pub(super) fn read_last_words(&mut self, core: &mut Core, shop: &mut Workshop) -> Status {
        let (reads, unread) = (core.counters[self.link.counters as usize].reads, self.tail_len());
        let status = self.serve(core, shop);
        if status != Status::Alive {
            return status;
        }
        // What was offered again may have been consumed in part, until the answers to it were too many once more.
        if core.counters[self.link.counters as usize].reads > reads || self.tail_len() < unread {
            self.queue(core);
            return Status::Alive;
        }
        // Nothing more arrives: who does not read on now never will.
        match self.broken_reason() {
            Some(reason) => self.broke(core, reason),
            None => Status::Alive,
        }
    }

    fn lose_output(&mut self, core: &mut Core, error: io::Error) {
        self.link.flags.remove(Flag::HELD);
        self.link.flags.insert(Flag::WRITE_FULL);
        if !self.link.flags.contains(Flag::PAUSED) {
            self.link.flags.remove(Flag::DRAIN_OWED); // who reads on anyway need not hear that there is room
        }
        let waiting = self.waiting_mut();
        let unsent = std::mem::take(&mut waiting.outbox).len();
        (waiting.answers, waiting.last_answer) = (0, 0);
        waiting.broken = Some(Broken { error, unsent });
        core.held -= unsent;
        core.counters[self.link.counters as usize].bytes_unsent += unsent as u64;
        if let Some(stall) = core.timers.find(self.link.timers, LOOP_DEPTH) {
            core.timers.cancel(&mut self.link.timers, stall);
        }
    }

    /// Drops a visit's output, if the connection is broken.
    pub(super) fn lose_answers(&mut self, core: &mut Core, out: &mut Outbox) -> bool {
        let Some(broken) = self.waiting.as_mut().and_then(|waiting| waiting.broken.as_mut()) else { return false };
        broken.unsent += out.len();
        core.counters[self.link.counters as usize].bytes_unsent += out.len() as u64;
        out.clear();
        true
    }

    pub(super) fn is_broken(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.broken.is_some())
    }

    /// Why it ends, if it is broken. To be asked once.
    pub(super) fn broken_reason(&mut self) -> Option<CloseReason> {
        let Broken { error, unsent } = self.waiting.as_mut()?.broken.take()?;
        Some(CloseReason::Io { error, unsent })
    }
}
