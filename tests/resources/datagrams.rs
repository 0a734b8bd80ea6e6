//! Bursts of datagrams: no allocation in steady state, in any of the ways in which they can come.

use std::net::UdpSocket;

use switchboard::{EventLoop, SessionOptions, UdpOptions};
use switchboard_echo::{TcpEcho, UdpEcho};

use crate::common::PATIENCE;
use crate::gauge::{alone, heap};

/// Has bursts of each length echoed, and demands that it allocates nothing.
fn echo_bursts(event_loop: &mut EventLoop, address: std::net::SocketAddr, what: &str) {
    let client = UdpSocket::bind((address.ip(), 0)).unwrap();
    client.connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = [0; 2000];
    let mut run = |times: usize| {
        for count in (0..times).map(|n| 1 + n * 7 % 64) {
            let until = event_loop.counters().datagrams_out + count as u64;
            for n in 0..count {
                client.send(&[7; 1024][..n * 16]).unwrap();
            }
            while event_loop.counters().datagrams_out < until {
                event_loop.turn(Some(PATIENCE)).unwrap();
            }
            for n in 0..count {
                assert_eq!(client.recv(&mut answer).unwrap(), n * 16);
            }
        }
    };
    run(128);
    let heap = heap(|| run(500));
    assert_eq!(heap.allocations, 0, "{what}");
}

#[test]
fn bursts_of_datagrams_allocate_nothing() {
    let _alone = alone();
    let plain = UdpOptions::default();
    let mut marked = UdpOptions::default();
    marked.ecn = switchboard::Ecn::Ect0;
    let mut told = UdpOptions::default();
    (told.local_addresses, told.receive_ecn) = (true, true);
    let told = if cfg!(target_os = "linux") { told } else { plain.clone() };
    for (options, what) in [(&plain, "plain"), (&marked, "marked"), (&told, "with addresses and marks")] {
        let mut event_loop = EventLoop::new().unwrap();
        let socket = event_loop.bind_udp_with("127.0.0.1:0", options, UdpEcho).unwrap();
        let address = event_loop.local_addr(socket).unwrap();
        echo_bursts(&mut event_loop, address, what);
        let mut of_sessions = SessionOptions::default();
        of_sessions.udp = options.clone();
        let mut event_loop = EventLoop::new().unwrap();
        let socket = event_loop.bind_sessions_with("127.0.0.1:0", &of_sessions, |_| Some(TcpEcho)).unwrap();
        let address = event_loop.local_addr(socket).unwrap();
        echo_bursts(&mut event_loop, address, &format!("sessions, {what}"));
    }
}
