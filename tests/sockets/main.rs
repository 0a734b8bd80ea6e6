//! The loop on the operating system's sockets: what people will run.

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
mod pump;
mod turning;
