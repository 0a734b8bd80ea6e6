//! What the peer of the handler sends, and how it reads what it gets.

use fastrand::Rng;
use switchboard_websocket::deflate::{Compression, Deflater, Inflater, Memory, WindowBits};
use switchboard_websocket::frame::{OpCode, Receiver, Role, parse};
use switchboard_websocket::{CloseCode, mask};

use crate::common::pieces::frame;

/// A message: whether it is a text, and its bytes.
pub(crate) type Whole = (bool, Vec<u8>);

/// What one end has said to the other, in order of each kind.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) messages: Vec<Whole>,
    pub(crate) pings: Vec<Vec<u8>>,
    pub(crate) pongs: Vec<Vec<u8>>,
}

/// Messages to an end of this role, in one frame or many, compressed or not, with control frames in between: what they
/// say, and their bytes.
pub(crate) fn traffic(random: &mut Rng, to: Role, compression: Option<Compression>) -> (Said, Vec<u8>) {
    let (mut said, mut bytes) = (Said::default(), Vec::new());
    let mut deflater = Deflater::new(WindowBits::MAX, 6);
    let takeover = compression.is_some_and(|compression| compression.decompressor == Memory::Dedicated);
    for number in 0..random.u32(1..60) {
        let (is_text, message) = message(random, number, 60_000);
        let mut payload = message.clone();
        let compressed = compression.is_some() && random.bool();
        if compressed {
            payload.clear();
            if !takeover {
                deflater.reset();
            }
            deflater.deflate(&message, &mut payload);
        }
        let opcode = if is_text { OpCode::Text } else { OpCode::Binary };
        fragments(random, to, (opcode, compressed, &payload), &mut said, &mut bytes);
        said.messages.push((is_text, message));
    }
    (said, bytes)
}

/// Mostly short, seldom of up to `longest` bytes, and now and then empty.
pub(crate) fn message(random: &mut Rng, number: u32, longest: usize) -> Whole {
    let length = match random.u8(..20) {
        0 => random.usize(..longest),
        1 => return (random.bool(), Vec::new()),
        _ => random.usize(..500),
    };
    (random.bool(), format!("{number} {}", "日é ab".repeat(length / 8)).into_bytes())
}

fn fragments(
    random: &mut Rng,
    to: Role,
    (opcode, compressed, payload): (OpCode, bool, &[u8]),
    said: &mut Said,
    bytes: &mut Vec<u8>,
) {
    let (mut rest, mut next) = (payload, opcode);
    loop {
        let (part, after) = rest.split_at(if random.bool() { rest.len() } else { random.usize(..=rest.len()) });
        let fin = after.is_empty() && random.u8(..4) > 0;
        bytes.extend(frame(to, fin, compressed && next == opcode, next, part));
        (rest, next) = (after, OpCode::Continuation);
        if random.u8(..4) == 0 {
            let payload = format!("{}", random.u16(..)).into_bytes();
            let ping = random.bool();
            bytes.extend(frame(to, true, false, if ping { OpCode::Ping } else { OpCode::Pong }, &payload));
            if ping { &mut said.pings } else { &mut said.pongs }.push(payload);
        }
        if fin {
            return;
        }
    }
}

/// What one end has sent.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    pub(crate) said: Said,
    pub(crate) closes: Vec<CloseCode>,
    /// Bytes behind the last whole frame.
    pub(crate) rest: usize,
}

/// Reads what an end of this role has sent, as its peer would: no message goes on behind a close frame.
pub(crate) fn read(from: Role, compression: Option<Compression>, mut bytes: &[u8]) -> Wire {
    let (mut wire, mut inflater) = (Wire::default(), Inflater::new());
    let mut arriving: Option<(OpCode, bool, Vec<u8>)> = None;
    let role = if from == Role::Server { Role::Client } else { Role::Server };
    loop {
        let receiver = Receiver { role, in_message: arriving.is_some(), compression: compression.is_some() };
        let parsed = parse(bytes, receiver).expect("a valid frame");
        let end = |start, payload| start + usize::try_from(payload).expect("a length that fits");
        let whole = parsed.filter(|(header, start)| end(*start, header.payload) <= bytes.len());
        let Some((header, start)) = whole else {
            return Wire { rest: bytes.len(), ..wire };
        };
        let (frame, rest) = bytes.split_at(end(start, header.payload));
        let mut payload = frame[start..].to_vec();
        mask::apply(&mut payload, header.mask.unwrap_or_default());
        bytes = rest;
        match header.opcode {
            OpCode::Ping => wire.said.pings.push(payload),
            OpCode::Pong => wire.said.pongs.push(payload),
            OpCode::Close => wire.closes.push(CloseCode(u16::from_be_bytes([payload[0], payload[1]]))),
            opcode => {
                assert!(wire.closes.is_empty(), "a message behind a close frame");
                let mut message = arriving.take().unwrap_or((opcode, header.compressed, Vec::new()));
                message.2.extend(payload);
                if !header.fin {
                    arriving = Some(message);
                    continue;
                }
                let (opcode, compressed, mut payload) = message;
                if let (true, Some(compression)) = (compressed, compression) {
                    if compression.compressor == Memory::Shared {
                        inflater.reset();
                    }
                    payload = inflater.message(&payload, 1 << 24).unwrap();
                }
                wire.said.messages.push((opcode == OpCode::Text, payload));
            }
        }
    }
}
