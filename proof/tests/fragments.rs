//! Messages in hundreds of thousands of tiny fragments: sixteen times as many cost sixteen times as much, and no more
//! memory than the message.

use std::rc::Rc;
use std::thread;
use std::time::Duration;

use allocation_counter::measure;
use nix::time::{ClockId, clock_gettime};
use switchboard::{Failure, Limits};
use switchboard_proof::dice::Dice;
use switchboard_proof::differential::{Reader, Terms, open};
use switchboard_proof::streams::{Deflater, Frame};
use switchboard_websocket::deflate::{Compression, Inflater};
use switchboard_websocket::frame::Role;
use switchboard_websocket::{Begin, Delivery, Handler, Message, Peer};

const FEW: usize = 12_000;
const MANY: usize = 16 * FEW;
/// Bytes that are read at once.
const READ: usize = 16 * 1024;

/// What the fragments carry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Carry {
    Nothing,
    /// One byte each of a text: every character is cut.
    Text,
    /// One byte each of a compressed message.
    Compressed,
    /// A byte, and a ping behind each.
    Pings,
}

/// Keeps the length of the message that came.
struct Listener {
    in_pieces: bool,
    length: usize,
}

impl Handler for Listener {
    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        self.on_piece(peer, message, true)
    }

    fn on_begin(&mut self, _: &mut Peer<'_, '_>, _: &Begin) -> Result<Delivery, Failure> {
        Ok(if self.in_pieces { Delivery::Pieces } else { Delivery::Whole })
    }

    fn on_piece(&mut self, peer: &mut Peer<'_, '_>, piece: Message<'_>, last: bool) -> Result<(), Failure> {
        self.length += piece.as_bytes().len();
        if last {
            peer.text(&self.length.to_string());
        }
        Ok(())
    }
}

/// A message of so many fragments, and the length it comes to.
fn message(role: Role, carry: Carry, count: usize) -> (Vec<u8>, usize) {
    let key = (role == Role::Server).then_some([1, 2, 3, 4]);
    let plain: Vec<u8> = match carry {
        Carry::Nothing => Vec::new(),
        Carry::Text => "é".repeat(count / 2).into_bytes(),
        Carry::Compressed => {
            let numbers = 0..u32::try_from(count / 2).expect("not that many");
            numbers.flat_map(|number| number.wrapping_mul(0x9e37_79b9).to_be_bytes()).collect()
        }
        Carry::Pings => vec![b'x'; count],
    };
    let payload = match carry {
        Carry::Compressed => Deflater::new(false).message(&mut Dice::seeded(1), &plain),
        _ => plain.clone(),
    };
    assert!(carry != Carry::Compressed || payload.len() > count, "a byte for each fragment");
    let mut bytes = Vec::new();
    for index in 0..count {
        // What compression has left over is in the last one.
        let part = if index + 1 < count { payload.get(index..=index) } else { payload.get(index..) };
        let opcode = if index == 0 { 1 + u8::from(carry == Carry::Compressed) } else { 0 };
        let frame = Frame::new(index + 1 == count, opcode, key, part.unwrap_or_default());
        let reserved = if index == 0 && carry == Carry::Compressed { 4 } else { 0 };
        Frame { reserved, ..frame }.encode(&mut bytes);
        if carry == Carry::Pings && index + 1 < count {
            Frame::new(true, 9, key, *b"?").encode(&mut bytes);
        }
    }
    (bytes, plain.len())
}

/// What a message costs.
#[derive(Debug, Clone, Copy)]
struct Cost {
    time: Duration,
    allocations: u64,
    /// Bytes, in all and at most.
    allocated: u64,
    most: u64,
}

fn cost(role: Role, in_pieces: bool, carry: Carry, bytes: &[u8], length: usize) -> Cost {
    let mut reader = Reader::new(&Terms { role, max_message: 4 * MANY, max_fragments: u32::MAX });
    if carry == Carry::Compressed {
        reader.settings.compression = Some(Compression::default());
        reader.extension = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
    }
    let listener = Listener { in_pieces, length: 0 };
    let limits = Limits { read_budget: READ, ..Limits::default() };
    let mut harness = open(role, listener, &Rc::new(reader.settings.clone()), limits, reader.extension);
    // The time that this thread has run, whatever else does.
    let now = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("the system knows"));
    let (mut answer, begun) = (Vec::new(), now());
    let info = measure(|| {
        for chunk in bytes.chunks(READ) {
            harness.feed(chunk);
            answer = harness.take_sent();
        }
    });
    let time = now() - begun;
    if role == Role::Server {
        assert!(answer.ends_with(length.to_string().as_bytes()), "the message has come whole");
    }
    assert!(harness.is_open(), "{:?}", harness.close_reason());
    Cost { time, allocations: info.count_total, allocated: info.bytes_total, most: info.bytes_max }
}

fn is_linear(role: Role, in_pieces: bool, carry: Carry) {
    let best = |count| {
        let (bytes, length) = message(role, carry, count);
        // Each on a thread of its own, which has no decompressor left from messages before.
        let costs = [(); 2].map(|()| {
            thread::scope(|scope| {
                scope.spawn(|| cost(role, in_pieces, carry, &bytes, length)).join().expect("no panic")
            })
        });
        costs.into_iter().min_by_key(|cost| cost.time).expect("two")
    };
    let (few, many) = (best(FEW), best(MANY));
    println!("{few:?}\n{many:?}");
    // Sixteen times as much, were it not for noise; whoever goes through all fragments for each comes to 256 times.
    assert!(many.time < 32 * few.time, "{many:?} after {few:?}");
    assert!(many.allocations < 20 * few.allocations + 100, "{many:?} after {few:?}");
    assert!(many.allocated < 20 * few.allocated + 100_000, "{many:?} after {few:?}");
    // The message as it grows, what a read brings, what it is answered with, and what decompresses it.
    let message = match carry {
        _ if in_pieces => 0,
        Carry::Nothing => 0,
        Carry::Text | Carry::Pings => MANY,
        Carry::Compressed => 2 * MANY,
    };
    let decompressor = if carry == Carry::Compressed { 2 * Inflater::MOST_MEMORY } else { 0 };
    let most = 2 * message + decompressor + 8 * READ;
    assert!(many.most < most as u64, "{many:?}, {most} allowed");
}

#[test]
fn of_nothing() {
    is_linear(Role::Server, false, Carry::Nothing);
    is_linear(Role::Client, true, Carry::Nothing);
}

#[test]
fn of_text() {
    is_linear(Role::Client, false, Carry::Text);
    is_linear(Role::Server, true, Carry::Text);
}

#[test]
fn compressed() {
    is_linear(Role::Server, false, Carry::Compressed);
    is_linear(Role::Client, true, Carry::Compressed);
}

#[test]
fn with_pings_between() {
    is_linear(Role::Server, false, Carry::Pings);
    is_linear(Role::Client, true, Carry::Pings);
}
