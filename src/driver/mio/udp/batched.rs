//! Many datagrams in one call: recvmmsg(2), sendmmsg(2), and what rides on them (udp(7): `UDP_SEGMENT`, `UDP_GRO`).

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::slice;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};

use super::MioSocket;
use super::calls::{Calls, Many, Name, Sending};
use super::control::{Ancillary, note};
use crate::driver::batch::NOBODY;
use crate::driver::{Batch, Outgoing, Received, Transmit};

/// How many datagrams a socket asks for at once: what it costs to ask for more than there are is some ten instructions
/// each. So it asks for few until that was not enough, and never for one: that fewer came than were asked for is how it
/// knows that none is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

    /// This, if there is room for it, or the widest for which there is. `None` where that is for one at most.
    #[inline]
    fn within(self, room: usize) -> Option<Self> {
        if self as usize <= room {
            return Some(self);
        }
        [Self::Wide, Self::Medium, Self::Narrow].into_iter().find(|&width| width as usize <= room)
    }
}

/// Receives into the next `N` slots of a batch, all of which are free. Says how many came.
fn receive<S: Name, const N: usize, const CONTROL: bool>(
    socket: &impl AsRawFd,
    headers: &mut MultiHeaders<S>,
    batch: &mut Batch,
) -> Result<usize, Errno> {
    let Some((mut pieces, arrivals)) = batch.next_slots::<N>() else { return Ok(0) };
    let messages = recvmmsg(socket.as_raw_fd(), headers, &mut pieces, MsgFlags::empty(), None)?;
    let before = arrivals.used();
    if CONTROL {
        for message in messages {
            let source = message.address.map_or(NOBODY, Name::address);
            note(&message, Received { len: message.bytes, source, local: None, ecn: None }, arrivals);
        }
    } else {
        // A datagram has an address always; to say so in this way costs three instructions less.
        arrivals.extend(messages.map_while(|message| Some((message.bytes, message.address?.address()))));
    }
    Ok(arrivals.used() - before)
}

