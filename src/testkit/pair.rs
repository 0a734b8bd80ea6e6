//! Two protocols on one link.

use std::fmt;
use std::time::Duration;

use super::simulation::{Conditions, Host, SimulatedDriver, Simulation};
use crate::{CloseReason, ConnectionId, Context, EventLoop, Limits, Message, Protocol, Time};

/// How long the link may take to be established.
const PATIENCE: Duration = Duration::from_secs(3600);

const PORT: u16 = 1;

/// Two protocols, joined by a link in virtual time: what one sends the other is given, after a
/// latency, in pieces, through buffers that fill, as [`Conditions`] have it. A [`Simulation`] of two
/// hosts is below.
///
/// ```
/// use std::time::Duration;
/// use switchboard::{Context, Failure, Input, Protocol, testkit::Pair};
///
/// /// Counts down in turn with its like.
/// struct Countdown(Option<u8>);
///
/// impl Protocol for Countdown {
///     fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
///         self.0.inspect(|&from| cx.send(&[from]));
///         Ok(())
///     }
///     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
///         match input.take(1) {
///             [0] => cx.close(),
///             number => cx.send(&[number[0] - 1]),
///         }
///         Ok(())
///     }
/// }
///
/// let mut pair = Pair::new(Countdown(Some(9)), Countdown(None));
/// let opened = pair.now();
/// assert!(pair.run_to_rest(Duration::from_secs(60)));
/// assert_eq!(pair.left().close_reason().unwrap().to_string(), "closed by this side");
/// assert_eq!(pair.right().close_reason().unwrap().to_string(), "closed by the peer");
/// // Ten numbers and the two half-closes, a millisecond each.
/// assert_eq!(pair.now().saturating_since(opened), Duration::from_millis(12));
/// ```
pub struct Pair {
    simulation: Simulation,
    hosts: [Host; 2],
    ids: [ConnectionId; 2],
}

impl Pair {
    /// Joins two protocols by a calm link with a millisecond of latency, and opens both: `left`
    /// connects, `right` accepts.
    #[must_use]
    pub fn new(left: impl Protocol, right: impl Protocol) -> Self {
        Self::with(Conditions::default(), 0, left, right)
    }

    /// Joins two protocols by a link of any kind; its chances are drawn from `seed`. Connecting always
    /// works: nothing is refused or reset before both sides stand.
    ///
    /// # Panics
    ///
    /// If the conditions make no sense.
    #[must_use]
    pub fn with(conditions: Conditions, seed: u64, left: impl Protocol, right: impl Protocol) -> Self {
        Self::with_limits(&Limits::default(), conditions, seed, left, right)
    }

    /// As [`with`](Self::with), with limits of the test's own for either side.
    ///
    /// # Panics
    ///
    /// If the conditions make no sense, or the limits contradict each other.
    #[must_use]
    pub fn with_limits(
        limits: &Limits,
        conditions: Conditions,
        seed: u64,
        left: impl Protocol,
        right: impl Protocol,
    ) -> Self {
        let mut simulation = Simulation::new(seed);
        let hosts = ["left", "right"].map(|name| simulation.add_host_with(name, limits.clone()));
        simulation.set_conditions(Conditions {
            refused: 0.0,
            aborted_accepts: 0.0,
            resets: 0.0,
            loss: 0.0,
            ..conditions.clone()
        });
        let address = simulation.address(hosts[1], PORT);
        for host in hosts {
            simulation.event_loop(host).core().keep_close_reasons();
        }
        let mut right = Some(right);
        let listener = simulation.event_loop(hosts[1]).listen(address, move |_| right.take());
        let listener = listener.expect("the port is free");
        let client = simulation.event_loop(hosts[0]).connect(address, left);
        let opened = simulation.run_until(PATIENCE, |simulation| {
            simulation.first_accepted(hosts[1]).is_some() && simulation.event_loop(hosts[0]).counters().opened == 1
        });
        assert!(opened, "the link was not established within {PATIENCE:?}");
        simulation.event_loop(hosts[1]).core().close(listener);
        simulation.set_conditions(conditions);
        let server = simulation.first_accepted(hosts[1]).expect("it was accepted, as just seen");
        Self { simulation, hosts, ids: [client, server] }
    }

