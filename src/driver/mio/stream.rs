//! The operating system's connections, and the calls of each message.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::net::{Shutdown, SocketAddr};

use ::mio::net::TcpStream;

use crate::driver::Stream;

/// A connection of the [`MioDriver`](super::MioDriver): TCP's, or a Unix stream socket.
#[derive(Debug)]
pub struct MioStream(pub(super) TcpStream);

/// For options that [`StreamOptions`](crate::StreamOptions) has not.
#[cfg(unix)]
impl std::os::fd::AsFd for MioStream {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Stream for MioStream {
    #[inline(always)]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        system::receive(&mut self.0, buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read_vectored(buffers)
    }

    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        system::send(&mut self.0, bytes)
    }

    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        system::send_last(&mut self.0, bytes)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        system::send_vectored(&mut self.0, pieces)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }

    fn take_error(&mut self) -> io::Result<Option<io::Error>> {
        self.0.take_error()
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// On Linux they are made without libc, in which each is a cancellation point: in a program with a second thread these
/// cost some 50 instructions more (some 10 in one without), which is a third of an echo.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) mod system {
    use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};

    use super::{IoSlice, TcpStream, io};

    /// `IOV_MAX`: of more, sendmsg(2) would take none (`EMSGSIZE`).
    const MOST_PIECES: usize = 1024;

    #[inline(always)]
    pub(super) fn receive(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        rustix::net::recv(&*stream, buffer, RecvFlags::empty()).map(|(_, count)| count).map_err(error)
    }

    #[inline(always)]
    pub(super) fn send(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        rustix::net::send(&*stream, bytes, SendFlags::NOSIGNAL).map_err(error)
    }

    /// The FIN that follows leaves in the same segment: the way through the network, and its wake-up of the peer, once
    /// rather than twice.
    pub(super) fn send_last(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        rustix::net::send(&*stream, bytes, SendFlags::NOSIGNAL | SendFlags::MORE).map_err(error)
    }

    /// Not by writev(2), which has no flags: where a peer has reset, it raises SIGPIPE, and that ends any process that does
    /// not ignore it (as Rust's runtime does, but a host in another language may not).
    pub(super) fn send_vectored(stream: &mut TcpStream, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let pieces = &pieces[..pieces.len().min(MOST_PIECES)];
        rustix::net::sendmsg(&*stream, pieces, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL).map_err(error)
    }

    /// Kept apart, or the error that it nearly never comes to would be made each time.
    #[cold]
    #[inline(never)]
    pub(in crate::driver::mio) fn error(error: rustix::io::Errno) -> io::Error {
        error.into()
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::io::{Read, Write};

    use super::{IoSlice, TcpStream, io};

    pub(super) fn receive(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        stream.read(buffer)
    }

    pub(super) fn send(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        stream.write(bytes)
    }

    pub(super) fn send_last(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        send(stream, bytes)
    }

    pub(super) fn send_vectored(stream: &mut TcpStream, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        stream.write_vectored(pieces)
    }
}
