//! A frame of the feed as JSON; `page.html` says what its figures mean.

use std::net::SocketAddr;

use serde::Serialize;
use switchboard::{ConnectionId, Core};

use crate::board::{Endpoint, Source, Timed};

/// Everything a page is told at a time.
#[derive(Serialize)]
pub(crate) struct Frame {
    pub(crate) uptime_ms: u128,
    pub(crate) max_message: usize,
    pub(crate) protocols: Vec<ProtocolRow>,
    pub(crate) heartbeats: Heartbeats,
}

/// One endpoint, in totals since the start.
#[derive(Serialize)]
pub(crate) struct ProtocolRow {
    name: &'static str,
    address: SocketAddr,
    events: &'static str,
    open: Option<u64>,
    total: u64,
    refused: u64,
    dropped: u64,
    bytes_in: u64,
    bytes_out: u64,
    events_in: u64,
}

impl ProtocolRow {
    /// `messages` are those of WebSockets: the loop counts bytes and reads.
    pub(crate) fn new(endpoint: &Endpoint, core: &Core, messages: u64) -> Self {
        let counters = endpoint.counters(core);
        let (open, total) = match endpoint.source {
            Source::Listener(_) => (Some(counters.open()), counters.opened),
            Source::Socket(_) => (None, counters.datagrams_in),
        };
        Self {
            name: endpoint.name,
            address: endpoint.address,
            events: endpoint.events,
            open,
            total,
            refused: counters.refused + counters.accept_errors,
            dropped: counters.datagrams_dropped,
            bytes_in: counters.bytes_in,
            bytes_out: counters.bytes_out,
            events_in: match endpoint.events {
                "messages" => messages,
                "datagrams" => counters.datagrams_in,
                _ => counters.reads,
            },
        }
    }
}

/// Round-trip times: of how many connections there are some, and the slowest.
#[derive(Serialize)]
pub(crate) struct Heartbeats {
    pub(crate) total: usize,
    pub(crate) rows: Vec<BeatRow>,
}

/// The round-trip times of one connection, in microseconds.
#[derive(Serialize)]
pub(crate) struct BeatRow {
    id: String,
    protocol: &'static str,
    peer: SocketAddr,
    last_us: u128,
    smoothed_us: u128,
    worst_us: u128,
}

impl BeatRow {
    pub(crate) fn new(id: ConnectionId, timed: &Timed) -> Self {
        Self {
            id: id.to_string(),
            protocol: timed.protocol,
            peer: timed.peer,
            last_us: timed.rtt.last.as_micros(),
            smoothed_us: timed.rtt.smoothed.as_micros(),
            worst_us: timed.rtt.worst.as_micros(),
        }
    }
}
