//! What the two layers do to the protocols inside them: all is passed on, and probes are theirs.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::Harness;
use switchboard::{CloseReason, Context, Failure, Inner, Input, Layer, Layered, Message, Protocol};
use switchboard_heartbeat::{Config, Heartbeat, HeartbeatLine, IdleTimeout, PeerSilent, PingPong, Probe};

#[path = "layers/recorder.rs"]
mod recorder;

use recorder::Recorder;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// 5 s and 15 s without jitter.
fn heartbeat() -> Heartbeat {
    Heartbeat::new(Config::default().with_jitter(Duration::ZERO).expect("no jitter is allowed"))
}

fn idle(after: Duration) -> IdleTimeout {
    IdleTimeout::new(after)
}

fn silent(harness: &mut Harness) -> Option<Duration> {
    let error = harness.close_reason()?.error()?;
    error.downcast_ref::<PeerSilent>().map(|error| error.silent)
}

/// The callbacks of a life in which every one is called.
fn record<P: Protocol>(around: impl FnOnce(Recorder) -> P) -> Vec<String> {
    let calls = Rc::new(RefCell::new(Vec::new()));
    let mut harness = Harness::new(around(Recorder(Rc::clone(&calls))));
    harness.set_window(0);
    harness.feed(b"abc");
    harness.set_window(1 << 20);
    harness.feed(b"def");
    harness.post(Message::user(7_u32)).expect("it is open");
    harness.advance(secs(2));
    harness.eof();
    harness.shutdown(secs(1));
    drop(harness);
    calls.take()
}

#[test]
fn every_callback_reaches_the_protocol_through_any_stack() {
    let bare = record(|recorder| recorder);
    for call in ["open", "data abc", "room false", "drain", "data cdef", "message Ok(7)", "timer", "eof f", "shutdown"]
    {
        assert!(bare.iter().any(|it| it == call), "{call:?} is not among {bare:?}");
    }
    assert!(bare.last().is_some_and(|last| last.starts_with("close ")), "{bare:?}");
    assert_eq!(record(|recorder| idle(secs(60)).around(recorder)), bare);
    assert_eq!(record(|recorder| heartbeat().around(recorder)), bare);
    assert_eq!(record(|recorder| idle(secs(60)).around(heartbeat().around(recorder))), bare);
    assert_eq!(record(|recorder| heartbeat().around(idle(secs(60)).around(recorder))), bare);
}

#[test]
fn stacked_in_either_order_both_do_their_work() {
    let idle_outside = || Harness::new(idle(secs(12)).around(heartbeat().around(PingPong::default())));
    let heartbeat_outside = || Harness::new(heartbeat().around(idle(secs(12)).around(PingPong::default())));
    for (order, stack) in [("idle outside", &idle_outside as &dyn Fn() -> Harness), ("inside", &heartbeat_outside)] {
        let mut harness = stack();
        harness.advance(secs(13));
        assert_eq!(harness.take_sent(), b"PING 1\nPING 2\n", "{order}");
        assert!(harness.is_open(), "{order}: what it sends itself is traffic");
        harness.advance(secs(2));
        assert_eq!(silent(&mut harness), Some(secs(15)), "{order}");

        let mut harness = stack();
        harness.advance(secs(5));
        harness.feed(b"PONG 1\nhello\n");
        let sent = String::from_utf8(harness.take_sent()).unwrap();
        assert!(sent.starts_with("PING 1\nERR "), "{order}: {sent:?}");
        assert!(!harness.is_open());
    }
}

#[test]
fn an_idle_time_below_the_interval_ends_it_before_it_beats() {
    let mut harness = Harness::new(heartbeat().around(idle(secs(4)).around(PingPong::default())));
    harness.advance(secs(4));
    assert!(!harness.is_open());
    assert_eq!(silent(&mut harness), None);
}

/// Probes by `?`, answered by `!`. What else it does, it is told.
#[derive(Default)]
struct Ask {
    pauses: bool,
    stays_after_eof: bool,
    needs: usize,
    fails_to_probe: bool,
    closes_to_probe: bool,
    latest: u32,
    answered: Option<u32>,
}

impl Protocol for Ask {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        if input.len() < self.needs {
            input.wait_for(self.needs);
            return Ok(());
        }
        match &*input.take_all() {
            b"!" => self.answered = Some(self.latest),
            b"switch" => cx.switch_to(switchboard::protocol_fn(|_, _| Ok(()))),
            _ => {}
        }
        if self.pauses {
            cx.pause_reading();
        }
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
        if !self.stays_after_eof {
            cx.close();
        }
        Ok(())
    }
}

