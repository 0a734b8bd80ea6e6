//! The state machine of one bound UDP socket, for a protocol that speaks to all peers at once.

use std::io;

use crate::context::Requests;
use crate::datagram::{Datagram, DatagramContext, DatagramProtocol, Datagrams};
use crate::driver::{Arrived, Batch, Ready, Socket};
use crate::link::{Flag, Link};
use crate::{Callback, CloseReason, Core, Failure, LimitExceeded, SocketId, Time, TimerId};

mod options;
mod outlet;
#[cfg(test)]
mod tests;

pub use options::{Multicast, SessionOptions, UdpOptions};
pub(crate) use outlet::{Outlet, is_refusal};

/// A UDP socket's entry in the slab.
pub(crate) struct UdpEndpoint<K> {
    pub(crate) outlet: Outlet<K>,
    pub(crate) id: SocketId,
    pub(crate) link: Link,
    protocol: Option<Box<dyn DatagramProtocol>>,
    /// The last visit found a single datagram.
    is_alone: bool,
    /// Why the socket ends when the queue is empty.
    then: Option<CloseReason>,
}

/// The loop's buffers for datagrams.
#[derive(Default)]
pub(crate) struct DatagramWorkshop {
    /// What was received at once.
    pub(crate) batch: Batch,
    /// What is to be sent at once. Empty between visits.
    pub(crate) out: Datagrams,
}

