//! The same bytes to our WebSocket and to [`tungstenite`]'s and [`fastwebsockets`]': all must tell the same messages, pings,
//! pongs and end, in either role.
//!
//! A model reads them too, by the letter of RFC 6455: ours must agree with it to the bit. Where an oracle does not, the
//! model must say what it makes of the bytes with those [`Difference`]s that the list has for that oracle: so each of
//! them is as narrow as what the oracle does.

mod difference;
mod model;
mod oracles;
mod ours;

pub use difference::{DIFFERENCES, Difference, Entry, Oracle, Right};
pub use oracles::{Bytes, now, read as theirs};
pub use ours::{Reader, open};
use switchboard_websocket::frame::{OpCode, Role};

/// A message, or a ping or pong.
pub type Event = (OpCode, Vec<u8>);

/// What an endpoint makes of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Reading {
    /// In order.
    pub events: Vec<Event>,
    /// And then.
    pub end: End,
}

/// Where an endpoint stands behind the last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It waits for more.
    Open,
    /// The peer closed, with this code (1005 for none).
    Closed(u16),
    /// The bytes were refused, with this code.
    Refused(u16),
}

/// Who reads, and how much it takes.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The end that the bytes come to.
    pub role: Role,
    /// The longest message, in bytes; 125 at least.
    pub max_message: usize,
    /// The most fragments of a message.
    pub max_fragments: u32,
}

/// Gives the input to all, as a server and as a client: the size of the chunks for ours in the first byte, frames in the
/// rest. The differences between them.
///
/// # Panics
/// If they differ in a way that is not on the list.
#[must_use]
pub fn fuzz(data: &[u8]) -> Vec<(Oracle, Difference)> {
    let Some((size, frames)) = data.split_first() else { return Vec::new() };
    let terms = |role| Terms { role, max_message: 1000, max_fragments: 16 };
    let read = |role| compare(&terms(role), frames, 1 + usize::from(*size));
    [read(Role::Server), read(Role::Client)].concat()
}

/// Gives the bytes to all, in chunks of `chunk` to ours. The differences between them: no more than the model needs to say
/// what the oracle did.
///
/// # Panics
/// If they differ in a way that is not on the list.
#[must_use]
pub fn compare(terms: &Terms, bytes: &[u8], chunk: usize) -> Vec<(Oracle, Difference)> {
    let is_beat = |event: &Event| event.0 == OpCode::Pong && event.1.len() == 8 && event.1.starts_with(b"beat");
    let by_the_letter = model::read(terms, bytes, None, &|_| false);
    if by_the_letter.events.iter().any(is_beat) {
        return Vec::new(); // the heartbeat's own: the handler is not told
    }
    let mut reader = Reader::new(terms);
    assert_eq!(reader.read(bytes.chunks(chunk)), by_the_letter, "ours, and by the letter of RFC 6455");
    reader.in_pieces = true;
    assert_eq!(reader.read(bytes.chunks(chunk)), by_the_letter, "ours in pieces, and by the letter of RFC 6455");
    let mut found = Vec::new();
    for oracle in Oracle::ALL {
        let theirs = theirs(oracle, terms, bytes);
        let explained = model::read(terms, bytes, Some(oracle), &|_| true);
        assert_eq!(theirs, explained, "{oracle}, and with what it is known for; by the letter: {by_the_letter:?}");
        if theirs == by_the_letter {
            continue;
        }
        let mut needed: Vec<_> = DIFFERENCES.iter().map(|entry| entry.difference).collect();
        for Entry { difference, .. } in &DIFFERENCES {
            let others = |taken| taken != *difference && needed.contains(&taken);
            if model::read(terms, bytes, Some(oracle), &others) == theirs {
                needed.retain(|taken| taken != difference);
            }
        }
        found.extend(needed.into_iter().map(|difference| (oracle, difference)));
    }
    found
}
