//! What tests on real sockets share: a loop driven by the test's own thread, clients in others, and
//! a deadline on every wait.

#![allow(dead_code, reason = "each test program uses its part of it")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{self, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use switchboard::{EventLoop, Handle};
use switchboard_echo::TcpEcho;
use switchboard_heartbeat::{Config, Heartbeat, PingPong};

pub(crate) mod web_socket;

/// How long anything may take before a test says that it never happens.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Serves TCP echo on a free port.
pub(crate) fn listen_echo(event_loop: &mut EventLoop) -> SocketAddr {
    let listener = event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    event_loop.local_addr(listener).unwrap()
}

/// Serves heartbeat lines on a free port.
pub(crate) fn listen_heartbeat(event_loop: &mut EventLoop) -> SocketAddr {
    let heartbeat = |_: &_| Some(Heartbeat::new(Config::default()).around(PingPong::default()));
    let listener = event_loop.listen("127.0.0.1:0", heartbeat).unwrap();
    event_loop.local_addr(listener).unwrap()
}

/// The end of a wait.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn new() -> Self {
        Self(now() + PATIENCE)
    }

    /// What is left of it.
    ///
    /// Panics if nothing is.
    pub(crate) fn left(self, what: &str) -> Duration {
        let left = self.0.saturating_duration_since(now());
        assert!(!left.is_zero(), "{what}: not within {PATIENCE:?}");
        left
    }
}

#[expect(clippy::disallowed_methods, reason = "tests on real sockets live in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Wakes the loop when a client has ended, even by a panic.
struct WakeAtEnd<R>(Option<mpsc::Sender<R>>, Handle);

impl<R> Drop for WakeAtEnd<R> {
    fn drop(&mut self) {
        self.0 = None;
        let _ = self.1.run(|_| ()); // the loop may have ended
    }
}

/// Turns the loop on this thread while `client` runs on another, and gives what that returned.
pub(crate) fn drive<R: Send>(event_loop: &mut EventLoop, client: impl FnOnce() -> R + Send) -> R {
    let (sender, result) = mpsc::channel();
    let guard = WakeAtEnd(Some(sender), event_loop.handle());
    let deadline = Deadline::new();
    thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let guard = guard;
            let returned = client();
            guard.0.as_ref().map(|sender| sender.send(returned));
        });
        loop {
            match result.try_recv() {
                Ok(returned) => return returned,
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => event_loop.turn(Some(deadline.left("the client"))).unwrap(),
            }
        }
        let panic = thread.join().expect_err("it ended without a result");
        std::panic::resume_unwind(panic)
    })
}

/// Turns the loop until something is so.
pub(crate) fn turn_until(event_loop: &mut EventLoop, what: &str, mut is_so: impl FnMut(&mut EventLoop) -> bool) {
    let deadline = Deadline::new();
    while !is_so(event_loop) {
        event_loop.turn(Some(deadline.left(what))).unwrap();
    }
}

/// Turns the loop until all connections have gone, and checks that they left nothing.
pub(crate) fn assert_nothing_left(event_loop: &mut EventLoop) {
    turn_until(event_loop, "all connections go", |event_loop| event_loop.core().open_connections() == 0);
    let core = event_loop.core();
    assert_eq!((core.armed_timers(), core.held_bytes(), core.waiting_messages()), (0, 0, 0));
    assert_eq!(core.counters().open(), 0);
}

/// A client's connection. No call on it waits longer than [`PATIENCE`].
pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends `message` and reads as many bytes back.
pub(crate) fn round_trip(stream: &mut TcpStream, message: &[u8]) -> Vec<u8> {
    stream.write_all(message).unwrap();
    let mut answer = vec![0; message.len()];
    stream.read_exact(&mut answer).unwrap();
    answer
}

/// Half-closes, and reads what still comes, up to the end.
pub(crate) fn finish(stream: &mut TcpStream) -> Vec<u8> {
    stream.shutdown(Shutdown::Write).unwrap();
    read_to_end(stream)
}

pub(crate) fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    rest
}

/// `len` bytes that tell a wrong order, a gap and a repetition.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    // The period, 251 * 256, is no multiple of any buffer's size.
    (0..len).map(|n| ((n % 251) ^ (n / 251 % 256)).to_le_bytes()[0]).collect()
}

/// A cheap sequence of numbers that looks random and is the same in every run.
pub(crate) struct Sequence(u64);

impl Sequence {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `bound`. (Knuth's MMIX generator, upper half.)
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }
}
