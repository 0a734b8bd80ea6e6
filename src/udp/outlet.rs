//! The way out of a UDP socket: what the system has no room for waits, within the limit.

use std::io;

use crate::datagram::Datagrams;
use crate::driver::{Batch, Outgoing, Socket, Transmit};
use crate::{Core, SendOptions};

/// A socket, and the datagrams that it has not taken.
pub(crate) struct Outlet<K> {
    pub(crate) socket: K,
    queue: Datagrams,
    /// The index of the counters that it adds to.
    counters: u32,
    /// A send was told that a datagram before it was refused (ICMP): of a connected socket's one peer.
    pub(crate) refusal: Option<io::Error>,
}

impl<K: Socket> Outlet<K> {
    pub(crate) fn new(socket: K, counters: u32) -> Self {
        Self { socket, queue: Datagrams::default(), counters, refusal: None }
    }

    /// Bytes that wait, envelopes included.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Sends datagrams behind those that wait; none are left in `out`. Some of them may lie in `batch`.
    #[inline]
    pub(crate) fn send(&mut self, core: &mut Core, out: &mut Datagrams, batch: &Batch) {
        if out.is_empty() {
            return;
        }
        if self.queue.is_empty()
            && let Some((target, payload)) = out.only(batch)
        {
            match self.socket.send_to(payload, target, None) {
                Ok(()) => {
                    let counters = &mut core.counters[self.counters as usize];
                    counters.datagrams_out += 1;
                    counters.bytes_out += payload.len() as u64;
                }
                Err(error) => self.not_sent(core, out.leaving(batch), error),
            }
        } else {
            self.send_many(core, out.leaving(batch));
        }
        out.clear();
    }

    #[inline(never)]
    fn send_many(&mut self, core: &mut Core, mut left: Outgoing<'_>) {
        if self.queue.is_empty() {
            self.try_send(core, &mut left);
        }
        if !left.is_done() {
            self.enqueue(core, left);
        }
    }

    /// The first of these was not, for this reason.
    #[cold]
    fn not_sent(&mut self, core: &mut Core, mut left: Outgoing<'_>, error: io::Error) {
        if self.take_note(core, &mut left, error) {
            self.send_many(core, left);
        } else {
            self.enqueue(core, left);
        }
    }

    /// Has them wait, within the limits.
    #[cold]
    fn enqueue(&mut self, core: &mut Core, datagrams: Outgoing<'_>) {
        for Transmit { payload, target, source, ecn } in datagrams {
            let cost = Datagrams::cost(payload.len());
            let limits = &core.limits;
            if self.queue.len() + cost <= limits.datagram_queue && core.held + cost <= limits.loop_memory {
                core.held += cost;
                self.queue.push(target, SendOptions { source, ecn }, payload);
            } else {
                core.counters[self.counters as usize].datagrams_dropped += 1;
            }
        }
    }

    /// Why the first of these was not sent. It is dropped if it never will be; false if there is no room.
    #[cold]
    fn take_note(&mut self, core: &mut Core, left: &mut Outgoing<'_>, error: io::Error) -> bool {
        match error.kind() {
            io::ErrorKind::WouldBlock => return false,
            io::ErrorKind::Interrupted => {}
            _ => {
                core.counters[self.counters as usize].datagrams_dropped += 1;
                left.skip_first(1);
                if is_refusal(&error) {
                    self.refusal = Some(error);
                }
            }
        }
        true
    }

    /// Sends what waits, until the system has no room.
    pub(crate) fn on_writable(&mut self, core: &mut Core) {
        let mut queue = std::mem::take(&mut self.queue);
        let mut left = queue.iter();
        self.try_send(core, &mut left);
        let (done, before) = (queue.count() - left.len(), queue.len());
        queue.remove_first(done);
        core.held -= before - queue.len();
        if !queue.is_empty() {
            self.queue = queue;
        }
    }

    /// Drops what waits, and counts it.
    pub(crate) fn drop_all(&mut self, core: &mut Core) {
        core.counters[self.counters as usize].datagrams_dropped += self.queue.count() as u64;
        core.held -= self.queue.len();
        self.queue = Datagrams::default();
    }

    /// Hands datagrams to the system, and drops those that it will never take. Those are left for which it has no more
    /// room.
    fn try_send(&mut self, core: &mut Core, left: &mut Outgoing<'_>) {
        while !left.is_done() {
            match self.socket.send_batch(left.clone()) {
                Ok(sent) => {
                    // At least one, whatever a driver says: so this ends.
                    let sent = sent.clamp(1, left.len());
                    let counters = &mut core.counters[self.counters as usize];
                    counters.datagrams_out += sent as u64;
                    counters.bytes_out += left.skip_first(sent) as u64;
                }
                Err(error) => {
                    if !self.take_note(core, left, error) {
                        break;
                    }
                }
            }
        }
    }
}

/// Whether an error says that nobody is there: ICMP's "port unreachable", which Windows calls a reset.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset)
}
