//! Layers: those that let everything through pass, those that keep something are caught.

use std::time::Duration;

use switchboard::testkit::{LayerProbe, Script, check_layer};
use switchboard::{
    CloseReason, Closing, Context, Failure, Inner, Input, Layer, Layered, Message, Protocol, TimerId, delegate_protocol,
};

use crate::cipher::{self, Cipher};
use crate::{assert_says, most_allocated, panic_of};

/// The peer's side of a [`Cipher`], in either direction.
fn ciphered() -> impl FnMut(&[u8]) -> Vec<u8> {
    let mut position = 0;
    move |bytes| {
        let mut bytes = bytes.to_vec();
        cipher::apply(&mut position, &mut bytes);
        bytes
    }
}

/// Opens what it is around when the peer has said `HELLO`, and looks after itself each hour.
struct Hello;

const HELLO: &[u8] = b"HELLO\n";

impl<P: Protocol> Layer<P> for Hello {
    fn on_open(&mut self, cx: &mut Context<'_>, _: &mut Inner<P>) -> Result<(), Failure> {
        cx.set_timer(Duration::from_secs(3600));
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        if inner.is_open() {
            return inner.on_data(cx, input);
        }
        if input.len() < HELLO.len() {
            return Ok(());
        }
        if input.take(HELLO.len()) != HELLO {
            return Err(Failure::peer("no hello"));
        }
        cx.send(b"READY\n");
        inner.on_open(cx)?;
        inner.on_data(cx, input)
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId, _: &mut Inner<P>) -> Result<(), Failure> {
        cx.set_timer(Duration::from_secs(3600));
        Ok(())
    }
}

/// Does nothing.
struct Nothing;
impl<P: Protocol> Layer<P> for Nothing {}

#[test]
fn a_layer_that_does_nothing_passes() {
    println!("{}", check_layer(|probe| Layered::new(Nothing, probe), &Script::new().measure_memory(most_allocated)));
}

#[test]
fn a_layer_that_changes_every_byte_passes() {
    let script = Script::new().encoding(ciphered, ciphered);
    println!("{}", check_layer(|probe| Layered::new(Cipher::default(), probe), &script));
}

#[test]
fn a_layer_that_changes_bytes_otherwise_than_its_peer_is_caught() {
    let said = panic_of(|| check_layer(|probe| Layered::new(Cipher::default(), probe), &Script::new()).to_string());
    assert_says(&said, &["what the inner protocol sends does not reach the peer", "expected:", "\"open\\n"]);
}

#[test]
fn a_layer_with_a_handshake_passes() {
    let greeted = || |bytes: &[u8]| bytes.strip_prefix(b"READY\n").expect("the layer greets").to_vec();
    let script = Script::new().send(HELLO).encoding(|| <[u8]>::to_vec, greeted);
    println!("{}", check_layer(|probe| Layered::new(Hello, probe), &script));
}

/// What is said of a layer that keeps something from what it is around.
#[track_caller]
fn complaint<P: Protocol>(layered: impl Fn(LayerProbe) -> P) -> String {
    panic_of(|| check_layer(layered, &Script::new()).to_string())
}

