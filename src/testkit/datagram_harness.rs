//! One datagram protocol, driven by hand.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::stage::Stage;
use crate::{
    CloseReason, Core, Counters, DatagramContext, DatagramProtocol, EndpointId, Limits, Message, SocketId, Time,
};

/// Drives one [`DatagramProtocol`] by hand: datagrams in and out, time advanced.
///
/// As with [`Harness`](super::Harness), a whole event loop is below it, and after each step it has
/// come to rest.
///
/// ```
/// use switchboard::testkit::DatagramHarness;
/// use switchboard::{Datagram, DatagramContext, DatagramProtocol, Failure};
///
/// struct Length;
///
/// impl DatagramProtocol for Length {
///     fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, datagram: Datagram<'_>) -> Result<(), Failure> {
///         cx.send_to(datagram.source, format!("{}", datagram.payload.len()).as_bytes());
///         Ok(())
///     }
/// }
///
/// let mut harness = DatagramHarness::new(Length);
/// let peer = "10.0.0.2:4000".parse().unwrap();
/// harness.feed(peer, b"hello");
/// harness.feed(peer, b"");
/// assert_eq!(harness.take_sent(), [(peer, b"5".to_vec()), (peer, b"0".to_vec())]);
/// ```
pub struct DatagramHarness {
    stage: Stage,
    id: SocketId,
    address: SocketAddr,
}

impl DatagramHarness {
    /// A bound socket with this protocol, just opened.
    #[must_use]
    pub fn new(protocol: impl DatagramProtocol) -> Self {
        Self::with_limits(protocol, Limits::default())
    }

    /// As [`new`](Self::new), with limits of the test's own.
    ///
    /// # Panics
    ///
    /// If the limits contradict each other.
    #[must_use]
    pub fn with_limits(protocol: impl DatagramProtocol, limits: Limits) -> Self {
        let mut stage = Stage::new(limits);
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let id = stage.event_loop.bind_udp(any, protocol).expect("the network in memory has free ports");
        let address = stage.event_loop.local_addr(id).unwrap_or(any); // gone if its `on_open` closed it
        stage.settle();
        Self { stage, id, address }
    }

    /// A datagram arrives.
    pub fn feed(&mut self, source: SocketAddr, payload: &[u8]) {
        self.stage.network.send_datagram(source, self.address, payload);
        self.stage.settle();
    }

    /// The next receive fails: an ICMP message answered an earlier datagram.
    pub fn fail_receive(&mut self, kind: io::ErrorKind) {
        self.stage.network.fail_receive(self.address, kind);
        self.stage.settle();
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

    /// Takes the datagrams sent since this was last called, with their targets.
    #[must_use]
    pub fn take_sent(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        self.stage.network.take_datagrams(self.address)
    }

    /// Lets the system take this many more datagrams before it would block; any number until this is
    /// first called.
    pub fn set_window(&mut self, datagrams: usize) {
        self.stage.network.set_datagram_window(self.address, datagrams);
        self.stage.settle();
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
    /// The message, if the socket is gone or its mailbox full.
    pub fn post(&mut self, message: impl Into<Message>) -> Result<(), Message> {
        let posted = self.stage.event_loop.core().post(self.id, message);
        self.stage.settle();
        posted
    }

    /// The loop drains; see [`Core::shutdown`].
    pub fn shutdown(&mut self, timeout: Duration) {
        self.stage.event_loop.core().shutdown(timeout);
        self.stage.settle();
    }

    /// Runs a closure as one of the protocol's callbacks; `None` if the socket has closed.
    pub fn with<R>(&mut self, closure: impl FnOnce(&mut DatagramContext<'_>) -> R) -> Option<R> {
        let returned = self.stage.event_loop.with_socket(self.id, closure);
        self.stage.settle();
        returned
    }

    /// The protocol, if it is a `P`; `None` once the socket has closed.
    pub fn protocol<P: DatagramProtocol>(&mut self) -> Option<&mut P> {
        self.stage.event_loop.socket_protocol(self.id)
    }

    /// The id of the socket.
    #[must_use]
    pub fn id(&self) -> SocketId {
        self.id
    }

    /// Where the socket is bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the socket has counted: datagrams received, sent, dropped.
    #[must_use]
    pub fn counters(&mut self) -> Counters {
        self.stage.event_loop.core().socket_counters(self.id)
    }

    /// What `on_close` was told, once it was.
    #[must_use]
    pub fn close_reason(&mut self) -> Option<&CloseReason> {
        self.stage.event_loop.core().close_reason_of(EndpointId::from(self.id))
    }

    /// What the loop's protocols share.
    pub fn core(&mut self) -> &mut Core {
        self.stage.event_loop.core()
    }
}

impl fmt::Debug for DatagramHarness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramHarness")
            .field("id", &self.id)
            .field("address", &self.address)
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}
