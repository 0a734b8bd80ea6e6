//! Whole event loops on one network in virtual time, from a seed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::{ConnectionId, EndpointId, EventLoop, Limits, Time};

mod conditions;
mod datagram;
mod driver;
mod names;
mod scheduling;
mod stream;
mod weather;
mod wire;

pub use conditions::{Conditions, Faults};
use driver::Wakes;
pub use driver::{SimulatedDriver, SimulatedListener, SimulatedSocket, SimulatedStream};
use wire::{Happening, Shared, Wire};

/// A network of hosts, each an [`EventLoop`], on one thread and in virtual time: the very loops that
/// run on real sockets, with everything below them drawn from a seed. The same seed gives the same
/// run, to the byte.
///
/// Nothing happens between calls: [`run_for`](Self::run_for), [`run_until`](Self::run_until),
/// [`run_to_rest`](Self::run_to_rest) and [`step`](Self::step) turn whichever loops have something to
/// do, and when none has, move the clock to the next thing due. So a month without traffic takes no
/// time. A turn takes none either: whatever is due at a moment is done at that moment.
///
/// ```
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use std::time::Duration;
/// use switchboard::{Context, Failure, Input, Protocol, Time, protocol_fn, testkit::Simulation};
///
/// /// Asks, and notes when the answer is complete.
/// struct Asking(Rc<RefCell<Option<Time>>>);
///
/// impl Protocol for Asking {
///     fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
///         cx.send(b"anybody there?");
///         Ok(())
///     }
///     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
///         if &**input == b"anybody there?" {
///             input.take_all();
///             *self.0.borrow_mut() = Some(cx.now());
///             cx.close();
///         }
///         Ok(())
///     }
/// }
///
/// let mut sim = Simulation::new(42);
/// let (server, client) = (sim.add_host("server"), sim.add_host("client"));
/// let address = sim.address(server, 7000);
/// sim.event_loop(server).listen(address, |_| {
///     Some(protocol_fn(|cx, input| {
///         cx.send(input.take_all());
///         Ok(())
///     }))
/// })?;
/// let answered = Rc::default();
/// sim.event_loop(client).connect(address, Asking(Rc::clone(&answered)));
/// assert!(sim.run_to_rest(Duration::from_secs(60)));
/// // There and back to connect, and again to be answered, at a millisecond each way.
/// assert_eq!(*answered.borrow(), Some(Time::ZERO + Duration::from_millis(4)));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// What TCP does is what its users can see of it: bytes in order and behind them the FIN, buffers of
/// a size that fill, a reset for who closes with input unread, edges as epoll reports them. Where
/// nobody listens a connect is refused, and where no host is nobody answers. It never gives up on
/// what it has under way, as a real one does after a quarter of an hour. A datagram to a port that
/// nobody has is refused, too, which a connected socket is told. With
/// [`Conditions`] the network does its worst, and [`Faults`] say how often it did.
///
/// `SHORT_MEANS_DRAINED` is as of [`Driver`](crate::driver::Driver::SHORT_MEANS_DRAINED).
pub struct Simulation<const SHORT_MEANS_DRAINED: bool = true> {
    hosts: Vec<Node<SHORT_MEANS_DRAINED>>,
    /// When a host next has something to do of itself.
    deadlines: BTreeSet<(Time, usize)>,
    wire: Shared,
    wakes: Arc<Wakes>,
    /// Hosts whose loops were lent, and may have been given something to do.
    lent: Vec<usize>,
}

impl<const DRAINED: bool> fmt::Debug for Simulation<DRAINED> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.hosts.iter().map(|node| &node.name).collect::<Vec<_>>();
        f.debug_struct("Simulation").field("now", &self.now()).field("hosts", &hosts).finish_non_exhaustive()
    }
}

/// Names one host of a [`Simulation`].
///
/// ```
/// use switchboard::testkit::Simulation;
///
/// let mut sim = Simulation::new(1);
/// let (near, far) = (sim.add_host("near"), sim.add_host("far"));
/// assert_eq!(sim.name(far), "far");
/// assert_eq!(sim.address(near, 80).to_string(), "10.0.0.1:80");
/// sim.partition(near, far);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(usize);

struct Node<const SHORT_MEANS_DRAINED: bool> {
    name: String,
    event_loop: EventLoop<SimulatedDriver<SHORT_MEANS_DRAINED>>,
    /// As it stands in `deadlines`.
    deadline: Option<Time>,
    /// How often it was turned at this time.
    turns: u32,
    turned: Time,
}

