//! A protocol that sends much and checks what it is sent.

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use switchboard::{CloseReason, Closing, Context, Failure, Input, Protocol};

use crate::common::pattern;

/// The pattern's period: a chunk of it at any place can be compared as a whole.
const PERIOD: usize = 251 * 256;

/// Sends a pattern of a given length as fast as it may, checks that it receives another of the same
/// kind, and shuts its loop down when both are done.
pub(crate) struct Pump {
    pattern: Vec<u8>,
    to_send: usize,
    sent: usize,
    to_receive: usize,
    received: usize,
    result: Sender<Result<usize, String>>,
}

impl Pump {
    /// What was received, or what went wrong, is told through the channel.
    pub(crate) fn new(to_send: usize, to_receive: usize) -> (Self, Receiver<Result<usize, String>>) {
        let (result, receiver) = mpsc::channel();
        let pattern = pattern(2 * PERIOD);
        (Self { pattern, to_send, sent: 0, to_receive, received: 0, result }, receiver)
    }

    fn pump(&mut self, cx: &mut Context<'_>) {
        while self.sent < self.to_send && cx.has_room() {
            let from = self.sent % PERIOD;
            let count = PERIOD.min(self.to_send - self.sent);
            cx.send(&self.pattern[from..from + count]);
            self.sent += count;
            if self.sent == self.to_send {
                cx.finish();
            }
        }
    }
}

impl Protocol for Pump {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.pump(cx);
        Ok(())
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.pump(cx);
        Ok(())
    }

    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while !input.is_empty() {
            let piece = input.take(input.len().min(PERIOD));
            let from = self.received % PERIOD;
            if *piece != self.pattern[from..from + piece.len()] {
                return Err(Failure::peer(format!("wrong bytes after {}", self.received)));
            }
            self.received += piece.len();
        }
        Ok(())
    }

    fn on_eof(&mut self, _: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        assert!(rest.is_empty());
        Ok(()) // it has its own to send yet, and finishes then
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, reason: &CloseReason) {
        let all = self.received == self.to_receive && self.sent == self.to_send;
        let result = if all && reason.is_clean() { Ok(self.received) } else { Err(reason.to_string()) };
        let _ = self.result.send(result);
        cx.shutdown(Duration::ZERO);
    }
}