    /// The side that connected.
    pub fn left(&mut self) -> Side<'_> {
        Side { pair: self, index: 0 }
    }

    /// The side that accepted.
    pub fn right(&mut self) -> Side<'_> {
        Side { pair: self, index: 1 }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Time {
        self.simulation.now()
    }

    /// Runs for a span of virtual time.
    ///
    /// # Panics
    ///
    /// If a side spins: see [`Simulation::step`].
    pub fn run_for(&mut self, duration: Duration) {
        self.simulation.run_for(duration);
    }

    /// Runs until `condition` holds, which is asked before each step; false if it did not within
    /// `limit`.
    ///
    /// # Panics
    ///
    /// As [`run_for`](Self::run_for).
    pub fn run_until(&mut self, limit: Duration, mut condition: impl FnMut(&mut Self) -> bool) -> bool {
        let until = self.now() + limit;
        loop {
            if condition(self) {
                return true;
            }
            if !self.simulation.step_by(until) {
                self.simulation.run_for(until.saturating_since(self.now()));
                return false;
            }
        }
    }

    /// Runs until nothing is left to do: no bytes under way, no timer armed. False if something still
    /// is after `limit`.
    ///
    /// # Panics
    ///
    /// As [`run_for`](Self::run_for).
    pub fn run_to_rest(&mut self, limit: Duration) -> bool {
        self.simulation.run_to_rest(limit)
    }

    /// The network resets the link: either side's connection breaks.
    pub fn reset(&mut self) {
        self.simulation.reset_all();
    }

    /// Changes what the link is like from now on. The buffers stay as they were made.
    ///
    /// # Panics
    ///
    /// If the conditions make no sense.
    pub fn set_conditions(&mut self, conditions: Conditions) {
        self.simulation.set_conditions(conditions);
    }

    /// From now on nothing passes.
    pub fn cut(&mut self) {
        self.simulation.partition(self.hosts[0], self.hosts[1]);
    }

    /// Ends a [`cut`](Self::cut): what was under way arrives after all.
    pub fn mend(&mut self) {
        self.simulation.heal(self.hosts[0], self.hosts[1]);
    }

    /// The simulation below, for what else it can do.
    pub fn simulation(&mut self) -> &mut Simulation {
        &mut self.simulation
    }
}

/// One side of a [`Pair`].
///
/// ```
/// use std::time::Duration;
/// use switchboard::{protocol_fn, testkit::Pair};
///
/// let listens = || protocol_fn(|_, input| {
///     assert_eq!(input.take_all(), b"hello");
///     Ok(())
/// });
/// let mut pair = Pair::new(listens(), listens());
/// pair.left().with(|cx| {
///     cx.send(b"hello");
///     cx.finish();
/// });
/// pair.run_for(Duration::from_secs(1));
/// assert!(!pair.left().is_open());
/// assert!(pair.right().close_reason().unwrap().is_clean());
/// ```
pub struct Side<'a> {
    pair: &'a mut Pair,
    index: usize,
}

impl<'a> Side<'a> {
    /// The protocol, if it is (still) a `P`; `None` once the connection has closed.
    pub fn protocol<P: Protocol>(self) -> Option<&'a mut P> {
        let (pair, index) = (self.pair, self.index);
        let id = pair.ids[index];
        pair.simulation.event_loop(pair.hosts[index]).protocol(id)
    }

    /// Runs a closure as one of the protocol's callbacks (to send, to half-close, …); `None` if the
    /// connection has closed.
    pub fn with<R>(&mut self, closure: impl FnOnce(&mut Context<'_>) -> R) -> Option<R> {
        let id = self.id();
        self.event_loop().with(id, closure)
    }

    /// As [`with`](Self::with), with the protocol, if it is a `P`.
    pub fn with_protocol<P: Protocol, R>(&mut self, closure: impl FnOnce(&mut P, &mut Context<'_>) -> R) -> Option<R> {
        let id = self.id();
        self.event_loop().with_protocol(id, closure)
    }

    /// Posts a message to the protocol, which it is handed when the pair next runs.
    ///
    /// # Errors
    ///
    /// The message, if the connection is gone or its mailbox full.
    pub fn post(&mut self, message: impl Into<Message>) -> Result<(), Message> {
        let id = self.id();
        self.event_loop().core().post(id, message)
    }

    /// The process does not get to run for a while: what arrives waits.
    pub fn stall(&mut self, duration: Duration) {
        let host = self.pair.hosts[self.index];
        self.pair.simulation.stall(host, duration);
    }

    /// Whether `on_close` is still to come.
    #[must_use]
    pub fn is_open(&mut self) -> bool {
        let id = self.id();
        self.event_loop().core().close_reason_of(id).is_none()
    }

    /// What `on_close` was told, once it was.
    #[must_use]
    pub fn close_reason(self) -> Option<&'a CloseReason> {
        let (pair, index) = (self.pair, self.index);
        let id = pair.ids[index];
        pair.simulation.event_loop(pair.hosts[index]).core().close_reason_of(id)
    }

    /// The id of the connection on its loop.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.pair.ids[self.index]
    }

    /// The loop below.
    pub fn event_loop(&mut self) -> &mut EventLoop<SimulatedDriver> {
        let host = self.pair.hosts[self.index];
        self.pair.simulation.event_loop(host)
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("now", &self.now())
            .field("left", &self.ids[0])
            .field("right", &self.ids[1])
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Side<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Side")
            .field("id", &self.id())
            .field("name", &self.pair.simulation.name(self.pair.hosts[self.index]))
            .finish_non_exhaustive()
    }
}
