//! A client that connects again, and its servers, which are scripted.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::{self, MemoryDriver, Network, Peer};
use switchboard::{Backoff, EventLoop, Jitter, Limits, Reconnecting};
use switchboard_websocket::{Connect, Reconnect};

use crate::common::server::{Asking, URL, switching};
use crate::common::{Log, Logged};
use crate::{LONG, SECOND};

/// One client on a loop of its own, whose servers are scripted.
pub(crate) struct World {
    pub(crate) event_loop: EventLoop<MemoryDriver>,
    pub(crate) network: Network,
    pub(crate) log: Log,
    pub(crate) client: Reconnecting,
    pub(crate) over: Rc<Cell<bool>>,
}

pub(crate) type Make = fn(Reconnect<Asking>) -> Reconnect<Asking>;

impl World {
    /// A client whose waits are 1, 2, 4 and so on seconds, for certain.
    pub(crate) fn new(make: Make) -> Self {
        let (driver, network) = testkit::network();
        let mut event_loop = EventLoop::with_driver(driver, Limits::default()).unwrap();
        let (log, over) = (Log::default(), Rc::new(Cell::new(false)));
        let (logged, said) = (Rc::clone(&log), Rc::clone(&over));
        let handler = move |_| Asking(Logged { log: Rc::clone(&logged), echo: true });
        let backoff = Backoff { first: SECOND, jitter: Jitter::None, ..Backoff::default() };
        let reconnect = Reconnect::new(("10.0.0.1", 80), Connect::to(URL).unwrap(), handler);
        let reconnect = make(reconnect.backoff(backoff)).when_over(move |_, _| said.set(true));
        let client = reconnect.start(event_loop.core());
        let mut world = Self { event_loop, network, log, client, over };
        world.settle();
        world
    }

    pub(crate) fn settle(&mut self) {
        while self.network.has_events() || self.event_loop.next_deadline().is_some_and(|due| due <= self.network.now())
        {
            self.event_loop.turn(None).unwrap();
        }
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        let until = self.network.now() + by;
        while let Some(due) = self.event_loop.next_deadline().filter(|&due| due <= until) {
            self.network.advance(due.saturating_since(self.network.now()));
            self.settle();
        }
        self.network.advance(until.saturating_since(self.network.now()));
        self.settle();
    }

    /// The next attempt to connect, within a long time.
    pub(crate) fn next(&mut self) -> Option<Peer> {
        let until = self.network.now() + LONG;
        loop {
            if let Some(peer) = self.network.next_outgoing() {
                return Some(peer);
            }
            let due = self.event_loop.next_deadline().filter(|&due| due <= until)?;
            self.advance(due.saturating_since(self.network.now()));
        }
    }

    /// The next attempt's connection stands; what it asks for.
    pub(crate) fn asked(&mut self) -> (Peer, String) {
        let peer = self.next().expect("an attempt");
        peer.establish();
        self.settle();
        let request = String::from_utf8(peer.take_received()).unwrap();
        (peer, request)
    }

    /// The next attempt's WebSocket stands.
    pub(crate) fn opened(&mut self) -> Peer {
        let (peer, request) = self.asked();
        self.feed(&peer, switching(&request));
        peer
    }

    pub(crate) fn feed(&mut self, peer: &Peer, bytes: impl AsRef<[u8]>) {
        peer.send(bytes.as_ref());
        self.settle();
    }

    /// The server goes; how long the client waits then until its next attempt, if it makes one.
    pub(crate) fn wait(&mut self, peer: &Peer) -> Option<u64> {
        peer.finish();
        self.settle();
        let ended = self.network.now();
        let next = self.next();
        assert_eq!(next.is_none(), self.over.get());
        assert_eq!(self.client.connection(self.event_loop.core()).is_none(), self.over.get());
        next.map(|_| self.network.now().saturating_since(ended).as_secs())
    }
}
