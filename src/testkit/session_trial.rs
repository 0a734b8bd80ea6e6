//! One run of one protocol on a session, with everything checked that holds for any.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::notes::Notes;
use super::observed::{Observed, Watch};
use super::transcript::Escaped;
use super::trial::{demand, with_context};
use super::{Operation, SessionHarness, Transcript};
use crate::{Bytes, Limits, Protocol, SessionOptions, Time};

/// How long a protocol that does not end by itself is given to say goodbye, at the end of a run.
const GRACE: Duration = Duration::from_secs(60);
/// Datagrams that come at one time, at most: more that are empty would look like a spin.
const MOST_AT_ONCE: usize = 256;

/// How datagrams that follow each other reach the protocol, and how what it sends is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Each in a turn of its own.
    Apart,
    /// Those that nothing else comes between in one turn.
    Together,
    /// The same, on a loop that reads one a turn.
    OneATurn,
    /// Each in a turn of its own, and the system takes what is answered only when that has come to rest.
    TakenLater,
    /// On a bound socket instead of a connected one: the first datagram opens the session.
    Accepted,
}

impl Delivery {
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Apart => "each datagram in a turn of its own",
            Self::Together => "datagrams that follow each other in one turn",
            Self::OneATurn => "datagrams that come together and are read one a turn",
            Self::TakenLater => "the system taking what is sent only when each step has come to rest",
            Self::Accepted => "on a bound socket, where the first datagram opens the session",
        }
    }
}

/// What came of a run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The datagrams that were sent, and when.
    pub(super) sent: Vec<(Time, Vec<u8>)>,
    /// What the protocol [noted](super::note).
    pub(super) notes: Vec<String>,
    /// What `on_close` was told, in words.
    pub(super) close_reason: String,
}

/// What a schedule may cost: time that passes, and stops on the way at which something is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) time: Duration,
    pub(super) stops: u32,
}

/// One run: what happens to the session is done by hand, and after each step what must be so of any protocol is
/// checked.
pub(super) struct SessionTrial {
    harness: SessionHarness,
    watch: Rc<Watch>,
    notes: Notes,
    transcript: Transcript,
    sent: Vec<(Time, Vec<u8>)>,
    /// Datagrams that have come.
    fed: usize,
    /// The system takes whatever is sent.
    takes_all: bool,
    close_told: bool,
    budget: Budget,
}

impl SessionTrial {
    /// A session with this protocol, just opened; by `first`, on a bound socket, if that is given.
    pub(super) fn new(protocol: impl Protocol, limits: Limits, budget: Budget, first: Option<&[u8]>) -> Self {
        let (protocol, watch) = Observed::new(protocol);
        let notes = Notes::default();
        let harness = notes.during(|| match first {
            None => SessionHarness::with_limits(protocol, limits),
            Some(first) => {
                let options = SessionOptions { idle_timeout: Duration::MAX, ..SessionOptions::default() };
                SessionHarness::accepted(protocol, limits, &options, first)
            }
        });
        let (transcript, sent) = (Transcript::default(), Vec::new());
        let fed = usize::from(first.is_some());
        let mut trial =
            Self { harness, watch, notes, transcript, sent, fed, takes_all: true, close_told: false, budget };
        if let Some(first) = first {
            trial.transcript.received_datagram(Time::ZERO, first);
        }
        trial.look();
        trial
    }

    /// Everything of a schedule, delivered in one way. False where the budget did not suffice.
    pub(super) fn play(&mut self, operations: &[Operation], delivery: Delivery) -> bool {
        let together = matches!(delivery, Delivery::Together | Delivery::OneATurn);
        let mut after_jump = false;
        let mut rest = operations;
        while let Some((operation, behind)) = rest.split_first() {
            rest = behind;
            if let (Operation::Feed(first), true, false) = (operation, together, after_jump) {
                let more = rest.iter().take(MOST_AT_ONCE - 1).map_while(|operation| match operation {
                    Operation::Feed(payload) => Some(&payload[..]),
                    _ => None,
                });
                let batch: Vec<&[u8]> = std::iter::once(&first[..]).chain(more).collect();
                rest = &rest[batch.len() - 1..];
                self.feed(&batch);
            } else {
                // Whoever looks at the loop after a jump fires what is late.
                let later = delivery == Delivery::TakenLater && self.takes_all && !after_jump && !takes_time(operation);
                if later {
                    self.step("the system took nothing more", |harness| harness.set_window(0));
                }
                self.operate(operation);
                if later {
                    self.step("the system took everything", |harness| harness.set_window(usize::MAX));
                    self.look();
                }
            }
            // What means nothing to a session gives the loop no turn, either.
            after_jump = matches!(operation, Operation::Jump(_)) || (after_jump && means_nothing(operation));
            if self.is_exhausted() {
                return false;
            }
        }
        true
    }

