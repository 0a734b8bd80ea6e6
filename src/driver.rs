//! The border between the loop and the world: sockets, readiness, the clock, randomness, wake-ups.
//!
//! Everything above a [`Driver`] is the same code whatever is below: [`MioDriver`] has the operating
//! system's sockets, [`testkit::MemoryDriver`](crate::testkit::MemoryDriver) a network in memory with
//! a clock of its own.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[cfg(unix)]
use crate::UnixListenOptions;
use crate::{ConnectOptions, Ecn, EndpointId, ListenOptions, Time, UdpOptions};

mod batch;
mod mio;

pub(crate) use self::batch::{Arrived, Returned};
pub use self::batch::{Batch, Outgoing, Transmit};
pub use self::mio::{MioDriver, MioEvents, MioListener, MioSocket, MioStream};

/// What is ready, as a driver's poll reports it.
///
/// These are hints: an operation may still say [`WouldBlock`](io::ErrorKind::WouldBlock), and a key
/// may belong to something that was closed since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// The key that was given when the thing was opened.
    pub key: u64,
    /// There is something to read or to accept. (The answer to a lookup is announced with nothing set.)
    pub readable: bool,
    /// There is room to write, or a connection is established, or it failed.
    pub writable: bool,
    /// The peer has closed its side: read until it shows, even after a short read.
    pub read_closed: bool,
    /// The connection broke.
    pub error: bool,
}

/// One of the things that a poll has found, which a driver need not have looked at as a whole.
pub trait Event {
    /// The key that was given when the thing was opened.
    fn key(&self) -> u64;

    /// All that is known of it.
    fn ready(&self) -> Ready;

    /// Whether there is something to read, and the peer has not closed its side, nor did the connection break. That nearly
    /// always is all there is to know, and a driver may find it out with less than it takes to say everything.
    #[inline]
    fn is_just_readable(&self) -> bool {
        let Ready { readable, read_closed, error, .. } = self.ready();
        readable && !read_closed && !error
    }
}

impl Event for Ready {
    #[inline]
    fn key(&self) -> u64 {
        self.key
    }

    #[inline]
    fn ready(&self) -> Ready {
        *self
    }
}

/// Why nothing was accepted.
#[derive(Debug)]
pub enum AcceptError {
    /// Nobody is waiting.
    Empty,
    /// This peer has gone again (`ECONNABORTED` and the like); the next may be there.
    Retry(io::Error),
    /// The process or the system lacks descriptors or memory: try again later.
    Exhausted(io::Error),
}

/// Interrupts a poll from any thread.
pub trait Wake: Send + Sync {
    /// Makes the poll that is under way, or else the next, return at once.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn wake(&self) -> io::Result<()>;
}

