//! An embeddable, event-driven networking runtime with plug-in protocols.
//!
//! One thread, one poll, one slab of connection states, and a [`Protocol`] trait that everything
//! plugs into: TCP echo, UDP echo, heartbeat and WebSocket are crates of their own on this crate's
//! public interface alone, and so is what you write.
//!
//! ```
//! use switchboard::{EventLoop, protocol_fn};
//! use std::time::Duration;
//!
//! let mut event_loop = EventLoop::new()?;
//! event_loop.listen("127.0.0.1:0", |_peer| {
//!     Some(protocol_fn(|cx, input| {
//!         cx.send(input.take_all());
//!         Ok(())
//!     }))
//! })?;
//! event_loop.turn(Some(Duration::ZERO))?; // or run(), until a handle says shutdown
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Start with [`EventLoop`] to embed the loop, with [`Protocol`] to write a protocol, and with
//! [`testkit`] to test it without sockets. [`Layer`] is for protocols around other protocols, a [`topic`] for what
//! many are to get.
//!
//! What it is not: an async runtime (callbacks, not futures), and no thread pool (one loop is one
//! thread; run several loops to use several).

#![forbid(unsafe_code)]

mod backoff;
mod connection;
mod context;
mod core;
mod counters;
mod datagram;
pub mod driver;
mod error;
mod event_loop;
mod handle;
mod hash;
mod holdings;
mod id;
mod input;
mod layer;
mod limits;
mod link;
mod listener;
mod message;
mod options;
mod outbox;
mod pool;
mod protocol;
mod reconnect;
mod registry;
mod session;
mod spare;
mod tail;
mod target;
pub mod testkit;
mod time;
mod timer;
pub mod topic;
mod trace;
mod udp;
mod watchdog;

pub use backoff::{Backoff, Jitter};
pub use context::{Closing, Context};
pub use core::Core;
pub use counters::Counters;
pub use datagram::{Datagram, DatagramContext, DatagramProtocol, Ecn, SendOptions};
pub use error::{Blame, CloseReason, Failure, LimitExceeded, Truncated};
pub use event_loop::{EventLoop, Tally};
pub use handle::{Handle, LoopEnded, Undelivered};
pub use id::{ConnectionId, EndpointId, ListenerId, SocketId};
pub use input::Input;
pub use layer::{Inner, Layer, Layered};
pub use limits::{InvalidLimits, Limits};
pub use listener::Accepted;
pub use message::Message;
#[cfg(unix)]
pub use options::UnixListenOptions;
pub use options::{ConnectOptions, Keepalive, ListenOptions, StreamOptions};
pub use protocol::{Protocol, ProtocolFn, protocol_fn};
pub use reconnect::{Ended, Reconnect, Reconnecting, Retry};
pub use target::{InvalidTarget, Target};
pub use time::Time;
pub use timer::TimerId;
pub use topic::{Publication, Slow, TopicCounters};
pub use udp::{Multicast, SessionOptions, UdpOptions};
pub use watchdog::{Callback, Fault, Observer, Running, Stall, Watchdog};

pub use bytes::Bytes;

/// The README's examples run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
