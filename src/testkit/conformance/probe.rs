//! The protocol that a layer is tried around.

use std::fmt;
use std::time::Duration;

use crate::testkit::note;
use crate::testkit::observed::Observed;
use crate::{CloseReason, Closing, Context, Failure, Input, Message, Protocol, TimerId};

/// What [`check_layer`](super::check_layer) puts inside a layer: a protocol that does what it is told and notes what
/// reaches it. To the layer it is a protocol like any other.
///
/// A layer that asks for more than a [`Protocol`] is given a type of its own by [`layer_probe!`](crate::layer_probe).
pub struct LayerProbe(Box<dyn Protocol>);

/// How long the timers of the probe take.
pub(super) const TIMER: Duration = Duration::from_secs(1);
/// What its notes begin with.
pub(super) const NOTE: &str = "the inner protocol";

impl LayerProbe {
    /// One that sends `fill` bytes at once where it is told to fill its room.
    pub(super) fn new(fill: usize) -> Self {
        Self(Box::new(Observed::new(Inspector { generation: 0, fill, resume: None }).0))
    }

    /// Behaves as `protocol`, which may be a layer around another probe.
    pub(super) fn of(protocol: impl Protocol) -> Self {
        Self(protocol.boxed())
    }
}

impl fmt::Debug for LayerProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerProbe").finish_non_exhaustive()
    }
}

crate::delegate_protocol!(LayerProbe);

/// Implements `Protocol` by what is in the field `0`.
#[doc(hidden)]
#[macro_export]
macro_rules! delegate_protocol {
    ($name:ident) => {
        impl $crate::Protocol for $name {
            fn on_open(&mut self, cx: &mut $crate::Context<'_>) -> Result<(), $crate::Failure> {
                self.0.on_open(cx)
            }

            fn on_data(
                &mut self,
                cx: &mut $crate::Context<'_>,
                input: &mut $crate::Input<'_>,
            ) -> Result<(), $crate::Failure> {
                self.0.on_data(cx, input)
            }

            fn read_buffer(&mut self) -> &mut [u8] {
                self.0.read_buffer()
            }

            fn on_filled(&mut self, cx: &mut $crate::Context<'_>, count: usize) -> Result<(), $crate::Failure> {
                self.0.on_filled(cx, count)
            }

            fn on_eof(
                &mut self,
                cx: &mut $crate::Context<'_>,
                rest: &mut $crate::Input<'_>,
            ) -> Result<(), $crate::Failure> {
                self.0.on_eof(cx, rest)
            }

            fn on_timer(
                &mut self,
                cx: &mut $crate::Context<'_>,
                timer: $crate::TimerId,
            ) -> Result<(), $crate::Failure> {
                self.0.on_timer(cx, timer)
            }

            fn on_drain(&mut self, cx: &mut $crate::Context<'_>) -> Result<(), $crate::Failure> {
                self.0.on_drain(cx)
            }

            fn on_message(
                &mut self,
                cx: &mut $crate::Context<'_>,
                message: $crate::Message,
            ) -> Result<(), $crate::Failure> {
                self.0.on_message(cx, message)
            }

            fn on_shutdown(&mut self, cx: &mut $crate::Context<'_>) -> Result<(), $crate::Failure> {
                self.0.on_shutdown(cx)
            }

            fn on_close(&mut self, cx: &mut $crate::Closing<'_>, reason: &$crate::CloseReason) {
                self.0.on_close(cx, reason);
            }
        }
    };
}

