//! One echo server, to be measured: a public plug-in as its users get it, with the default limits, counters, timeouts.
//!
//! ```text
//! cargo run --release --example bench_server -- ws-echo 7100     # then a load generator at 127.0.0.1:7100
//! ```
//!
//! Each protocol is a process of its own, so that what is counted of the process is the protocol's alone. Nothing is
//! left out that a server in use has: a WebSocket shakes hands at any path, pings, and checks all that it checks
//! elsewhere.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use signal_hook::consts::{SIGINT, SIGTERM};
use switchboard::{EndpointId, EventLoop, Limits};
use switchboard_echo::{TcpEcho, UdpEcho};
use switchboard_websocket::deflate::Compression;
use switchboard_websocket::{Settings, WebSocket, message_fn};

#[path = "common/mod.rs"]
#[allow(dead_code, reason = "there is no page here, and no second thread")]
mod common;

use common::{at, note, say};

/// Serves one echo on 127.0.0.1, to be measured, with the defaults that users get.
///
/// Prints `PROTOCOL listening on ADDR`, then `ready`. Ctrl-C or SIGTERM lets every connection say goodbye and stops; a
/// second one at once.
#[derive(Parser)]
#[command(name = "bench_server")]
struct Options {
    /// What it speaks
    #[arg(value_enum)]
    protocol: Echo,
    /// Where, on 127.0.0.1; port 0 takes a free one
    #[arg(value_name = "PORT")]
    port: u16,
    /// Connections at a time
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().connections)]
    connections: usize,
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(1..=9),
          help = format!("How wsz-echo compresses, 1 (fast) to 9 (small) [default: {}]", Compression::default().level))]
    level: Option<u8>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Echo {
    /// Every byte of a TCP connection
    #[value(name = "tcp-echo")]
    Tcp,
    /// Every datagram
    #[value(name = "udp-echo")]
    Udp,
    /// Every message of a WebSocket
    #[value(name = "ws-echo")]
    WebSocket,
    /// The same, compressed where the client can (permessage-deflate)
    #[value(name = "wsz-echo")]
    Compressed,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.level.is_some() && !matches!(options.protocol, Echo::Compressed) {
        Options::command().error(ErrorKind::ArgumentConflict, "--level is for wsz-echo alone").exit();
    }
    let Err(error) = serve(&options) else { return ExitCode::SUCCESS };
    note(format_args!("error: {error}"));
    ExitCode::FAILURE
}

fn serve(options: &Options) -> io::Result<()> {
    let limits = Limits { connections: options.connections, ..Limits::default() };
    limits.check().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let mut event_loop = EventLoop::with_limits(limits)?;
    // As far as it goes: a loop that has no descriptors left lets further peers wait.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let name = options.protocol.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let endpoint = at(&name, wanted, |address| open(&mut event_loop, options, address))?;
    // Before anybody is told that the server stands: whoever is told may stop it.
    let signalled = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&signalled))?;
    }
    say(format_args!("{name} listening on {}", event_loop.local_addr(endpoint).unwrap_or(wanted)));
    say(format_args!("ready"));
    run(&mut event_loop, &signalled)
}

/// Runs until a signal, or two: see [`Options`].
///
/// The other examples have a thread that waits for signals. Here it would be measured, too: in a process with a second
/// thread the C library has more to do for each system call and each lock.
fn run(event_loop: &mut EventLoop, signalled: &AtomicBool) -> io::Result<()> {
    /// A signal ends a turn's wait. One that comes just before the wait is seen after this long.
    const LOOK: Duration = Duration::from_secs(1);
    let mut drains = false;
    while event_loop.tally().is_none() {
        event_loop.turn(Some(LOOK))?;
        if signalled.load(Ordering::Relaxed) {
            signalled.store(false, Ordering::Relaxed);
            if drains {
                let _ = event_loop.handle().stop(); // it may have ended just now
            } else {
                event_loop.core().shutdown(Duration::from_secs(4));
            }
            drains = true;
        }
    }
    Ok(())
}

fn open(event_loop: &mut EventLoop, options: &Options, address: SocketAddr) -> io::Result<EndpointId> {
    let compression = match options.protocol {
        Echo::Tcp => return Ok(event_loop.listen(address, |_| Some(TcpEcho))?.into()),
        Echo::Udp => return Ok(event_loop.bind_udp(address, UdpEcho)?.into()),
        Echo::WebSocket => None,
        Echo::Compressed => {
            let default = Compression::default();
            Some(Compression { level: options.level.unwrap_or(default.level), ..default })
        }
    };
    let settings = Rc::new(Settings { compression, ..Settings::default() });
    let listener = event_loop.listen(address, move |_| {
        let echo = message_fn(|peer, message| {
            peer.send(message);
            Ok(())
        });
        Some(WebSocket::with_settings(echo, &settings))
    })?;
    Ok(listener.into())
}
