//! The steady state of WebSockets of both roles on one loop: what a message takes from the heap, there and back.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use switchboard::{EventLoop, Failure, Protocol};
use switchboard_heartbeat::IdleTimeout;
use switchboard_websocket::deflate::{Compression, Memory};
use switchboard_websocket::{Connect, Handler, Message, Peer, Settings, WebSocket};

use crate::common::{PATIENCE, turn_until};
use crate::gauge::{alone, heap};

/// How a message is sent: as `pieces` frames.
#[derive(Clone, Copy)]
struct Shape {
    is_text: bool,
    pieces: usize,
}

/// Sends the same message again and again, each when the echo of the one before has come.
struct Asking {
    message: String,
    shape: Shape,
    echoes: Rc<Cell<u64>>,
}

impl Asking {
    fn ask(&self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        let message = |part| match self.shape.is_text {
            true => Ok(Message::Text(str::from_utf8(part)?)),
            false => Ok::<_, Failure>(Message::Binary(part)),
        };
        if self.shape.pieces == 1 {
            peer.send(message(self.message.as_bytes())?);
            return Ok(());
        }
        let mut pieces = self.message.as_bytes().chunks(self.message.len().div_ceil(self.shape.pieces)).peekable();
        while let Some(piece) = pieces.next() {
            peer.send_piece(message(piece)?, pieces.peek().is_none())?;
        }
        Ok(())
    }
}

impl Handler for Asking {
    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        self.ask(peer)
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        if message.as_bytes() != self.message.as_bytes() {
            return Err(Failure::peer("another message than was sent"));
        }
        self.echoes.set(self.echoes.get() + 1);
        self.ask(peer)
    }
}

/// Repeats what it is told.
struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        peer.send(message);
        Ok(())
    }
}

/// How often two hundred echoes of a message, both ends together, ask for memory.
fn allocations<P: Protocol>(
    message: &str,
    shape: Shape,
    compression: Option<Compression>,
    around: impl Fn(WebSocket<Echo>) -> P + 'static,
) -> u64 {
    const ECHOES: u64 = 200;
    let settings = Rc::new(Settings { compression, ..Settings::default() });
    let mut event_loop = EventLoop::new().unwrap();
    let of_server = Rc::clone(&settings);
    let server = move |_: &_| Some(around(WebSocket::with_settings(Echo, &of_server)));
    let listener = event_loop.listen("127.0.0.1:0", server).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    let echoes = Rc::new(Cell::new(0));
    let asking = Asking { message: message.to_owned(), shape, echoes: Rc::clone(&echoes) };
    let connect = Connect::to(&format!("ws://{address}/")).unwrap();
    event_loop.connect(address, WebSocket::client_with_settings(connect, asking, &settings));
    let mut run = |count| {
        let until = echoes.get() + count;
        turn_until(&mut event_loop, "the echoes come", |it| {
            assert_eq!(it.counters().closed, 0, "neither end has gone");
            echoes.get() >= until
        });
    };
    run(ECHOES); // lists, pools and windows have their size now
    heap(|| run(ECHOES)).allocations
}

/// One frame.
fn whole(is_text: bool) -> Shape {
    Shape { is_text, pieces: 1 }
}

fn plain(protocol: WebSocket<Echo>) -> impl Protocol {
    protocol
}

/// JSON, as it comes: about a quarter is left of it.
fn records(len: usize) -> String {
    let mut text: String = (0..len / 40).map(|n| format!("{{\"sensor\":{n},\"value\":{}}}\n", n * n % 977)).collect();
    text.truncate(len);
    text
}

#[test]
fn messages_of_both_roles_allocate_nothing() {
    let _alone = alone();
    for len in [0, 20, 125, 126, 1024, 16 << 10] {
        for is_text in [true, false] {
            let allocations = allocations(&"x".repeat(len), whole(is_text), None, plain);
            assert_eq!(allocations, 0, "in 200 echoes of {len} bytes, text: {is_text}");
        }
    }
}

#[test]
fn nor_do_they_within_three_layers() {
    let _alone = alone();
    let layers = |protocol: WebSocket<Echo>| {
        IdleTimeout::new(PATIENCE)
            .around(IdleTimeout::new(2 * PATIENCE).around(IdleTimeout::new(Duration::from_secs(3600)).around(protocol)))
    };
    for len in [20, 1024, 16 << 10] {
        let allocations = allocations(&"x".repeat(len), whole(true), None, layers);
        assert_eq!(allocations, 0, "in 200 echoes of {len} bytes");
    }
}

#[test]
fn nor_do_compressed_messages_with_context_takeover_or_without() {
    let _alone = alone();
    for memory in [Memory::Shared, Memory::Dedicated] {
        let compression =
            Compression { compressor: memory, decompressor: memory, threshold: 0, ..Compression::default() };
        for len in [200, 1024, 16 << 10] {
            for is_text in [true, false] {
                let allocations = allocations(&records(len), whole(is_text), Some(compression), plain);
                // Each end's window, which is filled by and by, grows to 40 KiB.
                let most = if memory == Memory::Dedicated { 2 } else { 0 };
                assert!(allocations <= most, "{allocations} in 200 echoes of {len} bytes, text: {is_text}, {memory:?}");
            }
        }
    }
}

#[test]
fn nor_do_fragments_and_longer_messages_but_for_what_waits() {
    let _alone = alone();
    for (len, pieces) in [(1024, 4), (16 << 10, 4), (300 << 10, 1), (1 << 20, 1), (1 << 20, 16)] {
        let allocations = allocations(&records(len), Shape { is_text: true, pieces }, None, plain);
        // Large buffers that were not needed for a second are given up. What is more than the system takes at once, or than
        // the high-water mark, waits in the loop's buffers, which grow by doubling.
        let most = if len < 1 << 20 { 8 } else { 8 * 200 };
        assert!(allocations <= most, "{allocations} in 200 echoes of {len} bytes in {pieces} frames");
    }
}
