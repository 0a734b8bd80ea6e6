//! The options of UDP sockets: that the system has taken them, and that they do what they say.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use switchboard::driver::{Driver, MioDriver, Socket};
use switchboard::{EventLoop, Multicast, SessionOptions, UdpOptions};
use switchboard_echo::{TcpEcho, UdpEcho};

use crate::common::{PATIENCE, turn_until};

/// The group of these tests: administratively scoped (RFC 2365), and joined on loopback alone.
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 77, 1);

fn peer() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[test]
fn sockets_of_one_address_share_it_where_they_all_say_so() {
    let mut event_loop = EventLoop::new().unwrap();
    let first = event_loop.bind_udp("127.0.0.1:0", UdpEcho).unwrap();
    let taken = event_loop.local_addr(first).unwrap();
    assert!(event_loop.bind_udp(taken, UdpEcho).is_err());
    for by_port in [false, true] {
        let mut options = UdpOptions::default();
        (options.reuse_address, options.reuse_port) = (!by_port, by_port && cfg!(unix));
        let first = event_loop.bind_udp_with("127.0.0.1:0", &options, UdpEcho).unwrap();
        let address = event_loop.local_addr(first).unwrap();
        if cfg!(target_os = "linux") {
            event_loop.bind_udp_with(address, &options, UdpEcho).unwrap();
        }
    }
}

#[test]
fn what_makes_no_sense_is_said_when_the_socket_is_bound() {
    let mut event_loop = EventLoop::new().unwrap();
    let mut options = UdpOptions::default();
    options.dscp = Some(64);
    assert!(event_loop.bind_udp_with("127.0.0.1:0", &options, UdpEcho).is_err());
    let mut options = UdpOptions::default();
    options.multicast.push(Ipv4Addr::new(10, 0, 0, 1).into());
    assert!(event_loop.bind_udp_with("127.0.0.1:0", &options, UdpEcho).is_err(), "no group");
    let mut options = UdpOptions::default();
    options.multicast.push(Ipv6Addr::LOCALHOST.into());
    assert!(event_loop.bind_udp_with("127.0.0.1:0", &options, UdpEcho).is_err(), "no group, nor of this family");
}

/// A receiver on all addresses that has joined [`GROUP`] on loopback.
fn member(event_loop: &mut EventLoop) -> SocketAddr {
    let mut options = SessionOptions::default();
    options.udp.multicast.push(Multicast::V4 { group: GROUP, interface: Ipv4Addr::LOCALHOST });
    let socket = event_loop.bind_sessions_with("0.0.0.0:0", &options, |_| Some(TcpEcho)).unwrap();
    SocketAddr::from((GROUP, event_loop.local_addr(socket).unwrap().port()))
}

#[cfg(target_os = "linux")]
#[test]
fn members_of_a_group_get_what_is_sent_to_it_and_answer_the_sender() {
    let mut event_loop = EventLoop::new().unwrap();
    let group = member(&mut event_loop);
    let sender = socket2::Socket::from(peer());
    sender.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    let sender = UdpSocket::from(sender);
    sender.send_to(b"to all", group).unwrap();
    turn_until(&mut event_loop, "it is answered", |it| it.counters().datagrams_out == 1);
    let mut answer = [0; 20];
    let (len, source) = sender.recv_from(&mut answer).unwrap();
    assert_eq!(&answer[..len], b"to all");
    assert_eq!(source, SocketAddr::from((Ipv4Addr::LOCALHOST, group.port())), "from an address of its own");
}

