//! What the system does not take waits in the socket's queue, which has a bound.

use super::*;

/// A system that takes nothing, and a session that sends what it gets so often.
fn blocked(datagram_queue: usize) -> (World, SocketId, Log) {
    let (mut world, socket, log) = spies(Limits { datagram_queue, ..Limits::default() }, &SessionOptions::default());
    for peer in [THERE, 7] {
        send(&mut world, peer, b"one");
    }
    log.take();
    world.network.set_datagram_window(address(HERE), 0);
    (world, socket, log)
}

fn drains(log: &Log) -> usize {
    log.take().iter().filter(|note| *note == "session drain").count()
}

#[test]
fn datagrams_wait_in_order_and_leave_when_there_is_room() {
    let (mut world, socket, _) = blocked(100_000);
    let (a, b) = (session(&world, socket, THERE), session(&world, socket, 7));
    for n in 0..10 {
        world.event_loop.with(a, |cx| cx.send(format!("a{n}").as_bytes()));
        world.event_loop.with(b, |cx| cx.send(format!("b{n}").as_bytes()));
    }
    assert_eq!(sent(&world), []);
    assert!(world.event_loop.core().held_bytes() > 0);
    for window in [3, 4, 100] {
        world.network.set_datagram_window(address(HERE), window);
        world.settle();
    }
    let expected: Vec<_> = (0..10).flat_map(|n| [(THERE, format!("a{n}")), (7, format!("b{n}"))]).collect();
    assert_eq!(sent(&world), expected);
    assert_eq!(world.event_loop.core().held_bytes(), 0);
}

#[test]
fn what_does_not_fit_is_dropped_and_counted_and_loses_nobody_else() {
    let (mut world, socket, _) = blocked(10_000);
    let a = session(&world, socket, THERE);
    world.event_loop.with(a, |cx| (0..20).for_each(|_| cx.send(&[0; 1000])));
    assert!(world.event_loop.core().held_bytes() <= 10_000);
    let dropped = world.event_loop.core().socket_counters(socket).datagrams_dropped;
    world.network.set_datagram_window(address(HERE), 100);
    world.settle();
    let left = world.network.take_datagrams(address(HERE)).len() as u64;
    assert_eq!((left, dropped), (9, 11), "each is nine hundredths of ten thousand and its envelope");
    assert!(!world.event_loop.core().is_draining() && world.event_loop.core().is_open(a));
}

#[test]
fn exactly_one_drain_for_each_that_was_told_there_is_no_room() {
    let (mut world, socket, log) = blocked(10_000);
    let (a, b) = (session(&world, socket, THERE), session(&world, socket, 7));
    assert_eq!(world.event_loop.with(a, |cx| cx.has_room()), Some(true));
    world.event_loop.with(a, |cx| (0..6).for_each(|_| cx.send(&[0; 1000])));
    for _ in 0..3 {
        assert_eq!(world.event_loop.with(a, |cx| cx.has_room()), Some(false));
        assert_eq!(world.event_loop.with(b, |cx| cx.has_room()), Some(false), "they share the socket");
    }
    world.settle();
    assert_eq!(drains(&log), 0);
    world.network.set_datagram_window(address(HERE), 2);
    world.settle();
    assert_eq!(drains(&log), 0, "not at the low mark yet");
    world.network.set_datagram_window(address(HERE), 3);
    world.settle();
    assert_eq!(drains(&log), 2);
    world.network.set_datagram_window(address(HERE), 100);
    world.settle();
    assert_eq!(drains(&log), 0);
    assert_eq!(world.event_loop.with(a, |cx| cx.has_room()), Some(true));
}

#[test]
fn no_room_in_the_very_callback_is_answered_by_a_drain_too() {
    let (mut world, socket, log) = blocked(10_000);
    world.network.set_datagram_window(address(HERE), 100);
    world.settle();
    let a = session(&world, socket, THERE);
    let room = world.event_loop.with(a, |cx| {
        (0..6).for_each(|_| cx.send(&[0; 1000]));
        cx.has_room()
    });
    assert_eq!(room, Some(false));
    world.settle();
    assert_eq!((drains(&log), sent(&world).len()), (1, 6));
}

#[test]
fn who_closes_while_a_drain_is_owed_hears_of_the_close_alone() {
    let (mut world, socket, log) = blocked(10_000);
    let a = session(&world, socket, THERE);
    world.event_loop.with(a, |cx| {
        (0..6).for_each(|_| cx.send(&[0; 1000]));
        assert!(!cx.has_room());
    });
    world.event_loop.with(a, |cx| cx.close());
    assert_eq!(log.take(), ["session close: closed by this side"], "at once: what was sent is the socket's affair");
    world.network.set_datagram_window(address(HERE), 100);
    world.settle();
    assert_eq!((log.len(), sent(&world).len()), (0, 6));
}

#[test]
fn the_loop_s_memory_bounds_the_queue_too() {
    let limits = Limits { loop_memory: 5000, receive_buffer: 4096, read_budget: 4096, ..Limits::default() };
    let (mut world, socket, _) = spies(limits, &SessionOptions::default());
    send(&mut world, THERE, b"one");
    world.network.set_datagram_window(address(HERE), 0);
    let a = session(&world, socket, THERE);
    world.event_loop.with(a, |cx| (0..20).for_each(|_| cx.send(&[0; 1000])));
    assert!((1000..=5000).contains(&world.event_loop.core().held_bytes()));
    assert!(world.event_loop.core().socket_counters(socket).datagrams_dropped >= 15);
}

#[test]
fn a_datagram_that_the_system_refuses_is_dropped_and_counted() {
    let (mut world, socket, _) = spies(Limits::default(), &SessionOptions::default());
    send(&mut world, THERE, b"one");
    let a = session(&world, socket, THERE);
    world.event_loop.with(a, |cx| {
        cx.send(&[0; 65_508]);
        cx.send(b"next");
    });
    assert_eq!(sent(&world), [(THERE, "next".into())]);
    assert_eq!(world.event_loop.core().socket_counters(socket).datagrams_dropped, 1);
}
