//! How sockets are set up.

use std::net::SocketAddr;
use std::time::Duration;

/// The options of a stream: of those that a listener accepts, and of outgoing ones. `None` leaves the
/// system's default. A Unix socket takes the sizes of its buffers, and has no use for the others.
///
/// ```
/// use switchboard::{Keepalive, StreamOptions};
///
/// let mut options = StreamOptions::default();
/// assert!(options.nodelay);
/// options.keepalive = Some(Keepalive::default());
/// options.dscp = Some(46); // expedited forwarding (RFC 3246)
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamOptions {
    /// Sends small writes at once (`TCP_NODELAY`): output is corked by the loop already. Default on.
    pub nodelay: bool,
    /// Has the system ask a silent peer whether it is there (RFC 1122 §4.2.3.6). Default off: a
    /// heartbeat of the protocol's own also sees that the program behind the peer lives.
    pub keepalive: Option<Keepalive>,
    /// Bytes that the system buffers for sending (`SO_SNDBUF`). It may round them, up or down.
    pub send_buffer_size: Option<usize>,
    /// Bytes that the system buffers for reading (`SO_RCVBUF`), and so the window that it offers. It
    /// may round them, up or down.
    pub receive_buffer_size: Option<usize>,
    /// How many routers a packet may pass: `IP_TTL`, `IPV6_UNICAST_HOPS`. Not 0.
    pub hop_limit: Option<u8>,
    /// The class of service that packets ask for, a code point of six bits (RFC 2474 §3).
    pub dscp: Option<u8>,
}

impl StreamOptions {
    const DEFAULT: Self = Self {
        nodelay: true,
        keepalive: None,
        send_buffer_size: None,
        receive_buffer_size: None,
        hop_limit: None,
        dscp: None,
    };
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// When the system asks whether a silent peer is there, and when it takes it for dead. In whole
/// seconds, at least 1.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keepalive {
    /// How long nothing has come before it asks (`TCP_KEEPIDLE`). Default 60 s.
    pub idle: Duration,
    /// How long it waits between questions (`TCP_KEEPINTVL`). Default 10 s.
    pub interval: Duration,
    /// How many questions may go unanswered (`TCP_KEEPCNT`). Default 6.
    pub count: u32,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { idle: Duration::from_secs(60), interval: Duration::from_secs(10), count: 6 }
    }
}

/// How to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenOptions {
    /// Connections that the system holds until they are accepted. The system may cap it. Default
    /// 1,024.
    pub backlog: u32,
    /// Binds although connections of an earlier run linger in TIME-WAIT (`SO_REUSEADDR`). Default on,
    /// but on Windows, where the option means something else, which nobody wants.
    pub reuse_address: bool,
    /// Lets several listeners share the port, each accepting some of the connections
    /// (`SO_REUSEPORT`): so several loops, or an old process and a new one. All must set it. Default
    /// off; where the system does not have it, listening fails.
    pub reuse_port: bool,
    /// Has a listener on an IPv6 address such as `[::]` take no IPv4. Default off: it takes both,
    /// and IPv4 peers have mapped addresses, `::ffff:192.0.2.1` (RFC 4291 §2.5.5.2).
    pub only_v6: bool,
    /// The options of the connections accepted.
    pub stream: StreamOptions,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: BACKLOG,
            reuse_address: cfg!(unix),
            reuse_port: false,
            only_v6: false,
            stream: StreamOptions::default(),
        }
    }
}

const BACKLOG: u32 = 1024;

/// How to listen on a Unix stream socket.
#[cfg(unix)]
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnixListenOptions {
    /// Connections that the system holds until they are accepted; who finds it full is told to try
    /// again, or waits. The system may cap it. Default 1,024.
    pub backlog: u32,
    /// The permissions of the socket's file (such as `0o660`), set before anybody can connect; who
    /// connects needs the right to write. Default: what the process' umask leaves.
    pub mode: Option<u32>,
}

#[cfg(unix)]
impl Default for UnixListenOptions {
    fn default() -> Self {
        Self { backlog: BACKLOG, mode: None }
    }
}

/// How to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// The options of the connection. They are set before it is begun.
    pub stream: StreamOptions,
    /// The address on this side, and the port unless that is 0. Of a name's addresses only those of
    /// its family are tried.
    pub source: Option<SocketAddr>,
    /// How long it may take to be established, a name's resolution and all attempts included; by
    /// default [`Limits::connect_timeout`](crate::Limits::connect_timeout).
    pub timeout: Option<Duration>,
}

impl ConnectOptions {
    pub(crate) const DEFAULT: Self = Self { stream: StreamOptions::DEFAULT, source: None, timeout: None };
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}
