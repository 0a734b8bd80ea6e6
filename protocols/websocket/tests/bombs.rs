//! Compression and the memory of a whole loop: bombs of several peers at once, and connections that are idle.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

mod common;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use allocation_counter::measure;
use common::server::switching;
use switchboard::testkit::{MemoryDriver, Network, Peer as FarEnd, network};
use switchboard::{EventLoop, Limits};
use switchboard_websocket::deflate::{Compression, Deflater, Inflater, Memory, WindowBits};
use switchboard_websocket::frame::{Header, OpCode, Receiver, Role, parse};
use switchboard_websocket::{Connect, Settings, WebSocket, message_fn};

const MIB: usize = 1 << 20;
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Many echoing WebSockets of one loop, and the far ends of their connections.
struct Crowd {
    event_loop: EventLoop<MemoryDriver>,
    network: Network,
    role: Role,
    ends: Vec<FarEnd>,
    /// Of the far end that was served last.
    inflater: (usize, Inflater),
}

impl Crowd {
    fn new(role: Role, count: usize, settings: Settings, limits: Limits) -> Self {
        let (driver, network) = network();
        let mut event_loop = EventLoop::with_driver(driver, limits).unwrap();
        let settings = Rc::new(settings);
        let echo = || {
            message_fn(|peer, message| {
                peer.send(message);
                Ok(())
            })
        };
        let address: SocketAddr = "127.0.0.1:7000".parse().unwrap();
        let ends: Vec<FarEnd> = match role {
            Role::Server => {
                event_loop.listen(address, move |_| Some(WebSocket::with_settings(echo(), &settings))).unwrap();
                let ends: Vec<FarEnd> = (0..count).map(|_| network.connect(address).unwrap()).collect();
                for end in &ends {
                    let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
                    end.send(common::UPGRADE.replace("\r\n\r\n", offer).as_bytes());
                }
                ends
            }
            Role::Client => (0..count)
                .map(|_| {
                    let connect = Connect::to("ws://127.0.0.1:7000/").unwrap();
                    event_loop.connect(address, WebSocket::client_with_settings(connect, echo(), &settings));
                    event_loop.turn(Some(Duration::ZERO)).unwrap();
                    let end = network.next_outgoing().unwrap();
                    end.establish();
                    event_loop.turn(Some(Duration::ZERO)).unwrap();
                    let request = String::from_utf8(end.take_received()).unwrap();
                    let (_, offer) = request.split_once("Sec-WebSocket-Extensions: ").unwrap();
                    let agreed = offer.trim().replace("; client_max_window_bits", "");
                    let answer = format!("\r\nSec-WebSocket-Extensions: {agreed}\r\n\r\n");
                    end.send(switching(&request).replace("\r\n\r\n", &answer).as_bytes());
                    end
                })
                .collect(),
        };
        let mut crowd = Self { event_loop, network, role, ends, inflater: (0, Inflater::new()) };
        crowd.settle();
        let opened = |end: &FarEnd| {
            let answer = end.take_received();
            role == Role::Client || String::from_utf8_lossy(&answer).contains("permessage-deflate")
        };
        assert!(crowd.ends.iter().all(opened));
        crowd
    }

    /// Runs the loop until nothing more happens. The most bytes that it held, by its own account, after any turn.
    fn settle(&mut self) -> usize {
        let (mut most, mut unread) = (0, usize::MAX);
        loop {
            self.event_loop.turn(Some(Duration::ZERO)).unwrap();
            most = most.max(self.event_loop.core().held_bytes());
            let before = std::mem::replace(&mut unread, self.ends.iter().map(FarEnd::unread).sum());
            if !self.network.has_events() && unread == before {
                return most;
            }
        }
    }

    /// A frame of the far end's.
    fn frame(&self, compressed: bool, payload: &[u8]) -> Vec<u8> {
        let mask = if self.role == Role::Server { Some([0; 4]) } else { None };
        let header = Header { fin: true, compressed, opcode: OpCode::Binary, mask, payload: payload.len() as u64 };
        [&header.encode(), payload].concat()
    }

