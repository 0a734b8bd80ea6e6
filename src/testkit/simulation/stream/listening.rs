//! How connections come to be: listening, connecting, accepting.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use super::{Connection, End, Place, Segment, Wire, no_descriptors};
use crate::driver::{AcceptError, Ready};
use crate::testkit::simulation::weather::{ABORTED, EXHAUSTED, REFUSED, WOULD_BLOCK};
use crate::testkit::simulation::wire::{Happening, Source, Transport};

/// How long a connect waits to try again at a full backlog.
const RECONNECT: Duration = Duration::from_secs(1);

pub(crate) struct Listener {
    pub(crate) host: usize,
    pub(crate) serial: u64,
    pub(crate) on_list: bool,
    key: u64,
    transport: Transport,
    pub(crate) address: SocketAddr,
    backlog: usize,
    waiting: VecDeque<Place>,
}

impl Listener {
    pub(crate) fn state(&self) -> Ready {
        Ready { key: self.key, readable: !self.waiting.is_empty(), ..Ready::default() }
    }
}

impl Wire {
    pub(crate) fn listen(
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
        Ok((self.listen_at(host, key, Transport::Tcp, address, backlog), address))
    }

    #[cfg(unix)]
    pub(crate) fn listen_unix(&mut self, host: usize, key: u64, path: &Path, backlog: u32) -> io::Result<usize> {
        if self.is_exhausted(host) {
            return Err(no_descriptors());
        }
        let address = self.free_path(host, path)?;
        Ok(self.listen_at(host, key, Transport::Unix, address, backlog))
    }

    fn listen_at(&mut self, host: usize, key: u64, transport: Transport, address: SocketAddr, backlog: u32) -> usize {
        let serial = self.next_serial();
        let backlog = usize::try_from(backlog).unwrap_or(usize::MAX).max(1);
        let waiting = VecDeque::new();
        let listener = Listener { host, serial, on_list: false, key, transport, address, backlog, waiting };
        let index = self.listeners.insert(listener);
        self.bind(host, transport, address.port(), index);
        index
    }

    /// Ends a listener; those who wait to be accepted are reset.
    pub(crate) fn close_listener(&mut self, index: usize) {
        let listener = self.listeners.remove(index);
        self.unbind(listener.host, listener.transport, listener.address.port());
        #[cfg(unix)]
        if listener.transport == Transport::Unix {
            self.remove_path(listener.host, listener.address.port());
        }
        for place in listener.waiting {
            self.close(place, true);
        }
    }

    pub(crate) fn accept(&mut self, index: usize) -> Result<(Place, Option<SocketAddr>), AcceptError> {
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
        Ok((place, self.addresses(place).map(|(_, peer)| peer)))
    }

    /// From now on the loop is told of an accepted stream, and of what is so already.
    pub(crate) fn register(&mut self, place: Place, key: u64) {
        let (end, _) = self.ends(place);
        end.key = Some(key);
        let host = end.host;
        self.hosts[host].first_accepted.get_or_insert(key);
        self.raise(Source::Stream(place));
    }

    pub(crate) fn connect(&mut self, host: usize, key: u64, address: SocketAddr) -> io::Result<Place> {
        if self.is_exhausted(host) {
            return Err(no_descriptors());
        }
        let target = self.host_at(address.ip(), host);
        let own = match address.ip() {
            ip if ip.is_loopback() => ip,
            IpAddr::V4(_) => Self::ip(host),
            IpAddr::V6(_) => Self::ip6(host),
        };
        let local = self.free_port(host, Transport::Tcp, SocketAddr::new(own, 0))?;
        let place = self.connect_ends(key, Transport::Tcp, (host, local), (target.unwrap_or(host), address));
        if target.is_some() {
            self.send(place.peer(), Segment::Syn);
        } // else nobody is there, and nobody answers
        Ok(place)
    }

    #[cfg(unix)]
    pub(crate) fn connect_unix(&mut self, host: usize, key: u64, path: &Path) -> io::Result<Place> {
        if self.is_exhausted(host) {
            return Err(no_descriptors());
        }
        let address = self.path(host, path)?;
        let place = self.connect_ends(key, Transport::Unix, (host, address), (host, address));
        self.send(place.peer(), Segment::Syn);
        Ok(place)
    }

    /// A connection that does not stand yet, from one host and address to another.
    fn connect_ends(
        &mut self,
        key: u64,
        transport: Transport,
        (host, local): (usize, SocketAddr),
        (to, address): (usize, SocketAddr),
    ) -> Place {
        let conditions = self.weather.between(host, to);
        let (send_buffer, receive_buffer) = (conditions.send_buffer, conditions.receive_buffer);
        let segment = conditions.segment;
        let serial = self.next_serial();
        let client = End { key: Some(key), ..End::new(host, local) };
        let server = End { closed: true, ..End::new(to, address) }; // nobody has it yet
        let ends = [client, server];
        let connection = Connection { serial, transport, ends, send_buffer, receive_buffer, segment };
        Place { index: self.connections.insert(connection), serial, end: 0 }
    }

    /// Whether a connection stands.
    pub(crate) fn connected(&mut self, place: Place) -> io::Result<bool> {
        let (end, _) = self.ends(place);
        match end.error.take() {
            Some(kind) => Err(kind.into()),
            None if end.dead && !end.established => Err(io::ErrorKind::NotConnected.into()),
            None => Ok(end.established),
        }
    }

    /// Somebody wants to connect.
    pub(super) fn syn_arrived(&mut self, place: Place) {
        let (host, peer) = self.hosts_of(place);
        let (port, transport) = (self.ends(place).0.local.port(), self.connections[place.index].transport);
        let listener = self.bound(host, transport, port);
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
}
