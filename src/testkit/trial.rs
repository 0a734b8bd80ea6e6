//! One run of one protocol, with everything checked that holds for any.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use super::notes::Notes;
use super::observed::{Observed, SPIN_TIME, Watch};
use super::{Harness, Peer};
use crate::{LimitExceeded, Limits, Message, Protocol};

/// How long a protocol that does not end by itself is given to say goodbye, at the end of a run.
const GRACE: Duration = Duration::from_secs(60);

/// One run of one protocol: what happens to its connection is done by hand, and after each step
/// what must be so of any protocol is checked.
///
/// A panic while it runs (the protocol's own, or one of the checks') goes on as a panic that says
/// what was being done, and at which byte.
pub(super) struct Trial {
    harness: Harness,
    watch: Rc<Watch>,
    notes: Notes,
    /// What the protocol has sent so far, as far as the peer took it.
    sent: Vec<u8>,
    /// Bytes the peer has sent.
    fed: usize,
    /// The peer will send no more.
    finished: bool,
    /// The peer takes whatever comes.
    takes_all: bool,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Everything the peer got.
    pub(super) sent: Vec<u8>,
    /// Whether the protocol's side ended in order (half-closed, or closed), and was not reset.
    pub(super) half_closed: bool,
    /// What `on_close` was told, in words.
    pub(super) close_reason: String,
    /// More output waited than [`Limits::send_buffer`] allows, which only happens to a protocol that
    /// goes on sending when `has_room` says no.
    pub(super) overflowed: bool,
    /// What the protocol [noted](super::note).
    pub(super) notes: Vec<String>,
}

impl Trial {
    /// Limits so narrow that they are met, and so small that a run costs microseconds.
    pub(super) fn limits() -> Limits {
        const KIB: usize = 1024;
        Limits {
            connections: 64,
            receive_buffer: 256 * KIB,
            send_buffer: 1024 * KIB,
            high_water: KIB,
            low_water: KIB / 4,
            loop_memory: 2048 * KIB,
            read_budget: 4 * KIB,
            mailbox: 64,
            linger_bytes: 16 * KIB,
            // A peer that is made to wait for the next step waits a while.
            write_stall: Duration::from_secs(24 * 60 * 60),
            ..Limits::default()
        }
    }

    /// An established connection with this protocol, just opened.
    pub(super) fn new(protocol: impl Protocol, limits: Limits) -> Self {
        Self::prepared(protocol, limits, usize::MAX, |_| {})
    }

    /// As [`new`](Self::new), with a peer that takes at first only `window` bytes, and is prepared
    /// otherwise before the connection stands.
    pub(super) fn prepared(
        protocol: impl Protocol,
        limits: Limits,
        window: usize,
        prepare: impl FnOnce(&Peer),
    ) -> Self {
        let (protocol, watch) = Observed::new(protocol);
        let harness = Harness::connecting(protocol, limits);
        harness.peer().set_window(window);
        prepare(harness.peer());
        let notes = Notes::default();
        let takes_all = window == usize::MAX;
        let mut trial = Self { harness, watch, notes, sent: Vec::new(), fed: 0, finished: false, takes_all };
        trial.step("it was opened", |harness| {
            harness.peer().establish();
            harness.settle();
        });
        trial
    }