/// A type of one's own that is a [`LayerProbe`](crate::testkit::LayerProbe) in all it does: to implement on it what
/// a layer asks of its inner protocol beyond being one.
///
/// ```
/// use switchboard::testkit::{LayerProbe, Script, check_layer};
/// use switchboard::{Context, Layer, Layered, Protocol};
///
/// /// What the layer asks of its inner protocol.
/// trait Named: Protocol {
///     fn name(&self) -> String;
/// }
///
/// struct Label;
/// impl<P: Named> Layer<P> for Label {}
///
/// switchboard::layer_probe!(struct NamedProbe);
/// impl Named for NamedProbe {
///     fn name(&self) -> String {
///         "probe".to_owned()
///     }
/// }
///
/// check_layer(|probe| Layered::new(Label, NamedProbe(probe)), &Script::new());
/// ```
#[macro_export]
macro_rules! layer_probe {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident) => {
        $(#[$attribute])*
        $visibility struct $name($visibility $crate::testkit::LayerProbe);

        $crate::delegate_protocol!($name);
    };
}

/// Does what the lines it is sent say, and notes all that reaches it.
struct Inspector {
    /// How many have been switched before it.
    generation: u32,
    fill: usize,
    /// Resumes reading.
    resume: Option<TimerId>,
}

impl Inspector {
    /// No line is longer.
    const LONGEST: usize = 128;

    fn note(&self, event: &str) {
        note(format_args!("{NOTE} {}: {event}", self.generation));
    }

    /// Does what a line says. False if it is to be called for the next when something has happened.
    fn obey(&mut self, cx: &mut Context<'_>, line: &str) -> Result<bool, Failure> {
        self.note(&format!("on_data {line:?}"));
        match line.split_once(' ').unwrap_or((line, "")) {
            ("say", words) => cx.send(format!("{words}\n").as_bytes()),
            ("timer", _) => drop(cx.set_timer(TIMER)),
            ("fill", _) => {
                cx.send(&vec![b'.'; self.fill]);
                self.note(if cx.has_room() { "has_room says yes" } else { "has_room says no" });
                cx.pause_reading();
                return Ok(false);
            }
            ("pause", _) => {
                cx.pause_reading();
                self.resume = Some(cx.set_timer(TIMER));
                return Ok(false);
            }
            ("switch", _) => {
                cx.switch_to(Self { generation: self.generation + 1, resume: None, ..*self });
                return Ok(false);
            }
            ("wrap", _) => {
                cx.switch_with(|old| Box::new(LayerProbe(old)));
                return Ok(false);
            }
            ("finish", _) => cx.finish(),
            ("close", _) => {
                cx.close();
                return Ok(false);
            }
            ("abort", _) => {
                cx.abort();
                return Ok(false);
            }
            ("fail", _) => return Err(Failure::peer("told to fail")),
            _ => return Err(Failure::peer(format!("{line:?} is no command: the bytes have changed on their way"))),
        }
        Ok(true)
    }
}

impl Protocol for Inspector {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.note("on_open");
        cx.send(b"open\n");
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
            let line = String::from_utf8_lossy(&input.take(end + 1)[..end]).into_owned();
            if !self.obey(cx, &line)? {
                return Ok(());
            }
        }
        if input.len() > Self::LONGEST { Err(Failure::peer("a line without an end")) } else { Ok(()) }
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        self.note(&format!("on_eof, {:?} left", String::from_utf8_lossy(rest.take_all())));
        cx.send(b"eof\n");
        cx.finish();
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, timer: TimerId) -> Result<(), Failure> {
        self.note("on_timer");
        if self.resume.take_if(|resume| *resume == timer).is_some() {
            cx.resume_reading();
        } else {
            cx.send(b"timer\n");
        }
        Ok(())
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.note("on_drain");
        cx.send(b"drain\n");
        cx.resume_reading();
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, _: Message) -> Result<(), Failure> {
        self.note("on_message");
        cx.send(b"message\n");
        Ok(())
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.note("on_shutdown");
        cx.send(b"shutdown\n");
        cx.close();
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, reason: &CloseReason) {
        // How many bytes were unsent depends on what a layer made of them.
        let reason = match reason {
            CloseReason::Aborted { .. } => "aborted by this side".to_owned(),
            CloseReason::Io { error, .. } => format!("broke: {error}"),
            CloseReason::Shutdown { .. } => "cut off by the drain".to_owned(),
            reason => reason.to_string(),
        };
        self.note(&format!("on_close: {reason}"));
    }
}