    /// The frames that have come: whether it is compressed, its opcode, its payload.
    fn frames(&self, end: &FarEnd) -> Vec<(bool, OpCode, Vec<u8>)> {
        let bytes = end.take_received();
        let (mut rest, mut frames) = (&bytes[..], Vec::new());
        let role = if self.role == Role::Server { Role::Client } else { Role::Server };
        while !rest.is_empty() {
            let receiver = Receiver { role, in_message: false, compression: true };
            let (header, start) = parse(rest, receiver).unwrap().unwrap();
            let end = start + usize::try_from(header.payload).unwrap();
            let mut payload = rest[start..end].to_vec();
            switchboard_websocket::mask::apply(&mut payload, header.mask.unwrap_or_default());
            frames.push((header.compressed, header.opcode, payload));
            rest = &rest[end..];
        }
        frames
    }

    /// Whether this one is served as ever.
    fn is_served(&mut self, index: usize, message: &[u8]) -> bool {
        let mut payload = Vec::new();
        Deflater::new(WindowBits::MAX, 6).deflate(message, &mut payload);
        let frames = [self.frame(true, &payload), self.frame(false, b"short")].concat();
        self.ends[index].send(&frames);
        self.settle();
        let end = self.ends[index].clone();
        let [(true, OpCode::Binary, payload), (false, OpCode::Binary, short)] = &self.frames(&end)[..] else {
            return false;
        };
        if std::mem::replace(&mut self.inflater.0, index) != index {
            self.inflater.1.reset();
        }
        short == b"short" && self.inflater.1.message(payload, MIB).is_ok_and(|echo| echo == message)
    }
}

fn settings(memory: Memory, max_message: usize) -> Settings {
    let compression = Compression { compressor: memory, decompressor: memory, ..Compression::default() };
    Settings { max_message, compression: Some(compression), heartbeat: None, ..Settings::default() }
}

/// A gibibyte of zeros in hardly more than a mebibyte.
fn bomb() -> Vec<u8> {
    let (mut deflater, zeros) = (Deflater::new(WindowBits::MAX, 9), vec![0; MIB]);
    let mut mebibyte = || {
        let mut payload = Vec::new();
        deflater.deflate(&zeros, &mut payload);
        payload.extend(TAIL);
        payload
    };
    let (first, other) = (mebibyte(), mebibyte());
    let mut bomb = [first, other.repeat(1023)].concat();
    bomb.truncate(bomb.len() - TAIL.len());
    assert!(bomb.len() < 9 * MIB / 8);
    bomb
}

/// Eight bombs in portions of this size. The close codes that answer them, and the most bytes that were held: by the
/// loop's account, and by the allocator's.
fn eight_bombs(crowd: &mut Crowd, portion: usize, budget: usize) -> (Vec<u16>, usize) {
    let bomb = crowd.frame(true, &bomb());
    let mut most_held = 0;
    for (round, part) in bomb.chunks(portion).enumerate() {
        let ends = || crowd.ends[..8].iter().filter(|end| !end.saw_eof());
        if ends().count() == 0 {
            break;
        }
        ends().for_each(|end| end.send(part));
        most_held = most_held.max(crowd.settle());
        if round % 4 == 0 {
            let message = format!("{round} rounds of bombs, and I am still served. ").repeat(40);
            assert!(crowd.is_served(8, message.as_bytes()), "in round {round}");
        }
    }
    assert!(most_held <= budget, "{most_held} bytes of {budget}");
    let codes = crowd.ends[..8].iter().map(|end| {
        let frames = crowd.frames(end);
        let [(false, OpCode::Close, payload)] = &frames[..] else { panic!("{frames:?}") };
        u16::from_be_bytes([payload[0], payload[1]])
    });
    (codes.collect(), most_held)
}

