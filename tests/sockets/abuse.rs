//! Clients that never read, and what the others see of them.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use switchboard::{EventLoop, Limits};
use switchboard_echo::TcpEcho;
use switchboard_heartbeat::{Config, Heartbeat, PingPong};

use crate::common::{assert_nothing_left, drive, finish, round_trip, tcp, turn_until};

/// Writes until the loop and the kernel take no more, although the loop has had its turns: those
/// are proved by round trips of a witness. Gives how much was written.
pub(crate) fn flood(streams: &mut [TcpStream], message: &[u8], mut witness: impl FnMut()) -> Vec<usize> {
    let mut written = vec![0; streams.len()];
    let mut quiet_rounds = 0;
    for stream in &mut *streams {
        stream.set_nonblocking(true).unwrap();
    }
    while quiet_rounds < 20 {
        let before: usize = written.iter().sum();
        for (stream, written) in streams.iter_mut().zip(&mut written) {
            loop {
                // What was cut off is gone on with: the peer sees whole messages, end to end.
                match stream.write(&message[*written % message.len()..]) {
                    Ok(count) => *written += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        witness();
        let progress = written.iter().sum::<usize>() > before;
        quiet_rounds = if progress { 0 } else { quiet_rounds + 1 };
    }
    for stream in &mut *streams {
        stream.set_nonblocking(false).unwrap();
    }
    written
}

/// A round trip of somebody who behaves.
fn hello(stream: &mut TcpStream) {
    assert_eq!(round_trip(stream, b"hello"), b"hello");
}

/// What one connection may hold of an echo that nobody reads: the high-water mark of output, and
/// one read that was not echoed any more.
fn bound(limits: &Limits) -> usize {
    limits.high_water + limits.read_budget
}

/// A loop, and the addresses of an echo and a heartbeat on it.
fn server() -> (EventLoop, SocketAddr, SocketAddr) {
    let mut event_loop = EventLoop::new().unwrap();
    let echo = event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    let heartbeat = event_loop
        .listen("127.0.0.1:0", |_| Some(Heartbeat::new(Config::default()).around(PingPong::default())))
        .unwrap();
    let addresses = [echo, heartbeat].map(|it| event_loop.local_addr(it).unwrap());
    (event_loop, addresses[0], addresses[1])
}

#[test]
fn echoes_nobody_reads_hold_what_is_documented_and_slow_nobody_else() {
    const ABUSERS: usize = 10;
    let (mut event_loop, echo, _) = server();
    let message = vec![b'x'; 64 * 1024];
    let (mut abusers, mut witness, written) = drive(&mut event_loop, || {
        let mut witness = tcp(echo);
        let mut abusers: Vec<TcpStream> = (0..ABUSERS).map(|_| tcp(echo)).collect();
        let written = flood(&mut abusers, &message, || hello(&mut witness));
        (abusers, witness, written)
    });
    let held = event_loop.core().held_bytes();
    let most = ABUSERS * bound(event_loop.core().limits());
    assert!(held > 0 && held <= most, "{held} bytes held, {most} at most");
    // Now they read after all: not a byte was lost.
    drive(&mut event_loop, || {
        for (stream, written) in abusers.iter_mut().zip(written) {
            assert_eq!(finish(stream).len(), written);
        }
        finish(&mut witness);
    });
    assert_nothing_left(&mut event_loop);
}

#[test]
fn abusers_that_leave_give_everything_back() {
    let (mut event_loop, echo, _) = server();
    let message = vec![b'x'; 64 * 1024];
    drive(&mut event_loop, || {
        let mut witness = tcp(echo);
        let mut abusers = [tcp(echo), tcp(echo), tcp(echo)];
        flood(&mut abusers, &message, || hello(&mut witness));
        finish(&mut witness);
    });
    assert_nothing_left(&mut event_loop);
}

#[test]
fn a_flood_of_pings_whose_pongs_nobody_reads_is_held_back_too() {
    let (mut event_loop, echo, heartbeat) = server();
    let (abusers, mut witness) = drive(&mut event_loop, || {
        let mut witness = tcp(echo);
        let mut abusers = [tcp(heartbeat), tcp(heartbeat)];
        flood(&mut abusers, &b"PING 4294967295\n".repeat(4096), || hello(&mut witness));
        (abusers, witness)
    });
    let held = event_loop.core().held_bytes();
    // A pong is as long as its ping: the answers of one read come on top of the high-water mark.
    let most = abusers.len() * bound(event_loop.core().limits());
    assert!(held > 0 && held <= most, "{held} bytes held, {most} at most");
    drive(&mut event_loop, || {
        for mut stream in abusers {
            let mut pongs = vec![0; 1 << 20];
            stream.read_exact(&mut pongs).unwrap();
            assert!(pongs.starts_with(b"PONG 4294967295\n"), "answered in order");
        }
        finish(&mut witness);
    });
    assert_nothing_left(&mut event_loop);
}

#[test]
fn resets_with_output_waiting_leave_nothing() {
    let (mut event_loop, echo, _) = server();
    let message = vec![b'x'; 64 * 1024];
    for _ in 0..5 {
        drive(&mut event_loop, || {
            let mut witness = tcp(echo);
            let mut abusers = [tcp(echo), tcp(echo)];
            flood(&mut abusers, &message, || hello(&mut witness));
            for stream in abusers {
                let linger = socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
                linger.unwrap();
            }
            finish(&mut witness);
        });
        assert_nothing_left(&mut event_loop);
    }
}

#[test]
fn a_ping_in_single_bytes_is_answered() {
    let (mut event_loop, _, heartbeat) = server();
    drive(&mut event_loop, || {
        let mut stream = tcp(heartbeat);
        for byte in b"PING 7\nPING 8\n" {
            stream.write_all(&[*byte]).unwrap();
        }
        let mut answer = [0; 14];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"PONG 7\nPONG 8\n");
        assert_eq!(finish(&mut stream), b"");
    });
    turn_until(&mut event_loop, "it has gone", |it| it.core().open_connections() == 0);
    assert_nothing_left(&mut event_loop);
}
