//! WebSocket echo on real sockets, in the hands of clients that mean no good.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use switchboard::{EventLoop, Protocol};
use switchboard_websocket::{WebSocket, message_fn};

use crate::abuse::flood;
use crate::common::web_socket::{self, BINARY, CLOSE, PING, PONG, TEXT, frame, read_message};
use crate::common::{Sequence, assert_nothing_left, drive, finish, pattern, read_to_end, tcp};
use crate::garbage::{garbage, throw};

pub(crate) fn web_echo() -> impl Protocol {
    WebSocket::server(message_fn(|peer, message| {
        peer.send(message);
        Ok(())
    }))
}

fn server() -> (EventLoop, SocketAddr) {
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop.listen("127.0.0.1:0", |_| Some(web_echo())).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    (event_loop, address)
}

/// A round trip of somebody who behaves.
fn hello(stream: &mut TcpStream) {
    stream.write_all(&frame(TEXT, b"hello")).unwrap();
    assert_eq!(read_message(stream), (TEXT, b"hello".to_vec()));
}

#[test]
fn messages_of_every_size_come_back() {
    let (mut event_loop, address) = server();
    drive(&mut event_loop, || {
        let mut stream = web_socket::open(address);
        let mut writer = stream.try_clone().unwrap();
        let sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 300_000, 5 << 20, 16 << 20];
        std::thread::scope(|scope| {
            scope.spawn(move || sizes.map(|len| writer.write_all(&frame(BINARY, &pattern(len))).unwrap()));
            for len in sizes {
                assert!(read_message(&mut stream) == (BINARY, pattern(len)), "{len} bytes");
            }
        });
        web_socket::close(&mut stream);
    });
    assert_nothing_left(&mut event_loop);
}

#[test]
fn frames_in_single_bytes_come_back() {
    let (mut event_loop, address) = server();
    drive(&mut event_loop, || {
        let mut stream = web_socket::open(address);
        for (opcode, len) in [(TEXT, 10), (BINARY, 200), (TEXT, 0)] {
            let payload = vec![b'x'; len];
            for byte in frame(opcode, &payload) {
                stream.write_all(&[byte]).unwrap();
            }
            assert_eq!(read_message(&mut stream), (opcode, payload));
        }
        web_socket::close(&mut stream);
    });
    assert_nothing_left(&mut event_loop);
}

#[test]
fn echoes_nobody_reads_hold_what_is_documented_and_slow_nobody_else() {
    const MESSAGE: usize = 50_000;
    let (mut event_loop, address) = server();
    let message = frame(BINARY, &[7; MESSAGE]);
    let (mut abusers, mut witness, written) = drive(&mut event_loop, || {
        let mut witness = web_socket::open(address);
        let mut abusers: Vec<TcpStream> = (0..5).map(|_| web_socket::open(address)).collect();
        let written = flood(&mut abusers, &message, || hello(&mut witness));
        (abusers, witness, written)
    });
    let limits = event_loop.core().limits();
    // The high-water mark and one answer of output; one read's rest; a message being put together.
    let bound = limits.high_water + MESSAGE + limits.read_budget + 2 * MESSAGE;
    let held = event_loop.core().held_bytes();
    assert!(held > 0 && held <= abusers.len() * bound, "{held} bytes held, {} at most", abusers.len() * bound);
    // Now they read after all, and get every message that was sent whole.
    drive(&mut event_loop, || {
        for (stream, written) in abusers.iter_mut().zip(written) {
            stream.shutdown(Shutdown::Write).unwrap();
            for _ in 0..written / message.len() {
                let (opcode, payload) = read_message(stream);
                assert!(opcode == BINARY && payload == [7; MESSAGE]);
            }
        }
        web_socket::close(&mut witness);
    });
    drop(abusers);
    assert_nothing_left(&mut event_loop);
}

#[test]
fn a_flood_of_pings_whose_pongs_nobody_reads_is_held_back_too() {
    let (mut event_loop, address) = server();
    let pings = frame(PING, &[b'p'; 125]).repeat(500);
    let (abusers, mut witness) = drive(&mut event_loop, || {
        let mut witness = web_socket::open(address);
        let mut abusers = [web_socket::open(address), web_socket::open(address)];
        flood(&mut abusers, &pings, || hello(&mut witness));
        (abusers, witness)
    });
    let limits = event_loop.core().limits();
    let bound = limits.high_water + 127 + limits.read_budget;
    let held = event_loop.core().held_bytes();
    assert!(held > 0 && held <= abusers.len() * bound, "{held} bytes held, {} at most", abusers.len() * bound);
    drive(&mut event_loop, || {
        for mut stream in abusers {
            for _ in 0..5000 {
                assert_eq!(read_message(&mut stream), (PONG, vec![b'p'; 125]));
            }
        }
        web_socket::close(&mut witness);
    });
    assert_nothing_left(&mut event_loop);
}

