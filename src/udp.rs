//! The state machine of one bound UDP socket, for a protocol that speaks to all peers at once.

use std::io;

use crate::context::Requests;
use crate::datagram::{Datagram, DatagramContext, DatagramProtocol, Datagrams, Envelope};
use crate::driver::{Ready, Received, Socket};
use crate::link::{Flag, Link};
use crate::{Callback, CloseReason, Core, Failure, LimitExceeded, SocketId, Time, TimerId};

mod options;
mod outlet;

pub use options::{Multicast, SessionOptions, UdpOptions};
pub(crate) use outlet::{Outlet, is_refusal};

/// A UDP socket's entry in the slab.
pub(crate) struct UdpEndpoint<K> {
    pub(crate) outlet: Outlet<K>,
    pub(crate) id: SocketId,
    pub(crate) link: Link,
    protocol: Option<Box<dyn DatagramProtocol>>,
    /// Why the socket ends when the queue is empty.
    then: Option<CloseReason>,
}

/// The loop's buffers for datagrams.
pub(crate) struct DatagramWorkshop {
    pub(crate) read_buffer: Box<[u8]>,
    pub(crate) out: Datagrams,
}

impl Default for DatagramWorkshop {
    fn default() -> Self {
        // The largest payload is 65,507 bytes, so that none is ever cut off.
        Self { read_buffer: vec![0; 65_535].into_boxed_slice(), out: Datagrams::default() }
    }
}

/// Whether a socket is still there after a visit.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UdpStatus {
    Alive,
    Gone,
}

impl<K: Socket> UdpEndpoint<K> {
    pub(crate) fn new(socket: K, id: SocketId, protocol: Box<dyn DatagramProtocol>, now: Time) -> Self {
        let link = Link::new(id.endpoint, id.counters, now);
        let outlet = Outlet::new(socket, id.counters);
        Self { outlet, id, link, protocol: Some(protocol), then: None }
    }

    pub(crate) fn protocol(&mut self) -> Option<&mut dyn DatagramProtocol> {
        self.protocol.as_deref_mut()
    }

