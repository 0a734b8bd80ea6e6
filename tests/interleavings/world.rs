//! A loop on the network in memory with one or two connections, and what must hold of it after
//! each turn, at rest, and in the end.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use switchboard::driver::Ready;
use switchboard::testkit::{MemoryDriver, Network, Peer};
use switchboard::{Core, EventLoop, Limits, Protocol, Time};

use crate::actor::{Ended, Notes};
use crate::explorer::{Choice, Script};

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

/// One connection: its far end, and what its protocols noted.
pub(crate) struct Side {
    pub(crate) peer: Option<Peer>,
    pub(crate) notes: Notes,
    sent: usize,
    finished: bool,
    reset: bool,
    /// What the bytes on the wire are changed by.
    mask: u8,
    /// Bytes on the wire before the first that the protocol sees.
    preamble: Vec<u8>,
    /// Time has passed, so it may have taken too long.
    waited: bool,
    /// An outgoing connection whose fate is open.
    undecided: bool,
}

impl Side {
    pub(crate) fn new(peer: Option<Peer>, notes: &Notes) -> Self {
        Self {
            peer,
            notes: notes.clone(),
            sent: 0,
            finished: false,
            reset: false,
            mask: 0,
            preamble: Vec::new(),
            waited: false,
            undecided: false,
        }
    }

    pub(crate) fn outgoing(self) -> Self {
        Self { undecided: true, ..self }
    }

    pub(crate) fn masked(self, mask: u8, preamble: &[u8]) -> Self {
        Self { mask, preamble: preamble.to_vec(), ..self }
    }

    fn send(&mut self, count: usize) {
        let Some(peer) = &self.peer else { return };
        if self.finished || self.reset {
            return;
        }
        let numbered = (self.sent..self.sent + count).map(|number| number as u8 ^ self.mask);
        let bytes = std::mem::take(&mut self.preamble).into_iter().chain(numbered).collect::<Vec<_>>();
        peer.send(&bytes);
        self.sent += count;
    }

    /// Does what the choice says to this connection's far end; false if that is nothing of its.
    pub(crate) fn act(&mut self, choice: Choice, network: &Network) -> bool {
        match choice {
            Choice::Byte | Choice::OtherByte => self.send(1),
            Choice::Flood => self.send(5),
            _ => {
                let Some(peer) = self.peer.clone() else { return false };
                return self.act_on(&peer, choice, network);
            }
        }
        true
    }

    fn act_on(&mut self, peer: &Peer, choice: Choice, network: &Network) -> bool {
        match choice {
            Choice::End | Choice::OtherEnd => {
                self.finished = true;
                peer.finish();
            }
            Choice::Reset | Choice::OtherReset => {
                self.reset = true;
                peer.reset();
            }
            Choice::Shut => peer.set_window(0),
            Choice::Crack => peer.set_window(1),
            Choice::Gap => peer.set_window(2),
            Choice::Open | Choice::OtherOpen => peer.set_window(usize::MAX),
            Choice::CutRead => peer.cut_reads([1]),
            Choice::BlockRead => peer.cut_reads([0]),
            Choice::CutWrite => peer.cut_writes([1]),
            Choice::BlockWrite => peer.cut_writes([0]),
            Choice::Stale => {
                if let Some(id) = peer.id() {
                    network.raise(all(id.key()));
                }
            }
            Choice::Bygone => {
                if let Some(id) = peer.id() {
                    let gone = Ready { read_closed: true, error: true, ..all(id.key() ^ 1 << 32) };
                    network.raise(gone);
                }
            }
            Choice::Establish if self.undecided => {
                self.undecided = false;
                peer.establish();
            }
            Choice::Refuse if self.undecided => {
                self.undecided = false;
                self.notes.borrow_mut().cut = true;
                peer.refuse(std::io::ErrorKind::ConnectionRefused);
            }
            Choice::Establish | Choice::Refuse => {}
            _ => return false,
        }
        true
    }

