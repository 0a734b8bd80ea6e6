//! A client that says what it is told to, in one dialect or another, and knows what must come back.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use switchboard::{CloseReason, Closing, Context, Failure, Input, Message, Protocol};

/// What a client says and what it must hear.
pub(super) trait Dialect: 'static {
    /// What comes before all words.
    fn greet(&mut self, out: &mut Vec<u8>) {
        let _ = out;
    }

    /// Says a word.
    fn say(&mut self, word: &[u8], out: &mut Vec<u8>);

    /// Says that it is done. True: by a half-close, too.
    fn say_goodbye(&mut self, out: &mut Vec<u8>) -> bool {
        let _ = out;
        true
    }

    /// Hears what came, and consumes what it understands of it; what must be answered at once goes
    /// to `out`.
    ///
    /// # Panics
    ///
    /// If that is not what had to come.
    fn hear(&mut self, input: &mut Input<'_>, out: &mut Vec<u8>);

    /// Whether everything has come that had to.
    fn is_complete(&self) -> bool;
}

/// What becomes of a client; it is judged by that.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) dialect: &'static str,
    pub(super) opened: bool,
    pub(super) reasons: Vec<String>,
    /// It has said goodbye.
    pub(super) done: bool,
    /// Everything it waited for had come when the other side half-closed.
    pub(super) complete: bool,
    /// It was told that there is no room, and not yet that there is again.
    pub(super) awaits_drain: bool,
    pub(super) drains: u64,
}

/// What the world tells a client to do, by post.
#[derive(Debug)]
pub(super) enum Order {
    Say(Vec<u8>),
    Pause,
    Resume,
    Goodbye,
    Abort,
}

pub(super) struct Talker<D> {
    dialect: D,
    record: Rc<RefCell<Record>>,
    /// Words that found no room.
    waiting: VecDeque<Vec<u8>>,
}

impl<D: Dialect> Talker<D> {
    pub(super) fn new(dialect: D, record: Rc<RefCell<Record>>) -> Self {
        Self { dialect, record, waiting: VecDeque::new() }
    }

    fn talk(&mut self, cx: &mut Context<'_>) {
        let mut out = Vec::new();
        while !self.waiting.is_empty() {
            if !cx.has_room() {
                self.record.borrow_mut().awaits_drain = true;
                return;
            }
            if let Some(word) = self.waiting.pop_front() {
                self.dialect.say(&word, &mut out);
                cx.send(&out);
                out.clear();
            }
        }
        let done = self.record.borrow().done;
        if done {
            let half_close = self.dialect.say_goodbye(&mut out);
            cx.send(&out);
            if half_close {
                cx.finish();
            }
        }
    }
}

impl<D: Dialect> Protocol for Talker<D> {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let opened_before = std::mem::replace(&mut self.record.borrow_mut().opened, true);
        assert!(!opened_before, "on_open twice");
        let mut out = Vec::new();
        self.dialect.greet(&mut out);
        cx.send(&out);
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        let mut out = Vec::new();
        self.dialect.hear(input, &mut out);
        cx.send(&out);
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        let mut record = self.record.borrow_mut();
        record.complete = self.waiting.is_empty() && rest.is_empty() && self.dialect.is_complete();
        rest.take_all();
        cx.close();
        Ok(())
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let mut record = self.record.borrow_mut();
        assert!(record.awaits_drain, "a drain that nobody is owed");
        record.awaits_drain = false;
        record.drains += 1;
        drop(record);
        self.talk(cx);
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        let order = message.downcast::<Order>().expect("the world posts orders");
        let done = self.record.borrow().done;
        match order {
            Order::Say(word) if !done => self.waiting.push_back(word),
            Order::Goodbye if !done => self.record.borrow_mut().done = true,
            Order::Say(_) | Order::Goodbye => {}
            Order::Pause => cx.pause_reading(),
            Order::Resume => cx.resume_reading(),
            Order::Abort => cx.abort(),
        }
        let awaits_drain = self.record.borrow().awaits_drain;
        if !done && !awaits_drain {
            self.talk(cx);
        }
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, reason: &CloseReason) {
        let mut record = self.record.borrow_mut();
        record.awaits_drain = false;
        record.reasons.push(reason.to_string());
        assert_eq!(record.reasons.len(), 1, "on_close twice: {:?}", record.reasons);
    }
}
