//! What messages that do not arrive or leave in one frame need for a while: it lies with the thread in between, so that
//! they allocate nothing, and connections that have none keep nothing.

use std::cell::RefCell;

use switchboard::Context;

use crate::outgoing::Sending;
use crate::state::Rare;

/// How many of each are kept: for messages that are under way at the same time.
const KEPT: usize = 8;

/// The largest buffer, by capacity, that is kept here; longer ones are the loop's to keep. Which of the two does must not
/// depend on what the thread has done before: a simulated run is the same each time.
pub(crate) const LARGEST: usize = 32 * 1024;

thread_local!(static IDLE: RefCell<Idle> = RefCell::default());

#[derive(Default)]
#[expect(clippy::vec_box, reason = "the boxes are what is kept")]
struct Idle {
    rare: Vec<Box<Rare>>,
    sending: Vec<Box<Sending>>,
    buffers: Vec<Vec<u8>>,
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

/// A buffer that holds `least` bytes, or more, without growing. What it contains is of no meaning.
pub(crate) fn buffer(least: usize) -> Option<Vec<u8>> {
    if least > LARGEST {
        return None;
    }
    IDLE.with_borrow_mut(|idle| {
        let index = idle.buffers.iter().rposition(|buffer| buffer.capacity() >= least)?;
        Some(idle.buffers.swap_remove(index))
    })
}

/// Keeps a buffer, here or in the loop.
pub(crate) fn keep_buffer(cx: &mut Context<'_>, mut buffer: Vec<u8>) {
    if buffer.capacity() > LARGEST {
        return cx.give_spare(buffer);
    }
    IDLE.with_borrow_mut(|idle| {
        if idle.buffers.len() < KEPT {
            return idle.buffers.push(buffer);
        }
        // Rather the larger ones, which serve all.
        if let Some(smallest) = idle.buffers.iter_mut().min_by_key(|buffer| buffer.capacity())
            && smallest.capacity() < buffer.capacity()
        {
            std::mem::swap(smallest, &mut buffer);
        }
    });
}

fn keep<T>(of: fn(&mut Idle) -> &mut Vec<T>, item: T) {
    IDLE.with_borrow_mut(|idle| {
        let items = of(idle);
        if items.len() < KEPT {
            items.push(item);
        }
    });
}
