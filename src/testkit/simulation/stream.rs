//! TCP, as far as those who use it can see it.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;

use super::weather::{SHORT_READ, SHORT_WRITE, WOULD_BLOCK};
use super::wire::{Source, Transport, Wire};
use crate::Time;
use crate::driver::Ready;

mod listening;
mod segments;

pub(super) use listening::Listener;

/// One end of a connection: which connection, and 0 for who connected or 1 for who accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) index: usize,
    serial: u64,
    end: usize,
}

impl Place {
    pub(super) fn peer(self) -> Self {
        Self { end: 1 - self.end, ..self }
    }
}

/// What TCP sends. Data says how much; the bytes lie with the receiver.
#[derive(Clone, Copy, Debug)]
pub(super) enum Segment {
    Syn,
    SynAck,
    Data(usize),
    Fin,
    Reset(io::ErrorKind),
    /// The sender has room again, or may send more.
    Ack,
}

pub(super) struct Connection {
    serial: u64,
    transport: Transport,
    ends: [End; 2],
    send_buffer: usize,
    receive_buffer: usize,
    segment: usize,
}

/// How far the peer's FIN has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fin {
    None,
    /// Behind bytes that are not sent yet.
    Asked,
    Sent,
    Received,
}

pub(super) struct End {
    pub(super) host: usize,
    /// `None` while no loop has it.
    pub(super) key: Option<u64>,
    pub(super) on_list: bool,
    local: SocketAddr,
    /// What the peer has written and this end has not read: first what has arrived, then what is on
    /// its way, then what the peer could not send yet.
    bytes: VecDeque<u8>,
    arrived: usize,
    in_flight: usize,
    fin: Fin,
    /// When what was sent to it last arrives.
    last_arrival: Time,
    /// An acknowledgement is on its way to the peer.
    ack_sent: bool,
    established: bool,
    write_shut: bool,
    /// A write found the buffer full: an edge is owed.
    blocked: bool,
    /// Why it broke, until somebody was told.
    error: Option<io::ErrorKind>,
    /// It broke.
    dead: bool,
    closed: bool,
}

impl End {
    fn new(host: usize, local: SocketAddr) -> Self {
        Self {
            host,
            key: None,
            on_list: false,
            local,
            bytes: VecDeque::new(),
            arrived: 0,
            in_flight: 0,
            fin: Fin::None,
            last_arrival: Time::ZERO,
            ack_sent: false,
            established: false,
            write_shut: false,
            blocked: false,
            error: None,
            dead: false,
            closed: false,
        }
    }

    /// Everything before the peer's FIN has arrived, and the FIN.
    fn finished(&self) -> bool {
        self.fin == Fin::Received && self.in_flight == 0
    }

    /// Bytes the peer could not send yet.
    fn unsent(&self) -> usize {
        self.bytes.len() - self.arrived - self.in_flight
    }

    /// Bytes that lie in the peer's send buffer.
    fn unacknowledged(&self) -> usize {
        self.bytes.len() - self.arrived
    }
}

impl Wire {
    pub(super) fn end(&mut self, place: Place) -> Option<&mut End> {
        self.connections.get_mut(place.index).filter(|it| it.serial == place.serial).map(|it| &mut it.ends[place.end])
    }

    /// A living stream's own end, and its peer's.
    fn ends(&mut self, place: Place) -> (&mut End, &mut End) {
        let [first, second] = &mut self.connections[place.index].ends;
        if place.end == 0 { (first, second) } else { (second, first) }
    }

    fn hosts_of(&self, place: Place) -> (usize, usize) {
        let ends = &self.connections[place.index].ends;
        (ends[place.end].host, ends[1 - place.end].host)
    }

    // Ends.

    /// The network resets every connection there is.
    pub(super) fn reset_all(&mut self) {
        let all = self.connections.iter().map(|(index, it)| Place { index, serial: it.serial, end: 0 });
        for place in all.collect::<Vec<_>>() {
            self.reset(place);
        }
    }

    /// The network resets a connection: both ends learn of it, one now, the other later.
    fn reset(&mut self, place: Place) {
        self.reset_arrived(place, io::ErrorKind::ConnectionReset);
        self.send(place.peer(), Segment::Reset(io::ErrorKind::ConnectionReset));
    }

    /// An end learns that its connection is broken. What arrived before can still be read, as on
    /// Linux.
    fn reset_arrived(&mut self, to: Place, kind: io::ErrorKind) {
        self.discard_towards(to);
        self.discard_unsent(to.peer());
        let (end, _) = self.ends(to);
        if end.closed || end.dead {
            return;
        }
        // Who has read to the end can only notice by writing.
        let kind = if end.fin == Fin::Received { io::ErrorKind::BrokenPipe } else { kind };
        (end.dead, end.error) = (true, Some(kind));
        self.raise(Source::Stream(to));
    }

    /// Forgets what is under way to an end that will take no more of it.
    fn discard_towards(&mut self, to: Place) {
        let (end, _) = self.ends(to);
        end.bytes.truncate(end.arrived);
        end.in_flight = 0;
    }

    /// Forgets what waits to be sent to an end.
    fn discard_unsent(&mut self, to: Place) {
        let (end, _) = self.ends(to);
        end.bytes.truncate(end.arrived + end.in_flight);
        end.fin = if end.fin == Fin::Asked { Fin::None } else { end.fin };
    }

