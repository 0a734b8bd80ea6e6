//! The command line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// A game server: positions by UDP at 60 a second, chat by TCP, spectators by WebSocket, all on one thread.
///
/// Prints `NAME listening on ADDR` for each of its ports, then `ready`, then how long its turns take. Ctrl-C or SIGTERM
/// lets every connection say goodbye, prints what was counted and exits; a second one stops at once.
#[derive(Debug, Parser)]
#[command(name = "game", args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: Serve,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Plays: players that move and chat, and measure how they are served
    Bots(Bots),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address of the lobby, for players' TCP; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7400", value_parser = address)]
    pub(crate) lobby: SocketAddr,
    /// Address for players' UDP
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7400", value_parser = address)]
    pub(crate) udp: SocketAddr,
    /// Address of the page for spectators
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8084", value_parser = address)]
    pub(crate) web: SocketAddr,
    /// Players at a time
    #[arg(long, value_name = "COUNT", default_value_t = 512, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) players: u16,
    /// New UDP addresses a second: they may be forged
    #[arg(long, value_name = "COUNT", default_value_t = 300)]
    pub(crate) new_per_second: u32,
    /// How often a line is printed
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = period)]
    pub(crate) report: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Bots {
    /// How many play
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    pub(crate) players: usize,
    /// Where the lobby is
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7400", value_parser = address)]
    pub(crate) lobby: SocketAddr,
    /// How often a line is printed
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = period)]
    pub(crate) report: Duration,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let mut meanings = text.to_socket_addrs().map_err(|error| error.to_string())?;
    meanings.next().ok_or_else(|| "the host has no address".to_owned())
}

/// A time that passes.
fn period(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("it must not be zero".to_owned()),
        Ok(period) => Ok(period),
        Err(error) => Err(error.to_string()),
    }
}
