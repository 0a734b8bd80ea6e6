//! The driver over a network in memory.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
#[cfg(unix)]
use std::path::Path;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use slab::Slab;

use super::network::Sent;
#[cfg(unix)]
use crate::UnixListenOptions;
use crate::driver::{AcceptError, Driver, Event, Ready, Received, Socket, Wake};
use crate::{ConnectOptions, ListenOptions, Time, UdpOptions};

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

/// What stands for the address of a Unix socket.
pub(super) const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The first of the ports that the system picks from (RFC 6335 §6).
pub(super) const FIRST_PORT: u16 = 49_152;

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
    /// Names that the loop looks up and the script has not looked at yet, by key.
    pub(super) lookups: VecDeque<(u64, String, u16)>,
    /// The script's answers to those, by key.
    pub(super) answers: BTreeMap<u64, io::Result<Vec<SocketAddr>>>,
    /// What the next connect fails with at once.
    pub(super) refuse_connect: Option<io::ErrorKind>,
    pub(super) waker: Arc<MemoryWaker>,
    /// The port that was picked last.
    pub(super) last_port: u16,
    /// The host that the next peer connects from.
    pub(super) peers: Ipv4Addr,
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
    /// Of a Unix socket: where it is listened. It has no addresses then.
    pub(super) path: Option<PathBuf>,
    /// Bytes on their way to the loop.
    pub(super) inbound: VecDeque<u8>,
    pub(super) eof: bool,
    pub(super) broken: Option<io::ErrorKind>,
    /// Bytes that the loop has written.
    pub(super) outbound: Vec<u8>,
    /// How many were not kept, if they are only counted.
    pub(super) discarded: Option<u64>,
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
            path: None,
            inbound: VecDeque::new(),
            eof: false,
            broken: None,
            outbound: Vec::new(),
            discarded: None,
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
    /// Of a Unix socket, which has no address.
    pub(super) path: Option<PathBuf>,
    pub(super) open: bool,
    pub(super) waiting: VecDeque<Result<usize, AcceptError>>,
}

