//! Many datagrams in one call: recvmmsg(2), sendmmsg(2), and what rides on them (udp(7): `UDP_SEGMENT`, `UDP_GRO`).

use std::array;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, SockaddrStorage, recvmmsg, sendmmsg,
};

use super::MioSocket;
use super::control::{Ancillary, note};
use crate::driver::{Batch, Outgoing, Received, Transmit};

/// How many datagrams a socket asks for at once: what it costs to ask for more than there are is some ten instructions
/// each. So it asks for few until that was not enough, and never for one: that fewer came than were asked for is how it
/// knows that none is left.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Width {
    #[default]
    Narrow = 2,
    Medium = 8,
    Wide = 24,
    Widest = Batch::SLOTS as isize,
}

impl Width {
    fn next(self, got: usize) -> Self {
        match self {
            Self::Narrow if got == 2 => Self::Medium,
            Self::Medium if got == 8 => Self::Wide,
            Self::Medium if got < 2 => Self::Narrow,
            Self::Wide if got == 24 => Self::Widest,
            Self::Wide if got < 6 => Self::Medium,
            Self::Widest if got < 16 => Self::Wide,
            same => same,
        }
    }
}

/// What the calls need of memory, shared by all sockets of a driver: 10 KiB for each family that is spoken.
///
/// Those for receiving are kept apart from those for sending, since a call to send leaves its caller's pointers in them,
/// which a call to receive would write to. Each family has its own, since the system notes in them how long an address is.
#[derive(Debug, Default)]
pub(in super::super) struct Calls {
    v4: Pair<SockaddrIn>,
    v6: Pair<SockaddrIn6>,
    /// Those for datagrams that say more than where they go.
    ancillary: Vec<(Ancillary, MultiHeaders<SockaddrStorage>)>,
    /// The system has not got the calls, or a filter forbids them (seccomp(2)).
    no_receive: bool,
    no_send: bool,
}

#[derive(Debug)]
struct Pair<S> {
    receive: Option<MultiHeaders<S>>,
    send: Option<MultiHeaders<S>>,
}

impl<S> Default for Pair<S> {
    fn default() -> Self {
        Self { receive: None, send: None }
    }
}

/// What a system's own addresses of one family are here.
pub(super) trait Name: Copy + SockaddrLike {
    fn of(address: &SocketAddr) -> Option<Self>;
    fn address(self) -> SocketAddr;
}

impl Name for SockaddrIn {
    #[inline]
    fn of(address: &SocketAddr) -> Option<Self> {
        if let &SocketAddr::V4(address) = address { Some(address.into()) } else { None }
    }

    #[inline]
    fn address(self) -> SocketAddr {
        SocketAddr::V4(self.into())
    }
}

impl Name for SockaddrIn6 {
    #[inline]
    fn of(address: &SocketAddr) -> Option<Self> {
        if let &SocketAddr::V6(address) = address { Some(address.into()) } else { None }
    }

    #[inline]
    fn address(self) -> SocketAddr {
        SocketAddr::V6(self.into())
    }
}

/// Receives into free slots of a batch. Says how many were asked for, and how many came.
fn receive<S: Name, const N: usize, const CONTROL: bool>(
    socket: &impl AsRawFd,
    headers: &mut MultiHeaders<S>,
    batch: &mut Batch,
) -> Result<(usize, usize), Errno> {
    let asked = batch.room().min(N);
    let (mut slots, mut arrivals) = batch.parts();
    let mut pieces: [_; N] = array::from_fn(|_| [IoSliceMut::new(slots.next().unwrap_or_default())]);
    // A slice: `take` would cost ten instructions a slot.
    let messages = recvmmsg(socket.as_raw_fd(), headers, &mut pieces[..asked], MsgFlags::empty(), None)?;
    let before = arrivals.used();
    for message in messages {
        let source = message.address.map_or(NOBODY, Name::address);
        let received = Received { len: message.bytes, source, local: None, ecn: None };
        if CONTROL {
            note(&message, received, &mut arrivals);
        } else {
            arrivals.push(received);
        }
    }
    Ok((asked, arrivals.finish() - before))
}

