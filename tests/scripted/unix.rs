//! Unix sockets on the network in memory.

use std::io;
use std::path::Path;
use std::time::Duration;

use switchboard::{Limits, protocol_fn};

use crate::spy::{Log, Spy};
use crate::world::{World, millis};

fn path() -> &'static Path {
    Path::new("/run/it")
}

#[test]
fn a_unix_socket_is_listened_on() {
    let (log, mut world) = (Log::default(), World::new());
    let seen = log.clone();
    let listener = world
        .event_loop
        .listen_unix(path(), move |accepted| {
            assert_eq!((accepted.peer, accepted.ip()), (None, None));
            Some(Spy::new("it", &seen).on_open(|cx| {
                assert_eq!((cx.peer_addr(), cx.local_addr()), (None, None));
                cx.send(b"welcome");
                Ok(())
            }))
        })
        .unwrap();
    assert_eq!(world.event_loop.local_addr(listener), None);
    assert!(world.network.is_listening_unix(path()));
    let taken = world.event_loop.listen_unix(path(), |_| Some(protocol_fn(|_, _| Ok(()))));
    assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    let peer = world.network.connect_unix(path()).expect("somebody listens");
    assert!(world.network.connect_unix("/run/other").is_none());
    peer.send(b"hello");
    peer.finish();
    world.settle();
    assert_eq!(log.take(), ["it open", "it data hello", "it eof", "it close: closed by the peer"]);
    assert_eq!(peer.take_received(), b"welcome");
    assert_eq!(world.event_loop.core().listener_counters(listener).opened, 1);
    world.event_loop.core().close(listener);
    world.settle();
    assert!(!world.network.is_listening_unix(path()) && world.network.connect_unix(path()).is_none());
}

#[test]
fn a_unix_socket_is_connected_to() {
    let (log, mut world) = (Log::default(), World::new());
    let id = world.event_loop.connect(path(), Spy::new("it", &log));
    world.settle();
    let peer = world.network.next_outgoing().expect("it connects");
    assert_eq!(peer.path().as_deref(), Some(path()));
    assert_eq!(log.take(), [""; 0]);
    peer.establish();
    world.settle();
    assert_eq!(log.take(), ["it open"]);
    assert_eq!(world.event_loop.with(id, |cx| (cx.peer_addr(), cx.local_addr())), Some((None, None)));
    peer.reset();
    world.settle();
    assert_eq!(log.take(), ["it close: connection broke: connection reset, 0 bytes unsent"]);
    world.assert_nothing_left();
}

#[test]
fn where_nobody_listens_the_path_is_named() {
    let (log, mut world) = (Log::default(), World::new());
    world.network.refuse_connect(io::ErrorKind::NotFound);
    world.event_loop.connect(path(), Spy::new("it", &log));
    world.settle();
    assert_eq!(log.take(), ["it close: could not connect: unix:/run/it: entity not found"]);
    world.assert_nothing_left();
}

#[test]
fn where_too_many_wait_it_is_tried_again() {
    let (log, mut world) = (Log::default(), World::new());
    world.network.refuse_connect(io::ErrorKind::WouldBlock);
    world.event_loop.connect(path(), Spy::new("it", &log));
    world.settle();
    world.network.refuse_connect(io::ErrorKind::WouldBlock);
    for _ in 0..2 {
        world.advance(millis(99));
        assert!(world.network.next_outgoing().is_none());
        world.advance(millis(1));
    }
    world.network.next_outgoing().expect("the third time").establish();
    world.settle();
    assert_eq!(log.take(), ["it open"]);
}

#[test]
fn and_again_until_its_time_is_over() {
    let (log, mut world) =
        (Log::default(), World::with_limits(Limits { connect_timeout: millis(250), ..Limits::default() }));
    world.network.refuse_connect(io::ErrorKind::WouldBlock);
    world.event_loop.connect(path(), Spy::new("it", &log));
    world.settle();
    for _ in 0..3 {
        world.network.refuse_connect(io::ErrorKind::WouldBlock);
        world.advance(millis(100));
    }
    assert_eq!(log.take(), ["it close: could not connect within 250ms"]);
    world.advance(Duration::from_secs(1));
    assert!(world.network.next_outgoing().is_none());
    world.assert_nothing_left();
}
