//! Partitions, stalled processes and clocks that leap.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::{Conditions, Host, Simulation};
use switchboard::{Context, Time};
use switchboard_echo::{TcpEcho, UdpEcho};
use switchboard_heartbeat::{Config, Heartbeat, PingPong};

use crate::spy::{Log, Spy};
use crate::talker::{Outcome, Talker};
use crate::udp::Sprinkler;

const SECOND: Duration = Duration::from_secs(1);

fn network() -> (Simulation, Host, Host) {
    let mut sim = Simulation::new(1);
    sim.set_conditions(Conditions { bandwidth: Some(1_000_000), ..Conditions::default() });
    let (server, client) = (sim.add_host("server"), sim.add_host("client"));
    let address = sim.address(server, 7);
    sim.event_loop(server).listen(address, |_| Some(TcpEcho)).unwrap();
    sim.event_loop(server).bind_udp(address, UdpEcho).unwrap();
    (sim, server, client)
}

/// A talker that would take five seconds, at the end of the first.
fn in_full_swing(sim: &mut Simulation, server: Host, client: Host) -> Rc<RefCell<Outcome>> {
    let address = sim.address(server, 7);
    let (talker, outcome) = Talker::new(0, LENGTH);
    sim.event_loop(client).connect(address, talker);
    sim.run_for(SECOND);
    outcome
}

const LENGTH: u64 = 5_000_000;

#[test]
fn tcp_goes_on_after_a_partition() {
    let (mut sim, server, client) = network();
    let outcome = in_full_swing(&mut sim, server, client);
    sim.partition(server, client);
    let before = outcome.borrow().received;
    sim.run_for(20 * SECOND);
    assert_eq!(outcome.borrow().received, before, "nothing passes");
    assert!(before > 500_000, "{before}");
    sim.heal(server, client);
    assert!(sim.run_to_rest(20 * SECOND));
    assert!(outcome.borrow().is_complete(LENGTH), "{outcome:?}");
    assert!(sim.faults().held > 0);
}

#[test]
fn a_partition_that_lasts_is_a_stall() {
    let (mut sim, server, client) = network();
    let outcome = in_full_swing(&mut sim, server, client);
    sim.partition(server, client);
    sim.run_for(60 * SECOND);
    let closed = outcome.borrow().closed.as_ref().unwrap().to_string();
    assert!(closed.contains("write_stall"), "{closed}");
    assert_eq!(sim.event_loop(client).core().open_connections(), 0);
    sim.heal(server, client);
    sim.run_for(SECOND);
    assert_eq!(sim.event_loop(server).core().open_connections(), 0, "now it learns that its peer has given up");
}

#[test]
fn a_connect_through_a_partition_times_out_or_succeeds_when_it_heals() {
    for (heals_after, opens) in [(5, true), (15, false)] {
        let (mut sim, server, client) = network();
        sim.partition(server, client);
        let address = sim.address(server, 7);
        let log = Log::default();
        sim.event_loop(client).connect(address, Spy::new("client", &log));
        sim.run_for(heals_after * SECOND);
        sim.heal(server, client);
        assert!(sim.run_to_rest(60 * SECOND));
        let expected = if opens { "client open" } else { "client close: could not connect within 10s" };
        assert_eq!(log.take(), [expected]);
    }
}

#[test]
fn datagrams_do_not_come_through_a_partition_or_after_it() {
    let (mut sim, server, client) = network();
    let address = sim.address(server, 7);
    let (sprinkler, received) = Sprinkler::new(address, 300);
    sim.event_loop(client).bind_udp("0.0.0.0:0", sprinkler).unwrap();
    sim.run_for(SECOND);
    sim.partition(server, client);
    sim.run_for(SECOND);
    sim.heal(server, client);
    assert!(sim.run_to_rest(60 * SECOND));
    let received = received.take();
    let lost: Vec<u32> = (0..300).filter(|number| !received.contains(number)).collect();
    assert!((99..=101).contains(&lost.len()), "{lost:?}");
    assert!(lost.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{lost:?}");
}

#[test]
fn a_stalled_process_finds_everything_in_its_buffers() {
    let (mut sim, server, client) = network();
    let outcome = in_full_swing(&mut sim, server, client);
    let turned = sim.event_loop(server).counters();
    sim.stall(server, 20 * SECOND);
    sim.run_for(20 * SECOND - Duration::from_millis(1));
    assert_eq!(sim.event_loop(server).counters(), turned, "it does not get to run");
    assert!(outcome.borrow().closed.is_none());
    assert!(sim.run_to_rest(20 * SECOND));
    assert!(outcome.borrow().is_complete(LENGTH), "{outcome:?}");
}

#[test]
fn timers_fire_in_order_when_the_clock_leaps() {
    let mut sim = Simulation::new(1);
    let (server, client) = (sim.add_host("server"), sim.add_host("client"));
    let address = sim.address(server, 7);
    sim.event_loop(server).listen(address, |_| Some(Spy::new("server", &Log::default()))).unwrap();
    let fired: Rc<RefCell<Vec<(u64, Duration)>>> = Rc::default();
    for seconds in [30, 10, 20] {
        let fired = Rc::clone(&fired);
        let open = move |cx: &mut Context<'_>| {
            cx.set_timer(Duration::from_secs(seconds));
            Ok(())
        };
        let fire = move |cx: &mut Context<'_>, _| {
            fired.borrow_mut().push((seconds, cx.now().saturating_since(Time::ZERO)));
            Ok(())
        };
        let spy = Spy::new("client", &Log::default()).on_open(open).on_timer(fire);
        sim.event_loop(client).connect(address, spy);
    }
    sim.run_for(SECOND);
    sim.jump_clock(client, 24 * SECOND);
    sim.run_for(Duration::ZERO);
    let opened = Duration::from_millis(2);
    assert_eq!(fired.take(), [(10, 25 * SECOND), (20, 25 * SECOND)], "both are late, and the earlier comes first");
    assert!(sim.run_to_rest(60 * SECOND));
    assert_eq!(fired.take(), [(30, 30 * SECOND + opened)], "this one is not");
    assert_eq!(sim.now(), Time::ZERO + 6 * SECOND + opened, "everybody else's clock has gone on as before");
}

#[test]
fn a_heartbeat_forgives_its_own_sleep() {
    let mut sim = Simulation::new(1);
    let (server, client) = (sim.add_host("server"), sim.add_host("client"));
    let address = sim.address(server, 7);
    sim.event_loop(server).listen(address, |_| Some(PingPong::default())).unwrap();
    let answered: Rc<RefCell<Vec<Time>>> = Rc::default();
    let config = Config::new(5 * SECOND, 15 * SECOND).unwrap();
    for _ in 0..3 {
        let answered = Rc::clone(&answered);
        let heartbeat = Heartbeat::new(config).observed_by(move |_, rtt| {
            assert_eq!(rtt.last, Duration::from_millis(2), "the leap is no part of a round trip");
            answered.borrow_mut().push(Time::ZERO);
        });
        sim.event_loop(client).connect(address, heartbeat.around(PingPong::default()));
    }
    for _ in 0..10 {
        sim.run_for(60 * SECOND);
        let before = answered.borrow().len();
        sim.jump_clock(client, 3600 * SECOND);
        sim.run_for(SECOND);
        assert_eq!(answered.borrow().len(), before + 3, "each probes at once when it wakes, and is answered");
    }
    assert_eq!(sim.event_loop(client).counters().open(), 3);
    sim.partition(server, client);
    sim.run_for(20 * SECOND);
    assert_eq!(sim.event_loop(client).counters().open(), 0, "but a peer that is gone is found out");
}
