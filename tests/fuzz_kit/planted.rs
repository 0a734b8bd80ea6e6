//! Protocols with one fault each.

use std::cell::Cell;
use std::time::Duration;

use switchboard::{Context, Failure, Input, Message, Protocol, TimerId, Truncated};

/// Answers each line, and has one fault.
pub(crate) struct Lines(pub(crate) Fault);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Panics when the line `bug!` comes in two pieces.
    PanicsOnTwoPieces,
    /// Throws away what is left of an incomplete line.
    LosesItsTail,
    /// Looks only at the first line of what arrives.
    FirstLineOnly,
    /// Says how often it was called.
    CountsItsCalls,
    /// Counts the lines of all connections there ever were.
    SharesACounter,
    /// Gives up reading when there is no room, and never goes on.
    ForgetsToResume,
    /// Sets a timer of no time at all, again and again, once `spin` was said.
    Spins,
    /// Keeps every line for ever, whatever `hold` answers.
    Hoards,
}

thread_local!(static LINES: Cell<u32> = const { Cell::new(0) });

impl Lines {
    fn answer(&self, cx: &mut Context<'_>, line: &[u8]) {
        match self.0 {
            Fault::Spins if line == b"spin\n" => drop(cx.set_timer(Duration::ZERO)),
            Fault::SharesACounter => {
                LINES.set(LINES.get() + 1);
                cx.send(format!("{}\n", LINES.get()).as_bytes());
            }
            _ => cx.send(line),
        }
    }
}

impl Protocol for Lines {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        if self.0 == Fault::CountsItsCalls {
            cx.send(b".");
        }
        while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
            if self.0 == Fault::ForgetsToResume && !cx.has_room() {
                cx.pause_reading();
                return Ok(());
            }
            let line = input.take(end + 1);
            self.answer(cx, line);
            if self.0 == Fault::FirstLineOnly {
                return Ok(());
            }
            if self.0 == Fault::Hoards {
                let _ = cx.hold(usize::MAX >> 1);
                let _ = cx.hold(3 << 20);
            }
        }
        assert!(self.0 != Fault::PanicsOnTwoPieces || !input.ends_with(b"bug"), "a line in two pieces");
        if self.0 == Fault::LosesItsTail {
            input.take_all();
        }
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        if !rest.is_empty() && self.0 != Fault::FirstLineOnly {
            return Err(Truncated { unconsumed: rest.len() }.into());
        }
        cx.close();
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        cx.set_timer(Duration::ZERO);
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        if let Message::Bytes(bytes) = message {
            cx.send_shared(bytes);
        }
        Ok(())
    }
}

/// Takes some bytes and pauses, with a timer of a second that is set again and again.
pub(crate) struct Ticking(pub(crate) Tick);

/// What the timer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tick {
    Nothing,
    Resume,
    Close,
    /// As `Close`, but it had paused because it was out of room, and did not go on when it was told `on_drain`.
    CloseThoughDrained,
}

impl Protocol for Ticking {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        input.take_all();
        if self.0 == Tick::CloseThoughDrained {
            cx.send(&[b'x'; 2000]);
            assert!(!cx.has_room(), "it waits for on_drain");
        }
        cx.pause_reading();
        cx.set_timer(Duration::from_secs(1));
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        match self.0 {
            Tick::Nothing => drop(cx.set_timer(Duration::from_secs(1))),
            Tick::Resume => cx.resume_reading(),
            Tick::Close | Tick::CloseThoughDrained => cx.close(),
        }
        Ok(())
    }
}
