//! TCP on mio: one read and one write for each event, edge-triggered, with one buffer for all connections.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use anyhow::Result;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::Respond;

/// Bytes in front of what was read.
pub(crate) const HEADROOM: usize = 256;
const READ: usize = 64 << 10;
const LISTENER: Token = Token(usize::MAX - 1);

struct Connection<R> {
    stream: TcpStream,
    /// What the system has refused.
    backlog: Vec<u8>,
    protocol: R,
}

pub(crate) fn serve<R: Respond>(address: SocketAddr, protocol: impl Fn() -> R) -> Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut listener = TcpListener::bind(address)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    peers::announce(listener.local_addr()?);
    let mut connections = Slab::new();
    let mut buffer = vec![0; HEADROOM + READ];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            let token = event.token();
            if token == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let entry = connections.vacant_entry();
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(entry.key()), interest)?;
                    entry.insert(Connection { stream, backlog: Vec::new(), protocol: protocol() });
                }
            } else if let Some(connection) = connections.get_mut(token.0)
                && !connection.serve(&mut buffer, event.is_read_closed())
            {
                connections.remove(token.0);
            }
        }
    }
}

impl<R: Respond> Connection<R> {
    /// Whether it stays open.
    fn serve(&mut self, buffer: &mut [u8], ends: bool) -> bool {
        loop {
            if !self.backlog.is_empty() {
                let Some(written) = write(&mut self.stream, &self.backlog) else { return false };
                self.backlog.drain(..written);
                if !self.backlog.is_empty() {
                    return true;
                }
                self.backlog = Vec::new();
            }
            let length = match self.stream.read(&mut buffer[HEADROOM..]) {
                Ok(0) => return false,
                Ok(length) => length,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            };
            let Some(out) = self.protocol.respond(buffer, HEADROOM..HEADROOM + length) else { return false };
            if !out.is_empty() {
                let Some(written) = write(&mut self.stream, &buffer[out.clone()]) else { return false };
                self.backlog.extend_from_slice(&buffer[out.start + written..out.end]);
            }
            // A short read has emptied the socket (epoll(7)); the end of the stream is another read's.
            if length < READ && !ends && self.backlog.is_empty() {
                return true;
            }
        }
    }
}

/// How much the system has taken; none after an error.
#[inline(always)]
fn write(stream: &mut TcpStream, bytes: &[u8]) -> Option<usize> {
    match stream.write(bytes) {
        Ok(written) => Some(written),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Some(0),
        Err(_) => None,
    }
}
