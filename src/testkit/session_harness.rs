//! One protocol on a session, driven by hand.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::stage::Stage;
use super::{MemoryDriver, Network};
use crate::{
    CloseReason, ConnectionId, Context, Core, Counters, EventLoop, Limits, Message, Protocol, SessionOptions, Time,
};

/// Drives one protocol on a session over UDP by hand: datagrams in and out, time advanced.
///
/// As with [`Harness`](super::Harness), a whole event loop is below it, and after each step it has come to rest.
///
/// ```
/// use switchboard::{protocol_fn, testkit::SessionHarness};
///
/// let mut harness = SessionHarness::new(protocol_fn(|cx, datagram| {
///     let word = datagram.take(3).to_vec(); // what is left is dropped
///     cx.send(&word);
///     cx.send(b"!");
///     Ok(())
/// }));
/// harness.feed(b"one and the rest");
/// harness.feed(b"two");
/// assert_eq!(harness.take_sent(), [b"one".to_vec(), b"!".to_vec(), b"two".to_vec(), b"!".to_vec()]);
/// assert_eq!(harness.counters().bytes_discarded, 13);
/// ```
pub struct SessionHarness {
    stage: Stage,
    id: ConnectionId,
    peer: SocketAddr,
    /// Of the session's socket.
    local: SocketAddr,
}

impl SessionHarness {
    /// A session with this protocol, just opened: that of a connected socket.
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
        let mut stage = Stage::new(limits);
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 7));
        let id = stage.event_loop.connect_udp(peer, protocol);
        stage.turn();
        let local = stage.network.last_socket().expect("the network in memory has free ports");
        stage.settle();
        Self { stage, id, peer, local }
    }

    /// A session with this protocol on a bound socket, which its first datagram has just opened.
    ///
    /// # Panics
    ///
    /// If the limits contradict each other, or the options admit nobody.
    #[must_use]
    pub fn accepted(protocol: impl Protocol, limits: Limits, options: &SessionOptions, first: &[u8]) -> Self {
        let mut stage = Stage::new(limits);
        let peer = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 2), 4000));
        let mut protocol = Some(protocol);
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let socket = stage.event_loop.bind_sessions_with(any, options, move |_| protocol.take());
        let socket = socket.expect("the network in memory has free ports");
        let local = stage.event_loop.local_addr(socket).expect("it is bound");
        stage.network.send_datagram(peer, local, first);
        stage.turn();
        let id = stage.event_loop.session(socket, peer).or_else(|| stage.event_loop.core().first_closed());
        let mut harness = Self { stage, id: id.expect("the options admit a session"), peer, local };
        harness.settle();
        harness
    }

    /// A datagram arrives from the peer.
    pub fn feed(&mut self, payload: &[u8]) {
        self.stage.network.send_datagram(self.peer, self.local, payload);
        self.settle();
    }

    /// The next receive fails: an ICMP message answered an earlier datagram. `ConnectionRefused` ends the session of a
    /// connected socket.
    pub fn fail_receive(&mut self, kind: io::ErrorKind) {
        self.stage.network.fail_receive(self.local, kind);
        self.settle();
    }

    /// Takes the datagrams that the protocol has sent since this was last called.
    #[must_use]
    pub fn take_sent(&mut self) -> Vec<Vec<u8>> {
        self.stage.network.take_datagrams(self.local).into_iter().map(|(_, payload)| payload).collect()
    }

    /// Lets the system take this many more datagrams before it would block; any number until this is
    /// first called.
    pub fn set_window(&mut self, datagrams: usize) {
        self.stage.network.set_datagram_window(self.local, datagrams);
        self.settle();
    }

    /// Time passes; timers fire on the way, each at its own time.
    pub fn advance(&mut self, by: Duration) {
        self.stage.advance(by, |_| {});
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Time {
        self.stage.network.now()
    }

    /// When the protocol's timers are due, the next first.
    #[must_use]
    pub fn timers(&self) -> Vec<Time> {
        self.stage.event_loop.timers_of(self.id.into())
    }

    /// Posts a message to the protocol.
    ///
    /// # Errors
    ///
    /// The message, if the session is gone or its mailbox full.
    pub fn post(&mut self, message: impl Into<Message>) -> Result<(), Message> {
        let posted = self.stage.event_loop.core().post(self.id, message);
        self.settle();
        posted
    }

    /// The loop drains; see [`Core::shutdown`].
    pub fn shutdown(&mut self, timeout: Duration) {
        self.stage.event_loop.core().shutdown(timeout);
        self.settle();
    }

    /// Closes the session from outside, as the protocol's own `close` would.
    pub fn close(&mut self) {
        self.stage.event_loop.core().close(self.id);
        self.settle();
    }

    /// Runs a closure as one of the protocol's callbacks; `None` if the session has closed.
    pub fn with<R>(&mut self, closure: impl FnOnce(&mut Context<'_>) -> R) -> Option<R> {
        let returned = self.stage.event_loop.with(self.id, closure);
        self.settle();
        returned
    }

    /// The protocol, if it is (still) a `P`; `None` once the session has closed.
    pub fn protocol<P: Protocol>(&mut self) -> Option<&mut P> {
        self.stage.event_loop.protocol(self.id)
    }

    /// The id of the session.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// The peer's address, and this side's.
    #[must_use]
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (self.peer, self.local)
    }

    /// All that the loop has counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.stage.event_loop.counters()
    }

    /// Whether `on_close` was called.
    #[must_use]
    pub fn has_closed(&mut self) -> bool {
        self.close_reason().is_some()
    }

    /// What `on_close` was told, once it was.
    #[must_use]
    pub fn close_reason(&mut self) -> Option<&CloseReason> {
        self.stage.event_loop.core().close_reason_of(self.id)
    }

    /// The network in memory, for what else happens on it.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.stage.network
    }

    /// The loop below.
    pub fn event_loop(&mut self) -> &mut EventLoop<MemoryDriver> {
        &mut self.stage.event_loop
    }

    /// What the loop's protocols share.
    pub fn core(&mut self) -> &mut Core {
        self.stage.event_loop.core()
    }

    /// Turns the loop until it comes to rest at this time.
    ///
    /// # Panics
    ///
    /// If it does not: the protocol makes work for itself without end.
    pub fn settle(&mut self) {
        self.stage.settle();
    }
}

impl fmt::Debug for SessionHarness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionHarness")
            .field("id", &self.id)
            .field("peer", &self.peer)
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}
