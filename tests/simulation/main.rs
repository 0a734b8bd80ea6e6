//! Whole event loops on the simulated network, and the simulated network itself.

#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

mod actors;
#[path = "../common/cipher.rs"]
mod cipher;
mod connections;
mod determinism;
mod echo;
mod faults;
mod herd;
mod large_messages;
mod month;
mod names;
mod outages;
mod pair;
mod seeds;
mod sessions;
#[path = "../scripted/spy.rs"]
#[allow(dead_code, reason = "it is shared, and each test program uses its part of it")]
mod spy;
mod talker;
mod topics;
mod udp;
