//! Batches on loopback: the calls for many, and what comes where there are none.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Calls, MioSocket};
use crate::datagram::Datagrams;
use crate::driver::{Batch, Received, Socket};
use crate::{Ecn, SendOptions, UdpOptions};

/// Two sockets on loopback, each with calls of its own.
struct Line {
    from: MioSocket,
    to: MioSocket,
    address: SocketAddr,
}

fn calls(singly: bool) -> Rc<RefCell<Calls>> {
    Rc::new(RefCell::new(if singly { Calls::missing() } else { Calls::default() }))
}

fn line(from: &str, to: &str, options: &UdpOptions, singly: bool) -> Line {
    let bind = |ip: &str| MioSocket::bind(SocketAddr::new(ip.parse().unwrap(), 0), options, &calls(singly)).unwrap();
    let (from, to) = (bind(from), bind(to));
    let address = to.local_addr().unwrap();
    Line { from, to, address }
}

/// Sends everything, however little the system takes at once.
fn send_all(from: &mut MioSocket, out: &Datagrams) {
    let mut left = out.iter();
    while left.len() > 0 {
        let sent = from.send_batch(left.clone()).unwrap();
        assert!((1..=left.len()).contains(&sent));
        left.skip_first(sent);
    }
}

/// Receives so many.
#[expect(clippy::disallowed_methods, reason = "a deadline, should they never come")]
fn receive(to: &mut MioSocket, count: usize) -> Vec<(Received, Vec<u8>)> {
    let (mut batch, mut all) = (Batch::default(), Vec::new());
    let start = Instant::now();
    while all.len() < count {
        assert!(start.elapsed() < Duration::from_secs(20), "{} of {count} came", all.len());
        batch.open(Batch::SLOTS);
        match to.recv_batch(&mut batch) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => panic!("{error}"),
            _ => {}
        }
        for index in 0..batch.len() {
            let (&received, payload) = batch.datagram(index);
            all.push((received, payload.to_vec()));
        }
        assert_eq!(batch.bytes(), all[all.len() - batch.len()..].iter().map(|(it, _)| it.len).sum::<usize>());
    }
    assert_eq!(all.len(), count);
    all
}

/// Payloads that differ, many of them short, some as long as one can be.
fn payloads() -> Vec<Vec<u8>> {
    let lens = (0..40).chain([1472, 1473, 9000, 65_507, 0, 0, 65_506]).chain([700; 20]).chain([7, 700, 700, 3]);
    lens.enumerate().map(|(n, len)| (0..len).map(|i| u8::try_from((n * 31 + i * 7) % 251).unwrap()).collect()).collect()
}

/// Sends all payloads with these options, in parts that a socket's buffer holds, and gives what came.
fn carry(line: &mut Line, options: SendOptions) -> Vec<(Received, Vec<u8>)> {
    let mut came = Vec::new();
    for part in payloads().chunks(46) {
        let mut out = Datagrams::default();
        part.iter().for_each(|payload| out.push(line.address, options, payload));
        send_all(&mut line.from, &out);
        came.extend(receive(&mut line.to, part.len()));
    }
    came
}

#[test]
fn all_ways_carry_the_same() {
    let (receive_ecn, local_addresses, offload) = (true, true, true);
    let plain = UdpOptions::default();
    let marked = UdpOptions { receive_ecn, ecn: Ecn::Ect0, dscp: Some(10), ..UdpOptions::default() };
    let all = UdpOptions { receive_ecn, local_addresses, offload, ..UdpOptions::default() };
    let bulk = UdpOptions { offload, ..UdpOptions::default() };
    for (from, to) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "::1"), ("0.0.0.0", "127.0.0.1")] {
        for (options, singly) in [&plain, &marked, &all, &bulk].into_iter().flat_map(|it| [(it, false), (it, true)]) {
            let mut line = line(from, to, options, singly);
            let came = carry(&mut line, SendOptions::default());
            let payloads_came: Vec<_> = came.iter().map(|(_, payload)| payload.clone()).collect();
            assert!(payloads_came == payloads(), "{from} to {to}, {options:?}, singly: {singly}");
            let port = line.from.local_addr().unwrap().port();
            for (received, payload) in came {
                assert_eq!(received.len, payload.len());
                assert_eq!((received.source.port(), received.source.ip().is_loopback()), (port, true));
                assert_eq!(received.ecn, options.receive_ecn.then_some(options.ecn), "{from} to {to}, {singly}");
                let local = options.local_addresses.then_some(line.address.ip());
                assert_eq!(received.local, local, "{from} to {to}, {singly}");
            }
        }
    }
}

