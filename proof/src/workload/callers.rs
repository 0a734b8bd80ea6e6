//! Clients that are WebSockets of ours: whole messages and messages in pieces, with compression and without, straight or
//! through a proxy's tunnel; and the servers they call.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use switchboard::{CloseReason, Closing, Context, Failure, Input, Protocol};
use switchboard_websocket::deflate::{Compression, Memory};
use switchboard_websocket::proxy::Tunnel;
use switchboard_websocket::{Begin, CloseCode, Closed, Connect, Delivery, Handler, Message, Peer, Settings, WebSocket};

use super::talker::{Order, Record};

/// How long to wait for an answer: a server that is full lets others wait.
const PATIENCE: Duration = Duration::from_secs(300);

/// A text is up to four times as long as the word. More than what brings a client above its high-water mark would keep the
/// order to read again from it, when it has been told to pause.
const LONGEST_TEXT: usize = 700;

/// A server that has messages put together, and sends them back so.
pub(super) fn serve_whole(unsent: &Rc<Cell<u64>>) -> impl Protocol {
    let repeater = Repeater { delivery: Delivery::Whole, unsent: Rc::clone(unsent) };
    WebSocket::with_settings(repeater, &settings(Some(Memory::Shared)))
}

/// A proxy, behind it a server that sends messages back by pieces as they arrive.
pub(super) fn serve_tunnelled(unsent: &Rc<Cell<u64>>) -> impl Protocol {
    Proxy(Rc::clone(unsent))
}

/// Who calls it, the fewth with compression of its own kind.
pub(super) fn call(name: u32, record: &Rc<RefCell<Record>>) -> WebSocket<Caller> {
    let connect = Connect::to("ws://server/").expect("an address");
    let compression = [None, Some(Memory::Shared), Some(Memory::Dedicated)][name as usize / 3 % 3];
    let caller = Caller { record: Rc::clone(record), waiting: VecDeque::new(), expected: VecDeque::new() };
    WebSocket::client_with_settings(connect, caller, &settings(compression))
}

pub(super) fn call_through_tunnel(name: u32, record: &Rc<RefCell<Record>>) -> impl Protocol {
    Tunnel::to("server", 80).expect("an address").timeout(PATIENCE).around(call(name, record))
}

fn settings(memory: Option<Memory>) -> Rc<Settings> {
    let of = |memory| Compression { compressor: memory, decompressor: memory, threshold: 20, ..Compression::default() };
    Rc::new(Settings { compression: memory.map(of), handshake_timeout: PATIENCE, ..Settings::default() })
}

/// Sends messages back.
struct Repeater {
    delivery: Delivery,
    /// How many could not be sent back: what had begun to arrive when the loop drained.
    unsent: Rc<Cell<u64>>,
}

impl Handler for Repeater {
    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        peer.send(message);
        Ok(())
    }

    fn on_begin(&mut self, _: &mut Peer<'_, '_>, _: &Begin) -> Result<Delivery, Failure> {
        Ok(self.delivery)
    }

    fn on_piece(&mut self, peer: &mut Peer<'_, '_>, piece: Message<'_>, last: bool) -> Result<(), Failure> {
        peer.send_piece(piece, last)
    }

    fn on_close(&mut self, _: &mut Closing<'_>, closed: &Closed<'_>) {
        self.unsent.set(self.unsent.get() + u64::from(closed.unsent));
    }
}

/// Grants a tunnel, and is its other end.
struct Proxy(Rc<Cell<u64>>);

impl Protocol for Proxy {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(()) };
        assert!(input.take(end + 4).starts_with(b"CONNECT server:80 HTTP/1.1\r\n"), "a request for a tunnel");
        cx.send(b"HTTP/1.1 200 OK\r\n\r\n");
        let repeater = Repeater { delivery: Delivery::Pieces, unsent: Rc::clone(&self.0) };
        cx.switch_to(WebSocket::with_settings(repeater, &settings(Some(Memory::Dedicated))));
        Ok(())
    }
}

/// Says what it is told to, knows what must come back, and goes when all has.
pub(super) struct Caller {
    record: Rc<RefCell<Record>>,
    /// Words that found no room.
    waiting: VecDeque<Vec<u8>>,
    /// What must come back.
    expected: VecDeque<Vec<u8>>,
}

impl Caller {
    fn talk(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        while !self.waiting.is_empty() && peer.is_open() {
            if !peer.has_room() {
                self.record.borrow_mut().awaits_drain = true;
                return Ok(());
            }
            if let Some(word) = self.waiting.pop_front() {
                self.say(peer, &word)?;
                self.expected.push_back(word);
            }
        }
        let record = self.record.borrow();
        if record.done && !record.awaits_drain && self.waiting.is_empty() && self.expected.is_empty() {
            peer.close(CloseCode::NORMAL, "")?;
        }
        Ok(())
    }

    fn say(&self, peer: &mut Peer<'_, '_>, word: &[u8]) -> Result<(), Failure> {
        match word.len() % 3 {
            0 => {
                let (first, second) = word.split_at(word.len() / 2);
                peer.send_piece(Message::Binary(first), false)?;
                peer.send_piece(Message::Binary(second), true)?;
            }
            1 if word.len() < LONGEST_TEXT => peer.text(&word.escape_ascii().to_string()),
            _ => peer.binary(word),
        }
        Ok(())
    }
}

impl Handler for Caller {
    fn on_open(&mut self, _: &mut Peer<'_, '_>) -> Result<(), Failure> {
        let opened_before = std::mem::replace(&mut self.record.borrow_mut().opened, true);
        assert!(!opened_before, "on_open twice");
        Ok(())
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        let word = self.expected.pop_front().expect("a message that was not sent");
        match message {
            Message::Text(text) => assert!(text == word.escape_ascii().to_string(), "another text came back"),
            Message::Binary(bytes) => assert!(bytes == word, "another message came back"),
        }
        self.talk(peer)
    }

    fn on_drain(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        let mut record = self.record.borrow_mut();
        assert!(record.awaits_drain, "a drain that nobody is owed");
        record.awaits_drain = false;
        record.drains += 1;
        drop(record);
        self.talk(peer)
    }

    fn on_post(&mut self, peer: &mut Peer<'_, '_>, message: switchboard::Message) -> Result<(), Failure> {
        let order = message.downcast::<Order>().expect("the world posts orders");
        let done = self.record.borrow().done;
        match order {
            Order::Say(word) if !done => self.waiting.push_back(word),
            Order::Goodbye => self.record.borrow_mut().done = true,
            Order::Say(_) => {}
            Order::Pause => peer.pause_reading(),
            Order::Resume => peer.resume_reading(),
            Order::Abort => peer.abort(),
        }
        if self.record.borrow().awaits_drain { Ok(()) } else { self.talk(peer) }
    }

    fn on_close(&mut self, _: &mut Closing<'_>, closed: &Closed<'_>) {
        let all_came = self.waiting.is_empty() && self.expected.is_empty();
        self.record.borrow_mut().complete = all_came && closed.clean && closed.code == CloseCode::NORMAL;
        self.gone(closed.cause);
    }

    fn on_failed(&mut self, _: &mut Closing<'_>, cause: &CloseReason) {
        self.gone(cause);
    }
}

impl Caller {
    fn gone(&self, cause: &CloseReason) {
        let mut record = self.record.borrow_mut();
        record.awaits_drain = false;
        record.reasons.push(cause.to_string());
        assert_eq!(record.reasons.len(), 1, "on_close twice: {:?}", record.reasons);
    }
}
