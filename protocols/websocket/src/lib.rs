//! RFC 6455 WebSocket for the [Switchboard](switchboard) runtime: server and client, strictly, on the runtime's public
//! interface alone.
//!
//! An application is a [`Handler`], or a closure by [`message_fn`]; [`WebSocket`] is the protocol around it, one value a
//! connection. What it may hold and how long it waits is in [`Settings`], all finite by default.
//!
//! ```
//! use switchboard::{EventLoop, Failure};
//! use switchboard_websocket::{CloseCode, Handler, Message, Peer, Request, Response, WebSocket};
//!
//! /// Counts, and shows the way to who comes with a browser.
//! #[derive(Default)]
//! struct Counter(u64);
//!
//! impl Handler for Counter {
//!     fn on_http(&mut self, _: &mut Peer<'_, '_>, _: &Request<'_>) -> Response {
//!         Response::html("<script>new WebSocket(location).onmessage = e => document.write(e.data)</script>")
//!     }
//!
//!     fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
//!         peer.text("say something");
//!         Ok(())
//!     }
//!
//!     fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
//!         match message {
//!             Message::Text("bye") => return peer.close(CloseCode::NORMAL, "as you wish"),
//!             Message::Text(text) => self.0 += text.chars().count() as u64,
//!             Message::Binary(bytes) => self.0 += bytes.len() as u64,
//!         }
//!         peer.text(&self.0.to_string());
//!         Ok(())
//!     }
//! }
//!
//! let mut event_loop = EventLoop::new()?;
//! event_loop.listen("127.0.0.1:0", |_peer| Some(WebSocket::server(Counter::default())))?;
//! # event_loop.handle().stop();
//! event_loop.run()?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # The client
//!
//! The same [`Handler`] is a client's: [`WebSocket::client`] is a protocol for
//! [`EventLoop::connect`](switchboard::EventLoop::connect), with a [`Connect`] that says where to and with what. The answer
//! is checked to the letter; a redirect, any other status (with its header fields and the beginning of its body) and an
//! answer that breaks a rule are the [`AnswerError`](handshake::AnswerError) that [`Handler::on_failed`] is told. Each
//! frame is masked by a key of its own out of the loop's cryptographically strong generator (RFC 6455 §10.3), for which
//! what is sent is copied once, shared or not. At the end the server closes the connection first (RFC 6455 §7.1.1), and
//! the client waits for that.
//!
//! Through an HTTP proxy it goes by a [`Tunnel`](proxy::Tunnel), as any protocol can. `wss://` is a WebSocket inside a TLS
//! layer, which this crate does not have; [`Connect::over_tls`] is for those who do.
//!
//! [`Reconnect`] is a client that connects again by itself when its connection was lost, after a back-off with jitter.
//!
//! # What a connection does by itself
//!
//! * **The opening handshake**, checked to the letter ([`handshake`]); plain HTTP on the server's port goes to
//!   [`Handler::on_http`]. [`Settings::origins`] keeps pages of other sites out: by default it does not, and a server
//!   that trusts cookies, or whoever reaches it, must ([why](handshake::OriginPolicy)).
//! * **Messages**: one that lies whole in what was read is handed on where it lies, without a copy and without an
//!   allocation. One that does not is put together in a buffer of its own, which grows with what has arrived (never by
//!   what a header declares), counts against the loop's memory, and goes with the message: an idle connection holds no
//!   buffer. An invalid header is refused at the octet that shows it, text at the first byte that can't be UTF-8, a
//!   message that will be too long at the header that says so.
//! * **Compression** ([`deflate`], if [`Settings::compression`] says so and the client can): messages above a threshold
//!   are compressed, and what comes compressed is decompressed and checked as it arrives, within the same limits.
//! * **Control frames**: pings are answered, close frames too; the closing handshake ends in every order, or by its
//!   timeout.
//! * **A heartbeat**: a ping every 30 s or so, and the end for a peer that was silent for 60 s. Any traffic proves life
//!   and costs nothing; silence is not held against a peer that is not read, or still has output to take.
//! * **Backpressure**: who does not take the answers is not read, within a read too, and so a flood of pings or of small
//!   messages with large answers holds no more than [`Limits::high_water`](switchboard::Limits::high_water) and one
//!   answer.
//!
//! # Messages in pieces
//!
//! A message that is longer than what memory is for goes through in pieces, either way: [`Handler::on_begin`] says that it
//! is wanted so, [`Handler::on_piece`] takes it as it arrives, unmasked, inflated and checked, where it lies if it can;
//! [`Peer::send_piece`] sends one, a frame for each piece. Nothing of it is kept, and so its limits are others:
//! [`Settings::max_streamed`]. Pausing stops it between two pieces, a peer that takes no output too.
//!
//! ```
//! use switchboard::testkit::Harness;
//! use switchboard::Failure;
//! use switchboard_websocket::{Begin, Delivery, Handler, Message, Peer, WebSocket};
//!
//! /// Repeats messages of any length. What lies whole in a read comes whole: it is one piece, then.
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn on_begin(&mut self, _: &mut Peer<'_, '_>, _: &Begin) -> Result<Delivery, Failure> {
//!         Ok(Delivery::Pieces)
//!     }
//!
//!     fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
//!         self.on_piece(peer, message, true)
//!     }
//!
//!     fn on_piece(&mut self, peer: &mut Peer<'_, '_>, piece: Message<'_>, last: bool) -> Result<(), Failure> {
//!         peer.send_piece(piece, last)
//!     }
//! }
//!
//! let mut harness = Harness::new(WebSocket::server(Echo));
//! harness.feed(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
//!     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
//! # let _ = harness.take_sent();
//! harness.feed(b"\x81\x85\0\0\0\0hel"); // three of five bytes, masked by zeros
//! assert_eq!(harness.take_sent(), b"\x01\x03hel");
//! harness.feed(b"lo");
//! assert_eq!(harness.take_sent(), b"\x80\x02lo");
//! ```
//!
//! # Sending from elsewhere
//!
//! Any protocol of the loop, and any thread by the loop's handle, posts a [`Post`] to the connection's id: it is sent
//! as if the handler had. Other messages come to [`Handler::on_post`]. A chat is no more than a list of ids, which its
//! connections share:
//!
//! ```
//! use std::{cell::RefCell, collections::BTreeSet, rc::Rc, sync::mpsc, thread};
//! use switchboard::{Closing, ConnectionId, EventLoop, Failure};
//! use switchboard_websocket::{Closed, Handler, Message, Peer, Post, SharedText, WebSocket};
//!
//! /// Who is there. Callbacks never nest, so a `RefCell` is never borrowed twice.
//! type Room = Rc<RefCell<BTreeSet<ConnectionId>>>;
//!
//! #[derive(Clone)]
//! struct Chat {
//!     room: Room,
//!     arrivals: mpsc::Sender<ConnectionId>,
//! }
//!
//! impl Handler for Chat {
//!     fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
//!         self.room.borrow_mut().insert(peer.id());
//!         self.arrivals.send(peer.id())?;
//!         Ok(())
//!     }
//!
//!     /// Everybody gets it, its author too.
//!     fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
//!         let Message::Text(text) = message else { return Err(Failure::peer("this chat is of text")) };
//!         let text = SharedText::from(text.to_owned()); // one copy, however many get it
//!         for &id in self.room.borrow().iter() {
//!             // Handed back where the peer is about to go, or is so slow that its mailbox is full: it misses this one.
//!             let _ = peer.post(id, Post::Text(text.clone()));
//!         }
//!         Ok(())
//!     }
//!
//!     fn on_close(&mut self, cx: &mut Closing<'_>, _: &Closed<'_>) {
//!         self.room.borrow_mut().remove(&cx.id());
//!     }
//! }
//!
//! let mut event_loop = EventLoop::new()?;
//! let (arrivals, arrived) = mpsc::channel();
//! let chat = Chat { room: Room::default(), arrivals };
//! event_loop.listen("127.0.0.1:0", move |_peer| Some(WebSocket::server(chat.clone())))?;
//!
//! let handle = event_loop.handle(); // for any thread
//! thread::spawn(move || {
//!     for id in arrived {
//!         let _ = handle.post(id, Post::Text("welcome".into()));
//!     }
//! });
//! # event_loop.handle().stop();
//! event_loop.run()?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Topics
//!
//! A handler [subscribes](Peer::subscribe) to topics, and what is [published](switchboard::Core::publish) on them, by
//! whatever protocol, is sent: by [`Handler::on_publication`], as a text message if it is UTF-8, else as a binary one. It is
//! checked, and compressed, once for all, and there is one copy of it. The chat with rooms, then:
//!
//! ```
//! use switchboard::testkit::Harness;
//! use switchboard::{Failure, Slow};
//! use switchboard_websocket::{Handler, Message, Peer, WebSocket};
//!
//! #[derive(Default)]
//! struct Member {
//!     room: Option<String>,
//! }
//!
//! impl Handler for Member {
//!     /// The first message names the room; all others go to everybody in it.
//!     fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
//!         let Message::Text(text) = message else { return Err(Failure::peer("this chat is of text")) };
//!         match &self.room {
//!             Some(room) => {
//!                 peer.publish(room, text.to_owned());
//!             }
//!             None => {
//!                 // Who does not keep up misses the oldest of what waits.
//!                 peer.subscribe(text, Slow::DropOldest { waiting: 100 })?;
//!                 self.room = Some(text.to_owned());
//!             }
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let mut harness = Harness::new(WebSocket::server(Member::default()));
//! harness.feed(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
//!     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
//! # let _ = harness.take_sent();
//! harness.feed(b"\x81\x84\0\0\0\0room"); // masked by zeros
//! assert_eq!(harness.core().publish("room", "a device says hello"), 1);
//! harness.settle();
//! assert_eq!(harness.take_sent(), b"\x81\x13a device says hello");
//! ```
//!
//! # What failed
//!
//! | the peer gets | when | the cause in [`Closed`] |
//! | --- | --- | --- |
//! | 1002, 1007 | it broke the protocol | [`error::ProtocolError`] |
//! | 1009 | a message is longer, or in more fragments, than [`Settings`] allow | [`error::MessageLimit`] |
//! | 1008 | a message that is put together took too long ([`Settings::message_timeout`]) | [`error::MessageLimit`] |
//! | 1011 | the handler failed | the handler's error |
//! | 1013 | the loop has no memory left for its message | [`LimitExceeded`](switchboard::LimitExceeded) |
//! | 1013 | too much waits behind a message in pieces | [`LimitExceeded`](switchboard::LimitExceeded) |
//! | 1001 | the loop drains ([`Handler::on_shutdown`]) | |
//! | nothing | it was silent too long | [`PeerSilent`](switchboard_heartbeat::PeerSilent) |
//! | an HTTP status | the opening handshake failed | [`handshake::HandshakeError`], [`handshake::InvalidAnswer`] |
//! | nothing | a server's answer opens no WebSocket | [`handshake::AnswerError`] |
//! | nothing | a proxy opens no tunnel | [`proxy::ProxyError`] |
//!
//! A handler is told how its WebSocket ended ([`Handler::on_close`]) if it was told that it had begun. An opening
//! handshake that failed is told to a client's handler ([`Handler::on_failed`]), and on a server is the connection's
//! [`CloseReason`](switchboard::CloseReason), for the layers around it.
//!
//! # The pure parts
//!
//! [`frame`], [`mask`], [`utf8`], [`close`](mod@close), [`handshake`], [`extensions`] and [`deflate`] know no connection
//! and no loop: bytes in, values out, for tools and tests of your own.

#![forbid(unsafe_code)]

mod assembly;
mod client;
pub mod close;
mod closing;
pub mod conformance;
pub mod deflate;
pub mod error;
pub mod extensions;
pub mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod gathered;
mod handler;
pub mod handshake;
pub mod mask;
mod message;
mod opening;
mod outgoing;
mod peer;
mod pool;
pub mod proxy;
mod publication;
mod receiving;
pub mod reconnect;
mod sending;
mod settings;
mod shared;
mod state;
mod streaming;
pub mod utf8;
mod websocket;

pub use close::CloseCode;
pub use handler::{Closed, Handler, MessageFn, message_fn};
pub use handshake::{Accept, Answer, Connect, Request, Response};
pub use message::{Begin, Delivery, Message, Post};
pub use peer::Peer;
pub use reconnect::Reconnect;
pub use settings::Settings;
pub use shared::{SharedBinary, SharedText};
pub use websocket::WebSocket;
