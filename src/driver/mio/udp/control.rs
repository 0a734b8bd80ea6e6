//! What is said of a datagram beside its payload and its ends: ip(7), ipv6(7), udp(7); RFC 3542 §6, RFC 3168 §5.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::sockopt::{IpRecvTos, Ipv4PacketInfo, Ipv6RecvPacketInfo, Ipv6RecvTClass, UdpGroSegment};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrIn, SockaddrIn6, SockaddrLike,
    SockaddrStorage, recvmsg, sendmmsg, sendmsg, setsockopt,
};
use socket2::Socket as Socket2;

use super::batched::{Width, by_width};
use crate::driver::batch::{Arrivals, NOBODY};
use crate::driver::{Batch, Received, Transmit};
use crate::{Ecn, UdpOptions};

/// What a socket asks the system to say of what it receives.
#[derive(Debug)]
pub(super) struct Control {
    /// For what is said of one datagram.
    room: Vec<u8>,
    asked: Asked,
    /// Whether that takes as much of each: the system notes in the headers how much it was, and would have no more room
    /// the next time. Where it differs they are made anew.
    is_even: bool,
}

/// What it is, as far as that makes out how much room it takes: sockets for which it is the same have headers in common
/// (14 KiB).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    is_v6: bool,
    local_addresses: bool,
    ecn: bool,
}

#[derive(Debug)]
pub(super) enum Headers {
    V4(MultiHeaders<SockaddrIn>),
    V6(MultiHeaders<SockaddrIn6>),
}

impl Control {
    /// Asks for what the options say; `None` if that is nothing.
    pub(super) fn ask_for(socket: &Socket2, is_v6: bool, options: &UdpOptions) -> io::Result<Option<Box<Self>>> {
        // A socket for both families is told of each in its own way.
        if options.local_addresses {
            if is_v6 {
                setsockopt(socket, Ipv6RecvPacketInfo, &true)?;
            }
            setsockopt(socket, Ipv4PacketInfo, &true)?;
        }
        if options.receive_ecn {
            if is_v6 {
                setsockopt(socket, Ipv6RecvTClass, &true)?;
            }
            setsockopt(socket, IpRecvTos, &true)?;
        }
        // Linux 5.0 and later.
        let segments = options.offload && setsockopt(socket, UdpGroSegment, &true).is_ok();
        if !(options.local_addresses || options.receive_ecn || segments) {
            return Ok(None);
        }
        let room = nix::cmsg_space!(in_pktinfo, in6_pktinfo, u8, i32, i32);
        let asked = Asked { is_v6, local_addresses: options.local_addresses, ecn: options.receive_ecn };
        let is_even = !segments && (!is_v6 || options.only_v6);
        Ok(Some(Box::new(Self { room, asked, is_even })))
    }

    pub(super) fn receive(
        &self,
        socket: &impl AsRawFd,
        told: &mut Vec<(Asked, Headers)>,
        width: Width,
        batch: &mut Batch,
    ) -> Result<usize, Errno> {
        if !self.is_even {
            return self.headers(width as usize).receive(socket, width, batch);
        }
        let known = told.iter().position(|(asked, _)| *asked == self.asked).unwrap_or_else(|| {
            told.push((self.asked, self.headers(Batch::SLOTS)));
            told.len() - 1
        });
        told[known].1.receive(socket, width, batch)
    }

    fn headers(&self, count: usize) -> Headers {
        let room = Some(self.room.clone());
        if self.asked.is_v6 {
            Headers::V6(MultiHeaders::preallocate(count, room))
        } else {
            Headers::V4(MultiHeaders::preallocate(count, room))
        }
    }

    /// As [`receive`](Self::receive), a call for each.
    pub(super) fn receive_singly(&mut self, socket: &impl AsRawFd, batch: &mut Batch) -> io::Result<()> {
        while batch.room() > 0 {
            let Some(([mut piece], arrivals)) = batch.next_slots() else { break };
            let control = Some(&mut self.room[..]);
            let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut piece, control, MsgFlags::empty())?;
            let source = message.address.as_ref().and_then(address).unwrap_or(NOBODY);
            note(&message, Received { len: message.bytes, source, local: None, ecn: None }, arrivals);
        }
        Ok(())
    }
}

impl Headers {
    fn receive(&mut self, socket: &impl AsRawFd, width: Width, batch: &mut Batch) -> Result<usize, Errno> {
        match self {
            Self::V4(headers) => by_width::<_, true>(socket, headers, width, batch),
            Self::V6(headers) => by_width::<_, true>(socket, headers, width, batch),
        }
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|&address| SocketAddr::from(address));
    v4.or_else(|| storage.as_sockaddr_in6().map(|&address| SocketAddr::from(address)))
}

/// Notes what was received, and what the system says of it.
pub(super) fn note<S: SockaddrLike>(message: &RecvMsg<'_, '_, S>, mut received: Received, arrivals: &mut Arrivals) {
    let mut segment = None;
    for said in message.cmsgs().into_iter().flatten() {
        match said {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                // An address that can be answered from, which a group's is not, nor a broadcast address: the system says
                // one, also where it gives the address of the datagram in IPv6's form.
                let address = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
                let is_v6 = received.source.is_ipv6();
                received.local = Some(if is_v6 { address.to_ipv6_mapped().into() } else { address.into() });
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                if !address.is_multicast() && address.to_ipv4_mapped().is_none() {
                    received.local = Some(address.into());
                }
            }
            ControlMessageOwned::Ipv4Tos(class) => received.ecn = Some(Ecn::from_class(class)),
            ControlMessageOwned::Ipv6TClass(class) => received.ecn = Some(Ecn::from_class(class.to_le_bytes()[0])),
            ControlMessageOwned::UdpGroSegments(len) => segment = usize::try_from(len).ok(),
            _ => {}
        }
    }
    match segment {
        Some(len) if len < received.len => arrivals.push_segments(len, received),
        _ => arrivals.push(received),
    }
}

