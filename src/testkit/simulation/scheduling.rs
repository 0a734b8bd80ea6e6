//! Who is turned when.

use std::time::Duration;

use super::Simulation;
use crate::Time;

/// Turns of one host at one and the same time after which it is said to spin.
const SPIN: u32 = 100_000;

impl<const SHORT_MEANS_DRAINED: bool> Simulation<SHORT_MEANS_DRAINED> {
    /// As [`step`](Self::step), unless the next thing is due only after `until`.
    pub(crate) fn step_by(&mut self, until: Time) -> bool {
        for host in self.wakes.take() {
            self.wire.borrow_mut().make_runnable(host);
        }
        while let Some(host) = self.lent.pop() {
            self.note_deadline(host);
        }
        let runnable = self.wire.borrow_mut().next_runnable();
        if let Some(host) = runnable {
            self.turn(host);
            return true;
        }
        match self.next_due() {
            Some(due) if due <= until => {
                self.advance(due);
                true
            }
            _ => false,
        }
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        let deadline = self.deadlines.first().map(|&(deadline, _)| deadline);
        self.wire.borrow().next_due().into_iter().chain(deadline).min()
    }

    /// Moves the clock, and lets happen what is due.
    fn advance(&mut self, to: Time) {
        let mut wire = self.wire.borrow_mut();
        wire.now = wire.now.max(to);
        wire.deliver();
        while let Some(&(deadline, host)) = self.deadlines.first()
            && deadline <= wire.now
        {
            self.deadlines.pop_first();
            self.hosts[host].deadline = None;
            wire.make_runnable(host);
        }
    }

    /// Turns a host's loop; one that has ended does nothing.
    fn turn(&mut self, host: usize) {
        let now = self.now();
        let node = &mut self.hosts[host];
        node.turns = if node.turned == now { node.turns + 1 } else { 0 };
        node.turned = now;
        assert!(
            node.turns < SPIN,
            "host {} spins: {SPIN} turns at one and the same time, {now}; a protocol on it makes work without end",
            node.name
        );
        if let Err(error) = node.event_loop.turn(Some(Duration::ZERO)) {
            panic!("host {}: the simulated network never fails to poll, yet: {error}", node.name);
        }
        self.note_deadline(host);
    }

    /// Notes when a host is to be turned again.
    fn note_deadline(&mut self, host: usize) {
        let event_loop = &mut self.hosts[host].event_loop;
        let deadline = event_loop.next_deadline();
        let mut wire = self.wire.borrow_mut();
        // From the host's clock to everybody's.
        let ahead = Time::ZERO + wire.hosts[host].skew;
        let deadline = deadline.map(|deadline| Time::ZERO + deadline.saturating_since(ahead));
        let mut later = deadline.filter(|&deadline| deadline > wire.now);
        if later != deadline {
            wire.make_runnable(host);
        }
        drop(wire);
        if later.is_some() && event_loop.core().armed_timers() == 0 && !event_loop.core().is_draining() {
            later = None; // that of a timer that was cancelled
        }
        self.set_deadline(host, later);
    }

    fn set_deadline(&mut self, host: usize, deadline: Option<Time>) {
        let before = std::mem::replace(&mut self.hosts[host].deadline, deadline);
        if before == deadline {
            return;
        }
        if let Some(before) = before {
            self.deadlines.remove(&(before, host));
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, host));
        }
    }
}
