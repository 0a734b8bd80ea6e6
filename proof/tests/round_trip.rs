//! What our WebSocket writes, the oracles read; what they write, ours reads: in both roles, at all the lengths where a
//! header changes, whole and in fragments.

use std::rc::Rc;

use bytes::Bytes as Shared;
use fastwebsockets::FragmentCollector;
use flate2::{Decompress, FlushDecompress};
use switchboard::testkit::check_seeds_on;
use switchboard::{Failure, Limits};
use switchboard_proof::dice::Dice;
use switchboard_proof::differential::{Bytes, End, Event, Oracle, Reader, Reading, Terms, now, open, theirs};
use switchboard_proof::streams::{Frame, Spoken, Writer};
use switchboard_websocket::deflate::{Compression, Memory};
use switchboard_websocket::frame::{OpCode, Receiver, Role, parse};
use switchboard_websocket::{CloseCode, Handler, Message, Peer, Settings, mask};
use tungstenite::protocol::WebSocketContext;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode as TungsteniteOpCode};

const LENGTHS: [usize; 14] = [0, 1, 2, 124, 125, 126, 127, 128, 4095, 4096, 65_535, 65_536, 65_537, 200_000];
const MAX_MESSAGE: usize = 1 << 20;
const ROLES: [Role; 2] = [Role::Server, Role::Client];

fn terms(role: Role) -> Terms {
    Terms { role, max_message: MAX_MESSAGE, max_fragments: 1000 }
}

fn ours(role: Role, bytes: &[u8], chunk: usize) -> Reading {
    Reader::new(&terms(role)).read(bytes.chunks(chunk))
}

fn other(role: Role) -> Role {
    if role == Role::Server { Role::Client } else { Role::Server }
}

/// Sends what it is told to, each by another of the ways there are, and closes.
struct Speaker;

