//! Heartbeat, keepalive and idle timeout for the Switchboard runtime.
//!
//! Four things, each on top of the one before:
//!
//! * [`Beat`], the timing alone, without I/O: when to probe, when to give up, how long a round trip
//!   takes. For protocols with pings of their own, such as WebSocket.
//! * [`Heartbeat`], a layer around a protocol that says how it [`Probe`]s: it keeps the timer, asks
//!   for probes and closes the connection of a peer that gives no sign of life.
//! * [`PingPong`], a line protocol that probes: `PING <n>` is answered by `PONG <n>`.
//!   [`HeartbeatLine`] is the one around the other.
//! * [`IdleTimeout`], a layer around any protocol that closes what nobody uses.
//!
//! A server whose peers are asked for a sign of life every 5 s and given up after 15:
//!
//! ```
//! use switchboard::EventLoop;
//! use switchboard_heartbeat::{Config, Heartbeat, PingPong};
//!
//! let mut event_loop = EventLoop::new()?;
//! let config = Config::default();
//! event_loop.listen("127.0.0.1:0", move |_peer| {
//!     Some(Heartbeat::new(config).around(PingPong::default()))
//! })?;
//! # event_loop.turn(Some(std::time::Duration::ZERO))?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! The client is the same, with `event_loop.connect(address, …)`: each side may probe, and both
//! answer.
//!
//! # Round-trip times
//!
//! By id, whenever they are wanted, or as they come:
//!
//! ```
//! use std::{cell::RefCell, collections::HashMap, rc::Rc, time::Duration};
//! use switchboard::testkit::Harness;
//! use switchboard_heartbeat::{Config, Heartbeat, HeartbeatLine, PingPong};
//!
//! let latest = Rc::new(RefCell::new(HashMap::new())); // callbacks never nest, so no borrow clashes
//! let noted = Rc::clone(&latest);
//! let heartbeat = Heartbeat::new(Config::default())
//!     .observed_by(move |id, rtt| drop(noted.borrow_mut().insert(id, rtt.smoothed)));
//!
//! let mut harness = Harness::new(heartbeat.around(PingPong::default()));
//! harness.advance(Duration::from_secs(5));
//! harness.feed(b"PONG 1\n");
//! assert!(latest.borrow().contains_key(&harness.id()));
//!
//! let id = harness.id();
//! let line = harness.event_loop().protocol::<HeartbeatLine>(id).unwrap();
//! assert!(line.layer().rtt().is_some());
//! ```

mod beat;
mod config;
#[doc(hidden)]
pub mod fuzzing;
mod heartbeat;
mod idle;
mod line;
mod ping_pong;
mod rtt;

pub use beat::{Beat, PeerSilent, Tick};
pub use config::{Config, ConfigError, LONGEST_TIMEOUT, SHORTEST_INTERVAL};
pub use heartbeat::{Heartbeat, Probe};
pub use idle::{Idle, IdleTimeout};
pub use line::{LONGEST_LINE, Line, LineError};
pub use ping_pong::{HeartbeatLine, PeerRefused, PingPong};
pub use rtt::Rtt;
