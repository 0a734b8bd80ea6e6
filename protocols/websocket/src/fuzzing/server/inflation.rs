//! What compressed messages should become.

use crate::deflate::{Compression, Memory, PIECE, Parameters, accept};
use crate::frame::Role;
use crate::fuzzing::inflate::{End, naive_inflate, naive_inflate_within};
use crate::{Request, extensions};

const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// What a request and a server that wishes for this come to. How the words are read has a target of its own.
pub(super) fn agreed(head: &[u8], wishes: &Compression) -> Option<Parameters> {
    let request = Request::parse(head, usize::from(u8::MAX)).ok()?;
    accept(&extensions::parse(request.header_values("sec-websocket-extensions")).ok()?, wishes)
}

/// What the messages of one connection are decompressed by.
pub(super) struct Inflation {
    pub(super) parameters: Parameters,
    /// The peer forgets each message.
    forgets: bool,
    /// What the peer may refer back to.
    window: Vec<u8>,
    /// It is not known what the window of the WebSocket under test has become.
    pub(super) is_lost: bool,
}

/// What a compressed message, or its beginning, becomes.
pub(super) enum Inflated {
    Plain(Vec<u8>),
    Bad,
    /// Too long; and if all of it comes at once, something bad may show first.
    Long {
        may_be_bad: bool,
        beginning: Vec<u8>,
    },
}

impl Inflation {
    pub(super) fn new(role: Role, parameters: Parameters) -> Self {
        let forgets = match role {
            Role::Server => parameters.client_no_context_takeover,
            Role::Client => parameters.server_no_context_takeover,
        };
        Self { parameters, forgets, window: Vec::new(), is_lost: false }
    }

    /// Reads what has come of a message from its beginning.
    pub(super) fn read(&mut self, payload: &[u8], last: bool, most: usize) -> Inflated {
        let start = self.window.len();
        let mut plain = self.window.clone();
        let read = |bytes: &[u8], plain: &mut Vec<u8>| naive_inflate_within(bytes, plain, start + most + PIECE);
        let end = read(payload, &mut plain);
        let size = plain.len() - start;
        if size > most {
            plain.truncate(start + most);
            return Inflated::Long { may_be_bad: end.is_bad(), beginning: plain.split_off(start) };
        }
        if !last {
            return if end.is_bad() { Inflated::Bad } else { Inflated::Plain(plain.split_off(start)) };
        }
        let mut behind = self.window.clone();
        let tail = read(&[payload, &TAIL[..]].concat(), &mut behind);
        let is_whole = payload.is_empty() || end.is_after_final();
        let is_good = is_whole || (!tail.is_bad() && behind.len() == plain.len());
        let at_boundary = is_whole || tail.is_boundary();
        if !is_good || (self.forgets && !at_boundary) {
            return Inflated::Bad;
        }
        self.is_lost |= !at_boundary;
        let message = plain[start..].to_vec();
        self.window = if self.forgets { Vec::new() } else { plain };
        Inflated::Plain(message)
    }
}

/// What the peer decompresses what it is sent by.
pub(super) struct Returned {
    /// The WebSocket under test remembers its messages.
    remembers: bool,
    farthest: usize,
    window: Vec<u8>,
}

impl Returned {
    pub(super) fn new(role: Role, parameters: &Parameters, wishes: &Compression) -> Self {
        let (forgets, most) = match role {
            Role::Server => (parameters.server_no_context_takeover, parameters.server_max_window_bits),
            Role::Client => (parameters.client_no_context_takeover, parameters.client_max_window_bits),
        };
        let bits = most.map_or(wishes.window_bits, |most| most.min(wishes.window_bits)).bits();
        let remembers = !forgets && wishes.compressor == Memory::Dedicated;
        Self { remembers, farthest: 1 << bits, window: Vec::new() }
    }

    /// Whether every message of the threshold's length and more comes compressed.
    pub(super) fn is_always_compressed(&self) -> bool {
        self.remembers
    }

    pub(super) fn read(&mut self, payload: &[u8]) -> Vec<u8> {
        if !self.remembers {
            self.window.clear();
        }
        let start = self.window.len();
        let end: End = naive_inflate(&[payload, &TAIL[..]].concat(), &mut self.window);
        assert!(end.is_boundary() && !end.has_final() && end.distance() <= self.farthest, "{end:?}");
        self.window[start..].to_vec()
    }
}
