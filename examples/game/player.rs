//! A player's UDP session: its moves come in, its snapshots go out.

use std::rc::Rc;

use switchboard::{Context, Failure, Input, Message, Protocol, Slow};

use crate::arena::{Arena, TICK};
use crate::datagrams::Move;

/// One for each address that a datagram comes from. Until a token has come it answers nothing and keeps nothing: a
/// forged address gets no traffic, and no place for longer than a callback.
pub(crate) struct Session {
    arena: Rc<Arena>,
    player: Option<u16>,
}

impl Session {
    pub(crate) fn new(arena: &Rc<Arena>) -> Self {
        Self { arena: Rc::clone(arena), player: None }
    }
}

impl Protocol for Session {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        self.arena.turn(cx.now());
        let Some(moved) = Move::decode(input.take_all()) else {
            self.arena.count(|counts| counts.forged += 1);
            if self.player.is_none() {
                cx.close();
            }
            return Ok(());
        };
        if self.player.is_none() {
            let id = cx.id();
            self.player = self.arena.bind(cx, moved.token, id);
            if self.player.is_none() {
                cx.close();
                return Ok(());
            }
            cx.subscribe(TICK, Slow::KeepLatest { waiting: 1 })?;
        }
        if let Some(player) = self.player {
            self.arena.steer(player, moved);
        }
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, _: Message) -> Result<(), Failure> {
        self.arena.turn(cx.now());
        if !cx.has_room() {
            self.arena.count(|counts| counts.skipped += 1); // the next is better anyway
        } else if let (Some(player), Some(buffer)) = (self.player, cx.send_buffer()) {
            self.arena.snapshot(player, buffer);
        }
        Ok(())
    }
}
