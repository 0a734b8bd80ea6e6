//! The driver of the real world: mio's poll, the operating system's sockets, clock and randomness.
//!
//! Nothing but this file and those below it names any of them. Linux is what it is tested on.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
#[cfg(unix)]
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ::mio::event::Event;
#[cfg(unix)]
use ::mio::net::UnixListener;
use ::mio::net::{TcpListener, TcpStream};
use ::mio::{Events, Interest, Poll, Token, Waker};
use socket2::SockRef;

use super::{AcceptError, Driver, Ready, Stream, Wake};
#[cfg(unix)]
use crate::UnixListenOptions;
use crate::{ConnectOptions, EndpointId, ListenOptions, StreamOptions, Time, UdpOptions};

mod clock;
mod options;
mod resolver;
mod stream;
mod udp;
#[cfg(unix)]
mod unix;

use clock::Clock;
use resolver::Resolver;
use udp::Calls;
pub use udp::MioSocket;

// A key has an index of 32 bits and a generation of 32 bits, and mio's token is a usize.
const _: () = assert!(usize::BITS >= 64, "the mio driver needs 64-bit pointers");

/// The token of wake-ups; it names nothing, since indices stay below 2^31.
const WAKE: Token = Token(usize::MAX);
/// How many events one poll takes; more wait for the next.
const EVENTS: usize = 1024;

/// A [`Driver`] over mio.
pub struct MioDriver {
    poll: Poll,
    waker: Arc<dyn Wake>,
    resolver: Resolver,
    /// Of the sockets for datagrams.
    calls: Rc<RefCell<Calls>>,
    clock: Clock,
    /// The last poll filled its list: the system may have more.
    has_more: bool,
}

/// What a [`MioDriver`]'s poll has found.
#[derive(Debug)]
pub struct MioEvents(Events);

impl Default for MioEvents {
    /// Holds no memory yet, so that it can be taken and put back.
    fn default() -> Self {
        Self(Events::with_capacity(0))
    }
}

impl MioDriver {
    /// A driver with a poll of its own; its clock starts now.
    ///
    /// # Errors
    ///
    /// If the system is out of descriptors or memory.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let (clock, resolver, calls) = (Clock::starting_now(), Resolver::default(), Rc::default());
        Ok(Self { poll, waker, resolver, calls, clock, has_more: false })
    }
}

/// Readable while the next poll would find something, wake-ups included.
#[cfg(unix)]
impl std::os::fd::AsFd for MioDriver {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.poll.registry().as_fd()
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for MioDriver {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.poll.as_raw_fd()
    }
}

impl Wake for Waker {
    fn wake(&self) -> io::Result<()> {
        Self::wake(self)
    }
}

/// A connection of the [`MioDriver`]: TCP's, or a Unix stream socket.
#[derive(Debug)]
pub struct MioStream(TcpStream);

/// For options that [`StreamOptions`] has not.
#[cfg(unix)]
impl std::os::fd::AsFd for MioStream {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A listener of the [`MioDriver`].
#[derive(Debug)]
pub struct MioListener(Listening);

#[derive(Debug)]
enum Listening {
    Tcp {
        listener: TcpListener,
        /// The options that connections do not inherit.
        options: Option<StreamOptions>,
    },
    #[cfg(unix)]
    Unix {
        /// Dropped first: while there is a file, somebody listens.
        _file: unix::SocketFile,
        listener: UnixListener,
    },
}

impl super::Event for &Event {
    #[inline]
    fn key(&self) -> u64 {
        self.token().0 as u64
    }

    fn ready(&self) -> Ready {
        Ready {
            key: super::Event::key(self),
            readable: self.is_readable(),
            writable: self.is_writable(),
            read_closed: self.is_read_closed(),
            error: self.is_error(),
        }
    }

