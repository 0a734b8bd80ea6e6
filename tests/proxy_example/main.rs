//! The proxy example: its protocol on the network in memory, and the program as its user meets it.

#![cfg(target_os = "linux")] // memory is read from /proc
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

#[path = "../../examples/proxy/relay.rs"]
mod relay;
#[path = "../support/mod.rs"]
mod support;

use std::rc::Rc;

mod in_memory;
mod in_virtual_time;
mod process;

/// Bytes in which a lost, doubled or moved piece shows, as a stream of any length: a prime number of bytes from a
/// generator, again and again.
#[derive(Clone)]
struct Stream {
    period: Rc<[u8]>,
    at: usize,
}

impl Stream {
    fn new(seed: u64) -> Self {
        let mut state = seed;
        let byte = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        Self { period: (0..1_000_003).map(byte).collect(), at: 0 }
    }

    /// The next bytes: at most `most`, at least one.
    fn next(&mut self, most: usize) -> &[u8] {
        let from = self.at % self.period.len();
        let piece = &self.period[from..self.period.len().min(from + most)];
        self.at += piece.len();
        piece
    }

    /// Demands that `bytes` are the next ones.
    fn expect(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let at = self.at;
            let piece = self.next(bytes.len());
            assert!(
                bytes[..piece.len()] == *piece,
                "other bytes than were sent, between {at} and {}",
                at + piece.len()
            );
            bytes = &bytes[piece.len()..];
        }
    }
}
