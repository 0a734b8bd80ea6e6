//! The script's side of the network in memory.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use slab::Slab;

use super::memory::{FIRST_PORT, ListenerState, MemoryDriver, MemoryWaker, NOWHERE, Shared, State, StreamState};
use crate::Time;
use crate::driver::{AcceptError, Ready, Received};

mod peer;

pub use peer::Peer;

/// A network in memory: the driver for a loop, and the script's hold on what happens below it.
///
/// ```
/// use switchboard::{EventLoop, Limits, protocol_fn, testkit};
///
/// let (driver, network) = testkit::network();
/// let mut event_loop = EventLoop::with_driver(driver, Limits::default())?;
/// let address: std::net::SocketAddr = "10.0.0.1:7".parse().unwrap();
/// event_loop.listen(address, |_| {
///     Some(protocol_fn(|cx, input| {
///         cx.send(input.take_all());
///         Ok(())
///     }))
/// })?;
/// let peer = network.connect(address).expect("somebody listens");
/// peer.send(b"hello");
/// event_loop.turn(None)?; // accepts
/// event_loop.turn(None)?; // reads
/// assert_eq!(peer.take_received(), b"hello");
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn network() -> (MemoryDriver, Network) {
    make()
}

/// As [`network`], with readiness that ends only at `WouldBlock`, as on Windows.
#[must_use]
pub fn network_until_would_block() -> (MemoryDriver<false>, Network) {
    make()
}

fn make<const SHORT_MEANS_DRAINED: bool>() -> (MemoryDriver<SHORT_MEANS_DRAINED>, Network) {
    let state = Rc::new(RefCell::new(State {
        now: Time::ZERO,
        seed: [0; 32],
        ready: Vec::new(),
        polls: 0,
        streams: Slab::new(),
        listeners: Slab::new(),
        sockets: Slab::new(),
        outgoing: VecDeque::new(),
        lookups: VecDeque::new(),
        answers: BTreeMap::new(),
        refuse_connect: None,
        waker: MemoryWaker::default().into(),
        last_port: FIRST_PORT - 1,
        peers: Ipv4Addr::LOCALHOST,
    }));
    (MemoryDriver { state: Rc::clone(&state) }, Network { state })
}

/// Scripts what happens on the network in memory. See [`network`].
#[derive(Clone)]
pub struct Network {
    state: Shared,
}

impl Network {
    /// Moves the clock.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state.borrow_mut();
        state.now = state.now + by;
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Time {
        self.state.borrow().now
    }

    /// A peer connects to whoever listens on `address`; it waits there to be accepted. `None` if
    /// nobody listens.
    #[must_use]
    pub fn connect(&self, address: SocketAddr) -> Option<Peer> {
        let source = self.state.borrow_mut().next_peer().ok()?;
        self.connect_to(|it| it.path.is_none() && it.address == address, StreamState::new(address, source))
    }

    /// A peer connects to whoever listens on the Unix socket at `path`, as [`connect`](Self::connect) does.
    #[must_use]
    pub fn connect_unix(&self, path: impl AsRef<Path>) -> Option<Peer> {
        let path = Some(path.as_ref());
        let stream = StreamState { path: path.map(Path::to_owned), ..StreamState::new(NOWHERE, NOWHERE) };
        self.connect_to(|it| it.path.as_deref() == path, stream)
    }

    fn connect_to(&self, whose: impl Fn(&ListenerState) -> bool, stream: StreamState) -> Option<Peer> {
        let mut state = self.state.borrow_mut();
        let (listener, _) = state.listeners.iter().find(|(_, it)| it.open && whose(it))?;
        let stream = state.streams.insert(stream);
        let listener = &mut state.listeners[listener];
        listener.waiting.push_back(Ok(stream));
        let key = listener.key;
        state.raise(Ready { key, readable: true, ..Ready::default() });
        Some(Peer { state: Rc::clone(&self.state), index: stream })
    }

    /// The next accept on `address`, behind the peers that wait already, fails with `error`.
    pub fn fail_accept(&self, address: SocketAddr, error: AcceptError) {
        let mut state = self.state.borrow_mut();
        let found = state.listeners.iter_mut().find(|(_, it)| it.open && it.address == address);
        let Some((_, listener)) = found else { return };
        listener.waiting.push_back(Err(error));
        let key = listener.key;
        state.raise(Ready { key, readable: true, ..Ready::default() });
    }

    /// The next name that the loop looks up and the script has not seen.
    #[must_use]
    pub fn next_lookup(&self) -> Option<Lookup> {
        let (key, host, port) = self.state.borrow_mut().lookups.pop_front()?;
        Some(Lookup { state: Rc::clone(&self.state), key, host, port })
    }

    /// Whether somebody listens on the Unix socket at `path`.
    #[must_use]
    pub fn is_listening_unix(&self, path: impl AsRef<Path>) -> bool {
        self.state.borrow().listeners.iter().any(|(_, it)| it.open && it.path.as_deref() == Some(path.as_ref()))
    }

    /// Whether somebody listens on `address`.
    #[must_use]
    pub fn is_listening(&self, address: SocketAddr) -> bool {
        self.state.borrow().listeners.iter().any(|(_, it)| it.open && it.address == address)
    }

    /// The next outgoing connection that the loop has begun and the script has not seen. It is
    /// neither established nor refused until the script says so.
    #[must_use]
    pub fn next_outgoing(&self) -> Option<Peer> {
        let index = self.state.borrow_mut().outgoing.pop_front()?;
        Some(Peer { state: Rc::clone(&self.state), index })
    }

