//! The driver over a network in memory.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use slab::Slab;

use crate::driver::{AcceptError, Driver, Ready, Socket, Wake};
use crate::{ListenOptions, Time};

mod stream;

pub use stream::MemoryStream;

/// A [`Driver`] over a network in memory, which its [`Network`](super::Network) scripts.
///
/// With `SHORT_MEANS_DRAINED` it behaves as epoll does; without, as a system whose readiness ends
/// only at `WouldBlock`.
pub struct MemoryDriver<const SHORT_MEANS_DRAINED: bool = true> {
    pub(super) state: Shared,
}

pub(super) type Shared = Rc<RefCell<State>>;

/// Everything on the network.
pub(super) struct State {
    pub(super) now: Time,
    pub(super) seed: [u8; 32],
    /// What the next poll reports.
    pub(super) ready: Vec<Ready>,
    pub(super) polls: u64,
    pub(super) streams: Slab<StreamState>,
    pub(super) listeners: Slab<ListenerState>,
    pub(super) sockets: Slab<SocketState>,
    /// Outgoing connections that the script has not looked at yet.
    pub(super) outgoing: VecDeque<usize>,
    /// What the next connect fails with at once.
    pub(super) refuse_connect: Option<io::ErrorKind>,
    pub(super) waker: Arc<MemoryWaker>,
    pub(super) next_port: u16,
}

/// Counts the wake-ups.
#[derive(Default)]
pub(super) struct MemoryWaker {
    pub(super) woken: AtomicBool,
    pub(super) wakes: AtomicU64,
}

impl Wake for MemoryWaker {
    fn wake(&self) -> io::Result<()> {
        self.woken.store(true, Ordering::Release);
        self.wakes.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}

/// One connection as the network sees it.
pub(super) struct StreamState {
    pub(super) key: Option<u64>,
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
    /// Bytes on their way to the loop.
    pub(super) inbound: VecDeque<u8>,
    pub(super) eof: bool,
    pub(super) broken: Option<io::ErrorKind>,
    /// Bytes that the loop has written.
    pub(super) outbound: Vec<u8>,
    /// How many more the loop may write.
    pub(super) window: usize,
    /// The most that each of the next reads gives; 0 stands for `WouldBlock`.
    pub(super) read_sizes: VecDeque<usize>,
    /// The most that each of the next writes takes; 0 stands for `WouldBlock`.
    pub(super) write_sizes: VecDeque<usize>,
    /// How many of the next reads and writes a signal interrupts.
    pub(super) interrupts: usize,
    pub(super) established: Result<bool, io::ErrorKind>,
    pub(super) write_shut: bool,
    /// Closed by the loop; whether with a reset.
    pub(super) closed: Option<bool>,
    pub(super) reads: u64,
    pub(super) writes: u64,
}

impl StreamState {
    pub(super) fn new(local: SocketAddr, peer: SocketAddr) -> Self {
        Self {
            key: None,
            local,
            peer,
            inbound: VecDeque::new(),
            eof: false,
            broken: None,
            outbound: Vec::new(),
            window: usize::MAX,
            read_sizes: VecDeque::new(),
            write_sizes: VecDeque::new(),
            interrupts: 0,
            established: Ok(true),
            write_shut: false,
            closed: None,
            reads: 0,
            writes: 0,
        }
    }
}

pub(super) struct ListenerState {
    pub(super) key: u64,
    pub(super) address: SocketAddr,
    pub(super) open: bool,
    pub(super) waiting: VecDeque<Result<usize, AcceptError>>,
}

pub(super) struct SocketState {
    pub(super) key: u64,
    pub(super) address: SocketAddr,
    pub(super) open: bool,
    pub(super) inbound: VecDeque<io::Result<(Vec<u8>, SocketAddr)>>,
    pub(super) outbound: VecDeque<(SocketAddr, Vec<u8>)>,
    /// How many more datagrams may be sent.
    pub(super) window: usize,
}

impl State {
    /// Has the next poll report `news`, together with what it reports of the same key already.
    pub(super) fn raise(&mut self, news: Ready) {
        if let Some(ready) = self.ready.iter_mut().find(|ready| ready.key == news.key) {
            ready.readable |= news.readable;
            ready.writable |= news.writable;
            ready.read_closed |= news.read_closed;
            ready.error |= news.error;
        } else {
            self.ready.push(news);
        }
    }

    /// Reports what is so of a stream by now, as an edge.
    pub(super) fn raise_stream(&mut self, index: usize) {
        let stream = &self.streams[index];
        let Some(key) = stream.key else { return };
        let broken = stream.broken.is_some() || stream.established.is_err();
        let news = Ready {
            key,
            readable: !stream.inbound.is_empty() || stream.eof || broken,
            writable: stream.window > 0 && stream.established == Ok(true) || broken,
            read_closed: stream.eof || broken,
            error: broken,
        };
        self.raise(news);
    }

