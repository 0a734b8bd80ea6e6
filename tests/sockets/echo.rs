//! Everything sent to an echo comes back, and then the end.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use switchboard::{EventLoop, Limits};
use switchboard_echo::{TcpEcho, UdpEcho};

use crate::common::{PATIENCE, assert_nothing_left, drive, finish, pattern, read_to_end, round_trip, tcp, turn_until};
use crate::pump::Pump;

const MIB: usize = 1024 * 1024;

/// A loop with a TCP echo, and its address.
fn tcp_echo() -> (EventLoop, SocketAddr) {
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    (event_loop, address)
}

#[test]
fn eight_mebibytes_and_a_half_close_come_back_whole_and_end() {
    let (mut event_loop, address) = tcp_echo();
    let sent = pattern(8 * MIB);
    let received = drive(&mut event_loop, || {
        let mut stream = tcp(address);
        let mut writer = stream.try_clone().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                writer.write_all(&sent).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            read_to_end(&mut stream)
        })
    });
    assert!(received == sent, "{} bytes came back", received.len());
    assert_nothing_left(&mut event_loop);
    let counters = event_loop.counters();
    assert_eq!((counters.bytes_in, counters.bytes_out), (sent.len() as u64, sent.len() as u64));
}

#[test]
fn eight_mebibytes_are_echoed_though_nothing_is_read_before_all_is_sent() {
    // The echo holds 256 KiB; the kernel's buffers must take the rest, or the client blocks. So the
    // client reads as soon as its writing blocks, and not before.
    let (mut event_loop, address) = tcp_echo();
    let sent = pattern(8 * MIB);
    let received = drive(&mut event_loop, || {
        let mut stream = tcp(address);
        stream.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        let (mut done, mut received, mut chunk) = (0, Vec::new(), vec![0; 64 * 1024]);
        while done < sent.len() {
            match stream.write(&sent[done..]) {
                Ok(written) => done += written,
                Err(_) => {
                    let count = stream.read(&mut chunk).unwrap();
                    received.extend_from_slice(&chunk[..count]);
                }
            }
        }
        received.extend(finish(&mut stream));
        received
    });
    assert!(received == sent, "{} bytes came back", received.len());
    assert_nothing_left(&mut event_loop);
}

#[test]
fn five_bytes_with_the_half_close_right_behind_are_echoed_and_answered_every_time() {
    let (mut event_loop, address) = tcp_echo();
    for round in 0..500_u64 {
        let mut stream = tcp(address);
        if round % 2 == 0 {
            // It stands already: bytes and half-close come in one wake-up.
            turn_until(&mut event_loop, "it is accepted", |it| it.counters().opened == round + 1);
        } // else all of it waits when it is accepted
        stream.write_all(b"12345").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        turn_until(&mut event_loop, "it has ended", |it| it.counters().closed == round + 1);
        assert_eq!(read_to_end(&mut stream), b"12345", "round {round}");
    }
    assert_nothing_left(&mut event_loop);
}

#[test]
fn one_byte_at_a_time_comes_back() {
    let (mut event_loop, address) = tcp_echo();
    drive(&mut event_loop, || {
        let mut stream = tcp(address);
        for byte in pattern(2000) {
            assert_eq!(round_trip(&mut stream, &[byte]), [byte]);
        }
        assert_eq!(finish(&mut stream), b"");
    });
    assert_nothing_left(&mut event_loop);
}

#[test]
fn who_half_closes_without_a_word_is_answered() {
    let (mut event_loop, address) = tcp_echo();
    drive(&mut event_loop, || assert_eq!(finish(&mut tcp(address)), b""));
    assert_nothing_left(&mut event_loop);
}

#[test]
fn many_clients_at_once_each_get_their_own_back() {
    let (mut event_loop, address) = tcp_echo();
    drive(&mut event_loop, || {
        thread::scope(|scope| {
            for client in 0..20 {
                scope.spawn(move || {
                    let mut stream = tcp(address);
                    for round in 0..50 {
                        let message = format!("client {client}, message {round}").repeat(1 + round * 7);
                        assert_eq!(round_trip(&mut stream, message.as_bytes()), message.as_bytes());
                    }
                    assert_eq!(finish(&mut stream), b"");
                });
            }
        });
    });
    assert_nothing_left(&mut event_loop);
}

#[test]
fn datagrams_of_0_to_65507_bytes_come_back() {
    let mut event_loop = EventLoop::new().unwrap();
    let socket = event_loop.bind_udp("127.0.0.1:0", UdpEcho).unwrap();
    let address = event_loop.local_addr(socket).unwrap();
    let sizes = [0, 1, 2, 100, 1471, 1472, 1473, 4096, 9000, 32_768, 65_506, 65_507];
    drive(&mut event_loop, || {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.connect(address).unwrap();
        for len in sizes.into_iter().chain((0..2000).step_by(13)) {
            let sent = pattern(len);
            client.send(&sent).unwrap();
            let mut received = vec![0; 65_535];
            let count = client.recv(&mut received).unwrap();
            assert!(received[..count] == sent, "{len} bytes");
        }
    });
    let counters = event_loop.core().socket_counters(socket);
    assert_eq!(counters.datagrams_in, counters.datagrams_out);
    assert_eq!((counters.datagrams_dropped, counters.datagram_errors), (0, 0));
}

#[test]
fn a_closed_datagram_client_does_not_disturb_the_next() {
    let mut event_loop = EventLoop::new().unwrap();
    let socket = event_loop.bind_udp("127.0.0.1:0", UdpEcho).unwrap();
    let address = event_loop.local_addr(socket).unwrap();
    for _ in 0..50 {
        // It is gone before its echo arrives: an ICMP refusal.
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"no reply needed", address).unwrap();
    }
    turn_until(&mut event_loop, "all arrive", |it| it.core().socket_counters(socket).datagrams_in == 50);
    drive(&mut event_loop, || {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.send_to(b"hello", address).unwrap();
        let mut received = [0; 16];
        assert_eq!(client.recv(&mut received).unwrap(), 5);
    });
}

/// Sends 64 MiB from a loop of its own while it takes as much, and says how much came.
fn pump_64_mebibytes(address: SocketAddr) -> Result<usize, String> {
    let mut client = EventLoop::new().unwrap();
    let (pump, result) = Pump::new(64 * MIB, 64 * MIB);
    client.connect(address, pump);
    client.run().unwrap();
    result.recv_timeout(PATIENCE).unwrap()
}

#[test]
fn two_loops_send_64_mebibytes_through_an_echo_and_finish() {
    let (mut server, address) = tcp_echo();
    let total = drive(&mut server, || pump_64_mebibytes(address));
    assert_eq!(total, Ok(64 * MIB));
    assert_nothing_left(&mut server);
}

#[test]
fn two_ends_that_send_64_mebibytes_to_each_other_finish() {
    // Both write before they read: with one mark for both, both would wait for ever.
    let limits = Limits { read_budget: 64 * 1024, ..Limits::default() };
    let mut server = EventLoop::with_limits(limits).unwrap();
    let (pump, received) = Pump::new(64 * MIB, 64 * MIB);
    let mut pump = Some(pump);
    let listener = server.listen("127.0.0.1:0", move |_| pump.take()).unwrap();
    let address = server.local_addr(listener).unwrap();
    let total = drive(&mut server, || pump_64_mebibytes(address));
    assert_eq!(total, Ok(64 * MIB));
    turn_until(&mut server, "its end has seen the end, too", |it| it.counters().closed == 1);
    assert_eq!(received.try_recv(), Ok(Ok(64 * MIB)));
}
