//! UDP.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use super::stream::no_descriptors;
use super::weather::{DATAGRAM_LOST, DUPLICATED, REORDERED, WOULD_BLOCK};
use super::wire::{Happening, Source, Transport, Wire};
use crate::driver::{Batch, Outgoing, Ready, Received, Transmit};

/// The largest payload of a UDP datagram over IPv4.
const LARGEST: usize = 65_507;

pub(super) struct Socket {
    pub(super) host: usize,
    pub(super) serial: u64,
    pub(super) on_list: bool,
    key: u64,
    pub(super) address: SocketAddr,
    /// Whom it is connected to: it hears nobody else.
    peer: Option<SocketAddr>,
    /// A datagram was refused, and the socket was not asked anything since.
    refused: bool,
    tells_local: bool,
    inbound: VecDeque<(SocketAddr, Vec<u8>)>,
    /// Bytes in `inbound`.
    held: usize,
    /// Bytes sent that have not arrived.
    in_flight: usize,
    /// A send found no room: an edge is owed.
    blocked: bool,
}

/// A datagram under way.
pub(super) struct Datagram {
    /// Who sent it, unless that has room for it already.
    sender: Option<(usize, u64)>,
    source: SocketAddr,
    from: usize,
    to: Option<usize>,
    port: u16,
    payload: Vec<u8>,
    lost: bool,
}

impl Wire {
    pub(super) fn bind_udp(
        &mut self,
        host: usize,
        key: u64,
        asked: SocketAddr,
        tells_local: bool,
    ) -> io::Result<usize> {
        self.open_socket(host, key, asked, None, tells_local)
    }

    pub(super) fn connect_udp(
        &mut self,
        host: usize,
        key: u64,
        peer: SocketAddr,
        tells_local: bool,
    ) -> io::Result<usize> {
        let own = if peer.ip().is_loopback() { peer.ip() } else { Self::ip(host) };
        self.open_socket(host, key, SocketAddr::new(own, 0), Some(peer), tells_local)
    }

    fn open_socket(
        &mut self,
        host: usize,
        key: u64,
        asked: SocketAddr,
        peer: Option<SocketAddr>,
        tells_local: bool,
    ) -> io::Result<usize> {
        if self.is_exhausted(host) {
            return Err(no_descriptors());
        }
        let address = self.free_port(host, Transport::Udp, asked)?;
        let serial = self.next_serial();
        let index = self.sockets.insert(Socket {
            host,
            serial,
            on_list: false,
            key,
            address,
            peer,
            refused: false,
            tells_local,
            inbound: VecDeque::new(),
            held: 0,
            in_flight: 0,
            blocked: false,
        });
        self.bind(host, Transport::Udp, address.port(), index);
        self.raise(Source::Socket { index, serial });
        Ok(index)
    }

    pub(super) fn close_socket(&mut self, index: usize) {
        let socket = self.sockets.remove(index);
        self.unbind(socket.host, Transport::Udp, socket.address.port());
    }

