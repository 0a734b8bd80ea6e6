//! What the system says once of a connection that broke is what its protocol hears.

use std::cell::RefCell;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use switchboard::{CloseReason, Closing, Context, EventLoop, Failure, Input, Protocol};

use crate::common::PATIENCE;

/// Answers whatever comes with as many bytes, when its peer has reset meanwhile, and notes why it closed.
struct Answering {
    bytes: usize,
    peer: Rc<RefCell<Option<TcpStream>>>,
    why: Rc<RefCell<Option<(ErrorKind, usize)>>>,
}

impl Protocol for Answering {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        input.take_all();
        reset(self.peer.take());
        cx.send(&vec![b'a'; self.bytes]);
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, reason: &CloseReason) {
        if let CloseReason::Io { error, unsent } = reason {
            *self.why.borrow_mut() = Some((error.kind(), *unsent));
        }
    }
}

fn reset(stream: Option<TcpStream>) {
    if let Some(stream) = stream {
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

#[test]
fn an_answer_to_a_peer_that_has_reset_fails_with_the_reset() {
    for (bytes, before) in [(10, false), (10, true), (10_000, false), (100_000, false), (100_000, true)] {
        let (why, peer) = (Rc::new(RefCell::new(None)), Rc::new(RefCell::new(None)));
        let mut event_loop = EventLoop::new().unwrap();
        let of_loop = (Rc::clone(&why), Rc::clone(&peer));
        let listener = event_loop.listen("127.0.0.1:0", move |_| {
            Some(Answering { bytes, why: Rc::clone(&of_loop.0), peer: Rc::clone(&of_loop.1) })
        });
        let address = event_loop.local_addr(listener.unwrap()).unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        while event_loop.core().open_connections() == 0 {
            event_loop.turn(Some(PATIENCE)).unwrap();
        }
        stream.write_all(b"question").unwrap();
        *peer.borrow_mut() = Some(stream);
        if before {
            reset(peer.take());
        }
        while event_loop.core().open_connections() > 0 {
            event_loop.turn(Some(PATIENCE)).unwrap();
        }
        assert_eq!(why.take(), Some((ErrorKind::ConnectionReset, bytes)), "reset before it was read: {before}");
        let counters = event_loop.counters();
        assert_eq!((counters.bytes_in, counters.bytes_out, counters.bytes_unsent), (8, 0, bytes as u64));
    }
}

/// Waits for more than ever comes, and notes how it ends.
struct Waiting {
    answers: bool,
    notes: Rc<RefCell<Vec<String>>>,
}

impl Protocol for Waiting {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        input.wait_for(100_000);
        if self.answers {
            cx.send(b"go on");
        }
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
        self.notes.borrow_mut().push("eof".to_owned());
        cx.close();
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, reason: &CloseReason) {
        let why =
            if let CloseReason::Io { error, .. } = reason { error.kind().to_string() } else { reason.to_string() };
        self.notes.borrow_mut().push(why);
    }
}

/// The read that follows at once the one of a message's beginning hears of the reset: it says so once.
#[test]
fn a_message_cut_off_by_a_reset_is_no_end_of_the_stream() {
    for (bytes, answers) in [(1, false), (10_000, false), (99_999, false), (10_000, true)] {
        let notes = Rc::new(RefCell::new(Vec::new()));
        let mut event_loop = EventLoop::new().unwrap();
        let of_loop = Rc::clone(&notes);
        let listener = event_loop.listen("127.0.0.1:0", move |_| Some(Waiting { answers, notes: Rc::clone(&of_loop) }));
        let address = event_loop.local_addr(listener.unwrap()).unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        while event_loop.core().open_connections() == 0 {
            event_loop.turn(Some(PATIENCE)).unwrap();
        }
        stream.write_all(&vec![b'm'; bytes]).unwrap();
        reset(Some(stream));
        while event_loop.core().open_connections() > 0 {
            event_loop.turn(Some(PATIENCE)).unwrap();
        }
        assert_eq!(notes.take(), [ErrorKind::ConnectionReset.to_string()], "{bytes} bytes before it");
    }
}
