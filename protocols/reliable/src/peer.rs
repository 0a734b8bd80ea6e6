//! What a handler's callback can ask for.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use switchboard::{ConnectionId, Context, Core, Failure, LimitExceeded, Slow, TimerId};

use crate::Stats;
use crate::error::SendError;
use crate::reliable::State;

/// The other end of a session, as a [`Handler`](crate::Handler)'s callback reaches it; by deref, the loop's [`Core`]: the
/// time, posts, topics, outgoing connections, counters.
///
/// What is sent leaves when the callback has returned, in as few datagrams as it fits, as far as the peer and the network
/// take it.
pub struct Peer<'a, 'c> {
    cx: &'a mut Context<'c>,
    state: &'a mut State,
}

impl<'a, 'c> Peer<'a, 'c> {
    pub(crate) fn new(cx: &'a mut Context<'c>, state: &'a mut State) -> Self {
        Self { cx, state }
    }

    /// Sends a message: it arrives once, whole, and after those sent before; or the session ends, and
    /// [`Closed::unsent`](crate::Closed::unsent) counts it. It is copied.
    ///
    /// # Errors
    /// [`SendError`], if it is too long, too much waits, or the session closes. Nothing of it is sent then.
    pub fn send(&mut self, message: &[u8]) -> Result<(), SendError> {
        self.state.session.send(message)
    }

    /// Sends what somebody else had sent to this connection. It is counted as undelivered where the session closes.
    pub(crate) fn send_or_count(&mut self, message: &[u8]) -> Result<(), Failure> {
        match self.send(message) {
            Err(SendError::Closing) => {
                self.cx.count_undelivered(1);
                Ok(())
            }
            sent => sent.map_err(Failure::limit),
        }
    }

    /// Whether there is room for more messages. Once this has said no, stop producing: exactly one
    /// [`on_drain`](crate::Handler::on_drain), or `on_close`, will follow. None once the session closes.
    pub fn has_room(&mut self) -> bool {
        let room = self.is_open() && self.backlog() <= self.state.session.settings().send_buffer / 2;
        self.state.owes_drain |= !room;
        room
    }

    /// Bytes sent that are not known to have arrived, with what they take besides (about 150 bytes a datagram).
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.state.session.link().map_or(0, crate::link::Link::backlog)
    }

    /// Messages sent that are not known to have arrived.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.state.session.link().map_or(0, crate::link::Link::unsent)
    }

    /// Closes in order: what was sent arrives, what the peer had sent before it learns of this still comes, then the session
    /// ends; within [`Settings::close_timeout`](crate::Settings::close_timeout), or else as a failure. Goes on with
    /// [paused](Self::pause_reading) delivery.
    pub fn close(&mut self) {
        if let Some(link) = self.state.session.link_mut() {
            link.close();
        }
    }

    /// Ends the session at once. What waits is lost; the peer is told, if that arrives.
    pub fn abort(&mut self) {
        self.state.session.abort(self.cx);
    }

    /// Whether messages can be sent: neither side has begun to close.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state.session.link().is_some_and(crate::link::Link::is_open)
    }

    /// Stops delivery: no messages come until [`resume_reading`](Self::resume_reading). What arrives waits, up to
    /// [`Settings::receive_window`](crate::Settings::receive_window); then the peer has to.
    pub fn pause_reading(&mut self) {
        if let Some(link) = self.state.session.link_mut() {
            link.pause();
        }
    }

    /// Goes on with delivery, of what waits first, when this callback has returned.
    pub fn resume_reading(&mut self) {
        if let Some(link) = self.state.session.link_mut() {
            link.resume();
        }
    }

    /// The smoothed round-trip time (RFC 6298's `SRTT`), which may have an acknowledgement's delay in it; `None` before the
    /// first was measured.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.state.session.link().and_then(crate::link::Link::rtt)
    }

    /// What the session has seen so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.state.session.stats
    }

    /// The connection's id: what others post to.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.cx.id()
    }

    /// The peer's address, if the system tells it.
    #[must_use]
    pub fn addr(&self) -> Option<SocketAddr> {
        self.cx.peer_addr()
    }

    /// This side's address, if the system tells it.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.cx.local_addr()
    }

    /// Sets a timer: [`on_timer`](crate::Handler::on_timer) is called once after `after`. It goes with the session.
    pub fn set_timer(&mut self, after: Duration) -> TimerId {
        self.cx.set_timer(after)
    }

    /// Moves a timer so that it fires after `after` from now. False if it has fired or was cancelled.
    pub fn postpone_timer(&mut self, timer: TimerId, after: Duration) -> bool {
        self.cx.postpone_timer(timer, after)
    }

    /// Cancels a timer. False if it has fired or was cancelled before.
    pub fn cancel_timer(&mut self, timer: TimerId) -> bool {
        self.cx.cancel_timer(timer)
    }

    /// Subscribes to a topic: see [`Context::subscribe`]. What is published there comes to
    /// [`on_publication`](crate::Handler::on_publication), whatever waits to arrive: `slow` alone does not look at that, so
    /// a handler with much to send asks [`has_room`](Self::has_room).
    ///
    /// # Errors
    /// As [`Context::subscribe`].
    pub fn subscribe(&mut self, topic: &str, slow: Slow) -> Result<(), LimitExceeded> {
        self.cx.subscribe(topic, slow)
    }

    /// Unsubscribes; false if it was not subscribed.
    pub fn unsubscribe(&mut self, topic: &str) -> bool {
        self.cx.unsubscribe(topic)
    }
}

impl Deref for Peer<'_, '_> {
    type Target = Core;

    fn deref(&self) -> &Core {
        self.cx
    }
}

impl DerefMut for Peer<'_, '_> {
    fn deref_mut(&mut self) -> &mut Core {
        self.cx
    }
}
