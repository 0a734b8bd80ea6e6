//! Sessions over UDP: one protocol a peer, one datagram an input, one datagram a `send`.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::SessionHarness;
use switchboard::{
    Bytes, Callback, CloseReason, ConnectionId, Context, Fault, Input, Limits, Message, SessionOptions, Slow, SocketId,
    Stall, Watchdog, protocol_fn,
};
use switchboard_echo::TcpEcho;

use crate::spy::{Log, Spy};
use crate::world::{World, address, millis};

mod chaos;
mod connected;
mod ending;
mod inside;
mod limits;
mod local;
mod queue;

const HERE: u16 = 5;
const THERE: u16 = 6;

fn options(sessions: usize, new_per_second: u32, idle_timeout: Duration) -> SessionOptions {
    let mut options = SessionOptions::default();
    (options.sessions, options.new_per_second, options.idle_timeout) = (sessions, new_per_second, idle_timeout);
    options
}

/// A socket whose sessions note what happens to them.
fn spies(limits: Limits, options: &SessionOptions) -> (World, SocketId, Log) {
    let mut world = World::with_limits(limits);
    let log = Log::default();
    let factory = {
        let log = log.clone();
        move |_: &_| Some(Spy::new("session", &log))
    };
    let socket = world.event_loop.bind_sessions_with(address(HERE), options, factory).unwrap();
    (world, socket, log)
}

/// A datagram from a peer, and all that comes of it.
fn send(world: &mut World, from: u16, payload: &[u8]) {
    assert!(world.network.send_datagram(address(from), address(HERE), payload));
    world.settle();
}

fn session(world: &World, socket: SocketId, peer: u16) -> ConnectionId {
    world.event_loop.session(socket, address(peer)).expect("it has a session")
}

/// What was sent to whom, as text.
fn sent(world: &World) -> Vec<(u16, String)> {
    let datagrams = world.network.take_datagrams(address(HERE)).into_iter();
    datagrams.map(|(to, payload)| (to.port(), String::from_utf8_lossy(&payload).into_owned())).collect()
}

#[test]
fn tcp_echo_is_a_udp_echo_on_sessions() {
    let mut world = World::new();
    let socket = world.event_loop.bind_sessions(address(HERE), |_| Some(TcpEcho)).unwrap();
    for len in [0, 1, 1472, 65_507] {
        for peer in [THERE, 7, 8] {
            let payload: Vec<u8> = (0..=255).cycle().take(len).collect();
            send(&mut world, peer, &payload);
            assert!(world.network.take_datagrams(address(HERE)) == [(address(peer), payload)], "{len} bytes");
        }
    }
    assert_eq!((world.event_loop.core().open_sessions(), world.event_loop.core().open_connections()), (3, 0));
    let counters = world.event_loop.core().socket_counters(socket);
    assert_eq!((counters.datagrams_in, counters.datagrams_out, counters.opened), (12, 12, 3));
}

#[test]
fn each_peer_has_a_session_and_an_id_of_its_own() {
    let (mut world, socket, log) = spies(Limits::default(), &SessionOptions::default());
    assert_eq!(world.event_loop.session(socket, address(THERE)), None);
    send(&mut world, THERE, b"one");
    send(&mut world, 7, b"two");
    send(&mut world, THERE, b"three");
    assert_eq!(
        log.take(),
        ["session open", "session data one", "session open", "session data two", "session data three"]
    );
    let (a, b) = (session(&world, socket, THERE), session(&world, socket, 7));
    assert_ne!(a, b);
    let addresses = world.event_loop.with(a, |cx| (cx.id(), cx.peer_addr(), cx.local_addr(), cx.is_datagram()));
    assert_eq!(addresses, Some((a, Some(address(THERE)), Some(address(HERE)), true)));
    assert_eq!(world.event_loop.local_addr(a), Some(address(HERE)));
    assert_eq!(world.event_loop.local_addr(socket), Some(address(HERE)));
    assert!(world.event_loop.protocol::<Spy>(a).is_some() && world.event_loop.protocol::<TcpEcho>(a).is_none());
}

#[test]
fn the_factory_is_told_who_and_where() {
    let mut world = World::new();
    let log = Log::default();
    let factory = {
        let log = log.clone();
        move |accepted: &switchboard::Accepted| {
            log.note(format!("{:?}", accepted.peer));
            Some((TcpEcho, accepted.listener).0)
        }
    };
    let socket = world.event_loop.bind_sessions(address(HERE), factory).unwrap();
    send(&mut world, THERE, b"x");
    send(&mut world, THERE, b"y");
    assert_eq!(log.take(), [format!("{:?}", Some(address(THERE)))]);
    assert_eq!(world.event_loop.core().socket_counters(socket).opened, 1);
}