    /// Calls the protocol once, and carries out what it asked for.
    pub(crate) fn visit(
        &mut self,
        core: &mut Core,
        shop: &mut DatagramWorkshop,
        which: Callback,
        callback: impl FnOnce(&mut dyn DatagramProtocol, &mut DatagramContext<'_>) -> Result<(), Failure>,
    ) -> UdpStatus {
        if self.then.is_some() {
            return UdpStatus::Alive;
        }
        let outcome = self.call(core, &mut shop.out, which, callback);
        self.settle(core, shop, outcome)
    }

    pub(crate) fn on_timer(&mut self, core: &mut Core, shop: &mut DatagramWorkshop, timer: TimerId) -> UdpStatus {
        if !core.timers.fire(&mut self.link.timers, timer) {
            return UdpStatus::Alive;
        }
        let before = core.before_visit(&self.link, (0, self.outlet.len()));
        let status = self.visit(core, shop, Callback::Timer, |protocol, cx| protocol.on_timer(cx, timer));
        if let Some(before) = before {
            core.after_visit(&self.link, before, (0, self.outlet.len()), status == UdpStatus::Gone);
        }
        status
    }

    /// The system has news of the socket.
    pub(crate) fn on_event(&mut self, core: &mut Core, shop: &mut DatagramWorkshop, ready: Ready) -> UdpStatus {
        if ready.writable && !self.outlet.is_empty() && self.on_writable(core) == UdpStatus::Gone {
            return UdpStatus::Gone;
        }
        if ready.readable || ready.error {
            self.link.flags.insert(Flag::READABLE);
            if !self.link.flags.contains(Flag::QUEUED) {
                return self.read(core, shop);
            }
        }
        UdpStatus::Alive
    }

    /// Serves what the turn before had no time for.
    pub(crate) fn on_ready(&mut self, core: &mut Core, shop: &mut DatagramWorkshop) -> UdpStatus {
        self.link.flags.remove(Flag::QUEUED);
        if self.link.flags.contains(Flag::READABLE) { self.read(core, shop) } else { UdpStatus::Alive }
    }

    pub(crate) fn deliver_mail(&mut self, core: &mut Core, shop: &mut DatagramWorkshop) -> UdpStatus {
        while self.then.is_none()
            && let Some(message) = core.next_message(&self.link)
        {
            if self.visit(core, shop, Callback::Message, |protocol, cx| protocol.on_message(cx, message))
                == UdpStatus::Gone
            {
                return UdpStatus::Gone;
            }
        }
        UdpStatus::Alive
    }

    /// Closes from outside.
    pub(crate) fn close_by_command(&mut self, core: &mut Core, abort: bool) -> UdpStatus {
        if abort {
            let unsent = self.outlet.len();
            return self.end(core, CloseReason::Aborted { unsent });
        }
        self.close(core, CloseReason::Local)
    }

    /// It has exceeded a limit.
    pub(crate) fn enforce(&mut self, core: &mut Core, limit: LimitExceeded) -> UdpStatus {
        self.end(core, CloseReason::Limit(limit))
    }

    /// The drain's deadline has come.
    pub(crate) fn cut_off(&mut self, core: &mut Core) -> UdpStatus {
        let unsent = self.outlet.len();
        self.end(core, CloseReason::Shutdown { unsent })
    }

    fn call(
        &mut self,
        core: &mut Core,
        out: &mut Datagrams,
        which: Callback,
        callback: impl FnOnce(&mut dyn DatagramProtocol, &mut DatagramContext<'_>) -> Result<(), Failure>,
    ) -> (Result<(), Failure>, Requests) {
        let Some(protocol) = self.protocol.as_deref_mut() else { return (Ok(()), Requests::None) };
        if let Some(watch) = &mut core.watch {
            watch.begin(Some(self.link.id), protocol.name(), which);
        }
        let (link, socket) = (&mut self.link, &self.outlet.socket);
        let mut cx = DatagramContext { core, link, id: self.id, socket, out, requests: Requests::None };
        let result = callback(protocol, &mut cx);
        let requests = cx.requests;
        core.end_watched();
        (result, requests)
    }

    fn settle(
        &mut self,
        core: &mut Core,
        shop: &mut DatagramWorkshop,
        (result, requests): (Result<(), Failure>, Requests),
    ) -> UdpStatus {
        if requests == Requests::Abort {
            let unsent = self.outlet.len() + shop.out.len();
            core.counters[self.link.counters as usize].datagrams_dropped += shop.out.count() as u64;
            shop.out.clear();
            return self.end(core, CloseReason::Aborted { unsent });
        }
        self.flush(core, &mut shop.out);
        match (result, requests) {
            (Err(failure), _) => self.close(core, CloseReason::Failure(failure)),
            (Ok(()), Requests::Close) => self.close(core, CloseReason::Local),
            _ => UdpStatus::Alive,
        }
    }

    /// Receives up to the turn's budget; each datagram's answers leave before the next is received.
    fn read(&mut self, core: &mut Core, shop: &mut DatagramWorkshop) -> UdpStatus {
        for _ in 0..core.limits.datagrams_per_turn {
            let Received { len, source, local } = match self.outlet.socket.recv_from(&mut shop.read_buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.link.flags.remove(Flag::READABLE);
                    return UdpStatus::Alive;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => {
                    // One peer's refusal of an earlier datagram (ICMP) is not the socket's end.
                    core.counters[self.link.counters as usize].datagram_errors += 1;
                    continue;
                }
            };
            let counters = &mut core.counters[self.link.counters as usize];
            counters.datagrams_in += 1;
            counters.bytes_in += len as u64;
            if self.then.is_some() {
                core.counters[self.link.counters as usize].bytes_discarded += len as u64;
                continue;
            }
            let datagram = Datagram::new(source, local, &mut shop.read_buffer[..len]);
            let outcome =
                self.call(core, &mut shop.out, Callback::Datagram, |protocol, cx| protocol.on_datagram(cx, datagram));
            if self.settle(core, shop, outcome) == UdpStatus::Gone {
                return UdpStatus::Gone;
            }
        }
        self.queue_up(core);
        UdpStatus::Alive
    }

    fn queue_up(&mut self, core: &mut Core) {
        if !self.link.flags.contains(Flag::QUEUED) {
            self.link.flags.insert(Flag::QUEUED);
            core.ready.push(self.link.id);
        }
    }

    /// Sends a visit's datagrams; what the system has no room for waits, within the limit.
    fn flush(&mut self, core: &mut Core, out: &mut Datagrams) {
        if out.is_empty() {
            return;
        }
        for (Envelope { target, source, .. }, payload) in out.iter() {
            self.outlet.send(core, target, source, payload);
        }
        out.clear();
    }

    fn on_writable(&mut self, core: &mut Core) -> UdpStatus {
        self.outlet.on_writable(core);
        match self.then.take_if(|_| self.outlet.is_empty()) {
            Some(reason) => self.end(core, reason),
            None => UdpStatus::Alive,
        }
    }

    fn close(&mut self, core: &mut Core, reason: CloseReason) -> UdpStatus {
        if self.outlet.is_empty() {
            return self.end(core, reason);
        }
        self.then.get_or_insert(reason);
        UdpStatus::Alive
    }

    fn end(&mut self, core: &mut Core, reason: CloseReason) -> UdpStatus {
        self.outlet.drop_all(core);
        core.held -= self.link.held_by_protocol;
        self.link.held_by_protocol = 0;
        core.timers.cancel_depths(&mut self.link.timers, 0..=u8::MAX);
        core.retire(&self.link);
        if let Some(mut protocol) = self.protocol.take() {
            if let Some(watch) = &mut core.watch {
                watch.begin(Some(self.link.id), protocol.name(), Callback::Close);
            }
            protocol.on_close(core, &reason);
            core.end_watched();
        }
        core.note_close(self.link.id, reason);
        UdpStatus::Gone
    }
}