    fn operate(&mut self, operation: &Operation) {
        match operation {
            Operation::Feed(payload) | Operation::FeedEof(payload) => self.feed(&[payload]),
            Operation::Reset => {
                self.note("→ refused");
                self.step("the peer's system refused", |it| it.fail_receive(io::ErrorKind::ConnectionRefused));
            }
            Operation::Advance(by) => self.advance(*by),
            Operation::NextTimer => {
                let next = self.step("the next timer was looked up", |harness| harness.timers().first().copied());
                if let Some(due) = next {
                    self.advance(due.saturating_since(self.harness.now()));
                }
            }
            Operation::Jump(by) => {
                let by = self.spend(*by);
                self.harness.network().advance(by);
                return; // the loop has its turn with the next operation
            }
            Operation::Window(window) => {
                self.takes_all = *window == usize::MAX;
                self.note(format!("→ takes {window} more"));
                self.step("the window changed", |harness| harness.set_window(*window));
            }
            Operation::Post(bytes) => {
                self.note(format!("posted {}", Escaped(bytes)));
                self.step("a message was posted", |it| drop(it.post(Bytes::copy_from_slice(bytes))));
            }
            Operation::Shutdown(timeout) => {
                self.note(format!("the loop drains for {timeout:?}"));
                self.step("the loop began to drain", |harness| harness.shutdown(*timeout));
            }
            Operation::Close => {
                self.note("closed from outside");
                self.step("it was closed from outside", SessionHarness::close);
            }
            Operation::Abort => {
                self.note("aborted from outside");
                self.step("it was aborted from outside", |harness| {
                    let id = harness.id();
                    harness.core().abort(id);
                    harness.settle();
                });
            }
            Operation::Timer => self.step("what was due fired", SessionHarness::settle),
            _ => {
                debug_assert!(means_nothing(operation), "{operation:?}");
                return;
            }
        }
        self.look();
    }

    /// Datagrams arrive, in one event.
    pub(super) fn feed(&mut self, payloads: &[&[u8]]) {
        let now = self.harness.now();
        for payload in payloads {
            self.transcript.received_datagram(now, payload);
        }
        self.fed += payloads.len();
        self.step("datagrams arrived", |harness| {
            let (peer, local) = harness.addresses();
            for payload in payloads {
                harness.network().send_datagram(peer, local, payload);
            }
            harness.settle();
        });
        self.look();
    }

    /// Time passes, with a stop at whatever is due on the way.
    pub(super) fn advance(&mut self, by: Duration) {
        let until = self.harness.now() + self.spend(by);
        while !self.is_exhausted() {
            let due = self.harness.event_loop().next_deadline().filter(|&due| due <= until);
            let by = due.unwrap_or(until).saturating_since(self.harness.now());
            self.watch_time(by);
            if due.is_none() {
                return;
            }
            self.budget.stops -= 1;
        }
    }

    /// Nothing happens but time passing, from one deadline to the next.
    pub(super) fn be_silent(&mut self) {
        const DEADLINES: usize = 64;
        const MOST: Duration = Duration::from_secs(60 * 60);
        for _ in 0..DEADLINES {
            let now = self.harness.now();
            let due = self.harness.event_loop().next_deadline().map(|due| due.saturating_since(now));
            let Some(by) = due.filter(|by| *by <= MOST && self.is_open()) else { return };
            self.watch_time(by);
        }
    }

    fn watch_time(&mut self, by: Duration) {
        self.go_on("time passed", |harness| harness.advance(by));
        self.look();
    }

    /// From now on others hold all the memory of the loop.
    pub(super) fn fill_memory(&self) {
        self.watch.fill_memory();
    }

    /// The system takes nothing that is sent.
    pub(super) fn take_nothing(&mut self) {
        self.operate(&Operation::Window(0));
    }

