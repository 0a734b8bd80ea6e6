//! The stage: what the publisher shows, and the viewers, each at its own pace.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use switchboard::{Closing, ConnectionId, Failure, Publication, Slow};
use switchboard_websocket::{Accept, CloseCode, Closed, Handler, Message, Peer, Request, Response, SharedBinary};

use crate::common::Page;

const PAGE: Page = Page { html: include_str!("page.html"), css: include_str!("page.css"), js: include_str!("page.js") };
/// What rings when there is a new frame.
const BELL: &str = "live";
/// The first byte of a frame that is a picture of its own; 0 is one that changes the frame before.
pub(crate) const KEY: u8 = 1;
/// Frames that are kept, and their bytes; a key frame must come before they are more.
const MOST_FRAMES: usize = 1000;
const MOST_BYTES: usize = 16 << 20;

/// What all connections share: the frames since the latest key frame, and some before.
pub(crate) struct Stage {
    token: String,
    /// Frames that a viewer may be behind, and that may be under way to it.
    behind: usize,
    shown: RefCell<Shown>,
    publisher: Cell<Option<ConnectionId>>,
}

#[derive(Default)]
struct Shown {
    frames: VecDeque<SharedBinary>,
    bytes: usize,
    /// The number of the latest frame; the first of all is 1.
    latest: u64,
    /// The number of the latest key frame.
    key: u64,
}

impl Stage {
    pub(crate) fn new(token: String, behind: u16) -> Self {
        Self { token, behind: behind.into(), shown: RefCell::default(), publisher: Cell::new(None) }
    }

    /// Frames shown so far.
    pub(crate) fn count(&self) -> u64 {
        self.shown.borrow().latest
    }

    /// Takes a publisher's next frame, and gives it its number.
    fn show(&self, peer: &mut Peer<'_, '_>, frame: &[u8], is_first: bool) -> Result<(), Failure> {
        let mut shown = self.shown.borrow_mut();
        let Some((kind, rest)) = frame.split_first().filter(|(kind, _)| matches!(**kind, 0 | KEY)) else {
            return peer.close(CloseCode::INVALID_PAYLOAD, "that is no frame");
        };
        if is_first && *kind != KEY {
            return peer.close(CloseCode::POLICY_VIOLATION, "a key frame comes first");
        }
        shown.latest += 1;
        let frame = [&[*kind], &shown.latest.to_be_bytes()[..], rest].concat();
        shown.bytes += frame.len();
        shown.frames.push_back(frame.into());
        if *kind == KEY {
            shown.key = shown.latest;
        }
        peer.publish(BELL, "");
        if shown.trim(self.behind) {
            return Ok(());
        }
        peer.close(CloseCode::POLICY_VIOLATION, "it is too long since the last key frame")
    }

    /// What comes after frame `sent`: the next one; at first, and where that is too old, the latest key frame.
    fn after(&self, sent: u64) -> Option<(u64, SharedBinary)> {
        let shown = self.shown.borrow();
        let goes_on = sent > 0 && sent + 1 >= shown.oldest();
        let number = if goes_on { sent + 1 } else { shown.key };
        let frame = shown.frames.get(usize::try_from(number.checked_sub(shown.oldest())?).ok()?)?;
        Some((number, frame.clone()))
    }
}

impl Shown {
    fn oldest(&self) -> u64 {
        self.latest + 1 - self.frames.len() as u64
    }

    /// Lets go of what is too old, but nothing since the latest key frame. Whether that is not too much.
    fn trim(&mut self, behind: usize) -> bool {
        while self.oldest() < self.key && (self.frames.len() > behind || self.bytes > MOST_BYTES) {
            let oldest = self.frames.pop_front();
            self.bytes -= oldest.map_or(0, |frame| frame.as_bytes().len());
        }
        self.frames.len() <= MOST_FRAMES && self.bytes <= MOST_BYTES
    }
}

/// Somebody at the stage.
pub(crate) struct Visitor {
    stage: Rc<Stage>,
    publishes: bool,
    /// A publisher's: how many frames it has sent. A viewer's: the number of the one it was sent last.
    sent: u64,
    /// Frames that a viewer was sent and has not answered yet.
    flying: usize,
}

impl Visitor {
    pub(crate) fn new(stage: &Rc<Stage>) -> Self {
        Self { stage: Rc::clone(stage), publishes: false, sent: 0, flying: 0 }
    }

    /// Sends a viewer what it can take. Where it was too far behind, it goes on at the latest key frame, never between
    /// changes.
    fn feed(&mut self, peer: &mut Peer<'_, '_>) {
        while self.flying < self.stage.behind && peer.has_room() {
            let Some((number, frame)) = self.stage.after(self.sent) else { return };
            peer.binary_shared(frame);
            self.sent = number;
            self.flying += 1;
        }
    }
}

impl Handler for Visitor {
    fn on_handshake(&mut self, _: &mut Peer<'_, '_>, request: &Request<'_>) -> Result<Accept, Response> {
        self.publishes = match request.path() {
            "/watch" => false,
            "/publish" => true,
            _ => return Err(Response::text(404, "the WebSockets are /watch and /publish\n")),
        };
        let token = || request.header("authorization").and_then(|value| value.strip_prefix(b"Bearer "));
        if self.publishes && !token().is_some_and(|token| is_same(token, self.stage.token.as_bytes())) {
            return Err(Response::text(401, "wrong token\n").header("WWW-Authenticate", "Bearer"));
        }
        if self.publishes && self.stage.publisher.get().is_some() {
            return Err(Response::text(409, "somebody publishes already\n"));
        }
        Ok(Accept::new())
    }

    fn on_http(&mut self, _: &mut Peer<'_, '_>, request: &Request<'_>) -> Response {
        PAGE.answer(request)
    }

    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        if self.publishes {
            self.stage.publisher.set(Some(peer.id()));
            return Ok(());
        }
        // One ring says as much as many: what is to be sent is on the stage.
        peer.subscribe(BELL, Slow::DropOldest { waiting: 1 })?;
        self.feed(peer);
        Ok(())
    }

    fn on_publication(&mut self, peer: &mut Peer<'_, '_>, _: &Publication) -> Result<(), Failure> {
        self.feed(peer);
        Ok(())
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        match message {
            Message::Binary(frame) if self.publishes => {
                let is_first = self.sent == 0;
                self.sent += 1;
                return self.stage.show(peer, frame, is_first);
            }
            Message::Text("ok") if !self.publishes => {
                self.flying = self.flying.saturating_sub(1);
                self.feed(peer);
            }
            _ => {
                return peer.close(CloseCode::UNSUPPORTED_DATA, "viewers say ok to each frame, a publisher sends them");
            }
        }
        Ok(())
    }

    fn on_drain(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        self.feed(peer);
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, _: &Closed<'_>) {
        if self.stage.publisher.get() == Some(cx.id()) {
            self.stage.publisher.set(None);
        }
    }
}

/// Compares in a time that does not tell how much of it is right.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}
