//! Limits: what the same system calls cost on mio alone, with no protocol interface, timers, counters or limits. A program
//! of its own, so that the compiler sees that nobody else uses mio.
//!
//! `bare SERVER PORT` is used as `peers` is.

mod datagrams;
mod streams;
mod websocket;

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;

use anyhow::Result;
use clap::{Parser, ValueEnum};

/// Echo servers on mio alone.
#[derive(Parser)]
#[command(name = "bare")]
struct Cli {
    /// Which one.
    server: Server,
    /// Where, on 127.0.0.1.
    port: u16,
}

#[derive(Clone, Copy, ValueEnum)]
enum Server {
    Tcp,
    Udp,
    UdpBatched,
    Ws,
}

fn main() -> Result<()> {
    let Cli { server, port } = Cli::parse();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match server {
        Server::Tcp => streams::serve(address, || Echo),
        Server::Udp => datagrams::single(address),
        Server::UdpBatched => datagrams::batched(address),
        Server::Ws => streams::serve(address, websocket::WebSocket::default),
    }
}

/// What a server does with what was read.
trait Respond {
    /// Turns what was read, `buffer[read]`, into what is to be written, in place and wherever it fits; there are
    /// [`streams::HEADROOM`] bytes in front. `None` closes the connection.
    fn respond(&mut self, buffer: &mut [u8], read: Range<usize>) -> Option<Range<usize>>;
}

/// Gives back what was read.
struct Echo;

impl Respond for Echo {
    fn respond(&mut self, _: &mut [u8], read: Range<usize>) -> Option<Range<usize>> {
        Some(read)
    }
}
