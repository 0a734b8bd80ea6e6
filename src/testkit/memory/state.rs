//! Everything that is on a network in memory.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use slab::Slab;

use crate::driver::{AcceptError, Ready, Received, Wake};
use crate::testkit::network::Sent;
use crate::{Time, UdpOptions};

pub(in crate::testkit) type Shared = Rc<RefCell<State>>;

/// What stands for the address of a Unix socket.
pub(in crate::testkit) const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The first of the ports that the system picks from (RFC 6335 §6).
pub(in crate::testkit) const FIRST_PORT: u16 = 49_152;

/// Everything on the network.
pub(in crate::testkit) struct State {
    pub(in crate::testkit) now: Time,
    pub(in crate::testkit) seed: [u8; 32],
    /// What the next poll reports.
    pub(in crate::testkit) ready: Vec<Ready>,
    pub(in crate::testkit) polls: u64,
    pub(in crate::testkit) streams: Slab<StreamState>,
    pub(in crate::testkit) listeners: Slab<ListenerState>,
    pub(in crate::testkit) sockets: Slab<SocketState>,
    /// Outgoing connections that the script has not looked at yet.
    pub(in crate::testkit) outgoing: VecDeque<usize>,
    /// Names that the loop looks up and the script has not looked at yet, by key.
    pub(in crate::testkit) lookups: VecDeque<(u64, String, u16)>,
    /// The script's answers to those, by key.
    pub(in crate::testkit) answers: BTreeMap<u64, io::Result<Vec<SocketAddr>>>,
    /// What the next connect fails with at once.
    pub(in crate::testkit) refuse_connect: Option<io::ErrorKind>,
    pub(in crate::testkit) waker: Arc<MemoryWaker>,
    /// The port that was picked last.
    pub(in crate::testkit) last_port: u16,
    /// The host that the next peer connects from.
    pub(in crate::testkit) peers: Ipv4Addr,
}

/// Counts the wake-ups.
#[derive(Default)]
pub(in crate::testkit) struct MemoryWaker {
    pub(in crate::testkit) woken: AtomicBool,
    pub(in crate::testkit) wakes: AtomicU64,
}

impl Wake for MemoryWaker {
    fn wake(&self) -> io::Result<()> {
        self.woken.store(true, Ordering::Release);
        self.wakes.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}

/// One connection as the network sees it.
pub(in crate::testkit) struct StreamState {
    pub(in crate::testkit) key: Option<u64>,
    pub(in crate::testkit) local: SocketAddr,
    pub(in crate::testkit) peer: SocketAddr,
    /// Of a Unix socket: where it is listened. It has no addresses then.
    pub(in crate::testkit) path: Option<PathBuf>,
    /// Bytes on their way to the loop.
    pub(in crate::testkit) inbound: VecDeque<u8>,
    pub(in crate::testkit) eof: bool,
    pub(in crate::testkit) broken: Option<io::ErrorKind>,
    /// Bytes that the loop has written.
    pub(in crate::testkit) outbound: Vec<u8>,
    /// How many were not kept, if they are only counted.
    pub(in crate::testkit) discarded: Option<u64>,
    /// How many more the loop may write.
    pub(in crate::testkit) window: usize,
    /// The most that each of the next reads gives; 0 stands for `WouldBlock`.
    pub(in crate::testkit) read_sizes: VecDeque<usize>,
    /// The most that each of the next writes takes; 0 stands for `WouldBlock`.
    pub(in crate::testkit) write_sizes: VecDeque<usize>,
    /// How many of the next reads and writes a signal interrupts.
    pub(in crate::testkit) interrupts: usize,
    pub(in crate::testkit) established: Result<bool, io::ErrorKind>,
    pub(in crate::testkit) write_shut: bool,
    /// Closed by the loop; whether with a reset.
    pub(in crate::testkit) closed: Option<bool>,
    pub(in crate::testkit) reads: u64,
    pub(in crate::testkit) writes: u64,
}

impl StreamState {
    pub(in crate::testkit) fn new(local: SocketAddr, peer: SocketAddr) -> Self {
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

pub(in crate::testkit) struct ListenerState {
    pub(in crate::testkit) key: u64,
    pub(in crate::testkit) address: SocketAddr,
    /// Of a Unix socket, which has no address.
    pub(in crate::testkit) path: Option<PathBuf>,
    pub(in crate::testkit) open: bool,
    pub(in crate::testkit) waiting: VecDeque<Result<usize, AcceptError>>,
}

pub(in crate::testkit) struct SocketState {
    pub(in crate::testkit) key: u64,
    pub(in crate::testkit) address: SocketAddr,
    /// Whom it is connected to.
    pub(in crate::testkit) peer: Option<SocketAddr>,
    /// What it was opened with.
    pub(in crate::testkit) options: UdpOptions,
    pub(in crate::testkit) open: bool,
    pub(in crate::testkit) inbound: VecDeque<io::Result<(Received, Vec<u8>)>>,
    pub(in crate::testkit) outbound: VecDeque<Sent>,
    /// How many more datagrams may be sent.
    pub(in crate::testkit) window: usize,
}

impl State {
    /// Has the next poll report `news`, together with what it reports of the same key already.
    pub(in crate::testkit) fn raise(&mut self, news: Ready) {
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
    pub(in crate::testkit) fn raise_stream(&mut self, index: usize) {
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
    pub(in crate::testkit) fn bind(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
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
    pub(in crate::testkit) fn next_peer(&mut self) -> io::Result<SocketAddr> {
        let peer = self.bind(SocketAddr::new(self.peers.into(), 0))?;
        if peer.port() == u16::MAX {
            self.peers = Ipv4Addr::from_bits(self.peers.to_bits() + 1);
        }
        Ok(peer)
    }
}
