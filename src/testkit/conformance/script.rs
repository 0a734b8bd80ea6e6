//! The conversation that a protocol is tried with.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use crate::testkit::trial::Trial;
use crate::{Limits, Message};

/// A conversation as the peer leads it, for [`check_conformance`](super::check_conformance) and
/// [`check_layer`](super::check_layer).
///
/// ```
/// use std::time::Duration;
/// use switchboard::testkit::Script;
///
/// let script = Script::new()
///     .send(b"ping 1\n")
///     .expect_sent(b"pong 1\n")
///     .advance(Duration::from_secs(5))
///     .send(b"quit\n");
/// ```
#[derive(Clone)]
pub struct Script {
    pub(super) steps: Vec<Step>,
    pub(super) pause: Duration,
    pub(super) limits: Limits,
    pub(super) measure: Option<Measure>,
    pub(super) encoding: Option<Encoding>,
}

/// One thing that happens.
#[derive(Clone)]
pub(super) enum Step {
    Send(Vec<u8>),
    Expect(Vec<u8>),
    Advance(Duration),
    Post(Rc<dyn Fn() -> Message>),
    Eof,
    Shutdown(Duration),
}

/// Tells how many bytes were allocated at the most, at one time, while a closure ran.
pub(super) type Measure = fn(&mut dyn FnMut()) -> usize;

/// Transforms a stream, piece by piece.
pub(super) type Transform = Box<dyn FnMut(&[u8]) -> Vec<u8>>;

/// How the peer's side of a layer transforms the bytes.
#[derive(Clone)]
pub(super) struct Encoding {
    pub(super) encode: Rc<dyn Fn() -> Transform>,
    pub(super) decode: Rc<dyn Fn() -> Transform>,
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

impl Script {
    /// An empty conversation.
    #[must_use]
    pub fn new() -> Self {
        let pause = Duration::from_millis(1);
        Self { steps: Vec::new(), pause, limits: Self::narrow_limits(), measure: None, encoding: None }
    }

    /// The limits that a protocol is tried with if the script names none: a `high_water` of 1 KiB,
    /// a `receive_buffer` of 256 KiB, a `send_buffer` of 1 MiB, a `loop_memory` of 2 MiB, a
    /// `write_stall` of a day.
    #[must_use]
    pub fn narrow_limits() -> Limits {
        Trial::limits()
    }

    /// The peer sends bytes. What is sent in several pieces without another step in between is one
    /// input, which is cut everywhere, also there.
    ///
    /// # Panics
    ///
    /// After [`eof`](Self::eof).
    #[must_use]
    pub fn send(mut self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        assert!(!self.steps.iter().any(|step| matches!(step, Step::Eof)), "the script sends after its own half-close");
        match self.steps.last_mut() {
            Some(Step::Send(before)) => before.extend_from_slice(bytes),
            _ if bytes.is_empty() => {}
            _ => self.steps.push(Step::Send(bytes.to_vec())),
        }
        self
    }

    /// Since this was last demanded the protocol must have sent exactly these bytes.
    #[must_use]
    pub fn expect_sent(self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref().to_vec();
        self.step(Step::Expect(bytes))
    }

    /// Time passes, and timers fire on the way.
    #[must_use]
    pub fn advance(self, by: Duration) -> Self {
        self.step(Step::Advance(by))
    }

    /// Somebody posts a message to the connection: what `message` makes, which is called for each run.
    #[must_use]
    pub fn post(self, message: impl Fn() -> Message + 'static) -> Self {
        self.step(Step::Post(Rc::new(message)))
    }

    /// The peer half-closes. (Without this it does so at the end.)
    #[must_use]
    pub fn eof(self) -> Self {
        self.step(Step::Eof)
    }

    /// The loop drains, and cuts off after `timeout` of the time that passes in later steps.
    #[must_use]
    pub fn shutdown(self, timeout: Duration) -> Self {
        self.step(Step::Shutdown(timeout))
    }

    /// The time between the pieces where an input is cut and pieces are sent with time in between:
    /// shorter than the protocol's own times divided by the bytes of an input. Default 1 ms; with
    /// [`Duration::ZERO`] no time passes.
    #[must_use]
    pub fn pause(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// Limits of the protocol's own: see [`narrow_limits`](Self::narrow_limits). A small `read_budget` keeps runs cheap.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Has memory be measured by the caller's counting allocator: `measure` runs the closure it is
    /// given and says how many bytes were allocated at the most, at one time, meanwhile. With the
    /// crate `allocation-counter` that is
    /// `|run| usize::try_from(allocation_counter::measure(run).bytes_max).unwrap()`.
    #[must_use]
    pub fn measure_memory(self, measure: fn(&mut dyn FnMut()) -> usize) -> Self {
        Self { measure: Some(measure), ..self }
    }

    /// What the peer does where a layer transforms the bytes: `encode` and `decode` make, for each
    /// run, what transforms the bytes that go to the layer, and those that come from it. Both are
    /// given the stream piece by piece. For [`check_layer`](super::check_layer) alone.
    #[must_use]
    pub fn encoding<E, D>(self, encode: impl Fn() -> E + 'static, decode: impl Fn() -> D + 'static) -> Self
    where
        E: FnMut(&[u8]) -> Vec<u8> + 'static,
        D: FnMut(&[u8]) -> Vec<u8> + 'static,
    {
        let encoding =
            Encoding { encode: Rc::new(move || Box::new(encode())), decode: Rc::new(move || Box::new(decode())) };
        Self { encoding: Some(encoding), ..self }
    }

    /// Bytes that the peer sends in all.
    pub(super) fn input_len(&self) -> usize {
        self.inputs().map(<[u8]>::len).sum()
    }

    /// What the peer sends, by step.
    pub(super) fn inputs(&self) -> impl Iterator<Item = &[u8]> {
        self.steps.iter().filter_map(|step| match step {
            Step::Send(bytes) => Some(&bytes[..]),
            _ => None,
        })
    }

    /// Another step, behind those that are there.
    pub(super) fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.steps).finish()
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(bytes) => write!(f, "send(b\"{}\")", bytes.escape_ascii()),
            Self::Expect(bytes) => write!(f, "expect_sent(b\"{}\")", bytes.escape_ascii()),
            Self::Advance(by) => write!(f, "advance({by:?})"),
            Self::Post(_) => f.write_str("post(..)"),
            Self::Eof => f.write_str("eof()"),
            Self::Shutdown(timeout) => write!(f, "shutdown({timeout:?})"),
        }
    }
}
