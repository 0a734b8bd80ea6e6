//! The WebSocket application: `/echo` for anybody, `/feed` for the page.

use std::rc::Rc;
use std::time::Duration;

use switchboard::{Failure, TimerId};
use switchboard_websocket::{Accept, CloseCode, Handler, Message, Peer, Request, Response};

use crate::board::Board;
use crate::page::Page;

/// How often the page hears.
const PERIOD: Duration = Duration::from_millis(500);

/// The application on one connection.
pub(crate) struct Web {
    board: Rc<Board>,
    page: Rc<Page>,
    feeds: bool,
}

impl Web {
    pub(crate) fn new(board: &Rc<Board>, page: &Rc<Page>) -> Self {
        Self { board: Rc::clone(board), page: Rc::clone(page), feeds: false }
    }

    /// Tells the page what there is, unless it has not yet taken what it was told before.
    fn feed(&self, peer: &mut Peer<'_, '_>) {
        if peer.has_room() {
            let frame = self.board.frame(peer);
            peer.text_shared(frame);
        }
        peer.set_timer(PERIOD);
    }
}

impl Handler for Web {
    fn on_handshake(&mut self, _: &mut Peer<'_, '_>, request: &Request<'_>) -> Result<Accept, Response> {
        match request.path() {
            "/echo" => Ok(Accept::new()),
            "/feed" if request.is_same_origin() => {
                self.feeds = true;
                Ok(Accept::new())
            }
            "/feed" => Err(Response::text(403, "the feed is for pages of this server only\n")),
            _ => Err(Response::text(404, "the WebSockets here are /echo and /feed\n")),
        }
    }

    fn on_http(&mut self, _: &mut Peer<'_, '_>, request: &Request<'_>) -> Response {
        self.page.answer(request)
    }

    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        if self.feeds {
            self.feed(peer);
        }
        Ok(())
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        if self.feeds {
            return peer.close(CloseCode::UNSUPPORTED_DATA, "the feed takes no messages");
        }
        self.board.count_message();
        peer.send(message);
        Ok(())
    }

    fn on_timer(&mut self, peer: &mut Peer<'_, '_>, _: TimerId) -> Result<(), Failure> {
        if peer.is_open() {
            self.feed(peer);
        }
        Ok(())
    }
}