    /// The outgoing connection to `address`, taken out of the line of [`next_outgoing`](Self::next_outgoing).
    pub(super) fn outgoing_to(&self, address: SocketAddr) -> Option<Peer> {
        let mut state = self.state.borrow_mut();
        let position = state.outgoing.iter().position(|&index| state.streams[index].peer == address)?;
        let index = state.outgoing.remove(position)?;
        Some(Peer { state: Rc::clone(&self.state), index })
    }

    /// The loop's next attempt to connect fails at once.
    pub fn refuse_connect(&self, kind: io::ErrorKind) {
        self.state.borrow_mut().refuse_connect = Some(kind);
    }

    /// Has the next poll report an event as it is, be it stale or plain wrong.
    pub fn raise(&self, ready: Ready) {
        self.state.borrow_mut().ready.push(ready);
    }

    /// Takes what the next poll would report, to raise it otherwise or not at all.
    #[must_use]
    pub fn take_events(&self) -> Vec<Ready> {
        std::mem::take(&mut self.state.borrow_mut().ready)
    }

    /// Sends a datagram to the UDP socket bound to `to`, or to its port on the wildcard address. False if there is none,
    /// or it is connected to somebody else.
    pub fn send_datagram(&self, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> bool {
        let received = Received { len: payload.len(), source: from, local: Some(to.ip()), ecn: None };
        self.push_datagram(to, Ok((received, payload.to_vec())))
    }

    /// The next receive on the UDP socket bound to `to`, behind what waits already, fails.
    pub fn fail_receive(&self, to: SocketAddr, kind: io::ErrorKind) -> bool {
        self.push_datagram(to, Err(kind.into()))
    }

    /// Takes the datagrams that the UDP socket bound to `from` has sent, with their targets.
    #[must_use]
    pub fn take_datagrams(&self, from: SocketAddr) -> Vec<(SocketAddr, Vec<u8>)> {
        self.take_sent(from).into_iter().map(|sent| (sent.target, sent.payload)).collect()
    }

    /// As [`take_datagrams`](Self::take_datagrams), with all that is known of each.
    #[must_use]
    pub fn take_sent(&self, from: SocketAddr) -> Vec<Sent> {
        let mut state = self.state.borrow_mut();
        let sockets = state.sockets.iter_mut().filter(|(_, it)| it.address == from);
        sockets.flat_map(|(_, socket)| socket.outbound.drain(..)).collect()
    }

    /// Lets the UDP socket bound to `from` send `window` more datagrams before it would block.
    pub fn set_datagram_window(&self, from: SocketAddr, window: usize) {
        let mut state = self.state.borrow_mut();
        let Some((_, socket)) = state.sockets.iter_mut().find(|(_, it)| it.open && it.address == from) else { return };
        socket.window = window;
        let key = socket.key;
        if window > 0 {
            state.raise(Ready { key, writable: true, ..Ready::default() });
        }
    }

    /// Where the UDP socket is that was opened last.
    pub(super) fn last_socket(&self) -> Option<SocketAddr> {
        self.state.borrow().sockets.iter().next_back().map(|(_, socket)| socket.address)
    }

    /// How often a handle has interrupted the poll.
    #[must_use]
    pub fn wakes(&self) -> u64 {
        self.state.borrow().waker.wakes.load(Ordering::Acquire)
    }

    /// How many reads and writes are still to be cut, on all connections.
    pub(super) fn cuts(&self) -> usize {
        let state = self.state.borrow();
        state.streams.iter().map(|(_, stream)| stream.read_sizes.len() + stream.write_sizes.len()).sum()
    }

    /// Whether the next poll would report something.
    #[must_use]
    pub fn has_events(&self) -> bool {
        let state = self.state.borrow();
        !state.ready.is_empty() || state.waker.woken.load(Ordering::Acquire)
    }

    fn push_datagram(&self, to: SocketAddr, datagram: io::Result<(Received, Vec<u8>)>) -> bool {
        let mut state = self.state.borrow_mut();
        let is_here =
            |address: SocketAddr| address == to || (address.ip().is_unspecified() && address.port() == to.port());
        let source = datagram.as_ref().ok().map(|(received, _)| received.source);
        let is_heard = |peer: Option<SocketAddr>| peer.is_none() || source.is_none() || peer == source;
        let mut sockets = state.sockets.iter_mut().map(|(_, socket)| socket);
        let Some(socket) = sockets.find(|it| it.open && is_here(it.address) && is_heard(it.peer)) else {
            return false;
        };
        let tells = socket.options.local_addresses;
        socket
            .inbound
            .push_back(datagram.map(|(received, payload)| {
                (Received { local: received.local.filter(|_| tells), ..received }, payload)
            }));
        let key = socket.key;
        state.raise(Ready { key, readable: true, ..Ready::default() });
        true
    }
}

/// A name that the loop looks up, for the script to answer. One that is never answered takes for ever.
pub struct Lookup {
    state: Shared,
    key: u64,
    host: String,
    port: u16,
}

impl Lookup {
    /// The name.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// It has these addresses, in the order of the system's resolver.
    pub fn answer(self, addresses: impl IntoIterator<Item = IpAddr>) {
        let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, self.port)).collect();
        self.end(Ok(addresses));
    }

    /// It can't be resolved.
    pub fn fail(self, kind: io::ErrorKind) {
        self.end(Err(kind.into()));
    }

    fn end(self, answer: io::Result<Vec<SocketAddr>>) {
        let mut state = self.state.borrow_mut();
        state.answers.insert(self.key, answer);
        state.raise(Ready { key: self.key, ..Ready::default() });
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// A datagram that a UDP socket on the network in memory has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// The local address it is from, if that was not left to the system.
    pub source: Option<IpAddr>,
    /// Whom it is for.
    pub target: SocketAddr,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("now", &self.now())
            .field("has_events", &self.has_events())
            .finish_non_exhaustive()
    }
}
