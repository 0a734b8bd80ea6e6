//! The load by hand: prints what came out as JSON.
//!
//! ```sh
//! load echo ws 127.0.0.1:9000 16x1024:ascii --connections 64 --seconds 2 --server 4711
//! load churn tcp 127.0.0.1:9000 --width 64
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser};
use load::{Churn, Options, Protocol, Workload};

/// A closed-loop load generator for echo servers on the loopback.
#[derive(Parser)]
#[command(name = "load")]
enum Cli {
    /// Connections that send batches of messages and wait for their replies.
    Echo(Echo),
    /// Connections that come, have 20 bytes echoed, and go.
    Churn {
        /// What the server speaks.
        protocol: Protocol,
        /// Where it listens.
        address: SocketAddr,
        /// Connections at a time.
        #[arg(long, default_value_t = 64)]
        width: usize,
        /// How long new ones are opened.
        #[arg(long, default_value_t = 1.0)]
        seconds: f64,
        /// The server's process, whose processor time is reported.
        #[arg(long, value_name = "PID")]
        server: Option<u32>,
    },
}

#[derive(Args)]
struct Echo {
    /// What the server speaks.
    protocol: Protocol,
    /// Where it listens.
    address: SocketAddr,
    /// DEPTHxSIZE, or DEPTHxSIZE:ascii|mixed|json for text.
    workload: Workload,
    /// How many connections, or UDP sockets.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// How long it runs before it is measured.
    #[arg(long, default_value_t = 0.25, value_name = "SECONDS")]
    warm_up: f64,
    /// How long it is measured.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Measure so many messages instead.
    #[arg(long)]
    messages: Option<u64>,
    /// Sleep while there is nothing to do: worse latencies, but no processor for the load alone.
    #[arg(long)]
    sleep: bool,
    /// Another connection sends as fast as it can.
    #[arg(long)]
    flood: bool,
    /// The server's process, whose processor time is reported.
    #[arg(long, value_name = "PID")]
    server: Option<u32>,
}

fn main() -> Result<()> {
    let json = match Cli::parse() {
        Cli::Echo(echo) => serde_json::to_string(&load::run(&Options {
            connections: echo.connections,
            warm_up: Duration::try_from_secs_f64(echo.warm_up)?,
            duration: Duration::try_from_secs_f64(echo.seconds)?,
            messages: echo.messages,
            spin: !echo.sleep,
            flood: echo.flood,
            server: echo.server,
            ..Options::new(echo.protocol, echo.address, echo.workload)
        })?)?,
        Cli::Churn { protocol, address, width, seconds, server } => {
            let duration = Duration::try_from_secs_f64(seconds)?;
            serde_json::to_string(&load::churn(&Churn { protocol, address, width, duration, server })?)?
        }
    };
    println!("{json}");
    Ok(())
}
