//! The contract of protocols that speak in datagrams: one value for a bound UDP socket.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::context::Requests;
use crate::driver::{Arrived, Received, Socket};
use crate::link::Link;
use crate::{CloseReason, Core, Failure, LimitExceeded, Message, Slow, SocketId, TimerId};

mod queue;

pub(crate) use queue::{Datagrams, Envelope};

/// A protocol on one bound UDP socket: one value a socket, not one a peer.
///
/// The order of calls is that of [`Protocol`](crate::Protocol): `on_open`, any of the others,
/// `on_close` exactly once, last.
///
/// ```
/// use switchboard::{Datagram, DatagramContext, DatagramProtocol, EventLoop, Failure};
///
/// /// Tells each peer how long its datagram was.
/// struct Length;
///
/// impl DatagramProtocol for Length {
///     fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, datagram: Datagram<'_>) -> Result<(), Failure> {
///         cx.send_to(datagram.source, format!("{}", datagram.payload.len()).as_bytes());
///         Ok(())
///     }
/// }
///
/// let mut event_loop = EventLoop::new()?;
/// let socket = event_loop.bind_udp("127.0.0.1:0", Length)?;
/// # let _ = socket;
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait DatagramProtocol: Any {
    /// The socket is bound.
    ///
    /// # Errors
    ///
    /// As for every callback: what was sent is delivered if the system takes it, then the socket
    /// closes with this as its reason.
    fn on_open(&mut self, cx: &mut DatagramContext<'_>) -> Result<(), Failure> {
        let _ = cx;
        Ok(())
    }

    /// A datagram has arrived. A bad one should be dropped, not failed for: an error closes the
    /// socket for all peers.
    ///
    /// # Errors
    ///
    /// As for [`on_open`](Self::on_open).
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, datagram: Datagram<'_>) -> Result<(), Failure>;

    /// A timer that this protocol set is due; it is gone now.
    ///
    /// # Errors
    ///
    /// As for [`on_open`](Self::on_open).
    fn on_timer(&mut self, cx: &mut DatagramContext<'_>, timer: TimerId) -> Result<(), Failure> {
        let _ = (cx, timer);
        Ok(())
    }

    /// Somebody [posted](Core::post) a message to this socket, or [published](Core::publish) on a topic that it is
    /// [subscribed](DatagramContext::subscribe) to.
    ///
    /// # Errors
    ///
    /// As for [`on_open`](Self::on_open).
    fn on_message(&mut self, cx: &mut DatagramContext<'_>, message: Message) -> Result<(), Failure> {
        let _ = (cx, message);
        Ok(())
    }

    /// The loop drains: say goodbye and close before its deadline. By default: close.
    ///
    /// # Errors
    ///
    /// As for [`on_open`](Self::on_open).
    fn on_shutdown(&mut self, cx: &mut DatagramContext<'_>) -> Result<(), Failure> {
        cx.close();
        Ok(())
    }

    /// The last call, exactly once, whatever happened.
    fn on_close(&mut self, core: &mut Core, reason: &CloseReason) {
        let _ = (core, reason);
    }

    /// What a [`Watchdog`](crate::Watchdog) calls it: by default its type.
    fn name(&self) -> &'static str {
        std::any::type_name::<Self>()
    }
}

/// A datagram that has arrived: who sent it ([`source`](Received::source)) and what else is
/// [known of it](Received), by deref, and its payload.
#[derive(Debug)]
pub struct Datagram<'a> {
    arrived: &'a Arrived,
    /// What it carries, 0 to 65,507 bytes; may be changed in place.
    pub payload: &'a mut [u8],
}

impl<'a> Datagram<'a> {
    #[inline]
    pub(crate) fn new(arrived: &'a Arrived, payload: &'a mut [u8]) -> Self {
        Self { arrived, payload }
    }
}

// Lent, since to copy what is known would cost 14 instructions more.
impl Deref for Datagram<'_> {
    type Target = Received;

    #[inline]
    fn deref(&self) -> &Received {
        &self.arrived.received
    }
}

/// What a packet says of congestion on its way (RFC 3168 §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ecn {
    /// Not-ECT: its sender does not know of congestion notification, so that routers drop it instead.
    #[default]
    NotEct = 0b00,
    /// ECT(1): as ECT(0); of late for low latency (RFC 9331).
    Ect1 = 0b01,
    /// ECT(0): its sender slows down when it hears of marks.
    Ect0 = 0b10,
    /// CE: a router on the way is congested.
    Ce = 0b11,
}

impl Ecn {
    /// The two low bits of the octet that IPv4 calls type of service and IPv6 traffic class.
    #[must_use]
    pub const fn from_class(class: u8) -> Self {
        match class & 0b11 {
            0b00 => Self::NotEct,
            0b01 => Self::Ect1,
            0b10 => Self::Ect0,
            _ => Self::Ce,
        }
    }
}

/// How to send one datagram, where that is not as the others of its socket: [`DatagramContext::send_with`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendOptions {
    /// The local address that it is to come from: see [`DatagramContext::send_from`].
    pub source: Option<IpAddr>,
    /// What it is marked with. Linux and Android; elsewhere it leaves as the others.
    pub ecn: Option<Ecn>,
}

/// A callback's way to its UDP socket and, by deref, to the loop's [`Core`].
pub struct DatagramContext<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) link: &'a mut Link,
    pub(crate) id: SocketId,
    pub(crate) socket: &'a dyn Socket,
    pub(crate) out: &'a mut Datagrams,
    pub(crate) requests: Requests,
    /// The datagram that is handed over, as the bit of its index; 0 if it has none, or no [plain](crate::driver::Batch::is_plain) batch.
    pub(crate) bit: u64,
    /// Where the memory begins in which it lies.
    pub(crate) memory: usize,
}