/// A layer that overrides one callback and forgets what is inside.
macro_rules! forgetful {
    ($(#[$attribute:meta])* $name:ident, fn $callback:ident($($argument:ty),*)$( -> $returned:ty)?, $value:expr) => {
        #[test]
        fn $name() {
            struct Forgetful;
            impl<P: Protocol> Layer<P> for Forgetful {
                fn $callback(&mut self, $(_: $argument),*) $(-> $returned)? {
                    $value
                }
            }
            let said = complaint(|probe| Layered::new(Forgetful, probe));
            let what = stringify!($name).split_once("_is_").expect("the test says what").0;
            let head = format!("{what} does not reach the inner protocol as it would without the layer");
            assert_says(&said, &["Forgetful", &head, "with the layer around it"]);
        }
    };
}

type Done = Result<(), Failure>;

forgetful!(on_open_is_kept, fn on_open(&mut Context<'_>, &mut Inner<P>) -> Done, Ok(()));
forgetful!(on_data_is_kept, fn on_data(&mut Context<'_>, &mut Input<'_>, &mut Inner<P>) -> Done, Ok(()));
forgetful!(on_eof_is_kept, fn on_eof(&mut Context<'_>, &mut Input<'_>, &mut Inner<P>) -> Done, Ok(()));
forgetful!(on_drain_is_kept, fn on_drain(&mut Context<'_>, &mut Inner<P>) -> Done, Ok(()));
forgetful!(on_message_is_kept, fn on_message(&mut Context<'_>, Message, &mut Inner<P>) -> Done, Ok(()));
forgetful!(on_shutdown_is_kept, fn on_shutdown(&mut Context<'_>, &mut Inner<P>) -> Done, Ok(()));
forgetful!(on_close_is_kept_after_a_close_inside, fn on_inner_close(&mut Context<'_>), ());

#[test]
fn a_half_close_is_kept() {
    struct Forgetful;
    impl<P: Protocol> Layer<P> for Forgetful {
        fn on_inner_finish(&mut self, _: &mut Context<'_>) {}
    }
    let said = complaint(|probe| Layered::new(Forgetful, probe));
    assert_says(
        &said,
        &["on_close does not reach the inner protocol", "on_close: closed by the peer", "with the layer around it"],
    );
}

/// A wrapper written by hand, which passes everything on.
struct ByHand(LayerProbe);
delegate_protocol!(ByHand);

#[test]
fn a_wrapper_by_hand_passes() {
    println!("{}", check_layer(ByHand, &Script::new()));
}

#[test]
fn on_timer_and_on_close_are_kept_by_a_wrapper_by_hand() {
    /// It relies on the defaults.
    struct Careless<const TELLS_CLOSE: bool>(LayerProbe);
    impl<const TELLS_CLOSE: bool> Protocol for Careless<TELLS_CLOSE> {
        fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
            self.0.on_open(cx)
        }
        fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
            self.0.on_data(cx, input)
        }
        fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
            self.0.on_eof(cx, rest)
        }
        fn on_close(&mut self, cx: &mut Closing<'_>, reason: &CloseReason) {
            if TELLS_CLOSE {
                self.0.on_close(cx, reason);
            }
        }
    }
    let said = complaint(Careless::<true>);
    assert_says(&said, &["on_timer does not reach the inner protocol", "number 3: \"the inner protocol 0: on_timer\""]);
    let said = complaint(Careless::<false>);
    assert_says(
        &said,
        &[
            "on_close does not reach",
            "number 3: \"the inner protocol 0: on_close: closed by the peer\"",
            "nothing more",
        ],
    );
}

#[test]
fn bytes_are_lost_at_a_switch() {
    /// Keeps what its inner protocol leaves in a buffer of its own, with which it goes at a switch.
    struct Buffering(LayerProbe, Vec<u8>);
    impl Buffering {
        fn offer(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
            let mut input = Input::new(&mut self.1);
            let before = input.len();
            let result = self.0.on_data(cx, &mut input);
            let consumed = before - input.len();
            self.1.drain(..consumed);
            result
        }
    }
    impl Protocol for Buffering {
        fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
            self.0.on_open(cx)
        }
        fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
            self.1.extend_from_slice(input.take_all());
            self.offer(cx)
        }
        fn on_eof(&mut self, cx: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
            self.0.on_eof(cx, &mut Input::new(&mut self.1))
        }
        fn on_timer(&mut self, cx: &mut Context<'_>, timer: TimerId) -> Result<(), Failure> {
            self.0.on_timer(cx, timer)?;
            if cx.is_reading_paused() { Ok(()) } else { self.offer(cx) }
        }
        fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
            self.0.on_drain(cx)?;
            self.offer(cx)
        }
        fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
            self.0.on_message(cx, message)
        }
        fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
            self.0.on_shutdown(cx)
        }
        fn on_close(&mut self, cx: &mut Closing<'_>, reason: &CloseReason) {
            self.0.on_close(cx, reason);
        }
    }
    let said = complaint(|probe| Buffering(probe, Vec::new()));
    assert_says(&said, &["on_data does not reach the inner protocol", "(a switch)", "on_data \\\"say two\\\""]);
}

#[test]
fn on_close_and_on_open_come_twice() {
    struct Twice<const OPENS: bool>(LayerProbe);
    impl<const OPENS: bool> Protocol for Twice<OPENS> {
        fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
            self.0.on_open(cx)?;
            if OPENS { self.0.on_open(cx) } else { Ok(()) }
        }
        fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
            self.0.on_data(cx, input)
        }
        fn on_close(&mut self, cx: &mut Closing<'_>, reason: &CloseReason) {
            self.0.on_close(cx, reason);
            self.0.on_close(cx, reason);
        }
    }
    assert_says(
        &complaint(Twice::<true>),
        &["on_open was called on", "Inspector (open already): the fault of what calls it"],
    );
    assert_says(&complaint(Twice::<false>), &["on_close was called twice on", "Inspector: the fault of what calls it"]);
}
