//! How many sessions there may be, how many new ones, and for how long a silent one.

use super::*;

#[test]
fn no_more_sessions_than_the_limit_and_those_that_are_there_go_on() {
    let (mut world, socket, log) = spies(Limits::default(), &options(2, 1000, Duration::from_secs(60)));
    for peer in 1..=5 {
        send(&mut world, peer, b"x");
    }
    log.take();
    let counters = world.event_loop.core().socket_counters(socket);
    assert_eq!((counters.opened, counters.sessions_refused, counters.bytes_discarded), (2, 3, 3));
    assert_eq!(sent(&world), [], "nobody is told");
    send(&mut world, 1, b"still");
    assert_eq!(log.take(), ["session data still"]);
    let id = session(&world, socket, 2);
    world.event_loop.core().close(id);
    world.settle();
    send(&mut world, 5, b"now");
    assert_eq!(log.take(), ["session close: closed by this side", "session open", "session data now"]);
}

#[test]
fn a_flood_of_forged_addresses_opens_so_many_a_second_and_disturbs_nobody() {
    let (mut world, socket, log) = spies(Limits::default(), &options(1000, 10, Duration::from_secs(60)));
    send(&mut world, 1, b"known");
    for peer in 1000..3000 {
        assert!(world.network.send_datagram(address(peer), address(HERE), b"forged"));
        if peer % 100 == 0 {
            assert!(world.network.send_datagram(address(1), address(HERE), b"known"));
        }
    }
    world.settle();
    let counters = world.event_loop.core().socket_counters(socket);
    assert_eq!((counters.opened, counters.sessions_refused), (10, 2000 - 9));
    assert_eq!(log.take().iter().filter(|note| *note == "session data known").count(), 21);
    world.advance(millis(200));
    for peer in 3000..3100 {
        send(&mut world, peer, b"forged");
    }
    assert_eq!(world.event_loop.core().socket_counters(socket).opened, 12, "two more in a fifth of a second");
    assert_eq!(world.event_loop.core().held_bytes(), 0);
}

#[test]
fn whom_the_factory_turns_away_counts_as_refused() {
    let mut world = World::new();
    let socket = world
        .event_loop
        .bind_sessions(address(HERE), |accepted| accepted.peer.filter(|peer| peer.port() != THERE).map(|_| TcpEcho))
        .unwrap();
    send(&mut world, THERE, b"no");
    send(&mut world, 7, b"yes");
    assert_eq!(sent(&world), [(7, "yes".into())]);
    assert_eq!(world.event_loop.core().socket_counters(socket).sessions_refused, 1);
}

#[test]
fn nobody_is_admitted_where_the_rate_is_none() {
    let (mut world, socket, log) = spies(Limits::default(), &options(10, 0, millis(10)));
    send(&mut world, THERE, b"x");
    assert_eq!((log.len(), world.event_loop.core().socket_counters(socket).sessions_refused), (0, 1));
}

#[test]
fn a_silent_session_expires_to_the_moment() {
    let (mut world, socket, log) = spies(Limits::default(), &options(10, 10, Duration::from_secs(60)));
    send(&mut world, THERE, b"one");
    world.advance(Duration::from_secs(59));
    send(&mut world, THERE, b"");
    let id = session(&world, socket, THERE);
    world.event_loop.with(id, |cx| cx.pause_reading());
    world.advance(Duration::from_secs(59));
    send(&mut world, THERE, b"heard though reading is paused");
    log.take();
    world.advance(Duration::from_millis(59_999));
    assert_eq!(log.take(), [""; 0]);
    world.advance(millis(1));
    assert_eq!(log.take(), ["session close: nothing came from the peer for 60s"]);
    assert_eq!(world.event_loop.session(socket, address(THERE)), None);
    world.assert_nothing_left();
}

#[test]
fn one_that_may_be_silent_for_ever_is() {
    let (mut world, _, log) = spies(Limits::default(), &options(10, 10, Duration::MAX));
    send(&mut world, THERE, b"one");
    log.take();
    world.advance(Duration::from_secs(100_000));
    assert_eq!((log.len(), world.event_loop.core().armed_timers()), (0, 0));
}

#[test]
fn a_session_whose_datagram_waits_unread_is_not_silent() {
    for held_up in [600, 100_000] {
        let limits = Limits { datagrams_per_turn: 2, ..Limits::default() };
        let (mut world, socket, log) = spies(limits, &options(10, 10, millis(500)));
        send(&mut world, THERE, b"one");
        send(&mut world, 7, b"one");
        log.take();
        // The loop was held up, and meanwhile datagrams of both came, more than fit into its next turn.
        world.network.advance(millis(held_up));
        for _ in 0..3 {
            world.network.send_datagram(address(7), address(HERE), b"more");
        }
        world.network.send_datagram(address(THERE), address(HERE), b"late");
        world.settle();
        assert_eq!(log.take().last().map(String::as_str), Some("session data late"), "{held_up}");
        assert_eq!(world.event_loop.core().socket_counters(socket).closed, 0);
        world.advance(millis(1000));
        assert_eq!(world.event_loop.core().socket_counters(socket).closed, 2);
    }
}

/// Else whoever floods the socket would keep all of them for ever.
#[test]
fn a_session_is_not_spared_for_longer_because_others_are_read() {
    let limits = Limits { datagrams_per_turn: 1, ..Limits::default() };
    let (mut world, socket, log) = spies(limits, &options(10, 10, millis(500)));
    send(&mut world, THERE, b"one");
    send(&mut world, 7, b"one");
    for _ in 0..11 {
        for _ in 0..3 {
            world.network.send_datagram(address(7), address(HERE), b"more");
        }
        world.network.advance(millis(100));
        world.event_loop.turn(Some(Duration::ZERO)).unwrap(); // never reads all
    }
    assert_eq!(log.take().last().map(String::as_str), Some("session data more"));
    assert_eq!(world.event_loop.core().socket_counters(socket).closed, 1, "twice its time is over");
}

#[test]
fn many_peers_leave_nothing_behind() {
    let (mut world, _, log) = spies(Limits::default(), &options(5000, u32::MAX, millis(1)));
    for round in 0..3_u16 {
        for peer in 1..=5000 {
            assert!(world.network.send_datagram(address(round * 5000 + peer), address(HERE), b""));
        }
        world.settle();
        assert_eq!(world.event_loop.core().open_sessions(), 5000);
        world.advance(millis(1));
    }
    assert_eq!(log.len(), 3 * 5000 * 3);
    assert_eq!(world.event_loop.core().open_sessions(), 0);
    world.assert_nothing_left();
}
