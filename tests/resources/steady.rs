//! The steady state: no allocation a message, one read a burst.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};

use switchboard::{EventLoop, Layered, Protocol, SocketId};
use switchboard_echo::{TcpEcho, UdpEcho};
use switchboard_heartbeat::{Config, Heartbeat, IdleTimeout, PingPong};
use switchboard_websocket::{WebSocket, message_fn};

use crate::common::web_socket::{self, BINARY, PING, TEXT};
use crate::common::{PATIENCE, drive, finish, tcp, turn_until};
use crate::gauge::{alone, heap};

/// A loop with one connection, all on this thread.
fn connected<P: Protocol>(mut protocol: impl FnMut() -> P + 'static) -> (EventLoop, TcpStream) {
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop.listen("127.0.0.1:0", move |_| Some(protocol())).unwrap();
    let stream = tcp(event_loop.local_addr(listener).unwrap());
    turn_until(&mut event_loop, "it is accepted", |it| it.counters().opened == 1);
    (event_loop, stream)
}

/// Sends a burst, turns the loop until the answer is out, reads it, and says how many reads that took.
fn exchange(event_loop: &mut EventLoop, stream: &mut TcpStream, burst: &[u8], answer: &mut [u8]) -> u64 {
    let before = event_loop.counters();
    stream.write_all(burst).unwrap();
    while event_loop.counters().bytes_out < before.bytes_out + answer.len() as u64 {
        event_loop.turn(Some(PATIENCE)).unwrap();
    }
    stream.read_exact(answer).unwrap();
    event_loop.counters().reads - before.reads
}

#[test]
fn a_tcp_echo_allocates_nothing_a_message_and_reads_once_a_burst() {
    let _alone = alone();
    let (mut event_loop, mut stream) = connected(|| TcpEcho);
    for len in [1, 20, 320, 1024, 16 * 1024] {
        let (burst, mut answer) = (vec![7; len], vec![0; len]);
        for _ in 0..10 {
            exchange(&mut event_loop, &mut stream, &burst, &mut answer);
        }
        let heap = heap(|| {
            for _ in 0..1000 {
                assert_eq!(exchange(&mut event_loop, &mut stream, &burst, &mut answer), 1, "reads a burst");
            }
        });
        assert_eq!(heap.allocations, 0, "in a thousand bursts of {len} bytes");
        assert!(answer == burst);
    }
}

#[test]
fn large_bursts_allocate_nothing_either_once_it_runs() {
    let _alone = alone();
    let (mut event_loop, mut stream) = connected(|| TcpEcho);
    // Below the high-water mark's half: no pause, but many reads and partial writes.
    let (burst, mut answer) = (vec![7; 100 * 1024], vec![0; 100 * 1024]);
    let mut run = |times: usize| {
        for _ in 0..times {
            exchange(&mut event_loop, &mut stream, &burst, &mut answer);
        }
    };
    run(50);
    let heap = heap(|| run(200));
    println!("200 bursts of 100 KiB: {} allocations", heap.allocations);
    assert_eq!(heap.allocations, 0);
}

#[test]
fn heartbeat_lines_allocate_nothing() {
    let _alone = alone();
    let (mut event_loop, mut stream) = connected(|| Heartbeat::new(Config::default()).around(PingPong::default()));
    let mut answer = [0; 12];
    let mut run = |times: usize| {
        for _ in 0..times {
            exchange(&mut event_loop, &mut stream, b"PING 123456\n", &mut answer);
            assert_eq!(&answer, b"PONG 123456\n");
        }
    };
    run(10);
    assert_eq!(heap(|| run(1000)).allocations, 0);
}

#[test]
fn nor_does_a_conversation_of_which_each_read_leaves_something() {
    let _alone = alone();
    let (mut event_loop, mut stream) = connected(|| Heartbeat::new(Config::default()).around(PingPong::default()));
    stream.write_all(b"PING 12").unwrap();
    let mut answer = [0; 12];
    let mut run = |times: usize| {
        for _ in 0..times {
            exchange(&mut event_loop, &mut stream, b"3456\nPING 12", &mut answer);
            assert_eq!(&answer, b"PONG 123456\n");
        }
    };
    run(1000); // the buffer's end was reached a few times
    assert_eq!(heap(|| run(1000)).allocations, 0);
}

