//! What is to be sent, to whom, and for how long.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;

/// What the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Protocol {
    /// Bytes over TCP.
    Tcp,
    /// Datagrams.
    Udp,
    /// WebSocket messages.
    Ws,
    /// WebSocket messages with permessage-deflate, without context takeover.
    Wsz,
}

impl Protocol {
    /// Its name in commands: `tcp`, `udp`, `ws`, `wsz`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Ws => "ws",
            Self::Wsz => "wsz",
        }
    }
}

/// What a message consists of, if not of arbitrary bytes. WebSocket sends it as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Text {
    /// Letters.
    Ascii,
    /// Characters of one to three bytes.
    Mixed,
    /// JSON, which compresses.
    Json,
}

/// A batch: `16x1024:ascii` is sixteen messages of 1,024 bytes, all letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Workload {
    /// Messages that are sent with one write.
    pub depth: usize,
    /// Bytes of a message.
    pub size: usize,
    /// Text, or arbitrary bytes.
    pub text: Option<Text>,
}

impl FromStr for Workload {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || format!("`{text}` is not of the form DEPTHxSIZE or DEPTHxSIZE:ascii|mixed|json");
        let (batch, kind) = text.split_once(':').map_or((text, None), |(batch, kind)| (batch, Some(kind)));
        let (depth, size) = batch.split_once('x').with_context(form)?;
        let (depth, size) = (depth.parse().with_context(form)?, size.parse().with_context(form)?);
        let text = match kind {
            None => None,
            Some(kind) => Some(Text::from_str(kind, false).ok().with_context(form)?),
        };
        if depth == 0 || size == 0 {
            bail!("neither depth nor size may be 0");
        }
        Ok(Self { depth, size, text })
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.depth, self.size)?;
        match self.text {
            None => Ok(()),
            Some(Text::Ascii) => f.write_str(":ascii"),
            Some(Text::Mixed) => f.write_str(":mixed"),
            Some(Text::Json) => f.write_str(":json"),
        }
    }
}

/// A load. [`Options::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the server speaks.
    pub protocol: Protocol,
    /// Where it listens.
    pub address: SocketAddr,
    /// What each connection sends.
    pub workload: Workload,
    /// Connections, or UDP sockets.
    pub connections: usize,
    /// How long the load runs before it is measured.
    pub warm_up: Duration,
    /// How long it is measured. Not heeded if `messages` is given.
    pub duration: Duration,
    /// Measure so many messages (rounded up to whole batches) instead, in lockstep: every connection waits with its
    /// next batch until all have had their replies. A tool that makes a server slow does not change what it does then;
    /// else a server that reads until nothing is left would never leave its first connection.
    pub messages: Option<u64>,
    /// Whether to ask for events without sleeping in between: better latencies, for one whole processor.
    pub spin: bool,
    /// Another connection sends as fast as it can, whatever comes back. Not for UDP.
    pub flood: bool,
    /// The process whose processor time is reported.
    pub server: Option<u32>,
}

impl Options {
    /// 64 connections for a second, after a quarter of one.
    pub fn new(protocol: Protocol, address: SocketAddr, workload: Workload) -> Self {
        Self {
            protocol,
            address,
            workload,
            connections: 64,
            warm_up: Duration::from_millis(250),
            duration: Duration::from_secs(1),
            messages: None,
            spin: true,
            flood: false,
            server: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_written_as_they_are_read() {
        for text in ["1x20", "16x1024:ascii", "1x65536:mixed", "8x1024:json"] {
            assert_eq!(text.parse::<Workload>().unwrap().to_string(), text);
        }
        for text in ["", "x", "1x", "x20", "0x20", "1x0", "1x20:", "1x20:bytes", "-1x20"] {
            assert!(text.parse::<Workload>().is_err(), "{text}");
        }
    }
}