/// A network, its clock and its source of randomness. Readiness is edge-triggered: it is reported
/// once when it begins, and again only after an operation found that it had ended.
pub trait Driver: 'static {
    /// A connection: TCP's, or a Unix socket.
    type Stream: Stream;
    /// A listener: TCP's, or a Unix socket.
    type Listener;
    /// A UDP socket.
    type Socket: Socket;
    /// What a poll has found, in the form in which the system tells it: at first empty.
    type Events: Default;

    /// Whether a read or write of fewer bytes than asked for proves that readiness has ended, as
    /// epoll(7) promises. If not, the loop goes on until `WouldBlock`.
    const SHORT_MEANS_DRAINED: bool;

    /// Replaces `events` by what has become ready, waiting for at most `timeout` (`None`: until
    /// something is ready or a [`Wake`] says so). May return early with nothing.
    ///
    /// # Errors
    ///
    /// Those after which the loop cannot go on; an interrupted system call is none.
    fn poll(&mut self, timeout: Option<Duration>, events: &mut Self::Events) -> io::Result<()>;

    /// What is ready by a poll's `events`, in order. A key that was never given may be among it, and names nothing.
    fn ready(events: &Self::Events) -> impl Iterator<Item = impl Event>;

    /// Whether the last [`poll`](Self::poll) may have left out something that is ready, so that the next should not
    /// wait, nor need anything announce it to a loop that this one is part of.
    fn has_more(&self) -> bool {
        false
    }

    /// The time since the driver was made. Never runs backwards.
    fn now(&self) -> Time;

    /// The same clock, for who measures without having the driver at hand.
    fn clock(&self) -> Box<dyn Fn() -> Time>;

    /// Bytes that nobody can guess, for the loop's generator; asked for once.
    ///
    /// # Errors
    ///
    /// If there is no randomness to be had.
    fn seed(&mut self) -> io::Result<[u8; 32]>;

    /// What interrupts [`poll`](Self::poll).
    fn waker(&self) -> Arc<dyn Wake>;

    /// Listens on `address` and reports readiness under `key`.
    ///
    /// # Errors
    ///
    /// What the system says: in use, not permitted, ….
    fn listen(&mut self, key: u64, address: SocketAddr, options: &ListenOptions) -> io::Result<Self::Listener>;

    /// Listens on a Unix stream socket at `path` and reports readiness under `key`. A file that nobody
    /// listens behind any more is replaced, and [`close_listener`](Self::close_listener) removes it.
    ///
    /// # Errors
    ///
    /// What the system says: in use, not permitted, ….
    #[cfg(unix)]
    fn listen_unix(&mut self, key: u64, path: &Path, options: &UnixListenOptions) -> io::Result<Self::Listener>;

    /// The address a listener is bound to.
    ///
    /// # Errors
    ///
    /// What the system says; a Unix socket has none.
    fn listener_addr(&self, listener: &Self::Listener) -> io::Result<SocketAddr>;

    /// Takes the next peer that waits, with its address, if it has one.
    ///
    /// # Errors
    ///
    /// Says whether to go on, to wait for the next edge, or to wait a while.
    fn accept(&mut self, listener: &mut Self::Listener) -> Result<(Self::Stream, Option<SocketAddr>), AcceptError>;

    /// From now on reports an accepted connection's readiness under `key`, what is ready already
    /// included.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn register(&mut self, key: u64, stream: &mut Self::Stream) -> io::Result<()>;

    /// Begins to connect, and reports readiness under `key`.
    ///
    /// # Errors
    ///
    /// What the system says at once; later failures come from [`connected`](Self::connected).
    fn connect(&mut self, key: u64, address: SocketAddr, options: &ConnectOptions) -> io::Result<Self::Stream>;

    /// Begins to connect to a Unix stream socket, and reports readiness under `key`.
    ///
    /// # Errors
    ///
    /// What the system says; `WouldBlock` if too many wait there to be accepted, so that it has to be
    /// tried again later.
    #[cfg(unix)]
    fn connect_unix(&mut self, key: u64, path: &Path, options: &ConnectOptions) -> io::Result<Self::Stream>;

    /// Begins to look up a host's addresses, without blocking. When there is an answer, `key` is
    /// reported by a poll or by [`answered`](Self::answered), and [`resolved`](Self::resolved) has it.
    fn resolve(&mut self, key: u64, host: &str, port: u16);

    /// After a poll: appends who has an answer to its lookup, each once, unless the poll reports that itself.
    fn answered(&mut self, _answered: &mut Vec<EndpointId>) {}

    /// Takes the answer to the lookup for `key`, if it is there: the addresses with their port, those
    /// first that should be tried first (RFC 6724), or why there are none.
    fn resolved(&mut self, key: u64) -> Option<io::Result<Vec<SocketAddr>>>;

    /// Nobody waits for the lookup for `key` any more.
    fn forget(&mut self, key: u64);

    /// Whether an outgoing connection stands by now.
    ///
    /// # Errors
    ///
    /// Why it never will.
    fn connected(&mut self, stream: &mut Self::Stream) -> io::Result<bool>;

    /// Ends a connection; with a reset if `abort`.
    fn close(&mut self, stream: Self::Stream, abort: bool);

    /// Ends a listener.
    fn close_listener(&mut self, listener: Self::Listener);

    /// Binds a UDP socket and reports readiness under `key`.
    ///
    /// # Errors
    ///
    /// What the system says: in use, not permitted, ….
    fn bind_udp(&mut self, key: u64, address: SocketAddr, options: &UdpOptions) -> io::Result<Self::Socket>;

    /// Makes a UDP socket that speaks to `peer` alone, and reports readiness under `key`: it receives nobody else's
    /// datagrams, and hears of it when its own are refused.
    ///
    /// # Errors
    ///
    /// What the system says: no route, out of descriptors, ….
    fn connect_udp(&mut self, key: u64, peer: SocketAddr, options: &UdpOptions) -> io::Result<Self::Socket>;

    /// Ends a UDP socket.
    fn close_socket(&mut self, socket: Self::Socket);
}

