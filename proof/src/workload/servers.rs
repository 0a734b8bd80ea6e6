//! What the server of the workload speaks, beside the plug-ins as they are.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use switchboard::{
    Bytes, CloseReason, Closing, ConnectionId, Context, Failure, Inner, Input, Layer, Message, Protocol,
};
use switchboard_echo::TcpEcho;

pub(super) const UPGRADE: &[u8] = b"please be an echo\n";
pub(super) const UPGRADED: &[u8] = b"as you wish\n";

/// Becomes an echo when it is asked to. What comes right behind the request is echoed already.
pub(super) struct Upgrading;

impl Protocol for Upgrading {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        if input.len() < UPGRADE.len() {
            input.wait_for(UPGRADE.len());
        } else if input.take(UPGRADE.len()) == UPGRADE {
            cx.send(UPGRADED);
            cx.switch_to(TcpEcho);
        } else {
            return Err(Failure::peer("not a request to upgrade"));
        }
        Ok(())
    }
}

/// Who is there, and how many lines were passed on.
#[derive(Default)]
pub(super) struct Ring {
    members: Vec<ConnectionId>,
    /// Lines that the loop took for another member.
    pub(super) posted: u64,
    /// Of those, the lines that came there.
    pub(super) delivered: u64,
    /// Messages that WebSockets could not send back: they are undelivered, too.
    pub(super) unsent: Rc<Cell<u64>>,
}

/// Passes each line on to the next member of the ring.
pub(super) struct Member(pub(super) Rc<RefCell<Ring>>);

impl Protocol for Member {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.0.borrow_mut().members.push(cx.id());
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
            let line = Bytes::copy_from_slice(input.take(end + 1));
            let mut ring = self.0.borrow_mut();
            let place = ring.members.iter().position(|&id| id == cx.id()).expect("who speaks is a member");
            let next = ring.members[(place + 1) % ring.members.len()];
            if cx.post(next, line).is_ok() {
                ring.posted += 1;
            }
        }
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        rest.take_all();
        cx.close();
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        let Message::Bytes(line) = message else { return Err(Failure::caller("a ring passes on lines")) };
        self.0.borrow_mut().delivered += 1;
        cx.send_shared(line);
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, _: &CloseReason) {
        let id = cx.id();
        self.0.borrow_mut().members.retain(|&member| member != id);
    }
}

/// How many connections the server has opened and closed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Census {
    pub(super) opened: u64,
    pub(super) closed: u64,
}

/// A layer that counts those it is around.
pub(super) struct Counted(pub(super) Rc<RefCell<Census>>);

impl<P: Protocol> Layer<P> for Counted {
    fn on_open(&mut self, cx: &mut Context<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        self.0.borrow_mut().opened += 1;
        inner.on_open(cx)
    }

    fn on_close(&mut self, _: &mut Closing<'_>, _: &CloseReason) {
        self.0.borrow_mut().closed += 1;
    }
}

/// A layer that changes every byte by its place in the stream: what an echo behind it answers in its
/// place comes back as it was sent, and a byte lost, repeated or moved shows.
#[derive(Default)]
pub(super) struct Cipher {
    opened: u8,
    sealed: u8,
}

impl Cipher {
    fn apply(position: &mut u8, bytes: &mut [u8]) {
        for byte in bytes {
            *byte ^= *position;
            *position = position.wrapping_mul(5).wrapping_add(17);
        }
    }
}

impl<P: Protocol> Layer<P> for Cipher {
    const SEALS: bool = true;

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        let bytes = input.take_all();
        Self::apply(&mut self.opened, bytes);
        inner.feed(cx, bytes)
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, _: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        inner.feed_eof(cx)
    }

    fn seal(&mut self, cx: &mut Context<'_>, plain: &mut [u8]) -> Result<(), Failure> {
        Self::apply(&mut self.sealed, plain);
        cx.send(plain);
        Ok(())
    }
}
