//! UDP echo on the network in memory.

use std::net::SocketAddr;

use switchboard::testkit::{MemoryDriver, Network, network};
use switchboard::{EventLoop, Limits, SocketId};
use switchboard_echo::UdpEcho;

/// UDP over IPv4 carries no more (65,535 less the IP and UDP headers).
const LONGEST: usize = 65_507;

struct Bench {
    event_loop: EventLoop<MemoryDriver>,
    network: Network,
    socket: SocketId,
    address: SocketAddr,
}

fn bench(limits: Limits) -> Bench {
    let (driver, network) = network();
    let mut event_loop = EventLoop::with_driver(driver, limits).expect("limits that agree");
    let socket = event_loop.bind_udp("127.0.0.1:0", UdpEcho).expect("a free port");
    let address = event_loop.local_addr(socket).expect("a bound socket");
    Bench { event_loop, network, socket, address }
}

impl Bench {
    fn settle(&mut self) {
        for _ in 0..1_000 {
            // It may have memory to give back, later.
            let is_due = self.event_loop.next_deadline().is_some_and(|due| due <= self.event_loop.now());
            if !is_due && !self.network.has_events() {
                return;
            }
            self.event_loop.turn(None).expect("a network that polls");
        }
        panic!("the loop spins");
    }

    fn echoed(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        self.network.take_datagrams(self.address)
    }
}

fn peer(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[test]
fn it_is_zero_sized() {
    assert_eq!(size_of::<UdpEcho>(), 0);
}

#[test]
fn datagrams_of_every_length_come_back_one_for_one() {
    let mut bench = bench(Limits::default());
    for len in [0, 1, 2, 511, 512, 1_472, 1_473, 9_000, LONGEST - 1, LONGEST] {
        let payload: Vec<u8> = (0..len).map(|at| at.to_le_bytes()[0]).collect();
        assert!(bench.network.send_datagram(peer(9), bench.address, &payload));
        bench.settle();
        assert!(bench.echoed() == [(peer(9), payload)], "{len} bytes");
    }
}

#[test]
fn each_peer_gets_its_own_in_order() {
    let mut bench = bench(Limits::default());
    let sent: Vec<_> = (0..1_000u16).map(|n| (peer(1_000 + n % 7), n.to_be_bytes().to_vec())).collect();
    for (source, payload) in &sent {
        bench.network.send_datagram(*source, bench.address, payload);
    }
    bench.settle();
    assert_eq!(bench.echoed(), sent);
}

#[test]
fn what_the_system_has_no_room_for_waits_to_a_bound_and_is_then_dropped_and_counted() {
    let limits = Limits { datagram_queue: 1_000, ..Limits::default() };
    let mut bench = bench(limits);
    bench.network.set_datagram_window(bench.address, 0);
    for n in 0..200u8 {
        bench.network.send_datagram(peer(9), bench.address, &[n; 100]);
    }
    bench.settle();
    assert!(bench.echoed().is_empty());
    assert!(bench.event_loop.core().held_bytes() <= 1_000);
    bench.network.set_datagram_window(bench.address, usize::MAX);
    bench.settle();
    let echoed = bench.echoed();
    let counters = bench.event_loop.core().socket_counters(bench.socket);
    assert!((1..=10).contains(&echoed.len()), "{} came", echoed.len());
    assert_eq!(counters.datagrams_in, 200);
    assert_eq!(counters.datagrams_out + counters.datagrams_dropped, 200);
    assert!(echoed.iter().zip(0u8..).all(|((_, payload), n)| payload[..] == [n; 100]), "the first ones wait");
    assert_eq!(bench.event_loop.core().held_bytes(), 0);
}

#[test]
fn one_peers_refusal_is_not_the_sockets_end() {
    let mut bench = bench(Limits::default());
    bench.network.fail_receive(bench.address, std::io::ErrorKind::ConnectionRefused);
    bench.network.send_datagram(peer(9), bench.address, b"still here");
    bench.settle();
    assert_eq!(bench.echoed(), [(peer(9), b"still here".to_vec())]);
}
