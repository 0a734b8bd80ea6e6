//! Tests without sockets, sleeps or threads: any protocol, or whole loops, in virtual time.
//!
//! | | |
//! | --- | --- |
//! | [`Harness`], [`DatagramHarness`] | one protocol by hand: bytes in, bytes out, time advanced; a [`Transcript`] of it |
//! | [`SessionHarness`], [`check_session_conformance`], [`fuzz_session`] | a protocol on a session over UDP, in all these ways |
//! | [`check_conformance`], [`check_layer`] | a conversation in every way in which it could arrive |
//! | [`Pair`] | two protocols on a link with latency, bandwidth and faults |
//! | [`Simulation`] | many hosts, each a whole loop, on a network that goes wrong as a seed says; [`check_seeds`] runs many |
//! | [`fuzz`], [`fuzz_protocol!`](crate::fuzz_protocol) | a protocol under a fuzzer that chooses bytes and [`Schedule`]; [`replay_seeds`] on stable Rust |
//! | [`FlightRecorder`], [`replay`] | what happened on a real connection before it failed, again |
//! | [`network`] | a loop on a network in memory that a test scripts call by call |
//!
//! All of them run the very loop that runs on real sockets; only the [driver](crate::driver) differs. Time stands
//! still until a test advances it, and the same test gives the same run.
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
mod pair;
mod recorder;
mod schedule;
mod seeds;
mod session_check;
mod session_harness;
mod session_trial;
mod simulation;
mod stage;
mod transcript;
mod trial;
mod witness;

pub use conformance::{Conformance, LayerProbe, Script, check_conformance, check_layer};
pub use datagram_harness::DatagramHarness;
pub use fuzz::{Fuzz, fuzz, replay_seeds};
pub use harness::Harness;
pub use inbox::Inbox;
pub use memory::{MemoryDriver, MemoryListener, MemorySocket, MemoryStream};
pub use network::{Lookup, Network, Peer, Sent, network, network_until_would_block};
pub use notes::note;
pub use pair::{Pair, Side};
pub use recorder::{FlightRecorder, Recorded, Replay, replay, replay_with_limits};
pub use schedule::{Operation, Schedule};
pub use seeds::{check_seeds, check_seeds_on};
pub use session_check::{SessionCheck, check_session_conformance, fuzz_session};
pub use session_harness::SessionHarness;
pub use simulation::{
    Conditions, Faults, Host, SimulatedDriver, SimulatedListener, SimulatedSocket, SimulatedStream, Simulation,
};
pub use transcript::{Entry, Transcript};
