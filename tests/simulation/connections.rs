//! Connections on a calm network: what is seen of how they begin and end, and when.

use std::time::Duration;

use switchboard::testkit::{Conditions, Host, Simulation};
use switchboard::{Bytes, Context, Failure, Limits, ListenOptions, Time};
use switchboard_echo::TcpEcho;

use crate::spy::{Log, Spy};
use crate::talker::Talker;

const SECOND: Duration = Duration::from_secs(1);

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn network() -> (Simulation, Host, Host) {
    let mut sim = Simulation::new(1);
    let (server, client) = (sim.add_host("server"), sim.add_host("client"));
    (sim, server, client)
}

/// A client, and what it saw by the time that nothing moved any more.
fn visit(sim: &mut Simulation, client: Host, server: Host, spy: impl FnOnce(Spy) -> Spy) -> Vec<String> {
    let log = Log::default();
    let address = sim.address(server, 7);
    sim.event_loop(client).connect(address, spy(Spy::new("client", &log)));
    assert!(sim.run_to_rest(60 * SECOND));
    log.take()
}

#[test]
fn a_connect_where_nobody_listens_is_refused() {
    let (mut sim, server, client) = network();
    assert_eq!(visit(&mut sim, client, server, |spy| spy), ["client close: could not connect: connection refused"]);
    assert_eq!(sim.now(), Time::ZERO + millis(2), "there and back");
}

#[test]
fn a_connect_where_nobody_is_times_out() {
    let (mut sim, _, client) = network();
    let log = Log::default();
    sim.event_loop(client).connect(("10.1.2.3", 7), Spy::new("client", &log));
    assert!(sim.run_to_rest(60 * SECOND));
    assert_eq!(log.take(), ["client close: could not connect within 10s"]);
}

#[test]
fn last_words_and_the_end_come_in_one_event() {
    let (mut sim, server, client) = network();
    let address = sim.address(server, 7);
    let log = Log::default();
    let farewell = |_: &_| {
        Some(Spy::new("server", &Log::default()).on_open(|cx| {
            cx.send(b"bye");
            cx.close();
            Ok(())
        }))
    };
    sim.event_loop(server).listen(address, farewell).unwrap();
    sim.event_loop(client).connect(address, Spy::new("client", &log));
    while log.len() == 0 {
        assert!(sim.step());
    }
    sim.run_for(Duration::ZERO);
    assert_eq!(log.take(), ["client open", "client data bye", "client eof", "client close: closed by the peer"]);
}

#[test]
fn who_closes_with_input_unread_resets() {
    let (mut sim, _, client) = network();
    let deaf = sim.add_host_with("deaf", Limits { linger: Duration::ZERO, ..Limits::default() });
    let address = sim.address(deaf, 7);
    let log = Log::default();
    let server_log = log.clone();
    let close_later = move |_: &_| {
        let open = |cx: &mut Context<'_>| {
            cx.pause_reading();
            cx.send(b"last words");
            cx.set_timer(SECOND);
            Ok(())
        };
        Some(Spy::new("server", &server_log).on_open(open).on_timer(|cx, _| {
            cx.close();
            Ok(())
        }))
    };
    sim.event_loop(deaf).listen(address, close_later).unwrap();
    let talk = |cx: &mut Context<'_>| {
        cx.send(b"unread");
        Ok(())
    };
    sim.event_loop(client).connect(address, Spy::new("client", &log).on_open(talk));
    assert!(sim.run_to_rest(60 * SECOND));
    let notes = log.take();
    assert!(notes.contains(&"client data last words".into()), "{notes:?}");
    assert_eq!(notes.last().unwrap(), "client close: connection broke: connection reset, 0 bytes unsent");
}

#[test]
fn who_fails_lingers_and_its_last_words_arrive() {
    let (mut sim, server, client) = network();
    let address = sim.address(server, 7);
    let log = Log::default();
    let server_log = log.clone();
    let fail = move |_: &_| {
        Some(Spy::new("server", &server_log).on_data(|cx, _| {
            cx.send(b"ERR");
            Err(Failure::peer("nonsense"))
        }))
    };
    sim.event_loop(server).listen(address, fail).unwrap();
    let talk = |cx: &mut Context<'_>| {
        cx.send(&[0; 100_000]); // much of it is under way when the server has had enough
        Ok(())
    };
    sim.event_loop(client).connect(address, Spy::new("client", &log).on_open(talk));
    assert!(sim.run_to_rest(60 * SECOND));
    let notes = log.take();
    assert!(notes.contains(&"client data ERR".into()), "{notes:?}");
    assert!(notes.contains(&"client close: closed by the peer".into()), "{notes:?}");
}

