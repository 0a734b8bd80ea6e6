//! What is inside a session: layers, and protocols that take over from one another.

use switchboard::{Failure, Inner, Layer, Layered, Protocol};

use super::*;
use crate::cipher::{self, Cipher};

/// Does nothing.
struct Glass;

impl<P: Protocol> Layer<P> for Glass {}

/// Seals each datagram with a frame of its own, so that borders that moved would show.
struct Frame;

impl<P: Protocol> Layer<P> for Frame {
    const SEALS: bool = true;

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        let plain = input.take_all();
        let [b'<', .., b'>'] = plain else { return Ok(()) };
        let end = plain.len() - 1;
        inner.feed(cx, &mut plain[1..end])
    }

    fn seal(&mut self, cx: &mut Context<'_>, plain: &mut [u8]) -> Result<(), Failure> {
        if let Some(buffer) = cx.send_buffer() {
            buffer.push(b'<');
            buffer.extend_from_slice(plain);
            buffer.push(b'>');
        }
        Ok(())
    }
}

/// Sends what it hears in three ways.
fn talker(log: &Log) -> Spy {
    Spy::new("it", log).on_data(|cx, input| {
        let word = input.take(input.len().min(3)).to_vec();
        cx.send(&word);
        cx.send_buffer().unwrap().extend_from_slice(b"writ");
        cx.send_buffer().unwrap().extend_from_slice(b"ten");
        cx.boundary();
        cx.send(b"");
        cx.send_buffer().unwrap().extend_from_slice(b"end");
        Ok(())
    })
}

fn texts(harness: &mut SessionHarness) -> Vec<String> {
    harness.take_sent().into_iter().map(|sent| String::from_utf8(sent).unwrap()).collect()
}

#[test]
fn layers_keep_the_borders_of_datagrams() {
    let log = Log::default();
    let mut harness = SessionHarness::new(Layered::new(Glass, Layered::new(Glass, talker(&log))));
    harness.feed(b"one and more");
    assert_eq!(texts(&mut harness), ["one", "written", "", "end"]);
    harness.feed(b"");
    assert_eq!(texts(&mut harness), ["", "written", "", "end"]);
    assert_eq!(log.take(), ["it open", "it data one and more", "it data "]);
    assert_eq!(harness.counters().bytes_discarded, 9);
}

#[test]
fn what_is_inside_ends_its_datagram_before_the_layer_goes_on() {
    struct Adds;
    impl<P: Protocol> Layer<P> for Adds {
        fn on_data(
            &mut self,
            cx: &mut Context<'_>,
            input: &mut Input<'_>,
            inner: &mut Inner<P>,
        ) -> Result<(), Failure> {
            inner.on_data(cx, input)?;
            cx.send_buffer().unwrap().extend_from_slice(b"added");
            Ok(())
        }
    }
    let spy = Spy::new("it", &Log::default()).on_data(|cx, input| {
        cx.send_buffer().unwrap().extend_from_slice(input.take_all());
        Ok(())
    });
    let mut harness = SessionHarness::new(Layered::new(Adds, spy));
    harness.feed(b"written");
    assert_eq!(texts(&mut harness), ["written", "added"]);
}

#[test]
fn a_layer_that_seals_makes_one_datagram_of_each() {
    let log = Log::default();
    let mut harness = SessionHarness::new(Layered::new(Glass, Layered::new(Frame, Layered::new(Frame, talker(&log)))));
    for _ in 0..2 {
        harness.feed(b"<<one and more>>");
        assert_eq!(texts(&mut harness), ["<<one>>", "<<written>>", "<<>>", "<<end>>"]);
    }
    harness.feed(b"<<>>");
    assert_eq!(texts(&mut harness), ["<<>>", "<<written>>", "<<>>", "<<end>>"]);
    assert_eq!(log.take(), ["it open", "it data one and more", "it data one and more", "it data "]);
    assert_eq!((harness.counters().bytes_discarded, harness.core().held_bytes()), (18, 0));
}

#[test]
fn what_a_layer_makes_while_reading_is_paused_is_dropped() {
    let log = Log::default();
    let spy = Spy::new("it", &log).on_data(|cx, input| {
        input.take(1);
        cx.pause_reading();
        Ok(())
    });
    // Two of the inner protocol's datagrams in one.
    struct Two;
    impl<P: Protocol> Layer<P> for Two {
        const SEALS: bool = true;
        fn on_data(
            &mut self,
            cx: &mut Context<'_>,
            input: &mut Input<'_>,
            inner: &mut Inner<P>,
        ) -> Result<(), Failure> {
            let plain = input.take_all();
            let (first, second) = plain.split_at_mut(2);
            inner.feed(cx, first)?;
            inner.feed(cx, second)
        }
    }
    let mut harness = SessionHarness::new(Layered::new(Two, spy));
    harness.feed(b"abcd");
    assert_eq!(log.take(), ["it open", "it data ab"]);
    harness.with(|cx| cx.resume_reading());
    assert_eq!(log.len(), 0, "nothing was kept");
    assert_eq!((harness.counters().bytes_discarded, harness.core().held_bytes()), (3, 0));
}