#[test]
fn what_is_not_consumed_of_a_datagram_is_dropped_and_counted() {
    let log = Log::default();
    let mut harness = SessionHarness::new(Spy::new("it", &log).on_data(|_, input| {
        let few = input.len().min(2);
        input.take(few);
        input.wait_for(1000);
        Ok(())
    }));
    for datagram in [&b"abcde"[..], b"fg", b"", b"h", b"ijk"] {
        harness.feed(datagram);
    }
    assert_eq!(log.take(), ["it open", "it data abcde", "it data fg", "it data ", "it data h", "it data ijk"]);
    assert_eq!((harness.counters().bytes_discarded, harness.counters().bytes_in), (4, 11));
    assert_eq!(harness.core().held_bytes(), 0);
}

#[test]
fn each_send_is_a_datagram_and_so_is_what_is_written_up_to_a_boundary() {
    let mut harness = SessionHarness::new(protocol_fn(|cx, input| {
        input.take_all();
        cx.send(b"sent");
        cx.send(b"");
        cx.send_shared(Bytes::from(vec![b's'; 5000]));
        write!(cx.send_buffer().unwrap(), "wri")?;
        write!(cx.send_buffer().unwrap(), "tten")?;
        cx.boundary();
        cx.boundary(); // of nothing
        write!(cx.send_buffer().unwrap(), "ended by a send")?;
        cx.send(b"send");
        write!(cx.send_buffer().unwrap(), "ended by the end")?;
        Ok(())
    }));
    let shared = vec![b's'; 5000];
    let expected: [&[u8]; 7] = [b"sent", b"", &shared, b"written", b"ended by a send", b"send", b"ended by the end"];
    for _ in 0..2 {
        harness.feed(b"go");
        assert_eq!(harness.take_sent(), expected);
    }
    assert_eq!(harness.with(|cx| cx.backlog()), Some(0));
}

#[test]
fn on_a_stream_a_boundary_is_nothing() {
    let mut harness = switchboard::testkit::Harness::new(protocol_fn(|cx, input| {
        assert!(!cx.is_datagram());
        cx.send(input.take_all());
        cx.boundary();
        cx.send(b"!");
        Ok(())
    }));
    harness.feed(b"one");
    assert_eq!(harness.take_sent(), b"one!");
}

#[test]
fn who_has_finished_sends_no_more_and_hears_on() {
    let log = Log::default();
    let mut harness = SessionHarness::new(Spy::new("it", &log).on_data(|cx, input| {
        cx.send(input.take_all());
        cx.finish();
        cx.send(b"too late");
        assert!(cx.send_buffer().is_none());
        Ok(())
    }));
    harness.feed(b"one");
    harness.feed(b"two");
    assert_eq!(harness.take_sent(), [b"one"]);
    assert_eq!(log.take(), ["it open", "it data one", "it data two"]);
    assert_eq!(harness.counters().bytes_unsent, 8 + 3 + 8);
    assert!(!harness.has_closed());
}

#[test]
fn what_comes_while_reading_is_paused_is_dropped_and_counted() {
    let log = Log::default();
    let mut harness = SessionHarness::new(Spy::new("it", &log).on_data(|cx, input| {
        input.take_all();
        cx.pause_reading();
        cx.set_timer(millis(10));
        Ok(())
    }));
    harness.protocol::<Spy>().expect("it is open");
    harness.feed(b"one");
    harness.feed(b"two");
    harness.feed(b"");
    assert_eq!((harness.counters().datagrams_discarded, harness.counters().bytes_discarded), (2, 3));
    assert_eq!(harness.with(|cx| (cx.is_reading_paused(), cx.resume_reading()).0), Some(true));
    harness.feed(b"three");
    assert_eq!(log.take(), ["it open", "it data one", "it data three"], "and nothing was kept");
    harness.advance(millis(10));
    assert_eq!(log.take(), ["it timer", "it timer"]);
}

