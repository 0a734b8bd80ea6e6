//! Two protocols on one link.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::{Conditions, Pair, check_seeds};
use switchboard::{Bytes, CloseReason, Context, Input, Limits, Time};
use switchboard_echo::TcpEcho;
use switchboard_heartbeat::{Config, Heartbeat, HeartbeatLine, PingPong};

use crate::spy::{Log, Spy};
use crate::talker::Talker;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_conversation_through_a_keyhole() {
    check_seeds(0..50, |seed| {
        let limits = Limits { read_budget: 512, receive_buffer: 512, ..Limits::default() };
        let (talker, outcome) = Talker::new(seed, 5000);
        let conditions = Conditions { send_buffer: 7, receive_buffer: 5, segment: 3, ..Conditions::rough() };
        let mut pair = Pair::with_limits(&limits, conditions, seed, talker, TcpEcho);
        assert!(pair.run_to_rest(3600 * SECOND));
        assert!(outcome.borrow().is_complete(5000), "{outcome:?}");
        assert!(matches!(pair.left().close_reason(), Some(CloseReason::Local)));
        assert!(matches!(pair.right().close_reason(), Some(CloseReason::Peer)));
    });
}

#[test]
fn both_sides_are_reached_by_hand() {
    let log = Log::default();
    let mut pair = Pair::new(Spy::new("left", &log), Spy::new("right", &log));
    assert_eq!(log.take(), ["right open", "left open"]);
    assert!(pair.left().is_open() && pair.right().is_open());
    assert!(pair.left().protocol::<Spy>().is_some());
    assert!(pair.left().protocol::<TcpEcho>().is_none());

    pair.left().with(|cx| cx.send(b"hello")).unwrap();
    pair.right().post(Bytes::from("psst")).unwrap();
    assert!(pair.run_to_rest(SECOND));
    assert_eq!(log.take(), ["right message psst", "right data hello"]);

    pair.right().with(|cx| cx.finish()).unwrap();
    assert!(pair.run_to_rest(SECOND));
    assert_eq!(
        log.take(),
        ["left eof", "left close: closed by the peer", "right eof", "right close: closed by this side"]
    );
    assert!(!pair.left().is_open());
    assert!(pair.left().with(|_| ()).is_none());
    assert!(pair.right().post(Bytes::from("late")).is_err());
}

#[test]
fn a_reset_reaches_both_sides() {
    let log = Log::default();
    let mut pair = Pair::new(Spy::new("left", &log), Spy::new("right", &log));
    log.take();
    pair.reset();
    assert!(pair.run_to_rest(SECOND));
    let broke =
        ["left", "right"].map(|side| format!("{side} close: connection broke: connection reset, 0 bytes unsent"));
    assert_eq!(log.take(), broke);
}

/// Each is larger than all buffers between them and the high-water mark together. Had either stopped
/// reading because its own was not taken, both would have waited for each other for ever.
#[test]
fn two_large_messages_cross() {
    const LENGTH: usize = 1 << 20;
    let received = [Rc::new(Cell::new(0)), Rc::new(Cell::new(0))];
    let [left, right] = received.each_ref().map(|received| {
        let received = Rc::clone(received);
        let say = |cx: &mut Context<'_>| {
            cx.send(&vec![0; LENGTH]);
            Ok(())
        };
        let hear = move |_: &mut Context<'_>, input: &mut Input<'_>| {
            received.set(received.get() + input.take_all().len());
            Ok(())
        };
        Spy::new("one of two", &Log::default()).on_open(say).on_data(hear)
    });
    let mut pair = Pair::new(left, right);
    assert!(pair.run_to_rest(SECOND));
    assert_eq!(received.map(|received| received.get()), [LENGTH, LENGTH]);
}

/// As on Linux: who has read to the end is told of a reset behind it as of a pipe that broke.
#[test]
fn a_reset_behind_the_end_is_a_broken_pipe() {
    let log = Log::default();
    let stays = Spy::new("right", &log).on_eof(|_, _| Ok(()));
    let mut pair = Pair::new(Spy::new("left", &log), stays);
    pair.left().with(|cx| cx.finish());
    pair.run_for(SECOND);
    pair.left().with(|cx| cx.abort());
    log.take();
    pair.run_for(SECOND);
    assert_eq!(log.take(), ["right close: connection broke: broken pipe, 0 bytes unsent"]);
}

#[test]
fn a_heartbeat_finds_a_link_cut() {
    let config = Config::new(5 * SECOND, 15 * SECOND).unwrap();
    let beating = || Heartbeat::new(config).around(PingPong::default());
    let mut pair = Pair::new(beating(), beating());
    pair.run_for(60 * SECOND);
    let rtt = pair.left().protocol::<HeartbeatLine>().unwrap().layer().rtt().unwrap();
    assert_eq!(rtt.last, Duration::from_millis(2));
    pair.cut();
    pair.run_for(10 * SECOND);
    pair.mend();
    pair.run_for(60 * SECOND);
    assert!(pair.left().is_open() && pair.right().is_open(), "ten seconds are forgiven");
    pair.cut();
    let cut = pair.now();
    assert!(pair.run_until(60 * SECOND, |pair| !pair.left().is_open() && !pair.right().is_open()));
    assert!(pair.now() <= cut + 15 * SECOND, "{}", pair.now());
    assert!(pair.now() > Time::ZERO + 140 * SECOND, "{}", pair.now());
    let reason = pair.left().close_reason().unwrap().to_string();
    assert!(reason.contains("no sign of life"), "{reason}");
}
