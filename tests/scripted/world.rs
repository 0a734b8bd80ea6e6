//! A loop on a network in memory, with what its tests do again and again.

use std::net::SocketAddr;
use std::time::Duration;

use switchboard::testkit::{self, MemoryDriver, Network, Peer};
use switchboard::{EventLoop, Limits, ListenerId, Protocol};

/// Turns without time moving after which the loop is said to spin.
const SPIN: usize = 10_000;

pub(crate) const PORT: u16 = 7000;

pub(crate) struct World<const SHORT_MEANS_DRAINED: bool = true> {
    pub(crate) event_loop: EventLoop<MemoryDriver<SHORT_MEANS_DRAINED>>,
    pub(crate) network: Network,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    /// A network whose readiness is epoll's.
    pub(crate) fn with_limits(limits: Limits) -> Self {
        let (driver, network) = testkit::network();
        Self { event_loop: EventLoop::with_driver(driver, limits).unwrap(), network }
    }
}

impl World<false> {
    /// A network whose readiness ends only at `WouldBlock`.
    pub(crate) fn until_would_block() -> Self {
        let (driver, network) = testkit::network_until_would_block();
        Self { event_loop: EventLoop::with_driver(driver, Limits::default()).unwrap(), network }
    }
}

impl<const SHORT_MEANS_DRAINED: bool> World<SHORT_MEANS_DRAINED> {
    /// Listens on [`PORT`].
    pub(crate) fn listen<P: Protocol>(&mut self, mut protocol: impl FnMut() -> P + 'static) -> ListenerId {
        self.event_loop.listen(address(PORT), move |_| Some(protocol())).unwrap()
    }

    /// A peer connects to [`PORT`], and is accepted.
    pub(crate) fn peer(&mut self) -> Peer {
        let peer = self.network.connect(address(PORT)).expect("somebody listens");
        self.settle();
        peer
    }

    /// One turn. The network in memory never waits.
    pub(crate) fn turn(&mut self) {
        self.event_loop.turn(None).unwrap();
    }

    /// Whether the loop, left alone, would do something at this time.
    pub(crate) fn is_busy(&self) -> bool {
        let due = self.event_loop.next_deadline().is_some_and(|due| due <= self.network.now());
        due || self.network.has_events()
    }

    /// Turns the loop until it comes to rest, and says how many turns that took.
    pub(crate) fn settle(&mut self) -> usize {
        for turns in 0..SPIN {
            if self.event_loop.tally().is_some() || !self.is_busy() {
                return turns;
            }
            self.turn();
        }
        panic!("the loop spins: {SPIN} turns at one and the same time");
    }

    /// Time passes, and the loop sees each deadline on the way.
    pub(crate) fn advance(&mut self, by: Duration) {
        let until = self.network.now() + by;
        while let Some(due) = self.event_loop.next_deadline().filter(|&due| due <= until) {
            if self.event_loop.tally().is_some() {
                break;
            }
            self.network.advance(due.saturating_since(self.network.now()));
            self.settle();
        }
        self.network.advance(until.saturating_since(self.network.now()));
        self.settle();
    }

    /// Nothing is left of any connection: no entry, no timer, no byte, no message.
    pub(crate) fn assert_nothing_left(&mut self) {
        let core = self.event_loop.core();
        let counters = core.counters();
        assert_eq!(counters.opened, counters.closed, "each connection that opened has closed");
        assert_eq!(core.open_connections(), 0, "connections");
        assert_eq!(core.armed_timers(), 0, "timers");
        assert_eq!(core.held_bytes(), 0, "bytes held");
        assert_eq!(core.waiting_messages(), 0, "messages");
    }
}

/// A place on the network in memory.
pub(crate) fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
