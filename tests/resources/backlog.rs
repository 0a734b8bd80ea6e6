//! The memory of output that waits: what is counted is what is taken.

use switchboard::testkit::{self, Peer};
use switchboard::{Bytes, EventLoop, Limits, protocol_fn};

use crate::gauge::{alone, heap};

/// Connections each of which was sent `len` bytes; its peer takes `at_once` of them, and then `later`
/// some more. Gives the heap bytes that are held now, and what the loop says it holds.
fn backlogs(connections: usize, len: usize, at_once: usize, later: usize) -> (usize, usize) {
    let (driver, network) = testkit::network();
    let mut event_loop = EventLoop::with_driver(driver, Limits::default()).unwrap();
    let ids: Vec<_> = (0..connections)
        .map(|_| {
            let idle = protocol_fn(|_, input| {
                input.take_all();
                Ok(())
            });
            event_loop.connect(("10.0.0.1", 1), idle)
        })
        .collect();
    event_loop.turn(None).unwrap();
    let peers: Vec<Peer> = std::iter::from_fn(|| network.next_outgoing()).collect();
    for peer in &peers {
        peer.set_window(at_once);
        peer.establish();
    }
    event_loop.turn(None).unwrap();
    let message = vec![7; len];
    let heap = heap(|| {
        for &id in &ids {
            event_loop.with(id, |cx| cx.send(&message)).unwrap();
        }
        for peer in &peers {
            if later > 0 {
                peer.set_window(later);
            }
        }
        event_loop.turn(None).unwrap();
        // What is long leaves bit by bit, where others have something to write, too.
        while event_loop.next_deadline().is_some_and(|due| due <= network.now()) {
            event_loop.turn(None).unwrap();
        }
        for peer in &peers {
            drop(peer.take_received());
        }
    });
    (usize::try_from(heap.change).unwrap(), event_loop.core().held_bytes())
}

/// Beyond what is counted: a backlog's own box, its timer, and lists that have grown.
fn overhead(connections: usize) -> usize {
    connections * 1000 + 300_000
}

#[test]
fn a_small_backlog_takes_no_large_buffer() {
    let _alone = alone();
    for len in [1000, 20_000, 60_000] {
        let (taken, counted) = backlogs(200, len, 0, 0);
        println!("200 backlogs of {len} bytes: {taken} on the heap, {counted} counted");
        assert_eq!(counted, 200 * len);
        assert!(taken <= counted * 2 + overhead(200), "{taken} bytes on the heap, {counted} counted");
    }
}

#[test]
fn what_little_is_left_of_a_large_write_takes_no_large_buffer() {
    let _alone = alone();
    for (len, left) in [(60_000, 1000), (250_000, 1000), (250_000, 20_000)] {
        let (taken, counted) = backlogs(200, len, len - left, 0);
        println!("200 times {left} left of {len} bytes: {taken} on the heap, {counted} counted");
        assert_eq!(counted, 200 * left);
        assert!(taken <= counted * 2 + overhead(200), "{taken} bytes on the heap, {counted} counted");
    }
}

#[test]
fn a_backlog_nearly_taken_gives_its_memory_back() {
    let _alone = alone();
    let (taken, counted) = backlogs(4, 8 << 20, 0, (8 << 20) - 1000);
    println!("4 backlogs of 8 MiB, 1000 bytes left of each: {taken} on the heap, {counted} counted");
    assert_eq!(counted, 4 * 1000);
    assert!(taken <= counted * 2 + overhead(4), "{taken} bytes on the heap, {counted} counted");
}

#[test]
fn a_backlog_that_was_taken_leaves_nothing() {
    let _alone = alone();
    assert_eq!(backlogs(100, 1000, 0, 1000), (0, 0));
}

#[test]
fn a_shared_payload_waits_for_many_without_being_copied() {
    let _alone = alone();
    let (driver, network) = testkit::network();
    let mut event_loop = EventLoop::with_driver(driver, Limits::default()).unwrap();
    let idle = || protocol_fn(|_, _| Ok(()));
    let ids: Vec<_> = (0..100).map(|_| event_loop.connect(("10.0.0.1", 1), idle())).collect();
    event_loop.turn(None).unwrap();
    while let Some(peer) = network.next_outgoing() {
        peer.set_window(0);
        peer.establish();
    }
    event_loop.turn(None).unwrap();
    let payload = Bytes::from(vec![7; 1 << 20]);
    let heap = heap(|| {
        for &id in &ids {
            event_loop.with(id, |cx| cx.send_shared(payload.clone())).unwrap();
        }
    });
    assert!(heap.change < 1 << 20, "{} bytes for 100 references to one MiB", heap.change);
    assert_eq!(event_loop.core().held_bytes(), 100 << 20, "counted for each who waits for it");
}
