//! One protocol value, driven by hand.

use std::net::SocketAddr;
use std::time::Duration;

use super::{MemoryDriver, Network, Peer, network};
use crate::{CloseReason, ConnectionId, Context, Core, EventLoop, Limits, Message, Protocol, Time};

/// Turns without time moving after which a protocol is said to spin.
const SPIN: u32 = 10_000;

/// Drives one protocol value by hand: bytes in, bytes out, time advanced, half-close, reset.
///
/// Below it is a whole event loop on a network in memory, so everything a protocol can ask for
/// works. After each step the loop has come to rest: whatever the step led to has happened.
pub struct Harness {
    event_loop: EventLoop<MemoryDriver>,
    network: Network,
    peer: Peer,
    id: ConnectionId,
}

impl Harness {
    /// A connection with this protocol, just opened.
    #[must_use]
    pub fn new(protocol: impl Protocol) -> Self {
        Self::with_limits(protocol, Limits::default())
    }

    /// As [`new`](Self::new), with limits of the test's own.
    ///
    /// # Panics
    ///
    /// If the limits contradict each other.
    #[must_use]
    pub fn with_limits(protocol: impl Protocol, limits: Limits) -> Self {
        let mut harness = Self::connecting(protocol, limits);
        harness.peer.establish();
        harness.settle();
        harness
    }

    /// An outgoing connection with this protocol that is neither established nor refused yet: see
    /// [`peer`](Self::peer).
    ///
    /// # Panics
    ///
    /// If the limits contradict each other.
    #[must_use]
    pub fn connecting(protocol: impl Protocol, limits: Limits) -> Self {
        let (driver, network) = network();
        let mut event_loop = EventLoop::with_driver(driver, limits).expect("limits that agree");
        event_loop.core().keep_close_reasons();
        let id = event_loop.connect(SocketAddr::from(([127, 0, 0, 1], 1)), protocol);
        event_loop.turn(None).expect("the network in memory never fails to poll");
        let peer = network.next_outgoing().expect("the loop has begun to connect");
        Self { event_loop, network, peer, id }
    }

    /// Bytes arrive.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.peer.send(bytes);
        self.settle();
    }

    /// Bytes arrive, with the peer's half-close in the same event.
    pub fn feed_eof(&mut self, bytes: &[u8]) {
        self.peer.send(bytes);
        self.peer.finish();
        self.settle();
    }

    /// The peer half-closes.
    pub fn eof(&mut self) {
        self.peer.finish();
        self.settle();
    }

    /// The peer resets the connection.
    pub fn reset(&mut self) {
        self.peer.reset();
        self.settle();
    }

    /// Time passes; timers fire on the way, each at its own time.
    pub fn advance(&mut self, by: Duration) {
        let until = self.network.now() + by;
        while let Some(due) = self.event_loop.next_deadline().filter(|&due| due <= until) {
            self.network.advance(due.saturating_since(self.network.now()));
            self.settle();
        }
        self.network.advance(until.saturating_since(self.network.now()));
        self.settle();
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Time {
        self.network.now()
    }

    /// Takes what the protocol has sent since this was last called, as far as the peer
    /// [took](Peer::set_window) it.
    #[must_use]
    pub fn take_sent(&mut self) -> Vec<u8> {
        self.peer.take_received()
    }

    /// Lets the peer take this many more bytes; any number until this is first called.
    pub fn set_window(&mut self, window: usize) {
        self.peer.set_window(window);
        self.settle();
    }

    /// Posts a message to the protocol.
    ///
    /// # Errors
    ///
    /// The message, if the connection is gone or its mailbox full.
    pub fn post(&mut self, message: impl Into<Message>) -> Result<(), Message> {
        let posted = self.event_loop.core().post(self.id, message);
        self.settle();
        posted
    }

    /// The loop drains; see [`Core::shutdown`].
    pub fn shutdown(&mut self, timeout: Duration) {
        self.event_loop.core().shutdown(timeout);
        self.settle();
    }

    /// Runs a closure as one of the protocol's callbacks; `None` if the connection has closed.
    pub fn with<R>(&mut self, closure: impl FnOnce(&mut Context<'_>) -> R) -> Option<R> {
        let returned = self.event_loop.with(self.id, closure);
        self.settle();
        returned
    }

    /// The protocol, if it is (still) a `P`; `None` once the connection has closed.
    pub fn protocol<P: Protocol>(&mut self) -> Option<&mut P> {
        self.event_loop.protocol(self.id)
    }

    /// The id of the connection.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Whether `on_close` is still to come.
    #[must_use]
    pub fn is_open(&mut self) -> bool {
        self.close_reason().is_none()
    }

    /// What `on_close` was told, once it was.
    #[must_use]
    pub fn close_reason(&mut self) -> Option<&CloseReason> {
        self.event_loop.core().close_reason_of(self.id)
    }

    /// Whether the protocol's side has half-closed or closed in order.
    #[must_use]
    pub fn saw_eof(&self) -> bool {
        self.peer.saw_eof()
    }

    /// The far end, to script in detail; [`settle`](Self::settle) afterwards.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The network in memory, for what else happens on it.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The loop below.
    pub fn event_loop(&mut self) -> &mut EventLoop<MemoryDriver> {
        &mut self.event_loop
    }

    /// What the loop's protocols share.
    pub fn core(&mut self) -> &mut Core {
        self.event_loop.core()
    }

    /// Turns the loop until it comes to rest at this time.
    ///
    /// # Panics
    ///
    /// If it does not: some protocol makes work for itself without end.
    pub fn settle(&mut self) {
        for _ in 0..SPIN {
            let due = self.event_loop.next_deadline().is_some_and(|due| due <= self.network.now());
            if self.event_loop.tally().is_some() || !(due || self.network.has_events()) {
                return;
            }
            self.event_loop.turn(None).expect("the network in memory never fails to poll");
        }
        panic!("the protocol spins: {SPIN} turns at one and the same time");
    }
}
