//! A protocol that writes down every callback.

use std::cell::RefCell;
use std::rc::Rc;

use switchboard::{CloseReason, Closing, Context, Failure, Input, Message, Protocol, TimerId};
use switchboard_heartbeat::Probe;

use crate::secs;

/// Writes down every callback.
pub(crate) struct Recorder(pub(crate) Rc<RefCell<Vec<String>>>);

impl Recorder {
    fn note(&self, what: impl Into<String>) {
        self.0.borrow_mut().push(what.into());
    }
}

impl Protocol for Recorder {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.note("open");
        cx.set_timer(secs(1));
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        self.note(format!("data {}", input.escape_ascii()));
        // It leaves its last byte, and fills the output.
        input.take(input.len() - 1);
        cx.send(&[b'x'; 200_000]);
        self.note(format!("room {}", cx.has_room()));
        Ok(())
    }

    fn on_eof(&mut self, _: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        self.note(format!("eof {}", rest.escape_ascii()));
        rest.take_all();
        Ok(())
    }

    fn on_timer(&mut self, _: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        self.note("timer");
        Ok(())
    }

    fn on_drain(&mut self, _: &mut Context<'_>) -> Result<(), Failure> {
        self.note("drain");
        Ok(())
    }

    fn on_message(&mut self, _: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        self.note(format!("message {:?}", message.downcast::<u32>()));
        Ok(())
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.note("shutdown");
        cx.close();
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, reason: &CloseReason) {
        self.note(format!("close {reason}"));
    }
}

impl Probe for Recorder {
    fn probe(&mut self, _: &mut Context<'_>, number: u32) -> Result<(), Failure> {
        self.note(format!("probe {number}"));
        Ok(())
    }
}
