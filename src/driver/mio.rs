//! The driver of the real world: mio's poll, the operating system's sockets, clock and randomness.
//!
//! Nothing but this file and those below it names any of them. Linux is what it is tested on.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ::mio::event::Event;
use ::mio::net::TcpListener;
#[cfg(unix)]
use ::mio::net::UnixListener;
use ::mio::{Events, Interest, Poll, Registry, Token, Waker};
use socket2::SockRef;

use super::{AcceptError, Driver, Ready, Wake};
#[cfg(unix)]
use crate::UnixListenOptions;
use crate::{ConnectOptions, EndpointId, ListenOptions, StreamOptions, Time, UdpOptions};

mod alarm;
mod clock;
mod options;
mod resolver;
mod stream;
mod udp;
#[cfg(unix)]
mod unix;

use alarm::Alarm;
use clock::Clock;
use resolver::Resolver;
pub use stream::MioStream;
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
    /// For sockets for datagrams, which change what they are told of: made for the first.
    registry: Option<Rc<Registry>>,
    waker: Arc<dyn Wake>,
    resolver: Resolver,
    /// Of the sockets for datagrams.
    calls: Rc<RefCell<Calls>>,
    clock: Clock,
    /// The latest time it has shown.
    seen: Cell<Time>,
    alarm: Alarm,
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
        let (seen, alarm) = (Cell::default(), Alarm::new(poll.registry()));
        Ok(Self { poll, registry: None, waker, resolver, calls, clock, seen, alarm, has_more: false })
    }
}

/// Readable while the next poll would find something, wake-ups included, and that the time of a wait before is over.
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
        let timeout = self.alarm.stand_in(timeout, self.seen.get(), self.clock);
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

    #[inline]
    fn now(&self) -> Time {
        let now = self.clock.now();
        self.seen.set(now);
        now
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
        MioSocket::bind(address, options, &self.calls)?.register(self.registry()?, token(key))
    }

    fn connect_udp(&mut self, key: u64, peer: SocketAddr, options: &UdpOptions) -> io::Result<MioSocket> {
        MioSocket::connect(peer, options, &self.calls)?.register(self.registry()?, token(key))
    }

    fn close_socket(&mut self, mut socket: MioSocket) {
        let _ = self.poll.registry().deregister(&mut socket.socket);
    }
}

impl MioDriver {
    fn registry(&mut self) -> io::Result<Rc<Registry>> {
        let registry = match self.registry.take() {
            Some(known) => known,
            None => Rc::new(self.poll.registry().try_clone()?),
        };
        Ok(Rc::clone(self.registry.insert(registry)))
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
