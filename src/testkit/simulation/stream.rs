//! TCP, as far as those who use it can see it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

use super::weather::{ABORTED, EXHAUSTED, REFUSED, RESET, SEGMENT_LOST, SHORT_READ, SHORT_WRITE, WOULD_BLOCK};
use super::wire::{Happening, Source, Transport, Wire};
use crate::Time;
use crate::driver::{AcceptError, Ready};

/// How long a lost segment takes to be sent again, at first.
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// The longest that a retransmission is put off, in terms of the first: 2^6.
const BACKOFF: u32 = 6;
/// How long a connect waits to try again at a full backlog.
const RECONNECT: Duration = Duration::from_secs(1);

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

pub(super) struct Listener {
    pub(super) host: usize,
    pub(super) serial: u64,
    pub(super) on_list: bool,
    key: u64,
    pub(super) address: SocketAddr,
    backlog: usize,
    waiting: VecDeque<Place>,
}

impl Listener {
    pub(super) fn state(&self) -> Ready {
        Ready { key: self.key, readable: !self.waiting.is_empty(), ..Ready::default() }
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

    // Listening and connecting.

    pub(super) fn listen(
        &mut self,
        host: usize,
        key: u64,
        asked: SocketAddr,
        backlog: u32,
    ) -> io::Result<(usize, SocketAddr)> {
        if self.is_exhausted(host) {
            return Err(no_descriptors());
        }
        let address = self.free_port(host, Transport::Tcp, asked)?;
        let serial = self.next_serial();
        let backlog = usize::try_from(backlog).unwrap_or(usize::MAX).max(1);
        let listener = Listener { host, serial, on_list: false, key, address, backlog, waiting: VecDeque::new() };
        let index = self.listeners.insert(listener);
        self.bind(host, Transport::Tcp, address.port(), index);
        Ok((index, address))
    }

    /// Ends a listener; those who wait to be accepted are reset.
    pub(super) fn close_listener(&mut self, index: usize) {
        let listener = self.listeners.remove(index);
        self.unbind(listener.host, Transport::Tcp, listener.address.port());
        for place in listener.waiting {
            self.close(place, true);
        }
    }

    pub(super) fn accept(&mut self, index: usize) -> Result<(Place, SocketAddr), AcceptError> {
        let listener = &self.listeners[index];
        let (host, serial) = (listener.host, listener.serial);
        if self.is_exhausted(host) {
            return Err(AcceptError::Exhausted(no_descriptors()));
        }
        let Some(&place) = self.listeners[index].waiting.front() else { return Err(AcceptError::Empty) };
        let (_, peer) = self.hosts_of(place);
        if self.weather.strikes(WOULD_BLOCK, host, peer) {
            self.raise_later(Source::Listener { index, serial }, host, peer);
            return Err(AcceptError::Empty);
        }
        if self.weather.strikes(EXHAUSTED, host, peer) {
            return Err(AcceptError::Exhausted(no_descriptors()));
        }
        self.listeners[index].waiting.pop_front();
        if self.weather.strikes(ABORTED, host, peer) {
            self.close(place, true);
            return Err(AcceptError::Retry(io::ErrorKind::ConnectionAborted.into()));
        }
        Ok((place, self.ends(place).1.local))
    }

    /// From now on the loop is told of an accepted stream, and of what is so already.
    pub(super) fn register(&mut self, place: Place, key: u64) {
        let (end, _) = self.ends(place);
        end.key = Some(key);
        let host = end.host;
        self.hosts[host].first_accepted.get_or_insert(key);
        self.raise(Source::Stream(place));
    }

    pub(super) fn connect(&mut self, host: usize, key: u64, address: SocketAddr) -> io::Result<Place> {
        if self.is_exhausted(host) {
            return Err(no_descriptors());
        }
        let target = self.host_at(address.ip(), host);
        let own = if address.ip().is_loopback() { address.ip() } else { Self::ip(host) };
        let local = self.free_port(host, Transport::Tcp, SocketAddr::new(own, 0))?;
        let to = target.unwrap_or(host);
        let conditions = self.weather.between(host, to);
        let (send_buffer, receive_buffer) = (conditions.send_buffer, conditions.receive_buffer);
        let segment = conditions.segment;
        let serial = self.next_serial();
        let client = End { key: Some(key), ..End::new(host, local) };
        let server = End { closed: true, ..End::new(to, address) }; // nobody has it yet
        let connection = Connection { serial, ends: [client, server], send_buffer, receive_buffer, segment };
        let place = Place { index: self.connections.insert(connection), serial, end: 0 };
        if target.is_some() {
            self.send(place.peer(), Segment::Syn);
        } // else nobody is there, and nobody answers
        Ok(place)
    }

    /// Whether a connection stands.
    pub(super) fn connected(&mut self, place: Place) -> io::Result<bool> {
        let (end, _) = self.ends(place);
        match end.error.take() {
            Some(kind) => Err(kind.into()),
            None if end.dead && !end.established => Err(io::ErrorKind::NotConnected.into()),
            None => Ok(end.established),
        }
    }

    /// Somebody wants to connect.
    fn syn_arrived(&mut self, place: Place) {
        let (host, peer) = self.hosts_of(place);
        let port = self.ends(place).0.local.port();
        let listener = self.bound(host, Transport::Tcp, port);
        let refused = listener.is_none() || self.weather.strikes(REFUSED, host, peer);
        let Some(index) = listener.filter(|_| !refused) else {
            return self.send(place.peer(), Segment::Reset(io::ErrorKind::ConnectionRefused));
        };
        let listener = &mut self.listeners[index];
        if listener.waiting.len() >= listener.backlog {
            let at = self.now + RECONNECT;
            return self.schedule(at, Happening::Segment { to: place, segment: Segment::Syn });
        }
        listener.waiting.push_back(place);
        let serial = listener.serial;
        let (end, _) = self.ends(place);
        (end.closed, end.established) = (false, true);
        self.send(place.peer(), Segment::SynAck);
        self.raise(Source::Listener { index, serial });
    }

    // Sending and arriving.

    /// Sends a segment to one end; it arrives behind what was sent there before.
    fn send(&mut self, to: Place, segment: Segment) {
        let bytes = if let Segment::Data(bytes) = segment { bytes } else { 0 };
        self.send_after(to, segment, bytes, Duration::ZERO);
    }

    /// Sends a segment again that a partition held up; its sender tries at intervals of its own.
    pub(super) fn resend(&mut self, to: Place, segment: Segment) {
        if self.end(to).is_some() {
            let delay = self.weather.up_to(RETRANSMISSION);
            self.send_after(to, segment, 0, delay);
        }
    }

    fn send_after(&mut self, to: Place, segment: Segment, bytes: usize, delay: Duration) {
        let (host, from) = self.hosts_of(to);
        let mut at = self.departure(from, host, bytes) + self.weather.latency(from, host) + delay;
        for attempt in 0..BACKOFF {
            if !self.weather.strikes(SEGMENT_LOST, from, host) {
                break;
            }
            at = at + RETRANSMISSION * 2_u32.pow(attempt);
        }
        if !matches!(segment, Segment::Ack) {
            let (end, _) = self.ends(to);
            at = at.max(end.last_arrival);
            end.last_arrival = at;
        }
        self.schedule(at, Happening::Segment { to, segment });
    }

    /// A segment arrives, unless the connection has gone or a partition is in its way.
    pub(super) fn segment_due(&mut self, to: Place, segment: Segment) {
        if self.end(to).is_none() {
            return;
        }
        let (host, from) = self.hosts_of(to);
        if self.hold(host, from, to, segment) {
            return;
        }
        self.digest.mix(to.serial << 1 | to.end as u64);
        match segment {
            Segment::Syn => return self.syn_arrived(to),
            Segment::Data(bytes) => return self.data_arrived(to, bytes),
            Segment::Reset(kind) => return self.reset_arrived(to, kind),
            Segment::SynAck => self.ends(to).0.established = true,
            Segment::Fin => self.ends(to).0.fin = Fin::Received,
            Segment::Ack => return self.ack_arrived(to),
        }
        self.raise(Source::Stream(to));
    }

    fn data_arrived(&mut self, to: Place, bytes: usize) {
        let (host, from) = self.hosts_of(to);
        let (end, _) = self.ends(to);
        if end.dead {
            return;
        }
        if end.closed {
            // Nobody is there to read it.
            self.discard_towards(to);
            return self.send(to.peer(), Segment::Reset(io::ErrorKind::ConnectionReset));
        }
        if self.weather.strikes(RESET, host, from) {
            return self.reset(to);
        }
        let (end, peer) = self.ends(to);
        end.in_flight -= bytes;
        end.arrived += bytes;
        let owes_ack = peer.blocked && !std::mem::replace(&mut end.ack_sent, true);
        if owes_ack {
            self.send(to.peer(), Segment::Ack);
        }
        self.raise(Source::Stream(to));
    }

    /// The sender learns that its peer has taken something.
    fn ack_arrived(&mut self, sender: Place) {
        self.pump(sender);
        let buffer = self.connections[sender.index].send_buffer;
        let (end, peer) = self.ends(sender);
        peer.ack_sent = false;
        if end.blocked && is_writable(peer, buffer) {
            end.blocked = false;
            self.raise(Source::Stream(sender));
        }
    }

    /// Sends what its peer's buffer has room for.
    fn pump(&mut self, sender: Place) {
        let to = sender.peer();
        let Connection { receive_buffer, segment, .. } = self.connections[to.index];
        loop {
            let (end, _) = self.ends(to);
            let room = receive_buffer.saturating_sub(end.arrived + end.in_flight);
            let bytes = end.unsent().min(room).min(segment);
            if bytes == 0 {
                break;
            }
            end.in_flight += bytes;
            self.send(to, Segment::Data(bytes));
        }
        let (end, _) = self.ends(to);
        if end.fin == Fin::Asked && end.unsent() == 0 {
            end.fin = Fin::Sent;
            self.send(to, Segment::Fin);
        }
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

    pub(super) fn read(&mut self, place: Place, buffer: &mut [u8]) -> io::Result<usize> {
        let (host, from) = self.hosts_of(place);
        let (end, _) = self.ends(place);
        let most = end.arrived.min(buffer.len());
        if most == 0 {
            return match end.error.take() {
                _ if buffer.is_empty() => Ok(0),
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
        let (front, back) = end.bytes.as_slices();
        let front = &front[..front.len().min(count)];
        let (start, rest) = buffer[..count].split_at_mut(front.len());
        start.copy_from_slice(front);
        rest.copy_from_slice(&back[..rest.len()]);
        end.bytes.drain(..count);
        end.arrived -= count;
        // The window opens by half at least, or not yet.
        let opened = end.arrived == 0 || receive_buffer.saturating_sub(end.arrived) >= receive_buffer.div_ceil(2);
        let owes_ack = end.unsent() > 0 && opened && !end.dead && !std::mem::replace(&mut end.ack_sent, true);
        if owes_ack {
            self.send(place.peer(), Segment::Ack);
        }
        self.digest.mix_bytes(&buffer[..count]);
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

    /// This side's address and the other's.
    pub(super) fn addresses(&self, place: Place) -> (SocketAddr, SocketAddr) {
        let ends = &self.connections[place.index].ends;
        (ends[place.end].local, ends[1 - place.end].local)
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