    pub(super) fn is_open(&self) -> bool {
        !self.watch.has_closed()
    }

    pub(super) fn callbacks(&self) -> u64 {
        self.watch.callbacks()
    }

    /// Forgets what was sent and noted so far, for runs in which that is too much.
    pub(super) fn forget(&mut self) {
        self.notes.take();
        self.transcript = Transcript::default();
        self.sent = Vec::new();
    }

    /// Whether the budget is used up.
    fn is_exhausted(&self) -> bool {
        self.budget.stops == 0
    }

    /// Ends the run: the system takes everything; a protocol that goes on has its time, and is then told to shut down.
    /// Then nothing may be left.
    pub(super) fn end(mut self) -> (Transcript, Outcome) {
        self.takes_all = true;
        self.step("the system took everything", |harness| harness.set_window(usize::MAX));
        self.look();
        self.be_silent();
        if self.is_open() {
            self.step("the loop began to drain", |harness| harness.shutdown(GRACE));
            self.watch_time(GRACE);
        }
        self.step("the run ended", check_nothing_left);
        let close_reason = self.harness.close_reason().map(ToString::to_string).unwrap_or_default();
        (self.transcript, Outcome { sent: self.sent, notes: self.notes.take(), close_reason })
    }

    fn note(&mut self, what: impl Into<std::borrow::Cow<'static, str>>) {
        self.transcript.note(self.harness.now(), what);
    }

    /// Takes what was sent, and writes it down.
    fn look(&mut self) {
        let now = self.harness.now();
        for payload in self.harness.take_sent() {
            self.transcript.sent_datagram(now, &payload);
            self.sent.push((now, payload));
        }
        if !self.close_told && !self.is_open() {
            self.close_told = true;
            let reason = self.harness.close_reason().map(ToString::to_string).unwrap_or_default();
            self.transcript.note(now, format!("closed: {reason}"));
        }
    }

    /// As much of this time as is left.
    fn spend(&mut self, time: Duration) -> Duration {
        let spent = time.min(self.budget.time);
        self.budget.time -= spent;
        spent
    }

    fn step<R>(&mut self, what: &str, act: impl FnOnce(&mut SessionHarness) -> R) -> R {
        self.watch.stimulus();
        self.go_on(what, act)
    }

    fn go_on<R>(&mut self, what: &str, act: impl FnOnce(&mut SessionHarness) -> R) -> R {
        let Self { harness, watch, notes, fed, takes_all, .. } = self;
        let run = || {
            let returned = notes.during(|| act(harness));
            let (held, limit) = (harness.core().held_bytes(), harness.core().limits().loop_memory);
            demand!(held <= limit || watch.has_ended(), "the loop holds {held} bytes and may hold {limit}");
            let lost = *takes_all && watch.owes_drain();
            demand!(!lost, "has_room() said no, the system has taken everything, and on_drain has not come");
            returned
        };
        with_context(run, |text| {
            let (name, callback) = (watch.name(), watch.last_callback());
            format!("{name}, when {what} after {fed} datagrams (last callback: {callback}): {text}")
        })
    }
}

/// Whether time passes in it, so that it matters when output is taken.
fn takes_time(operation: &Operation) -> bool {
    use Operation as It;
    matches!(operation, It::Advance(_) | It::NextTimer | It::Jump(_) | It::Window(_) | It::Shutdown(_))
}

/// Whether it stands for what a session has not: a half-close, bytes that could be cut, a record's other lines.
fn means_nothing(operation: &Operation) -> bool {
    use Operation as It;
    matches!(operation, It::Eof | It::CutReads(_) | It::CutWrites(_) | It::Sent(_) | It::Closed(_) | It::Gap)
}

fn check_nothing_left(harness: &mut SessionHarness) {
    demand!(harness.has_closed(), "on_close was not called although the session is over");
    let core = harness.core();
    let counters = core.counters();
    let (opened, closed) = (counters.opened, counters.closed);
    demand!(opened == closed, "{opened} sessions were opened and {closed} closed");
    for (left, of_what) in [
        (core.open_sessions(), "sessions"),
        (core.armed_timers(), "timers"),
        (core.held_bytes(), "held bytes"),
        (core.waiting_messages(), "messages"),
    ] {
        demand!(left == 0, "{left} {of_what} are left after the end");
    }
}
