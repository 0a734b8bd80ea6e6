//! The handler, and the model of what it does and must be told.

use std::cell::RefCell;
use std::mem;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use switchboard::{Closing, Failure, Publication, Slow, TimerId};
use switchboard_websocket::error::UsageError;
use switchboard_websocket::{Begin, CloseCode, Closed, Delivery, Handler, Message, Peer};

use crate::wire::{Said, Whole, message};

/// What the handler has done and was told, and what follows from that.
pub(crate) struct Model {
    random: Rng,
    /// Whether it may end the connection.
    may_end: bool,
    number: u32,
    /// What is to stand on the wire, in this order.
    pub(crate) said: Said,
    /// The message that is being sent in pieces, and those that wait behind it.
    sending: Option<Whole>,
    behind: Vec<Whole>,
    /// Messages, and pings, that will never be sent.
    unsent: u32,
    pub(crate) heard: Said,
    /// The message that arrives in pieces.
    arriving: Option<Whole>,
    paused: bool,
    /// It was told that there is no room.
    pub(crate) owed_drain: bool,
    /// A post is to be handed to it.
    pub(crate) awaits_post: bool,
    /// By what the connection ends, once that has been decided.
    pub(crate) ended: Option<CloseCode>,
    /// What it has sent may be cut off.
    pub(crate) aborted: bool,
    pub(crate) closed: bool,
}

impl Model {
    pub(crate) fn new(random: &mut Rng) -> Self {
        Self {
            random: random.fork(),
            may_end: random.bool(),
            number: 0,
            said: Said::default(),
            sending: None,
            behind: Vec::new(),
            unsent: 0,
            heard: Said::default(),
            arriving: None,
            paused: false,
            owed_drain: false,
            awaits_post: false,
            ended: None,
            aborted: false,
            closed: false,
        }
    }

    /// A whole message is sent: now, or behind the one that is being sent in pieces, or never.
    pub(crate) fn sends(&mut self, message: Whole) {
        if self.ended.is_some() {
            self.unsent += 1;
        } else if self.sending.is_some() {
            self.behind.push(message);
        } else {
            self.said.messages.push(message);
        }
    }

    /// A message for the handler is posted, which counts as unsent if it comes too late.
    pub(crate) fn is_posted(&mut self) {
        self.awaits_post = self.ended.is_none();
        self.unsent += u32::from(!self.awaits_post);
    }

    fn send(&mut self, peer: &mut Peer<'_, '_>) {
        self.number += 1;
        let (is_text, bytes) = message(&mut self.random, self.number, 70_000);
        let text = std::str::from_utf8(&bytes).unwrap();
        match (is_text, self.random.bool()) {
            (true, true) => peer.text(text),
            (true, false) => peer.text_shared(text.to_owned()),
            (false, true) => peer.binary(&bytes),
            (false, false) => peer.binary_shared(bytes.clone()),
        }
        self.sends((is_text, bytes));
    }

    fn send_piece(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        let (is_text, last) = (self.random.bool(), self.random.u8(..4) == 0);
        let bytes = "é xyz".repeat(self.random.usize(..60)).into_bytes();
        let text = std::str::from_utf8(&bytes).unwrap();
        let sent = peer.send_piece(if is_text { Message::Text(text) } else { Message::Binary(&bytes) }, last);
        if self.ended.is_some() {
            self.unsent += u32::from(last);
            return sent;
        }
        let mut message = self.sending.take().unwrap_or((is_text, Vec::new()));
        if message.0 != is_text {
            assert_eq!(sent.unwrap_err().error().downcast_ref(), Some(&UsageError::MixedPieces));
            self.sending = Some(message);
            return Ok(());
        }
        message.1.extend(bytes);
        if last {
            self.said.messages.push(message);
            self.said.messages.append(&mut self.behind);
        } else {
            self.sending = Some(message);
        }
        sent
    }

    fn ping(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        let payload = self.random.u32(..).to_string().into_bytes();
        peer.ping(&payload)?;
        if self.ended.is_some() {
            self.unsent += 1;
        } else {
            self.said.pings.push(payload);
        }
        Ok(())
    }

    /// Sets a timer, by which reading goes on if it is paused, as it may be here.
    fn wait(&mut self, peer: &mut Peer<'_, '_>) {
        peer.set_timer(Duration::from_millis(self.random.u64(1..20)));
        if self.random.bool() {
            peer.pause_reading();
            self.paused = self.ended.is_none();
        }
    }

    fn ask_for_room(&mut self, peer: &mut Peer<'_, '_>) {
        let room = peer.has_room();
        assert!(!room || self.ended.is_none(), "room for what is not sent");
        self.owed_drain |= !room && self.ended.is_none();
    }

