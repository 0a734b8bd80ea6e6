//! What is asked of the system for datagrams that come one at a time, and for others.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use super::*;
use crate::driver::{Driver, MioDriver, Outgoing, Received};
use crate::handle::Handle;
use crate::{EndpointId, Limits};

/// What the system has for a socket, and what it was asked for.
#[derive(Default)]
struct System {
    waiting: VecDeque<Vec<u8>>,
    asked: Vec<String>,
    has_room: bool,
}

#[derive(Clone, Default)]
struct Told(Rc<RefCell<System>>);

fn peer() -> SocketAddr {
    ([10, 0, 0, 2], 7).into()
}

impl Socket for Told {
    fn recv_from(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let payload = self.0.borrow_mut().waiting.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        buffer[..payload.len()].copy_from_slice(&payload);
        Ok(Received { len: payload.len(), source: peer(), local: None, ecn: None })
    }

    fn send_to(&mut self, payload: &[u8], target: SocketAddr, _: Option<IpAddr>) -> io::Result<()> {
        assert_eq!(target, peer());
        let mut system = self.0.borrow_mut();
        system.asked.push(format!("send {}", String::from_utf8_lossy(payload)));
        if system.has_room { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn recv_batch(&mut self, batch: &mut Batch) -> io::Result<()> {
        self.0.borrow_mut().asked.push(if batch.room() == 1 { "receive one" } else { "receive" }.into());
        batch.fill(self)
    }

    fn send_batch(&mut self, datagrams: Outgoing<'_>) -> io::Result<usize> {
        let mut system = self.0.borrow_mut();
        system.asked.push(format!("send {} at once", datagrams.len()));
        if system.has_room { Ok(datagrams.len()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(peer())
    }
}

/// Sends all back, or a copy where that begins with a capital; fails at `!`.
struct Echo;

impl DatagramProtocol for Echo {
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, datagram: Datagram<'_>) -> Result<(), Failure> {
        match datagram.payload {
            [b'!', ..] => Err(Failure::peer("not this")),
            [b'A'..=b'Z', ..] => {
                cx.send_to(datagram.source, datagram.payload);
                Ok(())
            }
            _ => {
                cx.send_back(datagram);
                Ok(())
            }
        }
    }
}

struct World {
    system: Told,
    core: Core,
    shop: DatagramWorkshop,
    socket: UdpEndpoint<Told>,
}

fn world(limits: Limits) -> World {
    let driver = MioDriver::new().expect("the system has descriptors");
    let core = Core::new(limits, [0; 32], Handle::new(driver.waker(), 1));
    let system = Told::default();
    system.0.borrow_mut().has_room = true;
    let id = SocketId { endpoint: EndpointId::from_key(0), counters: 0 };
    let socket = UdpEndpoint::new(system.clone(), id, Box::new(Echo), Time::ZERO);
    World { system, core, shop: DatagramWorkshop::default(), socket }
}

impl World {
    /// What is asked for where these have come.
    fn visit(&mut self, come: &[&str]) -> Vec<String> {
        self.system.0.borrow_mut().waiting.extend(come.iter().map(|text| text.as_bytes().to_vec()));
        let _ = self.socket.on_readable(&mut self.core, &mut self.shop);
        std::mem::take(&mut self.system.0.borrow_mut().asked)
    }
}

#[test]
fn a_lone_datagram_is_answered_before_the_system_is_asked_for_more() {
    let mut world = world(Limits::default());
    assert_eq!(world.visit(&["one"]), ["receive", "send one"]);
    for _ in 0..2 {
        assert_eq!(world.visit(&["one"]), ["receive one", "send one", "receive one"]);
        assert_eq!(world.visit(&["Copy"]), ["receive one", "send Copy", "receive one"]);
    }
    let several = ["receive one", "send a", "receive one", "send b", "receive", "send 2 at once"];
    assert_eq!(world.visit(&["a", "b", "c", "d"]), several);
    assert_eq!(world.visit(&["a", "b", "c"]), ["receive", "send 3 at once"], "they come together again");
    let counters = world.core.counters();
    assert_eq!((counters.datagrams_in, counters.datagrams_out), (12, 12));
    assert_eq!((counters.bytes_in, counters.bytes_out), (24, 24));
}

#[test]
fn a_turns_budget_holds_for_lone_datagrams() {
    let mut world = world(Limits { datagrams_per_turn: 1, ..Limits::default() });
    assert_eq!(world.visit(&["a", "b"]), ["receive one", "send a"]);
    assert_eq!(world.core.ready, [world.socket.link.id], "the rest is served in the next turn");
    let _ = world.socket.on_ready(&mut world.core, &mut world.shop);
    assert_eq!(world.core.counters().datagrams_out, 2);
}

#[test]
fn a_lone_datagram_waits_where_there_is_no_room_and_a_failure_ends_the_socket() {
    let mut world = world(Limits::default());
    let _ = world.visit(&["one"]);
    world.system.0.borrow_mut().has_room = false;
    assert_eq!(world.visit(&["two"]), ["receive one", "send two", "receive one"]);
    assert_eq!(world.visit(&["three"]), ["receive one", "receive one"], "behind the other");
    assert!(!world.socket.outlet.is_empty() && world.core.held > 0);
    world.system.0.borrow_mut().has_room = true;
    let _ = world.socket.on_event(&mut world.core, &mut world.shop, Ready { writable: true, ..Ready::default() });
    assert_eq!(std::mem::take(&mut world.system.0.borrow_mut().asked), ["send 2 at once"]);
    assert_eq!((world.core.counters().datagrams_out, world.core.held), (3, 0));
    world.system.0.borrow_mut().waiting.push_back(b"!".to_vec());
    assert_eq!(world.socket.on_readable(&mut world.core, &mut world.shop), UdpStatus::Gone);
    assert_eq!(world.core.counters().datagrams_dropped, 0);
}
