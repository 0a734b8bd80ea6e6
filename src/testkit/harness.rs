//! One protocol value, driven by hand.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::stage::Stage;
use super::witness::Witness;
use super::{Inbox, MemoryDriver, Network, Peer, Transcript};
use crate::{CloseReason, ConnectionId, Context, Core, EventLoop, Limits, Message, Protocol, Time};

/// Drives one protocol value by hand: bytes in, bytes out, time advanced, half-close, reset.
///
/// Below it is a whole event loop on a network in memory, so everything a protocol can ask for
/// works. After each step the loop has come to rest: whatever the step led to has happened.
///
/// A test can look at what each step led to, or read the whole conversation at its end:
///
/// ```
/// use std::time::Duration;
/// use switchboard::testkit::Harness;
/// use switchboard_heartbeat::{Config, Heartbeat, PingPong};
///
/// let config = Config::new(Duration::from_secs(5), Duration::from_secs(8))?.with_jitter(Duration::ZERO)?;
/// let mut harness = Harness::new(Heartbeat::new(config).around(PingPong::default())).recording();
/// harness.feed(b"PING 7\n");
/// harness.advance(Duration::from_secs(6));
/// harness.feed(b"PONG 1\n");
/// harness.eof();
/// assert_eq!(harness.transcript().to_string(), r#"
/// 0.000s → "PING 7\n"
/// 0.000s ← "PONG 7\n"
/// 5.000s ← "PING 1\n"
/// 6.000s → "PONG 1\n"
/// 6.000s → half-close
/// 6.000s ← half-close
/// 6.000s closed: closed by the peer
/// "#.trim_start());
/// # Ok::<(), switchboard_heartbeat::ConfigError>(())
/// ```
pub struct Harness {
    stage: Stage,
    peer: Peer,
    id: ConnectionId,
    witness: Option<Witness>,
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
        let mut stage = Stage::new(limits);
        let id = stage.event_loop.connect(SocketAddr::from(([127, 0, 0, 1], 1)), protocol);
        stage.turn();
        let peer = stage.network.next_outgoing().expect("the loop has begun to connect");
        Self { stage, peer, id, witness: None }
    }

    /// From now on keeps a [`transcript`](Self::transcript); what was sent and not taken before stands
    /// at its beginning.
    #[must_use]
    pub fn recording(mut self) -> Self {
        self.witness = Some(Witness::default());
        self.look();
        self
    }

    /// The conversation since [`recording`](Self::recording) began.
    ///
    /// # Panics
    ///
    /// If it did not.
    #[must_use]
    pub fn transcript(&self) -> &Transcript {
        &self.witness.as_ref().expect("recording() comes before transcript()").transcript
    }

    /// Bytes arrive.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.note_received(bytes);
        self.peer.send(bytes);
        self.settle();
    }

    /// Bytes arrive, with the peer's half-close in the same event.
    pub fn feed_eof(&mut self, bytes: &[u8]) {
        self.note_received(bytes);
        self.note("→ half-close");
        self.peer.send(bytes);
        self.peer.finish();
        self.settle();
    }

    /// The peer half-closes.
    pub fn eof(&mut self) {
        self.note("→ half-close");
        self.peer.finish();
        self.settle();
    }

    /// The peer resets the connection.
    pub fn reset(&mut self) {
        self.note("→ reset");
        self.peer.reset();
        self.settle();
    }

    /// Time passes; timers fire on the way, each at its own time.
    pub fn advance(&mut self, by: Duration) {
        let Self { stage, peer, id, witness } = self;
        stage.advance(by, |stage| {
            if let Some(witness) = witness {
                witness.look(stage, peer, *id);
            }
        });
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Time {
        self.stage.network.now()
    }

    /// Takes what the protocol has sent since this was last called, as far as the peer
    /// [took](Peer::set_window) it.
    #[must_use]
    pub fn take_sent(&mut self) -> Vec<u8> {
        if let Some(witness) = &mut self.witness {
            witness.forget_sent();
        }
        self.peer.take_received()
    }

    /// Lets the peer take this many more bytes; any number until this is first called.
    pub fn set_window(&mut self, window: usize) {
        if self.witness.is_some() {
            self.note(format!("→ takes {window} more bytes"));
        }
        self.peer.set_window(window);
        self.settle();
    }

    /// Posts a message to the protocol.
    ///
    /// # Errors
    ///
    /// The message, if the connection is gone or its mailbox full.
    pub fn post(&mut self, message: impl Into<Message>) -> Result<(), Message> {
        self.note("posted");
        let posted = self.stage.event_loop.core().post(self.id, message);
        self.settle();
        posted
    }

    /// The loop drains; see [`Core::shutdown`].
    pub fn shutdown(&mut self, timeout: Duration) {
        self.note("the loop drains");
        self.stage.event_loop.core().shutdown(timeout);
        self.settle();
    }

    /// Somebody on the same loop for the protocol to post to.
    #[must_use]
    pub fn inbox(&mut self) -> Inbox {
        let inbox = Inbox::open(&mut self.stage);
        self.settle();
        inbox
    }

    /// When the protocol's timers are due (those of layers and of what they are around, too), the
    /// next first.
    #[must_use]
    pub fn timers(&self) -> Vec<Time> {
        self.stage.event_loop.timers_of(self.id.into())
    }

    /// Runs a closure as one of the protocol's callbacks; `None` if the connection has closed.
    pub fn with<R>(&mut self, closure: impl FnOnce(&mut Context<'_>) -> R) -> Option<R> {
        let returned = self.stage.event_loop.with(self.id, closure);
        self.settle();
        returned
    }

    /// The protocol, if it is (still) a `P`; `None` once the connection has closed.
    pub fn protocol<P: Protocol>(&mut self) -> Option<&mut P> {
        self.stage.event_loop.protocol(self.id)
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
        self.stage.event_loop.core().close_reason_of(self.id)
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
    /// If it does not: some protocol makes work for itself without end.
    pub fn settle(&mut self) {
        self.stage.settle();
        self.look();
    }

    /// Writes down what is new, if a transcript is kept.
    fn look(&mut self) {
        if let Some(witness) = &mut self.witness {
            witness.look(&mut self.stage, &self.peer, self.id);
        }
    }

    fn note_received(&mut self, bytes: &[u8]) {
        if let Some(witness) = &mut self.witness {
            witness.transcript.received(self.stage.network.now(), bytes);
        }
    }

    fn note(&mut self, what: impl Into<Cow<'static, str>>) {
        if let Some(witness) = &mut self.witness {
            witness.transcript.note(self.stage.network.now(), what);
        }
    }
}

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness")
            .field("id", &self.id)
            .field("now", &self.now())
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