/// What was to be sent before the last call of a visit, so that it can be taken back what it has sent itself.
#[derive(Clone, Copy, Default)]
struct Before {
    /// How many waited that did not go back as they came.
    others: usize,
    /// The datagram that it was called for, if any: its bit in the batch, and its length.
    bit: u64,
    len: usize,
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
        Self { outlet, id, link, protocol: Some(protocol), is_alone: false, then: None }
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
        self.settle(core, shop, Before::default(), outcome)
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
        if ready.readable || ready.error { self.on_readable(core, shop) } else { UdpStatus::Alive }
    }

    #[inline]
    pub(crate) fn on_readable(&mut self, core: &mut Core, shop: &mut DatagramWorkshop) -> UdpStatus {
        self.link.flags.insert(Flag::READABLE);
        if self.link.flags.contains(Flag::QUEUED) { UdpStatus::Alive } else { self.read(core, shop) }
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
        let mut cx =
            DatagramContext { core, link, id: self.id, socket, out, requests: Requests::None, bit: 0, memory: 0 };
        let result = callback(protocol, &mut cx);
        let requests = cx.requests;
        core.end_watched();
        (result, requests)
    }

    /// Carries out what a visit asked for.
    fn settle(
        &mut self,
        core: &mut Core,
        DatagramWorkshop { batch, out }: &mut DatagramWorkshop,
        before: Before,
        (result, requests): (Result<(), Failure>, Requests),
    ) -> UdpStatus {
        if requests == Requests::Abort {
            let (count, taken_back) = out.take_back(before.others, before.bit, before.len);
            core.counters[self.link.counters as usize].datagrams_dropped += count as u64;
            self.outlet.send(core, out, batch);
            let unsent = self.outlet.len() + taken_back;
            return self.end(core, CloseReason::Aborted { unsent });
        }
        self.outlet.send(core, out, batch);
        match (result, requests) {
            (Err(failure), _) => self.close(core, CloseReason::Failure(failure)),
            (Ok(()), Requests::Close) => self.close(core, CloseReason::Local),
            _ => UdpStatus::Alive,
        }
    }

    /// Receives up to the turn's budget, in batches; a batch's answers leave before the next is received. Where datagrams
    /// come one at a time, one is received by itself, and answered before the system is asked whether there are more.
    fn read(&mut self, core: &mut Core, shop: &mut DatagramWorkshop) -> UdpStatus {
        let mut left = core.limits.datagrams_per_turn;
        let mut found = 0;
        while left > 0 {
            shop.batch.open(if self.is_alone && found < 2 { 1 } else { left });
            let received = self.outlet.socket.recv_batch(&mut shop.batch);
            let count = shop.batch.len();
            left = left.saturating_sub(count.max(1));
            found += count;
            let kind = received.err().map(|error| error.kind());
            if kind.is_some_and(|kind| !matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)) {
                // One peer's refusal of an earlier datagram (ICMP) is not the socket's end.
                core.counters[self.link.counters as usize].datagram_errors += 1;
            }
            if count > 0 && self.hand_over(core, shop) == UdpStatus::Gone {
                return UdpStatus::Gone;
            }
            if kind == Some(io::ErrorKind::WouldBlock) {
                self.is_alone = found == 1;
                self.link.flags.remove(Flag::READABLE);
                return UdpStatus::Alive;
            }
        }
        self.is_alone = false;
        self.queue_up(core);
        UdpStatus::Alive
    }

    /// Counts what was received, hands it over, and sends what was answered.
    #[inline]
    fn hand_over(&mut self, core: &mut Core, shop: &mut DatagramWorkshop) -> UdpStatus {
        let counters = &mut core.counters[self.link.counters as usize];
        counters.datagrams_in += shop.batch.len() as u64;
        counters.bytes_in += shop.batch.bytes() as u64;
        if shop.batch.is_large() {
            core.spare.remind(core.now);
        }
        if shop.batch.len() > 1 || core.watch.is_some() || self.then.is_some() {
            return self.hand_over_all(core, shop);
        }
        // As there, with less to be said: it spares a lone datagram 150 instructions.
        let (Some(protocol), DatagramWorkshop { batch, out }) = (self.protocol.as_deref_mut(), &mut *shop) else {
            return UdpStatus::Alive;
        };
        let (bit, memory, requests) = (u64::from(batch.is_plain()), batch.address(), Requests::None);
        let (arrived, payload) = batch.first();
        let len = payload.len();
        let (link, socket) = (&mut self.link, &self.outlet.socket);
        let mut cx = DatagramContext { core, link, id: self.id, socket, out, requests, bit, memory };
        let result = protocol.on_datagram(&mut cx, Datagram::new(arrived, payload));
        let requests = cx.requests;
        if result.is_err() || requests != Requests::None {
            return self.settle(core, shop, Before { others: 0, bit, len }, (result, requests));
        }
        self.outlet.send(core, out, batch);
        UdpStatus::Alive
    }

    #[inline(never)]
    fn hand_over_all(&mut self, core: &mut Core, shop: &mut DatagramWorkshop) -> UdpStatus {
        let mut next = 0;
        while next < shop.batch.len() && self.then.is_none() {
            let DatagramWorkshop { batch, out } = shop;
            let (is_plain, memory) = (batch.is_plain(), batch.address());
            let bit = if is_plain { 1 << next } else { 0 };
            let (before, outcome) = if is_plain && core.watch.is_none() {
                let datagrams = batch.plain_datagrams_from(next);
                self.call_for_each::<false>(core, datagrams, out, (bit, memory), &mut next)
            } else {
                let datagrams = batch.datagrams_from(next);
                self.call_for_each::<true>(core, datagrams, out, (bit, memory), &mut next)
            };
            if self.settle(core, shop, before, outcome) == UdpStatus::Gone {
                discard(core, self.link.counters, &shop.batch, next);
                return UdpStatus::Gone;
            }
        }
        discard(core, self.link.counters, &shop.batch, next);
        UdpStatus::Alive
    }

    /// Calls the protocol for each of these datagrams, until there is something to be done. Counts them, and says how things
    /// were before the last call, and what came of that. The first one has this bit, and the memory begins there.
    #[inline]
    fn call_for_each<'a, const WATCHED: bool>(
        &mut self,
        core: &mut Core,
        datagrams: impl Iterator<Item = (&'a Arrived, &'a mut [u8])>,
        out: &mut Datagrams,
        (bit, memory): (u64, usize),
        done: &mut usize,
    ) -> (Before, (Result<(), Failure>, Requests)) {
        let nothing = Before::default();
        let Some(protocol) = self.protocol.as_deref_mut() else { return (nothing, (Ok(()), Requests::Close)) };
        let (link, socket, mut others) = (&mut self.link, &self.outlet.socket, out.count());
        let mut cx = DatagramContext { core, link, id: self.id, socket, out, requests: Requests::None, bit, memory };
        for (arrived, payload) in datagrams {
            if WATCHED && let Some(watch) = &mut cx.core.watch {
                watch.begin(Some(cx.link.id), protocol.name(), Callback::Datagram);
            }
            let result = protocol.on_datagram(&mut cx, Datagram::new(arrived, payload));
            if WATCHED {
                cx.core.end_watched();
            }
            *done += 1;
            if result.is_err() || cx.requests != Requests::None || (cx.out.count() != others && cx.out.is_much()) {
                return (Before { others, bit: cx.bit, len: arrived.received.len }, (result, cx.requests));
            }
            others = cx.out.count();
            cx.bit <<= 1;
        }
        (nothing, (Ok(()), Requests::None))
    }

    fn queue_up(&mut self, core: &mut Core) {
        if !self.link.flags.contains(Flag::QUEUED) {
            self.link.flags.insert(Flag::QUEUED);
            core.ready.push(self.link.id);
        }
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
        core.release_held(self.link.id, 0);
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

/// Counts what was received and is handed to nobody, since the socket closes.
pub(crate) fn discard(core: &mut Core, counters: u32, batch: &Batch, from: usize) {
    let counters = &mut core.counters[counters as usize];
    for received in batch.received_from(from) {
        counters.datagrams_discarded += 1;
        counters.bytes_discarded += received.len as u64;
    }
}
