//! Connections that are held open.

use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result};

use crate::connect;
use crate::options::{Protocol, Workload};
use crate::wire::Message;

/// Open connections, reset when this is dropped.
pub struct Held {
    protocol: Protocol,
    connections: Vec<TcpStream>,
}

impl Held {
    /// Opens `count` connections to `address`.
    pub fn open(protocol: Protocol, address: SocketAddr, count: usize) -> Result<Self> {
        let open =
            |index| connect::open(protocol, address, index).with_context(|| format!("connection {index} of {count}"));
        Ok(Self { protocol, connections: (0..count).map(open).collect::<Result<_>>()? })
    }

    /// The first `count` connections have a message echoed, one after the other.
    pub fn echo(&mut self, count: usize, workload: Workload) -> Result<()> {
        let message = Message::new(self.protocol, workload);
        for stream in self.connections.iter_mut().take(count) {
            connect::check(stream, &message)?;
        }
        Ok(())
    }
}
