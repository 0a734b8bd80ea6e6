//! Connecting by name, with the system's resolver.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use switchboard::{CloseReason, Closing, Context, EventLoop, Failure, Input, Protocol};
use switchboard_echo::TcpEcho;

use crate::common::{assert_nothing_left, listen_echo, turn_until};

/// Says hello, and notes what comes of it.
struct Caller(Rc<RefCell<Vec<String>>>);

impl Protocol for Caller {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.send(b"hello");
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        if input.len() == b"hello".len() {
            input.take_all();
            cx.close();
        }
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, reason: &CloseReason) {
        self.0.borrow_mut().push(reason.to_string());
    }
}

#[test]
fn the_systems_own_name_is_found() {
    let mut event_loop = EventLoop::new().unwrap();
    let port = listen_echo(&mut event_loop).port(); // on IPv4 alone, whichever is tried first
    let ends = Rc::default();
    for _ in 0..100 {
        event_loop.connect(("localhost", port), Caller(Rc::clone(&ends)));
    }
    turn_until(&mut event_loop, "all have ended", |_| ends.borrow().len() == 100);
    assert!(ends.borrow().iter().all(|reason| reason == "closed by this side"), "{ends:?}");
    assert_nothing_left(&mut event_loop);
}

#[test]
fn where_nobody_listens_all_addresses_are_named() {
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    let port = event_loop.local_addr(listener).unwrap().port();
    event_loop.core().close(listener);
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    let ends = Rc::default();
    event_loop.connect(("localhost", port), Caller(Rc::clone(&ends)));
    turn_until(&mut event_loop, "it is told", |_| !ends.borrow().is_empty());
    let reason = ends.take().remove(0);
    assert!(reason.starts_with(&format!("could not connect: localhost:{port}: ")), "{reason}");
    assert!(reason.contains(&format!("127.0.0.1:{port}: ")), "{reason}");
    assert_nothing_left(&mut event_loop);
}

/// `.invalid` is the domain of names that do not exist (RFC 6761 §6.4).
#[test]
fn a_name_that_nobody_has_is_named() {
    let mut event_loop = EventLoop::new().unwrap();
    let ends = Rc::default();
    event_loop.connect(("nobody.invalid", 80), Caller(Rc::clone(&ends)));
    turn_until(&mut event_loop, "it is told", |_| !ends.borrow().is_empty());
    let reason = ends.take().remove(0);
    let slow = reason == "could not connect within 10s"; // where no name server answers
    assert!(slow || reason.starts_with("could not connect: nobody.invalid:80: "), "{reason}");
    assert_nothing_left(&mut event_loop);
}

#[test]
fn a_loop_ends_although_a_name_is_looked_up() {
    let mut event_loop = EventLoop::new().unwrap();
    let ends = Rc::default();
    let id = event_loop.connect(("nobody.invalid", 80), Caller(Rc::clone(&ends)));
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    event_loop.core().close(id);
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(ends.take(), ["aborted by this side, 0 bytes unsent"]);
    event_loop.connect(("nobody.invalid", 80), Caller(Rc::clone(&ends)));
    drop(event_loop);
    assert_eq!(ends.take(), ["cut off at the end of the drain, 0 bytes unsent"]);
}
