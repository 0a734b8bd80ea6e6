//! Many peers that have each begun a message and do not go on: all the memory that this takes is declared to the loop,
//! whatever messages others finish meanwhile.

use std::net::SocketAddr;
use std::rc::Rc;

use allocation_counter::measure;
use switchboard::testkit::{MemoryDriver, Network, Peer as Remote, network};
use switchboard::{EventLoop, Failure, Limits};
use switchboard_proof::streams::{Frame, encode};
use switchboard_websocket::{Handler, Message, Peer, Settings, WebSocket};

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// What a connection has beside what it declares: the state of a message, and what the network in memory keeps for it.
const UNDECLARED: usize = 1024;
const SLOW: usize = 64;
/// Peers that send at the same time: at least as many as buffers are ever kept.
const BUSY: usize = 16;

struct Listener;

impl Handler for Listener {
    fn on_message(&mut self, _: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

struct World {
    event_loop: EventLoop<MemoryDriver>,
    network: Network,
    address: SocketAddr,
}

impl World {
    fn new() -> Self {
        let (driver, network) = network();
        let mut event_loop = EventLoop::with_driver(driver, Limits::default()).expect("the network has no faults");
        let address = SocketAddr::from(([10, 0, 0, 1], 80));
        let settings = Rc::new(Settings { heartbeat: None, ..Settings::default() });
        event_loop
            .listen(address, move |_| Some(WebSocket::with_settings(Listener, &settings)))
            .expect("the port is free");
        Self { event_loop, network, address }
    }

    fn settle(&mut self) {
        while self.network.has_events() || self.event_loop.next_deadline() == Some(self.event_loop.now()) {
            self.event_loop.turn(None).expect("the network has no faults");
        }
    }

    fn peers(&mut self, count: usize) -> Vec<Remote> {
        let connect = |_| self.network.connect(self.address).expect("somebody listens");
        let peers: Vec<_> = (0..count).map(connect).collect();
        peers.iter().for_each(|peer| peer.send(UPGRADE));
        self.settle();
        for peer in &peers {
            assert!(peer.take_received().starts_with(b"HTTP/1.1 101 "), "the handshake is in order");
        }
        peers
    }

    /// All of these send a message at the same time.
    fn send(&mut self, peers: &[Remote], length: usize) {
        let [begun, rest] = [false, true].map(|fin| frame(fin, length / 2));
        for part in [begun, rest] {
            peers.iter().for_each(|peer| peer.send(&part));
            self.settle();
        }
    }

    fn declared(&mut self) -> usize {
        let core = self.event_loop.core();
        core.held_bytes() + core.spare_bytes()
    }
}

/// Half of a message.
fn frame(fin: bool, length: usize) -> Vec<u8> {
    encode(&[Frame::new(fin, if fin { 0 } else { 2 }, Some([1, 2, 3, 4]), vec![b'x'; length])])
}

#[test]
fn what_messages_take_that_do_not_go_on_is_declared() {
    for length in [2, 1000, 10_000, 32 * 1024, 100_000] {
        let mut world = World::new();
        let (busy, slow) = (world.peers(BUSY), world.peers(SLOW));
        world.send(&busy, 100_000); // the network's own buffers have their size now
        let begun = frame(false, 10);
        let before = world.declared();
        let info = measure(|| {
            for peer in &slow {
                world.send(&busy, length);
                peer.send(&begun);
                world.settle();
            }
        });
        let allocated = usize::try_from(info.bytes_current).unwrap_or(0);
        let declared = world.declared().saturating_sub(before);
        assert!(
            allocated <= declared + SLOW * UNDECLARED,
            "{allocated} allocated, {declared} declared, of {length} each"
        );
        let held = world.event_loop.core().held_bytes();
        assert!(held <= SLOW * 8 * 1024, "{held} held by {SLOW} that have sent 10 bytes each");
        let open = world.event_loop.core().open_connections();
        assert_eq!(open, SLOW + BUSY);
    }
}
