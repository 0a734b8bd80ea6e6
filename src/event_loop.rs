//! The event loop: who is called when.
//!
//! [`EventLoop::turn`] is the whole reactor; its numbered steps are the loop's order.

use std::io;
use std::time::Duration;
use std::vec::IntoIter;

use crate::connection::Workshop;
use crate::core::Command;
use crate::driver::{Driver, MioDriver};
use crate::handle::{Handle, Remote};
use crate::udp::DatagramWorkshop;
use crate::{Core, Counters, EndpointId, Limits, Time, TimerId};

mod accepting;
mod budget;
mod commands;
mod connecting;
mod dialing;
mod drain;
mod embedding;
mod entries;
mod opening;
mod serving;
mod sessions;

use budget::Step;
use drain::Drain;
pub use drain::Tally;
use entries::{Entries, Entry};

/// A single-threaded event loop over a [`Driver`]: mio's, unless told otherwise.
///
/// It is made, used and dropped on one thread; a [`Handle`] reaches it from others. Run it with
/// [`run`](Self::run), or embed it: with [`turn`](Self::turn), with [`turn_within`](Self::turn_within) where time is
/// short, and on Unix inside another loop, by its descriptor (`AsFd`) and [`next_deadline`](Self::next_deadline).
///
/// ```
/// use switchboard::{EventLoop, protocol_fn};
///
/// let mut event_loop = EventLoop::new()?;
/// let listener = event_loop.listen("127.0.0.1:0", |_peer| {
///     Some(protocol_fn(|cx, input| {
///         cx.send(input.take_all());
///         Ok(())
///     }))
/// })?;
/// println!("echo on {}", event_loop.local_addr(listener).unwrap());
/// // event_loop.run()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct EventLoop<D: Driver = MioDriver> {
    driver: D,
    core: Core,
    entries: Entries<D>,
    shop: Workshop,
    datagrams: DatagramWorkshop,
    handle: Handle,
    /// Listeners that wait for a connection to end before they accept more.
    full: Vec<EndpointId>,
    drain: Option<Drain>,
    tally: Option<Tally>,
    /// Where the turn stands that [`turn_within`](Self::turn_within) has left.
    step: Step,
    /// How much of that step's list is done.
    done: usize,
    /// When its budget is used up.
    slice_end: Time,
    /// Connections that are to say goodbye, and commands that are being carried out.
    leaving: IntoIter<EndpointId>,
    commands: IntoIter<Command>,
    // Lists that are filled and emptied every turn, kept for their capacity; and what the last poll has found.
    events: D::Events,
    ready: Vec<EndpointId>,
    due: Vec<(Time, u32, TimerId)>,
    remote: Vec<Remote>,
    round: Vec<EndpointId>,
}

impl EventLoop<MioDriver> {
    /// A loop on the operating system's sockets, with default [`Limits`].
    ///
    /// # Errors
    ///
    /// If the system is out of descriptors or memory.
    pub fn new() -> io::Result<Self> {
        Self::with_limits(Limits::default())
    }

    /// A loop on the operating system's sockets.
    ///
    /// # Errors
    ///
    /// If the system is out of descriptors or memory, or the limits contradict each other.
    pub fn with_limits(limits: Limits) -> io::Result<Self> {
        Self::with_driver(MioDriver::new()?, limits)
    }
}

impl<D: Driver> EventLoop<D> {
    /// A loop on any driver.
    ///
    /// # Errors
    ///
    /// If the limits contradict each other, or the driver has no randomness.
    pub fn with_driver(mut driver: D, limits: Limits) -> io::Result<Self> {
        limits.check().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let handle = Handle::new(driver.waker(), limits.handle_queue);
        let shop = Workshop::new(&limits, D::SHORT_MEANS_DRAINED);
        let mut core = Core::new(limits, driver.seed()?, handle.clone());
        core.now = driver.now();
        Ok(Self {
            driver,
            core,
            entries: Entries::default(),
            shop,
            datagrams: DatagramWorkshop::default(),
            handle,
            full: Vec::new(),
            drain: None,
            tally: None,
            step: Step::Poll,
            done: 0,
            slice_end: Time::ZERO,
            leaving: IntoIter::default(),
            commands: IntoIter::default(),
            events: D::Events::default(),
            ready: Vec::new(),
            due: Vec::new(),
            remote: Vec::new(),
            round: Vec::new(),
        })
    }

    /// Runs until the loop has drained: until [`shutdown`](Core::shutdown) or
    /// [`stop`](Handle::stop) is called by a protocol, a [`Handle`], or [`core`](Self::core).
    ///
    /// # Errors
    ///
    /// If the driver can't poll any more. What happens to single connections is never an error here.
    pub fn run(&mut self) -> io::Result<Tally> {
        loop {
            if let Some(tally) = self.tally {
                return Ok(tally);
            }
            self.turn(None)?;
        }
    }

