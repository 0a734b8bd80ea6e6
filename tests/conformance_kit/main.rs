//! The conformance check itself: good protocols pass, planted bugs are caught and named.

#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

#[path = "../common/cipher.rs"]
mod cipher;
mod good;
mod layers;
mod planted;
mod plug_ins;
mod sessions;

use std::cell::RefCell;

use switchboard::testkit::{Script, check_conformance};
use switchboard::{Context, Failure, Input, Protocol, protocol_fn};

/// What the check says of a protocol that does not pass.
#[track_caller]
fn complaint<P: Protocol>(protocol: impl FnMut() -> P, script: &Script) -> String {
    panic_of(|| check_conformance(protocol, script).to_string())
}

/// What `f` panics with.
#[track_caller]
fn panic_of(f: impl FnOnce() -> String) -> String {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)) {
        Ok(passed) => panic!("the planted bug was not caught: {passed}"),
        Err(payload) => *payload.downcast().expect("a panic with words"),
    }
}

/// What the kit finds is printed once, with everything that is to be said of it.
#[test]
fn a_complaint_is_printed_once() {
    thread_local!(static PRINTED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) });
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let text = info.payload().downcast_ref::<String>().cloned().unwrap_or_default();
        PRINTED.with_borrow_mut(|printed| printed.push(text));
        before(info);
    }));
    let spins = || {
        protocol_fn(|cx, _| {
            cx.pause_reading();
            cx.resume_reading();
            Ok(())
        })
    };
    let said = complaint(spins, &Script::new().send("1"));
    assert_says(&said, &["does not conform", "spins", "delivery"]);
    assert_eq!(PRINTED.take(), [said]);
}

/// All of `parts` are in `text`, in this order.
#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is not in its place in:\n{text}"));
        rest = &rest[at + part.len()..];
    }
}

/// The most bytes that were allocated at one time while `run` ran.
fn most_allocated(run: &mut dyn FnMut()) -> usize {
    usize::try_from(allocation_counter::measure(run).bytes_max).unwrap()
}

/// Answers each line by itself, as the protocols that the bugs are planted in do.
fn answer_lines(
    cx: &mut Context<'_>,
    input: &mut Input<'_>,
    mut answer: impl FnMut(&mut Context<'_>, &[u8]),
) -> Result<(), Failure> {
    while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
        if !cx.has_room() {
            cx.pause_reading();
            return Ok(());
        }
        answer(cx, input.take(end + 1));
    }
    if input.len() > 1024 { Err(Failure::peer("a line without an end")) } else { Ok(()) }
}
