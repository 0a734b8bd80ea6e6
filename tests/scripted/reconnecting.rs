//! Clients that connect again by themselves.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::Peer;
use switchboard::{Backoff, Bytes, CloseReason, Failure, Jitter, Limits, Reconnect, Reconnecting, Retry, Time};

use crate::spy::{Log, Spy};
use crate::world::{World, address, millis};

mod names;

const SECOND: Duration = Duration::from_secs(1);

/// Waits of 1, 2, 4, 8 seconds, which no chance changes.
fn exact() -> Backoff {
    Backoff { most: 8 * SECOND, jitter: Jitter::None, ..Backoff::default() }
}

/// A client whose protocols are spies named `it`.
fn client(log: &Log) -> Reconnect {
    let log = log.clone();
    Reconnect::new(address(1), move |retry| {
        log.note(format!("attempt {retry}"));
        Spy::new("it", &log)
    })
    .backoff(exact())
}

fn start(world: &mut World, client: Reconnect) -> Reconnecting {
    let client = client.start(world.event_loop.core());
    world.settle();
    client
}

/// The next attempt, and the time when it came.
fn next(world: &mut World) -> (Time, Peer) {
    for _ in 0..100_000 {
        if let Some(peer) = world.network.next_outgoing() {
            return (world.network.now(), peer);
        }
        world.advance(millis(10));
    }
    panic!("it does not come again");
}

fn refuse(world: &mut World, peer: &Peer) {
    peer.refuse(io::ErrorKind::ConnectionRefused);
    world.settle();
}

/// Whether a client comes again after `end` has been done to a connection that stands.
fn comes_again(spy: fn(Spy) -> Spy, end: impl FnOnce(&mut World, &Peer, Reconnecting)) -> bool {
    let limits = Limits { high_water: 8, low_water: 1, send_buffer: 64, ..Limits::default() };
    let mut world = World::with_limits(limits);
    let log = Log::default();
    let over = Rc::new(Cell::new(0));
    let count = Rc::clone(&over);
    let reconnect = Reconnect::new(address(1), move |_| spy(Spy::new("it", &log)))
        .backoff(exact())
        .when_over(move |_, _| count.set(count.get() + 1));
    let client = start(&mut world, reconnect);
    let peer = next(&mut world).1;
    peer.establish();
    world.settle();
    end(&mut world, &peer, client);
    peer.finish();
    world.settle();
    let waits = client.connection(world.event_loop.core()).is_some();
    assert_eq!(over.get(), usize::from(!waits), "it is over, and says so, if it does not come again");
    world.advance(SECOND);
    assert_eq!(world.network.next_outgoing().is_some(), waits);
    waits
}

#[test]
fn what_ends_a_connection_decides_whether_another_follows() {
    let usual = |spy: Spy| spy;
    assert!(comes_again(usual, |_, peer, _| peer.finish()), "the peer closed in order");
    assert!(comes_again(usual, |_, peer, _| peer.reset()));
    assert!(comes_again(|spy| spy.on_data(|_, _| Err(Failure::peer("no"))), |_, peer, _| peer.send(b"x")));
    assert!(comes_again(|spy| spy.on_data(|_, _| Err(Failure::limit("no"))), |_, peer, _| peer.send(b"x")));
    let flood = |spy: Spy| {
        spy.on_open(|cx| {
            cx.send(&[0; 100]);
            Ok(())
        })
    };
    assert!(comes_again(flood, |_, _, _| ()), "it took all");
    assert!(
        comes_again(
            |spy| spy.on_message(|cx, _| {
                cx.send(&[0; 100]);
                Ok(())
            }),
            |world, peer, client| {
                peer.set_window(0);
                client.post(world.event_loop.core(), Bytes::new()).unwrap();
                world.settle();
            }
        ),
        "a limit"
    );

    assert!(!comes_again(|spy| spy.on_data(|_, _| Err(Failure::caller("no"))), |_, peer, _| peer.send(b"x")));
    let closing = |spy: Spy| {
        spy.on_open(|cx| {
            cx.close();
            Ok(())
        })
    };
    assert!(!comes_again(closing, |_, _, _| ()), "the protocol closed");
    let finishing = |spy: Spy| {
        spy.on_open(|cx| {
            cx.finish();
            Ok(())
        })
    };
    assert!(!comes_again(finishing, |_, _, _| ()), "the protocol half-closed first");
    let aborting = |spy: Spy| {
        spy.on_open(|cx| {
            cx.abort();
            Ok(())
        })
    };
    assert!(!comes_again(aborting, |_, _, _| ()));
    type Command = fn(&mut switchboard::Core, Reconnecting);
    let commands: [Command; 4] = [
        |core, client| client.connection(core).into_iter().for_each(|id| core.close(id)),
        |core, client| client.connection(core).into_iter().for_each(|id| core.abort(id)),
        |core, client| client.stop(core),
        |core, _| core.shutdown(SECOND),
    ];
    for command in commands {
        assert!(!comes_again(usual, |world, _, client| {
            command(world.event_loop.core(), client);
            world.settle();
        }));
    }
}

