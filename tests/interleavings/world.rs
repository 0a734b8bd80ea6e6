//! A loop on the network in memory, with connections, and what must hold of it after each turn and
//! in the end.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::{MemoryDriver, Network, Peer};
use switchboard::{Core, EventLoop, Limits, Protocol, Time};

use crate::explorer::{Choice, Script};
use crate::side::Side;

/// Turns that may pass without anything happening before the loop is said to spin. One is taken for
/// who was on the ready list and has no need of it any more.
const IDLE: usize = 2;
/// Turns at one and the same time: more than all bytes of a sequence need, one at a time.
const TURNS: usize = 60;
/// How often time may jump before everything has ended.
const JUMPS: usize = 40;

pub(crate) const ADDRESS: &str = "10.0.0.1:7000";

/// So small that a few bytes reach every mark.
pub(crate) fn tiny() -> Limits {
    Limits {
        connections: 8,
        receive_buffer: 64,
        send_buffer: 256,
        high_water: 4,
        low_water: 1,
        read_budget: 2,
        mailbox: 2,
        linger: Duration::from_millis(20),
        linger_bytes: 3,
        write_stall: Duration::from_millis(200),
        connect_timeout: Duration::from_millis(50),
        ..Limits::default()
    }
}

pub(crate) struct World<const SHORT_MEANS_DRAINED: bool> {
    pub(crate) event_loop: EventLoop<MemoryDriver<SHORT_MEANS_DRAINED>>,
    pub(crate) network: Network,
    pub(crate) script: Rc<Script>,
    pub(crate) sides: Vec<Side>,
    limits: Limits,
    idle: usize,
    turns: usize,
}

impl<const SHORT_MEANS_DRAINED: bool> World<SHORT_MEANS_DRAINED> {
    pub(crate) fn new(
        (driver, network): (MemoryDriver<SHORT_MEANS_DRAINED>, Network),
        script: &Rc<Script>,
        limits: Limits,
    ) -> Self {
        let event_loop = EventLoop::with_driver(driver, limits.clone()).unwrap();
        Self { event_loop, network, script: Rc::clone(script), sides: Vec::new(), limits, idle: 0, turns: 0 }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        ADDRESS.parse().unwrap()
    }

    /// Has a peer connect, who is to be accepted by `protocol`. It takes nothing at first if `shut`.
    pub(crate) fn accept(&mut self, protocol: impl Protocol, shut: bool) -> Peer {
        let mut address = self.address();
        address.set_port(address.port() + self.sides.len() as u16);
        let mut protocol = Some(protocol);
        self.event_loop.listen(address, move |_| protocol.take()).unwrap();
        let peer = self.network.connect(address).unwrap();
        if shut {
            peer.set_window(0);
        }
        peer
    }

    pub(crate) fn core(&mut self) -> &mut Core {
        self.event_loop.core()
    }

    /// Whether the loop, left alone, would do something at this time.
    pub(crate) fn is_busy(&self) -> bool {
        let due = self.event_loop.next_deadline().is_some_and(|due| due <= self.network.now());
        self.event_loop.tally().is_none() && (due || self.network.has_events())
    }

    /// What shows that a turn has done something; a read or write that came to nothing is nothing.
    fn progress(&self) -> (usize, u64, u64, Option<Time>) {
        let callbacks = self.sides.iter().map(|side| side.notes.borrow().callbacks).sum();
        let counters = self.event_loop.counters();
        let bytes = counters.bytes_in + counters.bytes_out;
        let others = counters.opened + counters.closed + counters.connect_errors + counters.accept_errors;
        (callbacks, bytes, others, self.event_loop.next_deadline())
    }

    /// One turn, which must not be one of many that do nothing.
    pub(crate) fn turn(&mut self) {
        let (before, had_events) = (self.progress(), self.network.has_events());
        let bytes_in = self.event_loop.counters().bytes_in;
        self.event_loop.turn(None).unwrap();
        let read = self.event_loop.counters().bytes_in - bytes_in;
        let budget = (self.limits.read_budget * self.sides.len()) as u64;
        assert!(read <= budget, "{read} bytes read in a turn, {budget} are the budget");
        self.idle = if had_events || self.progress() != before { 0 } else { self.idle + 1 };
        self.turns += 1;
        assert!(self.idle <= IDLE, "the loop spins: {} turns in which nothing happened", self.idle);
        assert!(self.turns <= TURNS, "the loop spins: {TURNS} turns at one and the same time");
        for side in &self.sides {
            let (id, ending) = (side.notes.borrow().id, side.notes.borrow().ending);
            let open = id.is_some_and(|id| self.event_loop.core().is_open(id));
            assert!(!open || ending.is_none(), "a connection that ends takes letters");
        }
        if !self.is_busy() {
            for side in &self.sides {
                side.check_at_rest(&self.limits);
            }
        }
    }