fn bombs(memory: Memory, role: Role, loop_memory: usize) {
    let max_message = 16 * MIB;
    for portion in [usize::MAX, 1024] {
        let limits = Limits { loop_memory, ..Limits::default() };
        let mut crowd = Crowd::new(role, 9, settings(memory, max_message), limits);
        assert!(crowd.is_served(8, &b"before ".repeat(200)));
        let mut outcome = None;
        let info = measure(|| outcome = Some(eight_bombs(&mut crowd, portion, loop_memory)));
        let (codes, most_held) = outcome.unwrap();
        // A buffer that is moved when it grows is there twice for the moment, old and new. What the far ends have sent and
        // the loop has not read is not the loop's.
        let unread = if portion == usize::MAX { 8 * 2 * MIB } else { 0 };
        let most = most_held.max(max_message) + max_message + unread + 4 * MIB;
        assert!(info.bytes_max < most as u64, "{} bytes with {most_held} held", info.bytes_max);
        let refused: Vec<usize> = [1009, 1013].map(|code| codes.iter().filter(|it| **it == code).count()).to_vec();
        assert_eq!(refused.iter().sum::<usize>(), 8, "{codes:?}");
        let is_tight = portion == 1024 && loop_memory < 8 * max_message;
        assert_eq!(refused[1] > 0, is_tight, "too long for the connection, or too much for the loop: {codes:?}");
        assert!(refused[0] > 0, "{codes:?}");
        println!(
            "{memory:?} {role:?} {loop_memory} in portions of {portion}: {most_held} held, {} allocated, {codes:?}",
            info.bytes_max
        );
        crowd.ends[..8].iter().for_each(FarEnd::finish);
        crowd.settle();
        let own = crowd.event_loop.core().held_bytes();
        assert!(own < MIB / 2 && (own == 0) == (memory == Memory::Shared), "{own} bytes are left");
        assert!(crowd.is_served(8, &b"after ".repeat(200)));
    }
}

#[test]
fn eight_at_once_on_a_server() {
    bombs(Memory::Shared, Role::Server, 1024 * MIB);
    bombs(Memory::Shared, Role::Server, 64 * MIB);
    bombs(Memory::Dedicated, Role::Server, 64 * MIB);
}

#[test]
fn eight_at_once_on_a_client() {
    bombs(Memory::Shared, Role::Client, 64 * MIB);
    bombs(Memory::Dedicated, Role::Client, 64 * MIB);
}

/// What an idle connection takes beyond one that does not compress: `deflate` says so in its documentation.
#[test]
fn idle_connections() {
    let each = |memory: Option<Memory>, says_something: bool| {
        let mut settings = settings(memory.unwrap_or_default(), MIB);
        if memory.is_none() {
            // An offer is answered, but nothing is ever compressed.
            settings.compression = settings.compression.map(|wishes| Compression { threshold: usize::MAX, ..wishes });
        }
        let mut crowd = None;
        let info = measure(|| {
            let mut now = Crowd::new(Role::Server, 64, settings, Limits::default());
            for index in 0..64 * usize::from(says_something) {
                assert!(now.is_served(index, &b"hello ".repeat(200)));
            }
            now.ends.iter().for_each(|end| drop(end.take_received()));
            crowd = Some(now);
        });
        let held = crowd.as_mut().unwrap().event_loop.core().held_bytes() / 64;
        (usize::try_from(info.bytes_current).unwrap() / 64, held)
    };
    let _ = each(Some(Memory::Shared), true); // what the thread keeps is there now
    let (silent, _) = each(None, false);
    let (shared, shared_held) = each(Some(Memory::Shared), true);
    let (dedicated, dedicated_held) = each(Some(Memory::Dedicated), true);
    println!(
        "{silent} bytes each without a message, {shared} shared, {dedicated} dedicated ({dedicated_held} counted)"
    );
    assert!(shared < silent + 300 && shared_held == 0, "no compressor, no decompressor: {shared} and {silent}");
    let own = dedicated - shared;
    let stated = Deflater::memory(WindowBits::MAX) + Inflater::MEMORY;
    assert!((stated - stated / 16..stated + stated / 16).contains(&own), "{own}, not {stated}");
    let stated = stated + 1200; // bytes of the message, to which another may refer
    assert_eq!(dedicated_held, stated, "all of it counts against the loop's memory");
}
