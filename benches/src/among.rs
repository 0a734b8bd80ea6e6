//! Few that speak among many, on the network in memory: no kernel's lists are between one and the other.

use std::net::SocketAddr;
use std::time::Duration;

use switchboard::testkit::{self, MemoryDriver, Peer};
use switchboard::{EventLoop, Limits};
use switchboard_echo::TcpEcho;

use crate::WARM_UP;

/// How many speak in a round.
const SPEAKERS: usize = 64;
const WORDS: &[u8] = b"Is anybody there? No";

/// A server with its connections, most of them idle.
pub struct Among {
    event_loop: EventLoop<MemoryDriver>,
    peers: Vec<Peer>,
    round: usize,
}

impl Among {
    /// So many connections, 64 at least.
    ///
    /// # Panics
    /// If one can't be opened.
    #[must_use]
    pub fn new(connections: usize) -> Self {
        let (driver, network) = testkit::network();
        let limits = Limits { connections, ..Limits::default() };
        let mut event_loop = EventLoop::with_driver(driver, limits).expect("a loop");
        let address = SocketAddr::from(([10, 0, 0, 1], 7));
        event_loop.listen(address, |_| Some(TcpEcho)).expect("a free port");
        let mut peers = Vec::with_capacity(connections);
        while peers.len() < connections {
            let come = SPEAKERS.min(connections - peers.len());
            peers.extend((0..come).map(|_| network.connect(address).expect("a connection")));
            while network.has_events() {
                event_loop.turn(Some(Duration::ZERO)).expect("a turn");
            }
        }
        let mut among = Self { event_loop, peers, round: 0 };
        (0..WARM_UP).for_each(|_| among.round());
        among
    }

    /// Other 64 than before speak, and are answered in one turn.
    ///
    /// # Panics
    /// If they are not.
    pub fn round(&mut self) {
        let stride = self.peers.len() / SPEAKERS;
        self.round += 7919;
        let speakers = || self.peers.iter().skip(self.round % stride).step_by(stride).take(SPEAKERS);
        speakers().for_each(|peer| peer.send(WORDS));
        self.event_loop.turn(Some(Duration::ZERO)).expect("a turn");
        speakers().for_each(|peer| assert_eq!(peer.take_received(), WORDS, "another echo"));
    }
}