#[test]
fn each_datagram_may_be_marked_and_sent_from_an_address_of_its_own() {
    let options = UdpOptions { receive_ecn: true, dscp: Some(63), offload: true, ..UdpOptions::default() };
    let cases: [(&str, &str, Option<IpAddr>); 4] = [
        ("0.0.0.0", "127.0.0.1", Some([127, 0, 0, 9].into())),
        ("::", "::1", Some("::1".parse().unwrap())),
        ("127.0.0.1", "127.0.0.1", None),
        ("::1", "::1", None),
    ];
    for (from, to, source) in cases {
        for singly in [false, true] {
            let mut line = line(from, to, &options, singly);
            for ecn in [Ecn::NotEct, Ecn::Ect0, Ecn::Ect1, Ecn::Ce] {
                let came = carry(&mut line, SendOptions { source, ecn: Some(ecn) });
                assert!(came.iter().map(|(_, payload)| payload).eq(&payloads()), "{from} to {to}, {ecn:?}, {singly}");
                assert!(
                    came.iter().all(|(received, _)| received.ecn == Some(ecn)),
                    "{from} to {to}, {ecn:?}, {singly}"
                );
                if let Some(source) = source {
                    assert!(came.iter().all(|(received, _)| received.source.ip() == source));
                }
            }
        }
    }
}

#[test]
fn an_ipv6_socket_speaks_to_both_families_in_one_batch() {
    for singly in [false, true] {
        let options = UdpOptions { receive_ecn: true, local_addresses: true, ..UdpOptions::default() };
        let mut line = line("::", "::", &options, singly);
        let port = line.address.port();
        let targets: [SocketAddr; 2] = [(to_ip("::ffff:127.0.0.1"), port).into(), (to_ip("::1"), port).into()];
        let mut out = Datagrams::default();
        for n in 0..20_u8 {
            let ecn = [None, Some(Ecn::Ect0), Some(Ecn::Ce)][usize::from(n / 2) % 3];
            out.push(targets[usize::from(n) % 2], SendOptions { source: None, ecn }, &[n]);
        }
        send_all(&mut line.from, &out);
        for (n, (received, payload)) in (0_u8..).zip(receive(&mut line.to, 20)) {
            assert_eq!(payload, [n]);
            assert_eq!(received.ecn, Some([Ecn::NotEct, Ecn::Ect0, Ecn::Ce][usize::from(n / 2) % 3]), "{n}, {singly}");
            assert_eq!(received.local, Some(targets[usize::from(n) % 2].ip()), "{n}, {singly}");
        }
    }
}

fn to_ip(ip: &str) -> IpAddr {
    ip.parse().unwrap()
}

#[test]
fn one_that_is_too_long_keeps_its_place() {
    for (singly, offload) in [(false, false), (true, false), (false, true)] {
        let mut line = line("127.0.0.1", "127.0.0.1", &UdpOptions { offload, ..UdpOptions::default() }, singly);
        let mut out = Datagrams::default();
        let too_long = vec![0; 65_508];
        for payload in [b"a", b"b", &too_long[..], b"c", b"d"] {
            out.push(line.address, SendOptions::default(), payload);
        }
        let mut left = out.iter();
        let mut errors = 0;
        while left.len() > 0 {
            let sent = line.from.send_batch(left.clone()).unwrap_or_else(|_| {
                errors += 1;
                assert_eq!(left.len(), 3);
                1
            });
            left.skip_first(sent);
        }
        assert_eq!(errors, 1);
        let came: Vec<_> = receive(&mut line.to, 4).into_iter().map(|(_, payload)| payload).collect();
        assert_eq!(came, [b"a", b"b", b"c", b"d"]);
    }
}

#[test]
fn a_connected_pair_needs_no_names() {
    for (singly, ip) in [(false, "127.0.0.1"), (true, "127.0.0.1"), (false, "::1"), (true, "::1")] {
        let options = UdpOptions { offload: true, ..UdpOptions::default() };
        let to = MioSocket::bind(SocketAddr::new(to_ip(ip), 0), &options, &calls(singly)).unwrap();
        let address = to.local_addr().unwrap();
        let from = MioSocket::connect(address, &options, &calls(singly)).unwrap();
        let mut line = Line { from, to, address };
        let came = carry(&mut line, SendOptions::default());
        assert!(came.iter().map(|(_, payload)| payload).eq(&payloads()));
        let came = carry(&mut line, SendOptions { ecn: Some(Ecn::Ect1), source: None });
        assert!(came.iter().map(|(_, payload)| payload).eq(&payloads()));
    }
}

