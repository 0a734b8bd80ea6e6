//! A client that says much and demands it back.

use std::cell::RefCell;
use std::rc::Rc;

use switchboard::{CloseReason, Closing, Context, Failure, Input, Protocol};

/// Sends a stream of bytes made from a number, as fast as there is room, half-closes, and checks that
/// it comes back as it went.
pub(crate) struct Talker {
    sent: Stream,
    received: Stream,
    length: u64,
    outcome: Rc<RefCell<Outcome>>,
}

/// What became of a [`Talker`].
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) opened: bool,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) eof: bool,
    pub(crate) closed: Option<CloseReason>,
}

/// Bytes by their place, so that one lost, repeated or moved shows; also dice.
pub(crate) struct Stream {
    state: u64,
    pub(crate) position: u64,
}

impl Stream {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, position: 0 }
    }

    pub(crate) fn next(&mut self) -> u8 {
        self.position += 1;
        self.draw().to_be_bytes()[0]
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.draw() >> 33).unwrap() % limit
    }

    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        self.state
    }
}

impl Talker {
    pub(crate) fn new(number: u64, length: u64) -> (Self, Rc<RefCell<Outcome>>) {
        let outcome = Rc::new(RefCell::new(Outcome::default()));
        let stream = || Stream::new(number);
        (Self { sent: stream(), received: stream(), length, outcome: Rc::clone(&outcome) }, outcome)
    }

    fn talk(&mut self, cx: &mut Context<'_>) {
        const PIECE: u64 = 3000;
        while self.sent.position < self.length {
            if !cx.has_room() {
                return;
            }
            let piece = PIECE.min(self.length - self.sent.position);
            let bytes: Vec<u8> = (0..piece).map(|_| self.sent.next()).collect();
            cx.send(&bytes);
            self.outcome.borrow_mut().sent = self.sent.position;
        }
        cx.finish();
    }
}

impl Protocol for Talker {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.outcome.borrow_mut().opened = true;
        self.talk(cx);
        Ok(())
    }

    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        for &mut byte in input.take_all() {
            assert_eq!(byte, self.received.next(), "byte {} of the echo", self.received.position);
        }
        assert!(self.received.position <= self.sent.position, "more came back than was sent");
        self.outcome.borrow_mut().received = self.received.position;
        Ok(())
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.talk(cx);
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
        self.outcome.borrow_mut().eof = true;
        cx.close();
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, reason: &CloseReason) {
        let mut outcome = self.outcome.borrow_mut();
        assert!(outcome.closed.is_none(), "closed twice");
        outcome.closed = Some(match reason {
            CloseReason::Local => CloseReason::Local,
            CloseReason::Peer => CloseReason::Peer,
            CloseReason::ConnectTimeout(after) => CloseReason::ConnectTimeout(*after),
            CloseReason::Connect(error) => CloseReason::Connect(error.kind().into()),
            CloseReason::Io { error, unsent } => CloseReason::Io { error: error.kind().into(), unsent: *unsent },
            CloseReason::Limit(limit) => CloseReason::Limit(*limit),
            other => panic!("closed: {other}"),
        });
    }
}

impl Outcome {
    /// Everything came back, and both sides said goodbye.
    pub(crate) fn is_complete(&self, length: u64) -> bool {
        self.received == length && self.eof && matches!(self.closed, Some(CloseReason::Local))
    }
}
