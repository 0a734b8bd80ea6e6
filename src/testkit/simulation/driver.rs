//! The driver over the simulated network.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::stream::Place;
use super::wire::Shared;
#[cfg(unix)]
use crate::UnixListenOptions;
use crate::driver::{AcceptError, Batch, Driver, Event, Outgoing, Ready, Received, Socket, Stream, Wake};
use crate::{ConnectOptions, ListenOptions, Time, UdpOptions};

/// One host's [`Driver`] over the network of a [`Simulation`](super::Simulation), which makes it.
///
/// With `SHORT_MEANS_DRAINED` it behaves as epoll does; without, as a system whose readiness ends
/// only at `WouldBlock`.
pub struct SimulatedDriver<const SHORT_MEANS_DRAINED: bool = true> {
    pub(super) wire: Shared,
    pub(super) host: usize,
    pub(super) wakes: Arc<Wakes>,
}

/// The hosts that handles have woken.
#[derive(Default)]
pub(super) struct Wakes {
    any: AtomicBool,
    hosts: Mutex<Vec<usize>>,
}

impl Wakes {
    /// Takes who was woken, in that order.
    pub(super) fn take(&self) -> Vec<usize> {
        // Asked at every step, and nearly always for nothing.
        if !self.any.load(Ordering::Acquire) || !self.any.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.hosts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, host: usize) {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).push(host);
        self.any.store(true, Ordering::Release);
    }
}

struct Waker {
    wakes: Arc<Wakes>,
    host: usize,
}

impl Wake for Waker {
    fn wake(&self) -> io::Result<()> {
        self.wakes.add(self.host);
        Ok(())
    }
}

/// A connection of the [`SimulatedDriver`].
pub struct SimulatedStream {
    wire: Shared,
    place: Place,
}

/// A listener of the [`SimulatedDriver`].
pub struct SimulatedListener {
    index: usize,
    /// `None` for a Unix socket.
    address: Option<SocketAddr>,
}

/// A UDP socket of the [`SimulatedDriver`].
pub struct SimulatedSocket {
    wire: Shared,
    index: usize,
}

impl<const SHORT_MEANS_DRAINED: bool> SimulatedDriver<SHORT_MEANS_DRAINED> {
    fn stream(&self, place: Place) -> SimulatedStream {
        SimulatedStream { wire: Rc::clone(&self.wire), place }
    }
}

impl<const DRAINED: bool> Driver for SimulatedDriver<DRAINED> {
    type Stream = SimulatedStream;
    type Listener = SimulatedListener;
    type Socket = SimulatedSocket;
    type Events = Vec<Ready>;

    const SHORT_MEANS_DRAINED: bool = DRAINED;

    /// Reports what is so at this moment of virtual time, and never waits: the simulation turns the
    /// loop when there is something to do.
    fn poll(&mut self, _timeout: Option<Duration>, events: &mut Vec<Ready>) -> io::Result<()> {
        events.clear();
        self.wire.borrow_mut().poll(self.host, events);
        Ok(())
    }

    fn ready(events: &Vec<Ready>) -> impl Iterator<Item = impl Event> {
        events.iter().copied()
    }

    fn now(&self) -> Time {
        let wire = self.wire.borrow();
        wire.now + wire.hosts[self.host].skew
    }

    fn clock(&self) -> Box<dyn Fn() -> Time> {
        let (wire, host) = (Rc::clone(&self.wire), self.host);
        Box::new(move || {
            let wire = wire.borrow();
            wire.now + wire.hosts[host].skew
        })
    }

    fn seed(&mut self) -> io::Result<[u8; 32]> {
        Ok(self.wire.borrow().hosts[self.host].seed)
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::new(Waker { wakes: Arc::clone(&self.wakes), host: self.host })
    }

    fn listen(&mut self, key: u64, address: SocketAddr, options: &ListenOptions) -> io::Result<SimulatedListener> {
        let (index, address) = self.wire.borrow_mut().listen(self.host, key, address, options.backlog)?;
        Ok(SimulatedListener { index, address: Some(address) })
    }

    #[cfg(unix)]
    fn listen_unix(&mut self, key: u64, path: &Path, options: &UnixListenOptions) -> io::Result<SimulatedListener> {
        let index = self.wire.borrow_mut().listen_unix(self.host, key, path, options.backlog)?;
        Ok(SimulatedListener { index, address: None })
    }

