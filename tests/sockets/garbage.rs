//! Garbage on every port: an answer or a close, and nothing left behind.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};

use switchboard::EventLoop;
use switchboard_echo::UdpEcho;

use crate::common::{
    PATIENCE, Sequence, assert_nothing_left, drive, finish, listen_echo, listen_heartbeat, round_trip, tcp, turn_until,
};

/// What strangers send to open ports, and what nobody would.
pub(crate) fn garbage(sequence: &mut Sequence) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [
        &b""[..],
        b"\0",
        b"\n",
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", // a TLS hello
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"PING\n",
        b"PING 4294967296\n",
        b"PONG 1\nPONG 1\nPONG 1\n",
        b"\xff\xfe\xfd\n",
    ]
    .map(<[u8]>::to_vec)
    .into();
    all.push(vec![b'A'; 300_000]);
    all.push(b"PING ".repeat(50_000));
    all.push(b"X-Header: yes\r\n".repeat(20_000));
    all.extend((0..30).map(|n| {
        let len = sequence.below(1 << (n % 18));
        sequence.bytes(len)
    }));
    all
}

/// Sends it in pieces, half-closes or not, reads what comes, and goes. Whatever the other side does
/// is fine, but it must not leave the client waiting.
pub(crate) fn throw(address: SocketAddr, bytes: &[u8], sequence: &mut Sequence) {
    let mut stream = tcp(address);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(1 + sequence.below(rest.len().min(50_000)));
        if write_and_read(&mut stream, piece).is_err() {
            return; // it closed on us
        }
        rest = behind;
    }
    if sequence.below(4) > 0 && stream.shutdown(Shutdown::Write).is_ok() {
        let mut answer = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{:?}", &bytes[..bytes.len().min(40)]);
        }
    }
}

/// Writes without being stopped by answers that nobody reads.
fn write_and_read(stream: &mut TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    while !bytes.is_empty() {
        let count = stream.write(&bytes[..bytes.len().min(16 * 1024)])?;
        bytes = &bytes[count..];
        stream.set_nonblocking(true)?;
        while matches!(stream.read(&mut buffer), Ok(count) if count > 0) {}
        stream.set_nonblocking(false)?;
    }
    Ok(())
}

#[test]
fn garbage_on_every_tcp_port_costs_nothing_afterwards() {
    let mut event_loop = EventLoop::new().unwrap();
    let (echo, heartbeat) = (listen_echo(&mut event_loop), listen_heartbeat(&mut event_loop));
    drive(&mut event_loop, || {
        let mut sequence = Sequence::new(7);
        for bytes in garbage(&mut sequence) {
            throw(echo, &bytes, &mut sequence);
            throw(heartbeat, &bytes, &mut sequence);
        }
        // And both still serve.
        let mut stream = tcp(echo);
        assert_eq!(round_trip(&mut stream, b"hello"), b"hello");
        assert_eq!(finish(&mut stream), b"");
        let mut stream = tcp(heartbeat);
        stream.write_all(b"PING 5\n").unwrap();
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"PONG 5\n");
        finish(&mut stream);
    });
    assert_nothing_left(&mut event_loop);
}

#[test]
fn a_bad_line_is_answered_and_closed() {
    let mut event_loop = EventLoop::new().unwrap();
    let address = listen_heartbeat(&mut event_loop);
    for bad in [&b"nonsense\n"[..], b"PING x\n", &[b'A'; 1000], b"PING 1\nPING 2\nnonsense and much more\nPING 3\n"] {
        let answer = drive(&mut event_loop, || {
            let mut stream = tcp(address);
            stream.write_all(bad).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            String::from_utf8(answer).unwrap()
        });
        let last = answer.lines().last().expect("an answer");
        assert!(last.starts_with("ERR ") && answer.ends_with('\n'), "{answer:?}");
        assert!(!answer.contains("PONG 3"));
    }
    assert_nothing_left(&mut event_loop);
}

#[test]
fn garbage_on_the_udp_port_is_echoed_like_anything_else() {
    let mut event_loop = EventLoop::new().unwrap();
    let socket = event_loop.bind_udp("127.0.0.1:0", UdpEcho).unwrap();
    let address = event_loop.local_addr(socket).unwrap();
    drive(&mut event_loop, || {
        let mut sequence = Sequence::new(8);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        for bytes in garbage(&mut sequence) {
            let bytes = &bytes[..bytes.len().min(60_000)];
            client.send_to(bytes, address).unwrap();
            let mut received = vec![0; 65_535];
            let count = client.recv(&mut received).unwrap();
            assert!(received[..count] == *bytes);
        }
    });
    turn_until(&mut event_loop, "it is still bound", |it| it.core().is_open(socket));
}
