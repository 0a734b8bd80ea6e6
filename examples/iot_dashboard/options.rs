//! The command line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// A dashboard for devices that publish readings, over TCP or UDP, and for the browsers that watch them.
///
/// Prints `NAME listening on ADDR` for each of its ports, then `ready`. Ctrl-C or SIGTERM lets every connection say
/// goodbye, prints what was counted and exits; a second one stops at once.
#[derive(Debug, Parser)]
#[command(name = "iot_dashboard", args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: Serve,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Plays devices, half of them on TCP, half on UDP, for a dashboard that runs
    Simulate(Simulate),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address for devices that speak TCP; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7300", value_parser = address)]
    pub(crate) tcp: SocketAddr,
    /// Address for devices that speak UDP
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7300", value_parser = address)]
    pub(crate) udp: SocketAddr,
    /// Address of the page
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8083", value_parser = address)]
    pub(crate) web: SocketAddr,
    /// Silence after which a device is marked as silent
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    pub(crate) silent_after: Duration,
    /// Silence after which its connection is given up [default: three times that]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) gone_after: Option<Duration>,
    /// Devices that are kept; those that have gone make room for new ones
    #[arg(long, value_name = "COUNT", default_value_t = 4096)]
    pub(crate) devices: usize,
    /// New UDP devices a second: their addresses may be forged
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    pub(crate) new_per_second: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// How many devices
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    pub(crate) devices: usize,
    /// Where the dashboard takes TCP
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7300", value_parser = address)]
    pub(crate) tcp: SocketAddr,
    /// Where the dashboard takes UDP
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7300", value_parser = address)]
    pub(crate) udp: SocketAddr,
    /// Time between two readings of a device
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) every: Duration,
    /// Readings that each device sends, before it gives signs of life only [default: without end]
    #[arg(long, value_name = "COUNT")]
    pub(crate) readings: Option<u64>,
    /// How many of the devices fall silent
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(crate) silent: usize,
    /// When they do, after the start
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) silent_from: Duration,
    /// Part of the UDP readings that are lost on the way, 0 to 1
    #[arg(long, value_name = "PART", default_value_t = 0.0, value_parser = part)]
    pub(crate) lossy: f64,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let mut meanings = text.to_socket_addrs().map_err(|error| error.to_string())?;
    meanings.next().ok_or_else(|| "the host has no address".to_owned())
}

fn part(text: &str) -> Result<f64, String> {
    let part: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if (0.0..=1.0).contains(&part) { Ok(part) } else { Err("expected a number from 0 to 1".to_owned()) }
}
