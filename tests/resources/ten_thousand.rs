//! Ten thousand connections on one loop.

use std::time::Duration;

use switchboard::EventLoop;
use switchboard_echo::TcpEcho;

use crate::common::{assert_nothing_left, drive, now, turn_until};
use crate::crowd;
use crate::gauge::{Processor, alone, heap, need_descriptors, open_descriptors};

const CROWD: usize = 10_000;

#[test]
fn ten_thousand_echo_at_once_none_is_lost_and_nothing_remains() {
    let _alone = alone();
    need_descriptors(CROWD as u64 + 100);
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    // As many others as a server would have: memory must come back though these stay.
    event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    // What the loop keeps for its life has its size after the first connections.
    drive(&mut event_loop, || {
        let mut few = crowd::start(address, 10);
        few.order("echo");
        few.order("leave");
    });
    assert_nothing_left(&mut event_loop);
    let descriptors = open_descriptors();

    let whole = heap(|| {
        let mut crowd = None;
        let came = heap(|| crowd = Some(drive(&mut event_loop, || crowd::start(address, CROWD))));
        let mut crowd = crowd.unwrap();
        turn_until(&mut event_loop, "all are accepted", |it| it.core().open_connections() == CROWD);
        assert_eq!(open_descriptors(), descriptors + CROWD + 2, "two are the pipes to the second process");
        let each = came.change / CROWD as i64;
        println!("an idle TCP echo connection: {each} bytes");
        assert!(each <= 500, "{each} bytes each");
        for _ in 0..3 {
            drive(&mut event_loop, || crowd.order("echo"));
        }
        assert_sleeps(&mut event_loop);
        drive(&mut event_loop, || crowd.order("leave"));
        assert_nothing_left(&mut event_loop);
    });
    assert_eq!(open_descriptors(), descriptors);
    println!("after all have left: {} bytes more, {} at most", whole.change, whole.peak);
    assert!(whole.change < 10_000, "{} bytes remain", whole.change);
    let counters = event_loop.counters();
    assert_eq!(counters.opened, CROWD as u64 + 10);
    assert_eq!(counters.bytes_in, counters.bytes_out);
    assert_eq!(counters.bytes_in, 20 * (3 * CROWD as u64 + 10));
}

/// With everybody idle one turn lasts as long as it may, and costs nothing.
fn assert_sleeps(event_loop: &mut EventLoop) {
    let idle = Duration::from_millis(300);
    assert_eq!(event_loop.next_deadline(), None);
    let (processor, start) = (Processor::of_this_thread(), now());
    let before = processor.used();
    event_loop.turn(Some(idle)).unwrap();
    let used = processor.used() - before;
    assert!(start.elapsed() >= idle, "woken after {:?}", start.elapsed());
    assert!(used < Duration::from_millis(10), "{used:?} of processor time");
}

#[test]
fn ten_thousand_that_vanish_without_a_word_leave_nothing() {
    let _alone = alone();
    need_descriptors(CROWD as u64 + 100);
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    let descriptors = open_descriptors();
    let whole = heap(|| {
        let mut crowd = drive(&mut event_loop, || crowd::start(address, CROWD));
        turn_until(&mut event_loop, "all are accepted", |it| it.core().open_connections() == CROWD);
        drive(&mut event_loop, || crowd.order("vanish"));
        assert_nothing_left(&mut event_loop);
    });
    assert_eq!(open_descriptors(), descriptors);
    assert!(whole.change < 20_000, "{} bytes remain", whole.change);
}
