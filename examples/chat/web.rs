//! Members with a browser: the page, and the WebSocket it opens.

use std::rc::Rc;

use switchboard::{Closing, Core, Failure, LimitExceeded, Slow, TimerId};
use switchboard_websocket::{Accept, CloseCode, Closed, Handler, Message, Peer, Request, Response};

use crate::common::Page;
use crate::rooms::{Chat, Form, Member, Seat};
use crate::words::Told;

const PAGE: Page = Page { html: include_str!("page.html"), css: include_str!("page.css"), js: include_str!("page.js") };

/// A member that speaks JSON: what it asks and is told is a text message each.
pub(crate) struct Web {
    member: Member,
}

impl Web {
    pub(crate) fn new(chat: &Rc<Chat>) -> Self {
        Self { member: Member::new(chat) }
    }
}

impl Handler for Web {
    fn on_handshake(&mut self, _: &mut Peer<'_, '_>, request: &Request<'_>) -> Result<Accept, Response> {
        if request.path() == "/chat" { Ok(Accept::new()) } else { Err(Response::text(404, "the WebSocket is /chat\n")) }
    }

    fn on_http(&mut self, _: &mut Peer<'_, '_>, request: &Request<'_>) -> Response {
        PAGE.answer(request)
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        let Message::Text(text) = message else {
            return peer.close(CloseCode::UNSUPPORTED_DATA, "this chat is of text");
        };
        let ask = serde_json::from_str(text).map_err(|error| format!("that is no request: {error}").into());
        if let Some(wait) = self.member.ask(peer, ask) {
            peer.pause_reading();
            peer.set_timer(wait);
        }
        Ok(())
    }

    fn on_timer(&mut self, peer: &mut Peer<'_, '_>, _: TimerId) -> Result<(), Failure> {
        peer.resume_reading();
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, _: &Closed<'_>) {
        self.member.end(cx);
    }
}

impl Seat for Peer<'_, '_> {
    const FORM: Form = Form::Json;

    fn core(&mut self) -> &mut Core {
        self
    }

    fn subscribe(&mut self, topic: &str, slow: Slow) -> Result<(), LimitExceeded> {
        Peer::subscribe(self, topic, slow)
    }

    fn unsubscribe(&mut self, topic: &str) -> bool {
        Peer::unsubscribe(self, topic)
    }

    fn tell(&mut self, told: &Told<'_>) {
        self.text(&serde_json::to_string(told).unwrap_or_default());
    }
}