    /// Closes, aborts or fails.
    fn end(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        let how = self.random.u8(..3);
        self.ended = Some([CloseCode::NORMAL, CloseCode::ABNORMAL, CloseCode::INTERNAL_ERROR][usize::from(how)]);
        self.breaks_off();
        match how {
            0 => peer.close(CloseCode::NORMAL, "enough"),
            1 => {
                self.aborted = true;
                peer.abort();
                Ok(())
            }
            _ => Err(Failure::caller("told to fail")),
        }
    }

    /// What has not been sent by now will never be.
    fn breaks_off(&mut self) {
        let left = self.behind.drain(..).count() + usize::from(self.sending.take().is_some());
        self.unsent += u32::try_from(left).unwrap();
    }

    /// Something has arrived, which must not be told now.
    fn assert_listens(&self) {
        assert!(!self.paused, "reading is paused");
        assert_eq!(self.ended, None, "it is over");
    }
}

/// A handler that does anything, whatever it is told.
pub(crate) struct Any(pub(crate) Rc<RefCell<Model>>);

impl Any {
    /// Does some things.
    fn act(&self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        let model = &mut *self.0.borrow_mut();
        assert!(!model.closed);
        for _ in 0..model.random.u8(..4) {
            assert_eq!(peer.is_open(), model.ended.is_none());
            assert_eq!(peer.is_sending(), model.sending.is_some());
            match model.random.u8(..18) {
                0..=3 => model.send(peer),
                4..=8 => model.send_piece(peer)?,
                9 => model.ping(peer)?,
                10..=13 => model.wait(peer),
                14 | 15 => model.ask_for_room(peer),
                _ if model.may_end && model.ended.is_none() && model.random.u8(..8) == 0 => model.end(peer)?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl Handler for Any {
    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        peer.subscribe("t", Slow::default())?;
        self.act(peer)
    }

    fn on_begin(&mut self, peer: &mut Peer<'_, '_>, begin: &Begin) -> Result<Delivery, Failure> {
        self.0.borrow().assert_listens();
        self.act(peer)?;
        let model = &mut *self.0.borrow_mut();
        assert_eq!(model.arriving, None, "one message at a time");
        if model.random.bool() {
            return Ok(Delivery::Whole);
        }
        model.arriving = Some((begin.is_text, Vec::new()));
        Ok(Delivery::Pieces)
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        {
            let model = &mut *self.0.borrow_mut();
            model.assert_listens();
            assert_eq!(model.arriving, None, "one message at a time");
            model.heard.messages.push((matches!(message, Message::Text(_)), message.as_bytes().to_vec()));
        }
        self.act(peer)
    }

    fn on_piece(&mut self, peer: &mut Peer<'_, '_>, piece: Message<'_>, last: bool) -> Result<(), Failure> {
        {
            let model = &mut *self.0.borrow_mut();
            model.assert_listens();
            assert!(last || !piece.as_bytes().is_empty(), "an empty piece that is not the last");
            let mut message = model.arriving.take().expect("a message that was begun");
            assert_eq!(message.0, matches!(piece, Message::Text(_)));
            message.1.extend(piece.as_bytes());
            if last {
                model.heard.messages.push(message);
            } else {
                model.arriving = Some(message);
            }
        }
        self.act(peer)
    }

    fn on_pong(&mut self, peer: &mut Peer<'_, '_>, payload: &[u8]) -> Result<(), Failure> {
        self.0.borrow().assert_listens();
        self.0.borrow_mut().heard.pongs.push(payload.to_vec());
        self.act(peer)
    }

    fn on_drain(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        assert!(mem::take(&mut self.0.borrow_mut().owed_drain), "a drain that nobody is owed");
        assert_eq!(self.0.borrow().ended, None, "it is over");
        self.act(peer)
    }

    fn on_post(&mut self, peer: &mut Peer<'_, '_>, _: switchboard::Message) -> Result<(), Failure> {
        assert!(mem::take(&mut self.0.borrow_mut().awaits_post), "a post that came too late");
        self.act(peer)
    }

    fn on_publication(&mut self, peer: &mut Peer<'_, '_>, publication: &Publication) -> Result<(), Failure> {
        assert_eq!(self.0.borrow().ended, None, "it is over");
        peer.send_publication(publication);
        self.act(peer)
    }

    fn on_timer(&mut self, peer: &mut Peer<'_, '_>, _: TimerId) -> Result<(), Failure> {
        self.0.borrow_mut().paused = false;
        peer.resume_reading();
        self.act(peer)
    }

    fn on_close(&mut self, _: &mut Closing<'_>, closed: &Closed<'_>) {
        let model = &mut *self.0.borrow_mut();
        assert!(!mem::replace(&mut model.closed, true), "closed twice");
        model.breaks_off();
        assert_eq!((closed.unsent, Some(closed.code)), (model.unsent, model.ended));
    }
}
