//! Plays a schedule to a protocol, and writes down what comes of it.

use std::time::Duration;

use crate::testkit::transcript::Escaped;
use crate::testkit::trial::{Outcome, Trial};
use crate::testkit::{Entry, Operation, Transcript};
use crate::{Bytes, Limits, Protocol, Time};

/// What a schedule may cost.
#[derive(Clone, Copy, Debug)]
pub(in crate::testkit) struct Budget {
    /// Time that passes.
    pub(in crate::testkit) time: Duration,
    /// Stops on the way, at each of which something is due.
    pub(in crate::testkit) stops: u32,
}

/// A run of a schedule, operation by operation.
pub(in crate::testkit) struct Player {
    trial: Trial,
    transcript: Transcript,
    budget: Budget,
    exhausted: bool,
    /// How much of what the peer got is in the transcript.
    seen: usize,
    close_told: bool,
    /// The peer has half-closed or reset: it sends no more.
    peer_done: bool,
    broken: bool,
}

/// A run that has come to its end.
pub(super) struct Run {
    pub(super) transcript: Transcript,
    pub(super) outcome: Outcome,
    /// The budget did not suffice.
    pub(super) exhausted: bool,
    /// When it ended, there were bytes that nobody read: see [`Player::has_stopped_reading`].
    pub(super) stopped_reading: bool,
}

impl Player {
    pub(in crate::testkit) fn new(protocol: impl Protocol, limits: Limits, budget: Budget) -> Self {
        let trial = Trial::new(protocol, limits);
        let mut player = Self {
            trial,
            transcript: Transcript::default(),
            budget,
            exhausted: false,
            seen: 0,
            close_told: false,
            peer_done: false,
            broken: false,
        };
        player.look();
        player
    }

    /// One thing happens. What a peer that has gone can't do, it does not.
    pub(in crate::testkit) fn play(&mut self, operation: &Operation) {
        match operation {
            Operation::Feed(_) | Operation::FeedEof(_) | Operation::Eof if self.peer_done => return,
            Operation::Reset if self.broken => return,
            Operation::Feed(bytes) => {
                self.transcript.received(self.now(), bytes);
                self.trial.feed(bytes);
            }
            Operation::FeedEof(bytes) => {
                self.transcript.received(self.now(), bytes);
                self.note("→ half-close");
                self.peer_done = true;
                self.trial.feed_eof(bytes);
            }
            Operation::Eof => {
                self.note("→ half-close");
                self.peer_done = true;
                self.trial.eof();
            }
            Operation::Reset => {
                self.note("→ reset");
                (self.peer_done, self.broken) = (true, true);
                self.trial.reset();
            }
            Operation::Advance(by) => self.advance(*by),
            Operation::NextTimer => self.advance_to_next_timer(),
            Operation::Jump(by) => self.jump(*by),
            Operation::Timer => {
                self.note("timer");
                self.trial.step("due timers fired", |harness| harness.settle());
            }
            Operation::Window(window) => {
                self.note(match window {
                    &usize::MAX => "→ takes everything".to_owned(),
                    window => format!("→ takes {window} more bytes"),
                });
                self.trial.step("the cuts were forgotten", |harness| harness.peer().forget_cuts());
                self.trial.set_window(*window);
            }
            Operation::CutReads(sizes) => self.trial.cut_reads(sizes.iter().map(|&size| size.into())),
            Operation::CutWrites(sizes) => self.trial.cut_writes(sizes.iter().map(|&size| size.into())),
            Operation::Post(bytes) => {
                self.note(format!("posted {}", Escaped(bytes)));
                self.trial.post(Bytes::copy_from_slice(bytes));
            }
            Operation::Shutdown(timeout) => {
                self.note(format!("the loop drains for {timeout:?}"));
                self.trial.shutdown(*timeout);
            }
            Operation::Close => self.end_from_outside(false),
            Operation::Abort => self.end_from_outside(true),
            Operation::Sent(_) | Operation::Closed(_) | Operation::Gap => return,
        }
        self.look();
    }

