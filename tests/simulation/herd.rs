//! A crowd of clients whose server restarts: they come back, and not all at once.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::{Host, Simulation};
use switchboard::{
    Backoff, ConnectionId, Context, Failure, Input, Jitter, Limits, ListenerId, Protocol, Reconnect, Time,
};

use crate::spy::{Log, Spy};

const SECOND: Duration = Duration::from_secs(1);
const CLIENTS: usize = 1000;
const PORT: u16 = 7;

/// Whom the server has accepted, and when.
type Accepted = Rc<RefCell<Vec<(ConnectionId, Time)>>>;

/// Notes that it was accepted.
struct Noting(Accepted);

impl Protocol for Noting {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let arrival = (cx.id(), cx.now());
        self.0.borrow_mut().push(arrival);
        Ok(())
    }

    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        input.take_all();
        Ok(())
    }
}

struct Town {
    sim: Simulation,
    server: Host,
    clients: Vec<Host>,
    accepted: Accepted,
    listener: Option<ListenerId>,
}

impl Town {
    /// A server, and clients, each a process of its own, all of which are connected.
    fn new(seed: u64, backoff: &Backoff) -> Self {
        let mut sim = Simulation::new(seed);
        let server = sim.add_host("server");
        let mut town = Self { sim, server, clients: Vec::new(), accepted: Accepted::default(), listener: None };
        town.listen();
        let address = town.sim.address(server, PORT);
        for _ in 0..CLIENTS {
            let client = town.sim.add_host_with("client", Limits { read_budget: 512, ..Limits::default() });
            Reconnect::new(address, |_| Spy::new("client", &Log::default()))
                .backoff(backoff.clone())
                .start(town.sim.event_loop(client).core());
            town.clients.push(client);
        }
        town.sim.run_for(60 * SECOND);
        assert_eq!(town.accepted.borrow().len(), CLIENTS);
        town
    }

    fn listen(&mut self) {
        let (address, accepted) = (self.sim.address(self.server, PORT), Rc::clone(&self.accepted));
        let noting = move |_: &_| Some(Noting(Rc::clone(&accepted)));
        self.listener = Some(self.sim.event_loop(self.server).listen(address, noting).unwrap());
    }

    /// The server goes: nobody listens, and every connection is reset.
    fn leave(&mut self) {
        let core = self.sim.event_loop(self.server).core();
        self.listener.take().into_iter().for_each(|listener| core.close(listener));
        self.accepted.take().into_iter().for_each(|(id, _)| core.abort(id));
    }

    /// The server goes, and comes back `outage` later. When the clients have come back since then.
    fn restart(&mut self, outage: Duration) -> Vec<Duration> {
        self.leave();
        self.sim.run_for(outage);
        self.listen();
        let back = self.sim.now();
        let accepted = Rc::clone(&self.accepted);
        assert!(self.sim.run_until(300 * SECOND, |_| accepted.borrow().len() == CLIENTS), "everybody comes back");
        let accepted = self.accepted.borrow();
        accepted.iter().map(|(_, at)| at.saturating_since(back)).collect()
    }

    /// How often the clients have tried in vain.
    fn refusals(&mut self) -> u64 {
        let Self { sim, clients, .. } = self;
        clients.iter().map(|&client| sim.event_loop(client).counters().connect_errors).sum()
    }
}

/// How many came in each of these spans of time.
fn histogram(arrivals: &[Duration], span: Duration) -> Vec<usize> {
    let mut counts = vec![0; 1];
    for arrival in arrivals {
        let at = usize::try_from(arrival.as_nanos() / span.as_nanos()).unwrap();
        counts.resize(counts.len().max(at + 1), 0);
        counts[at] += 1;
    }
    counts
}

#[test]
fn without_jitter_all_come_back_at_once() {
    let mut town = Town::new(1, &Backoff { jitter: Jitter::None, ..Backoff::default() });
    let arrivals = town.restart(Duration::ZERO);
    let counts = histogram(&arrivals, SECOND / 100);
    assert_eq!(counts.iter().max(), Some(&CLIENTS), "the test would see a herd");
}

/// A restart that takes no time: the first wait, of up to a second, spreads them.
#[test]
fn a_quick_restart_is_followed_by_an_even_stream() {
    let mut town = Town::new(1, &Backoff::default());
    let counts = histogram(&town.restart(Duration::ZERO), SECOND / 10);
    println!("clients back, by tenths of a second: {counts:?}");
    assert_eq!(counts.iter().sum::<usize>(), CLIENTS);
    assert!(counts.len() <= 11, "within a second and the latency");
    assert!(counts[..10].iter().all(|count| (70..=130).contains(count)), "{counts:?}");
    assert_eq!(town.refusals(), 0);
}

/// After an outage of half a minute the waits have grown, and so has the time over which they come back.
#[test]
fn the_longer_the_outage_the_wider_the_spread() {
    let mut town = Town::new(1, &Backoff::default());
    let counts = histogram(&town.restart(30 * SECOND), SECOND);
    println!("clients back, by seconds: {counts:?}");
    assert!(counts.len() > 20 && counts.len() <= 64, "{} s", counts.len());
    assert!(counts.iter().all(|&count| count <= CLIENTS / 10), "no second has more than a tenth: {counts:?}");
    let refusals = town.refusals();
    println!("refused meanwhile: {refusals}");
    // 1 + 2 + 4 + 8 + 16 seconds at most, half of each in the mean: five or six attempts in thirty seconds.
    assert!((4 * CLIENTS as u64..7 * CLIENTS as u64).contains(&refusals), "{refusals}");
    // Healthy again, they begin anew.
    town.sim.run_for(60 * SECOND);
    let counts = histogram(&town.restart(Duration::ZERO), SECOND);
    assert!(counts.len() <= 2, "{counts:?}");
}

#[test]
fn a_seed_makes_the_same_herd() {
    let run = |seed| {
        let mut town = Town::new(seed, &Backoff::default());
        let arrivals = town.restart(5 * SECOND);
        (arrivals, town.sim.digest())
    };
    let (first, again, other) = (run(7), run(7), run(8));
    assert_eq!(first, again);
    assert_ne!(first.0, other.0);
}

#[test]
fn loops_that_drain_do_not_wait_for_them() {
    let mut town = Town::new(3, &Backoff::default());
    town.leave();
    town.sim.run_for(20 * SECOND);
    let Town { sim, clients, .. } = &mut town;
    for &client in clients.iter() {
        sim.event_loop(client).core().shutdown(60 * SECOND);
    }
    sim.run_for(Duration::ZERO);
    for &client in clients.iter() {
        let event_loop = sim.event_loop(client);
        assert!(event_loop.tally().is_some_and(|tally| tally.cut_off == 0), "at once");
        let core = event_loop.core();
        assert_eq!((core.open_connections(), core.armed_timers(), core.held_bytes()), (0, 0, 0));
    }
}
