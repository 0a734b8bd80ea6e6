//! A message to a crowd: how often it is compressed, what each peer makes of it, what it takes of the memory.

use std::net::SocketAddr;
use std::rc::Rc;

use allocation_counter::measure;
use flate2::{Decompress, FlushDecompress};
use switchboard::testkit::{MemoryDriver, Network, Peer as FarEnd, network};
use switchboard::{EventLoop, Limits, Slow};

use super::*;
use crate::deflate::{Compression, Memory, compressions};
use crate::frame::{OpCode, Receiver, Role, parse};
use crate::{Message, Post, Settings, WebSocket, message_fn};

/// Many peers of one loop, each of which takes contexts over in its decompressor.
struct Crowd {
    event_loop: EventLoop<MemoryDriver>,
    network: Network,
    members: Vec<Member>,
}

struct Member {
    end: FarEnd,
    inflater: Decompress,
}

impl Crowd {
    /// Each offers one of these, by turns.
    fn new(count: usize, compressor: Memory, offers: &[&str]) -> Self {
        let (driver, network) = network();
        let mut event_loop = EventLoop::with_driver(driver, Limits::default()).unwrap();
        let compression = Compression { compressor, decompressor: Memory::Shared, ..Compression::default() };
        let settings = Rc::new(Settings { compression: Some(compression), heartbeat: None, ..Settings::default() });
        let address: SocketAddr = "127.0.0.1:7000".parse().unwrap();
        let echo = |peer: &mut crate::Peer<'_, '_>, message: Message<'_>| {
            match message {
                Message::Text("subscribe") => peer.subscribe("t", Slow::default())?,
                _ => peer.send(message),
            }
            Ok(())
        };
        event_loop.listen(address, move |_| Some(WebSocket::with_settings(message_fn(echo), &settings))).unwrap();
        let member = |offer: &&str| {
            let end = network.connect(address).unwrap();
            let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
            end.send(format!("{request}Sec-WebSocket-Extensions: permessage-deflate{offer}\r\n\r\n").as_bytes());
            Member { end, inflater: Decompress::new(false) }
        };
        let members = offers.iter().cycle().take(count).map(member).collect();
        let mut crowd = Self { event_loop, network, members };
        crowd.settle();
        let answers: Vec<_> = crowd.members.iter().map(|member| member.end.take_received()).collect();
        assert!(answers.iter().all(|answer| answer.starts_with(b"HTTP/1.1 101 ")));
        crowd
    }

    fn settle(&mut self) {
        self.event_loop.turn(Some(std::time::Duration::ZERO)).unwrap();
        while self.network.has_events() || self.event_loop.core().waiting_messages() > 0 {
            self.event_loop.turn(Some(std::time::Duration::ZERO)).unwrap();
        }
    }

    fn post(&mut self, post: &Post) {
        for member in &self.members {
            let id = member.end.id().unwrap();
            self.event_loop.core().post(id, post.clone()).unwrap();
        }
        self.settle();
    }

    /// Every member says this.
    fn say(&mut self, text: &[u8]) {
        let header = crate::frame::Header {
            fin: true,
            compressed: false,
            opcode: OpCode::Text,
            mask: Some([0; 4]),
            payload: text.len() as u64,
        };
        let frame = [&header.encode(), text].concat();
        self.members.iter().for_each(|member| member.end.send(&frame));
        self.settle();
    }
}

impl Member {
    /// The messages that have come: how many bytes each took, and what it is.
    fn messages(&mut self) -> Vec<(usize, String)> {
        let bytes = self.end.take_received();
        let (mut rest, mut messages) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let receiver = Receiver { role: Role::Client, in_message: false, compression: true };
            let (header, start) = parse(rest, receiver).unwrap().unwrap();
            let end = start + usize::try_from(header.payload).unwrap();
            let payload = &rest[start..end];
            let plain = if header.compressed { self.inflate(payload) } else { payload.to_vec() };
            messages.push((payload.len(), String::from_utf8(plain).unwrap()));
            rest = &rest[end..];
        }
        messages
    }

    /// By `flate2`, which fails where something refers to what never was, and gives something else where it refers to
    /// another place than was meant.
    fn inflate(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut plain = Vec::with_capacity(1 << 20);
        for part in [payload, &[0x00, 0x00, 0xff, 0xff]] {
            self.inflater.decompress_vec(part, &mut plain, FlushDecompress::Sync).unwrap();
        }
        plain
    }
}

/// Words, none of which comes often; and other ones for each seed.
fn words(seed: u64, count: usize) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| format!("{:x} ", random.u32(..))).collect()
}

const OFFERS: [&str; 2] = ["", "; server_max_window_bits=10"];

#[test]
fn once_for_each_way_of_compressing() {
    for compressor in [Memory::Shared, Memory::Dedicated] {
        let mut crowd = Crowd::new(100, compressor, &OFFERS);
        let text = words(1, 1000);
        let before = compressions();
        crowd.post(&Post::Text(text.clone().into()));
        assert_eq!(compressions() - before, 2, "for a hundred peers that compress in two ways");
        for member in &mut crowd.members {
            let messages = member.messages();
            assert!(messages.len() == 1 && messages[0].1 == text && messages[0].0 < 2 * text.len() / 3);
        }
        // 8 bits are 9 to the compressor.
        let mut crowd = Crowd::new(9, compressor, &["; server_max_window_bits=8", "; server_max_window_bits=9"]);
        let before = compressions();
        crowd.post(&Post::Binary(text.clone().into_bytes().into()));
        assert_eq!(compressions() - before, 1);
        assert!(crowd.members.iter_mut().all(|member| member.messages()[0].1 == text));
    }
}