/// A datagram has an address always.
pub(super) const NOBODY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl MioSocket {
    /// Receives until the batch is full or nothing is left.
    pub(super) fn receive(&mut self, batch: &mut Batch) -> io::Result<()> {
        while batch.room() > 0 {
            let (asked, got) = match self.receive_some(batch) {
                Some(result) => result?,
                None => return self.receive_singly(batch),
            };
            if asked == self.width as usize || got < asked {
                self.width = self.width.next(got);
            }
            if got < asked {
                // If an error cut it short, the system reports that next, and wakes the loop for it.
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        Ok(())
    }

    /// `None` if the system has not got the call, or a filter forbids it (seccomp(2)).
    fn receive_some(&mut self, batch: &mut Batch) -> Option<Result<(usize, usize), Errno>> {
        let calls = &mut *self.calls.borrow_mut();
        if calls.no_receive {
            return None;
        }
        let result = match (&mut self.control, self.is_v6) {
            (None, false) => by_width::<_, false>(&self.socket, calls.v4.receive(), self.width, batch),
            (None, true) => by_width::<_, false>(&self.socket, calls.v6.receive(), self.width, batch),
            (Some(control), _) => control.receive(&self.socket, self.width, batch),
        };
        if let Err(Errno::ENOSYS | Errno::EPERM) = result {
            calls.no_receive = true;
            return None;
        }
        Some(result)
    }

    fn receive_singly(&mut self, batch: &mut Batch) -> io::Result<()> {
        match &mut self.control {
            Some(control) => control.receive_singly(&self.socket, batch),
            None => batch.fill(self),
        }
    }

    /// Sends as many of the first as can go in one call.
    pub(super) fn send(&mut self, datagrams: &Outgoing<'_>) -> io::Result<usize> {
        let Some(first) = datagrams.clone().next() else { return Ok(0) };
        let mut largest = self.largest_segment;
        if largest > 0 {
            match self.send_segments(datagrams, first)? {
                Ok(sent) => return Ok(sent),
                Err(from_now_on) => largest = from_now_on,
            }
        }
        let sent = self.send_apart(datagrams, first)?;
        // Only now: where nothing can be sent to this peer at all, it is not for the segments.
        self.largest_segment = largest;
        Ok(sent)
    }

    fn send_apart(&mut self, datagrams: &Outgoing<'_>, first: Transmit<'_>) -> io::Result<usize> {
        let is_plain = first.source.is_none() && first.ecn.is_none();
        if is_plain && datagrams.len() == 1 {
            return self.send_one(&first).map(|()| 1);
        }
        let is_connected = self.peer.is_some();
        let mut calls = self.calls.borrow_mut();
        let result = match (calls.no_send, is_plain, self.is_v6) {
            (true, ..) => Err(Errno::ENOSYS),
            (_, false, _) => {
                let ancillary = Ancillary::of(&first, self.is_v6, None);
                send_alike(&self.socket, calls.ancillary(ancillary), ancillary, datagrams, is_connected, self.class)
            }
            (_, _, false) => send_by_len(&self.socket, calls.v4.send(), datagrams, is_connected),
            (_, _, true) => send_by_len(&self.socket, calls.v6.send(), datagrams, is_connected),
        };
        drop(calls);
        match result {
            // The call may be missing or forbidden (seccomp(2)), or it is this datagram that a firewall forbids.
            Err(Errno::ENOSYS | Errno::EPERM) => {
                self.send_one(&first)?;
                self.calls.borrow_mut().no_send = true;
                Ok(1)
            }
            // A mix of families.
            Ok(0) => self.send_one(&first).map(|()| 1),
            result => Ok(result?),
        }
    }

    /// Sends the first ones in one piece that the system cuts up again, if they go the same way and have the same length
    /// (the last may be shorter). If they have not, or the system can't, says how long segments may be from now on.
    fn send_segments(&self, datagrams: &Outgoing<'_>, first: Transmit<'_>) -> io::Result<Result<usize, u16>> {
        /// `UDP_MAX_SEGMENTS`.
        const MOST: usize = 64;
        /// What one packet can carry, whatever its headers.
        const LARGEST: usize = 65_535 - 8 - 40;
        let (len, same) = (first.payload.len(), self.largest_segment);
        let Ok(segment) = u16::try_from(len) else { return Ok(Err(same)) };
        if len == 0 || segment > same || self.calls.borrow().no_send {
            return Ok(Err(same));
        }
        let (mut count, mut total) = (0, 0);
        for next in datagrams.clone().take(MOST) {
            let is_alike = (next.target, next.source, next.ecn) == (first.target, first.source, first.ecn);
            if !is_alike || next.payload.is_empty() || next.payload.len() > len || total + next.payload.len() > LARGEST
            {
                break;
            }
            count += 1;
            total += next.payload.len();
            if next.payload.len() < len {
                break;
            }
        }
        if count < 2 {
            return Ok(Err(same));
        }
        let ancillary = Ancillary::of(&first, self.is_v6, Some(segment));
        let whole = [[IoSlice::new(&datagrams.parts().1[..total])]];
        let name = self.peer.is_none().then(|| SockaddrStorage::from(first.target));
        let mut calls = self.calls.borrow_mut();
        let headers = calls.ancillary(ancillary);
        match ancillary.send(&self.socket, headers, &whole, &[name], self.class) {
            Ok(_) => Ok(Ok(count)),
            // Of a refusal no other call is told.
            Err(error @ (Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED)) => Err(error.into()),
            Err(Errno::ENOBUFS | Errno::ENOMEM) => Ok(Err(same)),
            // Too long for the way they go.
            Err(Errno::EINVAL | Errno::EMSGSIZE) => Ok(Err(segment - 1)),
            // The system, or the way they go, can't do it.
            Err(_) => Ok(Err(0)),
        }
    }
}

impl Calls {
    /// Those of a system that has none.
    #[cfg(test)]
    pub(super) fn missing() -> Self {
        Self { no_receive: true, no_send: true, ..Self::default() }
    }

    fn ancillary(&mut self, which: Ancillary) -> &mut MultiHeaders<SockaddrStorage> {
        let at = self.ancillary.iter().position(|(known, _)| known.takes_as_much_as(&which)).unwrap_or_else(|| {
            self.ancillary.push((which, MultiHeaders::preallocate(ALIKE, Some(which.room()))));
            self.ancillary.len() - 1
        });
        &mut self.ancillary[at].1
    }
}

impl<S: Name> Pair<S> {
    fn receive(&mut self) -> &mut MultiHeaders<S> {
        self.receive.get_or_insert_with(|| MultiHeaders::preallocate(Batch::SLOTS, None))
    }

    fn send(&mut self) -> &mut MultiHeaders<S> {
        self.send.get_or_insert_with(|| MultiHeaders::preallocate(Batch::SLOTS, None))
    }
}

pub(super) fn by_width<S: Name, const CONTROL: bool>(
    socket: &impl AsRawFd,
    headers: &mut MultiHeaders<S>,
    width: Width,
    batch: &mut Batch,
) -> Result<(usize, usize), Errno> {
    match width {
        Width::Narrow => receive::<S, { Width::Narrow as usize }, CONTROL>(socket, headers, batch),
        Width::Medium => receive::<S, { Width::Medium as usize }, CONTROL>(socket, headers, batch),
        Width::Wide => receive::<S, { Width::Wide as usize }, CONTROL>(socket, headers, batch),
        Width::Widest => receive::<S, { Width::Widest as usize }, CONTROL>(socket, headers, batch),
    }
}

fn send_by_len<S: Name>(
    socket: &impl AsRawFd,
    headers: &mut MultiHeaders<S>,
    datagrams: &Outgoing<'_>,
    is_connected: bool,
) -> Result<usize, Errno> {
    match datagrams.len() {
        0..=8 => send_plain::<S, 8>(socket, headers, datagrams, is_connected),
        9..=24 => send_plain::<S, 24>(socket, headers, datagrams, is_connected),
        _ => send_plain::<S, { Batch::SLOTS }>(socket, headers, datagrams, is_connected),
    }
}

/// Sends those of the first that say only where they go, in the socket's own family.
fn send_plain<S: Name, const N: usize>(
    socket: &impl AsRawFd,
    headers: &mut MultiHeaders<S>,
    datagrams: &Outgoing<'_>,
    is_connected: bool,
) -> Result<usize, Errno> {
    let mut pieces = [[IoSlice::new(&[])]; N];
    let mut names = [None; N];
    let mut count = 0;
    let (envelopes, mut payloads) = datagrams.parts();
    for ((piece, name), envelope) in pieces.iter_mut().zip(&mut names).zip(envelopes) {
        if envelope.source.is_some() || envelope.ecn.is_some() {
            break;
        }
        if !is_connected {
            *name = S::of(&envelope.target);
            if name.is_none() {
                break;
            }
        }
        let (payload, rest) = payloads.split_at(envelope.len);
        *piece = [IoSlice::new(payload)];
        payloads = rest;
        count += 1;
    }
    if count == 0 {
        return Ok(0);
    }
    let none: &[ControlMessage<'_>; 0] = &[];
    let sent = sendmmsg(socket.as_raw_fd(), headers, &pieces[..count], &names[..count], none, MsgFlags::empty())?;
    Ok(sent.count())
}

/// How many go together that say more than where they go.
const ALIKE: usize = Width::Medium as usize;

/// Sends those of the first that say the same as the very first.
fn send_alike(
    socket: &impl AsRawFd,
    headers: &mut MultiHeaders<SockaddrStorage>,
    ancillary: Ancillary,
    datagrams: &Outgoing<'_>,
    is_connected: bool,
    class: u8,
) -> Result<usize, Errno> {
    let mut pieces = [[IoSlice::new(&[])]; ALIKE];
    let mut names = [None; ALIKE];
    let mut count = 0;
    for ((piece, name), next) in pieces.iter_mut().zip(&mut names).zip(datagrams.clone()) {
        if !ancillary.is_of(&next) {
            break;
        }
        *name = (!is_connected).then(|| SockaddrStorage::from(next.target));
        *piece = [IoSlice::new(next.payload)];
        count += 1;
    }
    ancillary.send(socket, headers, &pieces[..count], &names[..count], class)
}