impl Simulation {
    /// A network without hosts, whose readiness is epoll's. Everything in it follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_seed(seed)
    }
}

impl Simulation<false> {
    /// As [`new`](Simulation::new), where readiness ends only at `WouldBlock`.
    #[must_use]
    pub fn until_would_block(seed: u64) -> Self {
        Self::with_seed(seed)
    }
}

impl<const SHORT_MEANS_DRAINED: bool> Simulation<SHORT_MEANS_DRAINED> {
    fn with_seed(seed: u64) -> Self {
        Self {
            hosts: Vec::new(),
            deadlines: BTreeSet::new(),
            wire: Rc::new(RefCell::new(Wire::new(seed, SHORT_MEANS_DRAINED))),
            wakes: Arc::default(),
            lent: Vec::new(),
        }
    }

    /// Adds a host with default [`Limits`]. The first has the address 10.0.0.1, the second 10.0.0.2,
    /// and so on; others can connect to it by its name.
    pub fn add_host(&mut self, name: &str) -> Host {
        self.add_host_with(name, Limits::default())
    }

    /// Adds a host.
    ///
    /// # Panics
    ///
    /// If the limits contradict each other.
    pub fn add_host_with(&mut self, name: &str, limits: Limits) -> Host {
        let host = self.wire.borrow_mut().add_host();
        self.set_addresses(name, [Wire::ip(host)]);
        let driver = SimulatedDriver { wire: Rc::clone(&self.wire), host, wakes: Arc::clone(&self.wakes) };
        let event_loop = match EventLoop::with_driver(driver, limits) {
            Ok(event_loop) => event_loop,
            Err(error) => panic!("host {name}: {error}"),
        };
        let (deadline, turned) = (None, Time::ZERO);
        self.hosts.push(Node { name: name.to_owned(), event_loop, deadline, turns: 0, turned });
        Host(host)
    }

    /// The address of a host's port.
    #[must_use]
    pub fn address(&self, host: Host, port: u16) -> SocketAddr {
        SocketAddr::new(Wire::ip(host.0), port)
    }

    /// A host's address of IPv6: fd00::1 for the first. Who listens on a port of one of a host's addresses listens on
    /// both.
    #[must_use]
    pub fn address_v6(&self, host: Host, port: u16) -> SocketAddr {
        SocketAddr::new(Wire::ip6(host.0), port)
    }

    /// From now on `name` is resolved to these addresses, in this order: a host's own name, which at first has its IPv4
    /// address, or any other. With none it does not exist.
    ///
    /// ```
    /// use switchboard::testkit::Simulation;
    ///
    /// let mut sim = Simulation::new(1);
    /// let server = sim.add_host("server");
    /// let nobody = "fd00::bad".parse().unwrap();
    /// sim.set_addresses("server", [nobody, sim.address(server, 0).ip()]);
    /// ```
    pub fn set_addresses(&mut self, name: &str, addresses: impl IntoIterator<Item = IpAddr>) {
        self.wire.borrow_mut().names.addresses.insert(name.to_owned(), addresses.into_iter().collect());
    }

    /// The name a host was given.
    #[must_use]
    pub fn name(&self, host: Host) -> &str {
        &self.hosts[host.0].name
    }

    /// A host's event loop, to listen, connect, post, and look at. What it is asked for happens when
    /// the simulation next runs.
    pub fn event_loop(&mut self, host: Host) -> &mut EventLoop<SimulatedDriver<SHORT_MEANS_DRAINED>> {
        if self.lent.last() != Some(&host.0) {
            self.lent.push(host.0);
        }
        &mut self.hosts[host.0].event_loop
    }

    // The weather.

    /// Sets the conditions between all hosts, those set for pairs included. Connections keep the
    /// buffers that they were made with.
    ///
    /// # Panics
    ///
    /// If a chance is not between 0 and 1, or a size is 0.
    pub fn set_conditions(&mut self, conditions: Conditions) {
        self.wire.borrow_mut().weather.set(conditions, None);
    }

    /// Sets the conditions between two hosts (or of one with itself).
    ///
    /// # Panics
    ///
    /// As [`set_conditions`](Self::set_conditions).
    pub fn set_conditions_between(&mut self, a: Host, b: Host, conditions: Conditions) {
        self.wire.borrow_mut().weather.set(conditions, Some((a.0, b.0)));
    }

