//! What all protocols of a loop share, as they see it.

use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::handle::Handle;
use crate::holdings::Holdings;
use crate::link::Link;
use crate::message::{Body, Mailbox, PostOffice};
use crate::reconnect::{self, Reconnects};
use crate::registry::Registry;
use crate::spare::Spare;
use crate::target::Destination;
use crate::timer::Timers;
use crate::topic::Topics;
use crate::trace;
use crate::watchdog::Watch;
use crate::{
    CloseReason, ConnectionId, Counters, EndpointId, LimitExceeded, Limits, ListenerId, Message, Protocol, SocketId,
    Target, Time, UdpOptions,
};

mod connecting;

/// The part of the event loop that callbacks reach: [`Context`](crate::Context),
/// [`DatagramContext`](crate::DatagramContext) and [`Closing`](crate::Closing) deref to it, and
/// [`EventLoop::core`](crate::EventLoop::core) lends it.
///
/// What it is asked to do happens after the callback has returned.
pub struct Core {
    pub(crate) now: Time,
    pub(crate) limits: Limits,
    pub(crate) timers: Timers,
    pub(crate) registry: Registry,
    pub(crate) post_office: PostOffice,
    pub(crate) topics: Topics,
    pub(crate) counters: Vec<Counters>,
    pub(crate) commands: Vec<Command>,
    /// Who has work to do although no event will say so.
    pub(crate) ready: Vec<EndpointId>,
    /// The protocol switch that the running callback asked for, with the depth of who asked.
    pub(crate) switch: Option<(u8, SwitchTo)>,
    /// Bytes that one write may have in this turn.
    pub(crate) burst: usize,
    /// Bytes held by all connections together.
    pub(crate) held: usize,
    /// How much of that protocols have declared.
    holdings: Holdings,
    /// Large buffers that nobody needs just now.
    pub(crate) spare: Spare,
    /// Connections that exist or are being established.
    pub(crate) connections: usize,
    /// Sessions on bound UDP sockets.
    pub(crate) sessions: usize,
    pub(crate) draining: bool,
    pub(crate) reconnects: Reconnects,
    /// Times every callback, if there is one.
    pub(crate) watch: Option<Box<Watch>>,
    random: ChaCha20Rng,
    handle: Handle,
    /// Why connections closed, for those who test.
    close_reasons: Option<Vec<(EndpointId, CloseReason)>>,
}

/// Makes a protocol out of the one before.
pub(crate) type Wrap = Box<dyn FnOnce(Box<dyn Protocol>) -> Box<dyn Protocol>>;

/// How the next protocol comes about.
pub(crate) enum SwitchTo {
    /// It takes the place of the one before, which ends.
    Replace(Box<dyn Protocol>),
    /// It is made out of the one before, which may live on inside it.
    Wrap(Wrap),
}

/// What callbacks asked of the loop, in order.
pub(crate) enum Command {
    /// Not before the time `at`.
    Connect {
        id: ConnectionId,
        at: Time,
        destination: Box<Destination>,
        protocol: Box<dyn Protocol>,
    },
    ConnectUdp {
        id: ConnectionId,
        target: Target,
        options: Box<UdpOptions>,
        protocol: Box<dyn Protocol>,
    },
    Close {
        id: EndpointId,
        abort: bool,
    },
    /// A connection has exceeded a limit.
    Enforce {
        id: EndpointId,
        limit: LimitExceeded,
    },
    Shutdown {
        timeout: Duration,
    },
}

impl Core {
    pub(crate) fn new(limits: Limits, seed: [u8; 32], handle: Handle) -> Self {
        Self {
            now: Time::ZERO,
            limits,
            timers: Timers::new(),
            registry: Registry::default(),
            post_office: PostOffice::default(),
            topics: Topics::default(),
            counters: vec![Counters::default()],
            commands: Vec::new(),
            ready: Vec::new(),
            switch: None,
            burst: usize::MAX,
            held: 0,
            holdings: Holdings::default(),
            spare: Spare::default(),
            connections: 0,
            sessions: 0,
            draining: false,
            reconnects: Reconnects::default(),
            watch: None,
            random: ChaCha20Rng::from_seed(seed),
            handle,
            close_reasons: None,
        }
    }

    /// From now on keeps every connection's close reason.
    pub(crate) fn keep_close_reasons(&mut self) {
        self.close_reasons = Some(Vec::new());
    }

    pub(crate) fn close_reason_of(&self, id: impl Into<EndpointId>) -> Option<&CloseReason> {
        let id = id.into();
        self.close_reasons.iter().flatten().find(|(closed, _)| *closed == id).map(|(_, reason)| reason)
    }

    /// The connection that closed first of those whose reasons are kept.
    pub(crate) fn first_closed(&self) -> Option<ConnectionId> {
        self.close_reasons.iter().flatten().next().map(|&(id, _)| ConnectionId(id))
    }

    /// A connection's `on_close` was called with this reason.
    pub(crate) fn note_close(&mut self, id: EndpointId, reason: CloseReason) {
        trace::closed(id, &reason);
        reconnect::ended(self, id, &reason);
        if let Some(reasons) = &mut self.close_reasons {
            reasons.push((id, reason));
        }
    }

    /// The time of this turn: read once a turn, so equal in all its callbacks.
    #[must_use]
    #[inline]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Fills `out` from a cryptographically strong generator, which the driver seeds (so that a
    /// simulated run can be repeated).
    pub fn random(&mut self, out: &mut [u8]) {
        self.random.fill_bytes(out);
    }

