//! Names, several addresses and Unix sockets on the simulated network.

use std::net::IpAddr;
use std::time::Duration;

use switchboard::testkit::{Conditions, Host, Simulation};
use switchboard::{Bytes, Limits, Time};
use switchboard_echo::TcpEcho;

use crate::spy::{Log, Spy};

const SECOND: Duration = Duration::from_secs(1);
const NOBODY: &str = "fd00::bad";

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn after(duration: Duration) -> Time {
    Time::ZERO + duration
}

/// An echo server on port 7, and another host.
fn network() -> (Simulation, Host, Host) {
    let mut sim = Simulation::new(1);
    let (server, client) = (sim.add_host("server"), sim.add_host("client"));
    let address = sim.address(server, 7);
    sim.event_loop(server).listen(address, |_| Some(TcpEcho)).unwrap();
    (sim, server, client)
}

/// Opens a connection by name, and says when and what it noted.
fn visit(sim: &mut Simulation, client: Host, name: &str) -> (Time, Vec<String>) {
    let log = Log::default();
    let closing = Spy::new("it", &log).on_open(|cx| {
        cx.close();
        Ok(())
    });
    let id = sim.event_loop(client).connect((name, 7), closing);
    let noted = |_: &mut Simulation| log.len() > 0;
    assert!(sim.run_until(60 * SECOND, noted), "{id}");
    let at = sim.now();
    assert!(sim.run_to_rest(60 * SECOND));
    (at, log.take())
}

#[test]
fn hosts_are_found_by_their_names() {
    let (mut sim, _, client) = network();
    let (at, notes) = visit(&mut sim, client, "server");
    assert_eq!(notes, ["it open", "it close: closed by this side"]);
    assert_eq!(at, after(millis(3)), "one for the lookup, and there and back");
    let (_, notes) = visit(&mut sim, client, "nowhere");
    assert_eq!(notes, ["it close: could not connect: nowhere:7: no such name (simulated)"]);
}

#[test]
fn a_dead_address_costs_a_quarter_of_a_second() {
    let (mut sim, server, client) = network();
    let (dead, alive): (IpAddr, _) = (NOBODY.parse().unwrap(), sim.address(server, 7).ip());
    sim.set_addresses("server", [dead, alive]);
    let (at, notes) = visit(&mut sim, client, "server");
    assert_eq!((at, notes[0].as_str()), (after(millis(253)), "it open"));
    sim.set_addresses("server", [alive, dead]);
    let begun = sim.now();
    let (at, _) = visit(&mut sim, client, "server");
    assert_eq!(at, begun + millis(3));
}

#[test]
fn the_first_that_stands_wins_though_it_was_not_the_first_that_was_tried() {
    let (mut sim, server, client) = network();
    let slow = sim.add_host("slow");
    let addresses = [sim.address_v6(slow, 7), sim.address(server, 7)];
    sim.event_loop(slow).listen(addresses[0], |_| Some(TcpEcho)).unwrap();
    let far = Conditions { latency: millis(400)..=millis(400), ..Conditions::default() };
    sim.set_conditions_between(client, slow, far);
    sim.set_addresses("both", addresses.map(|address| address.ip()));
    let (at, notes) = visit(&mut sim, client, "both");
    assert_eq!((at, notes[0].as_str()), (after(millis(253)), "it open"));
    // Where it is quick enough it wins.
    let near = Conditions { latency: millis(100)..=millis(100), ..Conditions::default() };
    sim.set_conditions_between(client, slow, near);
    let begun = sim.now();
    let (at, _) = visit(&mut sim, client, "both");
    assert_eq!(at, begun + millis(201));
    assert_eq!(sim.event_loop(server).counters().opened, 1, "nobody else was asked");
}

#[test]
fn of_two_that_stand_at_the_same_moment_one_is_closed() {
    let (mut sim, server, client) = network();
    let slow = sim.add_host("slow");
    let addresses = [sim.address(slow, 7), sim.address_v6(server, 7)];
    sim.event_loop(slow).listen(addresses[0], |_| Some(TcpEcho)).unwrap();
    // There and back in 252 ms, which is when an answer comes that was asked for after 250.
    let far = Conditions { latency: millis(126)..=millis(126), ..Conditions::default() };
    sim.set_conditions_between(client, slow, far);
    sim.set_addresses("both", addresses.map(|address| address.ip()));
    let (at, notes) = visit(&mut sim, client, "both");
    assert_eq!(at, after(millis(253)));
    assert_eq!(notes, ["it open", "it close: closed by this side"]);
    for host in [server, slow] {
        let counters = sim.event_loop(host).counters();
        assert_eq!((counters.opened, counters.closed), (1, 1));
    }
    assert_eq!(sim.event_loop(client).core().open_connections(), 0);
}

