//! The browsers: the page, `/live` for what it shows, `/counters` for what was counted.

use std::rc::Rc;
use std::time::Duration;

use switchboard::{Failure, Slow, TimerId};
use switchboard_websocket::{Accept, CloseCode, Handler, Message, Peer, Request, Response};

use crate::PAGE;
use crate::fleet::{DEVICES, Fleet};

/// How often a page hears that the dashboard is there, whatever the devices do.
const PERIOD: Duration = Duration::from_secs(2);
/// Publications that may wait for a browser that wants all of them; beyond it, it is closed rather than told in part.
const WAITING: usize = 65_536;

/// The application on one connection.
pub(crate) struct Web {
    fleet: Rc<Fleet>,
    /// What becomes of publications that the browser is too slow for.
    slow: Slow,
}

impl Web {
    pub(crate) fn new(fleet: &Rc<Fleet>) -> Self {
        let slow = Slow::KeepLatest { waiting: fleet.most };
        Self { fleet: Rc::clone(fleet), slow }
    }
}

impl Handler for Web {
    fn on_handshake(&mut self, _: &mut Peer<'_, '_>, request: &Request<'_>) -> Result<Accept, Response> {
        if request.path() != "/live" {
            return Err(Response::text(404, "the WebSocket here is /live, or /live?all for every single reading\n"));
        }
        if !request.is_same_origin() {
            return Err(Response::text(403, "this is for pages of this server only\n"));
        }
        if request.query() == Some("all") {
            self.slow = Slow::Close { waiting: WAITING };
        }
        Ok(Accept::new())
    }

    fn on_http(&mut self, peer: &mut Peer<'_, '_>, request: &Request<'_>) -> Response {
        if request.path() == "/counters" {
            let report = self.fleet.report(peer);
            return Response::new(200).header("Content-Type", "application/json").body(report);
        }
        PAGE.answer(request)
    }

    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        // In this order nothing falls between the two.
        peer.subscribe(DEVICES, self.slow)?;
        let snapshot = self.fleet.snapshot(peer);
        peer.text(&snapshot);
        peer.set_timer(PERIOD);
        Ok(())
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
        peer.close(CloseCode::UNSUPPORTED_DATA, "nothing is asked here")
    }

    fn on_timer(&mut self, peer: &mut Peer<'_, '_>, _: TimerId) -> Result<(), Failure> {
        if peer.has_room() {
            let now = crate::fleet::millis(peer.now());
            peer.text(&format!("{{\"now_ms\":{now}}}"));
        }
        peer.set_timer(PERIOD);
        Ok(())
    }
}