    /// One turn of the loop: waits for at most `timeout` (`None`: until something is due) and serves
    /// what is there. Returns without waiting once the loop has [ended](Self::tally), and where it has to finish a turn
    /// that [`turn_within`](Self::turn_within) has left.
    ///
    /// 1. How long may it sleep: the timeout, the next timer, or not at all if work waits.
    /// 2. Poll.
    /// 3. Read the clock, once.
    /// 4. Events, each connection at most one read.
    /// 5. The ready list of the turn before: those with more to read than fitted, or who may go on; names that have
    ///    been looked up; and listeners at which peers wait.
    /// 6. Due timers, collected first, then run by deadline.
    /// 7. What handles asked for, then what callbacks asked for.
    /// 8. Letters: one visit a target. Letters written on the way wait for the next turn.
    /// 9. The drain, if there is one: is it done, is it late.
    ///
    /// Output is written at the end of each visit, and a connection's slot is free at once: ids have
    /// a generation, so an event that comes late finds nobody.
    ///
    /// # Errors
    ///
    /// If the driver can't poll any more.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.tally.is_some() {
            return Ok(());
        }
        if self.step != Step::Poll {
            self.finish_turn();
            return Ok(());
        }
        let sleep = self.sleep_for(timeout);
        self.poll(sleep)?;
        self.serve_events::<false>();
        self.serve_ready::<false>();
        self.fire_timers::<false>();
        self.serve_handles::<false>();
        // Mostly there is nothing of these: not to call them spares 30 instructions a turn.
        if !self.core.commands.is_empty() {
            self.carry_out_commands::<false>();
        }
        if self.core.post_office.has_visits() {
            self.deliver_letters::<false>();
        }
        self.check_drain();
        Ok(())
    }

    /// Steps 2 and 3.
    fn poll(&mut self, sleep: Option<Duration>) -> io::Result<()> {
        self.driver.poll(sleep, &mut self.events)?;
        self.core.now = self.driver.now();
        if self.core.spare.age(self.core.now) {
            self.shop.give_back();
            self.datagrams.batch.give_back();
        }
        // Mostly there is nobody: to look first spares 7 instructions a turn.
        if !self.core.ready.is_empty() {
            std::mem::swap(&mut self.core.ready, &mut self.ready);
        }
        self.driver.answered(&mut self.ready);
        self.core.burst = self.shop.share(D::ready(&self.events).size_hint().0 + self.ready.len());
        Ok(())
    }

    /// When the loop has something to do of itself: now, if work waits; `None` if only an event or a
    /// handle can wake it, or the loop has ended.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        if self.tally.is_some() {
            return None;
        }
        if self.step != Step::Poll || self.has_work() || self.driver.has_more() {
            return Some(self.core.now);
        }
        self.next_due()
    }

    /// The next time at which something is due although nothing waits now.
    fn next_due(&self) -> Option<Time> {
        let drain = self.drain.as_ref().map(|drain| drain.deadline);
        self.core.timers.next_deadline().into_iter().chain(drain).chain(self.core.spare.deadline()).min()
    }

    /// The time now, as the driver's clock tells it.
    #[must_use]
    pub fn now(&self) -> Time {
        self.driver.now()
    }

    /// What protocols share: to post, connect, shut down, and read counters from outside. What it is asked for is done in
    /// the next turn, which is due now: see [`next_deadline`](Self::next_deadline).
    pub fn core(&mut self) -> &mut Core {
        self.core.now = self.driver.now();
        &mut self.core
    }

    /// All counters of the loop added up; the core has them by listener.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.core.counters()
    }

    /// A handle to this loop, for other threads.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// What became of everything, once the loop has ended.
    #[must_use]
    pub fn tally(&self) -> Option<Tally> {
        self.tally
    }

    /// Whether something waits that no event or timer will announce.
    fn has_work(&self) -> bool {
        !self.core.ready.is_empty()
            || !self.core.commands.is_empty()
            || self.core.post_office.has_visits()
            || self.handle.is_pending()
    }

    /// Step 1.
    fn sleep_for(&self, timeout: Option<Duration>) -> Option<Duration> {
        if self.has_work() || self.driver.has_more() {
            return Some(Duration::ZERO);
        }
        let Some(deadline) = self.next_due() else { return timeout };
        let due = deadline.saturating_since(self.driver.now());
        Some(timeout.map_or(due, |timeout| timeout.min(due)))
    }
}