impl DatagramContext<'_> {
    /// The id of this socket.
    #[must_use]
    pub fn id(&self) -> SocketId {
        self.id
    }

    /// Sends one datagram when the callback has returned; what datagrams that arrived together are answered with leaves
    /// together, in order, when all of them were handed over (or there is much of it). If the system has no room it
    /// waits, within [`Limits::datagram_queue`](crate::Limits::datagram_queue), else it is dropped and counted; so is one
    /// that the system refuses (longer than 65,507 bytes, no route).
    #[inline]
    pub fn send_to(&mut self, target: SocketAddr, payload: &[u8]) {
        self.out.push(target, SendOptions::default(), payload);
    }

    /// Sends a datagram back to where it came from, and from where it [came to](Received::local), if that is known. As
    /// [`send_to`](Self::send_to) of its payload; but where nothing else was sent since those were received that arrived
    /// together, it is not copied: it leaves from where it lies.
    ///
    /// ```
    /// use switchboard::testkit::DatagramHarness;
    /// use switchboard::{Datagram, DatagramContext, DatagramProtocol, Failure};
    ///
    /// struct Shout;
    ///
    /// impl DatagramProtocol for Shout {
    ///     fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, datagram: Datagram<'_>) -> Result<(), Failure> {
    ///         datagram.payload.make_ascii_uppercase();
    ///         cx.send_back(datagram);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut harness = DatagramHarness::new(Shout);
    /// let peer = "10.0.0.2:4000".parse().unwrap();
    /// harness.feed(peer, b"hello");
    /// assert_eq!(harness.take_sent(), [(peer, b"HELLO".to_vec())]);
    /// ```
    #[inline]
    pub fn send_back(&mut self, datagram: Datagram<'_>) {
        // It may have been exchanged for a part of it, or for something else.
        let (payload, whole) = (&*datagram.payload, datagram.arrived.address(self.memory));
        let is_whole = payload.len() == datagram.len && payload.as_ptr().addr() == whole;
        if !(is_whole && self.out.give_back(self.bit)) {
            self.send_back_a_copy(&datagram);
        }
    }

    #[cold]
    #[inline(never)]
    fn send_back_a_copy(&mut self, datagram: &Datagram<'_>) {
        self.send_with(datagram.source, SendOptions { source: datagram.local, ecn: None }, datagram.payload);
    }

    /// As [`send_to`](Self::send_to), from a local address of one's own choice: on a socket that is bound to a wildcard
    /// address, the one that the peer spoke to ([`Received::local`]). Linux and Android; elsewhere it is dropped and
    /// counted, as it is where the address is none of this machine's.
    pub fn send_from(&mut self, source: IpAddr, target: SocketAddr, payload: &[u8]) {
        self.send_with(target, SendOptions { source: Some(source), ecn: None }, payload);
    }

    /// As [`send_to`](Self::send_to), with options of its own.
    pub fn send_with(&mut self, target: SocketAddr, options: SendOptions, payload: &[u8]) {
        self.out.push(target, options, payload);
    }

    /// Closes the socket when what was sent has left. No callback but `on_close` follows.
    pub fn close(&mut self) {
        self.requests = self.requests.max(Requests::Close);
    }

    /// Closes the socket at once; datagrams that wait are dropped.
    pub fn abort(&mut self) {
        self.requests = self.requests.max(Requests::Abort);
    }

    /// Sets a timer: see [`Context::set_timer`](crate::Context::set_timer).
    pub fn set_timer(&mut self, after: Duration) -> TimerId {
        let deadline = self.core.now + after;
        self.core.timers.set(self.link.id, &mut self.link.timers, 0, deadline)
    }

    /// Moves a timer: see [`Context::postpone_timer`](crate::Context::postpone_timer).
    pub fn postpone_timer(&mut self, timer: TimerId, after: Duration) -> bool {
        let deadline = self.core.now + after;
        self.core.timers.postpone(timer, deadline)
    }

    /// Cancels a timer: see [`Context::cancel_timer`](crate::Context::cancel_timer).
    pub fn cancel_timer(&mut self, timer: TimerId) -> bool {
        self.core.timers.cancel(&mut self.link.timers, timer)
    }

    /// Subscribes to a topic: see [`Context::subscribe`](crate::Context::subscribe).
    ///
    /// # Errors
    ///
    /// If the socket has as many subscriptions as it may, or the loop has no memory for one more.
    pub fn subscribe(&mut self, topic: &str, slow: Slow) -> Result<(), LimitExceeded> {
        self.core.subscribe(self.link, 0, topic, slow)
    }

    /// Ends a subscription: see [`Context::unsubscribe`](crate::Context::unsubscribe).
    pub fn unsubscribe(&mut self, topic: &str) -> bool {
        self.core.unsubscribe(self.link.id, topic)
    }

    /// Declares what the protocol holds: see [`Context::hold`](crate::Context::hold).
    ///
    /// # Errors
    ///
    /// If the loop would hold more than it may.
    pub fn hold(&mut self, bytes: usize) -> Result<(), LimitExceeded> {
        self.core.hold(self.link.id, 0, bytes)
    }

    /// The address the socket is bound to; `None` if the system can't say.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }
}

impl Deref for DatagramContext<'_> {
    type Target = Core;

    fn deref(&self) -> &Core {
        self.core
    }
}

impl DerefMut for DatagramContext<'_> {
    fn deref_mut(&mut self) -> &mut Core {
        self.core
    }
}
