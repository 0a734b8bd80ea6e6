//! `turn` and `run`: when they return, and what an embedder can do in between.

use std::io::{Read, Write};
use std::time::Duration;

use switchboard::{ConnectionId, Context, EventLoop, Failure, Input, Protocol, TimerId};
use switchboard_echo::TcpEcho;

use crate::common::{PATIENCE, assert_nothing_left, drive, now, round_trip, tcp, turn_until};

#[test]
fn a_turn_returns_when_its_time_is_over_though_nothing_happened() {
    let mut event_loop = EventLoop::new().unwrap();
    event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    for millis in [0, 1, 30] {
        let (start, timeout) = (now(), Duration::from_millis(millis));
        event_loop.turn(Some(timeout)).unwrap();
        assert!(start.elapsed() >= timeout && start.elapsed() < timeout + PATIENCE);
    }
    assert_eq!(event_loop.next_deadline(), None, "nothing is due of itself");
}

/// Sends a byte at each tick.
struct Ticker;

impl Protocol for Ticker {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.set_timer(Duration::from_millis(5));
        Ok(())
    }

    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        input.take_all();
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        cx.send(b".");
        cx.set_timer(Duration::from_millis(5));
        Ok(())
    }
}

#[test]
fn a_turn_without_a_limit_wakes_for_the_next_timer_and_not_before() {
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop.listen("127.0.0.1:0", |_| Some(Ticker)).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    let mut stream = tcp(address);
    turn_until(&mut event_loop, "it is accepted", |it| it.counters().opened == 1);
    for _ in 0..20 {
        let due = event_loop.next_deadline().expect("a timer is armed");
        turn_until(&mut event_loop, "the timer fires", |it| it.next_deadline() != Some(due));
        assert!(event_loop.now() >= due, "never early");
    }
    assert!(event_loop.counters().bytes_out >= 15);
    let mut ticks = [0; 15];
    stream.read_exact(&mut ticks).unwrap();
    assert_eq!(ticks, [b'.'; 15]);
}

#[test]
fn turning_by_hand_and_running_serve_the_same() {
    for by_hand in [true, false] {
        let mut event_loop = EventLoop::new().unwrap();
        let listener = event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
        let address = event_loop.local_addr(listener).unwrap();
        let handle = event_loop.handle();
        let client = std::thread::spawn(move || {
            let mut stream = tcp(address);
            for _ in 0..100 {
                assert_eq!(round_trip(&mut stream, b"hello"), b"hello");
            }
            drop(stream);
            handle.shutdown(PATIENCE).unwrap();
        });
        let tally = if by_hand {
            turn_until(&mut event_loop, "it ends", |it| it.tally().is_some());
            event_loop.tally().unwrap()
        } else {
            event_loop.run().unwrap()
        };
        client.join().unwrap();
        assert_eq!((tally.counters.bytes_in, tally.counters.bytes_out, tally.cut_off), (500, 500, 0));
    }
}

/// Counts lines.
#[derive(Default)]
struct Lines(usize);

impl Protocol for Lines {
    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        self.0 += input.take_all().iter().filter(|&&byte| byte == b'\n').count();
        Ok(())
    }
}

#[test]
fn the_embedder_reaches_connections_and_their_protocols_by_id() {
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    let id: ConnectionId = event_loop.connect(address, Lines::default());
    assert!(event_loop.with(id, |_| ()).is_none(), "not yet established");
    turn_until(&mut event_loop, "it stands", |it| it.with(id, |_| ()).is_some());
    event_loop.with(id, |cx| cx.send(b"one\ntwo\n")).unwrap();
    turn_until(&mut event_loop, "both are counted", |it| it.protocol::<Lines>(id).unwrap().0 == 2);
    event_loop
        .with_protocol::<Lines, _>(id, |lines, cx| {
            assert_eq!(lines.0, 2);
            cx.close();
        })
        .unwrap();
    assert!(event_loop.protocol::<Lines>(id).is_none());
    assert!(event_loop.with_protocol::<TcpEcho, _>(id, |_, _| ()).is_none());
    assert_nothing_left(&mut event_loop);
}

#[test]
fn addresses_are_what_the_system_says() {
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    assert_ne!(address.port(), 0);
    let stream = tcp(address);
    let id = event_loop.connect(address, TcpEcho);
    turn_until(&mut event_loop, "it stands", |it| it.with(id, |_| ()).is_some());
    let (local, peer) = event_loop.with(id, |cx| (cx.local_addr(), cx.peer_addr())).unwrap();
    assert_eq!((event_loop.local_addr(id), peer), (local, Some(address)));
    drop(stream);
}

#[test]
fn a_reset_in_mid_message_ends_it_and_leaves_nothing() {
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop
        .listen("127.0.0.1:0", |_| {
            Some(switchboard::protocol_fn(|_, input| {
                input.wait_for(100_000);
                Ok(())
            }))
        })
        .unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    drive(&mut event_loop, || {
        for _ in 0..100 {
            let mut stream = tcp(address);
            stream.write_all(&[7; 5000]).unwrap();
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    });
    turn_until(&mut event_loop, "all were accepted", |it| {
        let counters = it.counters();
        counters.opened + counters.accept_errors == 100
    });
    assert_nothing_left(&mut event_loop);
}
