//! What other threads and callbacks asked for.

use super::{Entry, EventLoop};
use crate::CloseReason;
use crate::core::{Command, OUTGOING};
use crate::driver::Driver;
use crate::handle::Remote;

impl<D: Driver> EventLoop<D> {
    /// Step 7, first half: what came through handles since the last turn.
    pub(super) fn serve_handles(&mut self) {
        if !self.handle.is_pending() {
            return;
        }
        let mut remote = std::mem::take(&mut self.remote);
        self.handle.take(&mut remote);
        for request in remote.drain(..) {
            match request {
                Remote::Post(to, message) => {
                    let Err(message) = self.core.post(to, message) else { continue };
                    // More came at once than a mailbox holds: let its owner take what it can first.
                    self.deliver_letters();
                    if self.core.post(to, message).is_err() {
                        self.core.counters[OUTGOING as usize].messages_undelivered += 1;
                    }
                }
                Remote::Run(closure) => closure(&mut self.core),
                Remote::With(id, closure) => {
                    self.with(id, closure);
                }
                Remote::Shutdown(timeout) => self.core.shutdown(timeout),
                Remote::Stop => self.stop(),
            }
        }
        self.remote = remote;
    }

    /// Step 7, second half: what callbacks asked of the loop, in order. What they ask for meanwhile
    /// waits for the next turn.
    pub(super) fn carry_out_commands(&mut self) {
        if self.core.commands.is_empty() {
            return;
        }
        for command in std::mem::take(&mut self.core.commands) {
            match command {
                Command::Connect { id, at, address, protocol } => self.begin_connect(id, at, address, protocol),
                Command::Close { id, abort } => match self.entries.get_mut(id) {
                    Some(Entry::Connection(_)) => self.visit(id, |c, core, _| c.close_by_command(core, abort)),
                    Some(Entry::Socket(_)) => self.visit_socket(id, |s, core, _| s.close_by_command(core, abort)),
                    Some(Entry::Listener(_)) => self.remove_listener(id),
                    Some(Entry::Delayed(_)) => self.call_off(id, CloseReason::Aborted { unsent: 0 }),
                    None => {} // gone already
                },
                Command::Shutdown { timeout } => self.begin_drain(timeout),
            }
        }
    }
}
