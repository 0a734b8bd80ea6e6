//! Reliable messages in order over UDP, for the Switchboard runtime: sequence numbers, acknowledgement, retransmission,
//! de-duplication and order on top of a [session](switchboard::EventLoop::bind_sessions).
//!
//! A message arrives once, whole, and after those sent before it; or the session ends with an error, and says how many
//! messages are not known to have arrived. Both ends talk as they like.
//!
//! ```
//! use std::{cell::RefCell, rc::Rc, time::Duration};
//! use switchboard::{Failure, testkit::{Conditions, Simulation}};
//! use switchboard_reliable::{Handler, Peer, Reliable, message_fn};
//!
//! /// Asks, and hangs up when it is answered.
//! struct Asking(Rc<RefCell<String>>);
//!
//! impl Handler for Asking {
//!     fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
//!         peer.send(b"what time is it?").map_err(Failure::limit)
//!     }
//!
//!     fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: &[u8]) -> Result<(), Failure> {
//!         self.0.borrow_mut().push_str(&String::from_utf8_lossy(message));
//!         peer.close();
//!         Ok(())
//!     }
//! }
//!
//! // A network in virtual time that loses a third of all datagrams; a real `EventLoop` is used in the same way.
//! let mut sim = Simulation::new(1);
//! sim.set_conditions(Conditions { loss: 0.3, ..Conditions::default() });
//! let (server, client) = (sim.add_host("server"), sim.add_host("client"));
//! let address = sim.address(server, 7000);
//!
//! sim.event_loop(server).bind_sessions(address, |_| {
//!     Some(Reliable::server(message_fn(|peer, _question| peer.send(b"noon").map_err(Failure::limit))))
//! })?;
//! let answer = Rc::default();
//! sim.event_loop(client).connect_udp(address, Reliable::client(Asking(Rc::clone(&answer))));
//! sim.run_for(Duration::from_secs(60));
//! assert_eq!(*answer.borrow(), "noon");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # When to use it, and when TCP
//!
//! TCP is the better choice for nearly everything: it is encrypted by TLS, passes firewalls, is in the kernel, and its
//! congestion control is better than this one. This is for those who speak UDP already and need some of it to arrive:
//!
//! * a game or a sensor whose positions go as plain datagrams, newest wins, and whose purchases and commands must arrive:
//!   both on UDP, by the same port rules, without a second kind of connection to keep;
//! * messages rather than a stream, without framing of one's own;
//! * peers that change nothing but want to know within a bounded time whether the other is there, without the system's
//!   defaults of a quarter of an hour.
//!
//! It is not faster than TCP where datagrams get lost: one that is missing holds back all behind it, as there. Nothing is
//! encrypted: who sees the datagrams can read and forge them, as with plain TCP. Who does not see them cannot: each end
//! names the session by 64 random bits (see [below](#hostile-networks)). For encryption on UDP there is QUIC.
//!
//! # What it does
//!
//! * **Messages** of 0 bytes to [`Settings::max_message`]; long ones are cut, small ones share a datagram where they are sent
//!   in the same turn. A datagram has 1,200 bytes at most, so that it passes everywhere unfragmented (RFC 8085 §3.2).
//! * **Loss** is noticed when something sent three later has arrived (RFC 9002 §6.1.1), or by a retransmission timeout as
//!   RFC 6298 has it, with Karn's algorithm and exponential back-off. Acknowledgements are selective; one for each second
//!   datagram, or after 25 ms.
//! * **Congestion** control is NewReno's as RFC 9002 §7 states it: RFC 8085 §3.1 asks every sender on the Internet for some.
//! * **Flow control**: the receiver grants a window ahead of what its handler takes. [`Peer::has_room`] and
//!   [`Handler::on_drain`] on one side, [`Peer::pause_reading`] on the other.
//! * **Memory** is bounded ([`Settings::most_held`]) and counts against
//!   [`Limits::loop_memory`](switchboard::Limits::loop_memory). A steady flow allocates nothing.
//! * **A dead peer** is noticed within [`Settings::timeout`], when something is sent or by the keepalive.
//! * **Closing** in order: what both sides had sent arrives. [`Closed::clean`] says so, [`Closed::unsent`] what may not have.
//!
//! How much gets through, of 10 Mbit/s on the simulated network (`tests/simulated/throughput.rs`): without loss 97 %, at
//! 100 ms round trip; at 1 % loss 19 % at 50 ms and 10 % at 100 ms, which is what NewReno's congestion control makes of such
//! loss, TCP's included: 1.22 datagrams a round trip over the root of the loss (RFC 5348 §3.1, simplified), less what
//! delayed acknowledgements cost.
//!
//! # Hostile networks
//!
//! * Nobody is believed before they have shown that they get what is sent to their address: the handler's `on_open` comes
//!   then, and until then they get no more bytes than three times what they sent.
//! * Datagrams that are garbled, forged or left over from an earlier session are dropped and [counted](Stats::dropped). They
//!   end nothing: to end a session one must know its id.
//! * A peer that knows the ids, since it is the peer, can't make this side hold more than its limits, nor work without end:
//!   what is beyond the window is dropped, and what no honest peer does ends the session ([`ProtocolError`]).
//! * One that acknowledges what it never received fools itself: nothing is sent again. It can draw data no faster than its
//!   own window, 1,024 datagrams at most, a round trip.
//! * No datagram is answered by one that brings nothing new, so that no two ends can keep each other busy.
//!
//! What a bound socket admits (how many sessions, how many new ones a second) is
//! [`SessionOptions`](switchboard::SessionOptions)' business. Whatever is left over of a session that has ended opens one
//! for a moment, and so calls the socket's factory; its handler is called by nobody.
//!
//! The datagrams are described in `docs/wire-format.md`.

mod congestion;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod handler;
mod header;
mod link;
mod peer;
mod receiver;
mod reliable;
mod rtt;
mod sender;
mod session;
mod settings;
mod stats;

pub use error::{PeerGone, ProtocolError, SendError, UsageError};
pub use handler::{Closed, Handler, MessageFn, message_fn};
pub use peer::Peer;
pub use reliable::Reliable;
pub use settings::Settings;
pub use stats::Stats;