#[test]
fn a_web_socket_echo_allocates_nothing_a_message_and_reads_once_a_burst() {
    let _alone = alone();
    let (mut event_loop, mut stream) = connected(|| {
        WebSocket::server(message_fn(|peer, message| {
            peer.send(message);
            Ok(())
        }))
    });
    drive(&mut event_loop, || web_socket::shake_hands(&mut stream));
    for (opcode, len, header) in [(TEXT, 20, 2), (BINARY, 20, 2), (TEXT, 1024, 4), (BINARY, 16_384, 4), (PING, 20, 2)] {
        for depth in [1, 4] {
            let burst = web_socket::frame(opcode, &vec![b'x'; len]).repeat(depth);
            let mut answer = vec![0; (header + len) * depth];
            for _ in 0..10 {
                exchange(&mut event_loop, &mut stream, &burst, &mut answer);
            }
            let heap = heap(|| {
                for _ in 0..300 {
                    assert_eq!(exchange(&mut event_loop, &mut stream, &burst, &mut answer), 1, "reads a burst");
                }
            });
            assert_eq!(heap.allocations, 0, "in 300 bursts of {depth} frames of {len} bytes, opcode {opcode}");
            assert!(answer.ends_with(&vec![b'x'; len]));
        }
    }
}

#[test]
fn a_udp_echo_allocates_nothing_a_datagram() {
    let _alone = alone();
    let mut event_loop = EventLoop::new().unwrap();
    let socket = event_loop.bind_udp("127.0.0.1:0", UdpEcho).unwrap();
    echo_datagrams(&mut event_loop, socket);
}

#[test]
fn an_echo_on_a_session_allocates_nothing_a_datagram() {
    let _alone = alone();
    let mut event_loop = EventLoop::new().unwrap();
    let layered = |_: &_| Some(Layered::new(IdleTimeout::new(PATIENCE), TcpEcho));
    let socket = event_loop.bind_sessions("127.0.0.1:0", layered).unwrap();
    echo_datagrams(&mut event_loop, socket);
}

/// Sends datagrams of any size to an echo, and counts what it allocates for each.
fn echo_datagrams(event_loop: &mut EventLoop, socket: SocketId) {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.connect(event_loop.local_addr(socket).unwrap()).unwrap();
    let mut answer = vec![0; 65_535];
    for len in [0, 20, 1472, 65_507] {
        let datagram = vec![7; len];
        let mut run = |times: u64| {
            for _ in 0..times {
                let before = event_loop.counters().datagrams_out;
                client.send(&datagram).unwrap();
                while event_loop.counters().datagrams_out == before {
                    event_loop.turn(Some(PATIENCE)).unwrap();
                }
                assert_eq!(client.recv(&mut answer).unwrap(), len);
            }
        };
        run(10);
        assert_eq!(heap(|| run(500)).allocations, 0, "in 500 datagrams of {len} bytes");
    }
}

#[test]
fn a_connection_that_has_gone_quiet_keeps_no_buffer() {
    let _alone = alone();
    let (mut event_loop, mut stream) = connected(|| TcpEcho);
    let mut answer = [0; 20];
    exchange(&mut event_loop, &mut stream, &[7; 20], &mut answer);
    let burst = vec![7; 1 << 20];
    let heap = heap(|| {
        let mut answer = vec![0; burst.len()];
        stream.set_nonblocking(true).unwrap();
        let (mut sent, mut received) = (0, 0);
        while received < burst.len() {
            sent += stream.write(&burst[sent..]).unwrap_or(0);
            event_loop.turn(Some(std::time::Duration::ZERO)).unwrap();
            received += stream.read(&mut answer[received..]).unwrap_or(0);
        }
        stream.set_nonblocking(false).unwrap();
    });
    println!("after an echo of 1 MiB: {} bytes more, {} allocations", heap.change, heap.allocations);
    assert!(heap.change.abs() < 1000, "{} bytes remain", heap.change);
    assert_eq!(event_loop.core().held_bytes(), 0);
    assert_eq!(drive(&mut event_loop, || finish(&mut stream)), b"");
}
