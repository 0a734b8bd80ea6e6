//! The local address that a datagram came to, and answers from there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use switchboard::{Datagram, DatagramContext, DatagramProtocol, Failure, UdpOptions};

use super::*;

const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), HERE);

/// An address of a machine that has several.
fn ours(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, last], HERE))
}

fn udp(local_addresses: bool) -> UdpOptions {
    let mut options = UdpOptions::default();
    options.local_addresses = local_addresses;
    options
}

#[test]
fn a_session_answers_from_the_address_that_was_spoken_to() {
    for asked in [true, false] {
        let mut world = World::new();
        let mut options = SessionOptions::default();
        options.udp = udp(asked);
        let socket = world.event_loop.bind_sessions_with(ANY, &options, |_| Some(TcpEcho)).unwrap();
        for last in [1, 2] {
            assert!(world.network.send_datagram(address(THERE), ours(last), b"ping"));
            world.settle();
            let id = session(&world, socket, THERE);
            let local = if asked { ours(last) } else { ANY };
            assert_eq!(world.event_loop.with(id, |cx| cx.local_addr()), Some(Some(local)));
            let sent = world.network.take_sent(ANY);
            assert_eq!(sent.len(), 1);
            assert_eq!((sent[0].source, sent[0].target), (asked.then(|| ours(last).ip()), address(THERE)));
        }
        assert_eq!(world.event_loop.core().open_sessions(), 1, "it is the peer's, whichever address it speaks to");
    }
}

struct FromThere;

impl DatagramProtocol for FromThere {
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, datagram: Datagram<'_>) -> Result<(), Failure> {
        match datagram.local {
            Some(local) => cx.send_from(local, datagram.source, datagram.payload),
            None => cx.send_to(datagram.source, b"from anywhere"),
        }
        Ok(())
    }
}

#[test]
fn a_datagram_protocol_is_told_and_can_choose() {
    for asked in [true, false] {
        let mut world = World::new();
        world.event_loop.bind_udp_with(ANY, &udp(asked), FromThere).unwrap();
        assert!(world.network.send_datagram(address(THERE), ours(3), b"ping"));
        world.settle();
        let sent = world.network.take_sent(ANY);
        assert_eq!(sent[0].source, asked.then(|| ours(3).ip()));
        assert_eq!(sent[0].payload, if asked { &b"ping"[..] } else { b"from anywhere" });
    }
}