#[test]
fn a_name_that_is_found_too_late_is_not_found() {
    let mut sim = Simulation::new(1);
    let limits = Limits { connect_timeout: 4 * SECOND, ..Limits::default() };
    let client = sim.add_host_with("client", limits);
    sim.set_conditions(Conditions { slow_lookups: 1.0, ..Conditions::default() });
    let (at, notes) = visit(&mut sim, client, "client");
    assert_eq!((at, notes), (after(4 * SECOND), vec!["it close: could not connect within 4s".to_owned()]));
    assert_eq!(sim.faults().slow_lookups, 1);
    sim.set_conditions(Conditions { failed_lookups: 1.0, ..Conditions::default() });
    let (_, notes) = visit(&mut sim, client, "client");
    assert_eq!(notes, ["it close: could not connect: client:7: no such name (simulated)"]);
    assert_eq!(sim.faults().failed_lookups, 1);
}

#[test]
fn connections_by_name_survive_rough_weather() {
    let mut opened = 0;
    for seed in 0..50 {
        let mut sim = Simulation::new(seed);
        let limits = Limits { connect_timeout: 60 * SECOND, ..Limits::default() };
        let (server, client) = (sim.add_host("server"), sim.add_host_with("client", limits));
        let addresses = [sim.address_v6(server, 7), sim.address(server, 7)];
        sim.event_loop(server).listen(addresses[0], |_| Some(TcpEcho)).unwrap();
        let dead: IpAddr = NOBODY.parse().unwrap();
        sim.set_addresses("server", [dead, addresses[1].ip(), addresses[0].ip()]);
        sim.set_conditions(Conditions { refused: 0.3, failed_lookups: 0.1, ..Conditions::rough() });
        let log = Log::default();
        for _ in 0..10 {
            let spy = Spy::new("it", &log).on_open(|cx| {
                cx.send(b"hello");
                cx.finish();
                Ok(())
            });
            sim.event_loop(client).connect(("server", 7), spy);
        }
        assert!(sim.run_to_rest(600 * SECOND), "seed {seed}");
        let notes = log.take();
        opened += notes.iter().filter(|note| *note == "it open").count();
        let all = |what: &str| notes.iter().filter(|note| note.starts_with(what)).count();
        assert_eq!(all("it close: "), 10, "seed {seed}: {notes:#?}");
        // Where all others refuse, the dead one is waited for.
        let failed = all("it close: could not connect: server:7: ") + all("it close: could not connect within 60s");
        assert_eq!(all("it close: closed by this side") + failed, 10, "seed {seed}: {notes:#?}");
        for host in [server, client] {
            let core = sim.event_loop(host).core();
            assert_eq!((core.open_connections(), core.armed_timers(), core.held_bytes()), (0, 0, 0), "seed {seed}");
            assert_eq!(core.counters().opened, core.counters().closed, "seed {seed}");
        }
    }
    assert!(opened > 250, "{opened}");
}

#[cfg(unix)]
#[test]
fn a_hosts_unix_sockets_are_its_own() {
    let (mut sim, server, client) = network();
    let path = std::path::Path::new("/run/it");
    let listener = sim.event_loop(server).listen_unix(path, |accepted| {
        assert_eq!(accepted.peer, None);
        Some(TcpEcho)
    });
    let listener = listener.unwrap();
    assert!(sim.event_loop(server).listen_unix(path, |_| Some(TcpEcho)).is_err());
    let log = Log::default();
    for host in [server, client] {
        let spy = Spy::new("it", &log).on_open(|cx| {
            assert_eq!((cx.peer_addr(), cx.local_addr()), (None, None));
            Ok(())
        });
        let id = sim.event_loop(host).connect(path, spy);
        let _ = sim.event_loop(host).core().post(id, Bytes::new());
    }
    sim.run_for(SECOND);
    let refused = "it close: could not connect: unix:/run/it: entity not found";
    let mut notes = log.take();
    notes.sort();
    assert_eq!(notes, [refused, "it message ", "it open"]);
    sim.event_loop(server).core().close(listener);
    sim.run_for(SECOND);
    sim.event_loop(server).connect(path, Spy::new("it", &log));
    sim.run_for(SECOND);
    assert_eq!(log.take(), [refused]);
    sim.event_loop(server).listen_unix(path, |_| Some(TcpEcho)).unwrap();
}
