//! The ring: what happened to a connection lately, as a schedule that makes it happen again.

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use crate::testkit::{Operation, Schedule};
use crate::{CloseReason, Context, Failure, Inner, Input, Layer, LimitExceeded, Message, Protocol, Time};

/// What stands for the timeout of a drain, which a protocol is not told.
const DRAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// A layer that leaves everything as it is, and writes it down.
pub(super) struct Tape {
    operations: VecDeque<Operation>,
    /// Memory that they take, and the most that they may.
    bytes: usize,
    capacity: usize,
    /// How many operations were dropped from the front.
    dropped: u64,
    incomplete: bool,
    /// When the last of them happened.
    last: Time,
    /// Input that was offered and left: when it is offered again it is no news.
    unread: usize,
    window: Window,
}

/// The peer's window, as it shows in the output that waits.
struct Window {
    /// All output, that of the callbacks before the last one, and what the peer has taken.
    sent: u64,
    sent_before: u64,
    taken: u64,
    /// Where the record of the last callback begins.
    callback: u64,
    /// The peer has taken everything, each time.
    open: bool,
}

impl Tape {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            operations: VecDeque::new(),
            bytes: 0,
            capacity,
            dropped: 0,
            incomplete: false,
            last: Time::ZERO,
            unread: 0,
            window: Window { sent: 0, sent_before: 0, taken: 0, callback: 0, open: true },
        }
    }

    pub(super) fn schedule(&self) -> Schedule {
        let gap = self.incomplete.then_some(Operation::Gap);
        gap.into_iter().chain(self.operations.iter().cloned()).collect()
    }

    /// Something is about to happen to the protocol.
    pub(super) fn note(&mut self, cx: &mut Context<'_>, operation: Operation) {
        let backlog = cx.backlog();
        if backlog > 0 {
            self.close_window(0);
        } else if !self.window.open {
            self.window.open = true;
            self.push(Operation::Window(usize::MAX));
        }
        self.note_taken(backlog);
        self.begin_callback();
        self.note_time(cx.now());
        self.push(operation);
        self.declare(cx);
    }

    /// The connection has ended; `asked`: the protocol wanted it.
    pub(super) fn note_close(&mut self, now: Time, reason: &CloseReason, asked: bool) {
        let mut all_taken = matches!(reason, CloseReason::Local | CloseReason::Peer | CloseReason::Failure(_));
        match reason.error().and_then(|error| error.downcast_ref()) {
            Some(LimitExceeded::SendBuffer { wanted, .. }) => {
                let callback = self.window.sent - self.window.sent_before;
                self.close_window(callback.saturating_sub(*wanted as u64));
                all_taken = false;
            }
            Some(LimitExceeded::WriteStall(_)) => self.close_window(0),
            _ => {}
        }
        self.note_time(now);
        match reason {
            CloseReason::Local | CloseReason::Peer if !asked => self.push(Operation::Close),
            CloseReason::Aborted { .. } if !asked => self.push(Operation::Abort),
            CloseReason::Io { .. } => self.push(Operation::Reset),
            _ => {}
        }
        if all_taken && !self.window.open {
            self.push(Operation::Window(usize::MAX));
        }
        self.push(Operation::Closed(reason.to_string()));
    }

    fn note_time(&mut self, now: Time) {
        let passed = now.saturating_since(mem::replace(&mut self.last, now));
        if !passed.is_zero() {
            self.push(Operation::Jump(passed));
        }
    }

    fn begin_callback(&mut self) {
        self.window.callback = self.dropped + self.operations.len() as u64;
        self.window.sent_before = self.window.sent;
    }

    /// Output that waits tells how much of it the peer has taken since the last callback.
    fn note_taken(&mut self, backlog: usize) {
        if self.window.open {
            return;
        }
        let taken = self.window.sent.saturating_sub(backlog as u64);
        let more = taken.saturating_sub(mem::replace(&mut self.window.taken, taken));
        if more > 0 {
            self.push(Operation::Window(usize::try_from(more).unwrap_or(usize::MAX)));
        }
    }

    /// The peer took no more than `room` of what the last callback sent: which was to be said before it.
    fn close_window(&mut self, room: u64) {
        if mem::replace(&mut self.window.open, false) {
            self.window.taken = self.window.sent_before;
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            let place = usize::try_from(self.window.callback.saturating_sub(self.dropped)).unwrap_or(0);
            self.operations.insert(place, Operation::Window(room));
            self.bytes += size_of::<Operation>();
        }
    }

    /// Puts an operation at the end, and drops from the front what there is no room for. A ring holds both the last
    /// that arrived and its answer: of what arrives, the last half of a ring; of output, the first quarter.
    fn push(&mut self, mut operation: Operation) {
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
            self.incomplete = true;
        }
    }

    fn forget(&mut self) {
        self.dropped += self.operations.len() as u64;
        self.operations = VecDeque::new();
        (self.bytes, self.incomplete) = (0, true);
    }

    /// Has the loop know of the memory; gives it back where there is too little.
    fn declare(&mut self, cx: &mut Context<'_>) {
        if cx.hold(self.bytes).is_err() {
            self.forget();
            let _ = cx.hold(0); // less than before never fails
        }
    }

    /// The part of `input` that was not offered before.
    fn news(&self, input: &Input<'_>) -> Vec<u8> {
        input.get(self.unread..).unwrap_or_default().to_vec()
    }
}

/// What an operation takes of the ring.
fn cost(operation: &Operation) -> usize {
    size_of::<Operation>()
        + match operation {
            Operation::Feed(bytes) | Operation::FeedEof(bytes) | Operation::Post(bytes) | Operation::Sent(bytes) => {
                bytes.capacity()
            }
            Operation::Closed(reason) => reason.capacity(),
            _ => 0,
        }
}

impl<P: Protocol> Layer<P> for Tape {
    /// Only so can it see what is sent; it changes nothing of it.
    const SEALS: bool = true;

    fn on_open(&mut self, cx: &mut Context<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        self.last = cx.now();
        inner.on_open(cx)
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        if input.len() > self.unread {
            let news = self.news(input);
            self.note(cx, Operation::Feed(news));
        }
        let result = inner.on_data(cx, input);
        self.unread = input.len();
        result
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        let news = self.news(rest);
        self.note(cx, if news.is_empty() { Operation::Eof } else { Operation::FeedEof(news) });
        let result = inner.on_eof(cx, rest);
        self.unread = rest.len();
        result
    }

    /// That the peer takes more brings it about by itself; what is noted is how much, and when.
    fn on_drain(&mut self, cx: &mut Context<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        let backlog = cx.backlog();
        if backlog > 0 || cx.now() != self.last {
            self.close_window(0);
        }
        if !self.window.open {
            self.note_time(cx.now());
            self.note_taken(backlog);
            self.begin_callback();
            self.declare(cx);
        }
        inner.on_drain(cx)
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message, inner: &mut Inner<P>) -> Result<(), Failure> {
        let operation = match &message {
            Message::Bytes(bytes) => Operation::Post(bytes.to_vec()),
            Message::User(_) => Operation::Gap,
        };
        self.note(cx, operation);
        inner.on_message(cx, message)
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        self.note(cx, Operation::Shutdown(DRAIN));
        inner.on_shutdown(cx)
    }

    fn seal(&mut self, cx: &mut Context<'_>, plain: &mut [u8]) -> Result<(), Failure> {
        self.window.sent += plain.len() as u64;
        self.push(Operation::Sent(plain.to_vec()));
        self.declare(cx);
        cx.send(plain);
        Ok(())
    }
}
