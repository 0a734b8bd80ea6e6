//! One inner protocol takes over from another.

use super::{Eof, Inner, Slot, Takeover};
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
        cx.core.unsubscribe_from_depth(cx.link.id, cx.depth + 1);
        cx.link.flags.remove(Flag::PAUSED);
        cx.core.release_held(cx.link.id, cx.depth + 1);
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
        self.takeover = Takeover::Fresh;
        self.holds = false;
        self.shutdown_owed = cx.is_draining();
        if let Some(reserve) = &mut self.reserve {
            reserve.wait_for = 0; // that was what the one before waited for
        }
        if self.eof == Eof::Told {
            self.eof = Eof::Waits;
        }
        cx.link.flags.insert(Flag::REOFFER | Flag::INNER_TAIL);
        self.call(cx, |protocol, cx| protocol.on_open(cx))
    }

    /// Whether the inner protocol knows all there is to know, but for what is unread.
    #[inline]
    pub(super) fn is_up_to_date(&self) -> bool {
        self.takeover == Takeover::Done && self.eof != Eof::Waits
    }

    /// The inner protocol has been offered what is unread: now it is told of the half-close, with what it left of
    /// that, and last, if it has taken over, that the loop drains. If it has paused reading, when it resumes.
    #[cold]
    pub(super) fn bring_up_to_date(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        if cx.is_reading_paused() || self.takeover == Takeover::Fresh {
            cx.link.flags.insert(Flag::INNER_TAIL);
            return Ok(());
        }
        if self.eof == Eof::Waits {
            self.eof = Eof::Told;
            self.call(cx, |protocol, cx| protocol.on_eof(cx, rest))?;
        }
        if self.takeover == Takeover::Due {
            self.takeover = Takeover::Done;
            if std::mem::take(&mut self.shutdown_owed) {
                self.call(cx, |protocol, cx| protocol.on_shutdown(cx))?;
            }
        }
        Ok(())
    }
}
