//! The handler whose conversations are replayed in every way in which they could arrive.

use switchboard::testkit::note;
use switchboard::{CloseReason, Closing, Failure};
use switchboard_websocket::{Answer, Closed, Handler, Message, Peer};

/// Echoes, and notes what it is told. As a client it speaks first.
pub struct Noting;

impl Handler for Noting {
    fn on_accepted(&mut self, peer: &mut Peer<'_, '_>, answer: &Answer<'_>) -> Result<(), Failure> {
        note(format_args!("accepted {:?}", answer.subprotocol()));
        peer.text("hello");
        Ok(())
    }

    fn on_failed(&mut self, _: &mut Closing<'_>, cause: &CloseReason) {
        note(format_args!("failed {cause}"));
    }

    fn on_open(&mut self, _: &mut Peer<'_, '_>) -> Result<(), Failure> {
        note("open");
        Ok(())
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        match message {
            Message::Text(text) => note(format_args!("text {text}")),
            Message::Binary(bytes) => note(format_args!("binary {}", bytes.escape_ascii())),
        }
        peer.send(message);
        Ok(())
    }

    fn on_pong(&mut self, _: &mut Peer<'_, '_>, payload: &[u8]) -> Result<(), Failure> {
        note(format_args!("pong {}", payload.escape_ascii()));
        Ok(())
    }

    fn on_post(&mut self, peer: &mut Peer<'_, '_>, _: switchboard::Message) -> Result<(), Failure> {
        peer.text("posted");
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, closed: &Closed<'_>) {
        note(format_args!("close {} {:?} by peer: {}", closed.code, closed.reason, closed.by_peer));
    }
}
