//! What the page is told: the counters of every endpoint, and the round-trip times of every connection that is timed.

use std::cell::{Cell, Ref, RefCell};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use switchboard::{ConnectionId, Core, Counters, EventLoop, ListenerId, SocketId, Time};
use switchboard_heartbeat::Rtt;
use switchboard_websocket::SharedText;

use crate::frame::{BeatRow, Frame, Heartbeats, ProtocolRow};

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
    pub(crate) events: &'static str,
}

/// Whose counters are an endpoint's.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    Listener(ListenerId),
    Socket(SocketId),
}

/// A connection with a round-trip time.
pub(crate) struct Timed {
    pub(crate) protocol: &'static str,
    pub(crate) peer: SocketAddr,
    pub(crate) rtt: Rtt,
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
            protocols: self.endpoints().iter().map(|it| ProtocolRow::new(it, core, self.messages.get())).collect(),
            heartbeats: Heartbeats {
                total: timed.len(),
                rows: slowest.into_iter().map(|(id, timed)| BeatRow::new(*id, timed)).collect(),
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
}