impl Probe for Ask {
    fn probe(&mut self, cx: &mut Context<'_>, number: u32) -> Result<(), Failure> {
        self.latest = number;
        if self.fails_to_probe {
            return Err(Failure::caller("no probe today"));
        }
        if self.closes_to_probe {
            cx.send(b"bye");
            cx.close();
            return Ok(());
        }
        cx.send(b"?");
        Ok(())
    }

    fn answered(&mut self) -> Option<u32> {
        self.answered.take()
    }
}

/// As [`Ask`], where only answers prove life.
struct Strict(Ask);

impl Protocol for Strict {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        self.0.on_data(cx, input)
    }
}

impl Probe for Strict {
    const ANY_TRAFFIC_PROVES_LIFE: bool = false;

    fn probe(&mut self, cx: &mut Context<'_>, number: u32) -> Result<(), Failure> {
        self.0.probe(cx, number)
    }

    fn answered(&mut self) -> Option<u32> {
        self.0.answered()
    }
}

#[test]
fn a_protocol_says_what_proves_life() {
    let mut harness = Harness::new(heartbeat().around(Strict(Ask::default())));
    for _ in 0..14 {
        harness.advance(secs(1));
        harness.feed(b"chatter");
    }
    harness.advance(secs(1));
    assert_eq!(silent(&mut harness), Some(secs(15)), "chatter is no proof here");

    let mut harness = Harness::new(heartbeat().around(Strict(Ask::default())));
    for _ in 0..100 {
        harness.advance(secs(14));
        harness.feed(b"!");
        assert!(harness.is_open());
    }
}

#[test]
fn what_proves_life_is_known_through_a_layer() {
    let mut harness = Harness::new(heartbeat().around(idle(secs(60)).around(Strict(Ask::default()))));
    harness.advance(secs(7));
    harness.feed(b"!");
    let rtt = harness.protocol::<Layered<Heartbeat, Layered<IdleTimeout, Strict>>>().unwrap().layer().rtt();
    assert_eq!(rtt.unwrap().last, secs(2));
    harness.advance(secs(14));
    harness.feed(b"chatter");
    harness.advance(secs(1));
    assert_eq!(silent(&mut harness), Some(secs(15)));
}

/// Turns every bit.
struct Invert;

impl<P: Protocol> Layer<P> for Invert {
    const SEALS: bool = true;

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        let bytes = input.take_all();
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
        inner.feed(cx, bytes)
    }

    fn seal(&mut self, cx: &mut Context<'_>, plain: &mut [u8]) -> Result<(), Failure> {
        plain.iter_mut().for_each(|byte| *byte = !*byte);
        cx.send(plain);
        Ok(())
    }
}

fn inverted(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| !byte).collect()
}

#[test]
fn a_probe_goes_through_a_layer_that_transforms_whichever_is_outside() {
    let heartbeat_outside = Harness::new(heartbeat().around(Layered::new(Invert, PingPong::default())));
    let heartbeat_inside = Harness::new(Layered::new(Invert, heartbeat().around(PingPong::default())));
    for mut harness in [heartbeat_outside, heartbeat_inside] {
        harness.advance(secs(5));
        assert_eq!(harness.take_sent(), inverted(b"PING 1\n"));
        harness.feed(&inverted(b"PONG 1\nPING 7\n"));
        assert_eq!(harness.take_sent(), inverted(b"PONG 7\n"));
        harness.advance(secs(15));
        assert_eq!(harness.take_sent(), inverted(b"PING 2\nPING 3\n"));
        assert_eq!(silent(&mut harness), Some(secs(15)));
    }
    let closes = Ask { closes_to_probe: true, ..Ask::default() };
    let mut harness = Harness::new(heartbeat().around(Layered::new(Invert, closes)));
    harness.advance(secs(5));
    assert_eq!(harness.take_sent(), inverted(b"bye"));
    assert!(matches!(harness.close_reason(), Some(CloseReason::Local)));
}