/// A connection that never blocks: what can't be done at once is
/// [`WouldBlock`](io::ErrorKind::WouldBlock).
pub trait Stream {
    /// Reads into `buffer`; 0 if the peer has half-closed (or the buffer is empty).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if nothing is there; anything else ends the connection.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Reads into `buffers`, one filled before the next; else as [`read`](Self::read).
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize>;

    /// Writes the beginning of `bytes`, and says how much of it.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room; anything else ends the connection.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// As [`write`](Self::write), of what the end follows at once, by [`shutdown_write`](Self::shutdown_write) or
    /// [`Driver::close`]: it may wait for that, so that both leave together.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    /// Writes the beginning of `pieces`, and says how much of it.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Tells the peer that no more comes.
    ///
    /// # Errors
    ///
    /// If the connection has broken.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// The error that broke the connection, if one did.
    ///
    /// # Errors
    ///
    /// If the system can't say.
    fn take_error(&mut self) -> io::Result<Option<io::Error>>;

    /// The peer's address.
    ///
    /// # Errors
    ///
    /// If the connection has broken, or is a Unix socket.
    fn peer_addr(&self) -> io::Result<SocketAddr>;

    /// This side's address.
    ///
    /// # Errors
    ///
    /// If the connection has broken, or is a Unix socket.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A UDP socket that never blocks.
pub trait Socket {
    /// Receives one datagram into `buffer`. What does not fit is lost, so the buffer has 65,535 bytes.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if none is there; anything else concerns an earlier datagram's peer: `ConnectionRefused` (or
    /// `ConnectionReset`) says that nobody is there, which ends a connected socket's session.
    fn recv_from(&mut self, buffer: &mut [u8]) -> io::Result<Received>;

    /// Sends one datagram; from the local address `source`, if there is one.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room; anything else concerns this datagram alone, or as for
    /// [`recv_from`](Self::recv_from). `Unsupported` if there is no way to choose the source.
    fn send_to(&mut self, payload: &[u8], target: SocketAddr, source: Option<IpAddr>) -> io::Result<()>;

    /// Receives datagrams until the batch has no free slot. By default one by one; for systems that can do it at once.
    ///
    /// # Errors
    ///
    /// As for [`recv_from`](Self::recv_from), of what came behind those that the batch holds then; `WouldBlock` if
    /// nothing is left.
    fn recv_batch(&mut self, batch: &mut Batch) -> io::Result<()> {
        batch.fill(self)
    }

    /// Sends the first of the datagrams (there is one), or more; says how many. By default the first, as
    /// [`send_to`](Self::send_to) does, without its [mark](Transmit::ecn); for systems that can send several at once.
    ///
    /// # Errors
    ///
    /// As for `send_to`, of the first one. Where it is a later one that can't be sent, those before it are sent, and the
    /// next call says why.
    fn send_batch(&mut self, mut datagrams: Outgoing<'_>) -> io::Result<usize> {
        let Some(Transmit { payload, target, source, .. }) = datagrams.next() else { return Ok(0) };
        self.send_to(payload, target, source).map(|()| 1)
    }

    /// The address it is bound to.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// What a [`Socket`] has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes of the datagram, in the buffer.
    pub len: usize,
    /// Who sent it, by its own account.
    pub source: SocketAddr,
    /// The local address that it came to, where that was asked for ([`UdpOptions::local_addresses`]) and is one that
    /// can be answered from.
    pub local: Option<IpAddr>,
    /// How the network marked it, where that was asked for ([`UdpOptions::receive_ecn`]).
    pub ecn: Option<Ecn>,
}
