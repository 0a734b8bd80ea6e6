//! The layer that writes down what passes, as a schedule that makes it happen again.

use std::mem;
use std::time::Duration;

use super::ring::Ring;
use super::window::Window;
use crate::testkit::{Operation, Schedule};
use crate::{CloseReason, Context, Failure, Inner, Input, Layer, LimitExceeded, Message, Protocol, Time};

/// What stands for the timeout of a drain, which a protocol is not told.
const DRAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// Leaves everything as it is, and keeps a record of it.
pub(super) struct Tape {
    ring: Ring,
    window: Window,
    /// When the last of it happened.
    last: Time,
    /// Input that was offered and left: when it is offered again it is no news.
    unread: usize,
}

impl Tape {
    pub(super) fn new(capacity: usize) -> Self {
        Self { ring: Ring::new(capacity), window: Window::new(), last: Time::ZERO, unread: 0 }
    }

    pub(super) fn schedule(&self) -> Schedule {
        self.ring.schedule()
    }

    /// Something is about to happen to the protocol.
    pub(super) fn note(&mut self, cx: &mut Context<'_>, operation: Operation) {
        self.window.note_callback(cx.backlog(), &mut self.ring);
        self.note_time(cx.now());
        self.ring.push(operation);
        self.declare(cx);
    }

    /// The connection has ended; `asked`: the protocol wanted it.
    pub(super) fn note_close(&mut self, now: Time, reason: &CloseReason, asked: bool) {
        let limit = reason.error().and_then(|error| error.downcast_ref());
        match limit {
            Some(LimitExceeded::SendBuffer { wanted, .. }) => self.window.note_overflow(*wanted, &mut self.ring),
            Some(LimitExceeded::WriteStall(_)) => self.window.note_stall(&mut self.ring),
            _ => {}
        }
        self.note_time(now);
        match reason {
            CloseReason::Local | CloseReason::Peer if !asked => self.ring.push(Operation::Close),
            CloseReason::Aborted { .. } if !asked => self.ring.push(Operation::Abort),
            CloseReason::Io { .. } => self.ring.push(Operation::Reset),
            _ => {}
        }
        let overflow = matches!(limit, Some(LimitExceeded::SendBuffer { .. }));
        if matches!(reason, CloseReason::Local | CloseReason::Peer | CloseReason::Failure(_)) && !overflow {
            self.window.note_end(&mut self.ring);
        }
        self.ring.push(Operation::Closed(reason.to_string()));
    }

    fn note_time(&mut self, now: Time) {
        let passed = now.saturating_since(mem::replace(&mut self.last, now));
        if !passed.is_zero() {
            self.ring.push(Operation::Jump(passed));
        }
    }

    /// Has the loop know of the memory; gives it back where there is too little.
    fn declare(&mut self, cx: &mut Context<'_>) {
        if cx.hold(self.ring.bytes()).is_err() {
            self.ring.forget();
            let _ = cx.hold(0); // less than before never fails
        }
    }

    /// The part of `input` that was not offered before.
    fn news(&self, input: &Input<'_>) -> Vec<u8> {
        input.get(self.unread..).unwrap_or_default().to_vec()
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

    fn on_drain(&mut self, cx: &mut Context<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        let (backlog, later) = (cx.backlog(), cx.now() != self.last);
        if self.window.is_drain_noted(backlog, later, &mut self.ring) {
            self.note_time(cx.now());
            self.window.note_drain(backlog, &mut self.ring);
            self.declare(cx);
        }
        inner.on_drain(cx)
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message, inner: &mut Inner<P>) -> Result<(), Failure> {
        let operation = match &message {
            Message::Bytes(bytes) => Operation::Post(bytes.to_vec()),
            Message::User(_) | Message::Published(_) => Operation::Gap,
        };
        self.note(cx, operation);
        inner.on_message(cx, message)
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        self.note(cx, Operation::Shutdown(DRAIN));
        inner.on_shutdown(cx)
    }

    fn seal(&mut self, cx: &mut Context<'_>, plain: &mut [u8]) -> Result<(), Failure> {
        self.window.note_sent(plain.len());
        self.ring.push(Operation::Sent(plain.to_vec()));
        self.declare(cx);
        cx.send(plain);
        Ok(())
    }
}
