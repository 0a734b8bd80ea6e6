//! What the page is told: the counters of every endpoint, and the round-trip times of every connection that is timed.

use std::cell::{Cell, Ref, RefCell};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use switchboard::{ConnectionId, Core, Counters, EventLoop, ListenerId, SocketId, Time};
use switchboard_heartbeat::Rtt;
use switchboard_websocket::SharedText;

/// Round-trip times that the page is told of at a time.
const ROWS: usize = 50;
/// How long all pages are told the same: many pages cost little more than one.
const FRESH: Duration = Duration::from_millis(250);

/// Shared by all protocols of the loop. Callbacks never nest, so plain cells do.
pub(crate) struct Board {
    max_message: usize,
    endpoints: RefCell<Vec<Endpoint>>,
    timed: RefCell<BTreeMap<ConnectionId, Timed>>,
    messages: Cell<u64>,
    frame: RefCell<Option<(Time, SharedText)>>,
}

/// One of the four things the server listens with.
pub(crate) struct Endpoint {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) source: Source,
    /// What its events are called.
    events: &'static str,
}

/// Whose counters are an endpoint's.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    Listener(ListenerId),
    Socket(SocketId),
}

struct Timed {
    protocol: &'static str,
    peer: SocketAddr,
    rtt: Rtt,
}

impl Board {
    pub(crate) fn new(max_message: usize) -> Self {
        Self {
            max_message,
            endpoints: RefCell::default(),
            timed: RefCell::default(),
            messages: Cell::new(0),
            frame: RefCell::default(),
        }
    }

    pub(crate) fn add(&self, event_loop: &EventLoop, name: &'static str, events: &'static str, source: Source) {
        let address = match source {
            Source::Listener(listener) => event_loop.local_addr(listener),
            Source::Socket(socket) => event_loop.local_addr(socket),
        };
        if let Some(address) = address {
            self.endpoints.borrow_mut().push(Endpoint { name, address, source, events });
        }
    }

    pub(crate) fn endpoints(&self) -> Ref<'_, [Endpoint]> {
        Ref::map(self.endpoints.borrow(), Vec::as_slice)
    }

    /// A WebSocket message has come.
    pub(crate) fn count_message(&self) {
        self.messages.set(self.messages.get() + 1);
    }

    /// A connection has new round-trip times.
    pub(crate) fn time(&self, id: ConnectionId, protocol: &'static str, peer: SocketAddr, rtt: Rtt) {
        self.timed.borrow_mut().insert(id, Timed { protocol, peer, rtt });
    }

    /// A connection has ended.
    pub(crate) fn forget(&self, id: ConnectionId) {
        self.timed.borrow_mut().remove(&id);
    }

    /// What a page is told now.
    pub(crate) fn frame(&self, core: &Core) -> SharedText {
        let mut frame = self.frame.borrow_mut();
        if let Some((when, text)) = &*frame
            && core.now().saturating_since(*when) < FRESH
        {
            return text.clone();
        }
        let text = SharedText::from(self.compose(core));
        *frame = Some((core.now(), text.clone()));
        text
    }

    fn compose(&self, core: &Core) -> String {
        let timed = self.timed.borrow();
        let mut slowest: Vec<_> = timed.iter().collect();
        if slowest.len() > ROWS {
            slowest.select_nth_unstable_by_key(ROWS, |(_, timed)| Reverse(timed.rtt.smoothed));
            slowest.truncate(ROWS);
        }
        let frame = Frame {
            uptime_ms: core.now().saturating_since(Time::ZERO).as_millis(),
            max_message: self.max_message,
            protocols: self.endpoints.borrow().iter().map(|endpoint| endpoint.row(core, self.messages.get())).collect(),
            heartbeats: Heartbeats {
                total: timed.len(),
                rows: slowest.into_iter().map(|(id, timed)| timed.row(*id)).collect(),
            },
        };
        serde_json::to_string(&frame).unwrap_or_default() // it has no map with keys that JSON can't have
    }
}

impl Endpoint {
    pub(crate) fn counters(&self, core: &Core) -> Counters {
        match self.source {
            Source::Listener(listener) => core.listener_counters(listener),
            Source::Socket(socket) => core.socket_counters(socket),
        }
    }

    fn row(&self, core: &Core, messages: u64) -> ProtocolRow {
        let counters = self.counters(core);
        let (open, total) = match self.source {
            Source::Listener(_) => (Some(counters.open()), counters.opened),
            Source::Socket(_) => (None, counters.datagrams_in),
        };
        ProtocolRow {
            name: self.name,
            address: self.address,
            events: self.events,
            open,
            total,
            refused: counters.refused + counters.accept_errors,
            dropped: counters.datagrams_dropped,
            bytes_in: counters.bytes_in,
            bytes_out: counters.bytes_out,
            events_in: match self.events {
                "messages" => messages,
                "datagrams" => counters.datagrams_in,
                _ => counters.reads,
            },
        }
    }
}

impl Timed {
    fn row(&self, id: ConnectionId) -> BeatRow {
        let Rtt { last, smoothed, worst } = self.rtt;
        BeatRow {
            id: id.to_string(),
            protocol: self.protocol,
            peer: self.peer,
            last_us: last.as_micros(),
            smoothed_us: smoothed.as_micros(),
            worst_us: worst.as_micros(),
        }
    }
}

/// The JSON of a frame; `page.html` says what it means.
#[derive(Serialize)]
struct Frame {
    uptime_ms: u128,
    max_message: usize,
    protocols: Vec<ProtocolRow>,
    heartbeats: Heartbeats,
}

#[derive(Serialize)]
struct ProtocolRow {
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

#[derive(Serialize)]
struct Heartbeats {
    total: usize,
    rows: Vec<BeatRow>,
}

#[derive(Serialize)]
struct BeatRow {
    id: String,
    protocol: &'static str,
    peer: SocketAddr,
    last_us: u128,
    smoothed_us: u128,
    worst_us: u128,
}
