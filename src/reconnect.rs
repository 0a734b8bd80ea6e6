//! Connections that come again when they have ended.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::backoff::{Backoff, between};
use crate::target::Destination;
use crate::{Blame, CloseReason, ConnectOptions, ConnectionId, Core, EndpointId, Message, Protocol, Target, Time};

/// A client that connects again by itself, to be [started](Self::start) on a loop.
///
/// Each attempt is a connection of its own, with a protocol value and an id of its own. The first is made at once; when
/// one has ended (its `on_close` is called, as ever), [`Retry`] says whether another follows, and [`Backoff`] when. What
/// the connection does meanwhile costs nothing: nobody stands between it and the loop.
///
/// ```
/// use std::time::Duration;
/// use switchboard::{Backoff, Bytes, Context, EventLoop, Failure, Input, Protocol, Reconnect};
///
/// /// Says hello each time.
/// struct Greeter(u32);
///
/// impl Protocol for Greeter {
///     fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
///         cx.send(format!("hello, after {} retries\n", self.0).as_bytes());
///         Ok(())
///     }
///     fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
///         input.take_all();
///         Ok(())
///     }
/// }
///
/// let mut event_loop = EventLoop::new()?;
/// let greeter = Reconnect::new(("localhost", 7000), Greeter)
///     .backoff(Backoff { most: Duration::from_secs(30), ..Backoff::default() })
///     .when_over(|core, reason| {
///         println!("that was it: {reason}");
///         core.shutdown(Duration::ZERO);
///     })
///     .start(event_loop.core());
///
/// // Whichever attempt is under way gets it; any thread can do that.
/// event_loop.handle().run(move |core| {
///     let _ = greeter.post(core, Bytes::from("news"));
///     greeter.stop(core);
/// })?;
/// event_loop.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing happens before it is started"]
pub struct Reconnect(Box<State>);

/// Names a client that connects again by itself, on its loop: what stays the same while its connections come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reconnecting(u64);

/// Whether to connect again after a connection has ended, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// Not again.
    No,
    /// Again, after the back-off's wait.
    Backoff,
    /// Again, after this time and then the back-off's wait: the peer has said how long it needs.
    After(Duration),
    /// Again, after a time drawn evenly between these.
    Between(Duration, Duration),
}

impl Retry {
    /// What is done where nobody decides otherwise: again, but not if this side wanted the end
    /// ([`Local`](CloseReason::Local), [`Aborted`](CloseReason::Aborted), [`Switched`](CloseReason::Switched),
    /// [`Shutdown`](CloseReason::Shutdown)) or the program is to blame ([`Blame::Caller`]): that would go on for ever.
    #[must_use]
    pub fn of(reason: &CloseReason) -> Self {
        match reason {
            CloseReason::Local | CloseReason::Aborted { .. } | CloseReason::Switched | CloseReason::Shutdown { .. } => {
                Self::No
            }
            _ if reason.blame() == Some(Blame::Caller) => Self::No,
            _ => Self::Backoff,
        }
    }
}

/// An attempt that has ended, for who [decides](Reconnect::decide) what follows.
#[derive(Debug)]
#[non_exhaustive]
pub struct Ended<'a> {
    /// What its `on_close` was told.
    pub reason: &'a CloseReason,
    /// How long the connection stood; `None` if it was never established.
    pub stood: Option<Duration>,
    /// Whether the back-off begins anew: by default, if it stood for [`Backoff::healthy_after`]. To be changed by who
    /// knows better, such as a protocol with a login that was refused.
    pub healthy: bool,
    /// How many retries in a row had led to it: 0 for the first attempt.
    pub retry: u32,
}

impl Reconnect {
    /// A client of `target`; a name is resolved anew for each attempt. `factory` makes the protocol of each attempt, and
    /// is told how many retries in a row that makes: 0 for the first attempt, 1 for the first after it or after a healthy
    /// connection. (That is when the wait for it begins: the protocol hears nothing more before the connection stands or
    /// has failed.)
    pub fn new<P: Protocol>(target: impl Into<Target>, mut factory: impl FnMut(u32) -> P + 'static) -> Self {
        Self(Box::new(State {
            key: 0,
            targets: vec![target.into()],
            turn: 0,
            options: ConnectOptions::default(),
            factory: Box::new(move |retry| factory(retry).boxed()),
            backoff: Backoff::default(),
            decide: Box::new(|ended| Retry::of(ended.reason)),
            over: None,
            retry: 0,
            opened: None,
            stopped: false,
        }))
    }

    /// Another target, where the same peer is to be found. Each attempt after one that was not healthy takes the next, and
    /// after the last the first.
    pub fn or_to(mut self, target: impl Into<Target>) -> Self {
        self.0.targets.push(target.into());
        self
    }

    /// How each attempt connects.
    pub fn connect_options(mut self, options: &ConnectOptions) -> Self {
        self.0.options = options.clone();
        self
    }

    /// How long it waits, and when it gives up.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.0.backoff = backoff;
        self
    }

    /// Decides otherwise than [`Retry::of`]. Not asked once the client was [stopped](Reconnecting::stop) or the loop
    /// drains.
    pub fn decide(mut self, decide: impl FnMut(&mut Ended<'_>) -> Retry + 'static) -> Self {
        self.0.decide = Box::new(decide);
        self
    }

    /// Calls `over` once, when no further attempt follows: with the reason of the last one's end, which its `on_close`
    /// was told already.
    pub fn when_over(mut self, over: impl FnOnce(&mut Core, &CloseReason) + 'static) -> Self {
        self.0.over = Some(Box::new(over));
        self
    }

    /// Makes the first attempt.
    pub fn start(self, core: &mut Core) -> Reconnecting {
        let mut state = self.0;
        core.reconnects.last += 1;
        state.key = core.reconnects.last;
        let name = Reconnecting(state.key);
        state.attempt(core, Duration::ZERO);
        name
    }
}

