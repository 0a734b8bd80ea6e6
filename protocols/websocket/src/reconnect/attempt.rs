//! One attempt of a client that connects again by itself: the application's handler, and what is told of its end.

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::time::Duration;

use switchboard::{CloseReason, Closing, Failure, Publication, Retry, Time, TimerId};

use super::{Decide, Ended};
use crate::handshake::{Accept, Answer, Request, Response};
use crate::{Begin, Closed, Delivery, Handler, Message, Peer};

/// The application's handler on one attempt, which it derefs to.
pub struct Attempt<H> {
    pub(super) handler: H,
    /// When the WebSocket came to stand.
    pub(super) opened: Option<Time>,
    pub(super) watch: Rc<Watch>,
}

/// What the attempts of a client share: the last one's end goes from its handler to the back-off.
pub(super) struct Watch {
    pub(super) decide: RefCell<Box<Decide>>,
    pub(super) verdict: Cell<Option<Verdict>>,
}

#[derive(Clone, Copy)]
pub(super) struct Verdict {
    pub(super) retry: Retry,
    pub(super) stood: Option<Duration>,
}

impl<H> Attempt<H> {
    fn ended(&self, cx: &Closing<'_>, ended: Ended<'_>) {
        let retry = (self.watch.decide.borrow_mut())(ended);
        let stood = self.opened.map(|opened| cx.now().saturating_since(opened));
        self.watch.verdict.set(Some(Verdict { retry, stood }));
    }
}

impl<H> Deref for Attempt<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.handler
    }
}

impl<H> DerefMut for Attempt<H> {
    fn deref_mut(&mut self) -> &mut H {
        &mut self.handler
    }
}

/// Everything goes to the application's handler, which a test below sees to.
impl<H: Handler> Handler for Attempt<H> {
    fn on_handshake(&mut self, peer: &mut Peer<'_, '_>, request: &Request<'_>) -> Result<Accept, Response> {
        self.handler.on_handshake(peer, request)
    }

    fn on_http(&mut self, peer: &mut Peer<'_, '_>, request: &Request<'_>) -> Response {
        self.handler.on_http(peer, request)
    }

    fn on_accepted(&mut self, peer: &mut Peer<'_, '_>, answer: &Answer<'_>) -> Result<(), Failure> {
        self.handler.on_accepted(peer, answer)
    }

    fn on_failed(&mut self, cx: &mut Closing<'_>, cause: &CloseReason) {
        self.handler.on_failed(cx, cause);
        self.ended(cx, Ended::Failed(cause));
    }

    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        self.opened = Some(peer.now());
        self.handler.on_open(peer)
    }

    #[inline]
    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        self.handler.on_message(peer, message)
    }

    fn on_begin(&mut self, peer: &mut Peer<'_, '_>, begin: &Begin) -> Result<Delivery, Failure> {
        self.handler.on_begin(peer, begin)
    }

    fn on_piece(&mut self, peer: &mut Peer<'_, '_>, piece: Message<'_>, last: bool) -> Result<(), Failure> {
        self.handler.on_piece(peer, piece, last)
    }

    fn on_pong(&mut self, peer: &mut Peer<'_, '_>, payload: &[u8]) -> Result<(), Failure> {
        self.handler.on_pong(peer, payload)
    }

    fn on_drain(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        self.handler.on_drain(peer)
    }

    fn on_post(&mut self, peer: &mut Peer<'_, '_>, message: switchboard::Message) -> Result<(), Failure> {
        self.handler.on_post(peer, message)
    }

    fn on_publication(&mut self, peer: &mut Peer<'_, '_>, publication: &Publication) -> Result<(), Failure> {
        self.handler.on_publication(peer, publication)
    }

    fn on_timer(&mut self, peer: &mut Peer<'_, '_>, timer: TimerId) -> Result<(), Failure> {
        self.handler.on_timer(peer, timer)
    }

    fn on_shutdown(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        self.handler.on_shutdown(peer)
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, closed: &Closed<'_>) {
        self.handler.on_close(cx, closed);
        self.ended(cx, Ended::Closed(closed));
    }
}

#[cfg(test)]
mod tests {
    /// A callback with a default that was not passed on would be lost without a word.
    #[test]
    fn every_callback_is_passed_on() {
        let handler = include_str!("../handler.rs");
        let (_, rest) = handler.split_once("pub trait Handler").expect("the trait");
        let (declared, _) = rest.split_once("\n}\n").expect("its end");
        let here = include_str!("attempt.rs");
        let names: Vec<&str> =
            declared.lines().filter_map(|line| line.strip_prefix("    fn ")?.split(['(', '<']).next()).collect();
        assert!(names.len() >= 12 && names.contains(&"on_message"), "{names:?}");
        for name in names {
            assert!(here.contains(&format!("self.handler.{name}(")), "{name} is not passed on");
        }
    }
}
