//! The fuzz kit: schedules as bytes, the oracles of `fuzz`, the flight recorder and its replay.

#[path = "../common/mod.rs"]
mod common;
mod fuzz;
mod planted;
mod recorder;
mod schedule;
