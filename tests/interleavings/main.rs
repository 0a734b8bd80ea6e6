//! Every order of things, up to a bound: what the world does between two turns of the loop, and
//! what a protocol does in its callbacks, on a network in memory, with the very code that runs on
//! sockets and limits of a few bytes.
//!
//! An exploration runs each sequence of choices that costs at most its bound. Each deed of the world
//! and each thing that a protocol does otherwise than usual costs one; turns are free, for the loop
//! takes them in any case. After a sequence the world is kind: windows open, time passes, the peer
//! half-closes. Then everything must have come to its end:
//!
//! - every byte was offered once and in order, and everything sent has arrived;
//! - each `has_room` that said no was followed by one `on_drain`, or by `on_close`;
//! - each letter was delivered, or is counted;
//! - `on_close` came once, last, and with a reason that there was;
//! - nothing is left: no connection, timer, byte or letter;
//! - no turn was taken for nothing, but one now and then.
//!
//! What must hold whenever the loop is at rest is checked after each turn.
//!
//! A failure prints its shortest sequence, to be pasted into a test that calls `replay`.
//! `INTERLEAVINGS_DEEPER=1` explores every bound one step further (about fifteen times as long; use
//! `--release`), and `INTERLEAVINGS_COUNT=1` goes on after a failure, to count them all.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

mod actor;
mod connecting;
mod explorer;
mod flow;
mod layers;
mod letters;
mod notes;
mod reconnecting;
mod side;
mod world;
