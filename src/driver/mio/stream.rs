//! The system calls of each message.

use std::io;

use ::mio::net::TcpStream;

/// On Linux they are made without libc, in which each is a cancellation point: in a program with a second thread these
/// cost some 50 instructions more (some 10 in one without), which is a third of an echo.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use rustix::net::{RecvFlags, SendFlags};

    use super::{TcpStream, io};

    #[inline(always)]
    pub(in crate::driver::mio) fn receive(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        rustix::net::recv(&*stream, buffer, RecvFlags::empty()).map(|(_, count)| count).map_err(error)
    }

    #[inline(always)]
    pub(in crate::driver::mio) fn send(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        rustix::net::send(&*stream, bytes, SendFlags::NOSIGNAL).map_err(error)
    }

    /// The FIN that follows leaves in the same segment: the way through the network, and its wake-up of the peer, once
    /// rather than twice.
    pub(in crate::driver::mio) fn send_last(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        rustix::net::send(&*stream, bytes, SendFlags::NOSIGNAL | SendFlags::MORE).map_err(error)
    }

    /// Kept apart, or the error that it nearly never comes to would be made each time.
    #[cold]
    #[inline(never)]
    fn error(error: rustix::io::Errno) -> io::Error {
        error.into()
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::io::{Read, Write};

    use super::{TcpStream, io};

    pub(in crate::driver::mio) fn receive(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        stream.read(buffer)
    }

    pub(in crate::driver::mio) fn send(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        stream.write(bytes)
    }

    pub(in crate::driver::mio) fn send_last(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        send(stream, bytes)
    }
}

pub(super) use system::{receive, send, send_last};