    /// What must hold when the loop has nothing to do at this time.
    fn check_at_rest(&self, limits: &Limits) {
        let facts = self.notes.borrow();
        let Some(peer) = &self.peer else { return };
        if facts.opened == 0 || facts.closed > 0 || facts.ending.is_some() || facts.cut {
            return;
        }
        let received = peer.received();
        assert!(received.iter().map(|byte| byte ^ self.mask).eq(facts.said[..received.len()].iter().copied()));
        let backlog = facts.said.len() - received.len();
        if backlog <= limits.low_water {
            assert!(!facts.drain_owed, "a drain is lost: {backlog} bytes wait");
            assert_eq!(facts.letters.len(), facts.posted, "a letter is lost");
            let here = self.sent - facts.consumed - peer.unread();
            let idle = facts.paused || facts.eof || here == 0;
            assert!(idle || !facts.reoffer, "what was left is not offered again");
            assert!(idle || here == facts.left || here < facts.awaited, "{here} bytes are here, not offered");
            assert!(facts.paused || peer.unread() == 0, "a read is lost: {} bytes wait", peer.unread());
            assert!(facts.paused || !self.finished || facts.eof, "the half-close is lost");
        }
    }

    /// What must hold of a connection that has ended, after the world was kind to it.
    fn check_end(&self) {
        let facts = self.notes.borrow();
        if facts.cut && facts.id.is_none() && facts.opened + facts.closed == 0 {
            return; // never accepted
        }
        assert_eq!(facts.closed, 1, "on_close once, and only once");
        let Some(peer) = &self.peer else { return };
        assert!(peer.is_closed(), "the connection was not closed");
        let received = peer.received().iter().map(|byte| byte ^ self.mask).collect::<Vec<_>>();
        assert!(facts.said.starts_with(&received), "what arrived was not said: {received:?} of {:?}", facts.said);
        let Some(ended) = facts.ended else { panic!("an end without a reason") };
        match ended {
            Ended::InOrder => {
                assert_eq!(received, facts.said, "what was said did not arrive");
                if facts.ending.is_none() && !facts.cut {
                    assert_eq!(facts.consumed, self.sent, "bytes were never offered");
                    assert!(facts.eof || facts.opened == 0, "the half-close was never told");
                    assert!(self.reset || !peer.saw_reset(), "a close in order became a reset");
                }
            }
            Ended::Failed => {
                assert_eq!(facts.ending, Some(Choice::Fail), "a failure nobody had");
                assert!(
                    self.reset || facts.cut || self.waited || received == facts.said,
                    "the last words did not arrive"
                );
            }
            Ended::Aborted => assert!(facts.cut || facts.ending == Some(Choice::Abort), "aborted by nobody"),
            Ended::Broke => assert!(self.reset, "broken by nobody"),
            Ended::CutOff => assert!(facts.cut, "cut off for no reason"),
            Ended::Limit | Ended::Connect => assert!(facts.cut || self.waited, "{ended:?} for no reason"),
        }
    }
}

pub(crate) fn all(key: u64) -> Ready {
    Ready { key, readable: true, writable: true, ..Ready::default() }
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

    /// What shows that a turn has done something.
    fn progress(&self) -> (usize, u64, u64, Option<Time>) {
        let calls = |side: &Side| side.peer.as_ref().map_or((0, 0), Peer::calls);
        let callbacks = self.sides.iter().map(|side| side.notes.borrow().callbacks).sum();
        let calls = self.sides.iter().map(|side| calls(side).0 + calls(side).1).sum();
        let counters = self.event_loop.counters();
        let others = counters.opened + counters.closed + counters.connect_errors + counters.accept_errors;
        (callbacks, calls, others, self.event_loop.next_deadline())
    }

    /// One turn, which must not be one of many that do nothing.
    pub(crate) fn turn(&mut self) {
        let (before, had_events) = (self.progress(), self.network.has_events());
        self.event_loop.turn(None).unwrap();
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

    fn settle(&mut self) {
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
    fn jump(&mut self) -> bool {
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
            side.act(Choice::Establish, &self.network);
            side.act(Choice::Open, &self.network);
        }
        self.settle();
        self.run_out();
        for side in &mut self.sides {
            side.act(Choice::End, &self.network);
        }
        self.turns = 0;
        self.settle();
        self.run_out();
        for side in &self.sides {
            side.check_end();
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
