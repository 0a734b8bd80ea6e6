//! UDP on mio: a system call for each datagram, and one for up to 64.

use std::array;
use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use anyhow::Result;
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};

/// Datagrams a system call.
const BATCH: usize = 64;
/// Bytes of a datagram, at most, where there are several.
const DATAGRAM: usize = 2048;

/// Calls `serve` each time that the socket is ready.
fn on_readable(address: SocketAddr, mut serve: impl FnMut(&UdpSocket)) -> Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(8);
    let mut socket = UdpSocket::bind(address)?;
    poll.registry().register(&mut socket, Token(0), Interest::READABLE)?;
    peers::announce(socket.local_addr()?);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            polled => polled?,
        }
        serve(&socket);
    }
}

/// `recvfrom` and `sendto`, until nothing is left.
pub(crate) fn single(address: SocketAddr) -> Result<()> {
    let mut buffer = vec![0; 1 << 16];
    on_readable(address, |socket| {
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], from);
        }
    })
}

/// `recvmmsg` and `sendmmsg`, until nothing is left.
pub(crate) fn batched(address: SocketAddr) -> Result<()> {
    let mut storage = vec![0; BATCH * DATAGRAM];
    let mut received = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut sent = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    on_readable(address, |socket| {
        let socket = socket.as_raw_fd();
        loop {
            let mut from = [None; BATCH];
            let mut lengths = [0; BATCH];
            let mut datagrams = storage.chunks_exact_mut(DATAGRAM);
            let mut parts: [_; BATCH] = array::from_fn(|_| [IoSliceMut::new(datagrams.next().unwrap_or_default())]);
            let Ok(messages) = recvmmsg(socket, &mut received, &mut parts, MsgFlags::MSG_DONTWAIT, None) else {
                return;
            };
            let count = messages.enumerate().map(|(index, message)| {
                (from[index], lengths[index]) = (message.address, message.bytes);
            });
            let count = count.count();
            let parts: [_; BATCH] =
                array::from_fn(|index| [IoSlice::new(&storage[index * DATAGRAM..][..lengths[index]])]);
            let _ = sendmmsg(socket, &mut sent, &parts[..count], &from[..count], [], MsgFlags::MSG_DONTWAIT);
        }
    })
}
