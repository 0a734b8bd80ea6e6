//! Protocols with a bug of each kind: each is caught, and what is said helps to find it.

use std::time::Duration;

use switchboard::testkit::{Script, note};
use switchboard::{CloseReason, Closing, Context, Failure, Input, Limits, Protocol, TimerId};

use crate::good::{Records, records};
use crate::{answer_lines, assert_says, complaint, most_allocated};

mod ends;

type OnInput = Box<dyn FnMut(&mut Context<'_>, &mut Input<'_>) -> Result<(), Failure>>;

/// A protocol made of what it does with its input, when a half-close comes, and when its output has drained.
struct Planted {
    on_data: OnInput,
    on_eof: Option<OnInput>,
    on_drain: fn(&mut Context<'_>),
}

fn planted(on_data: impl FnMut(&mut Context<'_>, &mut Input<'_>) -> Result<(), Failure> + 'static) -> Planted {
    Planted { on_data: Box::new(on_data), on_eof: None, on_drain: |cx| cx.resume_reading() }
}

impl Protocol for Planted {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        (self.on_data)(cx, input)
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        match &mut self.on_eof {
            Some(on_eof) => on_eof(cx, rest),
            None => {
                cx.close();
                Ok(())
            }
        }
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        (self.on_drain)(cx);
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, _: &CloseReason) {
        note("that was all");
    }
}

const LINES: &str = "first line\nsecond line\n";

#[test]
fn the_tail_lost_at_a_chunk_border() {
    let said = complaint(
        || {
            planted(|cx, input| {
                for line in input.take_all().split_inclusive(|&byte| byte == b'\n') {
                    if line.ends_with(b"\n") {
                        cx.send(line);
                    } // else it is lost
                }
                Ok(())
            })
        },
        &Script::new().send(LINES),
    );
    let expected = [
        "it sends something else",
        "expected: 23 bytes",
        "got:      2 bytes: \"\\n\\n\"",
        "after byte 0",
        "one byte at a time",
    ];
    assert_says(&said, &expected);
}

#[test]
fn an_answer_given_twice() {
    let said = complaint(
        || {
            let mut looked_at = 0;
            planted(move |cx, input| {
                if looked_at > 0 && input.len() > 11 && looked_at < 11 {
                    cx.send(b"first line\n"); // it sees the rest of a line, and answers it once more
                }
                looked_at = input.len();
                answer_lines(cx, input, |cx, line| cx.send(line))
            })
        },
        &Script::new().send(LINES).expect_sent(LINES),
    );
    let parts =
        ["it sends something else", "expected: 23 bytes", "got:      34 bytes", "delivery: the input cut after byte 1"];
    assert_says(&said, &parts);
}

#[test]
fn an_answer_that_is_not_what_the_script_expects() {
    let said = complaint(
        || planted(|cx, input| answer_lines(cx, input, |cx, line| cx.send(&line.to_ascii_uppercase()))),
        &Script::new().send(LINES).expect_sent(LINES),
    );
    let parts =
        ["not send what the script expects after byte 23", "\"first line\\n", "\"FIRST LINE\\n", "after byte 0"];
    assert_says(&said, &parts);
}

#[test]
fn an_understanding_that_depends_on_the_cut() {
    let said = complaint(
        || {
            planted(|_, input| {
                note(format_args!("{} bytes", input.take_all().len()));
                Ok(())
            })
        },
        &Script::new().send("123"),
    );
    assert_says(
        &said,
        &["it notes something else", "2 notes, of which number 1: \"3 bytes\"", "\"1 bytes\"", "one byte at a time"],
    );
}

#[test]
fn an_answer_that_depends_on_when_the_bytes_came() {
    let said = complaint(
        || {
            let mut last = None;
            planted(move |cx, input| {
                let before = last.replace(cx.now()).unwrap_or(cx.now());
                cx.send(if cx.now() == before {
                    input.take_all()
                } else {
                    input.take_all();
                    b"late"
                });
                Ok(())
            })
        },
        &Script::new().send("123"),
    );
    assert_says(&said, &["it sends something else", "one byte at a time, time passing between the pieces"]);
}

#[test]
fn pausing_and_resuming_without_progress() {
    let said = complaint(
        || {
            planted(|cx, input| {
                if input.len() < 5 {
                    cx.pause_reading();
                    cx.resume_reading();
                } else {
                    cx.send(input.take_all());
                }
                Ok(())
            })
        },
        &Script::new().send("12345"),
    );
    assert_says(
        &said,
        &["after 1 bytes of input (last callback: on_data)", "spins", "on_data, on_data", "one byte at a time"],
    );
}