#[test]
fn a_message_that_trickles_in_unseen_by_its_protocol_is_life() {
    let mut harness = Harness::new(heartbeat().around(Ask { needs: 1_000, ..Ask::default() }));
    for _ in 0..999 {
        harness.advance(secs(14));
        harness.feed(b"x");
        assert!(harness.is_open());
    }
    harness.advance(secs(15));
    assert_eq!(silent(&mut harness), Some(secs(15)));
}

#[test]
fn a_peer_not_read_is_still_asked_but_not_held_to_answer() {
    let mut harness = Harness::new(heartbeat().around(Ask { pauses: true, ..Ask::default() }));
    harness.feed(b"x");
    harness.advance(secs(60));
    assert_eq!(harness.take_sent(), b"?".repeat(12), "it may have a timeout of its own");
    assert!(harness.is_open());
    harness.with(|cx| cx.resume_reading()).unwrap();
    harness.advance(secs(14));
    assert!(harness.is_open(), "the time begins when it is read again");
    harness.advance(secs(1));
    assert_eq!(silent(&mut harness), Some(secs(15)));
}

/// The deadline may come before the next probe is due.
#[test]
fn a_peer_with_output_to_take_is_not_held_to_answer() {
    let config = Config::new(secs(5), secs(7)).unwrap().with_jitter(Duration::ZERO).unwrap();
    let mut harness = Harness::new(Heartbeat::new(config).around(Ask::default()));
    harness.advance(secs(5));
    harness.set_window(0);
    harness.with(|cx| cx.send(b"long")).unwrap();
    harness.advance(secs(3));
    harness.set_window(100);
    harness.advance(secs(4));
    assert_eq!(harness.take_sent(), b"?long?", "asked again, two seconds late");
    harness.advance(secs(3));
    assert!(harness.is_open());
    harness.advance(secs(1));
    assert_eq!(silent(&mut harness), Some(secs(7)));
}

#[test]
fn after_the_peers_half_close_it_beats_no_more() {
    let mut harness = Harness::new(heartbeat().around(Ask { stays_after_eof: true, ..Ask::default() }));
    harness.advance(secs(5));
    harness.eof();
    harness.advance(secs(600));
    assert_eq!(harness.take_sent(), b"?");
    assert!(harness.is_open(), "a long answer may be on its way");
    assert_eq!(harness.core().armed_timers(), 0);
}

#[test]
fn after_a_switch_inside_it_beats_no_more() {
    let mut harness = Harness::new(heartbeat().around(Ask::default()));
    harness.advance(secs(5));
    harness.feed(b"switch");
    harness.advance(secs(600));
    assert_eq!(harness.take_sent(), b"?");
    assert!(harness.is_open());
    assert_eq!(harness.core().armed_timers(), 0);
}

#[test]
fn a_probe_that_fails_ends_the_connection() {
    let mut harness = Harness::new(heartbeat().around(Ask { fails_to_probe: true, ..Ask::default() }));
    harness.advance(secs(5));
    assert!(harness.close_reason().unwrap().to_string().contains("no probe today"));
    harness.advance(secs(5));
    assert_eq!(harness.core().armed_timers(), 0);
}

#[test]
fn a_probe_may_close() {
    let mut harness = Harness::new(heartbeat().around(Ask { closes_to_probe: true, ..Ask::default() }));
    harness.advance(secs(5));
    assert_eq!(harness.take_sent(), b"bye");
    assert!(matches!(harness.close_reason(), Some(CloseReason::Local)));
}

#[test]
fn an_outgoing_connection_beats_from_when_it_stands() {
    let line: HeartbeatLine = heartbeat().around(PingPong::default());
    let mut harness = Harness::connecting(line, switchboard::Limits::default());
    harness.advance(secs(7));
    harness.peer().establish();
    harness.settle();
    harness.advance(secs(4));
    assert_eq!(harness.take_sent(), b"");
    harness.advance(secs(1));
    assert_eq!(harness.take_sent(), b"PING 1\n");
}

#[test]
fn a_refused_connection_is_told_through_the_layers() {
    let calls = Rc::new(RefCell::new(Vec::new()));
    let stack = idle(secs(60)).around(heartbeat().around(Recorder(Rc::clone(&calls))));
    let mut harness = Harness::connecting(stack, switchboard::Limits::default());
    harness.peer().refuse(std::io::ErrorKind::ConnectionRefused);
    harness.settle();
    assert_eq!(calls.borrow().len(), 1);
    assert!(calls.borrow()[0].starts_with("close could not connect"), "{calls:?}");
}