#[test]
fn bad_frames_are_answered_by_close_1002_though_much_was_sent_behind_them() {
    let (mut event_loop, address) = server();
    let unmasked = [&[0x82, 5][..], b"hello"].concat();
    let reserved = [&[0xf2, 0x85, 1, 2, 3, 4][..], b"hello"].concat();
    let unknown = [&[0x83, 0x85, 1, 2, 3, 4][..], b"hello"].concat();
    for (name, bad) in [("unmasked", unmasked), ("reserved bits", reserved), ("unknown opcode", unknown)] {
        for behind in [0, 1000, 300_000] {
            drive(&mut event_loop, || {
                let mut stream = web_socket::open(address);
                let all = [&frame(TEXT, b"before"), &bad, &vec![0xff; behind][..]].concat();
                stream.write_all(&all).unwrap();
                assert_eq!(read_message(&mut stream), (TEXT, b"before".to_vec()));
                let (opcode, payload) = read_message(&mut stream);
                assert_eq!((opcode, &payload[..2]), (CLOSE, &1002_u16.to_be_bytes()[..]), "{name}");
                assert_eq!(read_to_end(&mut stream), b"", "{name}: the end, and no reset");
            });
        }
    }
    assert_nothing_left(&mut event_loop);
}

#[test]
fn a_message_that_is_too_big_is_refused_at_its_header() {
    let (mut event_loop, address) = server();
    drive(&mut event_loop, || {
        let mut stream = web_socket::open(address);
        let header = [&[0x82, 0xff][..], &(u64::MAX >> 1).to_be_bytes(), &[1, 2, 3, 4], &[0; 100]].concat();
        stream.write_all(&header).unwrap();
        let (opcode, payload) = read_message(&mut stream);
        assert_eq!((opcode, &payload[..2]), (CLOSE, &1009_u16.to_be_bytes()[..]));
        assert_eq!(read_to_end(&mut stream), b"");
    });
    assert_nothing_left(&mut event_loop);
}

#[test]
fn half_closes_and_resets_at_any_point_leave_nothing() {
    let (mut event_loop, address) = server();
    let script = [frame(TEXT, b"hello"), frame(BINARY, &[7; 1000]), frame(PING, b"p")].concat();
    drive(&mut event_loop, || {
        for cut in (0..script.len()).step_by(37) {
            for reset in [false, true] {
                let mut stream = web_socket::open(address);
                stream.write_all(&script[..cut]).unwrap();
                if reset {
                    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                } else {
                    finish(&mut stream);
                }
            }
        }
    });
    assert_nothing_left(&mut event_loop);
}

#[test]
fn garbage_costs_nothing_afterwards() {
    let (mut event_loop, address) = server();
    drive(&mut event_loop, || {
        let mut sequence = Sequence::new(9);
        for bytes in garbage(&mut sequence) {
            throw(address, &bytes, &mut sequence); // instead of a handshake
            let mut stream = web_socket::open(address); // and behind one
            let _ = stream.write_all(&bytes); // it may have been refused at the first byte
            let _ = stream.shutdown(Shutdown::Write);
            let _ = std::io::copy(&mut (&mut stream).take(1 << 30), &mut std::io::sink());
        }
        let mut stream = web_socket::open(address);
        hello(&mut stream);
        web_socket::close(&mut stream);
    });
    assert_nothing_left(&mut event_loop);
}

#[test]
fn a_bad_request_gets_its_status() {
    let (mut event_loop, address) = server();
    for (request, status) in [
        (&b"nonsense\r\n\r\n"[..], "HTTP/1.1 400 "),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 426 "),
        (&[b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 20_000]].concat(), "HTTP/1.1 431 "),
    ] {
        let answer = drive(&mut event_loop, || {
            let mut stream = tcp(address);
            stream.write_all(request).unwrap();
            read_to_end(&mut stream)
        });
        assert!(answer.starts_with(status.as_bytes()), "{}", String::from_utf8_lossy(&answer));
    }
    assert_nothing_left(&mut event_loop);
}
