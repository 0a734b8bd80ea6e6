//! A thousand members in a room, on sockets of their own.

use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use super::*;

const MEMBERS: usize = 1000;
const MESSAGES: usize = 100;

/// A member that takes what comes, without waiting for it.
struct Listener {
    stream: mio::net::TcpStream,
    /// What has come of a frame that is not whole yet.
    rest: Vec<u8>,
    heard: usize,
}

impl Listener {
    /// Takes what is there, and gives when each message came; panics at one that is not the next.
    fn listen(&mut self, expected: &[Vec<u8>], mut came: impl FnMut(usize)) {
        let mut buffer = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => panic!("closed after {} messages", self.heard),
                Ok(count) => self.rest.extend(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error} after {} messages", self.heard),
            }
        }
        while let Some((opcode, payload, length)) = frame(&self.rest) {
            if opcode == wire::web_socket::TEXT {
                let next = expected.get(self.heard).expect("no message more than were said");
                assert!(payload == next, "message {}: {}", self.heard, String::from_utf8_lossy(payload));
                came(self.heard);
                self.heard += 1;
            } else {
                assert_eq!(opcode, wire::web_socket::PING);
            }
            self.rest.drain(..length);
        }
    }
}

/// The frame that `bytes` begin with: opcode, payload, and its length in all.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (start, length) = match *bytes {
        [_, length @ ..126, ..] => (2, usize::from(length)),
        [_, 126, high, low, ..] => (4, u16::from_be_bytes([high, low]).into()),
        [_, 126, ..] | [] | [_] => return None,
        _ => panic!("no message is as long as that"),
    };
    Some((bytes[0] & 0xf, bytes.get(start..start + length)?, start + length))
}

/// Joins by itself: the small window of one who will not read must be asked for before it connects.
fn join(address: SocketAddr, name: &str, receive_buffer: Option<usize>) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if let Some(size) = receive_buffer {
        socket.set_recv_buffer_size(size).unwrap();
    }
    socket.connect_timeout(&address.into(), DEADLINE).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    let request = String::from_utf8_lossy(wire::web_socket::REQUEST).replace("/echo", "/chat");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    ask(&mut stream, &json!({"do": "name", "name": name}));
    ask(&mut stream, &json!({"do": "join", "room": "crowd"}));
    for expected in ["welcome", "room"] {
        let (_, told) = wire::web_socket::read_message(&mut stream);
        assert_eq!(serde_json::from_slice::<Value>(&told).unwrap()["is"], expected);
    }
    stream
}

fn ask(stream: &mut impl Write, request: &Value) {
    stream.write_all(&wire::web_socket::frame(wire::web_socket::TEXT, request.to_string().as_bytes())).unwrap();
}

#[test]
fn a_thousand_members_get_each_message_once_and_in_order_and_one_who_never_reads_delays_nobody() {
    let wanted = 2 * MEMBERS as u64;
    let allowed = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    assert!(allowed >= wanted, "this test needs {wanted} descriptors, the machine gives a process {allowed}");
    let chat = Chat::start(&["--notices", "0", "--rate", "10000", "--waiting", "32"]);
    let mut never_reads = join(chat.web, "never-reads", Some(4096));
    let streams = (0..MEMBERS).map(|number| join(chat.web, &format!("m{number}"), None));
    let mut poll = Poll::new().unwrap();
    let mut members: Vec<Listener> = streams
        .enumerate()
        .map(|(number, stream)| {
            stream.set_nonblocking(true).unwrap();
            let mut stream = mio::net::TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(number), Interest::READABLE).unwrap();
            Listener { stream, rest: Vec::new(), heard: 0 }
        })
        .collect();

    // About a kilobyte each: a hundred are more than a connection that is not read holds.
    let texts: Vec<String> = (0..MESSAGES).map(|n| format!("{n:03} {}", "all work and no play ".repeat(45))).collect();
    let told = |(n, text): (usize, &String)| {
        format!(r#"{{"is":"message","room":"crowd","number":{},"name":"m0","text":"{text}"}}"#, n + 1).into_bytes()
    };
    let expected: Vec<Vec<u8>> = texts.iter().enumerate().map(told).collect();

    let (mut said_at, mut took) = (Vec::<Instant>::new(), Vec::<Duration>::new());
    let mut events = Events::with_capacity(1024);
    while members.iter().any(|member| member.heard < MESSAGES) {
        // The next as soon as the author's own copy of the one before has come, whoever else is still waiting for it.
        if said_at.len() < MESSAGES && members[0].heard == said_at.len() {
            said_at.push(now());
            let request = json!({"do": "say", "room": "crowd", "text": texts[said_at.len() - 1]});
            ask(&mut members[0].stream, &request);
        }
        poll.poll(&mut events, Some(DEADLINE)).unwrap();
        assert!(!events.is_empty(), "nothing comes any more");
        for event in &events {
            let Token(number) = event.token();
            members[number].listen(&expected, |message| {
                if number != 0 {
                    took.push(said_at[message].elapsed());
                }
            });
        }
    }
    assert_eq!(took.len(), (MEMBERS - 1) * MESSAGES);
    took.sort();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    println!("{} deliveries: p50 {:?}, p99 {:?}, the last {:?}", took.len(), at(50), at(99), at(100));
    assert!(at(100) < DEADLINE, "nobody waits for who does not read");

    // It had what fits into the buffers on its way, and was closed.
    let mut all = Vec::new();
    let end = never_reads.read_to_end(&mut all);
    let mut had = 0;
    let mut rest = &all[..];
    while let Some((_, payload, length)) = frame(rest) {
        assert!(payload == expected[had], "in order, as far as it goes");
        (had, rest) = (had + 1, &rest[length..]);
    }
    println!("one who never read had {had} messages, and then {end:?}");
    assert!(had < MESSAGES);
    let mut ann = chat.browser("ann", "elsewhere");
    ann.ask(&json!({"do": "who", "room": "crowd"}));
    assert_eq!(ann.told()["count"], MEMBERS, "it is no member any more");
}
