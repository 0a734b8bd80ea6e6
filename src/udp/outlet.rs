//! The way out of a UDP socket: what the system has no room for waits, within the limit.

use std::io;

use crate::datagram::Datagrams;
use crate::driver::{Outgoing, Socket, Transmit};
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

    /// Sends datagrams behind those that wait; none are left in `out`.
    #[inline]
    pub(crate) fn send(&mut self, core: &mut Core, out: &mut Datagrams) {
        if out.is_empty() {
            return;
        }
        let done = if self.queue.is_empty() { self.try_send(core, out.iter()) } else { 0 };
        if done < out.count() {
            self.enqueue(core, out.iter().skip(done));
        }
        out.clear();
    }

    /// Has them wait, within the limits.
    #[cold]
    fn enqueue<'a>(&mut self, core: &mut Core, datagrams: impl Iterator<Item = Transmit<'a>>) {
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

    /// Sends what waits, until the system has no room.
    pub(crate) fn on_writable(&mut self, core: &mut Core) {
        let mut queue = std::mem::take(&mut self.queue);
        let done = self.try_send(core, queue.iter());
        let before = queue.len();
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

    /// Hands datagrams to the system, and drops those that it will never take. Says how many that were before it had no
    /// more room.
    fn try_send(&mut self, core: &mut Core, mut datagrams: Outgoing<'_>) -> usize {
        let counters = &mut core.counters[self.counters as usize];
        let all = datagrams.len();
        while datagrams.len() > 0 {
            match self.socket.send_batch(datagrams.clone()) {
                Ok(sent) => {
                    // At least one, whatever a driver says: so this ends.
                    let sent = sent.clamp(1, datagrams.len());
                    counters.datagrams_out += sent as u64;
                    counters.bytes_out += datagrams.skip_first(sent) as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    counters.datagrams_dropped += 1;
                    datagrams.skip_first(1);
                    if is_refusal(&error) {
                        self.refusal = Some(error);
                    }
                }
            }
        }
        all - datagrams.len()
    }
}

/// Whether an error says that nobody is there: ICMP's "port unreachable", which Windows calls a reset.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset)
}
