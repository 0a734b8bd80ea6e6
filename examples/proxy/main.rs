//! A TCP forwarder: whoever connects to LISTEN talks to TARGET, and neither side can tell.
//!
//! ```text
//! cargo run --example server -- --quiet &                                        # something to talk to
//! cargo run --example proxy -- 127.0.0.1:7700 localhost:7000
//! cargo run --example client -- 127.0.0.1:7700 hello through the proxy
//! cargo run --example proxy -- 127.0.0.1:7700 localhost:7000 [::1]:7780 unix:/run/app.sock --buffer 64KiB
//! ```
//!
//! `relay.rs` is the protocol: backpressure both ways, half-closes and resets carried over. What the two sides of a
//! connection have sent and not taken is at most `--buffer` in each direction, so all of it at most
//! 2 × `--buffer` × `--connections`; besides that, the loop has one read buffer of a quarter of `--buffer`.

use std::cell::Cell;
use std::fmt::Arguments;
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use bytesize::ByteSize;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use switchboard::{EventLoop, Limits, ListenerId, Tally, Target};

mod relay;

use relay::{Relay, Route};

/// Forwards TCP connections.
///
/// Prints `forwarding LISTEN to TARGET` for each pair, then `ready`. Ctrl-C or SIGTERM stops accepting, gives what
/// stands the time to end, prints what was carried and exits; a second one stops at once.
#[derive(Parser)]
#[command(name = "proxy")]
struct Options {
    /// Where to accept connections, and the host and port (or unix:/path) that each goes on to: any number of pairs
    #[arg(required = true, num_args = 2.., value_names = ["LISTEN", "TARGET"])]
    pairs: Vec<String>,
    /// Connections forwarded at a time; further ones are closed at once
    #[arg(long, value_name = "COUNT", default_value_t = 1024)]
    connections: usize,
    /// Bytes held at most for each direction of a connection
    #[arg(long, value_name = "SIZE", default_value = "256KiB")]
    buffer: ByteSize,
    /// How long a target may take to accept a connection, its name's resolution included
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    connect_timeout: Duration,
    /// Ends a connection when no byte passed for so long
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    idle_timeout: Duration,
    /// How long connections have to end after Ctrl-C, before they are cut off
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    grace: Duration,
    /// Print a line for each connection that ends otherwise than in order
    #[arg(long, short)]
    verbose: bool,
}

impl Options {
    /// Two connections a pair, and as many that linger.
    fn limits(&self) -> Result<Limits, String> {
        let buffer = usize::try_from(self.buffer.as_u64()).map_err(|error| error.to_string())?;
        let limits = Limits {
            connections: self.connections.saturating_mul(4).saturating_add(1),
            read_budget: buffer / 4,
            receive_buffer: buffer / 4,
            low_water: buffer / 4,
            high_water: buffer,
            send_buffer: buffer.saturating_mul(2),
            loop_memory: self.connections.max(1).saturating_mul(buffer).saturating_mul(2),
            connect_timeout: self.connect_timeout,
            write_stall: self.idle_timeout,
            ..Limits::default()
        };
        limits.check().map_err(|error| format!("--buffer or --connections: {error}"))?;
        Ok(limits)
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let limits = options.limits().unwrap_or_else(|error| usage(error));
    match forward(&options, limits) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn forward(options: &Options, limits: Limits) -> io::Result<()> {
    let mut event_loop = EventLoop::with_limits(limits)?;
    let mut routes = Vec::new();
    let pairs = Rc::default();
    let mut words = options.pairs.iter();
    while let Some(listen) = words.next() {
        let Some(target) = words.next() else { usage(format!("{listen} has no TARGET")) };
        let target: Target = target.parse().unwrap_or_else(|error| usage(format!("{target}: {error}")));
        let route = Route { target, idle_timeout: options.idle_timeout, verbose: options.verbose };
        let address = listen.to_socket_addrs().unwrap_or_else(|error| usage(format!("{listen}: {error}"))).next();
        let Some(address) = address else { usage(format!("{listen} has no address")) };
        routes.push(open(&mut event_loop, address, Rc::new(route), &pairs, options.connections)?);
    }
    stop_on_signals(&event_loop, options.grace)?;
    for (name, _) in &routes {
        say(format_args!("forwarding {name}"));
    }
    say(format_args!("ready"));
    let tally = event_loop.run()?;
    tell(&mut event_loop, &routes, &tally);
    Ok(())
}

/// Listens for the connections of one route.
fn open(
    event_loop: &mut EventLoop,
    address: SocketAddr,
    route: Rc<Route>,
    pairs: &Rc<Cell<usize>>,
    most: usize,
) -> io::Result<(String, ListenerId)> {
    let (shared, pairs) = (Rc::clone(&route), Rc::clone(pairs));
    let listener = event_loop
        .listen(address, move |_| (pairs.get() < most).then(|| Relay::accepted(&shared, &pairs)))
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))?;
    let address = event_loop.local_addr(listener).unwrap_or(address);
    Ok((format!("{address} to {}", route.target), listener))
}

/// The first signal drains the loop, the second ends it.
fn stop_on_signals(event_loop: &EventLoop, grace: Duration) -> io::Result<()> {
    let (handle, mut signals) = (event_loop.handle(), Signals::new([SIGINT, SIGTERM])?);
    thread::spawn(move || {
        for (count, _) in signals.forever().enumerate() {
            let _ = if count == 0 { handle.shutdown(grace) } else { handle.stop() };
        }
    });
    Ok(())
}

/// What was carried.
fn tell(event_loop: &mut EventLoop, routes: &[(String, ListenerId)], tally: &Tally) {
    for (name, listener) in routes {
        let counters = event_loop.core().listener_counters(*listener);
        let (opened, refused) = (counters.opened, counters.refused);
        let (bytes_in, bytes_out) = (counters.bytes_in, counters.bytes_out);
        say(format_args!("{name}: {opened} connections, {refused} refused, {bytes_in} bytes there, {bytes_out} back"));
    }
    let targets = event_loop.core().outgoing_counters();
    say(format_args!("targets: {} reached, {} not", targets.opened, targets.connect_errors));
    let Tally { drained, cut_off, took, .. } = tally;
    say(format_args!("stopped: {drained} connections drained, {cut_off} cut off, in {:.3} s", took.as_secs_f64()));
}

/// Prints a line, at once. Nobody reading it any more is no reason to stop.
fn say(line: Arguments<'_>) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Ends the program for a mistake on the command line.
fn usage(error: String) -> ! {
    Options::command().error(ErrorKind::ValueValidation, error).exit()
}