    /// The peer sends bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.fed += bytes.len();
        self.step("bytes arrived", |harness| harness.feed(bytes));
    }

    /// The peer sends bytes and half-closes, in one event.
    pub(super) fn feed_eof(&mut self, bytes: &[u8]) {
        self.fed += bytes.len();
        self.finished = true;
        self.step("bytes arrived with the half-close in the same event", |harness| harness.feed_eof(bytes));
    }

    /// The peer half-closes.
    pub(super) fn eof(&mut self) {
        self.finished = true;
        self.step("the peer half-closed", Harness::eof);
    }

    /// The peer resets the connection.
    pub(super) fn reset(&mut self) {
        self.finished = true;
        self.step("the peer reset the connection", Harness::reset);
    }

    /// Time passes.
    pub(super) fn advance(&mut self, by: Duration) {
        self.go_on("time passed", |harness| harness.advance(by));
    }

    /// Nothing happens but time passing, from one deadline to the next: to some of them, and at least
    /// for as long as shows a spin.
    pub(super) fn be_silent(&mut self) {
        /// How long a silence is followed at the most, and how many deadlines.
        const MOST: Duration = Duration::from_secs(60 * 60);
        const DEADLINES: usize = 16;
        const MOST_DEADLINES: usize = 2_000;
        let start = self.elapsed();
        for count in 0..MOST_DEADLINES {
            let enough = count >= DEADLINES && self.elapsed() - start > SPIN_TIME;
            if enough || !self.advance_to_next_deadline(MOST) {
                return;
            }
        }
    }

    /// Time passes until something is due, if that is within `most`. False if nothing is.
    pub(super) fn advance_to_next_deadline(&mut self, most: Duration) -> bool {
        let now = self.harness.now();
        let due = self.harness.event_loop().next_deadline().map(|due| due.saturating_since(now));
        let Some(by) = due.filter(|by| *by <= most) else { return false };
        self.advance(by);
        true
    }

    /// The peer takes this many more bytes; `usize::MAX`: whatever comes.
    pub(super) fn set_window(&mut self, window: usize) {
        self.takes_all = window == usize::MAX;
        self.step("the peer's window changed", |harness| harness.set_window(window));
    }

    /// The next reads give at most these sizes; 0 stands for `WouldBlock`.
    pub(super) fn cut_reads(&mut self, sizes: impl IntoIterator<Item = usize>) {
        self.harness.peer().cut_reads(sizes);
    }

    /// The next writes take at most these sizes; 0 stands for `WouldBlock`.
    pub(super) fn cut_writes(&mut self, sizes: impl IntoIterator<Item = usize>) {
        self.harness.peer().cut_writes(sizes);
    }

    /// Somebody posts a message. False if the connection is gone or its mailbox full.
    pub(super) fn post(&mut self, message: impl Into<Message>) -> bool {
        self.step("a message was posted", |harness| harness.post(message).is_ok())
    }

    /// The loop drains, and cuts off after `timeout`.
    pub(super) fn shutdown(&mut self, timeout: Duration) {
        self.step("the loop began to drain", |harness| harness.shutdown(timeout));
    }

    /// Bytes the peer has sent and the loop has not read.
    pub(super) fn unread(&self) -> usize {
        self.harness.peer().unread()
    }

    /// Whether `on_close` is still to come.
    pub(super) fn is_open(&self) -> bool {
        !self.watch.has_closed()
    }

    /// What `on_close` was told, in words, once it was.
    pub(super) fn close_reason(&mut self) -> Option<String> {
        self.harness.close_reason().map(ToString::to_string)
    }

    /// What the peer got so far.
    pub(super) fn sent(&self) -> &[u8] {
        &self.sent
    }

    /// Forgets what the peer got and what was noted so far, for runs in which that is too much.
    pub(super) fn forget(&mut self) {
        self.sent = Vec::new();
        self.notes.take();
    }

    /// How many notes there are.
    pub(super) fn notes(&self) -> usize {
        self.notes.len()
    }

    /// What was seen of the protocol.
    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// The time since the connection was made.
    pub(super) fn elapsed(&self) -> Duration {
        self.harness.now().saturating_since(crate::Time::ZERO)
    }

    /// Ends the run: the peer takes all output and half-closes; a protocol that goes on all the same
    /// has its time, then is told to shut down; what lingers runs out. Then nothing may be left.
    pub(super) fn end(mut self) -> Outcome {
        self.set_window(usize::MAX);
        if !self.finished {
            self.eof();
        }
        if self.is_open() {
            self.be_silent(); // what it waits for may come yet
        }
        if self.is_open() {
            self.shutdown(GRACE);
            self.advance(GRACE);
        }
        let (linger, connect) = (self.harness.core().limits().linger, self.harness.core().limits().connect_timeout);
        self.advance(linger.max(connect));
        self.check_nothing_left();
        let half_closed = self.harness.saw_eof();
        let reason = self.harness.close_reason();
        let error = reason.and_then(|reason| reason.error()).and_then(|error| error.downcast_ref());
        Outcome {
            overflowed: matches!(error, Some(LimitExceeded::SendBuffer { .. })),
            close_reason: reason.map(ToString::to_string).unwrap_or_default(),
            half_closed,
            sent: self.sent,
            notes: self.notes.take(),
        }
    }

    /// One thing happens to the connection, and all that comes of it.
    pub(super) fn step<R>(&mut self, what: &str, act: impl FnOnce(&mut Harness) -> R) -> R {
        self.watch.stimulus();
        self.go_on(what, act)
    }

    fn go_on<R>(&mut self, what: &str, act: impl FnOnce(&mut Harness) -> R) -> R {
        let Self { harness, watch, notes, fed, takes_all, .. } = self;
        let returned = guarded(watch, *fed, what, || {
            let returned = notes.during(|| act(harness));
            check_at_rest(harness, watch, *takes_all);
            returned
        });
        self.sent.append(&mut self.harness.take_sent());
        returned
    }

    fn check_nothing_left(&mut self) {
        let Self { harness, watch, fed, .. } = self;
        guarded(watch, *fed, "the run ended", || {
            demand!(watch.has_closed(), "on_close was not called although the connection is over");
            let core = harness.core();
            let counters = core.counters();
            demand!(
                counters.opened == counters.closed,
                "{} connections were opened and {} closed",
                counters.opened,
                counters.closed
            );
            for (left, of_what) in [
                (core.open_connections(), "connections"),
                (core.armed_timers(), "timers"),
                (core.held_bytes(), "held bytes"),
                (core.waiting_messages(), "messages"),
            ] {
                demand!(left == 0, "{left} {of_what} are left after the end");
            }
        });
    }
}