#[test]
fn waits_grow_until_a_connection_was_healthy() {
    let (mut world, log) = (World::new(), Log::default());
    start(&mut world, client(&log));
    let mut last = world.network.now();
    let mut waited = |world: &mut World, stands: Option<Duration>| {
        let (now, peer) = next(world);
        let wait = now.saturating_since(last).as_secs();
        if let Some(stands) = stands {
            peer.establish();
            world.settle();
            world.advance(stands);
            peer.reset();
            world.settle();
        } else {
            refuse(world, &peer);
        }
        last = world.network.now();
        wait
    };
    let waits: Vec<u64> = (0..6).map(|_| waited(&mut world, None)).collect();
    assert_eq!(waits, [0, 1, 2, 4, 8, 8]);
    assert_eq!(waited(&mut world, Some(millis(9999))), 8);
    assert_eq!(waited(&mut world, Some(10 * SECOND)), 8, "the one before had not stood for long enough");
    assert_eq!(waited(&mut world, None), 1, "that one had");
    assert_eq!(waited(&mut world, None), 2);
    let attempts: Vec<String> = log.take().into_iter().filter(|line| line.starts_with("attempt")).collect();
    let numbers = [0, 1, 2, 3, 4, 5, 6, 7, 1, 2, 3].map(|retry| format!("attempt {retry}"));
    assert_eq!(attempts, numbers);
}

#[test]
fn it_can_give_up() {
    let (mut world, log) = (World::new(), Log::default());
    let noted = log.clone();
    let reconnect = client(&log)
        .backoff(Backoff { retries: Some(2), ..exact() })
        .when_over(move |core, reason| noted.note(format!("over at {}: {reason}", core.now())));
    let client = start(&mut world, reconnect);
    for _ in 0..3 {
        let peer = next(&mut world).1;
        refuse(&mut world, &peer);
    }
    let close = "it close: could not connect: connection refused";
    assert_eq!(
        log.take(),
        [
            "attempt 0",
            close,
            "attempt 1",
            close,
            "attempt 2",
            close,
            "over at 3s: could not connect: connection refused"
        ]
    );
    assert_eq!(client.connection(world.event_loop.core()), None);
    let message = client.post(world.event_loop.core(), Bytes::from_static(b"x"));
    assert!(message.is_err(), "handed back");
    client.stop(world.event_loop.core()); // nothing
    world.settle();
    world.assert_nothing_left();
}

#[test]
fn the_application_decides() {
    type Asked = Vec<(String, Option<Duration>, bool, u32)>;
    let (mut world, log) = (World::new(), Log::default());
    let asked: Rc<RefCell<Asked>> = Rc::default();
    let seen = Rc::clone(&asked);
    let mut answers = [
        (Retry::After(5 * SECOND), None),
        (Retry::Between(100 * SECOND, 100 * SECOND), None),
        (Retry::Backoff, Some(true)),
        (Retry::Backoff, Some(false)),
        (Retry::No, None),
    ]
    .into_iter();
    let reconnect = client(&log).decide(move |ended| {
        seen.borrow_mut().push((ended.reason.to_string(), ended.stood, ended.healthy, ended.retry));
        let (answer, healthy) = answers.next().unwrap();
        ended.healthy = healthy.unwrap_or(ended.healthy);
        answer
    });
    let client = start(&mut world, reconnect);
    let mut times = Vec::new();
    let mut last = world.network.now();
    for stands in [None, None, None, Some(20 * SECOND), Some(SECOND)] {
        let (now, peer) = next(&mut world);
        times.push(now.saturating_since(last).as_secs());
        match stands {
            None => refuse(&mut world, &peer),
            Some(time) => {
                peer.establish();
                world.settle();
                world.advance(time);
                peer.finish();
                world.settle();
            }
        }
        last = world.network.now();
    }
    // After 5 s and the first wait; after 100 s; said to be healthy: the first wait; said not to be: the second.
    assert_eq!(times, [0, 6, 100, 1, 2]);
    assert_eq!(client.connection(world.event_loop.core()), None);
    let refused = "could not connect: connection refused".to_owned();
    let (peer, healthy) = ("closed by the peer".to_owned(), Some(20 * SECOND));
    assert_eq!(
        asked.take(),
        [
            (refused.clone(), None, false, 0),
            (refused.clone(), None, false, 1),
            (refused, None, false, 2),
            (peer.clone(), healthy, true, 1),
            (peer, Some(SECOND), false, 2),
        ]
    );
}

