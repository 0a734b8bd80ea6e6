//! How sessions and their sockets end: by themselves, by command, in the drain, with the loop.

use super::*;

#[test]
fn a_close_in_on_open_costs_the_datagram_that_opened() {
    let mut world = World::new();
    let log = Log::default();
    let factory = {
        let log = log.clone();
        move |_: &_| {
            Some(Spy::new("it", &log).on_open(|cx| {
                cx.send(b"closed for today");
                cx.close();
                Ok(())
            }))
        }
    };
    let socket = world.event_loop.bind_sessions(address(HERE), factory).unwrap();
    send(&mut world, THERE, b"hello");
    assert_eq!(log.take(), ["it open", "it close: closed by this side"]);
    assert_eq!(sent(&world), [(THERE, "closed for today".into())]);
    assert_eq!(world.event_loop.core().socket_counters(socket).bytes_discarded, 5);
    world.assert_nothing_left();
}

#[test]
fn an_abort_drops_what_the_callback_sent() {
    let log = Log::default();
    let mut harness = SessionHarness::new(Spy::new("it", &log).on_data(|cx, input| {
        cx.send(input.take_all());
        cx.abort();
        Ok(())
    }));
    harness.feed(b"four");
    assert_eq!(harness.take_sent(), Vec::<Vec<u8>>::new());
    assert_eq!(log.take(), ["it open", "it data four", "it close: aborted by this side, 4 bytes unsent"]);
    assert_eq!((harness.counters().datagrams_dropped, harness.counters().bytes_unsent), (1, 4));
}

#[test]
fn a_socket_that_is_closed_closes_its_sessions_and_goes_when_its_queue_is_empty() {
    let (mut world, socket, log) = spies(Limits::default(), &SessionOptions::default());
    for peer in [THERE, 7] {
        send(&mut world, peer, b"one");
    }
    log.take();
    world.network.set_datagram_window(address(HERE), 0);
    let a = session(&world, socket, THERE);
    world.event_loop.with(a, |cx| cx.send(b"last"));
    world.event_loop.core().close(socket);
    world.settle();
    assert_eq!(log.take(), ["session close: closed by this side", "session close: closed by this side"]);
    send(&mut world, 8, b"too late");
    assert_eq!(world.event_loop.core().socket_counters(socket).sessions_refused, 1);
    assert!(world.event_loop.local_addr(socket).is_some(), "it waits for its queue");
    world.network.set_datagram_window(address(HERE), 10);
    world.settle();
    assert_eq!(sent(&world), [(THERE, "last".into())]);
    assert_eq!(world.event_loop.local_addr(socket), None);
    world.assert_nothing_left();
}

#[test]
fn a_socket_that_is_aborted_drops_its_queue() {
    let (mut world, socket, log) = spies(Limits::default(), &SessionOptions::default());
    send(&mut world, THERE, b"one");
    world.network.set_datagram_window(address(HERE), 0);
    let a = session(&world, socket, THERE);
    world.event_loop.with(a, |cx| cx.send(b"last"));
    world.event_loop.core().abort(socket);
    world.settle();
    assert_eq!(log.take().last().unwrap(), "session close: aborted by this side, 0 bytes unsent");
    assert_eq!(world.event_loop.local_addr(socket), None);
    assert_eq!(world.event_loop.core().socket_counters(socket).datagrams_dropped, 1);
    world.assert_nothing_left();
}

#[test]
fn in_the_drain_sessions_say_goodbye_and_nobody_new_is_let_in() {
    let mut world = World::new();
    let log = Log::default();
    let factory = {
        let log = log.clone();
        move |_: &_| {
            Some(
                Spy::new("it", &log)
                    .on_shutdown(|cx| {
                        cx.send(b"bye");
                        cx.set_timer(millis(10));
                        Ok(())
                    })
                    .on_timer(|cx, _| {
                        cx.close();
                        Ok(())
                    }),
            )
        }
    };
    let socket = world.event_loop.bind_sessions(address(HERE), factory).unwrap();
    for peer in [THERE, 7] {
        send(&mut world, peer, b"one");
    }
    let idle = world.event_loop.connect_udp(address(9), Spy::new("client", &log));
    log.take();
    world.event_loop.core().shutdown(millis(1000));
    world.settle();
    send(&mut world, 8, b"let me in");
    send(&mut world, 7, b"two");
    assert_eq!(
        log.take(),
        ["it shutdown", "it shutdown", "client shutdown", "client close: closed by this side", "it data two"]
    );
    assert!(world.event_loop.tally().is_none() && !world.event_loop.core().is_open(idle));
    world.advance(millis(10));
    let tally = world.event_loop.tally().expect("all have closed");
    assert_eq!((tally.drained, tally.cut_off, tally.counters.sessions_refused), (3, 0, 1));
    assert_eq!(sent(&world), [(THERE, "bye".into()), (7, "bye".into())]);
    assert_eq!(world.event_loop.core().socket_counters(socket).closed, 2);
}

#[test]
fn at_the_drain_s_deadline_sessions_are_cut_off() {
    let mut world = World::new();
    let log = Log::default();
    let stubborn = {
        let log = log.clone();
        move |_: &_| Some(Spy::new("it", &log).on_shutdown(|_| Ok(())))
    };
    world.event_loop.bind_sessions(address(HERE), stubborn).unwrap();
    for peer in [THERE, 7] {
        send(&mut world, peer, b"one");
    }
    world.event_loop.connect_udp(address(9), Spy::new("it", &log).on_shutdown(|_| Ok(())));
    world.event_loop.core().shutdown(millis(100));
    world.advance(millis(100));
    let tally = world.event_loop.tally().expect("the deadline has come");
    assert_eq!((tally.drained, tally.cut_off), (0, 3));
    let cut_off = log.take().iter().filter(|note| note.contains("cut off at the end of the drain")).count();
    assert_eq!(cut_off, 3);
    assert_eq!(world.event_loop.core().open_connections() + world.event_loop.core().open_sessions(), 0);
}

#[test]
fn dropping_the_loop_tells_every_session() {
    let (mut world, _, log) = spies(Limits::default(), &SessionOptions::default());
    for peer in 1..=3 {
        send(&mut world, peer, b"one");
    }
    log.take();
    world.event_loop.connect_udp(address(9), Spy::new("session", &log));
    drop(world);
    assert_eq!(log.take().iter().filter(|note| note.contains("close")).count(), 4);
}

#[test]
fn nothing_is_bound_or_connected_while_the_loop_drains() {
    let (mut world, _, log) = spies(Limits::default(), &SessionOptions::default());
    send(&mut world, THERE, b"one");
    world.event_loop.core().shutdown(millis(100));
    world.event_loop.turn(None).unwrap();
    world.event_loop.bind_sessions(address(9), |_| Some(TcpEcho)).unwrap_err();
    log.take();
    world.event_loop.connect_udp(address(9), Spy::new("late", &log));
    assert_eq!(log.take(), ["late close: cut off at the end of the drain, 0 bytes unsent"]);
}
