//! A month of heartbeats for a thousand peers.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use switchboard::testkit::{Conditions, Simulation};
use switchboard_heartbeat::{Config, Heartbeat, PingPong};

const PEERS: u64 = 1000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What keeps a NAT's table entry: those for TCP live for two hours and more if they follow RFC 5382,
/// and for five minutes where they do not.
const INTERVAL: Duration = Duration::from_secs(285);
const TIMEOUT: Duration = Duration::from_secs(300);

/// A month in a release build, two hours in a debug one.
#[test]
fn a_thousand_peers_show_signs_of_life() {
    let span = if cfg!(debug_assertions) { DAY / 12 } else { 30 * DAY };
    let config = Config::new(INTERVAL, TIMEOUT).unwrap();
    let answered = Rc::new(Cell::new(0_u64));
    let mut sim = Simulation::new(1);
    let latency = Duration::from_millis(5)..=Duration::from_millis(80);
    sim.set_conditions(Conditions { latency, ..Conditions::default() });
    let (server, client) = (sim.add_host("server"), sim.add_host("client"));
    let address = sim.address(server, 7);
    sim.event_loop(server).listen(address, |_| Some(PingPong::default())).unwrap();
    for _ in 0..PEERS {
        let answered = Rc::clone(&answered);
        let heartbeat = Heartbeat::new(config).observed_by(move |_, _| answered.set(answered.get() + 1));
        sim.event_loop(client).connect(address, heartbeat.around(PingPong::default()));
    }

    let start = now();
    sim.run_for(span);
    let took = start.elapsed();

    for host in [server, client] {
        assert_eq!(sim.event_loop(host).counters().open(), PEERS, "peers of the {}", sim.name(host));
    }
    let expected = PEERS * (span.as_secs() / INTERVAL.as_secs());
    assert!(answered.get() >= expected, "{} of {expected} heartbeats were answered", answered.get());
    let hours = span.as_secs() / 3600;
    println!("{hours} hours of {PEERS} peers: {} heartbeats and their answers in {took:.2?}", answered.get());
}

#[expect(clippy::disallowed_methods, reason = "to say how much faster than real time it was")]
fn now() -> Instant {
    Instant::now()
}
