use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::Limits;
use crate::testkit::Harness;

mod diary;

use diary::{Diary, Log, entries, log};

/// Leaves everything as it is.
struct Idle;

impl<P: Protocol> Layer<P> for Idle {}

/// Sends each byte as two hexadecimal digits, and says goodbye with a dot.
struct Hex;

impl<P: Protocol> Layer<P> for Hex {
    const SEALS: bool = true;

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        let whole = input.len() / 2 * 2;
        let digits = std::str::from_utf8(input.take(whole))?;
        let mut plain = (0..whole)
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16))
            .collect::<Result<Vec<_>, _>>()?;
        inner.feed(cx, &mut plain)
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        rest.take_all();
        inner.feed_eof(cx)
    }

    fn seal(&mut self, cx: &mut Context<'_>, plain: &mut [u8]) -> Result<(), Failure> {
        cx.send(&hex(plain));
        Ok(())
    }

    fn on_inner_close(&mut self, cx: &mut Context<'_>) {
        cx.send(b".");
        cx.close();
    }
}

fn hex(plain: &[u8]) -> Vec<u8> {
    plain.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

#[test]
fn an_idle_layer_passes_every_callback_on() {
    let log = log();
    let limits = Limits { high_water: 100, low_water: 10, ..Limits::default() };
    let mut harness = Harness::with_limits(Layered::new(Idle, Diary::new("inner", &log)), limits);
    harness.feed(b"timer\necho x\n");
    harness.advance(Duration::from_secs(1));
    harness.set_window(0);
    harness.post(Message::Bytes(vec![b'y'; 80].into())).expect("it is open");
    harness.set_window(1000);
    harness.shutdown(Duration::from_secs(1));
    let expected = ["open", "timer", "echo x", "timer", "message", "drain", "shutdown", "closed: closed by this side"];
    assert_eq!(entries(&log), expected.map(|entry| format!("inner {entry}")));
    assert_eq!(harness.take_sent(), [b"x\n".to_vec(), vec![b'y'; 80], b"bye\n".to_vec()].concat());
}

#[test]
fn layers_stack_and_half_close_passes_through() {
    let log = log();
    let mut harness = Harness::new(Layered::new(Idle, Layered::new(Hex, Layered::new(Idle, Diary::new("d", &log)))));
    harness.feed(&hex(b"echo one\nec"));
    harness.feed(&hex(b"ho two\nfinish\necho lost\n"));
    assert_eq!(harness.take_sent(), hex(b"one\ntwo\n"));
    assert!(harness.saw_eof() && harness.is_open());
    harness.eof();
    assert_eq!(entries(&log).last().map(String::as_str), Some("d closed: closed by this side"));
    assert_eq!(harness.core().counters().bytes_unsent, 6, "`lost`, its line end, and the goodbye");
}

#[test]
fn a_failure_inside_is_sealed_out_and_then_the_layer_says_goodbye() {
    let log = log();
    let mut harness = Harness::new(Layered::new(Hex, Diary::new("d", &log)));
    harness.feed(&hex(b"echo last words\nnonsense\n"));
    assert_eq!(harness.take_sent(), [hex(b"last words\n"), b".".to_vec()].concat());
    assert_eq!(
        harness.close_reason().map(ToString::to_string).as_deref(),
        Some("the peer broke the protocol: a bad line")
    );
}

#[test]
fn a_timer_belongs_to_the_depth_that_set_it() {
    struct Ticking(Log);
    impl<P: Protocol> Layer<P> for Ticking {
        fn on_open(&mut self, cx: &mut Context<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
            cx.set_timer(Duration::from_secs(2));
            inner.on_open(cx)
        }
        fn on_timer(&mut self, _: &mut Context<'_>, _: TimerId, _: &mut Inner<P>) -> Result<(), Failure> {
            self.0.borrow_mut().push("layer timer".into());
            Ok(())
        }
    }
    let log = log();
    let mut harness = Harness::new(Layered::new(Ticking(Rc::clone(&log)), Diary::new("d", &log)));
    harness.feed(b"timer\n");
    harness.advance(Duration::from_secs(3));
    assert_eq!(entries(&log), ["d open", "d timer", "d timer", "layer timer"]);
}

#[test]
fn pausing_holds_back_what_the_layer_has_made_already() {
    let log = log();
    let mut harness = Harness::new(Layered::new(Hex, Diary::new("d", &log)));
    harness.feed(&hex(b"pause\necho after\n"));
    harness.feed(&hex(b"echo later\n"));
    assert_eq!(entries(&log), ["d open", "d pause"]);
    harness.advance(Duration::from_secs(1));
    assert_eq!(entries(&log), ["d open", "d pause", "d timer", "d echo after", "d echo later"]);
    assert_eq!(harness.take_sent(), hex(b"after\nlater\n"));
    harness.feed_eof(b"");
    assert_eq!(harness.core().held_bytes(), 0, "what was kept inside is not charged any more");
}

/// A switch in mid-conversation, at every split point of the input, inside and outside of layers.
#[test]
fn a_switch_loses_nothing_at_any_split_point() {
    type Wrap = fn(Diary) -> Box<dyn Protocol>;
    type Encode = fn(&[u8]) -> Vec<u8>;
    let cases: [(Wrap, Encode); 4] = [
        (|diary| diary.boxed(), <[u8]>::to_vec),
        (|diary| Layered::new(Idle, diary).boxed(), <[u8]>::to_vec),
        (|diary| Layered::new(Hex, diary).boxed(), hex),
        (|diary| Layered::new(Idle, Layered::new(Hex, Layered::new(Idle, diary))).boxed(), hex),
    ];
    let script = b"echo a\nswitch\necho b\necho c\n";
    for (case, (wrap, encode)) in cases.into_iter().enumerate() {
        let wire = encode(script);
        for split in 0..=wire.len() {
            for eof_with_data in [false, true] {
                let log = log();
                let mut harness = Harness::new(wrap(Diary::new("first", &log)));
                harness.feed(&wire[..split]);
                if eof_with_data {
                    harness.feed_eof(&wire[split..]);
                } else {
                    harness.feed(&wire[split..]);
                    harness.eof();
                }
                let expected = [
                    "first open",
                    "first echo a",
                    "first switch",
                    "first closed: another protocol took over",
                    "second open",
                    "second echo b",
                    "second echo c",
                    "second eof 0",
                    "second closed: closed by the peer",
                ];
                assert_eq!(entries(&log), expected, "case {case} split at {split}, eof with data: {eof_with_data}");
                let sent = harness.take_sent();
                assert!(sent.starts_with(&encode(b"a\nb\nc\n")), "case {case} split at {split}: {sent:?}");
            }
        }
    }
}

#[test]
fn who_takes_over_is_told_of_an_eof_and_a_shutdown_that_were_told_before() {
    /// Answers nothing, and switches when a message comes.
    struct Late(Log);
    impl Protocol for Late {
        fn on_data(&mut self, _: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
            Ok(())
        }
        fn on_eof(&mut self, _: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
            Ok(())
        }
        fn on_shutdown(&mut self, _: &mut Context<'_>) -> Result<(), Failure> {
            Ok(())
        }
        fn on_message(&mut self, cx: &mut Context<'_>, _: Message) -> Result<(), Failure> {
            cx.switch_to(Diary::new("second", &self.0));
            Ok(())
        }
    }
    type Wrap = fn(Late) -> Box<dyn Protocol>;
    let wraps: [Wrap; 3] = [
        |late| late.boxed(),
        |late| Layered::new(Idle, late).boxed(),
        |late| Layered::new(Idle, Layered::new(Idle, late)).boxed(),
    ];
    for wrap in wraps {
        let log = log();
        let mut harness = Harness::new(wrap(Late(Rc::clone(&log))));
        harness.feed_eof(b"echo x\nrest");
        harness.post(Message::user(())).expect("it is open");
        assert_eq!(entries(&log)[..3], ["second open", "second echo x", "second eof 4"]);

        let log = self::log();
        let mut harness = Harness::new(wrap(Late(Rc::clone(&log))));
        harness.feed(b"echo x\n");
        harness.shutdown(Duration::from_secs(1));
        harness.post(Message::user(())).expect("it is open");
        assert_eq!(entries(&log)[..3], ["second open", "second echo x", "second shutdown"]);
    }
}

#[test]
fn switching_for_ever_ends_with_a_limit() {
    struct Restless;
    impl Protocol for Restless {
        fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
            cx.switch_to(Restless);
            Ok(())
        }
        fn on_data(&mut self, _: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
            Ok(())
        }
    }
    let mut harness = Harness::new(Restless);
    assert!(harness.close_reason().map(ToString::to_string).is_some_and(|reason| reason.contains("switched 16 times")));
    let mut harness = Harness::new(Layered::new(Idle, Restless));
    assert!(harness.close_reason().map(ToString::to_string).is_some_and(|reason| reason.contains("switched 16 times")));
}