    fn listener_addr(&self, listener: &SimulatedListener) -> io::Result<SocketAddr> {
        listener.address.ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    fn accept(
        &mut self,
        listener: &mut SimulatedListener,
    ) -> Result<(SimulatedStream, Option<SocketAddr>), AcceptError> {
        let (place, peer) = self.wire.borrow_mut().accept(listener.index)?;
        Ok((self.stream(place), peer))
    }

    fn register(&mut self, key: u64, stream: &mut SimulatedStream) -> io::Result<()> {
        self.wire.borrow_mut().register(stream.place, key);
        Ok(())
    }

    fn connect(&mut self, key: u64, address: SocketAddr, _options: &ConnectOptions) -> io::Result<SimulatedStream> {
        let place = self.wire.borrow_mut().connect(self.host, key, address)?;
        Ok(self.stream(place))
    }

    #[cfg(unix)]
    fn connect_unix(&mut self, key: u64, path: &Path, _options: &ConnectOptions) -> io::Result<SimulatedStream> {
        let place = self.wire.borrow_mut().connect_unix(self.host, key, path)?;
        Ok(self.stream(place))
    }

    fn resolve(&mut self, key: u64, host: &str, port: u16) {
        self.wire.borrow_mut().resolve(self.host, key, host, port);
    }

    fn resolved(&mut self, key: u64) -> Option<io::Result<Vec<SocketAddr>>> {
        self.wire.borrow_mut().resolved(self.host, key)
    }

    fn forget(&mut self, key: u64) {
        self.wire.borrow_mut().forget(self.host, key);
    }

    fn connected(&mut self, stream: &mut SimulatedStream) -> io::Result<bool> {
        self.wire.borrow_mut().connected(stream.place)
    }

    fn close(&mut self, stream: SimulatedStream, abort: bool) {
        self.wire.borrow_mut().close(stream.place, abort);
    }

    fn close_listener(&mut self, listener: SimulatedListener) {
        self.wire.borrow_mut().close_listener(listener.index);
    }

    fn bind_udp(&mut self, key: u64, address: SocketAddr, options: &UdpOptions) -> io::Result<SimulatedSocket> {
        let index = self.wire.borrow_mut().bind_udp(self.host, key, address, options.local_addresses)?;
        Ok(SimulatedSocket { wire: Rc::clone(&self.wire), index })
    }

    fn connect_udp(&mut self, key: u64, peer: SocketAddr, options: &UdpOptions) -> io::Result<SimulatedSocket> {
        let index = self.wire.borrow_mut().connect_udp(self.host, key, peer, options.local_addresses)?;
        Ok(SimulatedSocket { wire: Rc::clone(&self.wire), index })
    }

    fn close_socket(&mut self, socket: SimulatedSocket) {
        self.wire.borrow_mut().close_socket(socket.index);
    }
}

impl Stream for SimulatedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_vectored(&mut [IoSliceMut::new(buffer)])
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.wire.borrow_mut().read(self.place, buffers)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.wire.borrow_mut().write(self.place, pieces)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.wire.borrow_mut().shutdown_write(self.place)
    }

    fn take_error(&mut self) -> io::Result<Option<io::Error>> {
        Ok(self.wire.borrow_mut().take_error(self.place))
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        let wire = self.wire.borrow();
        match wire.addresses(self.place) {
            Some((_, peer)) if wire.is_established(self.place) => Ok(peer),
            Some(_) => Err(io::ErrorKind::NotConnected.into()),
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        let (local, _) = self.wire.borrow().addresses(self.place).ok_or(io::ErrorKind::Unsupported)?;
        Ok(local)
    }
}

impl Socket for SimulatedSocket {
    fn recv_from(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        self.wire.borrow_mut().recv_from(self.index, buffer)
    }

    /// A host has one address: there is nothing to choose.
    fn send_to(&mut self, payload: &[u8], target: SocketAddr, _source: Option<IpAddr>) -> io::Result<()> {
        self.wire.borrow_mut().send_to(self.index, payload, target)
    }

    fn recv_batch(&mut self, batch: &mut Batch) -> io::Result<()> {
        self.wire.borrow_mut().recv_batch(self.index, batch)
    }

    fn send_batch(&mut self, datagrams: Outgoing<'_>) -> io::Result<usize> {
        self.wire.borrow_mut().send_batch(self.index, datagrams)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.wire.borrow().sockets[self.index].address)
    }
}
