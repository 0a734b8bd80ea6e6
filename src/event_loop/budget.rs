//! A turn in slices, for who can spare the loop only so much time at once.

use std::io;
use std::time::Duration;

use super::EventLoop;
use crate::Time;
use crate::driver::Driver;

/// What comes next of a turn that was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: the next turn begins with a poll.
    Poll,
    Events,
    Ready,
    Timers,
    Handles,
    Commands,
    Letters,
    Drain,
}

impl<D: Driver> EventLoop<D> {
    /// Serves what is there, but stops when `budget` is used up: for a game's frame, or whoever else has only so much
    /// time for the network. Never waits.
    ///
    /// It is a [`turn`](Self::turn) that can be left and gone on with. The clock is read after each visit (one
    /// connection's read and answer, one timer, the messages that wait for one target, one listener's `accepts_per_turn`,
    /// one UDP socket's `datagrams_per_turn`), so the budget is exceeded by one visit at most; and one is made even if the
    /// budget is zero. What is left goes first in the next call, of this or of `turn`, before anything new is asked of the
    /// system: so the order stays that of `turn`, and nobody starves. Meanwhile [`next_deadline`](Self::next_deadline) says now.
    ///
    /// True if the turn came to its end, false if something is left of it. (Also then there may be more to do at once,
    /// as after any turn: see `next_deadline`.)
    ///
    /// # Errors
    ///
    /// If the driver can't poll any more.
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::EventLoop;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// for _frame in 0..3 {
    ///     // … the world moves, the screen is drawn …
    ///     event_loop.turn_within(Duration::from_millis(2))?;
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn turn_within(&mut self, budget: Duration) -> io::Result<bool> {
        if self.tally.is_some() {
            return Ok(true);
        }
        self.core.now = self.driver.now();
        self.slice_end = self.core.now + budget;
        if !self.go_on() {
            return Ok(false);
        }
        if self.tally.is_some() {
            return Ok(true);
        }
        self.poll(Some(Duration::ZERO))?;
        self.step = Step::Events;
        Ok(self.go_on())
    }

    /// Finishes a turn that was left, however long it takes.
    #[cold]
    pub(super) fn finish_turn(&mut self) {
        self.core.now = self.driver.now();
        self.slice_end = Time::MAX;
        self.go_on();
    }

    /// Goes on with the turn that was left; false if it is left again.
    fn go_on(&mut self) -> bool {
        loop {
            let (done, next) = match self.step {
                Step::Poll => return true,
                Step::Events => (self.serve_events::<true>(), Step::Ready),
                Step::Ready => (self.serve_ready::<true>(), Step::Timers),
                Step::Timers => (self.fire_timers::<true>(), Step::Handles),
                Step::Handles => (self.serve_handles::<true>(), Step::Commands),
                Step::Commands => (self.carry_out_commands::<true>(), Step::Letters),
                Step::Letters => (self.deliver_letters::<true>(), Step::Drain),
                Step::Drain => {
                    self.check_drain();
                    (true, Step::Poll)
                }
            };
            if !done {
                return false;
            }
            self.step = next;
        }
    }

    /// After a visit: whether the turn is to be left here. A loop that has ended finishes it.
    pub(super) fn is_over(&self) -> bool {
        self.tally.is_none() && self.driver.now() >= self.slice_end
    }

    /// How far the step was done that is gone on with.
    pub(super) fn resume<const BUDGET: bool>(&mut self) -> usize {
        if BUDGET { std::mem::take(&mut self.done) } else { 0 }
    }
}
