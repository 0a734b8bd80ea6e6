//! The operating system's UDP sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};

use ::mio::net::UdpSocket;
use socket2::{Domain, Protocol, SockRef, Socket as Socket2, Type};

use super::options::{set_buffers, set_reuse_port, set_route};
use crate::driver::{Received, Socket};
use crate::{Multicast, UdpOptions};

/// A UDP socket of the [`MioDriver`](super::MioDriver).
#[derive(Debug)]
pub struct MioSocket {
    pub(super) socket: UdpSocket,
    /// The one it is connected to.
    peer: Option<SocketAddr>,
    /// For what the system says of a datagram beside its source, if that was asked for.
    control: Option<Vec<u8>>,
}

impl MioSocket {
    pub(super) fn bind(address: SocketAddr, options: &UdpOptions) -> io::Result<Self> {
        let socket = open(address, options)?;
        socket.bind(&address.into())?;
        // Groups are joined when the socket is bound: on Windows they can't be before.
        options.multicast.iter().try_for_each(|&group| join(&socket, group))?;
        Self::new(socket, None, options)
    }

    pub(super) fn connect(peer: SocketAddr, options: &UdpOptions) -> io::Result<Self> {
        let socket = open(peer, options)?;
        socket.connect(&peer.into())?;
        options.multicast.iter().try_for_each(|&group| join(&socket, group))?;
        Self::new(socket, Some(peer), options)
    }

    fn new(socket: Socket2, peer: Option<SocketAddr>, options: &UdpOptions) -> io::Result<Self> {
        let control = options.local_addresses.then(|| pktinfo::ask_for(&socket)).transpose()?;
        Ok(Self { socket: UdpSocket::from_std(socket.into()), peer, control })
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
    #[inline]
    fn recv_from(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        if let Some(control) = &mut self.control {
            return pktinfo::receive(&self.socket, buffer, control);
        }
        let (len, source) = self.socket.recv_from(buffer)?;
        Ok(Received { len, source, local: None })
    }

    #[inline]
    fn send_to(&mut self, payload: &[u8], target: SocketAddr, source: Option<IpAddr>) -> io::Result<()> {
        if let Some(source) = source {
            return pktinfo::send(&self.socket, payload, target, source);
        }
        // Not everywhere may a connected socket be told whom to send to.
        let sent = if self.peer.is_some() { self.socket.send(payload) } else { self.socket.send_to(payload, target) };
        sent.map(drop)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// The local address of each datagram (ip(7), RFC 3542 §6).
#[cfg(any(target_os = "linux", target_os = "android"))]
mod pktinfo {
    use std::io::{self, IoSlice, IoSliceMut};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
    use std::os::fd::AsRawFd;

    use ::mio::net::UdpSocket;
    use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
    use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
    use nix::sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    };
    use socket2::Socket as Socket2;

    use crate::driver::Received;

    /// Asks the system for it; gives the room for its answers.
    pub(super) fn ask_for(socket: &Socket2) -> io::Result<Vec<u8>> {
        if socket.local_addr()?.is_ipv6() {
            setsockopt(socket, Ipv6RecvPacketInfo, &true)?;
        }
        setsockopt(socket, Ipv4PacketInfo, &true)?; // a socket for both is told of each in its own way
        Ok(nix::cmsg_space!(in_pktinfo, in6_pktinfo))
    }

    pub(super) fn receive(socket: &UdpSocket, buffer: &mut [u8], control: &mut [u8]) -> io::Result<Received> {
        let mut pieces = [IoSliceMut::new(buffer)];
        let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut pieces, Some(control), MsgFlags::empty())?;
        let source = message.address.as_ref().and_then(address).ok_or(io::ErrorKind::InvalidData)?;
        let local = message.cmsgs()?.find_map(|message| local_address(message, source.is_ipv6()));
        Ok(Received { len: message.bytes, source, local })
    }

    pub(super) fn send(socket: &UdpSocket, payload: &[u8], target: SocketAddr, source: IpAddr) -> io::Result<()> {
        let is_v6 = socket.local_addr()?.is_ipv6();
        let pieces = [IoSlice::new(payload)];
        let to = SockaddrStorage::from(target);
        let (v4, v6);
        let control = match source {
            IpAddr::V4(source) if !is_v6 => {
                let none = in_addr { s_addr: 0 };
                let from = in_addr { s_addr: u32::from_ne_bytes(source.octets()) };
                v4 = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: from, ipi_addr: none };
                ControlMessage::Ipv4PacketInfo(&v4)
            }
            source => {
                let source = match source {
                    IpAddr::V4(source) => source.to_ipv6_mapped(),
                    IpAddr::V6(source) => source,
                };
                v6 = in6_pktinfo { ipi6_addr: in6_addr { s6_addr: source.octets() }, ipi6_ifindex: 0 };
                ControlMessage::Ipv6PacketInfo(&v6)
            }
        };
        sendmsg(socket.as_raw_fd(), &pieces, &[control], MsgFlags::empty(), Some(&to))?;
        Ok(())
    }

    fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
        let v4 = storage.as_sockaddr_in().map(|&address| SocketAddr::from(address));
        v4.or_else(|| storage.as_sockaddr_in6().map(|&address| SocketAddr::from(address)))
    }

    /// An address that can be answered from, which a group's is not, nor a broadcast address. Of IPv4 the system says one
    /// itself, also where it gives the address of the datagram in IPv6's form.
    fn local_address(message: ControlMessageOwned, is_v6: bool) -> Option<IpAddr> {
        match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                let address = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
                Some(if is_v6 { address.to_ipv6_mapped().into() } else { address.into() })
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                let is_own = !address.is_multicast() && address.to_ipv4_mapped().is_none();
                is_own.then_some(address.into())
            }
            _ => None,
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod pktinfo {
    use std::io;
    use std::net::{IpAddr, SocketAddr};

    use ::mio::net::UdpSocket;
    use socket2::Socket as Socket2;

    use crate::driver::Received;

    fn unsupported(what: &str) -> io::Error {
        io::Error::new(io::ErrorKind::Unsupported, format!("{what}: this system has no such option"))
    }

    pub(super) fn ask_for(_: &Socket2) -> io::Result<Vec<u8>> {
        Err(unsupported("local_addresses"))
    }

    pub(super) fn receive(_: &UdpSocket, _: &mut [u8], _: &mut [u8]) -> io::Result<Received> {
        Err(unsupported("local_addresses"))
    }

    pub(super) fn send(_: &UdpSocket, _: &[u8], _: SocketAddr, _: IpAddr) -> io::Result<()> {
        Err(unsupported("a datagram's source"))
    }
}
