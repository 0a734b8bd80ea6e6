//! What messages that do not arrive or leave in one frame need for a while, but for their bytes: it lies with the thread in
//! between, so that they allocate nothing, and connections that have none keep nothing.

use std::cell::RefCell;

use crate::outgoing::Sending;
use crate::state::Rare;

/// How many of each are kept: for messages that are under way at the same time.
const KEPT: usize = 8;

thread_local!(static IDLE: RefCell<Idle> = RefCell::default());

#[derive(Default)]
#[expect(clippy::vec_box, reason = "the boxes are what is kept")]
struct Idle {
    rare: Vec<Box<Rare>>,
    sending: Vec<Box<Sending>>,
}

/// A box for a message that arrives, to be given [back](keep_rare).
pub(crate) fn rare() -> Box<Rare> {
    IDLE.with_borrow_mut(|idle| idle.rare.pop()).unwrap_or_default()
}

/// Keeps the box, which must be empty.
pub(crate) fn keep_rare(rare: Box<Rare>) {
    keep(|idle| &mut idle.rare, rare);
}

/// A box for a message that is sent in pieces, to be given [back](keep_sending).
pub(crate) fn sending(sending: Sending) -> Box<Sending> {
    match IDLE.with_borrow_mut(|idle| idle.sending.pop()) {
        Some(mut idle) => {
            *idle = sending;
            idle
        }
        None => Box::new(sending),
    }
}

/// Keeps the box of a message that has ended.
pub(crate) fn keep_sending(sending: Box<Sending>) {
    keep(|idle| &mut idle.sending, sending);
}

fn keep<T>(of: fn(&mut Idle) -> &mut Vec<T>, item: T) {
    IDLE.with_borrow_mut(|idle| {
        let items = of(idle);
        if items.len() < KEPT {
            items.push(item);
        }
    });
}