    pub(crate) fn settle(&mut self) {
        while self.is_busy() {
            self.turn();
        }
    }

    /// The next deadline that is not now.
    fn later(&self) -> Option<Duration> {
        let due = self.event_loop.next_deadline()?.saturating_since(self.network.now());
        (!due.is_zero()).then_some(due)
    }

    /// Time passes until the next deadline.
    pub(crate) fn jump(&mut self) -> bool {
        let Some(due) = self.later() else { return false };
        self.network.advance(due);
        (self.idle, self.turns) = (0, 0);
        true
    }

    /// The world's part of the choices: whatever `actions` allow between two turns, in any number.
    /// Those between two turns commute (they change different things, and their events merge), so
    /// they are taken in one order only, and each once.
    pub(crate) fn explore(&mut self, actions: &[Choice], act: impl Fn(&mut Self, Choice)) {
        let mut from = 0;
        let mut options = Vec::new();
        while self.script.goes_on() {
            options.clear();
            options.push(Choice::Stop);
            if self.is_busy() {
                options.push(Choice::Turn);
            }
            let has_later = self.later().is_some();
            options.extend(actions[from..].iter().filter(|&&action| action != Choice::Later || has_later));
            let choice = self.script.choose(&options);
            match choice {
                Choice::Stop => return,
                Choice::Turn => {
                    self.turn();
                    from = 0;
                    continue;
                }
                Choice::Later => {
                    self.jump();
                    self.sides.iter_mut().for_each(|side| side.waited = true);
                }
                Choice::Shutdown => {
                    self.cut_all();
                    self.core().shutdown(Duration::from_millis(15));
                }
                _ => act(self, choice),
            }
            self.turns = 0;
            from = 1 + actions.iter().position(|&action| action == choice).unwrap();
        }
    }

    /// From now on connections may end otherwise than in order.
    pub(crate) fn cut_all(&mut self) {
        for side in &mut self.sides {
            side.notes.borrow_mut().cut = true;
        }
    }

    /// The world is kind from here on, and everything must end.
    pub(crate) fn end(&mut self) {
        self.script.be_kind();
        (self.idle, self.turns) = (0, 0);
        for side in &mut self.sides {
            side.be_kind(&self.network);
        }
        self.settle();
        self.run_out();
        for side in &mut self.sides {
            side.act(Choice::End, &self.network);
        }
        self.turns = 0;
        self.settle();
        self.run_out();
        let discarded_much = self.event_loop.counters().bytes_discarded > self.limits.linger_bytes as u64;
        for side in &self.sides {
            side.check_end(discarded_much);
        }
        self.check_nothing_left();
    }

    /// Time passes until nothing is due any more.
    fn run_out(&mut self) {
        for _ in 0..JUMPS {
            if !self.jump() {
                return;
            }
            self.settle();
        }
        panic!("the loop spins: {JUMPS} deadlines and still another");
    }

    fn check_nothing_left(&mut self) {
        let posted = self.sides.iter().map(|side| side.notes.borrow().posted as u64).sum::<u64>();
        let delivered = self.sides.iter().map(|side| side.notes.borrow().letters.len() as u64).sum::<u64>();
        let core = self.core();
        let counters = core.counters();
        assert_eq!(posted, delivered + counters.messages_undelivered, "a letter is neither delivered nor counted");
        assert_eq!(counters.opened, counters.closed, "each connection that opened has closed");
        assert_eq!(core.open_connections(), 0, "connections are left");
        assert_eq!(core.armed_timers(), 0, "timers are left");
        assert_eq!(core.held_bytes(), 0, "bytes are held");
        assert_eq!(core.waiting_messages(), 0, "messages wait");
    }
}
