//! Echo of much, whatever the network does.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::{Conditions, Host, Simulation, check_seeds};
use switchboard::{CloseReason, Limits};
use switchboard_echo::TcpEcho;

use crate::talker::{Outcome, Talker};

const MANY: Duration = Duration::from_secs(3600);

/// A server of echoes and a client with talkers, each of which says `length` bytes.
fn talk<const DRAINED: bool>(
    sim: &mut Simulation<DRAINED>,
    limits: &Limits,
    talkers: u64,
    length: u64,
) -> (Host, Host, Vec<Rc<RefCell<Outcome>>>) {
    let server = sim.add_host_with("server", limits.clone());
    let client = sim.add_host_with("client", limits.clone());
    let address = sim.address(server, 7);
    sim.event_loop(server).listen(address, |_| Some(TcpEcho)).unwrap();
    let outcomes = (0..talkers)
        .map(|number| {
            let (talker, outcome) = Talker::new(number, length);
            sim.event_loop(client).connect(address, talker);
            outcome
        })
        .collect();
    (server, client, outcomes)
}

fn assert_nothing_left<const DRAINED: bool>(sim: &mut Simulation<DRAINED>, host: Host) {
    let name = sim.name(host).to_owned();
    let core = sim.event_loop(host).core();
    assert_eq!(core.open_connections(), 0, "connections of the {name}");
    assert_eq!(core.armed_timers(), 0, "timers of the {name}");
    assert_eq!(core.held_bytes(), 0, "bytes held by the {name}");
    assert_eq!(core.counters().open(), 0, "open connections of the {name}");
}

/// Small marks and buffers, so that everything is reached.
fn cramped() -> Limits {
    Limits {
        read_budget: 2048,
        receive_buffer: 8192,
        high_water: 8192,
        low_water: 2048,
        accepts_per_turn: 2,
        ..Limits::default()
    }
}

fn rough_run<const DRAINED: bool>(mut sim: Simulation<DRAINED>, limits: &Limits, length: u64) {
    let (server, client, outcomes) = talk(&mut sim, limits, 6, length);
    sim.set_conditions(Conditions::rough());
    assert!(sim.run_to_rest(MANY), "it never comes to rest");
    for outcome in outcomes {
        let outcome = outcome.borrow();
        assert!(outcome.is_complete(length), "{outcome:?}");
    }
    assert_nothing_left(&mut sim, server);
    assert_nothing_left(&mut sim, client);
}

#[test]
fn megabytes_arrive_whole_on_a_rough_network() {
    check_seeds(0..3, |seed| rough_run(Simulation::new(seed), &Limits::default(), 1_000_000));
}

#[test]
fn bytes_arrive_whole_on_a_rough_network() {
    check_seeds(0..100, |seed| rough_run(Simulation::new(seed), &cramped(), 20_000));
}

#[test]
fn bytes_arrive_whole_where_readiness_ends_at_would_block() {
    check_seeds(0..100, |seed| rough_run(Simulation::until_would_block(seed), &cramped(), 20_000));
}

/// As above, but connections break: then both sides learn it, and what came back was right so far.
#[test]
fn who_does_not_get_everything_learns_why() {
    let mut broken = 0;
    let mut complete = 0;
    check_seeds(0..100, |seed| {
        let length = 50_000;
        let mut sim = Simulation::new(seed);
        let (server, client, outcomes) = talk(&mut sim, &cramped(), 6, length);
        sim.set_conditions(Conditions { resets: 0.005, ..Conditions::hostile() });
        assert!(sim.run_to_rest(MANY), "it never comes to rest");
        for outcome in outcomes {
            let outcome = outcome.borrow();
            let why = outcome.closed.as_ref().expect("whoever has connected is closed in the end");
            match why {
                CloseReason::Local => assert!(outcome.is_complete(length), "{outcome:?}"),
                CloseReason::Io { .. } => assert!(outcome.opened, "{outcome:?}"),
                CloseReason::Connect(_) => assert!(!outcome.opened, "{outcome:?}"),
                _ => panic!("{outcome:?}"),
            }
            *(if why.is_clean() { &mut complete } else { &mut broken }) += 1;
        }
        assert_nothing_left(&mut sim, server);
        assert_nothing_left(&mut sim, client);
    });
    assert!(broken > 0 && complete > 0, "{broken} broke and {complete} did not");
}
