//! A whole event loop on the network in memory, turned until it comes to rest.

use std::time::Duration;

use super::{MemoryDriver, Network, network};
use crate::{EventLoop, Limits};

/// Turns without time moving after which a protocol is said to spin.
const SPIN: usize = 10_000;

/// What the harnesses stand on.
pub(super) struct Stage {
    pub(super) event_loop: EventLoop<MemoryDriver>,
    pub(super) network: Network,
}

impl Stage {
    pub(super) fn new(limits: Limits) -> Self {
        let (driver, network) = network();
        let mut event_loop = EventLoop::with_driver(driver, limits).expect("limits that agree");
        event_loop.core().keep_close_reasons();
        Self { event_loop, network }
    }

    /// One turn, which takes no time.
    pub(super) fn turn(&mut self) {
        self.event_loop.turn(None).expect("the network in memory never fails to poll");
    }

    /// Turns the loop until it comes to rest at this time.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub(super) fn settle(&mut self) {
        // What is cut takes as many turns as there are cuts, and that is no spin.
        let most = SPIN.saturating_add(2 * self.network.cuts());
        for _ in 0..most {
            let due = self.event_loop.next_deadline().is_some_and(|due| due <= self.network.now());
            if self.event_loop.tally().is_some() || !(due || self.network.has_events()) {
                return;
            }
            self.turn();
        }
        panic!("the protocol spins: {most} turns at one and the same time");
    }

    /// Time passes; `at_rest` is called each time the loop has come to rest on the way: at each
    /// deadline, and at the end.
    pub(super) fn advance(&mut self, by: Duration, mut at_rest: impl FnMut(&mut Self)) {
        let until = self.network.now() + by;
        while let Some(due) = self.event_loop.next_deadline().filter(|&due| due <= until) {
            self.network.advance(due.saturating_since(self.network.now()));
            self.settle();
            at_rest(self);
        }
        self.network.advance(until.saturating_since(self.network.now()));
        self.settle();
        at_rest(self);
    }
}
