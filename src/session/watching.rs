//! What a watchdog wants to know of a session.

use super::{Desk, Session};
use crate::driver::Socket;
use crate::link::Link;
use crate::udp::UdpStatus;
use crate::watchdog::Mark;
use crate::{Callback, CloseReason, Closing, Core, Protocol};

impl<K: Socket> Desk<'_, K> {
    /// A visit that nothing from outside has caused: has anything come of it?
    pub(super) fn expect_progress(
        &mut self,
        session: &mut Session,
        visit: impl FnOnce(&mut Session, &mut Self) -> UdpStatus,
    ) -> UdpStatus {
        let before = self.mark(&session.link);
        let status = visit(session, self);
        if let Some((before, calls)) = before
            && let Some((after, calls_now)) = self.mark(&session.link)
            && calls_now > calls
            && let Some(watch) = &mut self.core.watch
        {
            watch.note_visit(session.link.id, status == UdpStatus::Gone || after != before);
        }
        status
    }

    /// How things are, and how many callbacks were called by now.
    fn mark(&self, link: &Link) -> Option<(Mark, u64)> {
        let watch = self.core.watch.as_ref()?;
        Some((self.core.mark(link, (self.sent.len(), self.socket.outlet.len())), watch.calls()))
    }
}

impl Session {
    /// `on_close`, of one that may have been replaced already.
    pub(super) fn tell_close(&self, protocol: &mut dyn Protocol, core: &mut Core, reason: &CloseReason) {
        if let Some(watch) = &mut core.watch {
            watch.begin(Some(self.link.id), protocol.name(), Callback::Close);
        }
        protocol.on_close(&mut Closing { core, id: self.link.id, counters: self.link.counters }, reason);
        core.end_watched();
    }
}
