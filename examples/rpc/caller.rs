//! The client's side of a connection: sends calls, and hands each its reply, whenever that comes.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::mem;
use std::rc::Rc;

use serde_json::Value;
use switchboard::{CloseReason, Closing, Context, Failure, Input, Message, Protocol, Time, TimerId};
use thiserror::Error;

use super::wire::{LONGEST, Lines, Outcome, Reply, Request};

/// Why a call has no result.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum CallError {
    /// The other side has carried it out, or refused to.
    #[error("the call failed: {0}")]
    Failed(String),
    /// Whether it was carried out is unknown.
    #[error("no reply came in time")]
    TimedOut,
    /// Whether it was carried out is unknown.
    #[error("the connection was lost before the reply came")]
    Lost,
    /// It can be tried again whatever it does.
    #[error("it was not sent: there is no connection, or too many calls are under way")]
    NotSent,
    /// It can't ever be sent.
    #[error("it was not sent: it has more than {LONGEST} bytes")]
    TooLong,
}

pub(crate) type Outcomes = Box<dyn FnOnce(Result<Value, CallError>) + Send>;

/// A call on its way. One that is dropped, wherever that may be, tells so who waits for it.
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) params: Value,
    /// Whether it may be sent again, on another connection, where it is not known to have been carried out.
    pub(crate) idempotent: bool,
    pub(crate) deadline: Time,
    /// Whoever waits for the reply.
    then: Option<Outcomes>,
    sent: bool,
}

impl Call {
    /// A call without a deadline yet.
    pub(crate) fn new(method: String, params: Value, idempotent: bool, then: Outcomes) -> Self {
        Self { method, params, idempotent, deadline: Time::MAX, then: Some(then), sent: false }
    }

    fn end(mut self, result: Result<Value, CallError>) {
        if let Some(then) = self.then.take() {
            then(result);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(then) = self.then.take() {
            then(Err(if self.sent { CallError::Lost } else { CallError::NotSent }));
        }
    }
}

/// Calls that a connection has lost and that the next one makes again.
pub(crate) type Again = Rc<RefCell<VecDeque<Call>>>;

/// Behind the last call.
struct NoMore;

/// A connection on which calls are made: those [posted](switchboard::Core::post) to it.
pub(crate) struct Caller {
    lines: Lines,
    last: u64,
    waiting: BTreeMap<u64, (Call, TimerId)>,
    timers: HashMap<TimerId, u64>,
    /// How many calls may wait for a reply.
    most: usize,
    again: Again,
    ending: bool,
}

impl Caller {
    pub(crate) fn new(most: usize, again: &Again) -> Self {
        let (lines, again) = (Lines::default(), Rc::clone(again));
        Self { lines, last: 0, waiting: BTreeMap::new(), timers: HashMap::new(), most, again, ending: false }
    }

    fn send(&mut self, cx: &mut Context<'_>, mut call: Call) -> Result<(), Failure> {
        if call.deadline <= cx.now() {
            call.end(Err(CallError::TimedOut));
            return Ok(());
        }
        if self.waiting.len() >= self.most || self.ending {
            return Ok(()); // dropped, and so told
        }
        self.last += 1;
        let request = Request { id: self.last, method: mem::take(&mut call.method), params: call.params.take() };
        let mut line = serde_json::to_vec(&request)?;
        if line.len() > LONGEST {
            call.end(Err(CallError::TooLong));
            return Ok(());
        }
        line.push(b'\n');
        cx.send(&line);
        call.sent = true;
        if call.idempotent {
            (call.method, call.params) = (request.method, request.params);
        }
        let timer = cx.set_timer(call.deadline.saturating_since(cx.now()));
        self.timers.insert(timer, self.last);
        self.waiting.insert(self.last, (call, timer));
        Ok(())
    }

    fn end_if_idle(&self, cx: &mut Context<'_>) {
        if self.ending && self.waiting.is_empty() {
            cx.close();
        }
    }
}

impl Protocol for Caller {
    /// Makes the calls that the connection before has lost, while there is room.
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        while cx.has_room() {
            let Some(call) = self.again.borrow_mut().pop_front() else { break };
            self.send(cx, call)?;
        }
        Ok(())
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.on_open(cx)
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        match message.downcast() {
            Ok(call) => return self.send(cx, call),
            Err(message) => self.ending |= message.downcast().is_ok_and(|NoMore| true),
        }
        self.end_if_idle(cx);
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while let Some(line) = self.lines.next(input)? {
            let Reply { id, outcome } = serde_json::from_slice(line)?;
            let result = match outcome {
                _ if id.is_none() => return Err(Failure::peer(format!("a reply to no call: {outcome:?}"))),
                Outcome::Error(error) => Err(CallError::Failed(error)),
                Outcome::Result(value) => Ok(value),
            };
            // One that is not waited for comes too late: its time has passed.
            if let Some((call, timer)) = id.and_then(|id| self.waiting.remove(&id)) {
                cx.cancel_timer(timer);
                self.timers.remove(&timer);
                call.end(result);
            }
        }
        self.end_if_idle(cx);
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, timer: TimerId) -> Result<(), Failure> {
        if let Some((call, _)) = self.timers.remove(&timer).and_then(|id| self.waiting.remove(&id)) {
            call.end(Err(CallError::TimedOut));
        }
        self.end_if_idle(cx);
        Ok(())
    }

    /// Makes the calls that wait already, and waits for the replies that are owed.
    fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let id = cx.id();
        if cx.post(id, Message::user(NoMore)).is_err() {
            cx.close();
        }
        Ok(())
    }

    /// Also of an attempt that failed: calls whose time is over meanwhile end here.
    fn on_close(&mut self, cx: &mut Closing<'_>, _: &CloseReason) {
        let calls = mem::take(&mut self.waiting).into_values().map(|(call, _)| call);
        let mut again = mem::take(&mut *self.again.borrow_mut());
        again.extend(calls.filter(|call| call.idempotent)); // the others are dropped, and so told
        let (late, left): (VecDeque<_>, VecDeque<_>) = again.into_iter().partition(|call| call.deadline <= cx.now());
        *self.again.borrow_mut() = left;
        late.into_iter().for_each(|call| call.end(Err(CallError::TimedOut)));
    }
}