    pub(super) fn send_to(&mut self, index: usize, payload: &[u8], target: SocketAddr) -> io::Result<()> {
        self.take_refusal(index)?;
        let Socket { host, serial, address, in_flight, .. } = self.sockets[index];
        if payload.len() > LARGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "message too long"));
        }
        let to = self.host_at(target.ip(), host);
        let peer = to.unwrap_or(host);
        // A datagram of any size passes if none is under way.
        if in_flight > 0 && in_flight + payload.len() > self.weather.between(host, peer).send_buffer {
            self.sockets[index].blocked = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.weather.strikes(WOULD_BLOCK, host, peer) {
            self.raise_later(Source::Socket { index, serial }, host, peer);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.sockets[index].in_flight += payload.len();
        self.digest.mix_bytes(payload);
        let lost = self.weather.strikes(DATAGRAM_LOST, host, peer);
        let datagram = |sender, lost| Datagram {
            sender,
            source: address,
            from: host,
            to,
            port: target.port(),
            payload: payload.to_vec(),
            lost,
        };
        if !lost && self.weather.strikes(DUPLICATED, host, peer) {
            self.send_datagram(datagram(None, false), host, peer);
        }
        self.send_datagram(datagram(Some((index, serial)), lost), host, peer);
        Ok(())
    }

    fn send_datagram(&mut self, datagram: Datagram, from: usize, to: usize) {
        let departure = self.departure(from, to, datagram.payload.len());
        let latency = self.weather.latency(from, to);
        let at = if !datagram.lost && self.weather.strikes(REORDERED, from, to) {
            departure + latency + self.weather.up_to(latency * 3)
        } else {
            let lane = self.lane(from, to);
            lane.last_datagram = lane.last_datagram.max(departure + latency);
            lane.last_datagram
        };
        self.schedule(at, Happening::Datagram(Box::new(datagram)));
    }

    pub(super) fn datagram_due(&mut self, datagram: Datagram) {
        let Datagram { sender, source, from, to, port, payload, lost } = datagram;
        if let Some((index, serial)) = sender
            && let Some(socket) = self.sockets.get_mut(index).filter(|it| it.serial == serial)
        {
            socket.in_flight -= payload.len();
            if std::mem::take(&mut socket.blocked) {
                self.raise(Source::Socket { index, serial });
            }
        }
        if lost {
            return; // counted when the die was cast
        }
        let target = to.filter(|&to| !self.is_partitioned(from, to));
        let index = target.and_then(|to| self.bound(to, Transport::Udp, port));
        let index = index.filter(|&index| self.sockets[index].peer.is_none_or(|peer| peer == source));
        if let (Some(to), None, Some((index, serial))) = (target, index, sender) {
            let at = self.now + self.weather.latency(to, from);
            self.schedule(at, Happening::Refusal { index, serial });
        }
        let room = self.weather.between(from, to.unwrap_or(from)).receive_buffer;
        let Some(index) = index.filter(|&index| {
            let held = self.sockets[index].held;
            held == 0 || held + payload.len() <= room
        }) else {
            self.weather.faults.datagrams_lost += 1;
            return;
        };
        let socket = &mut self.sockets[index];
        socket.held += payload.len();
        socket.inbound.push_back((source, payload));
        let serial = socket.serial;
        self.digest.mix(serial);
        self.raise(Source::Socket { index, serial });
    }

    /// Nobody had the port: a connected socket is told by its next call, any other not at all (as on Linux).
    pub(super) fn refusal_due(&mut self, index: usize, serial: u64) {
        let socket = self.sockets.get_mut(index).filter(|it| it.serial == serial && it.peer.is_some());
        if let Some(socket) = socket {
            socket.refused = true;
            self.digest.mix(serial);
            self.raise(Source::Socket { index, serial });
        }
    }

    fn take_refusal(&mut self, index: usize) -> io::Result<()> {
        let refused = std::mem::take(&mut self.sockets[index].refused);
        if refused { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(()) }
    }

    pub(super) fn recv_from(&mut self, index: usize, buffer: &mut [u8]) -> io::Result<Received> {
        self.take_refusal(index)?;
        let Socket { host, serial, .. } = self.sockets[index];
        let Some((source, _)) = self.sockets[index].inbound.front() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let from = self.host_at(source.ip(), host).unwrap_or(host);
        if self.weather.strikes(WOULD_BLOCK, host, from) {
            self.raise_later(Source::Socket { index, serial }, host, from);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let socket = &mut self.sockets[index];
        let Some((source, payload)) = socket.inbound.pop_front() else { return Err(io::ErrorKind::WouldBlock.into()) };
        socket.held -= payload.len();
        let local = socket.tells_local.then(|| socket.address.ip());
        let len = payload.len().min(buffer.len());
        buffer[..len].copy_from_slice(&payload[..len]);
        self.digest.mix_bytes(&payload);
        Ok(Received { len, source, local, ecn: None })
    }

    /// Hands over as many at once as happens to be: one, some, or all.
    pub(super) fn recv_batch(&mut self, index: usize, batch: &mut Batch) -> io::Result<()> {
        for _ in 0..self.a_few() {
            let Some(slot) = batch.slot() else { break };
            let received = self.recv_from(index, slot)?;
            batch.push(received);
        }
        Ok(())
    }

    /// Takes as many at once as happens to be. As of Linux's sendmmsg, an error is only told of if the first has it.
    pub(super) fn send_batch(&mut self, index: usize, datagrams: Outgoing<'_>) -> io::Result<usize> {
        let most = self.a_few().min(datagrams.len());
        for (sent, Transmit { payload, target, .. }) in datagrams.take(most).enumerate() {
            match self.send_to(index, payload, target) {
                Ok(()) => {}
                Err(error) if sent == 0 => return Err(error),
                Err(_) => return Ok(sent),
            }
        }
        Ok(most)
    }

    /// 1 to 16. Drawn from what has happened, so that it takes nothing from the weather's chances.
    fn a_few(&self) -> usize {
        1 + usize::try_from(self.digest.0 >> 60).unwrap_or(0)
    }

    pub(super) fn socket_state(&mut self, index: usize) -> Ready {
        let socket = &self.sockets[index];
        let error = socket.refused;
        let readable = !socket.inbound.is_empty() || error;
        Ready { key: socket.key, readable, writable: !socket.blocked || error, read_closed: false, error }
    }
}
