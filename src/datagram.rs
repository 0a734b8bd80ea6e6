//! The contract of protocols that speak in datagrams: one value for a bound UDP socket.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::context::Requests;
use crate::driver::{Outgoing, Received, Socket};
use crate::link::Link;
use crate::{CloseReason, Core, Failure, LimitExceeded, Message, Slow, SocketId, TimerId};

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

/// A datagram that has arrived.
#[derive(Debug)]
#[non_exhaustive]
pub struct Datagram<'a> {
    /// Who sent it (or who it says sent it: UDP proves nothing).
    pub source: SocketAddr,
    /// The local address that it came to, if that was asked for
    /// ([`UdpOptions::local_addresses`](crate::UdpOptions::local_addresses)): of multicast and broadcast over IPv4 the
    /// interface's, of multicast over IPv6 none. To answer from there: [`DatagramContext::send_from`].
    pub local: Option<IpAddr>,
    /// How the network marked it, if that was asked for ([`UdpOptions::receive_ecn`](crate::UdpOptions::receive_ecn)).
    pub ecn: Option<Ecn>,
    /// What it carries, 0 to 65,507 bytes; may be changed in place.
    pub payload: &'a mut [u8],
}

impl<'a> Datagram<'a> {
    #[inline]
    pub(crate) fn new((&Received { source, local, ecn, .. }, payload): (&Received, &'a mut [u8])) -> Self {
        Self { source, local, ecn, payload }
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

    /// As [`send_to`](Self::send_to), from a local address of one's own choice: on a socket that is bound to a wildcard
    /// address, the one that the peer spoke to ([`Datagram::local`]). Linux and Android; elsewhere it is dropped and
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

/// Datagrams that wait to be sent, payloads end to end.
#[derive(Debug, Default)]
pub(crate) struct Datagrams {
    payloads: Vec<u8>,
    envelopes: Vec<Envelope>,
}

/// Where a datagram goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    pub(crate) target: SocketAddr,
    pub(crate) len: usize,
    /// The local address it is sent from, if that is not the system's choice.
    pub(crate) source: Option<IpAddr>,
    pub(crate) ecn: Option<Ecn>,
}

impl Datagrams {
    /// From so many on, or so many bytes, they leave before more are made.
    const MANY: usize = 64;
    const MUCH: usize = 128 << 10;

    #[inline]
    pub(crate) fn push(&mut self, target: SocketAddr, SendOptions { source, ecn }: SendOptions, payload: &[u8]) {
        self.payloads.extend_from_slice(payload);
        self.envelopes.push(Envelope { target, len: payload.len(), source, ecn });
    }

    /// What a datagram of `len` bytes takes while it waits: an empty one is not free.
    pub(crate) const fn cost(len: usize) -> usize {
        len + size_of::<Envelope>()
    }

    /// Bytes that all that wait take.
    pub(crate) fn len(&self) -> usize {
        self.payloads.len() + self.envelopes.len() * Self::cost(0)
    }

    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.envelopes.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.envelopes.is_empty()
    }

    #[inline]
    pub(crate) fn is_much(&self) -> bool {
        self.envelopes.len() >= Self::MANY || self.payloads.len() >= Self::MUCH
    }

    pub(crate) fn iter(&self) -> Outgoing<'_> {
        Outgoing::new(&self.envelopes, &self.payloads)
    }

    /// Forgets the first `count`.
    pub(crate) fn remove_first(&mut self, count: usize) {
        let bytes: usize = self.envelopes.drain(..count).map(|envelope| envelope.len).sum();
        self.payloads.drain(..bytes);
    }

    /// Takes back all but the first `count`. Says how many bytes those would have taken.
    pub(crate) fn take_back(&mut self, count: usize) -> usize {
        let before = self.len();
        let bytes: usize = self.envelopes.drain(count..).map(|envelope| envelope.len).sum();
        self.payloads.truncate(self.payloads.len() - bytes);
        before - self.len()
    }

    /// Empties it. What much took is given back.
    pub(crate) fn clear(&mut self) {
        self.payloads.clear();
        self.envelopes.clear();
        if self.payloads.capacity() > 2 * Self::MUCH || self.envelopes.capacity() > 64 * Self::MANY {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_much_took_is_given_back() {
        let target = SocketAddr::from(([127, 0, 0, 1], 1));
        for (count, payload) in [(100_000, &b""[..]), (10, &[0; 60_000])] {
            let mut out = Datagrams::default();
            (0..count).for_each(|_| out.push(target, SendOptions::default(), payload));
            out.clear();
            assert_eq!(out.payloads.capacity() + out.envelopes.capacity(), 0, "{count}");
        }
    }

    #[test]
    fn what_little_took_is_kept() {
        let mut out = Datagrams::default();
        (0..Datagrams::MANY).for_each(|_| {
            out.push(SocketAddr::from(([127, 0, 0, 1], 1)), SendOptions::default(), &[0; 1472]);
        });
        out.clear();
        assert!(out.payloads.capacity() >= 64 * 1472 && out.envelopes.capacity() >= 64);
    }
}
