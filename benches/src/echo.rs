//! An echo and its client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};

use switchboard::{EventLoop, Layer, Layered, Protocol, SocketId};
use switchboard_echo::{TcpEcho, UdpEcho};
use switchboard_websocket::{WebSocket, message_fn};

use crate::frames::REQUEST;
use crate::{PATIENCE, WARM_UP, masked, unmasked};

/// A connection whose server echoes, over TCP or as a WebSocket.
pub struct Stream {
    event_loop: EventLoop,
    client: TcpStream,
    /// What the client sends in a round, and what it gets.
    request: Vec<u8>,
    reply: Vec<u8>,
    received: Vec<u8>,
}

/// A layer that hands everything on.
struct Pass;

impl<P: Protocol> Layer<P> for Pass {}

impl Stream {
    /// Bytes, in one write.
    #[must_use]
    pub fn tcp(bytes: &[u8]) -> Self {
        Self::new(|| TcpEcho).repeating(bytes.to_vec(), bytes.to_vec())
    }

    /// The same through three layers.
    #[must_use]
    pub fn layered(bytes: &[u8]) -> Self {
        let layered = || Layered::new(Pass, Layered::new(Pass, Layered::new(Pass, TcpEcho)));
        Self::new(layered).repeating(bytes.to_vec(), bytes.to_vec())
    }

    /// Messages of a WebSocket, all with this payload, in one write.
    #[must_use]
    pub fn web_socket(messages: usize, payload: &[u8]) -> Self {
        let echo = || {
            WebSocket::server(message_fn(|peer, message| {
                peer.send(message);
                Ok(())
            }))
        };
        let mut stream = Self::new(echo);
        shake_hands(&mut stream.event_loop, &mut stream.client);
        stream.repeating(masked(payload).repeat(messages), unmasked(payload).repeat(messages))
    }

    fn new<P: Protocol>(protocol: impl Fn() -> P + 'static) -> Self {
        let (mut event_loop, address) = serve(protocol);
        let client = connect(&mut event_loop, address);
        Self { event_loop, client, request: Vec::new(), reply: Vec::new(), received: Vec::new() }
    }

    fn repeating(self, request: Vec<u8>, reply: Vec<u8>) -> Self {
        let received = vec![0; reply.len()];
        let mut stream = Self { request, reply, received, ..self };
        for _ in 0..WARM_UP {
            stream.round();
            stream.check();
        }
        stream
    }

    /// The client writes, the loop turns, the client reads.
    ///
    /// # Panics
    /// If the echo does not come.
    pub fn round(&mut self) {
        self.client.write_all(&self.request).expect("the loop to take it");
        self.event_loop.turn(Some(PATIENCE)).expect("a turn");
        self.client.read_exact(&mut self.received).expect("the echo");
    }

    /// What came back last is right.
    ///
    /// # Panics
    /// If it is not.
    pub fn check(&self) {
        assert!(self.received == self.reply, "the echo differs");
    }
}

/// A loop that serves this on a free port.
pub(crate) fn serve<P: Protocol>(protocol: impl Fn() -> P + 'static) -> (EventLoop, SocketAddr) {
    let mut event_loop = EventLoop::new().expect("a loop");
    let listener = event_loop.listen("127.0.0.1:0", move |_| Some(protocol())).expect("a free port");
    let address = event_loop.local_addr(listener).expect("its address");
    (event_loop, address)
}

/// A client's connection that the loop has accepted.
pub(crate) fn connect(event_loop: &mut EventLoop, address: SocketAddr) -> TcpStream {
    let (client, open) = (TcpStream::connect(address).expect("a connection"), event_loop.core().open_connections());
    client.set_nodelay(true).expect("no delay");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    while event_loop.core().open_connections() == open {
        event_loop.turn(Some(PATIENCE)).expect("a turn");
    }
    client
}

/// The opening handshake; gives the length of the answer.
pub(crate) fn shake_hands(event_loop: &mut EventLoop, client: &mut TcpStream) -> usize {
    client.write_all(REQUEST).expect("the loop to take it");
    event_loop.turn(Some(PATIENCE)).expect("a turn");
    let mut answer = [0; 1024];
    let length = client.read(&mut answer).expect("the answer");
    assert!(answer.starts_with(b"HTTP/1.1 101 ") && answer[..length].ends_with(b"\r\n\r\n"), "a handshake");
    length
}

/// A UDP socket that echoes, and a client that sends in bursts.
pub struct Datagrams {
    event_loop: EventLoop,
    socket: SocketId,
    client: UdpSocket,
    burst: usize,
    payload: Vec<u8>,
    received: Vec<u8>,
}

impl Datagrams {
    /// Bursts of so many datagrams, all with this payload.
    #[must_use]
    pub fn new(burst: usize, payload: &[u8]) -> Self {
        let mut event_loop = EventLoop::new().expect("a loop");
        let socket = event_loop.bind_udp("127.0.0.1:0", UdpEcho).expect("a free port");
        let client = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        client.connect(event_loop.local_addr(socket).expect("its address")).expect("a route");
        client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (payload, received) = (payload.to_vec(), vec![0; payload.len() + 1]);
        let mut datagrams = Self { event_loop, socket, client, burst, payload, received };
        (0..WARM_UP).for_each(|_| datagrams.round());
        datagrams
    }

    /// The client sends a burst, the loop turns, the client gets it back.
    ///
    /// # Panics
    /// If it does not.
    pub fn round(&mut self) {
        for _ in 0..self.burst {
            self.client.send(&self.payload).expect("the kernel to take it");
        }
        let all = self.event_loop.core().socket_counters(self.socket).datagrams_in + self.burst as u64;
        while self.event_loop.core().socket_counters(self.socket).datagrams_in < all {
            self.event_loop.turn(Some(PATIENCE)).expect("a turn");
        }
        for _ in 0..self.burst {
            let length = self.client.recv(&mut self.received).expect("the echo");
            assert!(self.received[..length] == self.payload, "the echo differs");
        }
    }
}