#[test]
fn a_protocol_can_put_a_layer_around_itself() {
    struct StartHex(Log);
    impl Protocol for StartHex {
        fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
            if input.starts_with(b"hex\n") {
                input.take(4);
                let log = Rc::clone(&self.0);
                cx.send(b"ok\n");
                cx.switch_with(move |_plain| Layered::new(Hex, Diary::new("sealed", &log)).boxed());
            }
            Ok(())
        }
    }
    let log = log();
    let mut harness = Harness::new(StartHex(Rc::clone(&log)));
    harness.feed(&[b"hex\n".to_vec(), hex(b"echo x\n")].concat());
    assert_eq!(harness.take_sent(), [b"ok\n".to_vec(), hex(b"x\n")].concat());
    assert_eq!(entries(&log), ["sealed open", "sealed echo x"]);
}

/// A layer with a handshake: nothing reaches the inner protocol before `!` has come.
struct Knock(bool);

impl<P: Protocol> Layer<P> for Knock {
    const SEALS: bool = true;

    fn on_open(&mut self, _: &mut Context<'_>, _: &mut Inner<P>) -> Result<(), Failure> {
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        if !self.0 && input.first() == Some(&b'!') {
            input.take(1);
            self.0 = true;
            inner.on_open(cx)?;
        }
        inner.feed(cx, input.take_all())
    }
}

