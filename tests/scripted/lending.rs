//! Reads that go straight into what a protocol lends: all else is as if they had come to `on_data`.

use std::cell::Cell;
use std::rc::Rc;

use switchboard::testkit::{Harness, SessionHarness};
use switchboard::{Callback, Context, Failure, Input, Layer, Layered, Limits, Message, Protocol, TimerId, Watchdog};

use crate::spy::{Log, Spy};
use crate::world::{World, millis};

/// What a [`Lender`] is told to do when it is told that its buffer was filled.
type OnFilled = Box<dyn FnMut(&mut Context<'_>) -> Result<(), Failure>>;

/// Lends a buffer of `wants` bytes from the first byte on, which comes to `on_data`; when it is full it notes what is in
/// it, and wants no more.
struct Lender {
    log: Log,
    buffer: Vec<u8>,
    filled: usize,
    asked: Rc<Cell<u32>>,
    on_filled: OnFilled,
}

impl Lender {
    fn new(wants: usize, log: &Log) -> Self {
        Self::doing(wants, log, |_| Ok(()))
    }

    fn doing(
        wants: usize,
        log: &Log,
        on_filled: impl FnMut(&mut Context<'_>) -> Result<(), Failure> + 'static,
    ) -> Self {
        let on_filled = Box::new(on_filled);
        Self { log: log.clone(), buffer: vec![0; wants], filled: 0, asked: Rc::default(), on_filled }
    }

    fn note(&self, what: &str, bytes: &[u8]) {
        self.log.note(if bytes.len() > 20 {
            format!("{what} ({})", bytes.len())
        } else {
            format!("{what} {}", bytes.escape_ascii())
        });
    }
}

impl Protocol for Lender {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        self.note("data", input.take_all());
        cx.lend_read_buffer();
        Ok(())
    }

    fn read_buffer(&mut self) -> &mut [u8] {
        self.asked.set(self.asked.get() + 1);
        &mut self.buffer[self.filled..]
    }

    fn on_filled(&mut self, cx: &mut Context<'_>, count: usize) -> Result<(), Failure> {
        self.note("filled", &self.buffer[self.filled..self.filled + count]);
        self.filled += count;
        (self.on_filled)(cx)
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        self.note("eof", rest);
        cx.close();
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, _: Message) -> Result<(), Failure> {
        cx.resume_reading();
        Ok(())
    }

    fn on_timer(&mut self, _: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        Ok(())
    }
}

#[test]
fn what_is_lent_is_filled_and_what_follows_comes_with_the_same_read() {
    let log = Log::default();
    let mut harness = Harness::new(Lender::new(5, &log));
    for piece in ["a", "bc", "d", "efghi", "jk"] {
        harness.feed(piece.as_bytes());
    }
    assert_eq!(log.take(), ["data a", "filled bc", "filled d", "filled ef", "data ghi", "data jk"]);
    let counters = harness.core().counters();
    assert_eq!((counters.reads, counters.bytes_in), (5, 11), "a read each, of all that was there");
    assert_eq!(harness.peer().calls().0, 5, "and none that only finds nothing");
    assert_eq!(harness.core().held_bytes(), 0);
}

#[test]
fn who_lends_nothing_is_not_asked_again() {
    let log = Log::default();
    let lender = Lender::new(0, &log);
    let asked = Rc::clone(&lender.asked);
    let mut harness = Harness::new(lender);
    for piece in ["a", "b"] {
        harness.feed(piece.as_bytes());
    }
    assert_eq!((log.take(), asked.get()), (vec!["data a".to_owned(), "data b".to_owned()], 1));
    let switched_on = harness.with(|cx| cx.lend_read_buffer());
    assert!(switched_on.is_some());
    harness.feed(b"c");
    assert_eq!((log.take(), asked.get()), (vec!["data c".to_owned()], 2));
}

#[test]
fn a_read_is_no_longer_than_the_budget_and_the_rest_has_its_turn() {
    for read_budget in [1000, 2000] {
        let log = Log::default();
        let limits = Limits { read_budget, receive_buffer: 2000, ..Limits::default() };
        let mut harness = Harness::with_limits(Lender::new(2500, &log), limits);
        harness.feed(b"a");
        harness.feed(&[1; 2600]);
        let expected = match read_budget {
            1000 => vec!["data a", "filled (1000)", "filled (1000)", "filled (500)", "data (100)"],
            _ => vec!["data a", "filled (2000)", "filled (500)", "data (100)"],
        };
        assert_eq!(log.take(), expected);
    }
}

#[test]
fn an_interrupted_read_and_one_that_would_block_are_tried_again() {
    let log = Log::default();
    let mut harness = Harness::new(Lender::new(3, &log));
    harness.feed(b"a");
    harness.peer().interrupt(1);
    harness.peer().cut_reads([0, 1]);
    harness.feed(b"bcd");
    assert_eq!(log.take(), ["data a", "filled b", "filled cd"]);
}

#[test]
fn a_half_close_and_a_reset_are_heard_of() {
    let log = Log::default();
    let mut harness = Harness::new(Lender::new(5, &log));
    harness.feed(b"a");
    harness.feed_eof(b"bc");
    assert_eq!(log.take(), ["data a", "filled bc", "eof "]);
    assert_eq!(harness.close_reason().unwrap().to_string(), "closed by the peer");

    let mut harness = Harness::new(Lender::new(5, &log));
    harness.feed(b"a");
    harness.feed(b"b");
    harness.reset();
    assert_eq!(log.take(), ["data a", "filled b"]);
    assert!(harness.close_reason().unwrap().to_string().contains("reset"), "{:?}", harness.close_reason());
}

#[test]
fn pausing_there_keeps_what_followed_until_reading_goes_on() {
    let log = Log::default();
    let pauses = |cx: &mut Context<'_>| {
        cx.pause_reading();
        Ok(())
    };
    let mut harness = Harness::new(Lender::doing(2, &log, pauses));
    harness.feed(b"a");
    harness.feed(b"bcde");
    harness.feed(b"f");
    assert_eq!(log.take(), ["data a", "filled bc"]);
    assert!(harness.core().held_bytes() >= 2, "`de` is held and declared");
    harness.with(|cx| cx.resume_reading());
    assert_eq!(log.take(), ["data de", "data f"]);
    assert_eq!(harness.core().held_bytes(), 0);
}

