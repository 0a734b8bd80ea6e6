//! Output of all kinds, lending, switching and endings mixed in any order: nothing is lost, doubled or miscounted.

#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../scripted/world.rs"]
#[allow(dead_code)]
mod world;

mod mixture;
