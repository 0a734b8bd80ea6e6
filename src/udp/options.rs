//! Options of UDP sockets, and of the sessions on one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::Ecn;

/// How to bind or connect a UDP socket: [`EventLoop::bind_udp_with`](crate::EventLoop::bind_udp_with),
/// [`EventLoop::connect_udp_with`](crate::EventLoop::connect_udp_with), [`SessionOptions::udp`].
///
/// What the system does not know or does not permit fails when the socket is bound; nothing is left out silently.
///
/// ```
/// use switchboard::{EventLoop, UdpOptions};
/// # use switchboard::{Datagram, DatagramContext, DatagramProtocol, Failure};
/// # struct Sensor;
/// # impl DatagramProtocol for Sensor {
/// #     fn on_datagram(&mut self, _: &mut DatagramContext<'_>, _: Datagram<'_>) -> Result<(), Failure> { Ok(()) }
/// # }
///
/// let mut options = UdpOptions::default();
/// options.receive_buffer_size = Some(1 << 20); // for bursts
/// options.hop_limit = Some(1); // no further than this network
/// let mut event_loop = EventLoop::new()?;
/// event_loop.bind_udp_with("127.0.0.1:0", &options, Sensor)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UdpOptions {
    /// `SO_REUSEADDR`: on Linux several sockets may have the address if all of them say so; each gets a copy of a
    /// multicast datagram, one of them a unicast one. Default off.
    pub reuse_address: bool,
    /// `SO_REUSEPORT`: the system shares the datagrams out over the sockets that have the address, by the peer's
    /// (socket(7)); so several loops can serve one port. Unix only: elsewhere `Unsupported`. Default off.
    pub reuse_port: bool,
    /// `IPV6_V6ONLY`: a socket on `[::]` gets no IPv4. Default off: it gets both, and IPv4 peers show as
    /// `::ffff:a.b.c.d`.
    pub only_v6: bool,
    /// `SO_RCVBUF`, in bytes. The system has a limit of its own, and Linux doubles what is asked for.
    pub receive_buffer_size: Option<usize>,
    /// `SO_SNDBUF`, in bytes; as for the receive buffer.
    pub send_buffer_size: Option<usize>,
    /// How many routers a datagram passes, 1 to 255: `IP_TTL`, `IPV6_UNICAST_HOPS`.
    pub hop_limit: Option<u8>,
    /// The differentiated services code point of what is sent, 0 to 63 (RFC 2474 §3); over IPv6 on Unix alone.
    pub dscp: Option<u8>,
    /// `SO_BROADCAST`: sending to broadcast addresses is permitted. Default off.
    pub broadcast: bool,
    /// Groups to join.
    pub multicast: Vec<Multicast>,
    /// The IPv4 interface, by its address, that multicast leaves by: `IP_MULTICAST_IF`.
    pub multicast_interface_v4: Option<Ipv4Addr>,
    /// The IPv6 interface, by its index, that multicast leaves by: `IPV6_MULTICAST_IF`.
    pub multicast_interface_v6: Option<u32>,
    /// How many routers a multicast datagram passes, 0 to 255; the system's own is 1.
    pub multicast_hop_limit: Option<u8>,
    /// Whether multicast that is sent comes back to this machine's members; the system's own is yes.
    pub multicast_loop: Option<bool>,
    /// Asks for the local address that each datagram came to ([`Received::local`](crate::driver::Received::local)), and has
    /// sessions answer from it: for a socket on a wildcard address of a machine with several. Linux and Android
    /// (`IP_PKTINFO`, `IPV6_RECVPKTINFO`); elsewhere `Unsupported`. Default off: each receive and each send costs some more.
    pub local_addresses: bool,
    /// What is sent is marked so (RFC 3168 §5), unless a datagram says otherwise
    /// ([`SendOptions::ecn`](crate::SendOptions::ecn)). Who says that congestion may be marked must ask its peers for what
    /// they were told, and slow down. Default [`Ecn::NotEct`].
    pub ecn: Ecn,
    /// Asks how the network marked each datagram ([`Received::ecn`](crate::driver::Received::ecn)). Linux and Android
    /// (`IP_RECVTOS`, `IPV6_RECVTCLASS`); elsewhere `Unsupported`. Default off: each receive costs some more.
    pub receive_ecn: bool,
    /// Hands datagrams of one length that go to one peer, one after the other, to the system in one piece, and takes
    /// them from it so (udp(7): `UDP_SEGMENT`, `UDP_GRO`; no datagram is changed by it): for bulk. Where the system or the
    /// network card can't, they go singly. What comes in one piece is handed over in one turn, even if it is more than
    /// [`Limits::datagrams_per_turn`](crate::Limits::datagrams_per_turn). Default off: with many small peers it costs
    /// more than it saves.
    pub offload: bool,
}

/// A multicast group, and the interface by which it is joined.
///
/// ```
/// use std::net::Ipv4Addr;
/// use switchboard::Multicast;
///
/// let group = Ipv4Addr::new(239, 1, 2, 3);
/// let by_default = Multicast::from(group);
/// assert_eq!(by_default, Multicast::V4 { group, interface: Ipv4Addr::UNSPECIFIED });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Multicast {
    /// `IP_ADD_MEMBERSHIP`.
    V4 {
        /// The group, of 224.0.0.0/4.
        group: Ipv4Addr,
        /// The interface, by its address; unspecified: the system's choice.
        interface: Ipv4Addr,
    },
    /// `IPV6_JOIN_GROUP`.
    V6 {
        /// The group, of ff00::/8.
        group: Ipv6Addr,
        /// The interface, by its index; 0: the system's choice.
        interface: u32,
    },
}

impl From<Ipv4Addr> for Multicast {
    fn from(group: Ipv4Addr) -> Self {
        Self::V4 { group, interface: Ipv4Addr::UNSPECIFIED }
    }
}

impl From<Ipv6Addr> for Multicast {
    fn from(group: Ipv6Addr) -> Self {
        Self::V6 { group, interface: 0 }
    }
}

impl From<IpAddr> for Multicast {
    fn from(group: IpAddr) -> Self {
        match group {
            IpAddr::V4(group) => group.into(),
            IpAddr::V6(group) => group.into(),
        }
    }
}

/// How to bind a UDP socket with a session for each peer:
/// [`EventLoop::bind_sessions_with`](crate::EventLoop::bind_sessions_with).
///
/// Anybody can send a datagram in anybody's name, so nothing that an unknown source sends may cost much: of new
/// sessions only so many are opened a second, and so many are kept. What is beyond is dropped without an answer and
/// counted ([`sessions_refused`](crate::Counters::sessions_refused)); the sessions that are there go on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionOptions {
    /// Sessions at a time. Default 1,024.
    pub sessions: usize,
    /// New sessions a second; as many may come at once after a second without. Default 100.
    pub new_per_second: u32,
    /// A session from whose peer no datagram came for so long closes with
    /// [`CloseReason::Idle`](crate::CloseReason::Idle). [`Duration::MAX`]: never, so that a full socket stays full.
    /// Default 60 s.
    pub idle_timeout: Duration,
    /// Of the socket.
    pub udp: UdpOptions,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { sessions: 1024, new_per_second: 100, idle_timeout: Duration::from_secs(60), udp: UdpOptions::default() }
    }
}