    pub(super) fn close(&mut self, place: Place, abort: bool) {
        let (end, peer) = self.ends(place);
        end.closed = true;
        end.key = None;
        let (unread, dead, peer_gone) = (end.arrived > 0, end.dead, peer.closed);
        self.digest.mix(place.serial ^ u64::from(abort) << 63);
        if peer_gone {
            self.connections.remove(place.index);
        } else if dead {
            // The peer knows, or is about to.
        } else if abort || unread || !self.ends(place).0.established {
            // As a real socket: closing with input unread sends a reset. What was sent arrives before
            // it; what waited to be sent does not.
            self.discard_unsent(place.peer());
            self.send(place.peer(), Segment::Reset(io::ErrorKind::ConnectionReset));
        } else if !self.ends(place).0.write_shut {
            self.finish(place);
        }
    }

    pub(super) fn shutdown_write(&mut self, place: Place) -> io::Result<()> {
        let (end, _) = self.ends(place);
        if end.dead || !end.established {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if !end.write_shut {
            self.finish(place);
        }
        Ok(())
    }

    /// A FIN, behind everything that was written.
    fn finish(&mut self, place: Place) {
        let (end, peer) = self.ends(place);
        end.write_shut = true;
        peer.fin = Fin::Asked;
        self.pump(place);
    }

    // Reading and writing.

    pub(super) fn read(&mut self, place: Place, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let room = buffers.iter().map(|buffer| buffer.len()).sum();
        let (host, from) = self.hosts_of(place);
        let (end, _) = self.ends(place);
        let most = end.arrived.min(room);
        if most == 0 {
            return match end.error.take() {
                _ if room == 0 => Ok(0),
                Some(kind) => Err(kind.into()),
                None if end.dead || end.finished() => Ok(0),
                None => Err(io::ErrorKind::WouldBlock.into()),
            };
        }
        if self.weather.strikes(WOULD_BLOCK, host, from) {
            self.raise_later(Source::Stream(place), host, from);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut count = most;
        if most > 1 && self.weather.strikes(SHORT_READ, host, from) {
            count = self.weather.part(most);
            if self.short_means_drained() {
                self.raise(Source::Stream(place)); // as if the rest had come just after
            }
        }
        let receive_buffer = self.connections[place.index].receive_buffer;
        let (end, _) = self.ends(place);
        end.arrived -= count;
        let mut read = Vec::with_capacity(2);
        let mut left = count;
        for buffer in buffers {
            let piece = left.min(buffer.len());
            let piece = &mut buffer[..piece];
            io::Read::read_exact(&mut end.bytes, piece)?;
            left -= piece.len();
            read.push(piece);
        }
        // The window opens by half at least, or not yet.
        let opened = end.arrived == 0 || receive_buffer.saturating_sub(end.arrived) >= receive_buffer.div_ceil(2);
        let owes_ack = end.unsent() > 0 && opened && !end.dead && !std::mem::replace(&mut end.ack_sent, true);
        if owes_ack {
            self.send(place.peer(), Segment::Ack);
        }
        read.into_iter().for_each(|piece| self.digest.mix_bytes(piece));
        Ok(count)
    }

    pub(super) fn write(&mut self, place: Place, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let (host, to) = self.hosts_of(place);
        let send_buffer = self.connections[place.index].send_buffer;
        let (end, peer) = self.ends(place);
        if let Some(kind) = end.error.take() {
            return Err(kind.into());
        }
        if end.dead || end.write_shut {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let asked = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        let room = if end.established { send_buffer.saturating_sub(peer.unacknowledged()) } else { 0 };
        end.blocked |= room < asked;
        if room == 0 && asked > 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.weather.strikes(WOULD_BLOCK, host, to) {
            self.ends(place).0.blocked = true; // until that edge, or another
            self.raise_later(Source::Stream(place), host, to);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut count = asked.min(room);
        if count > 1 && self.weather.strikes(SHORT_WRITE, host, to) {
            count = self.weather.part(count);
            if self.short_means_drained() {
                self.ends(place).0.blocked = true;
                self.raise(Source::Stream(place)); // as if there had been room just after
            }
        }
        let (_, peer) = self.ends(place);
        let mut left = count;
        for piece in pieces {
            let part = piece.len().min(left);
            peer.bytes.extend(&piece[..part]);
            left -= part;
        }
        self.digest.mix(count as u64);
        self.pump(place);
        Ok(count)
    }

    pub(super) fn take_error(&mut self, place: Place) -> Option<io::Error> {
        self.ends(place).0.error.take().map(io::Error::from)
    }

    /// This side's address and the other's; Unix sockets have none.
    pub(super) fn addresses(&self, place: Place) -> Option<(SocketAddr, SocketAddr)> {
        let Connection { transport, ends, .. } = &self.connections[place.index];
        (*transport == Transport::Tcp).then(|| (ends[place.end].local, ends[1 - place.end].local))
    }

    pub(super) fn is_established(&self, place: Place) -> bool {
        let end = &self.connections[place.index].ends[place.end];
        end.established && !end.dead
    }

    pub(super) fn stream_state(&mut self, place: Place) -> Option<Ready> {
        let buffer = self.connections[place.index].send_buffer;
        let (end, peer) = self.ends(place);
        Some(Ready {
            key: end.key?,
            readable: end.arrived > 0 || end.finished() || end.dead,
            writable: end.established && !end.write_shut && is_writable(peer, buffer) || end.dead,
            read_closed: end.finished() || end.dead,
            error: end.error.is_some(),
        })
    }
}

/// Whether a writer is told that there is room: at a third of its buffer, as on Linux.
fn is_writable(peer: &End, buffer: usize) -> bool {
    buffer.saturating_sub(peer.unacknowledged()) >= buffer.div_ceil(3)
}

pub(super) fn no_descriptors() -> io::Error {
    io::Error::other("too many open files (simulated)")
}
