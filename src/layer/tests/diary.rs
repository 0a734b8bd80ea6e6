//! A protocol that writes down what it is told.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::{CloseReason, Closing, Context, Failure, Input, Message, Protocol, TimerId};

/// Writes down every callback, and answers lines: `echo X`, `switch`, `finish`, `close`, `fail`, `pause`, `timer`.
pub(super) struct Diary {
    name: &'static str,
    log: Log,
}

pub(super) type Log = Rc<RefCell<Vec<String>>>;

impl Diary {
    pub(super) fn new(name: &'static str, log: &Log) -> Self {
        Self { name, log: Rc::clone(log) }
    }

    fn note(&self, what: impl AsRef<str>) {
        self.log.borrow_mut().push(format!("{} {}", self.name, what.as_ref()));
    }
}

impl Protocol for Diary {
    fn on_open(&mut self, _: &mut Context<'_>) -> Result<(), Failure> {
        self.note("open");
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
            let line = String::from_utf8(input.take(end + 1)[..end].to_vec())?;
            self.note(&line);
            match line.split_once(' ').unwrap_or((&line, "")) {
                ("echo", rest) => cx.send(format!("{rest}\n").as_bytes()),
                ("switch", _) => {
                    cx.switch_to(Diary::new("second", &self.log));
                    return Ok(());
                }
                ("finish", _) => cx.finish(),
                ("close", _) => cx.close(),
                ("pause", _) => {
                    cx.pause_reading();
                    cx.set_timer(Duration::from_secs(1));
                    return Ok(());
                }
                ("timer", _) => {
                    cx.set_timer(Duration::from_secs(1));
                }
                _ => return Err(Failure::peer("a bad line")),
            }
        }
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        self.note(format!("eof {}", rest.len()));
        cx.close();
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        self.note("timer");
        cx.resume_reading();
        Ok(())
    }

    fn on_drain(&mut self, _: &mut Context<'_>) -> Result<(), Failure> {
        self.note("drain");
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        self.note("message");
        if let Message::Bytes(bytes) = message {
            cx.send(&bytes);
            cx.has_room();
        }
        Ok(())
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.note("shutdown");
        cx.send(b"bye\n");
        cx.close();
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, reason: &CloseReason) {
        self.note(format!("closed: {reason}"));
    }
}

pub(super) fn log() -> Log {
    Log::default()
}

pub(super) fn entries(log: &Log) -> Vec<String> {
    log.borrow().clone()
}