impl Reconnecting {
    /// The attempt that is under way: the connection that stands, is being established, or waits for its time. Its id is
    /// another after each end; `None` when no attempt follows any more.
    #[must_use]
    pub fn connection(self, core: &Core) -> Option<ConnectionId> {
        core.reconnects.present.get(&self.0).copied()
    }

    /// Whether a connection stands, and takes messages: it has not begun to close.
    #[must_use]
    pub fn is_connected(self, core: &Core) -> bool {
        let Some(id) = self.connection(core) else { return false };
        core.is_open(id) && core.reconnects.states.get(&id.into()).is_some_and(|state| state.opened.is_some())
    }

    /// Posts a message to the attempt that is under way: see [`Core::post`]. It waits there until the connection stands;
    /// if that attempt fails it is not kept for the next, but counts as
    /// [`messages_undelivered`](crate::Counters::messages_undelivered).
    ///
    /// # Errors
    ///
    /// The message is handed back if no attempt is under way, or its mailbox is full.
    pub fn post(self, core: &mut Core, message: impl Into<Message>) -> Result<(), Message> {
        match self.connection(core) {
            Some(id) => core.post(id, message),
            None => Err(message.into()),
        }
    }

    /// Closes the connection in order, or calls the attempt off, and makes no other. Does nothing if it is over.
    pub fn stop(self, core: &mut Core) {
        let Some(id) = self.connection(core) else { return };
        self.give_up(core);
        core.close(id);
    }

    /// Makes no other attempt. A connection that stands goes on until it ends by itself, such as by a protocol's own
    /// goodbye, which can be [posted](Self::post) to it; one that does not is called off.
    pub fn give_up(self, core: &mut Core) {
        let Some(id) = self.connection(core) else { return };
        let Some(state) = core.reconnects.states.get_mut(&id.into()) else { return };
        state.stopped = true;
        if state.opened.is_none() {
            core.close(id);
        }
    }
}

/// All clients of a loop that connect again by themselves.
#[derive(Default)]
pub(crate) struct Reconnects {
    /// By the attempt that is under way.
    states: BTreeMap<EndpointId, Box<State>>,
    present: BTreeMap<u64, ConnectionId>,
    last: u64,
}

type Over = Box<dyn FnOnce(&mut Core, &CloseReason)>;

struct State {
    key: u64,
    targets: Vec<Target>,
    /// The next attempt's place in them.
    turn: usize,
    options: ConnectOptions,
    factory: Box<dyn FnMut(u32) -> Box<dyn Protocol>>,
    backoff: Backoff,
    decide: Box<dyn FnMut(&mut Ended<'_>) -> Retry>,
    over: Option<Over>,
    /// Retries in a row that led to the present attempt.
    retry: u32,
    /// When the present connection was established.
    opened: Option<Time>,
    stopped: bool,
}

impl State {
    fn attempt(mut self: Box<Self>, core: &mut Core, wait: Duration) {
        self.opened = None;
        let protocol = (self.factory)(self.retry);
        let target = self.targets[self.turn % self.targets.len()].clone();
        let id = core.connect_to(wait, Destination::new(target, &self.options), protocol);
        core.reconnects.present.insert(self.key, id);
        core.reconnects.states.insert(id.into(), self);
    }

    /// How long to wait before the next attempt, if there is to be one.
    fn next_wait(&mut self, core: &mut Core, reason: &CloseReason) -> Option<Duration> {
        if self.stopped || core.is_draining() {
            return None;
        }
        let stood = self.opened.map(|opened| core.now().saturating_since(opened));
        let healthy = stood.is_some_and(|stood| stood >= self.backoff.healthy_after);
        let mut ended = Ended { reason, stood, healthy, retry: self.retry };
        let retry = (self.decide)(&mut ended);
        if ended.healthy {
            self.retry = 1;
        } else {
            self.retry = self.retry.saturating_add(1);
            self.turn = self.turn.wrapping_add(1);
        }
        if self.backoff.retries.is_some_and(|most| self.retry > most) {
            return None;
        }
        match retry {
            Retry::No => None,
            Retry::Backoff => Some(self.backoff.wait(self.retry, core.random_u32())),
            Retry::After(least) => Some(least.saturating_add(self.backoff.wait(self.retry, core.random_u32()))),
            Retry::Between(least, most) => Some(between(least, most, core.random_u32())),
        }
    }
}

impl Reconnects {
    /// An outgoing connection stands.
    pub(crate) fn opened(&mut self, id: EndpointId, now: Time) {
        if let Some(state) = self.states.get_mut(&id) {
            state.opened = Some(now);
        }
    }
}

/// A connection has ended and its protocol was told: if it was an attempt, another may follow.
pub(crate) fn ended(core: &mut Core, id: EndpointId, reason: &CloseReason) {
    let Some(mut state) = core.reconnects.states.remove(&id) else { return };
    match state.next_wait(core, reason) {
        Some(wait) => state.attempt(core, wait),
        None => {
            core.reconnects.present.remove(&state.key);
            if let Some(over) = state.over.take() {
                over(core, reason);
            }
        }
    }
}
