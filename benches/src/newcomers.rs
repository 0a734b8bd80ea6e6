//! Connections that come and go.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use switchboard::EventLoop;
use switchboard_echo::TcpEcho;
use switchboard_websocket::{WebSocket, message_fn};

use crate::echo::{connect, serve, shake_hands};
use crate::frames::REQUEST;
use crate::{PATIENCE, WARM_UP};

/// A server, and a client that comes and goes.
pub struct Newcomer {
    event_loop: EventLoop,
    address: SocketAddr,
}

impl Default for Newcomer {
    fn default() -> Self {
        let (event_loop, address) = serve(|| TcpEcho);
        let mut newcomer = Self { event_loop, address };
        (0..WARM_UP).for_each(|_| newcomer.round());
        newcomer
    }
}

impl Newcomer {
    /// A connection is accepted, closed by its client, and gone.
    ///
    /// # Panics
    /// If it is not.
    pub fn round(&mut self) {
        drop(connect(&mut self.event_loop, self.address));
        while self.event_loop.core().open_connections() > 0 {
            self.event_loop.turn(Some(PATIENCE)).expect("a turn");
        }
    }
}

/// Accepted connections of a WebSocket server that have said nothing yet.
pub struct Handshakes {
    event_loop: EventLoop,
    clients: Vec<TcpStream>,
    answer: Vec<u8>,
}

impl Handshakes {
    /// So many connections.
    #[must_use]
    pub fn new(clients: usize) -> Self {
        let (mut event_loop, address) = serve(|| WebSocket::server(message_fn(|_, _| Ok(()))));
        let mut clients: Vec<_> = (0..clients + 1).map(|_| connect(&mut event_loop, address)).collect();
        let mut first = clients.pop().expect("one more");
        let answer = vec![0; shake_hands(&mut event_loop, &mut first)];
        Self { event_loop, clients, answer }
    }

    /// The next client shakes hands.
    ///
    /// # Panics
    /// If there is none, or it gets no answer.
    pub fn round(&mut self) {
        let mut client = self.clients.pop().expect("a client for each round");
        client.write_all(REQUEST).expect("the loop to take it");
        self.event_loop.turn(Some(PATIENCE)).expect("a turn");
        client.read_exact(&mut self.answer).expect("the answer");
        self.clients.insert(0, client);
    }
}
