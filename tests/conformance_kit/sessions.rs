//! The check of protocols on sessions: good ones pass, planted bugs are caught and named.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::{Operation, SessionCheck, check_session_conformance, fuzz_session};
use switchboard::{Context, Failure, Input, Layered, Protocol, TimerId, protocol_fn};
use switchboard_echo::TcpEcho;
use switchboard_heartbeat::{Config, Heartbeat, IdleTimeout, PingPong};

use crate::cipher::Cipher;
use crate::{assert_says, panic_of};

fn feeds(payloads: &[&str]) -> Vec<Operation> {
    payloads.iter().map(|payload| Operation::Feed(payload.as_bytes().to_vec())).collect()
}

/// What the check says of a protocol that does not pass, when it gets three datagrams.
#[track_caller]
fn complaint<P: Protocol>(protocol: impl Fn() -> P) -> String {
    let mut operations = feeds(&["one", "two", ""]);
    operations.insert(2, Operation::Advance(Duration::from_secs(10)));
    panic_of(|| check_session_conformance(protocol, operations).to_string())
}

#[test]
fn the_plug_ins_pass() {
    let echo = check_session_conformance(|| TcpEcho, feeds(&["one", "", "three\n", &"long ".repeat(200)]));
    assert_eq!((echo.input, echo.output), (1009, 1009));
    assert!(echo.runs > 30 && echo.callbacks > 1000, "{echo}");
    let mut operations = feeds(&["PING 1\n", "PING 2\nPING 3\n", "nonsense\n"]);
    operations.insert(1, Operation::Advance(Duration::from_secs(60)));
    let heartbeat = || Heartbeat::new(Config::default()).around(PingPong::default());
    check_session_conformance(heartbeat, operations.clone());
    check_session_conformance(|| IdleTimeout::new(Duration::from_secs(90)).around(heartbeat()), operations);
}

#[test]
fn a_layer_that_seals_passes_and_each_send_is_a_datagram() {
    let twice = || {
        Layered::new(
            Cipher::default(),
            protocol_fn(|cx, input| {
                let word = input.take_all().to_vec();
                cx.send(&word);
                cx.send(&word);
                Ok(())
            }),
        )
    };
    let done = check_session_conformance(twice, feeds(&["a", "bc"]));
    assert_eq!((done.input, done.output), (3, 6));
    let transcript = fuzz_session(twice, b"a");
    assert_eq!(transcript.entries().len(), 4, "{transcript}"); // in, two out, closed
}

#[test]
fn who_says_nothing_does_not_pass() {
    let silent = || {
        protocol_fn(|_, input| {
            input.take_all();
            Ok(())
        })
    };
    assert_says(&complaint(silent), &["does not conform", "nothing can be compared"]);
}

#[test]
fn who_counts_on_a_turn_for_each_datagram() {
    /// Answers by a timer without delay, which is set once for all that came in a turn.
    #[derive(Default)]
    struct Gathers(Option<TimerId>);
    impl Protocol for Gathers {
        fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
            input.take_all();
            self.0.get_or_insert_with(|| cx.set_timer(Duration::ZERO));
            Ok(())
        }
        fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
            self.0 = None;
            cx.send(b"something came");
            Ok(())
        }
    }
    assert_says(&complaint(Gathers::default), &["something else with datagrams that follow each other in one turn"]);
    let operations = feeds(&["one", "two"]);
    SessionCheck::new().batches_matter().conformance(Gathers::default, operations);
}

#[test]
fn who_depends_on_more_than_its_input() {
    let runs = Rc::new(Cell::new(0));
    let counting = || {
        let run = runs.replace(runs.get() + 1);
        protocol_fn(move |cx, input| {
            input.take_all();
            cx.send(format!("run {run}").as_bytes());
            Ok(())
        })
    };
    assert_says(&complaint(counting), &["something else with each datagram in a turn of its own", "run 0", "run 1"]);
}

#[test]
fn who_keeps_what_comes() {
    #[derive(Default)]
    struct Keeps(Vec<u8>);
    impl Protocol for Keeps {
        fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
            self.0.extend_from_slice(input.take_all());
            let _ = cx.hold(self.0.capacity());
            cx.send(b"kept");
            Ok(())
        }
    }
    assert_says(&complaint(Keeps::default), &["what `hold` answered was ignored", "a flood of datagrams"]);
}

#[test]
fn who_spins() {
    let spins = || {
        protocol_fn(|cx, input| {
            input.take_all();
            cx.send(b"x");
            cx.set_timer(Duration::ZERO);
            Ok(())
        })
    };
    check_session_conformance(spins, feeds(&["a", "b"])); // one timer each, which does nothing
    struct Spins;
    impl Protocol for Spins {
        fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
            input.take_all();
            cx.set_timer(Duration::ZERO);
            Ok(())
        }
        fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
            cx.set_timer(Duration::ZERO);
            Ok(())
        }
    }
    assert_says(&complaint(|| Spins), &["spins"]);
}

#[test]
fn who_panics_at_a_datagram_is_named_with_the_input() {
    let panics = || {
        protocol_fn(|_, input| {
            assert_ne!(input.take_all(), b"bad", "planted");
            Ok(())
        })
    };
    let said = panic_of(|| fuzz_session(panics, b"good\xf6fbad").to_string());
    assert_says(&said, &["planted", "to see it again", "good\\xf6fbad"]);
}
