//! Whole event loops on the simulated network, and the simulated network itself.

#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

mod determinism;
mod echo;
mod month;
mod talker;
mod udp;
