//! Connections that are open at the same time.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::connection::{BUFFER, Connection};
use crate::options::Protocol;
use crate::wire::Message;

/// Connections, by index, and the events that tell of them.
pub(crate) struct Crowd {
    pub(crate) connections: Vec<Connection>,
    pub(crate) buffer: Vec<u8>,
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

impl Crowd {
    /// Opens `count` connections, each of which has a message echoed, if there is one. With it, how long its reply is.
    pub(crate) fn open(
        protocol: Protocol,
        address: SocketAddr,
        count: usize,
        first: Option<&Message>,
    ) -> Result<(Self, usize)> {
        let mut crowd = Self {
            connections: Vec::with_capacity(count),
            buffer: vec![0; BUFFER],
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            events: vec![EpollEvent::empty(); 1024],
        };
        let mut reply = 0;
        for index in 0..count {
            let opened = Connection::open(protocol, address, index).and_then(|mut connection| {
                reply = first.map_or(Ok(0), |message| connection.check(message, &mut crowd.buffer))?;
                Ok(connection)
            });
            let connection = opened.with_context(|| format!("connection {index} of {count}"))?;
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
            crowd.epoll.add(&connection.stream, EpollEvent::new(flags, index as u64))?;
            crowd.connections.push(connection);
            crowd.attend()?;
        }
        Ok((crowd, reply))
    }

    /// Answers the pings that have come while no connection awaits anything else.
    pub(crate) fn attend(&mut self) -> Result<()> {
        loop {
            let count = self.wait(EpollTimeout::ZERO)?;
            for event in 0..count {
                let index = self.index(event)?;
                let connection = &mut self.connections[index];
                let attended = connection.receive(&mut self.buffer, None).and_then(|received| {
                    ensure!(received == 0, "more came back than was sent: {received} bytes");
                    connection.send(&[])
                });
                attended.with_context(|| format!("connection {index}"))?;
            }
            if count < self.events.len() {
                return Ok(());
            }
        }
    }

    /// How many events there are of connections that can be read, or written again.
    pub(crate) fn wait(&mut self, timeout: EpollTimeout) -> Result<usize> {
        Ok(self.epoll.wait(&mut self.events, timeout)?)
    }

    /// The connection that an event is of.
    pub(crate) fn index(&self, event: usize) -> Result<usize> {
        Ok(usize::try_from(self.events[event].data())?)
    }
}
