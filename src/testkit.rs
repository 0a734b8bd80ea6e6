//! Tests without sockets, sleeps or threads: the loop on a network in memory.
//!
//! [`Harness`] drives one protocol value by hand: bytes in, bytes out, time advanced. [`network`]
//! makes a [`MemoryDriver`] for a whole [`EventLoop`](crate::EventLoop), and a [`Network`] that scripts what happens
//! below it: events in one batch, short reads and writes, `WouldBlock`, failing accepts.
//!
//! Both run the very loop that runs on real sockets; only the driver differs. Time stands still
//! until a test advances it.
//!
//! ```
//! use std::time::Duration;
//! use switchboard::{Context, Failure, Input, Protocol, TimerId, testkit::Harness};
//!
//! /// Says `bye` and closes after a second without input.
//! struct Impatient(Option<TimerId>);
//!
//! impl Protocol for Impatient {
//!     fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
//!         self.0 = Some(cx.set_timer(Duration::from_secs(1)));
//!         Ok(())
//!     }
//!     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
//!         input.take_all();
//!         self.0.map(|timer| cx.postpone_timer(timer, Duration::from_secs(1)));
//!         Ok(())
//!     }
//!     fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
//!         cx.send(b"bye");
//!         cx.close();
//!         Ok(())
//!     }
//! }
//!
//! let mut harness = Harness::new(Impatient(None));
//! harness.advance(Duration::from_millis(900));
//! harness.feed(b"still here");
//! harness.advance(Duration::from_millis(999));
//! assert!(harness.is_open());
//! harness.advance(Duration::from_millis(1));
//! assert_eq!(harness.take_sent(), b"bye");
//! assert_eq!(harness.close_reason().unwrap().to_string(), "closed by this side");
//! ```

mod conformance;
mod datagram_harness;
mod fuzz;
mod harness;
mod inbox;
mod memory;
mod network;
mod notes;
mod observed;
mod schedule;
mod seeds;
mod simulation;
mod stage;
mod transcript;
mod trial;
mod witness;

pub use conformance::{Conformance, Script, check_conformance};
pub use datagram_harness::DatagramHarness;
pub use fuzz::{Fuzz, fuzz, replay_seeds};
pub use harness::Harness;
pub use inbox::Inbox;
pub use memory::{MemoryDriver, MemoryListener, MemorySocket, MemoryStream};
pub use network::{Network, Peer, network, network_until_would_block};
pub use notes::note;
pub use schedule::{Operation, Schedule};
pub use seeds::{check_seeds, check_seeds_on};
pub use simulation::{
    Conditions, Faults, Host, SimulatedDriver, SimulatedListener, SimulatedSocket, SimulatedStream, Simulation,
};
pub use transcript::{Entry, Transcript};