    /// Of priority, too, so that it comes to one comparison with a mask, which spares 20 instructions.
    #[inline]
    fn is_just_readable(&self) -> bool {
        self.is_readable() && !self.is_priority() && !self.is_error() && !self.is_read_closed()
    }
}

impl Driver for MioDriver {
    type Stream = MioStream;
    type Listener = MioListener;
    type Socket = MioSocket;
    type Events = MioEvents;

    // mio on Windows re-arms readiness only after `WouldBlock`.
    const SHORT_MEANS_DRAINED: bool = cfg!(unix);

    fn poll(&mut self, timeout: Option<Duration>, events: &mut MioEvents) -> io::Result<()> {
        if events.0.capacity() == 0 {
            events.0 = Events::with_capacity(EVENTS);
        }
        match self.poll.poll(&mut events.0, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => events.0.clear(),
            result => result?,
        }
        self.has_more = events.0.iter().size_hint().0 == EVENTS;
        Ok(())
    }

    // Straight from the system's list: copied to one of the loop's own, an event costs 20 instructions more. Wake-ups
    // are among them, as a key that names nothing.
    #[inline]
    fn ready(events: &MioEvents) -> impl Iterator<Item = impl super::Event> {
        events.0.iter()
    }

    fn has_more(&self) -> bool {
        self.has_more
    }

    fn now(&self) -> Time {
        self.clock.now()
    }

    fn clock(&self) -> Box<dyn Fn() -> Time> {
        let clock = self.clock;
        Box::new(move || clock.now())
    }