#[test]
fn a_stream_s_cipher_works_where_nothing_is_lost() {
    let mut harness = SessionHarness::new(Layered::new(Cipher::default(), TcpEcho));
    let (mut there, mut back) = (0, 0);
    for text in ["one", "", "three"] {
        let mut bytes = text.as_bytes().to_vec();
        cipher::apply(&mut there, &mut bytes);
        harness.feed(&bytes);
        let mut sent = harness.take_sent();
        assert_eq!(sent.len(), 1);
        cipher::apply(&mut back, &mut sent[0]);
        assert_eq!(sent[0], text.as_bytes());
    }
}

/// A session with a protocol in none, one or two layers, or one that seals.
fn in_layers(layers: usize, protocol: Spy) -> SessionHarness {
    match layers {
        0 => SessionHarness::new(protocol),
        1 => SessionHarness::new(Layered::new(Glass, protocol)),
        2 => SessionHarness::new(Layered::new(Glass, Layered::new(Glass, protocol))),
        _ => SessionHarness::new(Layered::new(Frame, protocol)),
    }
}

/// Takes a letter, then another protocol takes over.
fn switcher(log: &Log) -> Spy {
    let to = log.clone();
    Spy::new("old", log).on_data(move |cx, input| {
        input.take(1);
        cx.send(b"from old");
        cx.set_timer(millis(1));
        cx.switch_to(Spy::new("new", &to));
        Ok(())
    })
}

#[test]
fn who_takes_over_gets_the_rest_of_the_datagram() {
    let expected = [
        "old open",
        "old data abc",
        "old close: another protocol took over",
        "new open",
        "new data bc",
        "new data next",
    ];
    for layers in 0..4 {
        let log = Log::default();
        let framed = layers == 3;
        let mut harness = in_layers(layers, switcher(&log));
        harness.feed(if framed { b"<abc>" } else { b"abc" });
        harness.feed(if framed { b"<next>" } else { b"next" });
        harness.advance(millis(10)); // the old one's timer is gone
        assert_eq!(log.take(), expected, "{layers} layers");
        assert_eq!(texts(&mut harness), [if framed { "<from old>" } else { "from old" }]);
        assert_eq!((harness.counters().bytes_discarded, harness.core().held_bytes()), (0, 0));
    }
}

#[test]
fn who_takes_over_without_a_rest_is_not_offered_an_empty_datagram() {
    for layers in 0..4 {
        let log = Log::default();
        let mut harness = in_layers(layers, switcher(&log));
        harness.feed(if layers == 3 { b"<a>" } else { b"a" });
        assert_eq!(log.take()[2..], ["old close: another protocol took over", "new open"], "{layers} layers");
    }
}

#[test]
fn who_takes_over_while_the_loop_drains_is_told() {
    let log = Log::default();
    for layered in [false, true] {
        let to = log.clone();
        let spy = Spy::new("old", &log).on_shutdown(move |cx| {
            cx.switch_to(Spy::new("new", &to));
            Ok(())
        });
        let mut harness =
            if layered { SessionHarness::new(Layered::new(Glass, spy)) } else { SessionHarness::new(spy) };
        harness.shutdown(millis(1000));
        let end =
            ["old close: another protocol took over", "new open", "new shutdown", "new close: closed by this side"];
        assert_eq!(log.take()[2..], end, "layered: {layered}");
    }
}

#[test]
fn a_protocol_can_wrap_itself_in_a_layer() {
    let log = Log::default();
    let mut harness = SessionHarness::new(Spy::new("it", &log).on_data(|cx, input| {
        if input.take_all() == b"wrap" {
            cx.switch_with(|inner| Layered::new(Glass, inner).boxed());
        }
        Ok(())
    }));
    harness.feed(b"wrap");
    harness.feed(b"inside");
    assert_eq!(log.take(), ["it open", "it data wrap", "it open", "it data inside"]);
}

#[test]
fn switching_for_ever_is_a_limit() {
    struct Again;
    impl Protocol for Again {
        fn on_data(&mut self, cx: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
            cx.switch_to(Self);
            Ok(())
        }
    }
    let mut harness = SessionHarness::new(Again);
    harness.feed(b"go");
    assert!(matches!(harness.close_reason(), Some(CloseReason::Limit(_))), "{:?}", harness.close_reason());
}