#[test]
fn pausing_and_resuming_there_loses_nothing() {
    let log = Log::default();
    let pauses = |cx: &mut Context<'_>| {
        cx.pause_reading();
        cx.resume_reading();
        Ok(())
    };
    let mut harness = Harness::new(Lender::doing(2, &log, pauses));
    harness.feed(b"a");
    harness.feed(b"bcde");
    assert_eq!(log.take(), ["data a", "filled bc", "data de"]);
}

#[test]
fn what_is_left_unconsumed_goes_before() {
    struct Keeps(Lender);
    impl Protocol for Keeps {
        fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
            if input.len() >= 3 {
                return self.0.on_data(cx, input);
            }
            cx.lend_read_buffer();
            Ok(())
        }
        fn read_buffer(&mut self) -> &mut [u8] {
            self.0.read_buffer()
        }
        fn on_filled(&mut self, cx: &mut Context<'_>, count: usize) -> Result<(), Failure> {
            self.0.on_filled(cx, count)
        }
    }
    let log = Log::default();
    let mut harness = Harness::new(Keeps(Lender::new(2, &log)));
    for piece in ["a", "b", "c", "defg", "h", "i"] {
        harness.feed(piece.as_bytes());
    }
    assert_eq!(log.take(), ["data abc", "filled de", "data fgh"]);
}

#[test]
fn who_takes_over_is_offered_what_followed_and_lends_nothing_until_it_says_so() {
    let log = Log::default();
    let successor = Lender::new(10, &log);
    let asked = Rc::clone(&successor.asked);
    let mut successor = Some(successor);
    let switches = move |cx: &mut Context<'_>| {
        cx.switch_to(successor.take().unwrap());
        Ok(())
    };
    let mut harness = Harness::new(Lender::doing(4, &log, switches));
    harness.feed(b"a");
    harness.feed(b"b");
    assert_eq!((log.take(), asked.get()), (vec!["data a".to_owned(), "filled b".to_owned()], 0));
    harness.feed(b"c");
    assert_eq!((log.take(), asked.get()), (vec!["data c".to_owned()], 0), "by the ordinary way");
    harness.feed(b"d");
    assert_eq!((log.take(), asked.get()), (vec!["filled d".to_owned()], 1));

    let mut successor = Some(Spy::new("it", &log));
    let switches = move |cx: &mut Context<'_>| {
        cx.switch_to(successor.take().unwrap());
        Ok(())
    };
    let mut harness = Harness::new(Lender::doing(1, &log, switches));
    harness.feed(b"a");
    harness.feed(b"bcd");
    assert_eq!(log.take(), ["data a", "filled b", "it open", "it data cd"]);
}

