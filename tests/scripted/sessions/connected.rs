//! Outgoing sessions: a socket for one peer.

use std::io;
use std::net::Ipv4Addr;

use super::*;

#[test]
fn it_opens_at_once_and_hears_one_peer_alone() {
    let mut world = World::new();
    let log = Log::default();
    let id = world.event_loop.connect_udp(
        address(THERE),
        Spy::new("it", &log).on_open(|cx| {
            cx.send(b"hello");
            Ok(())
        }),
    );
    assert_eq!(log.take(), ["it open"]);
    let local = world.event_loop.local_addr(id).unwrap();
    assert_eq!(world.network.take_datagrams(local), [(address(THERE), b"hello".to_vec())]);
    assert!(!world.network.send_datagram(address(7), local, b"forged"), "the system drops it");
    assert!(world.network.send_datagram(address(THERE), local, b"answer"));
    world.settle();
    assert_eq!(log.take(), ["it data answer"]);
    assert_eq!(world.event_loop.core().open_connections(), 1);
    world.event_loop.core().close(id);
    world.settle();
    assert_eq!(log.take(), ["it close: closed by this side"]);
    assert!(!world.network.send_datagram(address(THERE), local, b"anybody there?"), "its socket has gone");
    world.assert_nothing_left();
    let counters = world.event_loop.core().outgoing_counters();
    assert_eq!((counters.opened, counters.closed, counters.datagrams_in, counters.datagrams_out), (1, 1, 1, 1));
}

#[test]
fn its_socket_stays_until_the_last_words_have_left() {
    let mut world = World::new();
    let log = Log::default();
    let id = world.event_loop.connect_udp(address(THERE), Spy::new("it", &log));
    let local = world.event_loop.local_addr(id).unwrap();
    world.network.set_datagram_window(local, 0);
    world.event_loop.with(id, |cx| {
        cx.send(b"bye");
        cx.close();
    });
    assert_eq!(log.take(), ["it open", "it close: closed by this side"]);
    assert!(world.network.send_datagram(address(THERE), local, b"one more"), "its socket is there");
    world.settle();
    assert_eq!(world.event_loop.core().outgoing_counters().bytes_discarded, 8);
    world.network.set_datagram_window(local, 5);
    world.settle();
    assert_eq!(world.network.take_datagrams(local), [(address(THERE), b"bye".to_vec())]);
    assert!(!world.network.send_datagram(address(THERE), local, b"?"));
    world.assert_nothing_left();
}

#[test]
fn a_refusal_ends_it_and_other_errors_do_not() {
    let log = Log::default();
    let mut harness = SessionHarness::new(Spy::new("it", &log));
    harness.fail_receive(io::ErrorKind::HostUnreachable);
    harness.fail_receive(io::ErrorKind::Interrupted);
    harness.feed(b"still there");
    assert_eq!(log.take(), ["it open", "it data still there"]);
    harness.fail_receive(io::ErrorKind::ConnectionRefused);
    assert_eq!(log.take(), ["it close: connection broke: connection refused, 0 bytes unsent"]);
    let Some(CloseReason::Io { error, unsent: 0 }) = harness.close_reason() else { panic!("it broke") };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(harness.counters().datagram_errors, 2);
    assert_eq!((harness.core().open_connections(), harness.core().held_bytes()), (0, 0));
}

#[test]
fn on_a_bound_socket_a_refusal_is_nobody_s_end() {
    let (mut world, socket, log) = spies(Limits::default(), &SessionOptions::default());
    send(&mut world, THERE, b"one");
    world.network.fail_receive(address(HERE), io::ErrorKind::ConnectionRefused);
    world.settle();
    send(&mut world, THERE, b"two");
    assert_eq!(log.take(), ["session open", "session data one", "session data two"]);
    assert_eq!(world.event_loop.core().socket_counters(socket).datagram_errors, 1);
}

#[test]
fn one_that_can_t_be_made_says_so() {
    let mut world = World::with_limits(Limits { connections: 1, ..Limits::default() });
    let log = Log::default();
    world.network.refuse_connect(io::ErrorKind::NetworkUnreachable);
    world.event_loop.connect_udp(address(1), Spy::new("no way", &log));
    world.event_loop.connect_udp(address(2), Spy::new("it", &log));
    world.event_loop.connect_udp(address(3), Spy::new("no room", &log));
    #[cfg(unix)]
    world.event_loop.connect_udp(std::path::Path::new("/no/socket"), Spy::new("no host", &log));
    assert_eq!(
        log.take()[..3],
        [
            "no way close: could not connect: network unreachable",
            "it open",
            "no room close: a limit was hit: connections: the loop holds its 1 already",
        ]
    );
    assert_eq!(world.event_loop.core().outgoing_counters().connect_errors, if cfg!(unix) { 3 } else { 2 });
}

#[test]
fn a_name_is_looked_up_first() {
    let mut world = World::new();
    let log = Log::default();
    let id = world.event_loop.connect_udp(("device.example", 7), Spy::new("it", &log));
    world.event_loop.core().post(id, Bytes::from_static(b"early")).unwrap();
    world.settle();
    assert_eq!((log.len(), world.event_loop.core().open_connections()), (0, 1));
    let lookup = world.network.next_lookup().expect("it looks the name up");
    assert_eq!(lookup.host(), "device.example");
    // To the first there is no way.
    world.network.refuse_connect(io::ErrorKind::NetworkUnreachable);
    lookup.answer([Ipv4Addr::new(10, 9, 9, 9).into(), Ipv4Addr::new(10, 0, 0, 1).into()]);
    world.settle();
    assert_eq!(log.take(), ["it open", "it message early"]);
    let peer = world.event_loop.with(id, |cx| cx.peer_addr()).flatten();
    assert_eq!(peer, Some(address(7)));
    assert_eq!(world.event_loop.core().open_connections(), 1);
    world.event_loop.core().close(id);
    world.settle();
    world.assert_nothing_left();
}

#[test]
fn a_name_that_has_no_address_or_no_answer_in_time_says_so() {
    let mut world = World::new();
    let log = Log::default();
    for name in ["unknown", "empty", "silent"] {
        world.event_loop.connect_udp((name, 7), Spy::new("it", &log));
    }
    world.settle();
    let lookups: Vec<_> = std::iter::from_fn(|| world.network.next_lookup()).collect();
    let [unknown, empty, silent] = <[_; 3]>::try_from(lookups).unwrap();
    unknown.fail(io::ErrorKind::NotFound);
    empty.answer([]);
    world.settle();
    let notes = log.take();
    assert_eq!(notes.len(), 2);
    assert!(notes.iter().all(|note| note.starts_with("it close: could not connect")), "{notes:?}");
    world.advance(Duration::from_secs(10));
    assert_eq!(log.take(), ["it close: could not connect within 10s"]);
    drop(silent);
    world.assert_nothing_left();
}
