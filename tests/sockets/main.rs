//! The loop on the operating system's sockets: what people will run.

#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod abuse;
mod bursts;
mod connecting;
mod draining;
mod echo;
mod fairness;
mod foreign;
mod garbage;
mod handles;
mod large_messages;
mod last_words;
mod names;
#[cfg(unix)]
mod options;
mod posting;
mod pump;
mod reconnecting;
mod resets;
mod sessions;
mod topics;
mod turning;
mod udp_options;
#[cfg(unix)]
mod unix;
mod web_socket;
