//! The operating system's UDP sockets.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use ::mio::net::UdpSocket;
use ::mio::{Registry, Token};
use socket2::{Domain, Protocol, SockRef, Socket as Socket2, Type};

use super::options::{set_buffers, set_reuse_port, set_route};
use crate::driver::{Received, Socket, Transmit};
use crate::{Ecn, Multicast, UdpOptions};

#[cfg(any(target_os = "linux", target_os = "android"))]
mod batched;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod calls;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod control;
mod room;
#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
#[allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]
mod room_tests;
mod single;
#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
#[allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]
mod tests;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use calls::Calls;
use room::Room;
#[cfg(any(target_os = "linux", target_os = "android"))]
use {
    crate::driver::{Batch, Outgoing},
    batched::Width,
    control::{Ancillary, Control},
};

/// What the calls for many datagrams need of memory: there are none.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[derive(Debug, Default)]
pub(super) struct Calls;

/// A UDP socket of the [`MioDriver`](super::MioDriver).
#[derive(Debug)]
pub struct MioSocket {
    pub(super) socket: UdpSocket,
    /// Whom it is registered with.
    room: Option<Room>,
    /// The one it is connected to.
    peer: Option<SocketAddr>,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    is_v6: bool,
    /// The octet of type of service, or traffic class, without its bits of congestion.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    class: u8,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    width: Width,
    /// Up to this length, datagrams that go the same way are handed to the system in one piece.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    largest_segment: u16,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    calls: Rc<RefCell<Calls>>,
    /// For what the system says of a datagram beside its source, if that was asked for.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    control: Option<Box<Control>>,
}

impl MioSocket {
    pub(super) fn bind(address: SocketAddr, options: &UdpOptions, calls: &Rc<RefCell<Calls>>) -> io::Result<Self> {
        let socket = open(address, options)?;
        socket.bind(&address.into())?;
        // Groups are joined when the socket is bound: on Windows they can't be before.
        options.multicast.iter().try_for_each(|&group| join(&socket, group))?;
        Self::new(socket, address.is_ipv6(), None, options, calls)
    }

    pub(super) fn connect(peer: SocketAddr, options: &UdpOptions, calls: &Rc<RefCell<Calls>>) -> io::Result<Self> {
        let socket = open(peer, options)?;
        socket.connect(&peer.into())?;
        options.multicast.iter().try_for_each(|&group| join(&socket, group))?;
        Self::new(socket, peer.is_ipv6(), Some(peer), options, calls)
    }

