//! The fuzz kit: schedules as bytes, the oracles of `fuzz`, the flight recorder and its replay.

#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

#[path = "../common/mod.rs"]
mod common;
mod debug;
mod fuzz;
mod planted;
mod recorder;
mod recorder_files;
mod recorder_output;
mod recordings;
mod schedule;
