//! What is wrong at the end: of the peer's input, or of the connection.

use switchboard::testkit::Script;
use switchboard::{Context, Failure, Input, Message, Protocol};

use super::{LINES, Planted, planted};
use crate::{answer_lines, assert_says, complaint};

/// Answers lines, and does something at the half-close.
fn at_the_end(on_eof: impl FnMut(&mut Context<'_>, &mut Input<'_>) -> Result<(), Failure> + 'static) -> Planted {
    let lines = planted(|cx, input| answer_lines(cx, input, |cx, line| cx.send(line)));
    Planted { on_eof: Some(Box::new(on_eof)), ..lines }
}

#[test]
fn a_panic_at_a_byte() {
    let said = complaint(
        || {
            at_the_end(|cx, rest| {
                assert!(rest.is_empty(), "no half lines, please");
                cx.close();
                Ok(())
            })
        },
        &Script::new().send(LINES),
    );
    let parts =
        ["Planted", "does not conform", "when the peer half-closed after 1 bytes of input (last callback: on_eof)"];
    assert_says(&said, &parts);
    assert_says(
        &said,
        &["no half lines, please", "delivery: each input in one piece, EOF after byte 1, in an event of its own"],
    );
}

#[test]
fn an_end_before_the_beginning() {
    struct Refusing;
    impl Protocol for Refusing {
        fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
            cx.send(b"not now\n");
            Err(Failure::caller("not with these limits"))
        }
        fn on_data(&mut self, _: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
            Ok(())
        }
    }
    let said = complaint(|| Refusing, &Script::new().send("hello"));
    assert_says(&said, &["it ends before the script's first input", "not with these limits"]);
}

#[test]
fn an_end_that_forgets_to_close_is_wound_up() {
    let done = switchboard::testkit::check_conformance(|| at_the_end(|_, _| Ok(())), &Script::new().send(LINES));
    println!("{done}");
}

#[test]
fn an_answer_that_takes_too_long_when_the_end_is_there_already() {
    /// Answers after two letters to itself, and at the half-close not at all.
    struct ByLetters;
    impl Protocol for ByLetters {
        fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
            input.take_all();
            let id = cx.id();
            let _ = cx.post(id, Message::user(2));
            Ok(())
        }
        fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
            let id = cx.id();
            match message.downcast::<i32>() {
                Ok(0) => cx.send(b"answer"),
                Ok(letters) => drop(cx.post(id, Message::user(letters - 1))),
                Err(_) => {}
            }
            Ok(())
        }
    }
    let said = complaint(|| ByLetters, &Script::new().send("?"));
    let parts = ["it sends something else", "expected: 6 bytes", "got:      0 bytes"];
    assert_says(&said, &parts);
    assert_says(&said, &["delivery: each input in one piece, EOF after byte 1, in the event of the bytes before it"]);
}

#[test]
fn an_end_that_comes_too_early_for_the_output() {
    let said = complaint(
        || {
            planted(|cx, input| {
                if cx.backlog() > 1 {
                    cx.abort(); // what waits is lost
                }
                cx.send(input.take_all());
                Ok(())
            })
        },
        &Script::new().send("1234"),
    );
    assert_says(
        &said,
        &["it sends something else", "expected: 4 bytes", "one byte at a time, the peer taking nothing"],
    );
}
