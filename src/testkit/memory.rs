//! The driver over a network in memory.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::network::Sent;
#[cfg(unix)]
use crate::UnixListenOptions;
use crate::driver::{AcceptError, Driver, Event, Ready, Received, Socket, Wake};
use crate::{ConnectOptions, ListenOptions, Time, UdpOptions};

mod state;
mod stream;

use state::SocketState;
pub(super) use state::{FIRST_PORT, ListenerState, MemoryWaker, NOWHERE, Shared, State, StreamState};
pub use stream::MemoryStream;

/// A [`Driver`] over a network in memory, which its [`Network`](super::Network) scripts.
///
/// With `SHORT_MEANS_DRAINED` it behaves as epoll does; without, as a system whose readiness ends
/// only at `WouldBlock`.
pub struct MemoryDriver<const SHORT_MEANS_DRAINED: bool = true> {
    pub(super) state: Shared,
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