/// What is said of a datagram that is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ancillary {
    /// The length of the datagrams that it is to be cut into.
    segment: Option<u16>,
    source: Option<IpAddr>,
    ecn: Option<Ecn>,
    /// Goes over IPv4, whatever the socket's family.
    over_v4: bool,
    is_v6: bool,
}

/// Whether datagrams to there go over IPv4.
fn speaks_v4(target: SocketAddr) -> bool {
    match target.ip() {
        IpAddr::V4(_) => true,
        IpAddr::V6(ip) => ip.to_ipv4_mapped().is_some(),
    }
}

impl Ancillary {
    pub(super) fn of(datagram: &Transmit<'_>, is_v6: bool, segment: Option<u16>) -> Self {
        let &Transmit { source, ecn, target, .. } = datagram;
        Self { segment, source, ecn, over_v4: speaks_v4(target), is_v6 }
    }

    /// Whether this datagram says the same.
    pub(super) fn is_of(&self, datagram: &Transmit<'_>) -> bool {
        (datagram.source, datagram.ecn) == (self.source, self.ecn) && speaks_v4(datagram.target) == self.over_v4
    }

    fn sends_v6_source(&self) -> bool {
        self.is_v6 || self.source.is_some_and(|source| source.is_ipv6())
    }

    /// Which kinds of messages it takes: headers have room for just those.
    fn kinds(&self) -> (bool, Option<bool>, Option<bool>) {
        let source = self.source.map(|_| self.sends_v6_source());
        (self.segment.is_some(), source, self.ecn.map(|_| self.over_v4))
    }

    pub(super) fn takes_as_much_as(&self, other: &Self) -> bool {
        self.kinds() == other.kinds()
    }

    /// Room for it. The system takes no more than is filled.
    pub(super) fn room(&self) -> Vec<u8> {
        let segment = self.segment.map_or(0, |_| nix::cmsg_space!(u16).capacity());
        let source = match self.source {
            None => 0,
            Some(_) if self.sends_v6_source() => nix::cmsg_space!(in6_pktinfo).capacity(),
            Some(_) => nix::cmsg_space!(in_pktinfo).capacity(),
        };
        let ecn = match self.ecn {
            None => 0,
            Some(_) if self.over_v4 => nix::cmsg_space!(u8).capacity(),
            Some(_) => nix::cmsg_space!(i32).capacity(),
        };
        Vec::with_capacity(segment + source + ecn)
    }

    /// Sends these with it. `class` has what is said beside congestion in the same octet.
    pub(super) fn send(
        self,
        socket: &impl AsRawFd,
        headers: &mut MultiHeaders<SockaddrStorage>,
        pieces: &[&[IoSlice<'_>]],
        names: &[Option<SockaddrStorage>],
        class: u8,
    ) -> Result<usize, Errno> {
        let fd = socket.as_raw_fd();
        self.with_messages(class, |said| {
            sendmmsg(fd, headers, pieces, names, said, MsgFlags::empty()).map(Iterator::count)
        })
    }

    /// Sends one, where there are no calls for many.
    pub(super) fn send_one(self, socket: &impl AsRawFd, datagram: &Transmit<'_>, class: u8) -> Result<(), Errno> {
        let (fd, to) = (socket.as_raw_fd(), SockaddrStorage::from(datagram.target));
        let piece = [IoSlice::new(datagram.payload)];
        self.with_messages(class, |said| sendmsg(fd, &piece, said, MsgFlags::empty(), Some(&to)).map(drop))
    }

    fn with_messages<R>(self, class: u8, f: impl FnOnce(&[ControlMessage<'_>]) -> R) -> R {
        let segment = self.segment.unwrap_or(0);
        let octet = class | self.ecn.unwrap_or_default() as u8;
        let wide = i32::from(octet);
        let (v4, v6) = self.source.map_or((Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED), |source| match source {
            IpAddr::V4(source) => (source, source.to_ipv6_mapped()),
            IpAddr::V6(source) => (Ipv4Addr::UNSPECIFIED, source),
        });
        let from = in_addr { s_addr: u32::from_ne_bytes(v4.octets()) };
        let v4 = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: from, ipi_addr: in_addr { s_addr: 0 } };
        let v6 = in6_pktinfo { ipi6_addr: in6_addr { s6_addr: v6.octets() }, ipi6_ifindex: 0 };
        let mut said = [ControlMessage::UdpGsoSegments(&segment); 3];
        let mut count = usize::from(self.segment.is_some());
        if self.source.is_some() {
            let is_v6 = self.sends_v6_source();
            said[count] = if is_v6 { ControlMessage::Ipv6PacketInfo(&v6) } else { ControlMessage::Ipv4PacketInfo(&v4) };
            count += 1;
        }
        if self.ecn.is_some() {
            said[count] =
                if self.over_v4 { ControlMessage::Ipv4Tos(&octet) } else { ControlMessage::Ipv6TClass(&wide) };
            count += 1;
        }
        f(&said[..count])
    }
}