#[test]
fn addresses_take_turns_until_one_is_healthy() {
    let (mut world, log) = (World::new(), Log::default());
    start(&mut world, client(&log).or_to(address(2)).or_to(address(3)));
    let mut ports = Vec::new();
    for healthy in [false, false, true, true, false, false] {
        let peer = next(&mut world).1;
        ports.push(peer.address().port());
        if healthy {
            peer.establish();
            world.settle();
            world.advance(10 * SECOND);
            peer.reset();
            world.settle();
        } else {
            refuse(&mut world, &peer);
        }
    }
    assert_eq!(ports, [1, 2, 3, 3, 3, 1]);
}

#[test]
fn the_loops_limit_is_a_reason_to_try_again_later() {
    let (mut world, log) = (World::with_limits(Limits { connections: 1, ..Limits::default() }), Log::default());
    let other = world.event_loop.connect(address(9), Spy::new("other", &Log::default()));
    world.settle();
    assert_eq!(next(&mut world).1.address(), address(9));
    start(&mut world, client(&log));
    let full = "it close: a limit was hit: connections: the loop holds its 1 already";
    assert_eq!(log.take(), ["attempt 0", full, "attempt 1"]);
    world.advance(SECOND);
    assert_eq!(log.take(), [full, "attempt 2"]);
    world.event_loop.core().close(other);
    world.settle();
    let (came, peer) = next(&mut world);
    assert_eq!((came, peer.address()), (Time::ZERO + 3 * SECOND, address(1)));
}

/// None is refused for those that only wait.
#[test]
fn more_clients_than_the_loop_has_room_for_take_what_there_is() {
    let mut world = World::with_limits(Limits { connections: 3, ..Limits::default() });
    for _ in 0..10 {
        let backoff = Backoff { most: 2 * SECOND, ..Backoff::default() };
        start(&mut world, client(&Log::default()).backoff(backoff));
    }
    for _ in 0..20 {
        let peers: Vec<Peer> = (0..3).map(|_| next(&mut world).1).collect();
        assert!(world.network.next_outgoing().is_none());
        assert_eq!(world.event_loop.core().open_connections(), 3);
        peers.iter().for_each(|peer| refuse(&mut world, peer));
    }
}

#[test]
fn a_connection_that_another_protocol_took_over_comes_again_with_its_own() {
    let (mut world, log) = (World::new(), Log::default());
    let noted = log.clone();
    let reconnect = Reconnect::new(address(1), move |_| {
        let next = noted.clone();
        Spy::new("greeter", &noted).on_open(move |cx| {
            cx.switch_to(Spy::new("talker", &next));
            Ok(())
        })
    });
    start(&mut world, reconnect.backoff(exact()));
    for _ in 0..2 {
        let peer = next(&mut world).1;
        peer.establish();
        world.settle();
        peer.reset();
        world.settle();
        let said = log.take();
        assert_eq!(said[..3], ["greeter open", "greeter close: another protocol took over", "talker open"]);
        assert!(said[3].starts_with("talker close: connection broke"), "{said:?}");
    }
}

#[test]
fn reasons_and_what_follows_by_default() {
    let io = || io::Error::from(io::ErrorKind::Other);
    for (reason, retry) in [
        (CloseReason::Local, Retry::No),
        (CloseReason::Switched, Retry::No),
        (CloseReason::Aborted { unsent: 0 }, Retry::No),
        (CloseReason::Shutdown { unsent: 0 }, Retry::No),
        (CloseReason::Failure(Failure::caller("a mistake")), Retry::No),
        (CloseReason::Peer, Retry::Backoff),
        (CloseReason::Connect(io()), Retry::Backoff),
        (CloseReason::ConnectTimeout(SECOND), Retry::Backoff),
        (CloseReason::Io { error: io(), unsent: 0 }, Retry::Backoff),
        (CloseReason::Failure(Failure::peer("garbage")), Retry::Backoff),
        (CloseReason::Failure(io().into()), Retry::Backoff),
        (CloseReason::Limit(switchboard::LimitExceeded::WriteStall(SECOND)), Retry::Backoff),
    ] {
        assert_eq!(Retry::of(&reason), retry, "{reason}");
    }
}