#[test]
fn what_the_network_cuts_and_joins_is_told_apart() {
    let offload = UdpOptions { offload: true, ..UdpOptions::default() };
    let mut line = line("127.0.0.1", "127.0.0.1", &offload, false);
    let mut out = Datagrams::default();
    (0..60_u8).for_each(|n| out.push(line.address, SendOptions::default(), &[n; 1000]));
    out.push(line.address, SendOptions::default(), b"the rest");
    // In one piece, where the kernel can do it (Linux 4.18 and later).
    let sent = line.from.send_batch(out.iter()).unwrap();
    assert_eq!(sent, 61);
    let mut batch = Batch::default();
    batch.open(Batch::SLOTS);
    assert_eq!(line.to.recv_batch(&mut batch).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!((batch.len(), batch.room()), (61, Batch::SLOTS - 1), "one slot for all of them");
    for n in 0..60_u8 {
        assert_eq!(batch.datagram(n.into()).1, [n; 1000]);
    }
    assert_eq!(batch.datagram(60).1, b"the rest");
}

#[test]
fn a_refusal_is_told_also_to_who_sends_in_one_piece() {
    let gone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for offload in [false, true] {
        let options = UdpOptions { offload, ..UdpOptions::default() };
        let mut from = MioSocket::connect(gone, &options, &calls(false)).unwrap();
        let mut out = Datagrams::default();
        (0..3).for_each(|_| out.push(gone, SendOptions::default(), b"anybody?"));
        let mut one = Datagrams::default();
        one.push(gone, SendOptions::default(), b"anybody?");
        assert_eq!(from.send_batch(one.iter()).unwrap(), 1); // on loopback the answer is there at once
        assert_eq!(from.send_batch(out.iter()).unwrap_err().kind(), ErrorKind::ConnectionRefused, "{offload}");
    }
}

#[test]
fn a_peer_that_cannot_be_sent_to_costs_the_others_nothing() {
    let offload = UdpOptions { offload: true, ..UdpOptions::default() };
    let mut line = line("127.0.0.1", "127.0.0.1", &offload, false);
    // A forged source has port 0 if it likes; the other is a broadcast address, which was not asked for.
    for nobody in ["127.0.0.1:0", "255.255.255.255:9"] {
        let mut out = Datagrams::default();
        (0..2).for_each(|_| out.push(nobody.parse().unwrap(), SendOptions::default(), b"x"));
        assert!(line.from.send_batch(out.iter()).is_err(), "{nobody}");
    }
    let mut out = Datagrams::default();
    (0..10_u8).for_each(|n| out.push(line.address, SendOptions::default(), &[n; 100]));
    assert_eq!(line.from.send_batch(out.iter()).unwrap(), 10);
    let mut batch = Batch::default();
    batch.open(Batch::SLOTS);
    assert_eq!(line.to.recv_batch(&mut batch).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!((batch.len(), batch.room()), (10, Batch::SLOTS - 1), "one slot for all of them");
}

#[test]
fn what_was_forbidden_once_is_tried_again() {
    let mut line = line("127.0.0.1", "127.0.0.1", &UdpOptions::default(), false);
    *line.from.calls.borrow_mut() = Calls::forbidden();
    let mut out = Datagrams::default();
    (0..10_u8).for_each(|n| out.push(line.address, SendOptions::default(), &[n]));
    let mut singly = 0;
    while line.from.send_batch(out.iter()).unwrap() == 1 {
        singly += 1;
        assert!(singly <= 10_000, "the call for many works, but was given up");
        if singly % 10 == 0 {
            receive(&mut line.to, 10);
        }
    }
    assert_eq!(singly, 1024);
    assert_eq!(line.from.send_batch(out.iter()).unwrap(), 10, "and from then on");
}

#[test]
fn sockets_that_ask_for_the_same_share_what_that_takes() {
    let (receive_ecn, local_addresses) = (true, true);
    let all = UdpOptions { receive_ecn, local_addresses, ..UdpOptions::default() };
    let marks = UdpOptions { receive_ecn, ..UdpOptions::default() };
    let calls = calls(false);
    let address: SocketAddr = ([127, 0, 0, 1], 0).into();
    let bind = |options| MioSocket::bind(address, options, &calls).unwrap();
    let mut sockets = [bind(&all), bind(&marks), bind(&all), bind(&marks)];
    for round in 0..3_u8 {
        for (index, socket) in sockets.iter_mut().enumerate() {
            let mut out = Datagrams::default();
            let to = socket.local_addr().unwrap();
            (0..5).for_each(|n| out.push(to, SendOptions { ecn: Some(Ecn::Ect0), source: None }, &[n, round]));
            send_all(socket, &out);
            for (n, (received, payload)) in (0..).zip(receive(socket, 5)) {
                assert_eq!(payload, [n, round]);
                assert_eq!((received.ecn, received.local), (Some(Ecn::Ect0), (index % 2 == 0).then_some(to.ip())));
            }
        }
    }
    assert_eq!(calls.borrow().told_kinds(), 2);
}
