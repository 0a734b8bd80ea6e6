//! Where a session's datagrams come from and go to.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};

use crate::driver::Stream;

/// The ends of a session.
pub(crate) struct Route {
    pub(crate) peer: SocketAddr,
    pub(crate) local: Option<SocketAddr>,
    /// The local address that the peer last spoke to, if that is known: answers come from there.
    pub(crate) source: Option<IpAddr>,
}

impl Route {
    /// A datagram came to this address of ours.
    #[inline]
    pub(crate) fn heard_at(&mut self, local: Option<IpAddr>) {
        if local.is_some() && local != self.source {
            self.source = local;
            self.local = self.local.zip(local).map(|(bound, ip)| SocketAddr::new(ip, bound.port()));
        }
    }
}

/// A session as far as a callback can ask for its stream: two addresses.
impl Stream for Route {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read_vectored(&mut self, _: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn write_vectored(&mut self, _: &[IoSlice<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn take_error(&mut self) -> io::Result<Option<io::Error>> {
        Ok(None)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }
}
