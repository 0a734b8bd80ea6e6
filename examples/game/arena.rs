//! The game itself: who is where. It knows no connection but by its id.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use switchboard::{Bytes, ConnectionId, Core, Time};
use thiserror::Error;

use crate::datagrams::{ENTRY, Move, Place, Seen, Snapshot};
use crate::ground::{CELLS, HEIGHT, WIDTH, cell, look, step};
use crate::timing::Counts;

/// Published each tick: players' sessions send their snapshots.
pub(crate) const TICK: &str = "tick";
/// Published to spectators: tick (4 bytes), then all players as in a snapshot.
pub(crate) const FRAMES: &str = "frames";
/// Published to all: lines of the lobby.
pub(crate) const LINES: &str = "lines";

pub(crate) const TICKS_A_SECOND: u32 = 60;
/// Ticks for one frame of the spectators.
const TICKS_A_FRAME: u32 = 3;

/// Shared by all protocols of the loop. Callbacks never nest, so plain cells do.
pub(crate) struct Arena {
    pub(crate) most: usize,
    world: RefCell<World>,
    /// When the turn began in which a callback ran last, until that was asked.
    turn_began: Cell<Option<Time>>,
}

#[derive(Default)]
struct World {
    tick: u32,
    players: Vec<Option<Player>>,
    by_token: HashMap<u64, u16>,
    /// Where everybody is at this tick.
    seen: Vec<Seen>,
    /// What is seen from each cell of the arena at this tick, as it is sent; empty until somebody looks from there.
    views: Vec<Vec<u8>>,
    counts: Counts,
}

struct Player {
    name: String,
    token: u64,
    session: Option<ConnectionId>,
    at: Place,
    wanted: Place,
    /// The latest move's.
    number: u32,
}

/// Why nobody can join.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum NoEntry {
    #[error("the arena is full")]
    Full,
    #[error("somebody is called so")]
    Taken,
}

impl Arena {
    pub(crate) fn new(most: usize) -> Self {
        Self { most: most.min(usize::from(u16::MAX)), world: RefCell::default(), turn_began: Cell::default() }
    }

    /// Somebody joins. Gives its id, and the token that its datagrams are to carry.
    pub(crate) fn join(&self, core: &mut Core, name: &str) -> Result<(u16, u64), NoEntry> {
        let mut world = self.world.borrow_mut();
        if world.players.iter().flatten().any(|player| player.name == name) {
            return Err(NoEntry::Taken);
        }
        let free = world.players.iter().position(Option::is_none).unwrap_or(world.players.len());
        let id = u16::try_from(free).ok().filter(|_| free < self.most).ok_or(NoEntry::Full)?;
        let mut random = [0; 12];
        core.random(&mut random);
        let token = u64::from_le_bytes(std::array::from_fn(|i| random[i]));
        let within = |i: usize, size| u16::from_le_bytes([random[i], random[i + 1]]) % size;
        let at = (within(8, WIDTH), within(10, HEIGHT));
        let player = Player { name: name.to_owned(), token, session: None, at, wanted: at, number: 0 };
        match world.players.get_mut(free) {
            Some(slot) => *slot = Some(player),
            None => world.players.push(Some(player)),
        }
        world.by_token.insert(token, id);
        Ok((id, token))
    }

    /// Somebody leaves; its session ends.
    pub(crate) fn leave(&self, core: &mut Core, id: u16) {
        let mut world = self.world.borrow_mut();
        let Some(player) = world.players.get_mut(usize::from(id)).and_then(Option::take) else { return };
        world.by_token.remove(&player.token);
        if let Some(session) = player.session {
            core.close(session);
        }
    }

    /// The player whose token this is moves from this session on: its address may have changed. The session it had
    /// before is ended.
    pub(crate) fn bind(&self, core: &mut Core, token: u64, session: ConnectionId) -> Option<u16> {
        let mut world = self.world.borrow_mut();
        let Some(&id) = world.by_token.get(&token) else {
            world.counts.forged += 1;
            return None;
        };
        let player = world.players[usize::from(id)].as_mut()?;
        if let Some(before) = player.session.replace(session).filter(|before| *before != session) {
            core.close(before);
        }
        Some(id)
    }

    /// A datagram came on the session of player `id`.
    pub(crate) fn steer(&self, id: u16, Move { token, number, wanted }: Move) {
        let World { players, counts, .. } = &mut *self.world.borrow_mut();
        let Some(player) = players[usize::from(id)].as_mut().filter(|player| player.token == token) else {
            counts.forged += 1;
            return;
        };
        if number <= player.number {
            counts.stale += 1;
            return;
        }
        counts.moves += 1;
        // What came before the first that is seen may have come before there was a session.
        counts.lost += if player.number == 0 { 0 } else { u64::from(number - player.number - 1) };
        player.number = number;
        player.wanted = (wanted.0.min(WIDTH), wanted.1.min(HEIGHT));
    }

    /// The world goes on by a tick, and everybody is told.
    pub(crate) fn tick(&self, core: &mut Core) {
        let began = core.now();
        let mut world = self.world.borrow_mut();
        let World { tick, players, seen, views, .. } = &mut *world;
        *tick = tick.wrapping_add(1);
        seen.clear();
        views.resize_with(CELLS, Vec::new);
        views.iter_mut().for_each(Vec::clear);
        for (id, player) in (0..).zip(players) {
            let Some(player) = player else { continue };
            player.at = step(player.at, player.wanted);
            seen.push(Seen { id, at: player.at });
        }
        let mut told = core.publish(TICK, Bytes::new());
        if tick.is_multiple_of(TICKS_A_FRAME) {
            let mut frame = Vec::with_capacity(4 + ENTRY * seen.len());
            frame.extend(tick.to_be_bytes());
            seen.iter().for_each(|seen| frame.extend_from_slice(&seen.encoded()));
            told += core.publish_keyed(FRAMES, 0, frame);
        }
        if told > 0 {
            self.turn(began);
        }
    }

    /// Writes what player `id` sees: all in a cell of the arena see the same.
    pub(crate) fn snapshot(&self, id: u16, out: &mut Vec<u8>) {
        let World { tick, players, seen, views, counts, .. } = &mut *self.world.borrow_mut();
        let Some(player) = &players[usize::from(id)] else { return };
        let (cell, middle) = cell(player.at);
        let Some(view) = views.get_mut(cell) else { return }; // there is none before the first tick
        if view.is_empty() {
            look(middle, seen, view);
        }
        let head = Snapshot { tick: *tick, number: player.number, own: player.at };
        head.encode(out, view);
        counts.snapshots += 1;
    }

    /// A callback runs: notes when its turn began.
    pub(crate) fn turn(&self, now: Time) {
        if self.turn_began.get().is_none() {
            self.turn_began.set(Some(now));
        }
    }

    /// When the turn began in which the last callback ran, if one has run since this was last asked.
    pub(crate) fn take_turn(&self) -> Option<Time> {
        self.turn_began.take()
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.world.borrow_mut().counts);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.world.borrow().counts
    }

    /// Who is there.
    pub(crate) fn names(&self) -> Vec<(u16, String)> {
        let world = self.world.borrow();
        let named = (0..).zip(&world.players).filter_map(|(id, player)| Some((id, player.as_ref()?.name.clone())));
        named.collect()
    }

    pub(crate) fn players(&self) -> usize {
        self.world.borrow().players.iter().flatten().count()
    }
}
