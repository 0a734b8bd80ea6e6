//! Outgoing connections until they stand.

use super::{Connection, Status, Workshop};
use crate::driver::{Driver, Ready, Stream};
use crate::link::{Flag, Link};
use crate::{CloseReason, Core, Protocol};

impl<S: Stream> Connection<S> {
    /// An outgoing connection, with its time limit.
    pub(crate) fn connecting(stream: S, link: Link, protocol: Box<dyn Protocol>, core: &mut Core) -> Self {
        let mut connection = Self::dialed(stream, link, protocol);
        connection.set_loop_timer(core, core.limits.connect_timeout);
        connection
    }

    /// As [`connecting`](Self::connecting), whose time limit was another's.
    pub(crate) fn dialed(stream: S, link: Link, protocol: Box<dyn Protocol>) -> Self {
        let mut connection = Self::new(stream, link, protocol);
        connection.link.flags.insert(Flag::CONNECTING);
        connection
    }

    pub(crate) fn is_connecting(&self) -> bool {
        self.link.flags.contains(Flag::CONNECTING)
    }

    /// News of it: it stands, or failed, or it is nothing yet.
    pub(crate) fn on_connecting<D: Driver<Stream = S>>(
        &mut self,
        core: &mut Core,
        shop: &mut Workshop,
        driver: &mut D,
        event: Ready,
    ) -> Status {
        match driver.connected(&mut self.stream) {
            Ok(false) => Status::Alive,
            Ok(true) => {
                core.reconnects.opened(self.link.id, core.now);
                match self.open(core, shop) {
                    Status::Alive => self.on_event(core, shop, event),
                    gone => gone,
                }
            }
            Err(error) => self.connect_failed(core, CloseReason::Connect(error)),
        }
    }
}