#[test]
fn messages_wait_for_the_handshake_of_a_layer() {
    let log = log();
    let mut harness = Harness::new(Layered::new(Knock(false), Diary::new("d", &log)));
    harness.post(Message::user(1)).expect("it is open");
    assert_eq!(entries(&log), [""; 0]);
    harness.feed(b"!echo x\n");
    assert_eq!(entries(&log), ["d open", "d message", "d echo x"]);
    assert_eq!(harness.take_sent(), b"x\n");
}

#[test]
fn what_is_left_is_not_offered_twice_for_the_same_bytes() {
    /// Takes lines, and counts how often it is called.
    struct Lines(Rc<RefCell<u32>>);
    impl Protocol for Lines {
        fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
            *self.0.borrow_mut() += 1;
            while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
                input.take(end + 1);
            }
            Ok(())
        }
    }
    let calls = Rc::default();
    let mut harness = Harness::new(Layered::new(Hex, Layered::new(Idle, Lines(Rc::clone(&calls)))));
    for (fed, expected) in [(&b"in"[..], 1), (b"comp", 2), (b"lete\nbut", 3), (b"\n", 4)] {
        harness.feed(&hex(fed));
        assert_eq!(*calls.borrow(), expected, "one call for each arrival");
    }
}

#[test]
fn a_layers_own_end_of_file_waits_while_the_protocol_inside_has_paused() {
    /// `#` is the end of what the peer says.
    struct UntilHash;
    impl<P: Protocol> Layer<P> for UntilHash {
        const SEALS: bool = true;
        fn on_data(
            &mut self,
            cx: &mut Context<'_>,
            input: &mut Input<'_>,
            inner: &mut Inner<P>,
        ) -> Result<(), Failure> {
            let Some(end) = input.iter().position(|&byte| byte == b'#') else {
                return inner.feed(cx, input.take_all());
            };
            inner.feed(cx, input.take(end))?;
            input.take_all();
            inner.feed_eof(cx)
        }
    }
    let log = log();
    let mut harness = Harness::new(Layered::new(UntilHash, Diary::new("d", &log)));
    harness.feed(b"pause\necho after\nrest#");
    assert_eq!(entries(&log), ["d open", "d pause"]);
    harness.advance(Duration::from_secs(1));
    assert_eq!(entries(&log)[2..5], ["d timer", "d echo after", "d eof 4"]);
    assert_eq!(harness.take_sent(), b"after\n");
    assert_eq!(harness.core().held_bytes(), 0);
}

#[test]
fn messages_that_waited_in_vain_are_counted() {
    let log = log();
    let mut harness = Harness::new(Layered::new(Knock(false), Diary::new("d", &log)));
    harness.post(Message::user(1)).expect("it is open");
    harness.post(Message::user(2)).expect("it is open");
    harness.reset();
    assert_eq!(harness.core().counters().messages_undelivered, 2);
}

#[test]
fn a_drain_before_the_handshake_just_closes() {
    let log = log();
    let mut harness = Harness::new(Layered::new(Knock(false), Diary::new("d", &log)));
    harness.shutdown(Duration::from_secs(1));
    assert_eq!(entries(&log), ["d closed: closed by this side"]);
}