#[test]
fn timers_messages_topics_and_closures_are_as_on_any_connection() {
    let (mut world, socket, log) = spies(Limits::default(), &SessionOptions::default());
    send(&mut world, THERE, b"one");
    let id = session(&world, socket, THERE);
    log.take();
    world.event_loop.with(id, |cx| cx.set_timer(millis(5))).unwrap();
    world.advance(millis(5));
    world.event_loop.core().post(id, Bytes::from_static(b"letter")).unwrap();
    world.event_loop.handle().post(id, Message::user(1)).unwrap();
    world.event_loop.handle().with(id, |cx| cx.send(b"from afar")).unwrap();
    world.settle();
    world.event_loop.with(id, |cx| cx.subscribe("news", Slow::default())).unwrap().unwrap();
    assert_eq!(world.event_loop.core().publish("news", Bytes::from_static(b"today")), 1);
    world.settle();
    assert_eq!(log.take(), ["session timer", "session message letter", "session message", "session heard today"]);
    assert_eq!(sent(&world), [(THERE, "from afar".into())]);
    let closed = world.event_loop.with_protocol(id, |_: &mut Spy, cx| cx.close());
    assert!(closed.is_some());
    assert_eq!(log.take(), ["session close: closed by this side"]);
    assert!(world.event_loop.core().post(id, Message::user(1)).is_err());
    assert_eq!(world.event_loop.core().publish("news", Bytes::new()), 0);
    assert_eq!(world.event_loop.core().open_sessions(), 0);
    world.assert_nothing_left();
}

#[test]
fn letters_that_wait_when_a_session_opens_are_handed_over() {
    let mut world = World::new();
    let log = Log::default();
    let id = world.event_loop.core().connect_udp(address(THERE), Spy::new("it", &log));
    world.event_loop.core().post(id, Bytes::from_static(b"early")).unwrap();
    world.settle();
    assert_eq!(log.take(), ["it open", "it message early"]);
}

#[test]
fn a_message_s_answers_leave_though_there_are_many() {
    let (mut world, socket, log) =
        spies(Limits { high_water: 1000, low_water: 100, ..Limits::default() }, &options(1, 1, millis(1000)));
    send(&mut world, THERE, b"one");
    let id = session(&world, socket, THERE);
    for _ in 0..100 {
        world.event_loop.core().post(id, Bytes::from_static(b"m")).unwrap();
    }
    world.settle();
    assert_eq!(log.len(), 102);
}

#[test]
fn a_session_that_fails_says_its_last_words_and_another_begins() {
    let mut world = World::new();
    let log = Log::default();
    let factory = {
        let log = log.clone();
        move |_: &_| {
            Some(Spy::new("it", &log).on_data(|cx, input| {
                cx.send(b"ERR");
                String::from_utf8(input.take_all().to_vec())?;
                Ok(())
            }))
        }
    };
    let socket = world.event_loop.bind_sessions(address(HERE), factory).unwrap();
    send(&mut world, THERE, b"\xff");
    assert_eq!(world.event_loop.session(socket, address(THERE)), None);
    send(&mut world, THERE, b"fine");
    let notes = log.take();
    assert!(notes[2].starts_with("it close: the peer broke the protocol"), "{notes:?}");
    assert_eq!(notes[3..], ["it open", "it data fine"]);
    assert_eq!(sent(&world), [(THERE, "ERR".into()), (THERE, "ERR".into())]);
    let counters = world.event_loop.core().socket_counters(socket);
    assert_eq!((counters.opened, counters.closed), (2, 1));
    assert!(CloseReason::Idle(millis(1)).blame().is_none(), "silence is nobody's fault");
}

#[test]
fn a_watchdog_names_a_session_that_takes_long_or_spins() {
    let mut world = World::new();
    let stalls: Rc<RefCell<Vec<Stall>>> = Rc::default();
    let found = Rc::clone(&stalls);
    let watchdog = Watchdog::new().threshold(millis(20)).report(move |stall| found.borrow_mut().push(*stall));
    world.event_loop.set_watchdog(watchdog);
    let network = world.network.clone();
    let factory = move |_: &_| {
        let network = network.clone();
        let slow = move |_: &mut Context<'_>, input: &mut Input<'_>| {
            input.take_all();
            network.advance(millis(21));
            Ok(())
        };
        let spins = |cx: &mut Context<'_>, _| {
            cx.set_timer(Duration::ZERO);
            Ok(())
        };
        Some(Spy::new("it", &Log::default()).on_data(slow).on_timer(spins))
    };
    let socket = world.event_loop.bind_sessions(address(HERE), factory).unwrap();
    send(&mut world, THERE, b"one");
    let id = session(&world, socket, THERE);
    assert_eq!(stalls.borrow().len(), 1);
    let stall = stalls.borrow_mut().remove(0);
    assert_eq!((stall.id, stall.callback, stall.fault), (Some(id.into()), Callback::Data, Fault::Slow(millis(21))));
    world.event_loop.with(id, |cx| cx.set_timer(Duration::ZERO));
    for _ in 0..5000 {
        world.turn();
    }
    let spinning =
        stalls.borrow().iter().any(|stall| matches!(stall.fault, Fault::Spins(_)) && stall.id == Some(id.into()));
    assert!(spinning, "{stalls:?}");
}
