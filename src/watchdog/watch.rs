//! A watchdog at work: what the loop tells it.

use std::collections::HashMap;
use std::time::Duration;

use super::{Callback, Fault, Running, Short, Stall, Watchdog};
use crate::link::Link;
use crate::{Core, Counters, EndpointId, Time};

/// Who is left alone for so long does not spin: no timer that was meant comes sooner.
const REST: Duration = Duration::from_millis(1);

/// A watchdog at work.
pub(crate) struct Watch {
    dog: Watchdog,
    clock: Box<dyn Fn() -> Time>,
    /// The callback that runs, or the last one that ran.
    call: Running,
    /// When the last one ended.
    ended: Time,
    /// Who was last called for nothing, not yet for as long as it takes to say so.
    rows: HashMap<EndpointId, Row>,
    /// At this many rows those that ended are forgotten.
    sweep: usize,
}

/// Calls in a row that came to nothing.
struct Row {
    calls: u32,
    last: Time,
    /// At how many it is reported next.
    report: u32,
}

/// What a visit changes if it comes to anything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Of the listener, which only this visit adds to.
    pub(crate) counters: Counters,
    /// Input and output that waits.
    pub(crate) waiting: (usize, usize),
    pub(crate) held: usize,
    /// What the loop was asked for.
    pub(crate) commands: usize,
    pub(crate) letters: usize,
}

impl Watch {
    /// Below so many rows it is not worth looking which have ended.
    const FEW: usize = 64;

    pub(crate) fn new(dog: Watchdog, clock: Box<dyn Fn() -> Time>) -> Self {
        let now = clock();
        let call = Running { id: None, protocol: "", callback: Callback::Run, call: 0, since: now };
        Self { dog, clock, call, ended: now, rows: HashMap::new(), sweep: Self::FEW }
    }

    /// How many callbacks have been called.
    pub(crate) fn calls(&self) -> u64 {
        self.call.call
    }

    /// A callback is about to be called.
    pub(crate) fn begin(&mut self, id: Option<EndpointId>, protocol: &'static str, callback: Callback) {
        self.call = Running { id, protocol, callback, call: self.call.call + 1, since: (self.clock)() };
        if let Some(observer) = &self.dog.observer {
            *observer.lock() = Some(self.call);
        }
    }

    /// It has returned.
    #[cold]
    pub(crate) fn end(&mut self) {
        self.ended = (self.clock)();
        if let Some(observer) = &self.dog.observer {
            *observer.lock() = None;
        }
        let took = self.ended.saturating_since(self.call.since);
        if took > self.dog.threshold {
            self.report(Fault::Slow(took));
        }
    }

    /// The last visit came to nothing, or to something.
    pub(crate) fn note_visit(&mut self, id: EndpointId, progress: bool) {
        if progress {
            self.rows.remove(&id);
            return;
        }
        let (now, spins) = (self.ended, self.dog.spins);
        let row = self.rows.entry(id).or_insert(Row { calls: 0, last: now, report: spins });
        if now.saturating_since(row.last) >= REST {
            (row.calls, row.report) = (0, spins);
        }
        row.calls = row.calls.saturating_add(1);
        row.last = now;
        let calls = row.calls;
        if calls == row.report {
            row.report = row.report.saturating_mul(2);
            self.report(Fault::Spins(calls));
        }
        if self.rows.len() >= self.sweep {
            self.rows.retain(|_, row| now.saturating_since(row.last) < REST);
            self.sweep = (2 * self.rows.len()).max(Self::FEW);
        }
    }

    #[cold]
    fn report(&mut self, fault: Fault) {
        let Running { id, protocol, callback, .. } = self.call;
        let stall = Stall { id, protocol, callback, fault };
        tracing::warn!(
            target: "switchboard",
            id = id.map(tracing::field::display),
            protocol = %Short(protocol),
            callback = %callback,
            "{stall}"
        );
        if let Some(report) = &mut self.dog.report {
            report(&stall);
        }
    }
}

impl Core {
    /// A function of the program that is no protocol's callback, timed if there is a watchdog.
    pub(crate) fn watched<R>(
        &mut self,
        id: Option<EndpointId>,
        callback: Callback,
        function: impl FnOnce(&mut Self) -> R,
    ) -> R {
        if let Some(watch) = &mut self.watch {
            watch.begin(id, "", callback);
        }
        let returned = function(self);
        self.end_watched();
        returned
    }

    /// A callback has returned.
    #[inline]
    pub(crate) fn end_watched(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.end();
        }
    }

    /// What a visit is measured by that nothing from outside has caused.
    pub(crate) fn mark(&self, link: &Link, waiting: (usize, usize)) -> Mark {
        Mark {
            counters: self.counters[link.counters as usize],
            waiting,
            held: self.held,
            commands: self.commands.len(),
            letters: self.post_office.len(),
        }
    }

    /// Before a visit that nothing from outside has caused: how things are, and how many callbacks were called by now.
    /// `None` without a watchdog.
    #[inline]
    pub(crate) fn before_visit(&self, link: &Link, waiting: (usize, usize)) -> Option<(Mark, u64)> {
        let watch = self.watch.as_ref()?;
        Some((self.mark(link, waiting), watch.calls()))
    }

    /// After it: has anything come of it?
    #[cold]
    pub(crate) fn after_visit(&mut self, link: &Link, before: (Mark, u64), waiting: (usize, usize), gone: bool) {
        let Some((after, calls)) = self.before_visit(link, waiting) else { return };
        if calls > before.1
            && let Some(watch) = &mut self.watch
        {
            watch.note_visit(link.id, gone || after != before.0);
        }
    }
}