    /// From now on nothing passes between two hosts: datagrams are lost, and what TCP has under way
    /// waits.
    pub fn partition(&mut self, a: Host, b: Host) {
        self.wire.borrow_mut().partition(a.0, b.0);
    }

    /// Ends a partition. What TCP had under way arrives at its next retransmission, within 200 ms and
    /// the latency.
    pub fn heal(&mut self, a: Host, b: Host) {
        self.wire.borrow_mut().heal(a.0, b.0);
    }

    /// A host's process does not get to run for a while: its loop is not turned, and what arrives
    /// waits in the buffers of its sockets.
    pub fn stall(&mut self, host: Host, duration: Duration) {
        let mut wire = self.wire.borrow_mut();
        let until = wire.now + duration;
        let state = &mut wire.hosts[host.0];
        state.stalled_until = state.stalled_until.max(Some(until));
        wire.schedule(until, Happening::Resume(host.0));
    }

    /// A host's clock leaps forward by `by`, as that of a suspended laptop does; everybody else's
    /// goes on as before.
    pub fn jump_clock(&mut self, host: Host, by: Duration) {
        let mut wire = self.wire.borrow_mut();
        wire.hosts[host.0].skew += by;
        wire.make_runnable(host.0);
    }

    /// A host has no descriptors to spare for a while: it can't accept, connect, listen or bind.
    pub fn exhaust_descriptors(&mut self, host: Host, duration: Duration) {
        let mut wire = self.wire.borrow_mut();
        let until = wire.now + duration;
        let state = &mut wire.hosts[host.0];
        state.exhausted_until = state.exhausted_until.max(until);
    }

    /// Sabotage, to see whether a test would notice: the `n`th readiness from now (1 is the next) that
    /// the host's driver would report is lost.
    pub fn lose_edge(&mut self, host: Host, n: u64) {
        self.wire.borrow_mut().hosts[host.0].sabotage = Some(n);
    }

    // Running.

    /// The time now. A host's own clock may be [ahead](Self::jump_clock).
    #[must_use]
    pub fn now(&self) -> Time {
        self.wire.borrow().now
    }

    /// A hash of everything that has happened so far: what was sent, arrived, was read and reported,
    /// and when. Equal for equal seeds.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.wire.borrow().digest.0
    }

    /// How often the network has done what.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.wire.borrow().weather.faults
    }

    /// Turns one host that has something to do, or else moves the clock to the next thing due and
    /// lets that happen. False if nothing is left to do, ever.
    ///
    /// # Panics
    ///
    /// If a host spins: it always has something more to do, and time never moves on.
    pub fn step(&mut self) -> bool {
        self.step_by(Time::MAX)
    }

    /// Runs for a span of virtual time.
    ///
    /// # Panics
    ///
    /// As [`step`](Self::step).
    pub fn run_for(&mut self, duration: Duration) {
        let until = self.now() + duration;
        while self.step_by(until) {}
        self.wire.borrow_mut().now = until;
    }

    /// Runs until `condition` holds, which is asked before each step; false if it did not within
    /// `limit`.
    ///
    /// # Panics
    ///
    /// As [`step`](Self::step).
    pub fn run_until(&mut self, limit: Duration, mut condition: impl FnMut(&mut Self) -> bool) -> bool {
        let until = self.now() + limit;
        loop {
            if condition(self) {
                return true;
            }
            if !self.step_by(until) {
                self.wire.borrow_mut().now = until;
                return false;
            }
        }
    }

    /// Runs until nothing is left to do: no bytes under way, no timer armed. False if something still
    /// is after `limit`.
    ///
    /// # Panics
    ///
    /// As [`step`](Self::step).
    pub fn run_to_rest(&mut self, limit: Duration) -> bool {
        let until = self.now() + limit;
        while self.step_by(until) {}
        let at_rest = self.next_due().is_none();
        if !at_rest {
            self.wire.borrow_mut().now = until;
        }
        at_rest
    }

    /// The network resets every connection there is.
    pub(super) fn reset_all(&mut self) {
        self.wire.borrow_mut().reset_all();
    }

    /// The first connection that a host accepted.
    pub(super) fn first_accepted(&self, host: Host) -> Option<ConnectionId> {
        let key = self.wire.borrow().hosts[host.0].first_accepted?;
        Some(ConnectionId(EndpointId::from_key(key)))
    }
}
