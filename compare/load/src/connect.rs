//! Connecting and shaking hands, which blocks.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};

use crate::connection::wait;
use crate::options::Protocol;
use crate::wire;

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