impl MioSocket {
    /// Receives until the batch is full or nothing is left.
    #[inline(never)]
    pub(super) fn receive(&mut self, batch: &mut Batch) -> io::Result<()> {
        while batch.room() > 0 {
            let width = self.width.within(batch.room());
            let got = match width.and_then(|width| self.receive_some(width, batch)) {
                Some(result) => result?,
                None => return self.receive_singly(batch),
            };
            let asked = width.map_or(0, |width| width as usize);
            if width == Some(self.width) || got < asked {
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
    fn receive_some(&mut self, width: Width, batch: &mut Batch) -> Option<Result<usize, Errno>> {
        let calls = &mut *self.calls.borrow_mut();
        if calls.no_receive {
            return None;
        }
        let result = match (&mut self.control, self.is_v6) {
            (None, false) => by_width::<_, false>(&self.socket, calls.v4.receive(), width, batch),
            (None, true) => by_width::<_, false>(&self.socket, calls.v6.receive(), width, batch),
            (Some(control), _) => control.receive(&self.socket, &mut calls.told, width, batch),
        };
        if let Err(Errno::ENOSYS | Errno::EPERM) = result {
            calls.no_receive = true;
            return None;
        }
        Some(result)
    }

    /// As [`receive`](Self::receive), a call for each.
    #[inline]
    pub(super) fn receive_singly(&mut self, batch: &mut Batch) -> io::Result<()> {
        match &mut self.control {
            Some(control) => control.receive_singly(&self.socket, batch),
            None => batch.fill(self),
        }
    }

    /// Sends as many of the first as can go in one call.
    pub(super) fn send(&mut self, datagrams: &Outgoing<'_>) -> io::Result<usize> {
        let Some(first) = datagrams.first() else { return Ok(0) };
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
        let result = match (calls.sending.is_worth_trying(), is_plain, self.is_v6) {
            (false, ..) => Ok(0),
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
            Err(error @ (Errno::ENOSYS | Errno::EPERM)) => {
                self.send_one(&first)?;
                let again = if error == Errno::EPERM { Many::NotNow(Many::PAUSE) } else { Many::Never };
                self.calls.borrow_mut().sending = again;
                Ok(1)
            }
            // A mix of families, or they go singly.
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
        if len == 0 || segment > same || !matches!(self.calls.borrow().sending, Many::Yes) {
            return Ok(Err(same));
        }
        let mut pieces = [IoSlice::new(&[]); MOST];
        let (mut count, mut total) = (0, 0);
        for next in datagrams.clone().take(MOST) {
            let is_alike = (next.target, next.source, next.ecn) == (first.target, first.source, first.ecn);
            if !is_alike || next.payload.is_empty() || next.payload.len() > len || total + next.payload.len() > LARGEST
            {
                break;
            }
            pieces[count] = IoSlice::new(next.payload);
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
        let whole = match datagrams.parts() {
            (returned, _, payloads) if returned.is_empty() => &[IoSlice::new(&payloads[..total])],
            _ => &pieces[..count],
        };
        let name = self.peer.is_none().then(|| SockaddrStorage::from(first.target));
        let mut calls = self.calls.borrow_mut();
        let headers = calls.ancillary(ancillary);
        match ancillary.send(&self.socket, headers, &[whole], &[name], self.class) {
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

pub(super) fn by_width<S: Name, const CONTROL: bool>(
    socket: &impl AsRawFd,
    headers: &mut MultiHeaders<S>,
    width: Width,
    batch: &mut Batch,
) -> Result<usize, Errno> {
    match width {
        Width::Narrow => receive::<S, { Width::Narrow as usize }, CONTROL>(socket, headers, batch),
        Width::Medium => receive::<S, { Width::Medium as usize }, CONTROL>(socket, headers, batch),
        Width::Wide => receive::<S, { Width::Wide as usize }, CONTROL>(socket, headers, batch),
        Width::Widest => receive::<S, { Width::Widest as usize }, CONTROL>(socket, headers, batch),
    }
}

fn send_by_len<S: Name>(
    socket: &impl AsRawFd,
    sending: &mut Sending<S>,
    datagrams: &Outgoing<'_>,
    is_connected: bool,
) -> Result<usize, Errno> {
    match datagrams.len() {
        0..=8 => send_plain::<S, 8>(socket, sending, datagrams, is_connected),
        9..=24 => send_plain::<S, 24>(socket, sending, datagrams, is_connected),
        _ => send_plain::<S, { Batch::SLOTS }>(socket, sending, datagrams, is_connected),
    }
}

/// Sends those of the first that say only where they go, in the socket's own family.
fn send_plain<S: Name, const N: usize>(
    socket: &impl AsRawFd,
    Sending { headers, names }: &mut Sending<S>,
    datagrams: &Outgoing<'_>,
    is_connected: bool,
) -> Result<usize, Errno> {
    let mut pieces = [[IoSlice::new(&[])]; N];
    let Some(names) = names.first_chunk_mut::<N>() else { return Ok(0) };
    let name_of = |target: &SocketAddr| if is_connected { Some(None) } else { S::of(target).map(Some) };
    let (returned, envelopes, mut payloads) = datagrams.parts();
    let mut returned = returned.clone();
    let mut count = 0;
    let mut is_alike = true;
    while is_alike
        && count < N
        && let Some(run) = returned.next_run()
    {
        for (((source, payload), piece), name) in run.zip(&mut pieces[count..]).zip(&mut names[count..]) {
            let Some(own) = name_of(&source) else {
                is_alike = false;
                break;
            };
            (*piece, *name) = ([IoSlice::new(payload)], own);
            count += 1;
        }
    }
    if is_alike && returned.is_empty() {
        for ((envelope, piece), name) in envelopes.iter().zip(&mut pieces[count..]).zip(&mut names[count..]) {
            if envelope.source.is_some() || envelope.ecn.is_some() {
                break;
            }
            let Some(own) = name_of(&envelope.target) else { break };
            let (payload, rest) = payloads.split_at(envelope.len);
            (*piece, *name) = ([IoSlice::new(payload)], own);
            payloads = rest;
            count += 1;
        }
    }
    if count == 0 {
        return Ok(0);
    }
    let none: &[ControlMessage<'_>; 0] = &[];
    let sent = sendmmsg(socket.as_raw_fd(), headers, &pieces[..count], &names[..count], none, MsgFlags::empty())?;
    Ok(sent.count())
}

/// Sends those of the first that say the same as the very first.
fn send_alike(
    socket: &impl AsRawFd,
    headers: &mut MultiHeaders<SockaddrStorage>,
    ancillary: Ancillary,
    datagrams: &Outgoing<'_>,
    is_connected: bool,
    class: u8,
) -> Result<usize, Errno> {
    let mut pieces = [IoSlice::new(&[]); Calls::ALIKE];
    let mut names = [None; Calls::ALIKE];
    let mut count = 0;
    for ((piece, name), next) in pieces.iter_mut().zip(&mut names).zip(datagrams.clone()) {
        if !ancillary.is_of(&next) {
            break;
        }
        *name = (!is_connected).then(|| SockaddrStorage::from(next.target));
        *piece = IoSlice::new(next.payload);
        count += 1;
    }
    let pieces = pieces.each_ref().map(slice::from_ref);
    ancillary.send(socket, headers, &pieces[..count], &names[..count], class)
}