#[test]
fn who_reads_only_when_all_is_written_still_hears_why_it_was_refused() {
    let (mut sim, server, client) = network();
    let address = sim.address(server, 7);
    let log = Log::default();
    let refuse = |_: &_| {
        Some(Spy::new("server", &Log::default()).on_data(|cx, _| {
            cx.send(b"too long");
            Err(Failure::peer("too long"))
        }))
    };
    sim.event_loop(server).listen(address, refuse).unwrap();
    let talk = |cx: &mut Context<'_>| {
        cx.pause_reading();
        cx.send(&vec![0; 8 << 20]); // more than all buffers between the two hold
        assert!(!cx.has_room());
        Ok(())
    };
    let listen = |cx: &mut Context<'_>| {
        cx.resume_reading();
        Ok(())
    };
    sim.event_loop(client).connect(address, Spy::new("client", &log).on_open(talk).on_drain(listen));
    assert!(sim.run_to_rest(60 * SECOND));
    let notes = log.take();
    // Not by a reset: many clients hear nothing of what came before one.
    let wanted =
        ["client open", "client drain", "client data too long", "client eof", "client close: closed by the peer"];
    assert_eq!(notes, wanted);
}

#[test]
fn bandwidth_takes_its_time() {
    let (mut sim, server, client) = network();
    sim.set_conditions(Conditions { bandwidth: Some(100_000), ..Conditions::default() });
    let address = sim.address(server, 7);
    sim.event_loop(server).listen(address, |_| Some(TcpEcho)).unwrap();
    let (talker, outcome) = Talker::new(0, 1_000_000);
    sim.event_loop(client).connect(address, talker);
    assert!(sim.run_until(60 * SECOND, |_| outcome.borrow().closed.is_some()));
    assert!(outcome.borrow().is_complete(1_000_000));
    let took = sim.now().saturating_since(Time::ZERO);
    assert!((10 * SECOND..12 * SECOND).contains(&took), "{took:?}");
}

#[test]
fn who_does_not_read_stops_the_writer_at_what_the_buffers_hold() {
    let (mut sim, server, client) = network();
    let address = sim.address(server, 7);
    let log = Log::default();
    let deaf = |_: &_| {
        Some(Spy::new("deaf", &Log::default()).on_open(|cx| {
            cx.pause_reading();
            Ok(())
        }))
    };
    sim.event_loop(server).listen(address, deaf).unwrap();
    let talk = |cx: &mut Context<'_>| {
        cx.send(&vec![0; 200 * 1024]);
        Ok(())
    };
    let id = sim.event_loop(client).connect(address, Spy::new("client", &log).on_open(talk));
    sim.run_for(SECOND);
    let left = sim.event_loop(client).with(id, |cx| cx.backlog()).unwrap();
    assert_eq!(left, (200 - 64 - 64) * 1024, "all but the two buffers");
    assert!(sim.run_to_rest(60 * SECOND));
    assert!(log.take().last().unwrap().contains("write_stall"));
}

#[test]
fn ports_are_taken_once_and_free_again() {
    let (mut sim, server, client) = network();
    let address = sim.address(server, 7);
    let listener = sim.event_loop(server).listen(address, |_| Some(TcpEcho)).unwrap();
    let taken = sim.event_loop(server).listen("0.0.0.0:7", |_| Some(TcpEcho)).unwrap_err();
    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    let elsewhere = sim.event_loop(client).listen(address, |_| Some(TcpEcho)).unwrap_err();
    assert_eq!(elsewhere.kind(), std::io::ErrorKind::AddrNotAvailable);
    sim.event_loop(server).core().close(listener);
    assert!(sim.run_to_rest(SECOND));
    assert_eq!(
        visit(&mut sim, client, server, |spy| spy),
        ["client close: could not connect: connection refused"],
        "the listener has closed"
    );
    let again = sim.event_loop(server).listen("0.0.0.0:7", |_| Some(TcpEcho)).unwrap();
    assert_eq!(sim.event_loop(server).local_addr(again), Some(address));
    let any = sim.event_loop(server).listen("0.0.0.0:0", |_| Some(TcpEcho)).unwrap();
    assert_eq!(sim.event_loop(server).local_addr(any).unwrap().port(), 49_152);
}

#[test]
fn who_was_not_accepted_when_the_listener_closes_is_reset() {
    let (mut sim, _, client) = network();
    let full = sim.add_host_with("full", Limits { connections: 1, ..Limits::default() });
    let address = sim.address(full, 7);
    let listener = sim.event_loop(full).listen(address, |_| Some(TcpEcho)).unwrap();
    let log = Log::default();
    for _ in 0..3 {
        sim.event_loop(client).connect(address, Spy::new("client", &log));
    }
    sim.run_for(SECOND);
    assert_eq!(log.take(), ["client open"; 3], "as far as the client can tell they all stand");
    sim.event_loop(full).core().close(listener);
    sim.run_for(SECOND);
    assert_eq!(log.take(), ["client close: connection broke: connection reset, 0 bytes unsent"; 2]);
    assert_eq!(sim.event_loop(full).counters().open(), 1);
}