impl Handler for Speaker {
    fn on_message(&mut self, _: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn on_post(&mut self, peer: &mut Peer<'_, '_>, message: switchboard::Message) -> Result<(), Failure> {
        let events: Vec<Event> = message.downcast().expect("events to send");
        for (index, (opcode, payload)) in events.into_iter().enumerate() {
            let (is_shared, is_piecemeal) = (index % 3 == 1, index % 3 == 2);
            match opcode {
                OpCode::Ping => peer.ping(&payload)?,
                OpCode::Text if is_piecemeal => {
                    let text = String::from_utf8(payload).expect("text");
                    let (first, rest) = text.split_at(text.floor_char_boundary(text.len() / 3));
                    let (second, third) = rest.split_at(rest.floor_char_boundary(text.len() / 2));
                    peer.send_piece(Message::Text(first), false)?;
                    peer.send_piece(Message::Text(second), false)?;
                    peer.send_piece(Message::Text(third), true)?;
                }
                _ if is_piecemeal => {
                    let (first, rest) = payload.split_at(payload.len() / 2);
                    peer.send_piece(Message::Binary(first), false)?;
                    peer.send_piece(Message::Binary(rest), true)?;
                }
                OpCode::Text if is_shared => peer.text_shared(String::from_utf8(payload).expect("text")),
                OpCode::Text => peer.text(str::from_utf8(&payload).expect("text")),
                _ if is_shared => peer.binary_shared(Shared::from(payload)),
                _ => peer.binary(&payload),
            }
        }
        peer.close(CloseCode(4321), "and that's it")
    }
}

/// What a WebSocket of ours writes when it is to send these, compressed if it may.
fn written_by_ours(role: Role, compressor: Option<Memory>, events: &[Event]) -> Vec<u8> {
    let of =
        |memory| Compression { compressor: memory, decompressor: memory, threshold: 100, ..Compression::default() };
    let settings = Settings { max_message: MAX_MESSAGE, compression: compressor.map(of), ..Settings::default() };
    let extension = match (role, compressor) {
        (_, None) => "",
        (Role::Client, Some(Memory::Shared)) => {
            "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n"
        }
        _ => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
    };
    let mut harness = open(role, Speaker, &Rc::new(settings), Limits::default(), extension);
    harness.post(switchboard::Message::user(events.to_vec())).expect("an open connection");
    harness.take_sent()
}

/// What the oracle writes when it is to send these frames.
fn written_by(oracle: Oracle, role: Role, frames: &[Frame]) -> Vec<u8> {
    match oracle {
        Oracle::Tungstenite => {
            let role = match role {
                Role::Server => tungstenite::protocol::Role::Server,
                Role::Client => tungstenite::protocol::Role::Client,
            };
            let (mut socket, mut stream) = (WebSocketContext::new(role, None), Bytes::new(&[]));
            for frame in frames {
                let opcode = match frame.opcode {
                    0 => TungsteniteOpCode::Data(Data::Continue),
                    1 => TungsteniteOpCode::Data(Data::Text),
                    2 => TungsteniteOpCode::Data(Data::Binary),
                    8 => TungsteniteOpCode::Control(Control::Close),
                    9 => TungsteniteOpCode::Control(Control::Ping),
                    _ => TungsteniteOpCode::Control(Control::Pong),
                };
                let mut raw = tungstenite::protocol::frame::Frame::ping(frame.payload.clone());
                (raw.header_mut().opcode, raw.header_mut().is_final) = (opcode, frame.fin);
                socket.write(&mut stream, tungstenite::Message::Frame(raw)).expect("there is room");
            }
            socket.flush(&mut stream).expect("there is room");
            stream.sent
        }
        Oracle::Fastwebsockets => {
            let role = match role {
                Role::Server => fastwebsockets::Role::Server,
                Role::Client => fastwebsockets::Role::Client,
            };
            let socket = fastwebsockets::WebSocket::after_handshake(Bytes::new(&[]), role);
            let mut socket = FragmentCollector::new(socket);
            for frame in frames {
                let opcode = fastwebsockets::OpCode::try_from(frame.opcode).expect("an opcode");
                let frame = fastwebsockets::Frame::new(frame.fin, opcode, None, frame.payload.clone().into());
                now(socket.write_frame(frame)).expect("there is room").expect("a frame that can be sent");
            }
            socket.into_inner().sent
        }
    }
}

/// Messages of all lengths, each sent in all ways.
fn all_lengths() -> Vec<Event> {
    let text = |length| ["é".repeat(length / 2), "x".repeat(length % 2)].concat().into_bytes();
    let mut said: Vec<Event> = Vec::new();
    for length in LENGTHS {
        for _ in 0..3 {
            said.push((OpCode::Text, text(length)));
            said.push((OpCode::Binary, vec![0xa5; length]));
            said.push((OpCode::Ping, vec![0; length.min(125)]));
            said.push((OpCode::Text, b"the next is sent in another way".to_vec()));
        }
    }
    said
}

#[test]
fn they_read_what_ours_writes() {
    let said = all_lengths();
    for role in ROLES {
        let bytes = written_by_ours(role, None, &said);
        for oracle in Oracle::ALL {
            let read = theirs(oracle, &terms(other(role)), &bytes);
            assert!(read.events == said, "{oracle}, from {role:?}: {} of {}", read.events.len(), said.len());
            assert_eq!(read.end, End::Closed(4321), "{oracle}");
        }
        let read = ours(other(role), &bytes, 1 << 20);
        assert!(read == Reading { events: said.clone(), end: End::Closed(4321) }, "ours, from {role:?}");
    }
}

#[test]
fn ours_reads_what_they_write() {
    for (role, oracle) in ROLES.into_iter().flat_map(|role| Oracle::ALL.map(|oracle| (role, oracle))) {
        for length in LENGTHS {
            let payload: Vec<u8> = (0..length).map(|at| b'a' + u8::try_from(at % 26).unwrap_or(0)).collect();
            let (first, rest) = payload.split_at(length / 3);
            let (second, third) = rest.split_at(length / 3);
            let (mut frames, mut events): (Vec<Frame>, Vec<Event>) = (Vec::new(), Vec::new());
            let short = &payload[..length.min(125)];
            for opcode in [OpCode::Text, OpCode::Binary] {
                frames.push(Frame::new(true, opcode as u8, None, payload.clone()));
                frames.push(Frame::new(false, opcode as u8, None, first));
                frames.push(Frame::new(false, 0, None, second));
                frames.push(Frame::new(true, 9, None, short));
                frames.push(Frame::new(true, 0, None, third));
                frames.push(Frame::new(true, 10, None, short));
                events.push((opcode, payload.clone()));
                events.push((OpCode::Ping, short.to_vec()));
                events.push((opcode, payload.clone()));
                events.push((OpCode::Pong, short.to_vec()));
            }
            frames.push(Frame::new(true, 8, None, *b"\x0f\xa0so long"));
            let (bytes, says) = (written_by(oracle, role, &frames), Reading { events, end: End::Closed(4000) });
            for chunk in [1 << 20, 1 + length / 7] {
                let read = ours(other(role), &bytes, chunk);
                assert!(read == says, "{oracle} as {role:?} at {length}, in chunks of {chunk}: {:?}", read.end);
            }
        }
    }
}

#[test]
fn random_streams_by_either() {
    check_seeds_on(2, 0..3000, |seed| {
        let mut dice = Dice::seeded(seed);
        let (role, oracle) = (ROLES[dice.index(2)], Oracle::ALL[dice.index(2)]);
        let writer = Writer { receiver: other(role), max_message: 1000, max_fragments: 100 };
        let Spoken { frames, says } = writer.valid(&mut dice, None);
        let bytes = written_by(oracle, role, &frames);
        let chunk = 1 + dice.index(bytes.len().max(1));
        assert_eq!(ours(other(role), &bytes, chunk), says, "written by {oracle}");

        let mut said = says.events;
        said.retain(|(opcode, _)| *opcode != OpCode::Pong); // which an application can't send
        let bytes = written_by_ours(role, None, &said);
        for oracle in Oracle::ALL {
            let read = theirs(oracle, &terms(other(role)), &bytes);
            assert_eq!(read, Reading { events: said.clone(), end: End::Closed(4321) }, "read by {oracle}");
        }
    });
}

/// Neither oracle inflates: a decompressor without a WebSocket does.
#[test]
fn what_ours_compresses_inflates() {
    let said = all_lengths();
    for (role, memory) in ROLES.into_iter().flat_map(|role| [(role, Memory::Shared), (role, Memory::Dedicated)]) {
        let bytes = written_by_ours(role, Some(memory), &said);
        let total: usize = said.iter().map(|(_, payload)| payload.len()).sum();
        assert!(bytes.len() < total / 100, "{} bytes of {total}", bytes.len());
        assert!(inflated(role, memory, &bytes) == said, "{memory:?}, from {role:?}");
    }
}

/// The messages and pings that stand in the bytes.
fn inflated(role: Role, memory: Memory, mut bytes: &[u8]) -> Vec<Event> {
    let (mut events, mut stream) = (Vec::new(), Decompress::new(false));
    let (mut message, mut compressed): (Option<Event>, bool) = (None, false);
    loop {
        let receiver = Receiver { role: other(role), in_message: message.is_some(), compression: true };
        let (header, start) = parse(bytes, receiver).expect("valid frames").expect("a close frame at the end");
        let end = start + usize::try_from(header.payload).expect("a length that fits");
        let mut payload = bytes[start..end].to_vec();
        mask::apply(&mut payload, header.mask.unwrap_or_default());
        bytes = &bytes[end..];
        match header.opcode {
            OpCode::Close => return events,
            OpCode::Ping | OpCode::Pong => {
                events.push((header.opcode, payload));
                continue;
            }
            OpCode::Continuation => message.as_mut().expect("a message").1.extend(payload),
            opcode => (message, compressed) = (Some((opcode, payload)), header.compressed),
        }
        let Some((opcode, mut payload)) = message.take_if(|_| header.fin) else { continue };
        if compressed {
            payload.extend([0x00, 0x00, 0xff, 0xff]);
            let mut plain = Vec::with_capacity(MAX_MESSAGE);
            let before = stream.total_in();
            stream.decompress_vec(&payload, &mut plain, FlushDecompress::Sync).expect("valid blocks");
            assert_eq!(stream.total_in() - before, payload.len() as u64, "all of it");
            payload = plain;
            if memory == Memory::Shared {
                stream.reset(false);
            }
        }
        events.push((opcode, payload));
    }
}
