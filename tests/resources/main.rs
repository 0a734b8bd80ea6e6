//! What the loop costs: descriptors, live heap bytes, processor time, allocations a message.
//!
//! Heap bytes are counted by thread (the loop's own), descriptors by process: so these tests run one
//! after the other. Clients by the thousand live in a second process, which is this same program,
//! started for one of its ignored tests.

#![cfg(target_os = "linux")] // descriptors and processor time are read from /proc
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod backlog;
mod both_roles;
mod broadcast;
mod churn;
mod crowd;
mod datagrams;
mod exhausted;
mod footprint;
mod gauge;
mod million;
mod stage;
mod steady;
mod ten_thousand;
mod topics;
