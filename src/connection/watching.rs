//! What a watchdog wants to know of a connection. Off the path of those who have none.

use super::{Connection, Status};
use crate::driver::Stream;
use crate::link::{Flag, Link};
use crate::watchdog::Mark;
use crate::{Callback, CloseReason, Closing, Core, Protocol};

impl<S: Stream> Connection<S> {
    /// Whether callbacks are timed from now on.
    pub(crate) fn set_watched(&mut self, watched: bool) {
        self.link.flags.remove(Flag::WATCHED);
        if watched {
            self.link.flags.insert(Flag::WATCHED);
        }
    }

    /// A callback is about to be called.
    #[cold]
    #[inline(never)]
    pub(super) fn begin_watched(&mut self, core: &mut Core, callback: Callback) {
        if let Some(watch) = &mut core.watch {
            watch.begin(Some(self.link.id), self.protocol.name(), callback);
        }
    }

    /// `on_close`, of one that may have been replaced already.
    pub(crate) fn tell_protocol(protocol: &mut dyn Protocol, core: &mut Core, link: &Link, reason: &CloseReason) {
        if let Some(watch) = &mut core.watch {
            watch.begin(Some(link.id), protocol.name(), Callback::Close);
        }
        protocol.on_close(&mut Closing { core, id: link.id, counters: link.counters }, reason);
        core.end_watched();
    }

    /// As [`Core::before_visit`].
    #[inline]
    pub(super) fn before_visit(&self, core: &Core) -> Option<(Mark, u64)> {
        core.before_visit(&self.link, (self.tail_len(), self.backlog_len()))
    }

    /// After that visit.
    #[inline]
    pub(super) fn after_visit(&self, core: &mut Core, before: Option<(Mark, u64)>, status: Status) -> Status {
        if let Some(before) = before {
            core.after_visit(&self.link, before, (self.tail_len(), self.backlog_len()), status != Status::Alive);
        }
        status
    }
}