/// What must be so whenever the loop has come to rest.
fn check_at_rest(harness: &mut Harness, watch: &Watch, takes_all: bool) {
    let (held, limit) = (harness.core().held_bytes(), harness.core().limits().loop_memory);
    demand!(held <= limit || watch.has_ended(), "the loop holds {held} bytes and may hold {limit}");
    demand!(
        !(takes_all && watch.owes_drain()),
        "has_room() said no, the peer has taken everything, and on_drain has not come"
    );
}

/// Runs `f`; if it panics, the panic goes on with what was being done.
fn guarded<R>(watch: &Watch, fed: usize, what: &str, f: impl FnOnce() -> R) -> R {
    with_context(f, |text| {
        let (name, callback) = (watch.name(), watch.last_callback());
        format!("{name}, when {what} after {fed} bytes of input (last callback: {callback}): {text}")
    })
}

/// Runs `f`; if it panics, or a [`demand`] is not met, that goes on silently, with the words that `context` makes of its
/// own. Whoever is outermost says them [`aloud`]. (Of a panic of the protocol's own the panic hook has told by then, with
/// the place in its code.)
pub(super) fn with_context<R>(f: impl FnOnce() -> R, context: impl FnOnce(&str) -> String) -> R {
    // After a panic nothing of the run is used any more.
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|payload| match words(&*payload) {
        Some(text) => resume_unwind(Box::new(context(text))),
        None => resume_unwind(payload),
    })
}

/// Runs `f`; what it panics with, context and all, is printed.
#[track_caller]
pub(super) fn aloud<R>(f: impl FnOnce() -> R) -> R {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(returned) => returned,
        Err(payload) => match words(&*payload) {
            Some(text) => panic!("{text}"),
            None => resume_unwind(payload),
        },
    }
}

/// As `assert!` and `panic!`, for what is checked within [`aloud`]: the panic hook is not told, so what it prints is the
/// full text and nothing before.
macro_rules! demand {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            $crate::testkit::trial::fail(format!($($text)+))
        }
    };
}
pub(super) use demand;

/// See [`demand`].
pub(super) fn fail(text: String) -> ! {
    resume_unwind(Box::new(text))
}

fn words(payload: &(dyn Any + Send)) -> Option<&str> {
    let owned = payload.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| payload.downcast_ref::<&str>().copied())
}
