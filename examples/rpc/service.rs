//! The server's side of a connection: carries out requests and answers each when it is done.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use switchboard::{Context, Failure, Input, Protocol, TimerId, Truncated};

use super::wire::{Lines, Outcome, Reply, Request};

/// The methods `add`, `echo`, `sleep` and `fail`.
pub(crate) struct Service {
    lines: Lines,
    /// Answers that are sent later, by the timer that says when.
    sleeping: HashMap<TimerId, Vec<u8>>,
    /// How many those may be.
    most: usize,
    /// Bytes of them: declared, so that they count against the loop's memory.
    held: usize,
    /// No more requests come: it closes when all are answered.
    ending: bool,
}

/// How long `sleep` may take at most.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

impl Service {
    /// At most `most` requests of a connection are under way.
    pub(crate) fn new(most: usize) -> Self {
        Self { lines: Lines::default(), sleeping: HashMap::new(), most, held: 0, ending: false }
    }

    /// Answers a request, now or by a timer.
    fn take(&mut self, cx: &mut Context<'_>, Request { id, method, params }: Request) -> Result<(), Failure> {
        let result = match &*method {
            "add" => add(params),
            "echo" => Ok(params),
            "fail" => Err(params.as_str().unwrap_or("it was asked to fail").to_owned()),
            "sleep" if self.sleeping.len() >= self.most => Err("too many requests are under way".to_owned()),
            "sleep" => match serde_json::from_value::<(u64, Value)>(params) {
                Ok((millis, value)) => {
                    let timer = cx.set_timer(Duration::from_millis(millis).min(LONGEST_SLEEP));
                    let line = encoded(Some(id), Outcome::Result(value));
                    self.held += line.len();
                    self.sleeping.insert(timer, line);
                    return Ok(cx.hold(self.held)?);
                }
                Err(error) => Err(format!("sleep takes [milliseconds, what to answer]: {error}")),
            },
            _ => Err(format!("there is no method {method:?}")),
        };
        cx.send(&encoded(Some(id), result.map_or_else(Outcome::Error, Outcome::Result)));
        Ok(())
    }

    fn end_if_idle(&self, cx: &mut Context<'_>) {
        if self.ending && self.sleeping.is_empty() {
            cx.close();
        }
    }
}

fn add(params: Value) -> Result<Value, String> {
    let numbers: Vec<i64> = serde_json::from_value(params).map_err(|error| format!("add takes integers: {error}"))?;
    let sum = numbers.into_iter().try_fold(0_i64, i64::checked_add);
    sum.map(Value::from).ok_or_else(|| "the sum is too large".to_owned())
}

fn encoded(id: Option<u64>, outcome: Outcome) -> Vec<u8> {
    let mut line = serde_json::to_vec(&Reply { id, outcome }).unwrap_or_default(); // no map has keys that JSON can't have
    line.push(b'\n');
    line
}

impl Protocol for Service {
    /// Carries out what is there. Who does not take the answers is not read any further: the loop sees to that.
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        loop {
            let request = match self.lines.next(input) {
                Ok(None) => return Ok(()),
                Ok(Some(line)) => serde_json::from_slice(line).map_err(Failure::peer),
                Err(error) => Err(error.into()),
            };
            match request {
                Ok(request) => self.take(cx, request)?,
                Err(failure) => {
                    cx.send(&encoded(None, Outcome::Error(failure.error().to_string())));
                    return Err(failure);
                }
            }
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, timer: TimerId) -> Result<(), Failure> {
        if let Some(line) = self.sleeping.remove(&timer) {
            self.held -= line.len();
            cx.hold(self.held)?;
            cx.send(&line);
        }
        self.end_if_idle(cx);
        Ok(())
    }

    /// The client asks no more; what it asked is answered.
    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        if !rest.is_empty() {
            return Err(Truncated { unconsumed: rest.len() }.into());
        }
        self.ending = true;
        self.end_if_idle(cx);
        Ok(())
    }

    /// What was begun is answered, nothing else is begun.
    fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.ending = true;
        cx.pause_reading();
        self.end_if_idle(cx);
        Ok(())
    }
}