pub(super) struct SocketState {
    pub(super) key: u64,
    pub(super) address: SocketAddr,
    /// Whom it is connected to.
    pub(super) peer: Option<SocketAddr>,
    /// What it was opened with.
    pub(super) options: UdpOptions,
    pub(super) open: bool,
    pub(super) inbound: VecDeque<io::Result<(Received, Vec<u8>)>>,
    pub(super) outbound: VecDeque<Sent>,
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
        if address.port() != 0 {
            return if self.is_taken(address) { Err(io::ErrorKind::AddrInUse.into()) } else { Ok(address) };
        }
        for _ in FIRST_PORT..=u16::MAX {
            self.last_port = self.last_port.checked_add(1).unwrap_or(FIRST_PORT);
            let address = SocketAddr::new(address.ip(), self.last_port);
            if !self.is_taken(address) {
                return Ok(address);
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    fn is_taken(&self, address: SocketAddr) -> bool {
        self.listeners.iter().any(|(_, listener)| listener.open && listener.address == address)
            || self.sockets.iter().any(|(_, socket)| socket.open && socket.address == address)
    }

    /// The address of a peer that connects: on another host when the ports of one are used up.
    pub(super) fn next_peer(&mut self) -> io::Result<SocketAddr> {
        let peer = self.bind(SocketAddr::new(self.peers.into(), 0))?;
        if peer.port() == u16::MAX {
            self.peers = Ipv4Addr::from_bits(self.peers.to_bits() + 1);
        }
        Ok(peer)
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

    /// An outgoing connection that the script is to decide about.
    fn begin(&self, key: u64, stream: StreamState) -> io::Result<MemoryStream> {
        let mut state = self.state.borrow_mut();
        if let Some(kind) = state.refuse_connect.take() {
            return Err(kind.into());
        }
        let index = state.streams.insert(StreamState { key: Some(key), established: Ok(false), ..stream });
        state.outgoing.push_back(index);
        drop(state);
        Ok(self.stream(index))
    }
}

impl<const DRAINED: bool> Driver for MemoryDriver<DRAINED> {
    type Stream = MemoryStream;
    type Listener = MemoryListener;
    type Socket = MemorySocket;
    type Events = Vec<Ready>;

    const SHORT_MEANS_DRAINED: bool = DRAINED;

    /// Reports what the script raised, and never waits.
    fn poll(&mut self, _timeout: Option<Duration>, events: &mut Vec<Ready>) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.polls += 1;
        state.waker.woken.store(false, Ordering::Release);
        events.clear();
        events.append(&mut state.ready);
        Ok(())
    }

    fn ready(events: &Vec<Ready>) -> impl Iterator<Item = impl Event> {
        events.iter().copied()
    }

    fn now(&self) -> Time {
        self.state.borrow().now
    }

    fn clock(&self) -> Box<dyn Fn() -> Time> {
        let state = Rc::clone(&self.state);
        Box::new(move || state.borrow().now)
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
        let listener = ListenerState { key, address, path: None, open: true, waiting: VecDeque::new() };
        Ok(MemoryListener(state.listeners.insert(listener)))
    }

    #[cfg(unix)]
    fn listen_unix(&mut self, key: u64, path: &Path, _options: &UnixListenOptions) -> io::Result<MemoryListener> {
        let mut state = self.state.borrow_mut();
        if state.listeners.iter().any(|(_, it)| it.open && it.path.as_deref() == Some(path)) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let (path, waiting) = (Some(path.to_owned()), VecDeque::new());
        let listener = ListenerState { key, address: NOWHERE, path, open: true, waiting };
        Ok(MemoryListener(state.listeners.insert(listener)))
    }

    fn listener_addr(&self, listener: &MemoryListener) -> io::Result<SocketAddr> {
        let listener = &self.state.borrow().listeners[listener.0];
        if listener.path.is_some() { Err(io::ErrorKind::Unsupported.into()) } else { Ok(listener.address) }
    }

    fn accept(&mut self, listener: &mut MemoryListener) -> Result<(MemoryStream, Option<SocketAddr>), AcceptError> {
        let mut state = self.state.borrow_mut();
        let next = state.listeners[listener.0].waiting.pop_front();
        let index = next.unwrap_or(Err(AcceptError::Empty))?;
        let stream = &state.streams[index];
        let peer = stream.path.is_none().then_some(stream.peer);
        drop(state);
        Ok((self.stream(index), peer))
    }

    fn register(&mut self, key: u64, stream: &mut MemoryStream) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.streams[stream.index].key = Some(key);
        state.raise_stream(stream.index);
        Ok(())
    }

    fn connect(&mut self, key: u64, address: SocketAddr, _options: &ConnectOptions) -> io::Result<MemoryStream> {
        let local = self.state.borrow_mut().bind(SocketAddr::new(address.ip(), 0))?;
        self.begin(key, StreamState::new(local, address))
    }

    #[cfg(unix)]
    fn connect_unix(&mut self, key: u64, path: &Path, _options: &ConnectOptions) -> io::Result<MemoryStream> {
        self.begin(key, StreamState { path: Some(path.to_owned()), ..StreamState::new(NOWHERE, NOWHERE) })
    }

    fn resolve(&mut self, key: u64, host: &str, port: u16) {
        self.state.borrow_mut().lookups.push_back((key, host.to_owned(), port));
    }

    fn resolved(&mut self, key: u64) -> Option<io::Result<Vec<SocketAddr>>> {
        self.state.borrow_mut().answers.remove(&key)
    }

    fn forget(&mut self, key: u64) {
        let mut state = self.state.borrow_mut();
        state.lookups.retain(|&(waiting, ..)| waiting != key);
        state.answers.remove(&key);
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

    fn bind_udp(&mut self, key: u64, address: SocketAddr, options: &UdpOptions) -> io::Result<MemorySocket> {
        self.open_socket(key, address, None, options)
    }

    fn connect_udp(&mut self, key: u64, peer: SocketAddr, options: &UdpOptions) -> io::Result<MemorySocket> {
        if let Some(kind) = self.state.borrow_mut().refuse_connect.take() {
            return Err(kind.into());
        }
        self.open_socket(key, SocketAddr::new(peer.ip(), 0), Some(peer), options)
    }

    fn close_socket(&mut self, socket: MemorySocket) {
        self.state.borrow_mut().sockets[socket.index].open = false;
    }
}

impl<const DRAINED: bool> MemoryDriver<DRAINED> {
    fn open_socket(
        &self,
        key: u64,
        address: SocketAddr,
        peer: Option<SocketAddr>,
        options: &UdpOptions,
    ) -> io::Result<MemorySocket> {
        let mut state = self.state.borrow_mut();
        let address = state.bind(address)?;
        let (inbound, outbound) = (VecDeque::new(), VecDeque::new());
        let options = options.clone();
        let window = usize::MAX;
        let index =
            state.sockets.insert(SocketState { key, address, peer, options, open: true, inbound, outbound, window });
        Ok(MemorySocket { state: Rc::clone(&self.state), index })
    }
}

impl Socket for MemorySocket {
    fn recv_from(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let next = self.state.borrow_mut().sockets[self.index].inbound.pop_front();
        let (received, payload) = next.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))?;
        let len = payload.len().min(buffer.len());
        buffer[..len].copy_from_slice(&payload[..len]);
        Ok(Received { len, ..received })
    }

    fn send_to(&mut self, payload: &[u8], target: SocketAddr, source: Option<IpAddr>) -> io::Result<()> {
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
        socket.outbound.push_back(Sent { source, target, payload: payload.to_vec() });
        Ok(())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.state.borrow().sockets[self.index].address)
    }
}
