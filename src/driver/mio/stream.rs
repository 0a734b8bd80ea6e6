//! The system calls of each message.

use std::io;

use ::mio::net::TcpStream;

/// On Linux they are made without libc, in which each is a cancellation point: in a program with a second thread these
/// cost some 50 instructions more (some 10 in one without), which is a third of an echo.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use rustix::net::{RecvFlags, SendFlags};

    use super::{TcpStream, io};

    #[inline]
    pub(in crate::driver::mio) fn receive(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::net::recv(&*stream, buffer, RecvFlags::empty())?.0)
    }

    #[inline]
    pub(in crate::driver::mio) fn send(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(&*stream, bytes, SendFlags::NOSIGNAL)?)
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
}

pub(super) use system::{receive, send};
