//! What the explorations know of a connection.

use std::cell::RefCell;
use std::rc::Rc;

use switchboard::{Bytes, ConnectionId, Message, Time, TimerId};

use crate::explorer::Choice;

/// How it ended, as far as a promise depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    InOrder,
    Aborted,
    CutOff,
    Connect,
    Broke,
    Failed,
    Limit,
}

/// What all protocols on one connection have seen and done.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) id: Option<ConnectionId>,
    pub(crate) callbacks: usize,
    pub(crate) opened: usize,
    pub(crate) closed: usize,
    pub(crate) ended: Option<Ended>,
    /// Bytes consumed; the next is expected to have this number.
    pub(crate) consumed: usize,
    /// What was sent, in order.
    pub(crate) said: Vec<u8>,
    /// Bytes left unconsumed when last offered.
    pub(crate) left: usize,
    pub(crate) awaited: usize,
    /// What was left is to be offered again without more behind it.
    pub(crate) reoffer: bool,
    pub(crate) paused: bool,
    /// `has_room` said no, and no `on_drain` has come since.
    pub(crate) drain_owed: bool,
    pub(crate) eof: bool,
    pub(crate) shutdown: bool,
    pub(crate) finished: bool,
    /// It asked for the end: only `on_close` follows.
    pub(crate) ending: Option<Choice>,
    pub(crate) switching: bool,
    pub(crate) timer: Option<(TimerId, Time)>,
    pub(crate) watch: Option<(TimerId, Time)>,
    pub(crate) letters: Vec<u8>,
    /// Letters posted to it that were accepted.
    pub(crate) posted: usize,
    /// Somebody else may end it, or has: its end need not be its own.
    pub(crate) cut: bool,
}

/// The facts, shared by the protocols of a connection and its explorer.
#[derive(Clone, Default)]
pub(crate) struct Notes(Rc<RefCell<Facts>>);

impl Notes {
    pub(crate) fn borrow(&self) -> std::cell::Ref<'_, Facts> {
        self.0.borrow()
    }

    pub(crate) fn borrow_mut(&self) -> std::cell::RefMut<'_, Facts> {
        self.0.borrow_mut()
    }

    /// Posts the next letter to this connection by `post`.
    pub(crate) fn post(&self, post: impl FnOnce(ConnectionId, Message) -> Result<(), Message>) {
        let (id, number) = {
            let facts = self.borrow();
            (facts.id, u8::try_from(facts.posted).unwrap())
        };
        let Some(id) = id else { return };
        if post(id, Bytes::copy_from_slice(&[number]).into()).is_ok() {
            self.borrow_mut().posted += 1;
        }
    }
}
