//! The command line, and the limits it makes.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use bytesize::ByteSize;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use switchboard::Limits;
use switchboard_heartbeat::Config as Heartbeat;
use switchboard_websocket::Settings;
use switchboard_websocket::deflate::Compression;

use crate::note;

/// Serves TCP echo, UDP echo, heartbeat and WebSocket on one thread, with a live page at the WebSocket address.
///
/// Prints `NAME listening on ADDR` for each, then `ready`. Ctrl-C or SIGTERM lets every connection say goodbye, prints
/// a tally and exits; a second one stops at once.
#[derive(Debug, Parser)]
#[command(name = "server")]
pub(crate) struct Options {
    /// Address of TCP echo; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7000", value_parser = address)]
    pub(crate) tcp_echo: SocketAddr,
    /// Address of UDP echo
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7001", value_parser = address)]
    pub(crate) udp_echo: SocketAddr,
    /// Address of heartbeat: lines `PING n` and `PONG n`
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7002", value_parser = address)]
    pub(crate) heartbeat: SocketAddr,
    /// Address of WebSocket (`/echo`, `/feed`) and of the page
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    pub(crate) websocket: SocketAddr,

    /// Time between pings, such as 5s or 200ms [default: 5s for heartbeat, 30s for WebSocket]
    #[arg(long, value_name = "TIME", value_parser = time)]
    ping_interval: Option<Duration>,
    /// Silence after which a peer is given up [default: 15s for heartbeat, 60s for WebSocket, or 3 ping intervals]
    #[arg(long, value_name = "TIME", value_parser = time)]
    ping_timeout: Option<Duration>,
    /// Silence after which a TCP echo connection is closed
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    pub(crate) idle_timeout: Duration,

    /// Connections at a time, of all protocols together
    #[arg(long, value_name = "COUNT", default_value_t = 16_384)]
    pub(crate) connections: usize,
    /// Longest WebSocket message
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    max_message: ByteSize,
    /// Memory for what all connections together have sent or received in part
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    memory: ByteSize,

    /// Print a line for each connection that opens or closes
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// Print nothing but the addresses, the tally and errors
    #[arg(long, short, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
}

impl Options {
    pub(crate) fn max_message(&self) -> usize {
        usize::try_from(self.max_message.as_u64()).unwrap_or(usize::MAX)
    }

    /// The loop's limits: the defaults, but for what was asked, and what that needs.
    pub(crate) fn limits(&self) -> Limits {
        const BESIDE: usize = 64 * 1024;
        let limits = Limits::default();
        let echoed = self.max_message().saturating_add(limits.high_water + BESIDE);
        let limits = Limits {
            connections: self.connections,
            send_buffer: limits.send_buffer.max(echoed),
            loop_memory: usize::try_from(self.memory.as_u64()).unwrap_or(usize::MAX),
            ..limits
        };
        checked(limits.check().map_err(|error| error.to_string()));
        let fits = self.web_settings().check(&limits);
        checked(fits.map_err(|error| format!("--max-message and --memory do not fit together: {error}")));
        limits
    }

    pub(crate) fn web_settings(&self) -> Settings {
        // Quickly rather than well: everybody waits while one thread compresses an echo of 64 MiB.
        let compression = Compression { level: 1, ..Compression::default() };
        let settings =
            Settings { max_message: self.max_message(), compression: Some(compression), ..Settings::default() };
        let heartbeat = settings.heartbeat.map(|default| self.timing(default));
        Settings { heartbeat, ..settings }
    }

    pub(crate) fn line_heartbeat(&self) -> Heartbeat {
        self.timing(Heartbeat::default())
    }

    fn timing(&self, default: Heartbeat) -> Heartbeat {
        let (interval, timeout) = match (self.ping_interval, self.ping_timeout) {
            (None, None) => return default,
            (Some(interval), Some(timeout)) => (interval, timeout),
            (Some(interval), None) => (interval, interval.saturating_mul(3)),
            (None, Some(timeout)) => (default.interval().min(timeout / 3), timeout),
        };
        checked(Heartbeat::new(interval, timeout).map_err(|error| error.to_string()))
    }
}

/// Ends the program, as any other mistake on the command line does, if the options contradict each other.
fn checked<T>(result: Result<T, String>) -> T {
    result.unwrap_or_else(|error| Options::command().error(ErrorKind::ValueValidation, error).exit())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let mut meanings = text.to_socket_addrs().map_err(|error| error.to_string())?;
    meanings.next().ok_or_else(|| "the host has no address".to_owned())
}

/// A time with its unit, or a plain number of seconds.
fn time(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string()),
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string()),
    }
}

/// Raises the soft limit on descriptors to the hard one, and warns where that is too few.
pub(crate) fn raise_descriptors(options: &Options) {
    const BESIDE: u64 = 16; // the listeners, the poll, the standard streams
    let Ok(allowed) = rlimit::increase_nofile_limit(u64::MAX) else { return };
    let wanted = u64::try_from(options.connections).unwrap_or(u64::MAX).saturating_add(BESIDE);
    if allowed < wanted && !options.quiet {
        note(format_args!(
            "warning: only {allowed} descriptors are allowed, too few for {} connections: \
             further ones will wait (raise the hard limit, `ulimit -Hn`, or lower --connections)",
            options.connections
        ));
    }
}
