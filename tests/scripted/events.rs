//! What a poll reports, in every order and combination: stale, doubled, broken, all at once.

use switchboard::driver::Ready;
use switchboard::testkit::Harness;
use switchboard::{Blame, CloseReason, EndpointId, Failure};
use switchboard_echo::TcpEcho;

use crate::spy::{Log, Spy};
use crate::world::{PORT, World, address};

#[test]
fn a_stale_event_after_its_connection_closed_in_the_same_batch_reaches_nobody() {
    let log = Log::default();
    let mut world = World::new();
    let spies = log.clone();
    world.listen(move || {
        Spy::new("it", &spies).on_data(|cx, input| {
            input.take_all();
            cx.abort();
            Ok(())
        })
    });
    let peer = world.peer();
    let key = peer.id().unwrap().key();
    log.take();
    peer.send(b"x"); // one event ...
    let again = Ready { key, readable: true, writable: true, read_closed: true, error: true };
    world.network.raise(again); // ... and another of the same connection behind it
    world.settle();
    assert_eq!(log.take(), ["it data x", "it close: aborted by this side, 0 bytes unsent"]);
    world.network.raise(again); // and one a turn later
    world.settle();
    assert_eq!(log.take(), [""; 0]);
    world.assert_nothing_left();
}

#[test]
fn a_stale_event_never_reaches_the_one_that_took_its_slot_in_the_same_batch() {
    let log = Log::default();
    let mut world = World::new();
    let spies = log.clone();
    let mut made = 0;
    world.listen(move || {
        made += 1;
        let spy = Spy::new(["first", "second"][made - 1], &spies);
        spy.on_data(|cx, input| {
            input.take_all();
            cx.abort();
            Ok(())
        })
    });
    let first = world.peer();
    let old = first.id().unwrap();
    log.take();
    // In one batch: the first one's end, then an accept that uses its slot, then its stale events.
    first.send(b"x");
    let second = world.network.connect(address(PORT)).unwrap();
    world.network.raise(Ready { key: old.key(), readable: true, read_closed: true, error: true, ..Ready::default() });
    world.turn();
    let new = second.id().unwrap();
    assert_eq!(slot(new), slot(old), "or this test shows nothing");
    assert_ne!(new, old);
    world.settle();
    assert_eq!(log.take(), ["first data x", "first close: aborted by this side, 0 bytes unsent", "second open"]);
    second.send(b"y");
    world.settle();
    assert_eq!(log.take()[0], "second data y");
}

/// The half of an id that is used again.
fn slot(id: EndpointId) -> String {
    id.to_string().split('.').next().unwrap().to_owned()
}

#[test]
fn keys_that_never_named_anything_are_ignored() {
    let mut world = World::new();
    world.listen(|| TcpEcho);
    let peer = world.peer();
    for key in [0, 7, 1 << 32, u64::MAX, u64::MAX - 1, peer.id().unwrap().key() + 1] {
        let all = Ready { key, readable: true, writable: true, read_closed: true, error: true };
        world.network.raise(all);
    }
    peer.send(b"still here");
    world.settle();
    assert_eq!(peer.take_received(), b"still here");
}

#[test]
fn hints_that_come_to_nothing_change_nothing() {
    let mut world = World::new();
    world.listen(|| TcpEcho);
    let peer = world.peer();
    let key = peer.id().unwrap().key();
    for bits in 0..16 {
        let bit = |n: u32| bits >> n & 1 == 1;
        let ready = Ready { key, readable: bit(0), writable: bit(1), read_closed: bit(2), error: bit(3) };
        world.network.raise(ready);
        world.settle();
    }
    peer.send(b"x");
    world.settle();
    assert_eq!(peer.take_received(), b"x");
    assert_eq!(world.event_loop.core().open_connections(), 1);
}

#[test]
fn one_protocols_error_disturbs_nobody_in_the_same_batch() {
    let log = Log::default();
    let mut world = World::new();
    let mut made = 0;
    let spies = log.clone();
    world.listen(move || {
        made += 1;
        let bad = made == 2;
        Spy::new(["first", "second", "third"][made - 1], &spies).on_data(move |cx, input| {
            if bad {
                return Err(Failure::new(Blame::Peer, "bad input"));
            }
            cx.send(input.take_all());
            Ok(())
        })
    });
    let peers = [world.peer(), world.peer(), world.peer()];
    log.take();
    for peer in &peers {
        peer.send(b"x");
    }
    world.turn();
    assert_eq!(
        log.take(),
        ["first data x", "second data x", "second close: the peer broke the protocol: bad input", "third data x"]
    );
    assert_eq!((peers[0].take_received(), peers[2].take_received()), (b"x".to_vec(), b"x".to_vec()));
    for _ in 0..3 {
        peers[0].send(b"y");
        world.settle();
    }
    assert_eq!(peers[0].take_received(), b"yyy");
}

#[test]
fn five_bytes_with_the_half_close_in_the_same_event_are_echoed_and_answered() {
    let mut world = World::new();
    world.listen(|| TcpEcho);
    for _ in 0..100 {
        let peer = world.peer();
        peer.send(b"12345");
        peer.finish();
        world.settle();
        assert_eq!(peer.take_received(), b"12345");
        assert!(peer.saw_eof() && !peer.saw_reset());
    }
    world.assert_nothing_left();
}

