//! The driver of the real world: mio's poll, the operating system's sockets, clock and randomness.
//!
//! The only file that names any of them. Linux is what it is tested on.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::mio::net::{TcpListener, TcpStream, UdpSocket};
use ::mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, Protocol, SockRef, Socket as Socket2, Type};

use super::{AcceptError, Driver, Ready, Socket, Stream, Wake};
use crate::{ListenOptions, Time};

// A key has an index of 32 bits and a generation of 32 bits, and mio's token is a usize.
const _: () = assert!(usize::BITS >= 64, "the mio driver needs 64-bit pointers");

/// The token of wake-ups; no key reaches it, since indices stay below 2^31.
const WAKE: Token = Token(usize::MAX);
/// How many events one poll takes; more wait for the next.
const EVENTS: usize = 1024;

/// A [`Driver`] over mio.
pub struct MioDriver {
    poll: Poll,
    events: Events,
    waker: Arc<dyn Wake>,
    start: Instant,
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
        #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
        let start = Instant::now();
        Ok(Self { poll, events: Events::with_capacity(EVENTS), waker, start })
    }
}

impl Wake for Waker {
    fn wake(&self) -> io::Result<()> {
        Self::wake(self)
    }
}

/// A TCP connection of the [`MioDriver`].
#[derive(Debug)]
pub struct MioStream(TcpStream);

/// A TCP listener of the [`MioDriver`].
#[derive(Debug)]
pub struct MioListener {
    listener: TcpListener,
    nodelay: bool,
}

/// A UDP socket of the [`MioDriver`].
#[derive(Debug)]
pub struct MioSocket(UdpSocket);

impl Driver for MioDriver {
    type Stream = MioStream;
    type Listener = MioListener;
    type Socket = MioSocket;

    // mio on Windows re-arms readiness only after `WouldBlock`.
    const SHORT_MEANS_DRAINED: bool = cfg!(unix);

    fn poll(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &self.events {
            if event.token() == WAKE {
                continue;
            }
            ready.push(Ready {
                key: event.token().0 as u64,
                readable: event.is_readable(),
                writable: event.is_writable(),
                read_closed: event.is_read_closed(),
                error: event.is_error(),
            });
        }
        Ok(())
    }

    fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
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
        let socket = Socket2::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        // On Unix: bind although connections of an earlier run are still in TIME_WAIT. On Windows
        // the option means something else, which nobody wants.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
        let mut listener = TcpListener::from_std(socket.into());
        self.poll.registry().register(&mut listener, token(key), Interest::READABLE)?;
        Ok(MioListener { listener, nodelay: options.nodelay })
    }

    fn listener_addr(&self, listener: &MioListener) -> io::Result<SocketAddr> {
        listener.listener.local_addr()
    }

    fn accept(&mut self, listener: &mut MioListener) -> Result<(MioStream, SocketAddr), AcceptError> {
        let (stream, peer) = listener.listener.accept().map_err(accept_error)?;
        if listener.nodelay {
            stream.set_nodelay(true).map_err(AcceptError::Retry)?; // fails if the peer has reset already
        }
        Ok((MioStream(stream), peer))
    }

    fn register(&mut self, key: u64, stream: &mut MioStream) -> io::Result<()> {
        self.poll.registry().register(&mut stream.0, token(key), Interest::READABLE | Interest::WRITABLE)
    }

    fn connect(&mut self, key: u64, address: SocketAddr) -> io::Result<MioStream> {
        let mut stream = MioStream(TcpStream::connect(address)?);
        stream.0.set_nodelay(true)?;
        self.register(key, &mut stream)?;
        Ok(stream)
    }

    fn connected(&mut self, stream: &mut MioStream) -> io::Result<bool> {
        if let Some(error) = stream.0.take_error()? {
            return Err(error);
        }
        match stream.0.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn close(&mut self, mut stream: MioStream, abort: bool) {
        if abort {
            // Fails only where the connection has gone already.
            let _ = SockRef::from(&stream.0).set_linger(Some(Duration::ZERO));
        }
        let _ = self.poll.registry().deregister(&mut stream.0);
    }

    fn close_listener(&mut self, mut listener: MioListener) {
        let _ = self.poll.registry().deregister(&mut listener.listener);
    }

    fn bind_udp(&mut self, key: u64, address: SocketAddr) -> io::Result<MioSocket> {
        let mut socket = UdpSocket::bind(address)?;
        self.poll.registry().register(&mut socket, token(key), Interest::READABLE | Interest::WRITABLE)?;
        Ok(MioSocket(socket))
    }

    fn close_socket(&mut self, mut socket: MioSocket) {
        let _ = self.poll.registry().deregister(&mut socket.0);
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
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
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

impl Socket for MioSocket {
    fn recv_from(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.recv_from(buffer)
    }

    fn send_to(&mut self, payload: &[u8], target: SocketAddr) -> io::Result<()> {
        self.0.send_to(payload, target).map(drop)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
