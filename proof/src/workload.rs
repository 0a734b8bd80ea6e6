//! The mixed workload: echo, heartbeat, WebSocket, UDP, posts, topics, protocol switches, layers and a drain, all on
//! one simulated network, where everything happens in an order that a seed, or a fuzzer's input, has chosen.
//!
//! Clients know what must come back to them, and say so at once if something else does. In the end everything is made
//! well again and everybody says goodbye; then nobody may be left waiting, and nothing may be left at all.

mod callers;
mod datagrams;
mod dialects;
mod hub;
mod servers;
mod talker;
mod world;

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use switchboard::testkit::Simulation;
use world::{Mood, World};

use crate::dice::Dice;

/// What happened in a run, or in several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Of everything that happened, in its order: equal for equal runs. Of several runs: in any order of them.
    pub digest: u64,
    /// Connections that the server accepted.
    pub connections: u64,
    /// Bytes that the server read.
    pub bytes: u64,
    /// Datagrams that the server received.
    pub datagrams: u64,
    /// Lines that were posted from one connection to another.
    pub letters: u64,
    /// Publications that were handed over to a subscriber.
    pub publications: u64,
    /// Times that a client found no room, and was told when there was again.
    pub drains: u64,
    /// Faults of the network, of any kind.
    pub faults: u64,
    /// The time that passed on the network.
    pub time: Duration,
}

impl AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.digest ^= other.digest; // in whichever order the runs came
        self.connections += other.connections;
        self.bytes += other.bytes;
        self.datagrams += other.datagrams;
        self.letters += other.letters;
        self.publications += other.publications;
        self.drains += other.drains;
        self.faults += other.faults;
        self.time += other.time;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { digest, connections, bytes, datagrams, letters, publications, drains, faults, time } = self;
        write!(
            f,
            "{connections} connections, {bytes} bytes, {datagrams} datagrams, {letters} letters, {publications} publications, \
             {drains} drains, {faults} faults, {} s of virtual time, digest {digest:016x}",
            time.as_secs()
        )
    }
}

/// Runs the workload from a seed, which says also when readiness ends: at a short read or write, as on Linux, or only at
/// `WouldBlock`.
///
/// # Panics
///
/// If something is lost, comes twice, comes wrong, or never comes to an end.
pub fn run(seed: u64) -> Report {
    let mood = match seed % 4 {
        0 | 1 => Mood::Gentle,
        2 => Mood::Wild,
        _ => Mood::Draining,
    };
    let dice = Dice::seeded(seed);
    if seed % 8 < 4 {
        live(World::new(Simulation::new(seed), dice, mood), 300)
    } else {
        live(World::new(Simulation::until_would_block(seed), dice, mood), 300)
    }
}

/// Runs the workload as `input` has it: its first byte is the mood and when readiness ends, the next eight are the seed
/// of the network's chances, and each of the others is a choice.
///
/// # Panics
///
/// As [`run`].
pub fn fuzz(input: &[u8]) {
    let Some((&[kind, ref seed @ ..], choices)) = input.split_first_chunk::<9>() else { return };
    let mood = [Mood::Gentle, Mood::Wild, Mood::Draining][usize::from(kind % 3)];
    let (seed, dice) = (u64::from_be_bytes(*seed), Dice::from_input(choices));
    if kind < 128 {
        live(World::new(Simulation::new(seed), dice, mood), 400);
    } else {
        live(World::new(Simulation::until_would_block(seed), dice, mood), 400);
    }
}

fn live<const SHORT_MEANS_DRAINED: bool>(mut world: World<'_, SHORT_MEANS_DRAINED>, steps: u32) -> Report {
    world.live(steps);
    world.end();
    world.report()
}
