//! The same seed is the same run.

use std::time::Duration;

use switchboard::testkit::{Conditions, Faults, Simulation};
use switchboard_echo::{TcpEcho, UdpEcho};

use crate::talker::Talker;
use crate::udp::Sprinkler;

/// A bit of everything; what came of it.
fn run(seed: u64) -> (u64, Faults) {
    let mut sim = Simulation::new(seed);
    sim.set_conditions(Conditions::hostile());
    let hosts = ["server", "near", "far"].map(|name| sim.add_host(name));
    let [server, near, far] = hosts;
    let satellite = Duration::from_millis(250)..=Duration::from_millis(400);
    sim.set_conditions_between(server, far, Conditions { latency: satellite, ..Conditions::hostile() });
    let address = sim.address(server, 7);
    sim.event_loop(server).listen(address, |_| Some(TcpEcho)).unwrap();
    sim.event_loop(server).bind_udp(address, UdpEcho).unwrap();
    for host in [near, far] {
        for number in 0..5 {
            sim.event_loop(host).connect(address, Talker::new(number, 30_000).0);
        }
        sim.event_loop(host).bind_udp("0.0.0.0:0", Sprinkler::new(address, 200).0).unwrap();
    }
    sim.run_for(Duration::from_millis(50));
    sim.partition(server, near);
    sim.stall(far, Duration::from_millis(700));
    sim.run_for(Duration::from_secs(1));
    sim.heal(server, near);
    assert!(sim.run_to_rest(Duration::from_secs(600)));
    (sim.digest(), sim.faults())
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..10 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}

#[test]
fn other_seeds_are_other_runs() {
    let mut digests: Vec<u64> = (0..20).map(|seed| run(seed).0).collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 20);
}
