//! The same on real sockets.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use switchboard::{Closing, EventLoop, Failure, Time};
use switchboard_reliable::{Closed, Handler, Peer, Reliable};

/// Sends messages of all lengths as there is room, and closes when all have come back.
struct Client {
    sent: usize,
    returned: usize,
    ended: Rc<RefCell<Option<(bool, usize, String)>>>,
}

const MESSAGES: usize = 400;

fn message(number: usize) -> Vec<u8> {
    (0..number * number % 65_000).map(|at| (at ^ number).to_le_bytes()[0]).collect()
}

impl Handler for Client {
    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        self.on_drain(peer)
    }

    fn on_drain(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        while self.sent < MESSAGES && peer.has_room() {
            peer.send(&message(self.sent)).map_err(Failure::caller)?;
            self.sent += 1;
        }
        Ok(())
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, received: &[u8]) -> Result<(), Failure> {
        assert!(received == message(self.returned), "message {}", self.returned);
        self.returned += 1;
        if self.returned == MESSAGES {
            peer.close();
        }
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, closed: &Closed<'_>) {
        *self.ended.borrow_mut() = Some((closed.clean, self.returned, closed.cause.to_string()));
    }
}

/// Repeats what it is told, and listens no faster than it is listened to.
struct Echo(Rc<Cell<usize>>);

impl Handler for Echo {
    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: &[u8]) -> Result<(), Failure> {
        self.0.set(self.0.get() + 1);
        peer.send(message).map_err(Failure::limit)?;
        if !peer.has_room() {
            peer.pause_reading();
        }
        Ok(())
    }

    fn on_drain(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        peer.resume_reading();
        Ok(())
    }
}

#[test]
fn messages_go_there_and_back_on_the_loopback() {
    let mut event_loop = EventLoop::new().unwrap();
    let received = Rc::new(Cell::new(0));
    let counted = Rc::clone(&received);
    let factory = move |_: &switchboard::Accepted| Some(Reliable::server(Echo(Rc::clone(&counted))));
    let socket = event_loop.bind_sessions("127.0.0.1:0", factory).unwrap();
    let address = event_loop.local_addr(socket).unwrap();
    let ended: Rc<RefCell<_>> = Rc::default();
    event_loop.connect_udp(address, Reliable::client(Client { sent: 0, returned: 0, ended: Rc::clone(&ended) }));
    let deadline = Time::ZERO + Duration::from_secs(60);
    while ended.borrow().is_none() && event_loop.core().now() < deadline {
        event_loop.turn(Some(Duration::from_secs(1))).unwrap();
    }
    assert_eq!(*ended.borrow(), Some((true, MESSAGES, "closed by this side".to_owned())));
    assert_eq!(received.get(), MESSAGES);
}
