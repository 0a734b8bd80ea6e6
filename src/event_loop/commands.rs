//! What other threads and callbacks asked for.

use super::{Entry, EventLoop};
use crate::core::{Command, OUTGOING};
use crate::driver::Driver;
use crate::handle::Remote;
use crate::{Callback, CloseReason};

/// Publications of other threads that are handed over together, at most.
const BURST: usize = 64;

impl<D: Driver> EventLoop<D> {
    /// Step 7, first half: what came through handles since the last turn.
    pub(super) fn serve_handles<const BUDGET: bool>(&mut self) -> bool {
        // There is something left, too, if a closure panicked and that was caught.
        if self.resume::<BUDGET>() == 0 && self.remote.is_empty() {
            if !self.handle.is_pending() {
                return true;
            }
            self.handle.take(&mut self.remote);
            self.remote.reverse(); // taken from its end
        }
        let mut published = 0;
        while let Some(request) = self.remote.pop() {
            published += usize::from(matches!(request, Remote::Publish(..)));
            self.serve_request(request);
            if published == BURST {
                self.deliver_letters::<false>(); // nobody is slow because another thread says much at once
                published = 0;
            }
            if BUDGET && self.is_over() {
                self.done = 1;
                return false;
            }
        }
        true
    }

    fn serve_request(&mut self, request: Remote) {
        match request {
            Remote::Post(to, message) => {
                let Err(message) = self.core.post(to, message) else { return };
                // More came at once than a mailbox holds: let its owner take what it can first.
                self.deliver_letters::<false>();
                if self.core.post(to, message).is_err() {
                    self.core.counters[OUTGOING as usize].messages_undelivered += 1;
                }
            }
            Remote::Publish(topic, key, payload) => {
                self.core.put_down(&topic, key, payload);
            }
            Remote::Run(closure) => self.core.watched(None, Callback::Run, closure),
            Remote::With(id, closure) => {
                self.with_any(id, |_, cx| closure(cx));
            }
            Remote::Shutdown(timeout) => self.core.shutdown(timeout),
            Remote::Stop => self.stop(),
        }
    }

    /// Step 7, second half: what callbacks asked of the loop, in order. What they ask for meanwhile
    /// waits for the next turn.
    pub(super) fn carry_out_commands<const BUDGET: bool>(&mut self) -> bool {
        if self.resume::<BUDGET>() == 0 {
            if self.core.commands.is_empty() {
                return true;
            }
            self.commands = std::mem::take(&mut self.core.commands).into_iter();
        }
        self.go_on_with_commands::<BUDGET>()
    }

    /// Carries out what was asked for from outside of a turn, behind what a turn that was left has still to carry out.
    pub(super) fn carry_out_now(&mut self) {
        self.go_on_with_commands::<false>();
        self.carry_out_commands::<false>();
    }

    fn go_on_with_commands<const BUDGET: bool>(&mut self) -> bool {
        loop {
            // A drain is a command that takes a visit to everybody.
            if let Some(id) = self.leaving.next() {
                self.say_goodbye(id);
            } else if let Some(command) = self.commands.next() {
                self.carry_out(command);
            } else {
                self.commands = Default::default(); // many may have been asked for at once
                return true;
            }
            if BUDGET && self.is_over() {
                self.done = 1;
                return false;
            }
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Connect { id, at, destination, protocol } => self.begin_connect(id, at, destination, protocol),
            Command::ConnectUdp { id, target, options, protocol } => {
                self.begin_connect_udp(id, target, options, protocol);
            }
            Command::Close { id, abort } => match self.entries.get_mut(id) {
                Some(Entry::Connection(_)) => self.visit(id, |c, core, _| c.close_by_command(core, abort)),
                Some(Entry::Socket(_)) => self.visit_socket(id, |s, core, _| s.close_by_command(core, abort)),
                Some(Entry::Listener(_)) => self.remove_listener(id),
                Some(Entry::Session(_)) => self.visit_session(id, |s, desk| s.close_by_command(desk.core, abort)),
                Some(Entry::SessionSocket(_)) => self.close_sessions(id, abort),
                Some(Entry::Delayed(_) | Entry::Dialing(_)) => self.call_off(id, CloseReason::Aborted { unsent: 0 }),
                None => {} // gone already
            },
            Command::Enforce { id, limit } => match self.entries.get_mut(id) {
                Some(Entry::Socket(_)) => self.visit_socket(id, |s, core, _| s.enforce(core, limit)),
                Some(Entry::Session(_)) => self.visit_session(id, |s, desk| s.enforce(desk.core, limit)),
                _ => self.visit(id, |c, core, _| c.enforce(core, limit)),
            },
            Command::Shutdown { timeout } => self.begin_drain(timeout),
        }
    }
}