#[cfg(target_os = "linux")]
#[test]
fn multicast_leaves_by_the_interface_that_was_named() {
    let mut event_loop = EventLoop::new().unwrap();
    let group = member(&mut event_loop);
    let mut options = UdpOptions::default();
    options.multicast_interface_v4 = Some(Ipv4Addr::LOCALHOST);
    options.multicast_hop_limit = Some(1);
    let sender = event_loop.bind_udp_with("127.0.0.1:0", &options, UdpEcho).unwrap();
    event_loop.with_socket(sender, |cx| cx.send_to(group, b"to all"));
    turn_until(&mut event_loop, "a member has got it", |it| it.counters().opened == 1);
    assert_eq!(event_loop.core().socket_counters(sender).datagrams_dropped, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn broadcast_is_permitted_to_who_asked_for_it() {
    for asked in [false, true] {
        let mut event_loop = EventLoop::new().unwrap();
        let receiver = UdpSocket::bind("0.0.0.0:0").unwrap();
        receiver.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut options = UdpOptions::default();
        options.broadcast = asked;
        let socket = event_loop.bind_udp_with("127.0.0.1:0", &options, UdpEcho).unwrap();
        let target = SocketAddr::from(([127, 255, 255, 255], receiver.local_addr().unwrap().port()));
        event_loop.with_socket(socket, |cx| cx.send_to(target, b"to all"));
        let counters = event_loop.core().socket_counters(socket);
        assert_eq!((counters.datagrams_out, counters.datagrams_dropped), if asked { (1, 0) } else { (0, 1) });
        if asked {
            assert_eq!(receiver.recv(&mut [0; 9]).unwrap(), 6);
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn who_broadcasts_is_answered_from_an_address_of_this_machine_s() {
    let mut options = SessionOptions::default();
    options.udp.local_addresses = true;
    for wildcard in ["0.0.0.0:0", "[::]:0"] {
        let mut event_loop = EventLoop::new().unwrap();
        let Ok(socket) = event_loop.bind_sessions_with(wildcard, &options, |_| Some(TcpEcho)) else {
            println!("SKIPPED: this machine has no IPv6");
            continue;
        };
        let port = event_loop.local_addr(socket).unwrap().port();
        let sender = peer();
        sender.set_broadcast(true).unwrap();
        sender.send_to(b"to all", (Ipv4Addr::new(127, 255, 255, 255), port)).unwrap();
        turn_until(&mut event_loop, "it has come", |it| it.counters().datagrams_in == 1);
        let counters = event_loop.counters();
        assert_eq!((counters.datagrams_out, counters.datagrams_dropped), (1, 0), "{wildcard}");
        let mut answer = [0; 20];
        let (len, source) = sender.recv_from(&mut answer).unwrap();
        assert_eq!((&answer[..len], source), (&b"to all"[..], (Ipv4Addr::LOCALHOST, port).into()), "{wildcard}");
    }
}

/// What the system says of a driver's socket.
#[cfg(target_os = "linux")]
mod read_back {
    use std::os::fd::AsFd;

    use socket2::SockRef;

    use super::*;

    fn check(address: &str, options: &UdpOptions, check: impl FnOnce(SockRef<'_>)) {
        let mut driver = MioDriver::new().unwrap();
        let socket = driver.bind_udp(1, address.parse().unwrap(), options).unwrap();
        check(SockRef::from(&socket.as_fd()));
        let peer = socket.local_addr().unwrap();
        let peer = if peer.ip().is_unspecified() { (Ipv6Addr::LOCALHOST, peer.port()).into() } else { peer };
        let connected = driver.connect_udp(2, peer, options).unwrap();
        assert_eq!(SockRef::from(&connected.as_fd()).peer_addr().unwrap().as_socket(), Some(peer));
    }

    #[test]
    fn hop_limits_and_classes_are_set() {
        let mut options = UdpOptions::default();
        (options.hop_limit, options.dscp) = (Some(7), Some(46)); // expedited forwarding (RFC 3246)
        (options.multicast_hop_limit, options.multicast_loop) = (Some(3), Some(false));
        options.multicast_interface_v4 = Some(Ipv4Addr::LOCALHOST);
        let v4 = |it: &SockRef<'_>| {
            assert_eq!((it.ttl_v4().unwrap(), it.tos_v4().unwrap()), (7, 46 << 2));
            assert_eq!((it.multicast_ttl_v4().unwrap(), it.multicast_loop_v4().unwrap()), (3, false));
            assert_eq!(it.multicast_if_v4().unwrap(), Ipv4Addr::LOCALHOST);
        };
        check("127.0.0.1:0", &options, |it| v4(&it));
        if UdpSocket::bind("[::1]:0").is_err() {
            return println!("SKIPPED: this machine has no IPv6");
        }
        check("[::]:0", &options, |it| {
            assert_eq!((it.unicast_hops_v6().unwrap(), it.tclass_v6().unwrap()), (7, 46 << 2));
            assert_eq!((it.multicast_hops_v6().unwrap(), it.multicast_loop_v6().unwrap()), (3, false));
            assert!(!it.only_v6().unwrap());
            v4(&it); // what it sends to IPv4 peers
        });
        options.only_v6 = true;
        check("[::]:0", &options, |it| assert!(it.only_v6().unwrap()));
    }

    #[test]
    fn sizes_and_permissions_are_set() {
        check("127.0.0.1:0", &UdpOptions::default(), |it| {
            assert!(!it.broadcast().unwrap() && !it.reuse_address().unwrap() && !it.reuse_port().unwrap());
        });
        let mut options = UdpOptions::default();
        (options.receive_buffer_size, options.send_buffer_size) = (Some(30_000), Some(20_000));
        (options.broadcast, options.reuse_address, options.reuse_port) = (true, true, true);
        check("127.0.0.1:0", &options, |it| {
            // Linux doubles them (socket(7)).
            assert_eq!((it.recv_buffer_size().unwrap(), it.send_buffer_size().unwrap()), (60_000, 40_000));
            assert!(it.broadcast().unwrap() && it.reuse_address().unwrap() && it.reuse_port().unwrap());
        });
    }
}
