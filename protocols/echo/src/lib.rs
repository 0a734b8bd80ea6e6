//! TCP and UDP echo (RFC 862) for the Switchboard runtime.
//!
//! [`TcpEcho`] gives back every byte of a connection, [`UdpEcho`] every datagram of a socket. Both
//! are zero-sized, hold nothing and know no configuration: what waits, waits in the runtime, within
//! its [`Limits`](switchboard::Limits).
//!
//! ```
//! use std::time::Duration;
//! use switchboard::EventLoop;
//! use switchboard_echo::{TcpEcho, UdpEcho};
//!
//! let mut event_loop = EventLoop::new()?;
//! event_loop.listen("127.0.0.1:0", |_peer| Some(TcpEcho))?;
//! event_loop.bind_udp("127.0.0.1:0", UdpEcho)?;
//! event_loop.turn(Some(Duration::ZERO))?; // or run(), until a handle says stop
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Without sockets, as a test would:
//!
//! ```
//! use switchboard::testkit::Harness;
//! use switchboard_echo::TcpEcho;
//!
//! let mut harness = Harness::new(TcpEcho);
//! harness.feed_eof(b"hello");
//! assert_eq!(harness.take_sent(), b"hello");
//! assert!(harness.saw_eof());
//! ```

#[doc(hidden)]
pub mod fuzzing;
mod tcp;
mod udp;

pub use tcp::TcpEcho;
pub use udp::UdpEcho;
