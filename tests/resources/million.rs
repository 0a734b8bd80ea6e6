//! Many connections on the network in memory: what each weighs, and that none costs a turn anything while it is idle.

use std::net::SocketAddr;
use std::time::Duration;

use switchboard::testkit::{self, Peer};
use switchboard::{EventLoop, Limits, Protocol};
use switchboard_echo::TcpEcho;
use switchboard_heartbeat::IdleTimeout;

use crate::gauge::{alone, heap};

/// How many speak in a turn.
const SPEAKERS: usize = 64;

/// So many come, all of them speak, then few at a time, and all leave. Gives the heap bytes of each on the loop.
fn crowd<P: Protocol>(size: usize, protocol: impl Fn() -> P + 'static) -> i64 {
    let (driver, network) = testkit::network();
    let limits = Limits { connections: size + 1, ..Limits::default() };
    let mut event_loop = EventLoop::with_driver(driver, limits).unwrap();
    let address = SocketAddr::from(([10, 0, 0, 1], 7));
    event_loop.listen(address, move |_| Some(protocol())).unwrap();
    let mut peers: Vec<Peer> = Vec::with_capacity(size);
    let (mut of_network, mut of_loop) = (0, 0);
    while peers.len() < size {
        let come = SPEAKERS.min(size - peers.len());
        of_network += heap(|| peers.extend((0..come).map(|_| network.connect(address).unwrap()))).change;
        of_loop += heap(|| {
            while network.has_events() {
                event_loop.turn(Some(Duration::ZERO)).unwrap()
            }
        })
        .change;
    }
    assert_eq!(event_loop.core().open_connections(), size);

    let stride = size / SPEAKERS;
    for round in 0..1000 {
        let speakers = || peers.iter().skip(round * 7919 % stride).step_by(stride).take(SPEAKERS);
        speakers().for_each(|peer| peer.send(b"Is anybody there? No"));
        let before = event_loop.counters().reads;
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(event_loop.counters().reads - before, SPEAKERS as u64, "one read for each who speaks, and no other");
        assert!(speakers().all(|peer| peer.take_received() == b"Is anybody there? No"));
    }

    let left = heap(|| {
        for few in peers.chunks(SPEAKERS) {
            few.iter().for_each(Peer::finish);
            event_loop.turn(Some(Duration::ZERO)).unwrap();
            assert!(few.iter().all(Peer::is_closed));
        }
    });
    let core = event_loop.core();
    assert_eq!((core.open_connections(), core.armed_timers(), core.held_bytes()), (0, 0, 0));
    assert!(of_loop + left.change < 50_000, "{} bytes remain", of_loop + left.change);
    println!(
        "{size} connections: {} bytes each, and {} of the network",
        of_loop / size as i64,
        of_network / size as i64
    );
    of_loop / size as i64
}

fn idle_timeout() -> impl Protocol {
    IdleTimeout::new(Duration::from_secs(3600)).around(TcpEcho)
}

#[test]
fn a_hundred_thousand_weigh_little_each_come_speak_and_go() {
    let _alone = alone();
    // A list doubles when it is full: at worst half of it is empty.
    assert!(crowd(100_000, || TcpEcho) < 200);
    assert!(crowd(100_000, idle_timeout) < 300, "with a timer armed");
}

#[test]
#[ignore = "a million connections take some gigabytes and a minute: `.ci/run` has it, in release, with CI_FULL=1"]
fn a_million_weigh_as_much_each_come_speak_and_go() {
    let _alone = alone();
    assert!(crowd(1_000_000, || TcpEcho) < 200);
    assert!(crowd(1_000_000, idle_timeout) < 300, "with a timer armed");
}