/// A timer that is set again at once, for ever.
struct Ticking(Duration);

impl Protocol for Ticking {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.set_timer(self.0);
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        cx.send(input.take_all());
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        cx.set_timer(self.0);
        Ok(())
    }
}

#[test]
fn a_timer_without_time() {
    let said = complaint(|| Ticking(Duration::ZERO), &Script::new().send("1"));
    assert_says(&said, &["it was opened after 0 bytes", "spins", "on_timer, on_timer"]);
    let said = complaint(|| Ticking(Duration::from_nanos(10)), &Script::new().send("1"));
    assert_says(&said, &["time passed", "spins", "on_timer, on_timer", "silence after byte 0"]);
}

#[test]
fn growth_in_memory_of_its_own() {
    let said = complaint(
        || {
            let mut hoard = Vec::new();
            planted(move |_, input| {
                hoard.extend_from_slice(input.take_all());
                Ok(())
            })
        },
        &Script::new().send("hoarded").measure_memory(most_allocated),
    );
    assert_says(&said, &["it grows without bound", "a flood of \"hoarded\" by a peer that reads"]);
}

#[test]
fn growth_that_is_declared_and_goes_on() {
    let said = complaint(
        || {
            let mut held = 0;
            planted(move |cx, input| {
                held += input.take_all().len();
                let _ = cx.hold(held);
                Ok(())
            })
        },
        &Script::new().send("held"),
    );
    assert_says(&said, &["goes on after on_data although the loop now holds", "a flood of \"held\""]);
}

#[test]
fn growth_that_is_declared_and_fails_in_time_is_no_fault() {
    let mut held = 0;
    let protocol = move || {
        planted(move |cx, input| {
            held += input.take_all().len();
            cx.hold(held)?;
            Ok(())
        })
    };
    switchboard::testkit::check_conformance(protocol, &Script::new().send("held"));
}

/// The loop has no memory left for a long message before `hold` comes to say so: what it would have answered is ignored
/// all the same.
#[test]
fn growth_that_is_declared_and_never_refused() {
    let protocol = |heeds: bool| {
        let mut held = 0;
        planted(move |cx, input| {
            while let Some(length) = input.first().map(|&byte| if byte == b'm' { 300 } else { 1 }) {
                if input.len() < length {
                    break;
                }
                if *input.take(length) == *b"k" {
                    held += 16;
                    cx.send(b"kept\n");
                    let answer = cx.hold(held);
                    if heeds {
                        answer?;
                    }
                }
            }
            Ok(())
        })
    };
    let limits = Limits { read_budget: 64, receive_buffer: 1 << 14, loop_memory: 1 << 15, ..Script::narrow_limits() };
    let script = Script::new().send("m".repeat(300) + "k").limits(limits);
    let said = complaint(|| protocol(false), &script);
    assert_says(&said, &["what `hold` answered was ignored", "mmm\" by a peer", "others hold all the memory"]);
    switchboard::testkit::check_conformance(|| protocol(true), &script);
}

#[test]
fn room_that_is_not_asked_for() {
    let said = complaint(
        || {
            planted(|cx, input| {
                input.take_all().iter().for_each(|_| cx.send(&[b'x'; 512]));
                Ok(())
            })
        },
        &Script::new().send("much"),
    );
    let parts = ["it goes on sending although has_room() says no", "a flood of \"much\" by a peer that does not read"];
    assert_says(&said, &parts);
}

#[test]
fn a_drain_that_nobody_waits_for_stalls_the_conversation() {
    let said = complaint(
        || {
            // In small pieces, which wait for the end of the callback.
            let stalling =
                planted(|cx, input| answer_lines(cx, input, |cx, _| [[b'x'; 1000]; 9].iter().for_each(|x| cx.send(x))));
            Planted { on_drain: |_| {}, ..stalling } // reading is never resumed
        },
        &Script::new().send("1\n2\n3\n"),
    );
    assert_says(
        &said,
        &["it sends something else", "expected: 9000 bytes", "got:      27000 bytes", "one byte at a time"],
    );
}

/// Whoever counts what was read straight into its buffer otherwise than what came to `on_data`.
#[test]
fn an_answer_that_depends_on_where_the_bytes_were_read_to() {
    let said = complaint(Records::miscounting, &records());
    assert_says(&said, &["does not conform", "delivery: the input"]);
}