    /// From now on readiness is reported to this registry.
    pub(super) fn register(mut self, registry: Rc<Registry>, token: Token) -> io::Result<Self> {
        self.room = Some(Room::register(registry, token, &mut self.socket)?);
        Ok(self)
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn new(
        socket: Socket2,
        is_v6: bool,
        peer: Option<SocketAddr>,
        options: &UdpOptions,
        calls: &Rc<RefCell<Calls>>,
    ) -> io::Result<Self> {
        let control = Control::ask_for(&socket, is_v6, options)?;
        let socket = UdpSocket::from_std(socket.into());
        let (class, width, calls) = (options.dscp.unwrap_or(0) << 2, Width::default(), Rc::clone(calls));
        let largest_segment = if options.offload { u16::MAX } else { 0 };
        Ok(Self { socket, room: None, peer, is_v6, class, width, largest_segment, calls, control })
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn new(
        socket: Socket2,
        _: bool,
        peer: Option<SocketAddr>,
        options: &UdpOptions,
        _: &Rc<RefCell<Calls>>,
    ) -> io::Result<Self> {
        if options.local_addresses || options.receive_ecn {
            return Err(unsupported(if options.receive_ecn { "receive_ecn" } else { "local_addresses" }));
        }
        Ok(Self { socket: UdpSocket::from_std(socket.into()), room: None, peer })
    }
}

/// A socket of the address' family with all options set that come before it is bound.
fn open(address: SocketAddr, options: &UdpOptions) -> io::Result<Socket2> {
    let socket = Socket2::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if options.reuse_address {
        socket.set_reuse_address(true)?;
    }
    if options.reuse_port {
        set_reuse_port(&socket)?;
    }
    set_buffers(&SockRef::from(&socket), options.send_buffer_size, options.receive_buffer_size)?;
    if options.broadcast {
        socket.set_broadcast(true)?;
    }
    set_route(&SockRef::from(&socket), address, options.hop_limit, options.dscp)?;
    if options.ecn != Ecn::NotEct {
        mark(&socket, address, options)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(options.only_v6)?;
        set_multicast_v6(&socket, options)?;
    }
    // On Linux a socket for both speaks IPv4 with the IPv4 options.
    let both = cfg!(any(target_os = "linux", target_os = "android")) && !options.only_v6;
    if address.is_ipv4() || both {
        set_multicast_v4(&socket, options)?;
    }
    Ok(socket)
}

/// Marks all that is sent (RFC 3168 §5).
fn mark(socket: &Socket2, address: SocketAddr, options: &UdpOptions) -> io::Result<()> {
    let class = u32::from(options.dscp.unwrap_or(0) << 2 | options.ecn as u8);
    if address.is_ipv4() {
        return socket.set_tos_v4(class);
    }
    #[cfg(unix)]
    socket.set_tclass_v6(class)?;
    let _ = socket.set_tos_v4(class); // to IPv4 peers, where a socket speaks to both
    Ok(())
}

fn set_multicast_v4(socket: &Socket2, options: &UdpOptions) -> io::Result<()> {
    if let Some(interface) = options.multicast_interface_v4 {
        socket.set_multicast_if_v4(&interface)?;
    }
    if let Some(hops) = options.multicast_hop_limit {
        socket.set_multicast_ttl_v4(hops.into())?;
    }
    if let Some(to_self) = options.multicast_loop {
        socket.set_multicast_loop_v4(to_self)?;
    }
    Ok(())
}

fn set_multicast_v6(socket: &Socket2, options: &UdpOptions) -> io::Result<()> {
    if let Some(interface) = options.multicast_interface_v6 {
        socket.set_multicast_if_v6(interface)?;
    }
    if let Some(hops) = options.multicast_hop_limit {
        socket.set_multicast_hops_v6(hops.into())?;
    }
    if let Some(to_self) = options.multicast_loop {
        socket.set_multicast_loop_v6(to_self)?;
    }
    Ok(())
}

fn join(socket: &Socket2, group: Multicast) -> io::Result<()> {
    match group {
        Multicast::V4 { group, interface } => socket.join_multicast_v4(&group, &interface),
        Multicast::V6 { group, interface } => socket.join_multicast_v6(&group, interface),
    }
}

/// For options that [`UdpOptions`] has not.
#[cfg(unix)]
impl std::os::fd::AsFd for MioSocket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Socket for MioSocket {
    /// One datagram; with [`UdpOptions::offload`] it may be several of one peer end to end, which a batch tells apart.
    #[inline]
    fn recv_from(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let (len, source) = single::receive(&self.socket, buffer)?;
        Ok(Received { len, source, local: None, ecn: None })
    }

    #[inline]
    fn send_to(&mut self, payload: &[u8], target: SocketAddr, source: Option<IpAddr>) -> io::Result<()> {
        let sent = self.send_one(&Transmit { payload, target, source, ecn: None });
        self.heed_room(sent.map(|()| 1), 1).map(drop)
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn recv_batch(&mut self, batch: &mut Batch) -> io::Result<()> {
        if batch.room() == 1 { self.receive_singly(batch) } else { self.receive(batch) }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn send_batch(&mut self, datagrams: Outgoing<'_>) -> io::Result<usize> {
        let sent = self.send(&datagrams);
        self.heed_room(sent, datagrams.len())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

impl MioSocket {
    /// So many were sent of so many; or none, perhaps for want of room.
    #[inline]
    fn heed_room(&mut self, sent: io::Result<usize>, all: usize) -> io::Result<usize> {
        let Some(room) = &mut self.room else { return sent };
        match &sent {
            Ok(count) if room.is_awaited() && *count == all => room.end(&mut self.socket),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => room.begin(&mut self.socket)?,
            _ => {}
        }
        sent
    }

    #[inline]
    fn send_one(&self, datagram: &Transmit<'_>) -> io::Result<()> {
        if datagram.source.is_some() || datagram.ecn.is_some() {
            return self.send_saying_more(datagram);
        }
        let &Transmit { payload, target, .. } = datagram;
        // Not everywhere may a connected socket be told whom to send to.
        if self.peer.is_some() {
            single::send(&self.socket, payload).map(drop)
        } else {
            single::send_to(&self.socket, payload, target).map(drop)
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[cold]
    fn send_saying_more(&self, datagram: &Transmit<'_>) -> io::Result<()> {
        Ok(Ancillary::of(datagram, self.is_v6, None).send_one(&self.socket, datagram, self.class)?)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    #[cold]
    fn send_saying_more(&self, datagram: &Transmit<'_>) -> io::Result<()> {
        match datagram.source {
            Some(_) => Err(unsupported("a datagram's source")),
            None => self.send_one(&Transmit { ecn: None, ..*datagram }),
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn unsupported(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("{what}: this system has no such option"))
}