#[test]
fn nothing_follows_a_failure_a_close_or_an_abort() {
    type Ends = fn(&mut Context<'_>) -> Result<(), Failure>;
    let ends: [(Ends, &str); 3] = [
        (|_| Err(Failure::peer("no")), "the peer broke the protocol: no"),
        (
            |cx| {
                cx.close();
                Ok(())
            },
            "closed by this side",
        ),
        (
            |cx| {
                cx.abort();
                Ok(())
            },
            "aborted by this side",
        ),
    ];
    for (end, reason) in ends {
        let log = Log::default();
        let lender = Lender::doing(2, &log, move |cx| {
            cx.send(b"last words");
            end(cx)
        });
        let asked = Rc::clone(&lender.asked);
        let mut harness = Harness::new(lender);
        harness.feed(b"a");
        harness.feed(b"bcd");
        harness.feed(b"efg");
        harness.eof();
        assert_eq!((log.take(), asked.get()), (vec!["data a".to_owned(), "filled bc".to_owned()], 1), "{reason}");
        assert!(harness.close_reason().unwrap().to_string().starts_with(reason), "{:?}", harness.close_reason());
        let heard = if reason.starts_with("abort") { &b""[..] } else { b"last words" };
        assert_eq!(harness.take_sent(), heard);
        assert_eq!(harness.core().held_bytes(), 0);
    }
}

#[test]
fn what_comes_while_it_closes_or_lingers_is_discarded() {
    let log = Log::default();
    let lender = Lender::new(100, &log);
    let asked = Rc::clone(&lender.asked);
    let mut harness = Harness::new(lender);
    harness.feed(b"a");
    harness.set_window(0);
    harness.with(|cx| {
        cx.send(b"waits");
        cx.close();
    });
    harness.feed(b"while it closes");
    harness.set_window(100);
    harness.feed(b"while it lingers");
    harness.eof();
    assert_eq!((log.take(), asked.get()), (vec!["data a".to_owned()], 0));
    assert_eq!(harness.core().counters().bytes_discarded, 31);
}

#[test]
fn inside_a_layer_and_on_a_session_it_comes_to_on_data() {
    struct Around;
    impl<P: Protocol> Layer<P> for Around {}
    let log = Log::default();
    let lender = Lender::new(5, &log);
    let asked = Rc::clone(&lender.asked);
    let mut harness = Harness::new(Layered::new(Around, lender));
    for piece in ["a", "bc"] {
        harness.feed(piece.as_bytes());
    }
    assert_eq!((log.take(), asked.get()), (vec!["data a".to_owned(), "data bc".to_owned()], 0));

    let lender = Lender::new(5, &log);
    let asked = Rc::clone(&lender.asked);
    let mut harness = SessionHarness::new(lender);
    for piece in ["a", "bc"] {
        harness.feed(piece.as_bytes());
    }
    assert_eq!((log.take(), asked.get()), (vec!["data a".to_owned(), "data bc".to_owned()], 0));
}

#[test]
fn it_proves_life_and_can_take_too_long() {
    let mut world = World::new();
    let stalls = Rc::<Cell<Option<Callback>>>::default();
    let found = Rc::clone(&stalls);
    let watchdog = Watchdog::new().threshold(millis(20));
    world.event_loop.set_watchdog(watchdog.report(move |stall| found.set(Some(stall.callback))));
    let (network, log) = (world.network.clone(), Log::default());
    world.listen(move || {
        let network = network.clone();
        Lender::doing(5, &Log::default(), move |_| {
            network.advance(millis(21));
            Ok(())
        })
    });
    let peer = world.peer();
    peer.send(b"a");
    world.settle();
    assert_eq!(stalls.take(), None);
    peer.send(b"b");
    world.settle();
    assert_eq!(stalls.take(), Some(Callback::Data));

    let mut harness = Harness::new(Lender::new(5, &log));
    harness.feed(b"a");
    harness.advance(millis(1000));
    harness.feed(b"b");
    let now = harness.now();
    assert_eq!(harness.with(|cx| cx.last_read()), Some(now));
}

#[test]
fn where_short_does_not_mean_drained_it_is_read_until_it_would_block() {
    let mut world = World::until_would_block();
    let log = Log::default();
    let of_them = log.clone();
    world.listen(move || Lender::new(5, &of_them));
    let peer = world.peer();
    for piece in ["a", "bcdefgh", "i"] {
        peer.send(piece.as_bytes());
        world.settle();
    }
    assert_eq!(log.take(), ["data a", "filled bcdef", "data gh", "data i"]);
}

#[test]
fn the_rest_that_is_there_is_read_in_the_same_visit_once() {
    let log = Log::default();
    let limits = Limits { read_budget: 1000, receive_buffer: 1000, ..Limits::default() };
    let mut world = World::with_limits(limits);
    let of_them = log.clone();
    world.listen(move || Lender::new(2500, &of_them));
    let peer = world.peer();
    peer.send(&[1; 3600]);
    let mut turns = Vec::new();
    while peer.unread() > 0 {
        world.turn();
        turns.push(log.take());
    }
    let expected = [vec!["data (1000)", "filled (1000)"], vec!["filled (1000)"], vec!["filled (500)", "data (100)"]];
    assert_eq!(turns, expected);
}
