//! The loop on the network in memory: what no kernel can be made to do, or not in that order.

#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

#[path = "../common/cipher.rs"]
mod cipher;
#[path = "../common/mod.rs"]
mod common;

mod accepting;
mod backpressure;
mod batches;
mod broken;
mod budget;
mod chaos;
mod closing;
mod connecting;
mod conversations;
mod datagrams;
mod delayed;
mod dialing;
mod draining;
mod events;
mod fairness;
mod large_sends;
mod layers;
mod lending;
mod memory;
mod mixture;
mod names;
mod posting;
mod reading;
mod reading_on;
mod reconnecting;
mod returning;
mod sessions;
mod spare;
mod spy;
mod switching;
mod timers;
mod topics;
#[cfg(unix)]
mod unix;
mod watchdog;
mod world;
mod writing;
