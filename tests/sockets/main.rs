//! The loop on the operating system's sockets: what people will run.

#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod abuse;
mod connecting;
mod draining;
mod echo;
mod fairness;
mod garbage;
mod handles;
mod last_words;
mod posting;
mod pump;
mod reconnecting;
mod turning;
mod web_socket;