    /// The type of the protocol.
    pub(super) fn name(&self) -> &'static str {
        self.trial.watch().name()
    }

    /// What has happened so far, once the loop has come to rest. What may not be left at an end is not asked.
    /// Gives what happened, and whether the budget sufficed for all of it.
    pub(in crate::testkit) fn stop(mut self) -> (Transcript, bool) {
        self.trial.step("the recording ended", |harness| harness.settle());
        self.look();
        (self.transcript, !self.exhausted)
    }

    /// Whether bytes are left that are not read, now that the peer takes everything. (A loop that drains is not asked.)
    pub(super) fn has_stopped_reading(&mut self) -> bool {
        self.trial.set_window(usize::MAX);
        self.look();
        self.trial.unread() > 0
            && self.trial.is_open()
            && !self.trial.step("everything was taken", |harness| harness.core().is_draining())
    }

    /// Whether that stays so for good: a timer could make it go on, so each has its turn. This is the end of the run.
    ///
    /// Who pauses and then has a timer end the connection may mean it, unless `on_drain` has come in between.
    pub(super) fn stays_so(mut self) -> bool {
        const DEADLINES: u32 = 64;
        const MOST: Duration = Duration::from_secs(24 * 60 * 60);
        let unread = self.trial.unread();
        for _ in 0..DEADLINES {
            if !self.trial.advance_to_next_deadline(MOST) {
                break;
            }
            if !self.trial.is_open() {
                return self.trial.watch().is_paused_in_vain();
            }
            if self.trial.unread() != unread {
                return false;
            }
        }
        true
    }

    /// Ends the run as [`Trial::end`] does.
    pub(super) fn end(mut self) -> Run {
        let stopped_reading = self.has_stopped_reading();
        let (mut transcript, seen, close_told) = (self.transcript, self.seen, self.close_told);
        let now = Time::ZERO + self.trial.elapsed();
        self.trial.step("the schedule ended", |harness| harness.settle());
        let outcome = self.trial.end();
        transcript.sent(now, &outcome.sent[seen..]);
        if !close_told {
            transcript.note(now, format!("closed: {}", outcome.close_reason));
        }
        Run { transcript, outcome, exhausted: self.exhausted, stopped_reading }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.trial.elapsed()
    }

    fn note(&mut self, what: impl Into<std::borrow::Cow<'static, str>>) {
        let now = self.now();
        self.transcript.note(now, what);
    }

    /// Writes down what was sent, and whether that was the end.
    fn look(&mut self) {
        let now = self.now();
        self.transcript.sent(now, &self.trial.sent()[self.seen..]);
        self.seen = self.trial.sent().len();
        if !self.close_told && !self.trial.is_open() {
            self.close_told = true;
            let reason = self.trial.step("it closed", |harness| harness.close_reason().map(ToString::to_string));
            self.transcript.note(now, format!("closed: {}", reason.unwrap_or_default()));
        }
    }

    /// Time passes, with a stop at whatever is due on the way.
    fn advance(&mut self, by: Duration) {
        let until = self.trial.elapsed().saturating_add(self.spend(by));
        while !self.exhausted && self.trial.advance_to_next_deadline(until.saturating_sub(self.trial.elapsed())) {
            self.stopped();
        }
        if !self.exhausted {
            self.trial.advance(until.saturating_sub(self.trial.elapsed()));
        }
    }

    /// The protocol's own next timer: what else the loop may wake for is nothing that happens.
    fn advance_to_next_timer(&mut self) {
        let next = self.trial.step("the next timer was looked up", |harness| harness.timers().first().copied());
        if let Some(due) = next {
            self.advance(due.saturating_since(self.now()));
        }
    }

    fn jump(&mut self, by: Duration) {
        let by = self.spend(by);
        // Only the clock: the loop has its turn with the next operation.
        self.trial.step("the clock jumped", |harness| {
            harness.peer().forget_cuts();
            harness.network().advance(by);
        });
    }

    fn stopped(&mut self) {
        self.look();
        match self.budget.stops.checked_sub(1) {
            Some(left) => self.budget.stops = left,
            None => self.exhausted = true,
        }
    }

    /// As much of this time as is left.
    fn spend(&mut self, time: Duration) -> Duration {
        let spent = time.min(self.budget.time);
        self.budget.time -= spent;
        spent
    }

    fn end_from_outside(&mut self, abort: bool) {
        self.note(if abort { "aborted from outside" } else { "closed from outside" });
        self.trial.step("it was closed from outside", |harness| {
            let id = harness.id();
            if abort {
                harness.core().abort(id)
            } else {
                harness.core().close(id)
            }
            harness.settle();
        });
    }
}

/// What was sent when: the same for the same conversation, however it was cut.
pub(super) fn answers(transcript: &Transcript) -> Vec<(Time, Vec<u8>)> {
    let mut answers: Vec<(Time, Vec<u8>)> = Vec::new();
    for (at, entry) in transcript.entries() {
        match (entry, answers.last_mut()) {
            (Entry::Sent(bytes), Some((then, before))) if then == at => before.extend_from_slice(bytes),
            (Entry::Sent(bytes), _) => answers.push((*at, bytes.clone())),
            _ => {}
        }
    }
    answers
}
