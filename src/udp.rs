//! The state machine of one bound UDP socket.

use std::io;

use crate::context::Requests;
use crate::datagram::{Datagram, DatagramContext, DatagramProtocol, Datagrams};
use crate::driver::{Ready, Socket};
use crate::link::{Flag, Link};
use crate::{CloseReason, Core, Failure, SocketId, Time, TimerId};

/// A UDP socket's entry in the slab.
pub(crate) struct UdpEndpoint<K> {
    pub(crate) socket: K,
    pub(crate) id: SocketId,
    pub(crate) link: Link,
    protocol: Option<Box<dyn DatagramProtocol>>,
    /// What the system has not taken.
    queue: Datagrams,
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
        Self { socket, id, link, protocol: Some(protocol), queue: Datagrams::default(), then: None }
    }

    pub(crate) fn protocol(&mut self) -> Option<&mut dyn DatagramProtocol> {
        self.protocol.as_deref_mut()
    }

    /// Calls the protocol once, and carries out what it asked for.
    pub(crate) fn visit(
        &mut self,
        core: &mut Core,
        shop: &mut DatagramWorkshop,
        callback: impl FnOnce(&mut dyn DatagramProtocol, &mut DatagramContext<'_>) -> Result<(), Failure>,
    ) -> UdpStatus {
        if self.then.is_some() {
            return UdpStatus::Alive;
        }
        let outcome = self.call(core, &mut shop.out, callback);
        self.settle(core, shop, outcome)
    }

    pub(crate) fn on_timer(&mut self, core: &mut Core, shop: &mut DatagramWorkshop, timer: TimerId) -> UdpStatus {
        if !core.timers.fire(&mut self.link.timers, timer) {
            return UdpStatus::Alive;
        }
        self.visit(core, shop, |protocol, cx| protocol.on_timer(cx, timer))
    }

    /// The system has news of the socket.
    pub(crate) fn on_event(&mut self, core: &mut Core, shop: &mut DatagramWorkshop, ready: Ready) -> UdpStatus {
        if ready.writable && !self.queue.is_empty() && self.on_writable(core) == UdpStatus::Gone {
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
        let id = self.link.id;
        while let Some(slot) = core.registry.get_mut(id)
            && let Some(message) = core.post_office.pop(&mut slot.mailbox)
        {
            if self.visit(core, shop, |protocol, cx| protocol.on_message(cx, message)) == UdpStatus::Gone {
                return UdpStatus::Gone;
            }
        }
        UdpStatus::Alive
    }

    /// Closes from outside.
    pub(crate) fn close_by_command(&mut self, core: &mut Core, abort: bool) -> UdpStatus {
        if abort {
            let unsent = self.queue.len();
            return self.end(core, CloseReason::Aborted { unsent });
        }
        self.close(core, CloseReason::Local)
    }

    /// The drain's deadline has come.
    pub(crate) fn cut_off(&mut self, core: &mut Core) -> UdpStatus {
        let unsent = self.queue.len();
        self.end(core, CloseReason::Shutdown { unsent })
    }

    fn call(
        &mut self,
        core: &mut Core,
        out: &mut Datagrams,
        callback: impl FnOnce(&mut dyn DatagramProtocol, &mut DatagramContext<'_>) -> Result<(), Failure>,
    ) -> (Result<(), Failure>, Requests) {
        let Some(protocol) = self.protocol.as_deref_mut() else { return (Ok(()), Requests::None) };
        let (link, socket) = (&mut self.link, &self.socket);
        let mut cx = DatagramContext { core, link, id: self.id, socket, out, requests: Requests::None };
        let result = callback(protocol, &mut cx);
        (result, cx.requests)
    }

    fn settle(
        &mut self,
        core: &mut Core,
        shop: &mut DatagramWorkshop,
        (result, requests): (Result<(), Failure>, Requests),
    ) -> UdpStatus {
        if requests == Requests::Abort {
            let unsent = self.queue.len() + shop.out.len();
            self.count_dropped(core, shop.out.count());
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
            let (len, source) = match self.socket.recv_from(&mut shop.read_buffer) {
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
            let datagram = Datagram::new(source, &mut shop.read_buffer[..len]);
            let outcome = self.call(core, &mut shop.out, |protocol, cx| protocol.on_datagram(cx, datagram));
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
        let sent = if self.queue.is_empty() { self.send(core, out) } else { 0 };
        let mut dropped = 0;
        for (target, payload) in out.iter().skip(sent) {
            let cost = Datagrams::cost(payload.len());
            let fits =
                self.queue.len() + cost <= core.limits.datagram_queue && core.held + cost <= core.limits.loop_memory;
            if fits {
                core.held += cost;
                self.queue.push(target, payload);
            } else {
                dropped += 1;
            }
        }
        self.count_dropped(core, dropped);
        out.clear();
    }

    fn on_writable(&mut self, core: &mut Core) -> UdpStatus {
        let mut queue = std::mem::take(&mut self.queue);
        let sent = self.send(core, &queue);
        let before = queue.len();
        queue.remove_first(sent);
        core.held -= before - queue.len();
        if !queue.is_empty() {
            self.queue = queue;
            return UdpStatus::Alive;
        }
        match self.then.take() {
            Some(reason) => self.end(core, reason),
            None => UdpStatus::Alive,
        }
    }

    /// Sends until the system has no room, and says how many are dealt with.
    fn send(&mut self, core: &mut Core, datagrams: &Datagrams) -> usize {
        let counters = &mut core.counters[self.link.counters as usize];
        for (done, (target, payload)) in datagrams.iter().enumerate() {
            loop {
                match self.socket.send_to(payload, target) {
                    Ok(()) => {
                        counters.datagrams_out += 1;
                        counters.bytes_out += payload.len() as u64;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return done,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => counters.datagrams_dropped += 1,
                }
                break;
            }
        }
        datagrams.count()
    }

    fn close(&mut self, core: &mut Core, reason: CloseReason) -> UdpStatus {
        if self.queue.is_empty() {
            return self.end(core, reason);
        }
        self.then.get_or_insert(reason);
        UdpStatus::Alive
    }

    fn end(&mut self, core: &mut Core, reason: CloseReason) -> UdpStatus {
        self.count_dropped(core, self.queue.count());
        core.held -= self.queue.len() + self.link.held_by_protocol;
        self.link.held_by_protocol = 0;
        self.queue.clear();
        core.timers.cancel_depths(&mut self.link.timers, 0..=u8::MAX);
        core.retire(&self.link);
        if let Some(mut protocol) = self.protocol.take() {
            protocol.on_close(core, &reason);
        }
        core.note_close(self.link.id, reason);
        UdpStatus::Gone
    }

    fn count_dropped(&self, core: &mut Core, count: usize) {
        core.counters[self.link.counters as usize].datagrams_dropped += count as u64;
    }
}