    /// A random number, from the same generator: for jitter and the like.
    pub fn random_u32(&mut self) -> u32 {
        self.random.next_u32()
    }

    /// The limits the loop was made with.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether `id` names something that takes messages: a connection until it begins to close (its
    /// last output may still be on its way), an outgoing one from the call of
    /// [`connect`](Self::connect) on.
    #[must_use]
    pub fn is_open(&self, id: impl Into<EndpointId>) -> bool {
        self.registry.contains(id.into())
    }

    /// Whether the loop drains, and so will end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Posts a message to a connection or UDP socket: its `on_message` is called later in this
    /// turn, or in the next if this is called from an `on_message`. Messages to one target arrive in
    /// the order posted. They wait while the target is still connecting, or while it is slow (its
    /// output above the high-water mark).
    ///
    /// # Errors
    ///
    /// The message is handed back if the target is gone or its mailbox is full ([`Limits::mailbox`]),
    /// and if it is a listener or a socket of sessions, which take none.
    pub fn post(&mut self, to: impl Into<EndpointId>, message: impl Into<Message>) -> Result<(), Message> {
        let (to, message) = (to.into(), message.into());
        match self.registry.make_desk(to) {
            Some(desk) if desk.mailbox.posts() < self.limits.mailbox.min(Mailbox::MOST) => {
                self.post_office.push(&mut desk.mailbox, to, Body::Message(message));
                Ok(())
            }
            _ => Err(message),
        }
    }

    /// Closes a connection, UDP socket or listener in order, as its own protocol's `close()` would:
    /// what was sent is delivered first. Does nothing if it is gone.
    pub fn close(&mut self, id: impl Into<EndpointId>) {
        self.commands.push(Command::Close { id: id.into(), abort: false });
    }

    /// Cuts a connection off, as its own protocol's `abort()` would.
    pub fn abort(&mut self, id: impl Into<EndpointId>) {
        self.commands.push(Command::Close { id: id.into(), abort: true });
    }

    /// Starts to drain the loop: it stops listening, calls every protocol's `on_shutdown`, and ends
    /// when all have closed, or cuts off those that have not after `timeout`. A further call can
    /// bring the deadline nearer, not put it off.
    pub fn shutdown(&mut self, timeout: Duration) {
        self.commands.push(Command::Shutdown { timeout });
    }

    /// A handle to the loop for other threads.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// All counters of the loop added up.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut total = Counters::default();
        for counters in &self.counters {
            total += *counters;
        }
        total
    }

    /// The counters of all connections that `listener` ever accepted.
    #[must_use]
    pub fn listener_counters(&self, listener: ListenerId) -> Counters {
        self.counters[listener.counters as usize]
    }

    /// The counters of a UDP socket.
    #[must_use]
    pub fn socket_counters(&self, socket: SocketId) -> Counters {
        self.counters[socket.counters as usize]
    }

    /// The counters of all outgoing connections together.
    #[must_use]
    pub fn outgoing_counters(&self) -> Counters {
        self.counters[OUTGOING as usize]
    }

    /// Bytes that all connections hold now: see [`Limits::loop_memory`].
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held
    }

    /// Connections that exist now, those connecting, lingering or delayed included, and those of
    /// [`connect_udp`](Self::connect_udp).
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.connections
    }

    /// Sessions that exist now on all sockets of [`EventLoop::bind_sessions`](crate::EventLoop::bind_sessions).
    #[must_use]
    pub fn open_sessions(&self) -> usize {
        self.sessions
    }

    /// Timers armed now, the loop's own included.
    #[must_use]
    pub fn armed_timers(&self) -> usize {
        self.timers.len()
    }

    /// Messages that wait to be handed over, publications among them (one for each subscriber).
    #[must_use]
    pub fn waiting_messages(&self) -> usize {
        self.post_office.len()
    }

    /// Gives back memory that few of many need no more.
    pub(crate) fn shrink(&mut self) {
        self.registry.shrink();
        self.timers.shrink();
        self.post_office.shrink();
        self.topics.shrink();
        self.ready.shrink_to_fit();
        self.holdings.shrink();
        self.spare = Spare::default();
    }

    /// Closes an id: it names nothing any more. Its subscriptions end; what waited in its mailbox is counted and dropped.
    pub(crate) fn retire(&mut self, link: &Link) {
        self.unsubscribe_from_depth(link.id, 0);
        let mut mailbox = self.registry.retire(link.id);
        while self.post_office.pop_any(&mut mailbox).is_some() {
            self.counters[link.counters as usize].messages_undelivered += 1;
        }
    }

    /// What a protocol declares to hold, at its depth in the layers of `id`.
    pub(crate) fn hold(&mut self, id: EndpointId, depth: u8, bytes: usize) -> Result<(), LimitExceeded> {
        let before = self.holdings.set(id, depth, bytes);
        self.charge(before, bytes)
    }

    /// Nothing is held any more by the protocol at this depth, and those inside it.
    pub(crate) fn release_held(&mut self, id: EndpointId, depth: u8) {
        self.held -= self.holdings.release(id, depth);
    }

    /// Charges the loop's memory with a connection that held `before` bytes and now holds `after`.
    pub(crate) fn charge(&mut self, before: usize, after: usize) -> Result<(), LimitExceeded> {
        self.held = self.held - before + after;
        if after > before && self.held > self.limits.loop_memory {
            return Err(LimitExceeded::LoopMemory { wanted: self.held, limit: self.limits.loop_memory });
        }
        Ok(())
    }
}

/// The index of the outgoing connections' counters.
pub(crate) const OUTGOING: u32 = 0;
