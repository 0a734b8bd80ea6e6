//! The rpc example: its protocols in memory and in virtual time, its client, and the program as its user meets it.

#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]
#![allow(dead_code, reason = "the program uses what its tests don't")]

#[path = "../../examples/rpc/caller.rs"]
mod caller;
#[path = "../../examples/rpc/client.rs"]
mod client;
#[path = "../../examples/rpc/service.rs"]
mod service;
#[path = "../support/mod.rs"]
mod support;
#[path = "../../examples/rpc/wire.rs"]
mod wire;

mod calling;
mod process;
mod protocols;
