//! Every fault that the network can do is seen to happen, and what becomes of it.

use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

use switchboard::testkit::{Conditions, Faults, Host, Simulation};
use switchboard::{CloseReason, Limits};
use switchboard_echo::{TcpEcho, UdpEcho};

use crate::talker::{Outcome, Talker};
use crate::udp::Sprinkler;

const MINUTE: Duration = Duration::from_secs(60);

/// A server that echoes, and a client.
fn network(seed: u64) -> (Simulation, Host, Host) {
    let mut sim = Simulation::new(seed);
    let (server, client) = (sim.add_host("server"), sim.add_host("client"));
    let address = sim.address(server, 7);
    sim.event_loop(server).listen(address, |_| Some(TcpEcho)).unwrap();
    sim.event_loop(server).bind_udp(address, UdpEcho).unwrap();
    (sim, server, client)
}

/// What becomes of `count` talkers that say `length` bytes each, when nothing moves any more.
fn talk(sim: &mut Simulation, server: Host, client: Host, count: u64, length: u64) -> Vec<Outcome> {
    let address = sim.address(server, 7);
    let outcomes: Vec<_> = (0..count)
        .map(|number| {
            let (talker, outcome) = Talker::new(number, length);
            sim.event_loop(client).connect(address, talker);
            outcome
        })
        .collect();
    assert!(sim.run_to_rest(60 * MINUTE), "it never comes to rest");
    outcomes.iter().map(|outcome| outcome.take()).collect()
}

#[test]
fn a_hostile_network_does_everything() {
    let (mut sim, server, client) = network(1);
    sim.set_conditions(Conditions { resets: 0.01, ..Conditions::hostile() });
    let address = sim.address(server, 7);
    sim.event_loop(client).bind_udp("0.0.0.0:0", Sprinkler::new(address, 500).0).unwrap();
    sim.partition(server, client);
    sim.run_for(MINUTE / 60);
    talk_through_partition(&mut sim, server, client);
    talk(&mut sim, server, client, 60, 30_000);
    let Faults {
        short_reads,
        short_writes,
        would_blocks,
        resets,
        refused,
        aborted_accepts,
        exhausted,
        retransmitted,
        datagrams_lost,
        datagrams_duplicated,
        datagrams_reordered,
        held,
        edges_lost,
        ..
    } = sim.faults();
    let happened = [
        ("short reads", short_reads),
        ("short writes", short_writes),
        ("WouldBlocks", would_blocks),
        ("resets", resets),
        ("refusals", refused),
        ("aborted accepts", aborted_accepts),
        ("lacks of descriptors", exhausted),
        ("retransmissions", retransmitted),
        ("lost datagrams", datagrams_lost),
        ("duplicated datagrams", datagrams_duplicated),
        ("reordered datagrams", datagrams_reordered),
        ("packets held up", held),
    ];
    for (what, count) in happened {
        assert!(count > 0, "no {what} in all that time");
    }
    assert_eq!(edges_lost, 0, "the network loses no readiness of itself");
}

/// Somebody begins to connect while nothing passes.
fn talk_through_partition(sim: &mut Simulation, server: Host, client: Host) {
    let address = sim.address(server, 7);
    sim.event_loop(client).connect(address, Talker::new(0, 10).0);
    sim.run_for(MINUTE / 60);
    sim.heal(server, client);
}

#[test]
fn refusals_and_aborted_accepts_are_what_the_client_is_told() {
    for (conditions, refused) in [
        (Conditions { refused: 1.0, ..Conditions::default() }, true),
        (Conditions { aborted_accepts: 1.0, ..Conditions::default() }, false),
    ] {
        let (mut sim, server, client) = network(2);
        sim.set_conditions(conditions);
        for outcome in talk(&mut sim, server, client, 10, 10) {
            match outcome.closed {
                Some(CloseReason::Connect(error)) if refused => {
                    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
                }
                // The reset may come with the very news that it is connected.
                Some(CloseReason::Io { error, .. } | CloseReason::Connect(error)) if !refused => {
                    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                }
                other => panic!("{other:?}"),
            }
        }
        let counters = sim.event_loop(server).counters();
        assert_eq!((counters.opened, counters.accept_errors), (0, if refused { 0 } else { 10 }));
    }
}

#[test]
fn accepting_resumes_when_there_are_descriptors_again() {
    let (mut sim, server, client) = network(3);
    sim.exhaust_descriptors(server, MINUTE / 12);
    sim.run_for(MINUTE / 60);
    let outcomes = talk(&mut sim, server, client, 10, 1000);
    assert!(outcomes.iter().all(|outcome| outcome.is_complete(1000)), "{outcomes:?}");
    let tries = sim.event_loop(server).counters().accept_errors;
    assert!((35..45).contains(&tries), "{tries} in four seconds, each 100 ms after the one before");
    assert_eq!(sim.faults().exhausted, tries);
}

#[test]
fn a_host_without_descriptors_can_not_connect_or_listen() {
    let (mut sim, server, client) = network(4);
    sim.exhaust_descriptors(client, MINUTE);
    let outcomes = talk(&mut sim, server, client, 1, 10);
    assert!(matches!(outcomes[0].closed, Some(CloseReason::Connect(_))), "{outcomes:?}");
    assert!(sim.event_loop(client).listen("0.0.0.0:0", |_| Some(TcpEcho)).is_err());
    assert!(sim.event_loop(client).bind_udp("0.0.0.0:0", UdpEcho).is_err());
}

#[test]
fn a_full_loop_accepts_when_one_has_gone() {
    let mut sim = Simulation::new(5);
    sim.set_conditions(Conditions::rough());
    let server = sim.add_host_with("server", Limits { connections: 3, ..Limits::default() });
    let client = sim.add_host("client");
    let address = sim.address(server, 7);
    sim.event_loop(server).listen(address, |_| Some(TcpEcho)).unwrap();
    let outcomes = talk(&mut sim, server, client, 20, 5000);
    assert!(outcomes.iter().all(|outcome| outcome.is_complete(5000)), "{outcomes:?}");
}

/// The kit's own planted bug: a driver that loses one wake-up. Some losses are made good by the edges
/// that follow; the others must be noticed by who demands everything back.
#[test]
fn a_driver_that_loses_an_edge_is_caught() {
    let run = |lost: Option<(bool, u64)>| {
        let mut sim = Simulation::new(6);
        let (server, client) = (sim.add_host("server"), sim.add_host("client"));
        let address = sim.address(server, 7);
        sim.event_loop(server).listen(address, |_| Some(TcpEcho)).unwrap();
        if let Some((of_server, edge)) = lost {
            sim.lose_edge(if of_server { server } else { client }, edge);
        }
        let outcomes = talk(&mut sim, server, client, 1, 300_000);
        assert!(outcomes[0].is_complete(300_000), "{outcomes:?}");
        assert_eq!(sim.faults().edges_lost, 0, "an edge was lost, and nobody missed it");
    };
    run(None);
    let is_caught = |lost| {
        let text =
            panic::catch_unwind(AssertUnwindSafe(|| run(Some(lost)))).map_err(|panic| *panic.downcast().unwrap());
        text.is_err_and(|text: String| text.starts_with("[Outcome"))
    };
    for of_server in [true, false] {
        let caught: Vec<u64> = (1..=12).filter(|&edge| is_caught((of_server, edge))).collect();
        assert!(caught.contains(&1), "the first edge: a peer to accept, or the connection that stands");
        assert!(caught.len() >= 3, "lost edges that were noticed: {caught:?}");
    }
}
