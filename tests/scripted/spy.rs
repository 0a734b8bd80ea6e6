//! A protocol that writes down what is called, and does what a test tells it to.

use std::cell::RefCell;
use std::rc::Rc;

use switchboard::{CloseReason, Closing, Context, Failure, Input, Message, Protocol, TimerId};

/// What happened, in order; shared by everything that notes into it.
#[derive(Clone, Default)]
pub(crate) struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.0.borrow_mut().push(what.into());
    }

    /// Takes what was noted since this was last called.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut())
    }

    /// How many notes are there now.
    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

type Callback = Box<dyn FnMut(&mut Context<'_>) -> Result<(), Failure>>;
type InputCallback = Box<dyn FnMut(&mut Context<'_>, &mut Input<'_>) -> Result<(), Failure>>;
type TimerCallback = Box<dyn FnMut(&mut Context<'_>, TimerId) -> Result<(), Failure>>;
type MessageCallback = Box<dyn FnMut(&mut Context<'_>, Message) -> Result<(), Failure>>;
type CloseCallback = Box<dyn FnMut(&mut Closing<'_>, &CloseReason)>;

/// Notes every call under its name. Where a test says nothing else it consumes all input and
/// otherwise does what [`Protocol`] does by default.
pub(crate) struct Spy {
    name: &'static str,
    log: Log,
    open: Option<Callback>,
    data: Option<InputCallback>,
    eof: Option<InputCallback>,
    timer: Option<TimerCallback>,
    drain: Option<Callback>,
    message: Option<MessageCallback>,
    shutdown: Option<Callback>,
    close: Option<CloseCallback>,
}

impl Spy {
    pub(crate) fn new(name: &'static str, log: &Log) -> Self {
        Self {
            name,
            log: log.clone(),
            open: None,
            data: None,
            eof: None,
            timer: None,
            drain: None,
            message: None,
            shutdown: None,
            close: None,
        }
    }

    pub(crate) fn on_open(mut self, f: impl FnMut(&mut Context<'_>) -> Result<(), Failure> + 'static) -> Self {
        self.open = Some(Box::new(f));
        self
    }

    pub(crate) fn on_data(
        mut self,
        f: impl FnMut(&mut Context<'_>, &mut Input<'_>) -> Result<(), Failure> + 'static,
    ) -> Self {
        self.data = Some(Box::new(f));
        self
    }

    pub(crate) fn on_eof(
        mut self,
        f: impl FnMut(&mut Context<'_>, &mut Input<'_>) -> Result<(), Failure> + 'static,
    ) -> Self {
        self.eof = Some(Box::new(f));
        self
    }

    pub(crate) fn on_timer(
        mut self,
        f: impl FnMut(&mut Context<'_>, TimerId) -> Result<(), Failure> + 'static,
    ) -> Self {
        self.timer = Some(Box::new(f));
        self
    }

    pub(crate) fn on_drain(mut self, f: impl FnMut(&mut Context<'_>) -> Result<(), Failure> + 'static) -> Self {
        self.drain = Some(Box::new(f));
        self
    }

    pub(crate) fn on_message(
        mut self,
        f: impl FnMut(&mut Context<'_>, Message) -> Result<(), Failure> + 'static,
    ) -> Self {
        self.message = Some(Box::new(f));
        self
    }

    pub(crate) fn on_shutdown(mut self, f: impl FnMut(&mut Context<'_>) -> Result<(), Failure> + 'static) -> Self {
        self.shutdown = Some(Box::new(f));
        self
    }

    pub(crate) fn on_close(mut self, f: impl FnMut(&mut Closing<'_>, &CloseReason) + 'static) -> Self {
        self.close = Some(Box::new(f));
        self
    }

    fn note(&self, what: &str) {
        self.log.note(format!("{} {what}", self.name));
    }
}

impl Protocol for Spy {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.note("open");
        self.open.as_mut().map_or(Ok(()), |f| f(cx))
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        self.note(&format!("data {}", summary(input)));
        match &mut self.data {
            Some(f) => f(cx, input),
            None => {
                input.take_all();
                Ok(())
            }
        }
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        self.note(format!("eof {}", summary(rest)).trim_end());
        match &mut self.eof {
            Some(f) => f(cx, rest),
            None => {
                rest.take_all();
                cx.close();
                Ok(())
            }
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, timer: TimerId) -> Result<(), Failure> {
        self.note("timer");
        self.timer.as_mut().map_or(Ok(()), |f| f(cx, timer))
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.note("drain");
        self.drain.as_mut().map_or(Ok(()), |f| f(cx))
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        match &message {
            Message::Bytes(bytes) => self.note(&format!("message {}", summary(bytes))),
            Message::Published(publication) => self.note(&format!("heard {}", summary(publication.payload()))),
            _ => self.note("message"),
        }
        self.message.as_mut().map_or(Ok(()), |f| f(cx, message))
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.note("shutdown");
        match &mut self.shutdown {
            Some(f) => f(cx),
            None => {
                cx.close();
                Ok(())
            }
        }
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, reason: &CloseReason) {
        self.note(&format!("close: {reason}"));
        if let Some(f) = &mut self.close {
            f(cx, reason);
        }
    }
}

/// Short input as text, long input as its length.
fn summary(bytes: &[u8]) -> String {
    if bytes.len() <= 32 { String::from_utf8_lossy(bytes).into_owned() } else { format!("({})", bytes.len()) }
}
