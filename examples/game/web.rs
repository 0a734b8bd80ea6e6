//! The spectators: the page, `/watch` for what it shows, `/counters` for what was counted.

use std::fmt::Write;
use std::rc::Rc;

use switchboard::{Failure, Publication, Slow};
use switchboard_websocket::{Accept, CloseCode, Handler, Message, Peer, Request, Response};

use crate::PAGE;
use crate::arena::{Arena, FRAMES, LINES};
use crate::timing::Timing;

/// Lines that may wait for a slow spectator; beyond it, it is closed, and comes back to the names as they are then.
const WAITING: usize = 1024;

pub(crate) struct Spectator {
    arena: Rc<Arena>,
    timing: Rc<Timing>,
}

impl Spectator {
    pub(crate) fn new(arena: &Rc<Arena>, timing: &Rc<Timing>) -> Self {
        Self { arena: Rc::clone(arena), timing: Rc::clone(timing) }
    }
}

impl Handler for Spectator {
    fn on_handshake(&mut self, _: &mut Peer<'_, '_>, request: &Request<'_>) -> Result<Accept, Response> {
        match request.path() {
            "/watch" if request.is_same_origin() => Ok(Accept::new()),
            "/watch" => Err(Response::text(403, "this is for pages of this server only\n")),
            _ => Err(Response::text(404, "the WebSocket here is /watch\n")),
        }
    }

    fn on_http(&mut self, peer: &mut Peer<'_, '_>, request: &Request<'_>) -> Response {
        if request.path() == "/counters" {
            let report = self.timing.report(&self.arena, peer);
            return Response::new(200).header("Content-Type", "application/json").body(report);
        }
        PAGE.answer(request)
    }

    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        peer.subscribe(FRAMES, Slow::KeepLatest { waiting: 1 })?;
        peer.subscribe(LINES, Slow::Close { waiting: WAITING })?;
        let mut lines = String::new();
        for (id, name) in self.arena.names() {
            let _ = writeln!(lines, "JOINED {id} {name}"); // a String takes it
        }
        peer.text(&lines);
        Ok(())
    }

    fn on_publication(&mut self, peer: &mut Peer<'_, '_>, publication: &Publication) -> Result<(), Failure> {
        self.arena.turn(peer.now());
        if publication.topic() == FRAMES {
            peer.binary_shared(publication.payload().clone());
        } else {
            peer.send_publication(publication);
        }
        Ok(())
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
        peer.close(CloseCode::UNSUPPORTED_DATA, "spectators watch")
    }
}
