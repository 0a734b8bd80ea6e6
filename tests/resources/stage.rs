//! A loop on the network in memory, and a crowd of peers.

use std::net::SocketAddr;
use std::time::Duration;

use switchboard::testkit::{self, MemoryDriver, Network, Peer};
use switchboard::{EndpointId, EventLoop, Limits, Protocol};

use crate::common::web_socket::REQUEST;

pub(crate) struct Stage {
    pub(crate) event_loop: EventLoop<MemoryDriver>,
    network: Network,
    pub(crate) peers: Vec<Peer>,
}

impl Stage {
    /// Peers that have connected to this protocol.
    pub(crate) fn new<P: Protocol>(size: usize, mut protocol: impl FnMut() -> P + 'static) -> Self {
        let (driver, network) = testkit::network();
        let mut event_loop = EventLoop::with_driver(driver, Limits::default()).unwrap();
        let address = SocketAddr::from(([10, 0, 0, 1], 80));
        event_loop.listen(address, move |_| Some(protocol())).unwrap();
        let mut stage = Self { event_loop, network, peers: Vec::with_capacity(size) };
        while stage.peers.len() < size {
            // By and by: the network looks through its news.
            let few = (size - stage.peers.len()).min(50);
            stage.peers.extend((0..few).map(|_| stage.network.connect(address).unwrap()));
            stage.settle();
        }
        stage
    }

    /// All of them shake hands with a WebSocket.
    pub(crate) fn shake_hands(&mut self) {
        for start in (0..self.peers.len()).step_by(50) {
            let few = start..self.peers.len().min(start + 50);
            self.peers[few.clone()].iter().for_each(|peer| peer.send(REQUEST));
            self.settle();
            for peer in &self.peers[few] {
                assert!(peer.take_received().starts_with(b"HTTP/1.1 101 "));
            }
        }
    }

    pub(crate) fn turn(&mut self) {
        self.event_loop.turn(Some(Duration::ZERO)).unwrap();
    }

    pub(crate) fn settle(&mut self) {
        loop {
            self.turn();
            if !self.network.has_events() && self.event_loop.core().waiting_messages() == 0 {
                return;
            }
        }
    }

    pub(crate) fn ids(&self) -> Vec<EndpointId> {
        self.peers.iter().map(|peer| peer.id().unwrap()).collect()
    }
}
