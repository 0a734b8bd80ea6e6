//! The calls for a single datagram.

/// On Linux they are made without libc: see [`stream`](super::super::stream).
#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::io;
    use std::net::SocketAddr;

    use ::mio::net::UdpSocket;
    use rustix::net::{RecvFlags, SendFlags};

    use crate::driver::batch::NOBODY;
    use crate::driver::mio::stream::system::error;

    #[inline]
    pub(in crate::driver::mio) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (_, len, source) = rustix::net::recvfrom(socket, buffer, RecvFlags::empty()).map_err(error)?;
        Ok((len, source.and_then(|source| source.try_into().ok()).unwrap_or(NOBODY)))
    }

    /// To the one that it is connected to.
    #[inline]
    pub(in crate::driver::mio) fn send(socket: &UdpSocket, payload: &[u8]) -> io::Result<usize> {
        rustix::net::send(socket, payload, SendFlags::NOSIGNAL).map_err(error)
    }

    #[inline]
    pub(in crate::driver::mio) fn send_to(socket: &UdpSocket, payload: &[u8], to: SocketAddr) -> io::Result<usize> {
        rustix::net::sendto(socket, payload, SendFlags::NOSIGNAL, &to).map_err(error)
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::io;
    use std::net::SocketAddr;

    use ::mio::net::UdpSocket;

    pub(in crate::driver::mio) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        socket.recv_from(buffer)
    }

    pub(in crate::driver::mio) fn send(socket: &UdpSocket, payload: &[u8]) -> io::Result<usize> {
        socket.send(payload)
    }

    pub(in crate::driver::mio) fn send_to(socket: &UdpSocket, payload: &[u8], to: SocketAddr) -> io::Result<usize> {
        socket.send_to(payload, to)
    }
}

pub(super) use system::{receive, send, send_to};
