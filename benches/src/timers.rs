//! Timers, in virtual time and on a network in memory: whatever else is armed stays so.

use std::net::SocketAddr;
use std::time::Duration;

use switchboard::testkit::{MemoryDriver, Network, Peer, network};
use switchboard::{ConnectionId, Context, EventLoop, Limits, TimerId, protocol_fn};

use crate::ROUNDS;

const HOUR: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(10);

/// A connection with timers, and another with many.
pub struct Armed {
    event_loop: EventLoop<MemoryDriver>,
    network: Network,
    connection: ConnectionId,
    ours: Vec<TimerId>,
    _peers: [Peer; 2],
}

impl Armed {
    /// With so many others that are due hours later, one after the other, and none or [`ROUNDS`] of ours.
    ///
    /// # Panics
    /// If a connection does not stand.
    #[must_use]
    pub fn new(others: u32, ours: bool) -> Self {
        let (driver, network) = network();
        let mut event_loop = EventLoop::with_driver(driver, Limits::default()).expect("a loop");
        let mut open = || {
            let id = event_loop.connect(SocketAddr::from(([127, 0, 0, 1], 1)), protocol_fn(|_, _| Ok(())));
            event_loop.turn(Some(Duration::ZERO)).expect("a turn");
            let peer = network.next_outgoing().expect("the loop connects");
            peer.establish();
            event_loop.turn(Some(Duration::ZERO)).expect("a turn");
            (id, peer)
        };
        let ((other, first), (connection, second)) = (open(), open());
        let arm = |cx: &mut Context<'_>| (0..others).map(|n| cx.set_timer(HOUR + n * Duration::from_millis(7))).count();
        assert_eq!(event_loop.with(other, arm), Some(others as usize));
        let mut armed = Self { event_loop, network, connection, ours: Vec::new(), _peers: [first, second] };
        armed.set(); // the slab has room now
        armed.cancel();
        if ours {
            armed.set();
        }
        armed
    }

    /// Sets [`ROUNDS`] timers.
    ///
    /// # Panics
    /// If the connection is gone.
    pub fn set(&mut self) {
        let Self { event_loop, ours, .. } = self;
        let set = |cx: &mut Context<'_>| ours.extend((0..ROUNDS).map(|_| cx.set_timer(SOON)));
        event_loop.with(self.connection, set).expect("a connection");
    }

    /// Moves each of them further away.
    ///
    /// # Panics
    /// If one is gone.
    pub fn postpone(&mut self) {
        let Self { event_loop, ours, .. } = self;
        let postpone = |cx: &mut Context<'_>| ours.iter().all(|timer| cx.postpone_timer(*timer, 2 * SOON));
        assert_eq!(event_loop.with(self.connection, postpone), Some(true));
    }

    /// Cancels them, the last set first.
    ///
    /// # Panics
    /// If one is gone.
    pub fn cancel(&mut self) {
        let Self { event_loop, ours, .. } = self;
        let cancel = |cx: &mut Context<'_>| ours.drain(..).rev().all(|timer| cx.cancel_timer(timer));
        assert_eq!(event_loop.with(self.connection, cancel), Some(true));
    }

    /// One after the other is set and comes due: a turn each.
    ///
    /// # Panics
    /// If one does not.
    pub fn expire(&mut self) {
        let armed = self.event_loop.core().armed_timers();
        for _ in 0..ROUNDS {
            self.event_loop.with(self.connection, |cx| cx.set_timer(SOON)).expect("a connection");
            self.network.advance(SOON);
            self.event_loop.turn(Some(Duration::ZERO)).expect("a turn");
            assert_eq!(self.event_loop.core().armed_timers(), armed);
        }
    }
}