#[test]
fn bytes_and_half_close_that_wait_already_when_accepted_are_seen() {
    let mut world = World::new();
    world.listen(|| TcpEcho);
    let peer = world.network.connect(address(PORT)).unwrap();
    peer.send(b"early");
    peer.finish();
    world.settle();
    assert_eq!(peer.take_received(), b"early");
    assert!(peer.saw_eof());
    world.assert_nothing_left();
}

#[test]
fn a_half_close_is_remembered_until_it_was_read_however_short_the_reads() {
    for sizes in [vec![1; 5], vec![2, 3], vec![4, 0, 1], vec![0, 5]] {
        let mut harness = Harness::new(TcpEcho);
        harness.peer().cut_reads(sizes.clone());
        harness.feed_eof(b"12345");
        assert_eq!(harness.take_sent(), b"12345", "{sizes:?}");
        assert!(harness.saw_eof(), "{sizes:?}");
        assert!(matches!(harness.close_reason(), Some(CloseReason::Peer)), "{sizes:?}");
    }
}

#[test]
fn a_half_close_during_a_pause_is_told_after_it() {
    let log = Log::default();
    let mut harness = Harness::new(Spy::new("it", &log).on_data(|cx, input| {
        cx.pause_reading();
        input.take(1);
        Ok(())
    }));
    harness.feed(b"ab");
    harness.eof();
    assert_eq!(log.take(), ["it open", "it data ab"]);
    harness.with(|cx| cx.resume_reading());
    harness.with(|cx| cx.resume_reading());
    assert_eq!(log.take(), ["it data b", "it eof", "it close: closed by the peer"]);
}

#[test]
fn a_reset_is_noticed_while_reading_is_paused() {
    let log = Log::default();
    let mut harness = Harness::new(Spy::new("it", &log).on_open(|cx| {
        cx.pause_reading();
        Ok(())
    }));
    harness.feed(b"never read");
    harness.reset();
    assert_eq!(log.take(), ["it open", "it close: connection broke: connection reset, 0 bytes unsent"]);
    assert_eq!(harness.close_reason().unwrap().blame(), Some(Blame::System));
}

#[test]
fn a_reset_is_noticed_while_reading_is_held_for_slow_output() {
    let mut harness = Harness::new(Spy::new("it", &Log::default()));
    harness.set_window(0);
    harness.with(|cx| cx.send(&vec![0; 300_000]));
    harness.feed(b"never read");
    harness.reset();
    assert!(
        matches!(harness.close_reason(), Some(CloseReason::Io { unsent: 300_000, .. })),
        "{:?}",
        harness.close_reason()
    );
    assert_eq!(harness.core().held_bytes(), 0);
    assert_eq!(harness.core().counters().bytes_unsent, 300_000);
}

#[test]
fn a_reset_in_mid_message_is_told_and_the_memory_given_back() {
    let log = Log::default();
    let mut harness = Harness::new(Spy::new("it", &log).on_data(|_, input| {
        input.wait_for(100);
        Ok(())
    }));
    harness.feed(b"half a mess");
    assert!(harness.core().held_bytes() > 0);
    harness.reset();
    assert_eq!(log.take()[2..], ["it close: connection broke: connection reset, 0 bytes unsent"]);
    assert_eq!(harness.core().held_bytes(), 0);
    assert_eq!(harness.core().counters().bytes_discarded, 11);
}

#[test]
fn what_arrived_before_a_reset_is_still_delivered() {
    let log = Log::default();
    let mut harness = Harness::new(Spy::new("it", &log));
    harness.peer().send(b"farewell");
    harness.peer().reset();
    harness.settle();
    assert_eq!(log.take()[1..], ["it data farewell", "it close: connection broke: connection reset, 0 bytes unsent"]);
}

#[test]
fn an_error_alone_is_enough_to_notice_a_reset() {
    let log = Log::default();
    let mut harness = Harness::new(Spy::new("it", &log));
    let key = EndpointId::from(harness.id()).key();
    harness.peer().reset();
    let _ = harness.network().take_events();
    harness.network().raise(Ready { key, error: true, ..Ready::default() }); // no more is said of it
    harness.settle();
    assert_eq!(log.take()[1..], ["it close: connection broke: connection reset, 0 bytes unsent"]);
}

#[test]
fn a_half_close_alone_is_enough_to_notice_it() {
    let log = Log::default();
    let mut harness = Harness::new(Spy::new("it", &log));
    let key = EndpointId::from(harness.id()).key();
    harness.peer().finish();
    let _ = harness.network().take_events();
    harness.network().raise(Ready { key, read_closed: true, ..Ready::default() });
    harness.settle();
    assert_eq!(log.take()[1..], ["it eof", "it close: closed by the peer"]);
}

#[test]
fn a_reset_after_the_peers_half_close_is_noticed() {
    let log = Log::default();
    let mut harness = Harness::new(Spy::new("it", &log).on_eof(|_, _| Ok(())));
    harness.eof();
    assert_eq!(log.take(), ["it open", "it eof"]);
    harness.reset();
    assert_eq!(log.take(), ["it close: connection broke: connection reset, 0 bytes unsent"]);
}
