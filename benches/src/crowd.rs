//! Many WebSockets that are told the same.

use std::io::Read;
use std::net::TcpStream;

use switchboard::{EventLoop, Failure, Slow};
use switchboard_websocket::{Handler, Message, Peer, WebSocket};

use crate::echo::{connect, serve, shake_hands};
use crate::{PATIENCE, WARM_UP, text, unmasked};

const TOPIC: &str = "news";

/// Subscribes to the one topic.
struct Subscriber;

impl Handler for Subscriber {
    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        Ok(peer.subscribe(TOPIC, Slow::DropOldest { waiting: 100 })?)
    }

    fn on_message(&mut self, _: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

/// A server with its subscribers.
pub struct Crowd {
    event_loop: EventLoop,
    clients: Vec<TcpStream>,
    news: String,
    frame: Vec<u8>,
    received: Vec<u8>,
}

impl Crowd {
    /// So many WebSockets, which need two descriptors each.
    #[must_use]
    pub fn new(members: usize) -> Self {
        let (mut event_loop, address) = serve(|| WebSocket::server(Subscriber));
        let clients = (0..members).map(|_| {
            let mut client = connect(&mut event_loop, address);
            shake_hands(&mut event_loop, &mut client);
            client
        });
        let clients = clients.collect();
        let news = text(20, false);
        let frame = unmasked(news.as_bytes());
        let received = vec![0; frame.len()];
        let mut crowd = Self { event_loop, clients, news, frame, received };
        (0..WARM_UP).for_each(|_| crowd.round());
        crowd
    }

    /// A message is published, and everybody gets it.
    ///
    /// # Panics
    /// If somebody does not.
    pub fn round(&mut self) {
        let told = self.event_loop.core().publish(TOPIC, self.news.clone());
        assert_eq!(told, self.clients.len());
        while self.event_loop.core().waiting_messages() > 0 {
            self.event_loop.turn(Some(PATIENCE)).expect("a turn");
        }
        for client in &mut self.clients {
            client.read_exact(&mut self.received).expect("the news");
        }
        assert!(self.received == self.frame, "other news");
    }
}
