//! A closed-loop load generator for echo servers, for the loopback alone.
//!
//! Every connection sends a batch of `depth` equal messages with one write, waits for exactly the bytes of their
//! replies, and sends the next batch. The replies to the first message of each connection are compared byte for byte;
//! the others are counted, and dropped in the kernel (`MSG_TRUNC`) where they are long, so that the load costs little
//! beside the server. Pings are answered, so that a server's heartbeat disturbs nothing; who comes and goes
//! ([`churn()`]) meets none.

mod churn;
mod connect;
mod connection;
mod crowd;
mod datagram;
mod frames;
mod hold;
mod options;
mod process;
mod report;
mod stream;
mod wire;

use anyhow::Result;

pub use churn::{Churn, ChurnReport, churn};
pub use hold::Held;
pub use options::{Options, Protocol, Text, Workload};
pub use process::{Usage, resident_bytes};
pub use report::{Latency, Report, ServerReport};

/// Runs the load that `options` describe to its end.
pub fn run(options: &Options) -> Result<Report> {
    match options.protocol {
        Protocol::Udp => datagram::run(options),
        _ => stream::run(options),
    }
}
