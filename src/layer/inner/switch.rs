//! One inner protocol takes over from another.

use super::{Inner, Slot};
use crate::core::SwitchTo;
use crate::link::Flag;
use crate::timer::LOOP_DEPTH;
use crate::{CloseReason, Closing, Context, Failure, Input, LimitExceeded, Protocol};

/// How often an inner protocol may switch without consuming a byte.
const SWITCHES: u8 = 16;

impl<P: Protocol> Inner<P> {
    /// Another protocol takes over from the inner one. It is opened here; what is unread is offered
    /// when the connection offers it again, which is asked for.
    pub(super) fn switch(&mut self, cx: &mut Context<'_>, to: SwitchTo) -> Result<(), Failure> {
        self.switches += 1;
        if self.switches > SWITCHES {
            return Err(LimitExceeded::Switches(SWITCHES.into()).into());
        }
        cx.core.timers.cancel_depths(&mut cx.link.timers, cx.depth + 1..=LOOP_DEPTH - 1);
        cx.link.flags.remove(Flag::PAUSED);
        cx.core.held -= std::mem::take(&mut self.held);
        self.drain_owed = false;
        let mut old = match std::mem::replace(&mut self.protocol, Slot::Empty) {
            Slot::Own(protocol) => protocol.boxed(),
            Slot::Switched(protocol) => protocol,
            Slot::Empty => return Ok(()),
        };
        self.protocol = Slot::Switched(match to {
            SwitchTo::Replace(new) => {
                old.on_close(
                    &mut Closing { core: cx.core, id: cx.link.id, counters: cx.link.counters },
                    &CloseReason::Switched,
                );
                new
            }
            SwitchTo::Wrap(wrap) => wrap(old),
        });
        (self.took_over, self.fresh) = (true, true);
        cx.link.flags.insert(Flag::REOFFER | Flag::INNER_TAIL);
        self.call(cx, |protocol, cx| protocol.on_open(cx))
    }

    /// A protocol that took over has been offered the layer's input: now what is kept for it, then
    /// what the one before was told.
    #[cold]
    pub(super) fn catch_up(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        self.took_over = false;
        if self.eof_told {
            self.call(cx, |protocol, cx| protocol.on_eof(cx, input))?;
        }
        self.tell_shutdown(cx)
    }

    /// A protocol that takes over while the loop drains learns it last.
    pub(super) fn tell_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if !cx.is_draining() || self.took_over {
            return Ok(());
        }
        self.call(cx, |protocol, cx| protocol.on_shutdown(cx))
    }
}
