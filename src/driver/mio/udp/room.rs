//! Whether a socket is told that there is room to send.

use std::io;
use std::rc::Rc;

use ::mio::net::UdpSocket;
use ::mio::{Interest, Registry, Token};

/// Has a socket told of room while it waits for some, and only then.
///
/// On Linux there is news of room each time that a datagram has left: a socket that always heard of it would wake the loop
/// by each that it sends. Of an echo of one datagram that took 0.5 of 17.5 microseconds.
#[derive(Debug)]
pub(super) struct Room {
    registry: Rc<Registry>,
    token: Token,
    is_awaited: bool,
}

impl Room {
    pub(super) fn register(registry: Rc<Registry>, token: Token, socket: &mut UdpSocket) -> io::Result<Self> {
        registry.register(socket, token, Interest::READABLE)?;
        Ok(Self { registry, token, is_awaited: false })
    }

    /// Whether it is told at present.
    #[inline]
    pub(super) fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    /// Something was not sent for want of it.
    #[cold]
    pub(super) fn begin(&mut self, socket: &mut UdpSocket) -> io::Result<()> {
        if !self.is_awaited {
            // Says so, too, if there is some again by now.
            self.registry.reregister(socket, self.token, Interest::READABLE | Interest::WRITABLE)?;
            self.is_awaited = true;
        }
        Ok(())
    }

    /// Everything was sent.
    #[cold]
    pub(super) fn end(&mut self, socket: &mut UdpSocket) {
        // If that fails it is told once more than it needs to be, and tries again.
        self.is_awaited = self.registry.reregister(socket, self.token, Interest::READABLE).is_err();
    }
}