    /// An address nobody has yet: the port the system would pick.
    pub(super) fn bind(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        let taken = |address| {
            self.listeners.iter().any(|(_, listener)| listener.open && listener.address == address)
                || self.sockets.iter().any(|(_, socket)| socket.open && socket.address == address)
        };
        if address.port() != 0 {
            return if taken(address) { Err(io::ErrorKind::AddrInUse.into()) } else { Ok(address) };
        }
        self.next_port += 1;
        Ok(SocketAddr::new(address.ip(), self.next_port))
    }
}

/// A listener of the [`MemoryDriver`].
pub struct MemoryListener(usize);

/// A UDP socket of the [`MemoryDriver`].
pub struct MemorySocket {
    state: Shared,
    index: usize,
}

impl<const SHORT_MEANS_DRAINED: bool> MemoryDriver<SHORT_MEANS_DRAINED> {
    fn stream(&self, index: usize) -> MemoryStream {
        MemoryStream { state: Rc::clone(&self.state), index, short_means_drained: SHORT_MEANS_DRAINED }
    }
}

impl<const DRAINED: bool> Driver for MemoryDriver<DRAINED> {
    type Stream = MemoryStream;
    type Listener = MemoryListener;
    type Socket = MemorySocket;

    const SHORT_MEANS_DRAINED: bool = DRAINED;

    /// Reports what the script raised, and never waits.
    fn poll(&mut self, _timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.polls += 1;
        state.waker.woken.store(false, Ordering::Release);
        ready.append(&mut state.ready);
        Ok(())
    }

    fn now(&self) -> Time {
        self.state.borrow().now
    }

    fn seed(&mut self) -> io::Result<[u8; 32]> {
        Ok(self.state.borrow().seed)
    }

    fn waker(&self) -> Arc<dyn Wake> {
        let waker: Arc<MemoryWaker> = Arc::clone(&self.state.borrow().waker);
        waker
    }

    fn listen(&mut self, key: u64, address: SocketAddr, _options: &ListenOptions) -> io::Result<MemoryListener> {
        let mut state = self.state.borrow_mut();
        let address = state.bind(address)?;
        let listener = ListenerState { key, address, open: true, waiting: VecDeque::new() };
        Ok(MemoryListener(state.listeners.insert(listener)))
    }

    fn listener_addr(&self, listener: &MemoryListener) -> io::Result<SocketAddr> {
        Ok(self.state.borrow().listeners[listener.0].address)
    }

    fn accept(&mut self, listener: &mut MemoryListener) -> Result<(MemoryStream, SocketAddr), AcceptError> {
        let mut state = self.state.borrow_mut();
        let next = state.listeners[listener.0].waiting.pop_front();
        let index = next.unwrap_or(Err(AcceptError::Empty))?;
        let peer = state.streams[index].peer;
        drop(state);
        Ok((self.stream(index), peer))
    }

    fn register(&mut self, key: u64, stream: &mut MemoryStream) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.streams[stream.index].key = Some(key);
        state.raise_stream(stream.index);
        Ok(())
    }

    fn connect(&mut self, key: u64, address: SocketAddr) -> io::Result<MemoryStream> {
        let mut state = self.state.borrow_mut();
        if let Some(kind) = state.refuse_connect.take() {
            return Err(kind.into());
        }
        let local = state.bind(SocketAddr::new(address.ip(), 0))?;
        let stream = StreamState { key: Some(key), established: Ok(false), ..StreamState::new(local, address) };
        let index = state.streams.insert(stream);
        state.outgoing.push_back(index);
        drop(state);
        Ok(self.stream(index))
    }

    fn connected(&mut self, stream: &mut MemoryStream) -> io::Result<bool> {
        self.state.borrow().streams[stream.index].established.map_err(io::Error::from)
    }

    fn close(&mut self, stream: MemoryStream, abort: bool) {
        let mut state = self.state.borrow_mut();
        let stream = &mut state.streams[stream.index];
        // As a real socket: closing with input unread sends a reset.
        stream.closed = Some(abort || !stream.inbound.is_empty());
        stream.key = None;
    }

    fn close_listener(&mut self, listener: MemoryListener) {
        self.state.borrow_mut().listeners[listener.0].open = false;
    }

    fn bind_udp(&mut self, key: u64, address: SocketAddr) -> io::Result<MemorySocket> {
        let mut state = self.state.borrow_mut();
        let address = state.bind(address)?;
        let (inbound, outbound) = (VecDeque::new(), VecDeque::new());
        let socket = SocketState { key, address, open: true, inbound, outbound, window: usize::MAX };
        let index = state.sockets.insert(socket);
        Ok(MemorySocket { state: Rc::clone(&self.state), index })
    }

    fn close_socket(&mut self, socket: MemorySocket) {
        self.state.borrow_mut().sockets[socket.index].open = false;
    }
}

impl Socket for MemorySocket {
    fn recv_from(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let next = self.state.borrow_mut().sockets[self.index].inbound.pop_front();
        let (payload, source) = next.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))?;
        let len = payload.len().min(buffer.len());
        buffer[..len].copy_from_slice(&payload[..len]);
        Ok((len, source))
    }

    fn send_to(&mut self, payload: &[u8], target: SocketAddr) -> io::Result<()> {
        /// The largest payload of a UDP datagram over IPv4.
        const LARGEST: usize = 65_507;
        let socket = &mut self.state.borrow_mut().sockets[self.index];
        if payload.len() > LARGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "message too long"));
        }
        if socket.window == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        socket.window -= 1;
        socket.outbound.push_back((target, payload.to_vec()));
        Ok(())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.state.borrow().sockets[self.index].address)
    }
}