#[test]
fn a_publication_once_for_all_its_subscribers() {
    let mut crowd = Crowd::new(100, Memory::Shared, &OFFERS);
    crowd.say(b"subscribe");
    let (text, before) = (words(1, 1000), compressions());
    assert_eq!(crowd.event_loop.core().publish("t", text.clone()), 100);
    crowd.settle();
    assert_eq!(compressions() - before, 2, "for a hundred peers that compress in two ways");
    for member in &mut crowd.members {
        let messages = member.messages();
        assert!(messages.len() == 1 && messages[0].1 == text && messages[0].0 < 2 * text.len() / 3);
    }
}

#[test]
fn what_is_no_shorter_is_tried_once() {
    let mut random = fastrand::Rng::with_seed(3);
    let noise: String = (0..3000).map(|_| char::from(random.u8(33..127))).collect();
    let shared = SharedBinary::from((0..3000).map(|_| random.u8(..)).collect::<Vec<u8>>());
    let before = compressions();
    for _ in 0..5 {
        assert_eq!(shared.0.compressed(WindowBits::MAX, 6), None);
    }
    assert_eq!(compressions() - before, 1);
    // Below the threshold nobody tries.
    let mut crowd = Crowd::new(3, Memory::Shared, &OFFERS);
    let before = compressions();
    crowd.post(&Post::Text(noise[..1023].to_owned().into()));
    assert_eq!(compressions() - before, 0);
    assert!(crowd.members.iter_mut().all(|member| member.messages() == [(1023, noise[..1023].to_owned())]));
}

/// A compressor that takes its context over refers to where its messages are in the peer's window, which moves on by
/// those that it has not compressed.
#[test]
fn among_messages_of_the_connections_own() {
    for compressor in [Memory::Shared, Memory::Dedicated] {
        let mut crowd = Crowd::new(4, compressor, &OFFERS);
        let (own, shared, short) = (words(4, 200), words(5, 300), "below the threshold".to_owned());
        let mut expected = Vec::new();
        for round in 0..4 {
            crowd.say(own.as_bytes());
            crowd.say(own.as_bytes());
            expected.extend([own.clone(), own.clone()]);
            for _ in 0..=round % 2 {
                crowd.post(&Post::Text(shared.clone().into()));
                expected.push(shared.clone());
            }
            crowd.post(&Post::Text(short.clone().into()));
            expected.push(short.clone());
        }
        for (index, member) in crowd.members.iter_mut().enumerate() {
            let messages = member.messages();
            let texts: Vec<&String> = messages.iter().map(|(_, text)| text).collect();
            assert!(texts.into_iter().eq(&expected), "member {index}");
            // The second of two refers back to the first, with a window that holds it: after those of others, too.
            let takes_over = compressor == Memory::Dedicated && index % 2 == 0;
            let firsts = (0..messages.len() - 1).filter(|at| messages[*at].1 == own && messages[at + 1].1 == own);
            for first in firsts {
                let (one, two) = (messages[first].0, messages[first + 1].0);
                assert_eq!(two < one / 4, takes_over, "{one} and {two} bytes");
            }
        }
    }
}

/// Neither the payload nor its compressed forms are copied for each peer, and they go with the last who has the message.
#[test]
fn memory() {
    let mut crowd = Crowd::new(100, Memory::Dedicated, &OFFERS);
    crowd.members.iter().for_each(|member| member.end.set_window(0));
    crowd.post(&Post::Text("room for what waits".into()));
    let mut text = words(6, 10_000);
    text.shrink_to_fit();
    let (text_length, length) = (text.len(), text.len() as u64);
    let mut shared = Some(SharedText::from(text));
    // Whatever compresses is the thread's, and is there afterwards.
    let other = SharedText::from(words(7, 10_000));
    assert!([15, 10].iter().all(|bits| other.0.compressed(WindowBits::new(*bits).unwrap(), 6).is_some()));
    let sent = measure(|| crowd.post(&Post::Text(shared.clone().unwrap())));
    assert!(sent.bytes_total > length, "two forms");
    assert!(sent.bytes_max < 3 * length, "{} bytes for 100 times {length}", sent.bytes_max);
    let freed = measure(|| drop(shared.take()));
    let freed = freed.bytes_current.unsigned_abs();
    assert!((length..length + 1000).contains(&freed), "the payload, which nobody waits for: {freed} of {length}");
    assert!(crowd.event_loop.core().held_bytes() > 100 * text_length / 3, "output counts for each connection");
    let gone = measure(|| drop(crowd));
    assert!(-gone.bytes_current > i64::try_from(length).unwrap(), "the forms, with the last output");
}

#[test]
fn forms_are_bounded() {
    let text = words(8, 2000);
    let shared = SharedText::from(text.clone());
    let info = measure(|| {
        for level in 1..10 {
            for bits in 9..16 {
                assert!(shared.0.compressed(WindowBits::new(bits).unwrap(), level).is_some());
            }
        }
    });
    assert!(shared.0.0.forms.lock().unwrap().len() == KEPT);
    drop(shared);
    assert!(info.bytes_total > 0);
}

#[test]
fn threads_share_it() {
    let shared = SharedText::from(words(9, 1000));
    let thread = |_| {
        let shared = shared.clone();
        std::thread::spawn(move || {
            let before = compressions();
            assert!(shared.0.compressed(WindowBits::MAX, 6).is_some());
            compressions() - before
        })
    };
    let threads: Vec<_> = (0..4).map(thread).collect();
    let made: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(made, 1);
}
