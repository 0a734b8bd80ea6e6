//! Ten thousand connections on one loop.

use std::time::Duration;

use switchboard::{EventLoop, Protocol};
use switchboard_echo::TcpEcho;
use switchboard_websocket::{WebSocket, message_fn};

use crate::common::{PATIENCE, assert_nothing_left, drive, now, turn_until};
use crate::crowd::{self, Speech};
use crate::gauge::{Processor, alone, heap, need_descriptors, open_descriptors};

const CROWD: usize = 10_000;

fn web_echo() -> impl Protocol {
    WebSocket::server(message_fn(|peer, message| {
        peer.send(message);
        Ok(())
    }))
}

#[test]
fn ten_thousand_tcp_clients_echo_at_once_none_is_lost_and_nothing_remains() {
    let _alone = alone();
    let event_loop = ten_thousand(Speech::Tcp, || TcpEcho);
    let counters = event_loop.counters();
    assert_eq!(counters.bytes_in, counters.bytes_out);
    assert_eq!(counters.bytes_in, 20 * (3 * CROWD as u64 + 10) + (100 << 20));
}

#[test]
fn ten_thousand_web_sockets_echo_at_once_none_is_lost_and_nothing_remains() {
    let _alone = alone();
    ten_thousand(Speech::WebSocket, web_echo);
}

/// A crowd comes, speaks, some of it at length, rests, and leaves.
fn ten_thousand<P: Protocol>(speech: Speech, protocol: fn() -> P) -> EventLoop {
    need_descriptors(CROWD as u64 + 100);
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop.listen("127.0.0.1:0", move |_| Some(protocol())).unwrap();
    // As many others as a server would have: memory must come back though these stay.
    event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    // What the loop keeps for its life has its size after the first connections.
    drive(&mut event_loop, || {
        let mut few = crowd::start(speech, address, 10);
        few.order("echo");
        few.order("leave");
    });
    assert_nothing_left(&mut event_loop);
    let descriptors = open_descriptors();
    let mut crowd = None;

    let came = heap(|| {
        crowd = Some(drive(&mut event_loop, || crowd::start(speech, address, CROWD)));
        turn_until(&mut event_loop, "all are accepted", |it| it.core().open_connections() == CROWD);
    });
    let mut crowd = crowd.unwrap();
    assert_eq!(open_descriptors(), descriptors + CROWD + 2, "two are the pipes to the second process");
    let spoke = heap(|| (0..3).for_each(|_| drop(drive(&mut event_loop, || crowd.order("echo")))));
    let at_length = heap(|| {
        drive(&mut event_loop, || crowd.order("large"));
        turn_until(&mut event_loop, "buffers that nobody needs are given back", |it| it.core().spare_bytes() == 0);
    });
    assert_sleeps(&mut event_loop);
    let left = heap(|| {
        drive(&mut event_loop, || crowd.order("leave"));
        assert_nothing_left(&mut event_loop);
    });
    drop(crowd);

    let each = (came.change + spoke.change + at_length.change) / CROWD as i64;
    println!("{speech:?}: an idle connection takes {each} bytes; 1 MiB on each of 100 changed {}", at_length.change);
    // With what vectors of ten thousand have grown ahead, two thirds of what they hold.
    assert!(each <= 330, "{each} bytes each");
    assert!(at_length.change < 50_000, "{} bytes remain after large messages", at_length.change);
    let remain = came.change + spoke.change + at_length.change + left.change;
    println!("{speech:?}: {remain} bytes remain when all have left");
    assert!(remain < 20_000, "{remain} bytes remain");
    assert_eq!(open_descriptors(), descriptors);
    assert_eq!(event_loop.counters().opened, CROWD as u64 + 10);
    event_loop
}

/// With everybody idle a turn lasts as long as it may, and costs next to nothing. (It is woken for
/// timers at most: those of ten thousand heartbeats are moved on now and then.)
fn assert_sleeps(event_loop: &mut EventLoop) {
    let (idle, late) = (Duration::from_millis(300), now() + PATIENCE);
    // An acknowledgement that was delayed (RFC 9293 §3.8.6.3) may yet make a socket writable.
    loop {
        let start = now();
        event_loop.turn(Some(idle)).unwrap();
        if start.elapsed() >= idle {
            break;
        }
        assert!(now() < late, "it does not come to rest");
    }
    let (processor, start) = (Processor::of_this_thread(), now());
    let before = processor.used();
    let mut turns = 0;
    while start.elapsed() < idle {
        event_loop.turn(Some(idle)).unwrap();
        turns += 1;
    }
    let used = processor.used() - before;
    println!("idle for {:?}: {turns} turns, {used:?} of processor time", start.elapsed());
    assert!(turns <= if event_loop.core().armed_timers() == 0 { 1 } else { 4 }, "{turns} turns");
    assert!(used < Duration::from_millis(30), "{used:?} of processor time");
}

#[test]
fn ten_thousand_that_vanish_without_a_word_leave_nothing() {
    let _alone = alone();
    need_descriptors(CROWD as u64 + 100);
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop.listen("127.0.0.1:0", |_| Some(web_echo())).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    let descriptors = open_descriptors();
    let whole = heap(|| {
        let mut crowd = drive(&mut event_loop, || crowd::start(Speech::WebSocket, address, CROWD));
        turn_until(&mut event_loop, "all are accepted", |it| it.core().open_connections() == CROWD);
        drive(&mut event_loop, || crowd.order("vanish"));
        assert_nothing_left(&mut event_loop);
    });
    assert_eq!(open_descriptors(), descriptors);
    assert!(whole.change < 20_000, "{} bytes remain", whole.change);
}
