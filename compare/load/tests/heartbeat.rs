//! A server that pings, and one whose replies are not what they should be.

#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use load::{Held, Options, Protocol, run};

const PATIENCE: Duration = Duration::from_secs(20);
const BEAT: &[u8] = b"beat\0\0\0\x01";
const PING: &[u8] = b"\x89\x08beat\0\0\0\x01";

/// What a server sends instead of a reply, a frame.
type Answer = fn(&mut TcpStream, Vec<u8>) -> std::io::Result<()>;

/// An echo server of so many connections. It tells which of them have answered a ping.
fn serve(connections: usize, answer: Answer) -> (SocketAddr, Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (answered, pongs) = channel();
    thread::spawn(move || {
        for index in 0..connections {
            let (stream, _) = listener.accept().unwrap();
            let answered = answered.clone();
            thread::spawn(move || echo(stream, answer, index, &answered));
        }
    });
    (address, pongs)
}

/// Until the client goes.
fn echo(mut stream: TcpStream, answer: Answer, index: usize, answered: &Sender<usize>) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while reader.by_ref().lines().next().is_some_and(|line| !line.unwrap().is_empty()) {}
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    while let Some((first, payload)) = frame(&mut reader) {
        if first == 0x8a {
            assert_eq!(payload, BEAT);
            let _ = answered.send(index);
            continue;
        }
        let length = (payload.len() as u64).to_be_bytes();
        let mut reply = vec![first];
        match payload.len() {
            ..126 => reply.push(length[7]),
            126..65_536 => reply.extend([126, length[6], length[7]]),
            _ => reply.extend([&[127], &length[..]].concat()),
        }
        reply.extend(payload);
        if answer(&mut stream, reply).is_err() {
            return; // the client has seen enough
        }
    }
}

/// A client's frame: its first byte, and its payload unmasked. `None` at the end.
fn frame(reader: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut header = [0; 2];
    reader.read_exact(&mut header).ok()?;
    assert!(matches!(header[0], 0x81 | 0x82 | 0x8a) && header[1] & 0x80 != 0, "a frame begins with {header:x?}");
    let mut length = [0; 8];
    match header[1] & 0x7f {
        126 => reader.read_exact(&mut length[6..]).ok()?,
        127 => reader.read_exact(&mut length).ok()?,
        short => length[7] = short,
    }
    let mut mask = [0; 4];
    reader.read_exact(&mut mask).ok()?;
    let mut payload = vec![0; usize::try_from(u64::from_be_bytes(length)).unwrap()];
    reader.read_exact(&mut payload).ok()?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Some((header[0], payload))
}

/// A ping before the reply, and one behind it.
fn pinging(stream: &mut TcpStream, reply: Vec<u8>) -> std::io::Result<()> {
    stream.write_all(&[PING, &reply, PING].concat())
}

#[test]
fn a_ping_before_the_reply_is_not_taken_for_it() {
    let (address, pongs) = serve(3, pinging);
    let mut held = Held::open(Protocol::Ws, address, 3).unwrap();
    for workload in ["1x20", "1x1024:mixed", "1x1048576"] {
        held.echo(3, workload.parse().unwrap()).unwrap();
    }
    // Who has nothing more to say answers what came behind the last reply, too: twelve for these two in all.
    let (begin, mut missing) = (Instant::now(), 12);
    while missing > 0 {
        held.echo(1, "1x20".parse().unwrap()).unwrap();
        missing -= pongs.try_iter().filter(|index| *index > 0).count();
        assert!(begin.elapsed() < PATIENCE, "{missing} pings are not answered");
    }
}

#[test]
fn a_measurement_counts_messages_and_no_pings() {
    for (workload, connections, messages) in
        [("16x20", 8, 320), ("1x20", 8, 320), ("4x1024:ascii", 8, 320), ("1x262144", 2, 16)]
    {
        let (address, pongs) = serve(connections, pinging);
        let report = run(&Options {
            connections,
            messages: Some(messages),
            spin: false,
            ..Options::new(Protocol::Ws, address, workload.parse().unwrap())
        });
        assert_eq!(report.unwrap().messages, messages, "{workload}");
        // Two pings for each, and for that which each connection begins with; the last ones go unanswered.
        assert!(pongs.iter().count() as u64 >= messages + connections as u64, "{workload}");
    }
}

#[test]
fn what_differs_is_told_with_its_connection_and_place() {
    fn damaged(stream: &mut TcpStream, mut reply: Vec<u8>) -> std::io::Result<()> {
        reply[70_000] ^= 1;
        stream.write_all(&reply)
    }
    fn closing(stream: &mut TcpStream, _: Vec<u8>) -> std::io::Result<()> {
        stream.write_all(b"\x88\x06\x03\xe9away")
    }
    let told = |answer: Answer| {
        let (address, _pongs) = serve(1, answer);
        let error = Held::open(Protocol::Ws, address, 1).unwrap().echo(1, "1x100000".parse().unwrap()).unwrap_err();
        format!("{error:#}")
    };
    let said = told(damaged);
    assert!(said.starts_with("connection 0: the reply differs") && said.contains("byte 70000 of 100010"), "{said}");
    assert_eq!(told(closing), "connection 0: the server closes the WebSocket: 1001 away");
}