    fn seed(&mut self) -> io::Result<[u8; 32]> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        Ok(seed)
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker)
    }

    fn listen(&mut self, key: u64, address: SocketAddr, options: &ListenOptions) -> io::Result<MioListener> {
        let mut listener = TcpListener::from_std(options::listener(address, options)?.into());
        self.poll.registry().register(&mut listener, token(key), Interest::READABLE)?;
        let options = (!options::INHERITED).then(|| options.stream.clone());
        Ok(MioListener(Listening::Tcp { listener, options }))
    }

    #[cfg(unix)]
    fn listen_unix(&mut self, key: u64, path: &Path, options: &UnixListenOptions) -> io::Result<MioListener> {
        let (mut listener, file) = unix::listen(path, options)?;
        self.poll.registry().register(&mut listener, token(key), Interest::READABLE)?;
        Ok(MioListener(Listening::Unix { _file: file, listener }))
    }

    fn listener_addr(&self, listener: &MioListener) -> io::Result<SocketAddr> {
        match &listener.0 {
            Listening::Tcp { listener, .. } => listener.local_addr(),
            #[cfg(unix)]
            Listening::Unix { .. } => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn accept(&mut self, listener: &mut MioListener) -> Result<(MioStream, Option<SocketAddr>), AcceptError> {
        match &listener.0 {
            Listening::Tcp { listener, options } => {
                let (stream, peer) = listener.accept().map_err(accept_error)?;
                if let Some(options) = options {
                    // Fails if the peer has reset already.
                    options::set_stream(SockRef::from(&stream), peer, options).map_err(AcceptError::Retry)?;
                }
                Ok((MioStream(stream), Some(peer)))
            }
            #[cfg(unix)]
            Listening::Unix { listener, .. } => {
                let (stream, _) = listener.accept().map_err(accept_error)?;
                Ok((MioStream(unix::stream(stream)), None))
            }
        }
    }

    fn register(&mut self, key: u64, stream: &mut MioStream) -> io::Result<()> {
        self.poll.registry().register(&mut stream.0, token(key), Interest::READABLE | Interest::WRITABLE)
    }

    fn connect(&mut self, key: u64, address: SocketAddr, options: &ConnectOptions) -> io::Result<MioStream> {
        let mut stream = MioStream(options::connection(address, options)?);
        self.register(key, &mut stream)?;
        Ok(stream)
    }

    #[cfg(unix)]
    fn connect_unix(&mut self, key: u64, path: &Path, options: &ConnectOptions) -> io::Result<MioStream> {
        let mut stream = MioStream(unix::connect(path, options)?);
        self.register(key, &mut stream)?;
        Ok(stream)
    }

    fn resolve(&mut self, key: u64, host: &str, port: u16) {
        self.resolver.resolve(key, host, port, &self.waker);
    }

    fn answered(&mut self, answered: &mut Vec<EndpointId>) {
        if self.resolver.is_asked() {
            self.resolver.take(answered);
        }
    }

    fn resolved(&mut self, key: u64) -> Option<io::Result<Vec<SocketAddr>>> {
        self.resolver.resolved(key)
    }

    fn forget(&mut self, key: u64) {
        self.resolver.forget(key);
    }

    fn connected(&mut self, stream: &mut MioStream) -> io::Result<bool> {
        if let Some(error) = stream.0.take_error()? {
            return Err(error);
        }
        match SockRef::from(&stream.0).peer_addr() {
            Ok(_) => Ok(true), // of whatever family
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn close(&mut self, mut stream: MioStream, abort: bool) {
        if abort {
            // Fails only where the connection has gone already.
            let _ = SockRef::from(&stream.0).set_linger(Some(Duration::ZERO));
        }
        // With its last descriptor a socket leaves the epoll (epoll(7)): a system call less for each connection. One that
        // a process forked meanwhile still has may have news; its key is nobody's by then.
        if !cfg!(any(target_os = "linux", target_os = "android")) {
            let _ = self.poll.registry().deregister(&mut stream.0);
        }
    }

    fn close_listener(&mut self, mut listener: MioListener) {
        let _ = match &mut listener.0 {
            Listening::Tcp { listener, .. } => self.poll.registry().deregister(listener),
            #[cfg(unix)]
            Listening::Unix { listener, .. } => self.poll.registry().deregister(listener),
        };
    }

    fn bind_udp(&mut self, key: u64, address: SocketAddr, options: &UdpOptions) -> io::Result<MioSocket> {
        self.register_socket(key, MioSocket::bind(address, options, &self.calls)?)
    }

    fn connect_udp(&mut self, key: u64, peer: SocketAddr, options: &UdpOptions) -> io::Result<MioSocket> {
        self.register_socket(key, MioSocket::connect(peer, options, &self.calls)?)
    }

    fn close_socket(&mut self, mut socket: MioSocket) {
        let _ = self.poll.registry().deregister(&mut socket.socket);
    }
}

impl MioDriver {
    fn register_socket(&mut self, key: u64, mut socket: MioSocket) -> io::Result<MioSocket> {
        self.poll.registry().register(&mut socket.socket, token(key), Interest::READABLE | Interest::WRITABLE)?;
        Ok(socket)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a usize has 64 bits, as checked above")]
fn token(key: u64) -> Token {
    Token(key as usize)
}

/// Sorts what accept(2) may say. Linux passes on errors of the connection that was to be accepted:
/// those concern one peer only. Anything else (EMFILE, ENFILE, ENOBUFS, ENOMEM, and whatever else may
/// come again at once) is waited out, so that it can't make the loop spin.
fn accept_error(error: io::Error) -> AcceptError {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::WouldBlock => AcceptError::Empty,
        Kind::ConnectionAborted
        | Kind::ConnectionReset
        | Kind::HostUnreachable
        | Kind::Interrupted
        | Kind::NetworkDown
        | Kind::NetworkUnreachable => AcceptError::Retry(error),
        _ => AcceptError::Exhausted(error),
    }
}

impl Stream for MioStream {
    #[inline(always)]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        stream::receive(&mut self.0, buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read_vectored(buffers)
    }

    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        stream::send(&mut self.0, bytes)
    }

    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        stream::send_last(&mut self.0, bytes)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(pieces)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }

    fn take_error(&mut self) -> io::Result<Option<io::Error>> {
        self.0.take_error()
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