#[test]
fn conditions_between_two_hosts_are_theirs_alone() {
    let (mut sim, server, near) = network();
    let far = sim.add_host("far");
    let latency = SECOND..=SECOND;
    sim.set_conditions_between(far, server, Conditions { latency, ..Conditions::default() });
    let address = sim.address(server, 7);
    sim.event_loop(server).listen(address, |_| Some(TcpEcho)).unwrap();
    let log = Log::default();
    sim.event_loop(near).connect(address, Spy::new("near", &log));
    sim.event_loop(far).connect(address, Spy::new("far", &log));
    sim.run_for(2 * SECOND - millis(1));
    assert_eq!(log.take(), ["near open"]);
    sim.run_for(millis(1));
    assert_eq!(log.take(), ["far open"]);
}

#[test]
fn who_finds_the_backlog_full_tries_again() {
    let (mut sim, _, client) = network();
    let full = sim.add_host_with("full", Limits { connections: 3, ..Limits::default() });
    let address = sim.address(full, 7);
    let mut options = ListenOptions::default();
    options.backlog = 2;
    let log = Log::default();
    let hold = |_: &_| {
        let open = |cx: &mut Context<'_>| {
            cx.set_timer(3 * SECOND);
            Ok(())
        };
        Some(Spy::new("server", &Log::default()).on_open(open).on_timer(|cx, _| {
            cx.close();
            Ok(())
        }))
    };
    sim.event_loop(full).listen_with(address, &options, hold).unwrap();
    for _ in 0..8 {
        sim.event_loop(client).connect(address, Spy::new("client", &log));
        sim.run_for(millis(10));
    }
    sim.run_for(SECOND / 2);
    assert_eq!(log.take().len(), 5, "three accepted, two in the backlog, three not answered");
    assert!(sim.run_to_rest(60 * SECOND));
    let closed = log.take().iter().filter(|note| note.contains("closed by the peer")).count();
    assert_eq!(closed, 8, "each has had its turn");
}

#[test]
fn a_host_reaches_itself() {
    let (mut sim, server, _) = network();
    let listener = sim.event_loop(server).listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    let address = sim.event_loop(server).local_addr(listener).unwrap();
    assert!(address.ip().is_loopback());
    let (talker, outcome) = Talker::new(0, 100_000);
    sim.event_loop(server).connect(address, talker);
    assert!(sim.run_to_rest(60 * SECOND));
    assert!(outcome.borrow().is_complete(100_000));
}

#[test]
fn a_handle_wakes_a_host_that_has_nothing_to_do() {
    let (mut sim, server, client) = network();
    let address = sim.address(server, 7);
    sim.event_loop(server).listen(address, |_| Some(TcpEcho)).unwrap();
    let log = Log::default();
    let id = sim.event_loop(client).connect(address, Spy::new("client", &log));
    let handle = sim.event_loop(client).handle();
    assert!(sim.run_to_rest(SECOND));
    log.take();
    std::thread::scope(|scope| scope.spawn(|| handle.post(id, Bytes::from("hello")).unwrap()).join().unwrap());
    assert!(sim.run_to_rest(SECOND));
    assert_eq!(log.take(), ["client message hello"]);
}

#[test]
fn a_drain_says_goodbye_to_everybody() {
    let (mut sim, server, client) = network();
    let address = sim.address(server, 7);
    let log = Log::default();
    sim.event_loop(server).listen(address, |_| Some(Spy::new("server", &Log::default()))).unwrap();
    for _ in 0..3 {
        sim.event_loop(client).connect(address, Spy::new("client", &log));
    }
    assert!(sim.run_to_rest(SECOND));
    sim.event_loop(server).core().shutdown(10 * SECOND);
    assert!(sim.run_to_rest(60 * SECOND));
    let tally = sim.event_loop(server).tally().unwrap();
    assert_eq!((tally.drained, tally.cut_off), (3, 0));
    assert_eq!(log.take().iter().filter(|note| note.contains("closed by the peer")).count(), 3);
}

#[test]
#[should_panic(expected = "host server spins")]
fn a_protocol_that_makes_work_without_end_is_found() {
    let (mut sim, server, client) = network();
    let address = sim.address(server, 7);
    let spin = |_: &_| {
        Some(
            Spy::new("server", &Log::default())
                .on_open(|cx| {
                    cx.set_timer(Duration::ZERO);
                    Ok(())
                })
                .on_timer(|cx, _| {
                    cx.set_timer(Duration::ZERO);
                    Ok(())
                }),
        )
    };
    sim.event_loop(server).listen(address, spin).unwrap();
    sim.event_loop(client).connect(address, Spy::new("client", &Log::default()));
    sim.run_for(SECOND);
}
