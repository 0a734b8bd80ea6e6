//! The application under test, and what it saw.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use switchboard::{CloseReason, Closing, Failure, TimerId};

use crate::{Begin, CloseCode, Closed, Delivery, Handler, Message, Peer};

/// The first byte of a binary message that has the application do something else than to repeat it: answer at length,
/// repeat it and pause, fail, close.
pub(super) const LOUD: u8 = 0xfe;
pub(super) const PAUSE: u8 = 0xfd;
pub(super) const FAIL: u8 = 0xfb;
pub(super) const CLOSE: u8 = 0xfa;

/// What the application has to say at length.
pub(super) const LOUD_ANSWER: [u8; 600] = [LOUD; 600];
/// How long the application pauses.
pub(super) const PAUSE_TIME: Duration = Duration::from_millis(10);
/// What the application closes with.
pub(super) const CLOSED_BY_HANDLER: u16 = 4000;

/// What the application saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// It is to take messages in pieces, and repeat them so.
    pub(super) streams: Cell<bool>,
    /// The first byte of the message that is arriving in pieces.
    pub(super) first: Cell<Option<u8>>,
    /// It is to pause as soon as it is open.
    pub(super) pauses_first: Cell<bool>,
    pub(super) opened: Cell<bool>,
    /// It was told, as a client, that it never will be.
    pub(super) failed: Cell<bool>,
    pub(super) paused: Cell<bool>,
    /// The end it was told: the code, whether by the peer, whether clean.
    pub(super) closed: RefCell<Option<(u16, bool, bool)>>,
}

/// Repeats every message.
pub(super) struct Echo(pub(super) Rc<Seen>);

impl Echo {
    fn check(&self) {
        assert!(self.0.opened.get() && !self.0.failed.get(), "a callback before on_open");
        assert_eq!(*self.0.closed.borrow(), None, "a callback after on_close");
    }

    fn pause(&self, peer: &mut Peer<'_, '_>) {
        peer.pause_reading();
        peer.set_timer(PAUSE_TIME);
        self.0.paused.set(true);
    }
}

impl Handler for Echo {
    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        assert!(!self.0.opened.replace(true), "on_open twice");
        if self.0.pauses_first.get() {
            self.pause(peer);
        }
        Ok(())
    }

    fn on_failed(&mut self, _: &mut Closing<'_>, _: &CloseReason) {
        assert!(!self.0.opened.get() && !self.0.failed.replace(true), "on_failed behind something else");
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        self.check();
        assert!(!self.0.paused.get(), "a message while reading is paused");
        match message {
            Message::Binary([FAIL, ..]) => return Err(Failure::caller("told to")),
            Message::Binary([CLOSE, ..]) => return peer.close(CloseCode(CLOSED_BY_HANDLER), ""),
            Message::Binary([LOUD, ..]) => peer.binary(&LOUD_ANSWER),
            Message::Binary([PAUSE, ..]) => {
                self.pause(peer);
                peer.send(message);
            }
            message => peer.send(message),
        }
        Ok(())
    }

    fn on_begin(&mut self, _: &mut Peer<'_, '_>, _: &Begin) -> Result<Delivery, Failure> {
        self.check();
        assert!(!self.0.paused.get() && self.0.first.get().is_none());
        Ok(if self.0.streams.get() { Delivery::Pieces } else { Delivery::Whole })
    }

    fn on_piece(&mut self, peer: &mut Peer<'_, '_>, piece: Message<'_>, last: bool) -> Result<(), Failure> {
        self.check();
        assert!(self.0.streams.get() && !self.0.paused.get(), "a piece while reading is paused");
        let bytes = piece.as_bytes();
        assert!(last || !bytes.is_empty());
        let is_text = matches!(piece, Message::Text(_));
        let first = self.0.first.get().or(bytes.first().copied().filter(|_| !is_text));
        self.0.first.set(first.filter(|_| !last));
        match first {
            Some(FAIL) if last => return Err(Failure::caller("told to")),
            Some(CLOSE) if last => return peer.close(CloseCode(CLOSED_BY_HANDLER), ""),
            Some(LOUD) if last => peer.binary(&LOUD_ANSWER),
            Some(LOUD) => {}
            _ => {
                if first == Some(PAUSE) {
                    self.pause(peer);
                }
                peer.send_piece(piece, last)?;
            }
        }
        Ok(())
    }

    fn on_pong(&mut self, _: &mut Peer<'_, '_>, payload: &[u8]) -> Result<(), Failure> {
        self.check();
        assert!(payload.len() <= 125);
        Ok(())
    }

    fn on_timer(&mut self, peer: &mut Peer<'_, '_>, _: TimerId) -> Result<(), Failure> {
        self.check();
        self.0.paused.set(false);
        peer.resume_reading();
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, closed: &Closed<'_>) {
        self.check();
        *self.0.closed.borrow_mut() = Some((closed.code.0, closed.by_peer, closed.clean));
    }
}
