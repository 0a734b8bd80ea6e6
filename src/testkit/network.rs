//! The script's side of the network in memory.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use slab::Slab;

use super::memory::{MemoryDriver, MemoryWaker, Shared, State, StreamState};
use super::transcript::Escaped;
use crate::driver::{AcceptError, Ready};
use crate::{EndpointId, Time};

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
        refuse_connect: None,
        waker: MemoryWaker::default().into(),
        next_port: 49_151,
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
        let mut state = self.state.borrow_mut();
        let source = state.bind(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)).ok()?;
        let (listener, _) = state.listeners.iter().find(|(_, it)| it.open && it.address == address)?;
        let stream = state.streams.insert(StreamState::new(address, source));
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

    /// Sends a datagram to the UDP socket bound to `to`. False if there is none.
    pub fn send_datagram(&self, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> bool {
        self.push_datagram(to, Ok((payload.to_vec(), from)))
    }

    /// The next receive on the UDP socket bound to `to`, behind what waits already, fails.
    pub fn fail_receive(&self, to: SocketAddr, kind: io::ErrorKind) -> bool {
        self.push_datagram(to, Err(kind.into()))
    }

    /// Takes the datagrams that the UDP socket bound to `from` has sent, with their targets.
    #[must_use]
    pub fn take_datagrams(&self, from: SocketAddr) -> Vec<(SocketAddr, Vec<u8>)> {
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

    fn push_datagram(&self, to: SocketAddr, datagram: io::Result<(Vec<u8>, SocketAddr)>) -> bool {
        let mut state = self.state.borrow_mut();
        let Some((_, socket)) = state.sockets.iter_mut().find(|(_, it)| it.open && it.address == to) else {
            return false;
        };
        socket.inbound.push_back(datagram);
        let key = socket.key;
        state.raise(Ready { key, readable: true, ..Ready::default() });
        true
    }
}

/// The far end of a connection: what the script does there.
#[derive(Clone)]
pub struct Peer {
    state: Shared,
    index: usize,
}

impl Peer {
    /// Sends bytes to the loop.
    pub fn send(&self, bytes: &[u8]) {
        self.change(|stream| stream.inbound.extend(bytes));
    }

    /// Half-closes.
    pub fn finish(&self) {
        self.change(|stream| stream.eof = true);
    }

    /// Resets the connection. What was sent before can still be read, as on Linux.
    pub fn reset(&self) {
        self.change(|stream| stream.broken = Some(io::ErrorKind::ConnectionReset));
    }

    /// An outgoing connection of the loop stands.
    pub fn establish(&self) {
        self.change(|stream| stream.established = Ok(true));
    }

    /// An outgoing connection of the loop fails.
    pub fn refuse(&self, kind: io::ErrorKind) {
        self.change(|stream| stream.established = Err(kind));
    }

    /// Lets the loop write `window` more bytes before it would block (at first: any number).
    pub fn set_window(&self, window: usize) {
        if window == 0 {
            self.state.borrow_mut().streams[self.index].window = 0;
        } else {
            self.change(|stream| stream.window = window);
        }
    }

    /// Cuts the loop's next reads to at most these sizes; 0 stands for `WouldBlock`.
    pub fn cut_reads(&self, sizes: impl IntoIterator<Item = usize>) {
        self.state.borrow_mut().streams[self.index].read_sizes.extend(sizes);
    }

    /// Cuts the loop's next writes to at most these sizes; 0 stands for `WouldBlock`.
    pub fn cut_writes(&self, sizes: impl IntoIterator<Item = usize>) {
        self.state.borrow_mut().streams[self.index].write_sizes.extend(sizes);
    }

    /// A signal interrupts the loop's next `calls` reads of bytes and writes: they fail with
    /// [`Interrupted`](io::ErrorKind::Interrupted), and no edge follows.
    pub fn interrupt(&self, calls: usize) {
        self.state.borrow_mut().streams[self.index].interrupts = calls;
    }

    /// Forgets what is left of the cuts.
    pub(super) fn forget_cuts(&self) {
        let stream = &mut self.state.borrow_mut().streams[self.index];
        stream.read_sizes.clear();
        stream.write_sizes.clear();
    }

    /// What the loop has written and was not taken yet.
    #[must_use]
    pub fn received(&self) -> Vec<u8> {
        self.state.borrow().streams[self.index].outbound.clone()
    }

    /// Takes what the loop has written.
    #[must_use]
    pub fn take_received(&self) -> Vec<u8> {
        std::mem::take(&mut self.state.borrow_mut().streams[self.index].outbound)
    }

    /// Whether the loop has half-closed or closed its side in order, behind what was received.
    #[must_use]
    pub fn saw_eof(&self) -> bool {
        let state = self.state.borrow();
        let stream = &state.streams[self.index];
        stream.closed != Some(true) && (stream.write_shut || stream.closed == Some(false))
    }

    /// Whether this end has reset the connection.
    pub(super) fn is_broken(&self) -> bool {
        self.state.borrow().streams[self.index].broken.is_some()
    }

    /// Whether the loop has closed the connection altogether.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state.borrow().streams[self.index].closed.is_some()
    }

    /// Whether the loop's close was a reset, which may destroy what was on its way.
    #[must_use]
    pub fn saw_reset(&self) -> bool {
        self.state.borrow().streams[self.index].closed == Some(true)
    }

    /// Bytes that were sent to the loop and that it has not read.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.state.borrow().streams[self.index].inbound.len()
    }

    /// How often the loop has called read and write.
    #[must_use]
    pub fn calls(&self) -> (u64, u64) {
        let state = self.state.borrow();
        (state.streams[self.index].reads, state.streams[self.index].writes)
    }

    /// The id of the connection on the loop, while it lives there.
    #[must_use]
    pub fn id(&self) -> Option<EndpointId> {
        self.state.borrow().streams[self.index].key.map(EndpointId::from_key)
    }

    /// This end's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.state.borrow().streams[self.index].peer
    }

    fn change(&self, change: impl FnOnce(&mut StreamState)) {
        let mut state = self.state.borrow_mut();
        change(&mut state.streams[self.index]);
        state.raise_stream(self.index);
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("now", &self.now())
            .field("has_events", &self.has_events())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("id", &self.id())
            .field("address", &self.address())
            .field("unread", &self.unread())
            .field("received", &format_args!("{}", Escaped(&self.received())))
            .field("saw_eof", &self.saw_eof())
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
