//! Layers in a loop: what they keep for the protocol inside, and what they share with it.

use switchboard::testkit::Harness;
use switchboard::{Context, Failure, Inner, Input, Layer, Layered, Protocol};

use crate::spy::{Log, Spy};

/// Changes every byte to its complement, and holds a buffer of its own.
#[derive(Default)]
struct Complement {
    holds: usize,
}

fn complement(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = !*byte;
    }
}

fn complemented(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    complement(&mut bytes);
    bytes
}

impl<P: Protocol> Layer<P> for Complement {
    const SEALS: bool = true;

    fn on_open(&mut self, cx: &mut Context<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        cx.hold(self.holds)?;
        inner.on_open(cx)
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        let bytes = input.take_all();
        complement(bytes);
        inner.feed(cx, bytes)
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, _: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        inner.feed_eof(cx)
    }

    fn seal(&mut self, cx: &mut Context<'_>, plain: &mut [u8]) -> Result<(), Failure> {
        complement(plain);
        cx.send(plain);
        Ok(())
    }
}

#[test]
fn a_paused_protocol_inside_hears_nothing_until_it_resumes() {
    let log = Log::default();
    let spy = Spy::new("it", &log).on_data(|cx, input| {
        cx.send(input.take(1));
        cx.pause_reading();
        Ok(())
    });
    let mut harness = Harness::new(Layered::new(Complement::default(), spy));
    harness.peer().cut_reads([2, 2]);
    harness.peer().send(&complemented("abcd"));
    harness.settle();
    harness.eof();
    assert_eq!(log.take(), ["it open", "it data ab"]);
    for expected in ["it data b", "it data cd", "it data d"] {
        harness.with(|cx| cx.resume_reading());
        assert_eq!(log.take(), [expected]);
    }
    harness.with(|cx| cx.resume_reading());
    assert_eq!(log.take(), ["it eof", "it close: closed by the peer"]);
    assert_eq!(harness.take_sent(), complemented("abcd"));
    assert_eq!(harness.core().held_bytes(), 0);
}

#[test]
fn what_a_layer_holds_and_what_the_protocol_inside_holds_add_up() {
    let spy = Spy::new("it", &Log::default()).on_data(|cx, input| {
        let bytes = input.take_all().len() * 1000;
        cx.hold(bytes)?;
        Ok(())
    });
    let mut harness = Harness::new(Layered::new(Complement { holds: 500 }, spy));
    assert_eq!(harness.core().held_bytes(), 500);
    harness.feed(b"xx");
    assert_eq!(harness.core().held_bytes(), 2500, "the layer's 500 and the protocol's 2000");
    harness.reset();
    assert_eq!(harness.core().held_bytes(), 0);
}

#[test]
fn a_switch_inside_gives_back_what_the_old_protocol_held_and_leaves_the_layers() {
    let log = Log::default();
    let next = log.clone();
    let spy = Spy::new("old", &log).on_open(|cx| {
        cx.hold(2000)?;
        Ok(())
    });
    let spy = spy.on_message(move |cx, _| {
        cx.switch_to(Spy::new("new", &next));
        Ok(())
    });
    let mut harness = Harness::new(Layered::new(Complement { holds: 500 }, spy));
    assert_eq!(harness.core().held_bytes(), 2500);
    harness.post(switchboard::Message::user(())).unwrap();
    assert_eq!(harness.core().held_bytes(), 500);
}

#[test]
fn one_write_for_all_that_one_read_led_to_through_two_layers() {
    let echo = Spy::new("it", &Log::default()).on_data(|cx, input| {
        while !input.is_empty() {
            cx.send(input.take(1));
        }
        Ok(())
    });
    let layered = Layered::new(Complement::default(), Layered::new(Complement::default(), echo));
    let mut harness = Harness::new(layered);
    let before = harness.peer().calls();
    harness.feed(b"hello");
    assert_eq!(harness.take_sent(), b"hello");
    assert_eq!(harness.peer().calls(), (before.0 + 1, before.1 + 1));
}

/// Hands on each byte by itself, as a layer of records does that finds several in one read.
struct Records;

impl<P: Protocol> Layer<P> for Records {
    const SEALS: bool = true;

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        for byte in input.take_all().chunks_mut(1) {
            inner.feed(cx, byte)?;
        }
        Ok(())
    }
}

#[test]
fn who_pauses_at_one_record_does_not_hear_the_next_ones_of_the_same_read() {
    let log = Log::default();
    let spy = Spy::new("it", &log).on_data(|cx, input| {
        input.take(1);
        cx.pause_reading();
        Ok(())
    });
    let mut harness = Harness::new(Layered::new(Records, spy));
    harness.feed(b"abc");
    assert_eq!(log.take(), ["it open", "it data a"]);
    harness.with(|cx| cx.resume_reading());
    assert_eq!(log.take(), ["it data bc"]);
    harness.with(|cx| cx.resume_reading());
    assert_eq!(log.take(), ["it data c"]);
}
