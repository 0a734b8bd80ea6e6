//! The client's handler: it does in one connection what a case wants, and keeps what it was told.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use switchboard::{CloseReason, Closing, Failure, TimerId};
use switchboard_websocket::handshake::AnswerError;
use switchboard_websocket::proxy::ProxyError;
use switchboard_websocket::{Answer, CloseCode, Closed, Handler, Message, Peer};

use crate::cases::{self, Case};
use crate::driver::Outcome;

/// How long a case may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of it, and why there was no tunnel through a proxy.
pub(crate) type Told = Rc<RefCell<(Outcome, Option<ProxyError>)>>;

pub(crate) struct Script {
    case: Case,
    to_send: VecDeque<cases::Message>,
    expected: VecDeque<cases::Message>,
    pong_awaited: bool,
    patience: Option<TimerId>,
    told: Told,
}

impl Script {
    pub(crate) fn new(case: &Case) -> (Self, Told) {
        let told = Told::default();
        let expected = case.answer.iter().cloned().map(cases::Message::Text).chain(case.messages()).collect();
        let (case, to_send) = (case.clone(), case.messages().collect());
        let pong_awaited = case.ping.is_some();
        (Self { case, to_send, expected, pong_awaited, patience: None, told: Rc::clone(&told) }, told)
    }

    /// Sends what is to be sent, or as much of it as is not to wait.
    fn send(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        // One that is too big does not come back: the answer is a close frame.
        let at_once = self.case.pipelined || self.case.close.is_none();
        while let Some(message) = self.to_send.pop_front() {
            message.send(peer, self.case.fragmented)?;
            if !at_once {
                break;
            }
        }
        Ok(())
    }

    /// Goes on, or closes when everything has come back.
    fn next(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        if self.expected.is_empty() && !self.pong_awaited {
            let Some((code, reason)) = &self.case.close else { return Ok(()) };
            return peer.close(CloseCode(code.unwrap_or(1005)), reason.as_deref().unwrap_or_default());
        }
        self.send(peer)
    }

    fn complain(&self, peer: &mut Peer<'_, '_>, trouble: String) {
        self.told.borrow_mut().0.trouble = Some(trouble);
        peer.abort();
    }
}

/// How long the loop goes on behind the end, so that a close frame is not overtaken by the reset that a socket with unread
/// input is closed with.
const LAST_WORDS: Duration = Duration::from_secs(5);

impl Handler for Script {
    fn on_accepted(&mut self, peer: &mut Peer<'_, '_>, answer: &Answer<'_>) -> Result<(), Failure> {
        let (outcome, _) = &mut *self.told.borrow_mut();
        outcome.subprotocol = answer.subprotocol().map(str::to_owned);
        let extensions = answer.header("sec-websocket-extensions");
        outcome.extensions = extensions.map(|value| String::from_utf8_lossy(value).into_owned());
        self.patience = Some(peer.set_timer(PATIENCE));
        Ok(())
    }

    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        if let Some(payload) = &self.case.ping {
            peer.ping(payload.as_bytes())?;
        }
        if let Some(command) = &self.case.command {
            peer.text(&command.to_string());
        }
        match self.case.idle {
            Some(milliseconds) => drop(peer.set_timer(Duration::from_millis(milliseconds))),
            None if self.case.answer.is_none() => self.next(peer)?,
            None => {}
        }
        if self.case.close.is_none() { self.send(peer) } else { Ok(()) }
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        match (self.expected.pop_front(), cases::Message::from(message)) {
            (Some(expected), message) if expected == message => self.next(peer),
            (None, cases::Message::Text(text)) if self.case.close.is_none() => {
                self.told.borrow_mut().0.heard = Some(text);
                peer.close(CloseCode::NORMAL, "")
            }
            (expected, message) => {
                self.complain(peer, format!("received {}, not {}", brief(Some(&message)), brief(expected.as_ref())));
                Ok(())
            }
        }
    }

    fn on_pong(&mut self, peer: &mut Peer<'_, '_>, payload: &[u8]) -> Result<(), Failure> {
        if payload == b"between" && self.case.fragmented {
            return Ok(());
        }
        if self.case.ping.as_deref().map(str::as_bytes) != Some(payload) {
            self.complain(peer, format!("a pong of {:?}", payload.escape_ascii().to_string()));
            return Ok(());
        }
        self.pong_awaited = false;
        self.next(peer)
    }

    fn on_timer(&mut self, peer: &mut Peer<'_, '_>, timer: TimerId) -> Result<(), Failure> {
        if self.patience == Some(timer) {
            self.complain(peer, format!("not done after {PATIENCE:?}"));
            return Ok(());
        }
        self.next(peer)
    }

    fn on_failed(&mut self, cx: &mut Closing<'_>, cause: &CloseReason) {
        let (outcome, tunnel) = &mut *self.told.borrow_mut();
        let error = cause.error();
        outcome.status = error.and_then(|error| error.downcast_ref::<AnswerError>()?.refusal()).map(|no| no.status());
        outcome.trouble = Some(cause.to_string());
        *tunnel = error.and_then(|error| error.downcast_ref()).cloned();
        cx.shutdown(LAST_WORDS);
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, closed: &Closed<'_>) {
        let (outcome, _) = &mut *self.told.borrow_mut();
        outcome.closed = Some((closed.code.0, closed.reason.to_owned()));
        if self.case.close.is_some() && !self.expected.is_empty() && outcome.trouble.is_none() {
            outcome.trouble = Some(format!("{} messages did not come back: {closed:?}", self.expected.len()));
        }
        cx.shutdown(LAST_WORDS);
    }
}

fn brief(message: Option<&cases::Message>) -> String {
    match message {
        Some(cases::Message::Text(text)) if text.len() < 100 => format!("{text:?}"),
        Some(cases::Message::Text(text)) => format!("text of {} bytes", text.len()),
        Some(cases::Message::Binary(bytes)) => format!("{} bytes", bytes.len()),
        None => "anything".to_owned(),
    }
}
