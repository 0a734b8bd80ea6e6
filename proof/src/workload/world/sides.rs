//! Both sides of each dialect.

use std::cell::RefCell;
use std::rc::Rc;

use switchboard::{Failure, Layered, Protocol};
use switchboard_echo::TcpEcho;
use switchboard_heartbeat::{Config, Heartbeat, PingPong};
use switchboard_websocket::{Message as WebSocketMessage, Peer, WebSocket, message_fn};

use super::{HUB, Mood, SEALED_HUB, TUNNELLED_CALLER, WEBSOCKET, WEBSOCKET_CALLER};
use crate::workload::callers;
use crate::workload::dialects::{self, Chat, Echo, Pings};
use crate::workload::hub::{Board, Hub, Visitor};
use crate::workload::servers::{Cipher, Member, Ring, Upgrading};
use crate::workload::talker::{Dialect, Record, Talker};

/// The server's side of a dialect.
pub(super) fn serve(dialect: u16, ring: &Rc<RefCell<Ring>>, board: &Rc<RefCell<Board>>) -> Box<dyn Protocol> {
    match dialect {
        0 => Box::new(TcpEcho),
        1 => Box::new(Layered::new(Cipher::default(), TcpEcho)),
        2 => Box::new(Upgrading),
        3 => Box::new(Layered::new(Cipher::default(), Layered::new(Cipher::default(), Upgrading))),
        4 => Box::new(Heartbeat::new(Config::default()).around(PingPong::default())),
        WEBSOCKET => Box::new(WebSocket::server(message_fn(send_back))),
        WEBSOCKET_CALLER => Box::new(callers::serve_whole(&ring.borrow().unsent)),
        TUNNELLED_CALLER => Box::new(callers::serve_tunnelled(&ring.borrow().unsent)),
        HUB => Box::new(Hub(Rc::clone(board))),
        SEALED_HUB => Box::new(Layered::new(Cipher::default(), Hub(Rc::clone(board)))),
        _ => Box::new(Member(Rc::clone(ring))),
    }
}

fn send_back(peer: &mut Peer<'_, '_>, message: WebSocketMessage<'_>) -> Result<(), Failure> {
    peer.send(message);
    Ok(())
}

/// The client's side of a dialect.
pub(super) fn talk(dialect: u16, name: u32, mood: Mood, record: &Rc<RefCell<Record>>) -> Box<dyn Protocol> {
    fn talker<D: Dialect>(name: &'static str, dialect: D, record: &Rc<RefCell<Record>>) -> Box<dyn Protocol> {
        record.borrow_mut().dialect = name;
        Box::new(Talker::new(dialect, Rc::clone(record)))
    }
    match dialect {
        0 => talker("echo", Echo::default(), record),
        1 => talker("sealed echo", Echo::default(), record),
        2 => talker("upgrade", Echo::after_upgrade(), record),
        3 => Box::new(Layered::new(
            Cipher::default(),
            Layered::new(Cipher::default(), talker("sealed upgrade", Echo::after_upgrade(), record)),
        )),
        4 => talker("heartbeat", Pings::default(), record),
        WEBSOCKET => talker("websocket", dialects::WebSocket::default(), record),
        WEBSOCKET_CALLER => {
            record.borrow_mut().dialect = "websocket caller";
            Box::new(callers::call(name, record))
        }
        TUNNELLED_CALLER => {
            record.borrow_mut().dialect = "tunnelled caller";
            Box::new(callers::call_through_tunnel(name, record))
        }
        HUB => talker("hub", Visitor::new(mood != Mood::Gentle), record),
        SEALED_HUB => {
            let visitor = Visitor::new(mood != Mood::Gentle);
            Box::new(Layered::new(Cipher::default(), talker("sealed hub", visitor, record)))
        }
        _ => talker("chat", Chat::new(name), record),
    }
}
