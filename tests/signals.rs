//! Signals that the loop must not raise. A program of its own: what handles a signal does so for the whole process.

#![cfg(any(target_os = "linux", target_os = "android"))]
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

mod common;

use std::cell::RefCell;
use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::SIGPIPE;
use socket2::SockRef;
use switchboard::{Bytes, CloseReason, Closing, Context, EventLoop, Failure, Input, Protocol};

use crate::common::{Deadline, tcp, turn_until};

const ANSWER: &[u8] = &[b'a'; 2000];

/// The peer's socket, and why its connection closed with how much unsent.
#[derive(Clone, Default)]
struct Shared {
    peer: Rc<RefCell<Option<OwnedFd>>>,
    why: Rc<RefCell<Option<(ErrorKind, usize)>>>,
}

/// Answers, without a copy, a peer that has gone meanwhile.
struct Answering(Shared);

impl Protocol for Answering {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        input.take_all();
        if let Some(peer) = self.0.peer.take() {
            // Its end before the reset: so the first write after it fails with EPIPE, not with ECONNRESET.
            SockRef::from(&peer).shutdown(Shutdown::Write).unwrap();
        }
        cx.send_shared(Bytes::from_static(ANSWER));
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, reason: &CloseReason) {
        if let CloseReason::Io { error, unsent } = reason {
            *self.0.why.borrow_mut() = Some((error.kind(), *unsent));
        }
    }
}

/// Peers connect and go until one has gone before the answer was written: a reset may take its time.
fn answer_one_that_has_gone(event_loop: &mut EventLoop, shared: &Shared, connect: impl Fn() -> OwnedFd) {
    let deadline = Deadline::new();
    loop {
        *shared.peer.borrow_mut() = Some(connect());
        let closed = event_loop.counters().closed;
        turn_until(event_loop, "the connection closes", |event_loop| event_loop.counters().closed > closed);
        if shared.why.take() == Some((ErrorKind::BrokenPipe, ANSWER.len())) {
            return;
        }
        deadline.left("a write fails with EPIPE");
    }
}

/// A host that does not ignore the signal, as Rust's runtime does, would end by it.
#[test]
fn an_answer_to_a_peer_that_has_gone_raises_no_sigpipe() {
    let raised = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGPIPE, Arc::clone(&raised)).unwrap();
    let shared = Shared::default();
    let mut event_loop = EventLoop::new().unwrap();

    let of_tcp = shared.clone();
    let listener = event_loop.listen("127.0.0.1:0", move |_| Some(Answering(of_tcp.clone()))).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    answer_one_that_has_gone(&mut event_loop, &shared, || {
        let mut stream: TcpStream = tcp(address);
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        stream.write_all(b"question").unwrap();
        stream.into()
    });
    assert!(!raised.load(Ordering::Relaxed), "by TCP");

    let of_unix = shared.clone();
    let path = std::env::temp_dir().join(format!("switchboard-signals-{}", std::process::id()));
    event_loop.listen_unix(&path, move |_| Some(Answering(of_unix.clone()))).unwrap();
    answer_one_that_has_gone(&mut event_loop, &shared, || {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"question").unwrap();
        stream.into()
    });
    assert!(!raised.load(Ordering::Relaxed), "by a Unix stream");
}
