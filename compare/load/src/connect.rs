//! Connections, blocking until they are open and checked, and non-blocking from then on.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};

use crate::options::Protocol;
use crate::wire::{self, Message};

/// So long a server may be silent.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Connections come from so many addresses in turn, 127.0.1.1 and following: each has 28,000 ports.
const SOURCES: usize = 16;

/// Begins to connect from the `index`th source; non-blocking.
pub(crate) fn begin(address: SocketAddr, index: usize) -> Result<TcpStream> {
    ensure!(address.ip().is_loopback() && address.is_ipv4(), "{address} is not on the IPv4 loopback");
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
    setsockopt(&socket, sockopt::TcpNoDelay, &true)?;
    let host = u8::try_from(index % SOURCES)? + 1;
    bind(socket.as_raw_fd(), &SockaddrIn::from(std::net::SocketAddrV4::new(Ipv4Addr::new(127, 0, 1, host), 0)))?;
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(socket.into()),
        Err(error) => Err(error).with_context(|| format!("connecting to {address}")),
    }
}

/// Connects and, for WebSocket, upgrades.
pub(crate) fn open(protocol: Protocol, address: SocketAddr, index: usize) -> Result<TcpStream> {
    let mut stream = begin(address, index)?;
    wait(&stream, PollFlags::POLLOUT).with_context(|| format!("connecting to {address}"))?;
    if let Some(error) = stream.take_error()? {
        return Err(error).with_context(|| format!("connecting to {address}"));
    }
    // A reset at the end: thousands of connections in TIME_WAIT would be in the next measurement's way.
    setsockopt(&stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 })?;
    if matches!(protocol, Protocol::Ws | Protocol::Wsz) {
        stream.write_all(&wire::upgrade_request(protocol))?;
        let mut response = Vec::new();
        while !wire::is_upgraded(protocol, &response)? {
            wait(&stream, PollFlags::POLLIN).context("the handshake")?;
            let mut bytes = [0; 1024];
            match stream.read(&mut bytes) {
                Ok(0) => bail!("closed in the handshake"),
                Ok(length) => response.extend_from_slice(&bytes[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("the handshake"),
            }
        }
    }
    Ok(stream)
}

/// Sends `message`, compares what comes back byte for byte, and returns how many bytes that is on the wire.
pub(crate) fn check(stream: &mut TcpStream, message: &Message) -> Result<usize> {
    if !message.reply.is_empty() {
        let mut reply = vec![0; message.reply.len()];
        exchange(stream, &message.request, &mut reply)?;
        ensure!(reply == message.reply, "the reply differs from what was sent");
        return Ok(reply.len());
    }
    let mut header = [0; 4];
    exchange(stream, &message.request, &mut header)?;
    ensure!(header[0] & 0x40 != 0, "the reply is not compressed");
    let (header_length, length) = wire::lengths(header)?;
    let mut frame = header.to_vec();
    frame.resize(header_length + length, 0);
    exchange(stream, &[], &mut frame[4..])?;
    let payload = wire::inflate(&frame[header_length..], message.payload.len())?;
    ensure!(payload == message.payload, "the reply differs from what was sent");
    Ok(frame.len())
}

/// Writes all of `request` while it reads all of `reply`.
fn exchange(stream: &mut TcpStream, mut request: &[u8], mut reply: &mut [u8]) -> Result<()> {
    while !request.is_empty() || !reply.is_empty() {
        let out = if request.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
        wait(stream, out | PollFlags::POLLIN)?;
        match stream.write(request) {
            Ok(length) => request = &request[length..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        match stream.read(reply) {
            Ok(0) if !reply.is_empty() => bail!("closed before the reply was there"),
            Ok(length) => reply = &mut reply[length..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn wait(stream: &TcpStream, events: PollFlags) -> Result<()> {
    let ready = poll(&mut [PollFd::new(stream.as_fd(), events)], PollTimeout::try_from(PATIENCE)?)?;
    ensure!(ready > 0, "nothing happened for {PATIENCE:?}");
    Ok(())
}
