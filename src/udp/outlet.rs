//! The way out of a UDP socket: what the system has no room for waits, within the limit.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::Core;
use crate::datagram::{Datagrams, Envelope};
use crate::driver::Socket;

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

    /// Sends a datagram behind those that wait.
    pub(crate) fn send(&mut self, core: &mut Core, target: SocketAddr, source: Option<IpAddr>, payload: &[u8]) {
        let envelope = Envelope { target, source, len: payload.len() };
        if self.queue.is_empty() && self.try_send(core, envelope, payload) {
            return;
        }
        let cost = Datagrams::cost(payload.len());
        let fits = self.queue.len() + cost <= core.limits.datagram_queue && core.held + cost <= core.limits.loop_memory;
        if fits {
            core.held += cost;
            self.queue.push(target, source, payload);
        } else {
            core.counters[self.counters as usize].datagrams_dropped += 1;
        }
    }

    /// Sends what waits, until the system has no room.
    pub(crate) fn on_writable(&mut self, core: &mut Core) {
        let mut queue = std::mem::take(&mut self.queue);
        let sent = queue.iter().take_while(|&(envelope, payload)| self.try_send(core, envelope, payload)).count();
        let before = queue.len();
        queue.remove_first(sent);
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

    /// Hands a datagram to the system, or drops one that it will never take. False if it has no room now.
    #[inline]
    fn try_send(&mut self, core: &mut Core, Envelope { target, source, .. }: Envelope, payload: &[u8]) -> bool {
        let counters = &mut core.counters[self.counters as usize];
        loop {
            match self.socket.send_to(payload, target, source) {
                Ok(()) => {
                    counters.datagrams_out += 1;
                    counters.bytes_out += payload.len() as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    counters.datagrams_dropped += 1;
                    if is_refusal(&error) {
                        self.refusal = Some(error);
                    }
                }
            }
            return true;
        }
    }
}

/// Whether an error says that nobody is there: ICMP's "port unreachable", which Windows calls a reset.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset)
}
