//! What a protocol's callback can ask for.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::core::SwitchTo;
use crate::driver::Stream;
use crate::link::{Flag, Link};
use crate::outbox::Outbox;
use crate::{ConnectionId, Core, EndpointId, LimitExceeded, Protocol, Slow, Time, TimerId};

mod sending;

/// A callback's way to its connection and, by deref, to the loop's [`Core`].
///
/// What is sent is corked: it leaves in one write when the callback has returned, however many pieces it was sent in.
/// (A [large piece](Self::send) takes what came before it along at once.) The other effects happen when the callback
/// has returned, too.
pub struct Context<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) link: &'a mut Link,
    pub(crate) stream: &'a mut dyn Stream,
    pub(crate) out: &'a mut Outbox,
    /// Output waiting further out, in layers around this one and in the connection.
    pub(crate) outside: usize,
    /// Bytes of input that this callback was offered.
    pub(crate) offered: usize,
    /// Bytes at the end of that input that are sent from where they lie, in front of what is corked.
    pub(crate) returned: usize,
    pub(crate) requests: Requests,
    pub(crate) depth: u8,
}

/// How a callback asked for its connection to end, weakest first; the strongest wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Requests {
    #[default]
    None,
    Finish,
    Close,
    Abort,
}

impl<'a> Context<'a> {
    /// The id of this connection.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        ConnectionId(self.link.id)
    }

    /// Whether this connection is a session over UDP: each input is one datagram, and each `send`. What is sent may be
    /// lost, doubled, or overtaken.
    #[must_use]
    pub fn is_datagram(&self) -> bool {
        self.link.flags.contains(Flag::DATAGRAM)
    }

    /// Bytes sent that the system has not taken yet. On a session, those of all sessions on its socket; and if
    /// [`Limits::datagram_queue`](crate::Limits::datagram_queue) is below
    /// [`Limits::high_water`](crate::Limits::high_water), half of what it is below it, so that there is
    /// [no room](Self::has_room) when that queue is half full.
    #[must_use]
    #[inline]
    pub fn backlog(&self) -> usize {
        self.out.len() + self.outside + self.returned
    }

    /// Whether there is room for more output. Once this has said no, stop producing: exactly one
    /// `on_drain`, or `on_close`, will follow.
    #[inline]
    pub fn has_room(&mut self) -> bool {
        let room = self.backlog() <= self.core.limits.high_water / 2;
        if !room {
            self.link.flags.insert(Flag::DRAIN_OWED);
        }
        room
    }

    /// Half-closes: what was sent is delivered, then the peer is told that no more comes. Input goes
    /// on arriving until the peer half-closes too. On a session nobody is told; it only sends no more.
    pub fn finish(&mut self) {
        self.request(Requests::Finish);
    }

    /// Closes in order: what was sent is delivered, then the connection ends. No callback but
    /// `on_close` follows. A session's last datagrams are left to its socket; the next one from that
    /// peer opens a new session.
    pub fn close(&mut self) {
        self.request(Requests::Close);
    }

    /// Cuts the connection off at once (with a reset, on TCP). What waits to be sent is lost.
    pub fn abort(&mut self) {
        self.request(Requests::Abort);
    }

    /// Stops reading: no `on_data` and no `on_eof` until [`resume_reading`](Self::resume_reading).
    /// The peer is slowed down by TCP's window. A broken connection is noticed all the same. On a session, what
    /// arrives meanwhile is dropped and [counted](crate::Counters::datagrams_discarded).
    pub fn pause_reading(&mut self) {
        self.link.flags.insert(Flag::PAUSED);
        self.link.flags.remove(Flag::REOFFER);
    }

    /// Goes on reading. What had been left unconsumed is offered again when this callback has
    /// returned, without waiting for more. (A session has kept nothing.)
    pub fn resume_reading(&mut self) {
        if self.link.flags.contains(Flag::PAUSED) {
            self.link.flags.remove(Flag::PAUSED);
            self.link.flags.insert(Flag::REOFFER);
        }
    }

    /// Whether reading is paused, by the protocol or because the peer does not take its output:
    /// silence proves nothing meanwhile.
    #[must_use]
    pub fn is_reading_paused(&self) -> bool {
        self.link.flags.intersects(Flag::PAUSED | Flag::HELD)
    }

    /// From the next read on, asks the protocol for a [`read_buffer`](Protocol::read_buffer) of its own to read into, until that
    /// is empty. For who has a part of a large message and waits for the rest. Inside a layer and on a session it
    /// does nothing: what is read comes to `on_data`.
    pub fn lend_read_buffer(&mut self) {
        if self.depth == 0 && !self.is_datagram() {
            self.link.flags.insert(Flag::LENDING);
        }
    }

    /// When bytes last arrived from the peer (at first, when the connection was established): they
    /// prove life, also where no `on_data` followed because a protocol [waits](crate::Input::wait_for) for more.
    #[must_use]
    pub fn last_read(&self) -> Time {
        self.link.last_read
    }

    /// When the system last took bytes for the peer (at first, when the connection was established).
    #[must_use]
    pub fn last_write(&self) -> Time {
        self.link.last_write
    }

    /// Sets a timer: [`on_timer`](Protocol::on_timer) is called once after `after`, to the
    /// millisecond or so and never early. It goes with the connection.
    pub fn set_timer(&mut self, after: Duration) -> TimerId {
        let deadline = self.core.now + after;
        self.core.timers.set(self.link.id, &mut self.link.timers, self.depth, deadline)
    }

    /// Moves a timer so that it fires after `after` from now. Pushing a deadline back costs next to
    /// nothing; it can be done for each message. False if the timer has fired or was cancelled.
    pub fn postpone_timer(&mut self, timer: TimerId, after: Duration) -> bool {
        let deadline = self.core.now + after;
        self.core.timers.postpone(timer, deadline)
    }

    /// Cancels a timer. It will not fire, not even if it is due already. False if it has fired or
    /// was cancelled before.
    pub fn cancel_timer(&mut self, timer: TimerId) -> bool {
        self.core.timers.cancel(&mut self.link.timers, timer)
    }

    /// Subscribes to a [topic](Core::publish): what is published on it from now on comes to
    /// [`on_message`](Protocol::on_message), as [`Message::Published`](crate::Message::Published). Whoever is subscribed
    /// already has another policy from now on. The subscription goes with this protocol.
    ///
    /// ```
    /// use switchboard::testkit::Harness;
    /// use switchboard::{Context, Failure, Input, Message, Protocol, Slow};
    ///
    /// /// A display of prices that may skip some, but shows the last of each article.
    /// struct Ticker;
    ///
    /// impl Protocol for Ticker {
    ///     fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
    ///         cx.subscribe("prices", Slow::KeepLatest { waiting: 100 })?;
    ///         Ok(())
    ///     }
    ///
    ///     fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
    ///         if let Message::Published(price) = message {
    ///             cx.send(price.payload());
    ///         }
    ///         Ok(())
    ///     }
    ///
    ///     fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
    ///         input.take_all();
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut harness = Harness::new(Ticker);
    /// for (article, price) in [(7, "7: 100\n"), (8, "8: 20\n"), (7, "7: 101\n")] {
    ///     harness.core().publish_keyed("prices", article, price);
    /// }
    /// harness.settle();
    /// assert_eq!(harness.take_sent(), b"7: 101\n8: 20\n");
    /// ```
    ///
    /// # Errors
    ///
    /// If the connection has as many subscriptions as [`Limits::subscriptions`](crate::Limits::subscriptions) allows, or
    /// the loop has no memory for one more.
    pub fn subscribe(&mut self, topic: &str, slow: Slow) -> Result<(), LimitExceeded> {
        self.core.subscribe(self.link, self.depth, topic, slow)
    }

    /// Ends a subscription: nothing of it comes any more. What waits is dropped, and counted. False if there was none.
    pub fn unsubscribe(&mut self, topic: &str) -> bool {
        self.core.unsubscribe(self.link.id, topic)
    }

    /// Ends the subscriptions of this protocol and of all inside it, as [`unsubscribe`](Self::unsubscribe) does each.
    pub fn unsubscribe_all(&mut self) {
        self.core.unsubscribe_from_depth(self.link.id, self.depth);
    }

    /// Replaces this protocol, and all inside it, by another; layers around it stay.
    ///
    /// When this callback has returned: the timers and subscriptions of this protocol go, it gets
    /// [`on_close`](Protocol::on_close) with [`Switched`](crate::CloseReason::Switched), the new one gets `on_open`,
    /// then the unconsumed bytes, then `on_eof` if that had come, then `on_shutdown` if the loop
    /// drains. Nothing sent or unread is lost. An `Err`, `close` or `abort` of the same callback wins
    /// over the switch.
    pub fn switch_to(&mut self, protocol: impl Protocol) {
        self.link.flags.insert(Flag::ASKED);
        self.core.switch = Some((self.depth, SwitchTo::Replace(protocol.boxed())));
    }

    /// Replaces this protocol by one made out of it, such as a layer around it. As
    /// [`switch_to`](Self::switch_to), but without an `on_close`: the protocol lives on where `wrap`
    /// puts it, and is opened again by what is around it now.
    pub fn switch_with(&mut self, wrap: impl FnOnce(Box<dyn Protocol>) -> Box<dyn Protocol> + 'static) {
        self.link.flags.insert(Flag::ASKED);
        self.core.switch = Some((self.depth, SwitchTo::Wrap(Box::new(wrap))));
    }

    /// Declares that the protocol holds `bytes` in buffers of its own now (messages being put
    /// together), in place of what it declared before. They count against
    /// [`Limits::loop_memory`](crate::Limits::loop_memory) until it declares less, or the connection closes.
    ///
    /// # Errors
    ///
    /// If all connections together would hold more than the loop may; the declaration stands all the
    /// same, so give the memory back and fail (`?`), or declare less.
    pub fn hold(&mut self, bytes: usize) -> Result<(), LimitExceeded> {
        self.core.hold(self.link.id, self.depth, bytes)
    }

    /// Counts messages that were handed to this protocol and that it has to drop, as
    /// [`messages_undelivered`](crate::Counters::messages_undelivered).
    pub fn count_undelivered(&mut self, messages: u64) {
        self.core.counters[self.link.counters as usize].messages_undelivered += messages;
    }

    /// The peer's address, as the system tells it; `None` where the connection has broken.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }

    /// This side's address, as the system tells it; `None` where the connection has broken.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.stream.local_addr().ok()
    }

    fn request(&mut self, request: Requests) {
        self.link.flags.insert(Flag::ASKED);
        self.requests = self.requests.max(request);
    }

    /// Counts bytes of a datagram that no protocol took.
    pub(crate) fn count_discarded(&mut self, bytes: usize) {
        self.core.counters[self.link.counters as usize].bytes_discarded += bytes as u64;
    }

    #[cold]
    fn count_unsent(&mut self, bytes: usize) {
        self.core.counters[self.link.counters as usize].bytes_unsent += bytes as u64;
    }
}

impl Deref for Context<'_> {
    type Target = Core;

    fn deref(&self) -> &Core {
        self.core
    }
}

impl DerefMut for Context<'_> {
    fn deref_mut(&mut self) -> &mut Core {
        self.core
    }
}

/// What is left to a protocol in its [`on_close`](Protocol::on_close): its id, and by deref the
/// loop's [`Core`], to post, to publish, or to connect again.
pub struct Closing<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) id: EndpointId,
    /// The index of the counters that the connection adds to.
    pub(crate) counters: u32,
}

impl Closing<'_> {
    /// The id of the connection that ends. It names nothing any more once `on_close` has returned.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        ConnectionId(self.id)
    }

    /// Counts messages that were handed to this protocol and that it has to drop: see
    /// [`Context::count_undelivered`].
    pub fn count_undelivered(&mut self, messages: u64) {
        self.core.counters[self.counters as usize].messages_undelivered += messages;
    }
}

impl Deref for Closing<'_> {
    type Target = Core;

    fn deref(&self) -> &Core {
        self.core
    }
}

impl DerefMut for Closing<'_> {
    fn deref_mut(&mut self) -> &mut Core {
        self.core
    }
}
