//! Connections that are held open.

use std::net::SocketAddr;

use anyhow::{Context, Result};

use crate::crowd::Crowd;
use crate::options::{Protocol, Workload};
use crate::wire::Message;

/// Open connections, reset when this is dropped.
pub struct Held {
    protocol: Protocol,
    crowd: Crowd,
}

impl Held {
    /// Opens `count` connections to `address`.
    pub fn open(protocol: Protocol, address: SocketAddr, count: usize) -> Result<Self> {
        let (crowd, _) = Crowd::open(protocol, address, count, None)?;
        Ok(Self { protocol, crowd })
    }

    /// The first `count` connections have a message echoed, one after the other. All answer pings meanwhile.
    pub fn echo(&mut self, count: usize, workload: Workload) -> Result<()> {
        let message = Message::new(self.protocol, workload);
        let crowd = &mut self.crowd;
        for index in 0..count.min(crowd.connections.len()) {
            crowd.attend()?;
            let checked = crowd.connections[index].check(&message, &mut crowd.buffer);
            checked.with_context(|| format!("connection {index}"))?;
        }
        Ok(())
    }
}
