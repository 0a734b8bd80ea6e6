//! What connects the hosts: who is where, what is under way, and when it arrives.

use std::cell::RefCell;
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use slab::Slab;

use super::datagram::{Datagram, Socket};
use super::names::Names;
use super::stream::{Connection, Listener, Place, Segment};
use super::weather::{Digest, Weather, pair};
use crate::Time;
use crate::driver::Ready;

pub(super) type Shared = Rc<RefCell<Wire>>;

/// Everything between and below the event loops.
pub(super) struct Wire {
    pub(super) now: Time,
    pub(super) weather: Weather,
    pub(super) digest: Digest,
    pub(super) hosts: Vec<HostState>,
    pub(super) connections: Slab<Connection>,
    pub(super) listeners: Slab<Listener>,
    pub(super) sockets: Slab<Socket>,
    /// Who is bound where, by host, transport and port.
    pub(super) ports: BTreeMap<(usize, Transport, u16), usize>,
    pub(super) names: Names,
    /// Told apart from all that had the same place in a slab before.
    serial: u64,
    due: BinaryHeap<Reverse<Due>>,
    sequence: u64,
    /// Hosts with something to do now, in the order in which they will be turned.
    runnable: VecDeque<usize>,
    /// By pair of hosts between which nothing passes, what waits for that to end.
    partitions: BTreeMap<(usize, usize), Vec<(Place, Segment)>>,
    /// Until when a direction between two hosts is busy, and when its last datagram arrives.
    lanes: BTreeMap<(usize, usize), Lane>,
    short_means_drained: bool,
}

/// The part of a host that is below its event loop.
pub(super) struct HostState {
    /// How far its clock is ahead.
    pub(super) skew: Duration,
    pub(super) stalled_until: Option<Time>,
    pub(super) exhausted_until: Time,
    /// The edges to be lost, as counted from now.
    pub(super) sabotage: Option<u64>,
    /// The key of the first connection that it accepted.
    pub(super) first_accepted: Option<u64>,
    pub(super) seed: [u8; 32],
    /// What is to be reported by the next poll.
    ready: Vec<Source>,
    /// In `runnable`, or stalled and to be put there.
    runnable: bool,
    pub(super) next_port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Transport {
    Tcp,
    Udp,
    /// Its ports stand for paths.
    Unix,
}

/// What can be ready.
#[derive(Clone, Copy)]
pub(super) enum Source {
    Stream(Place),
    Listener {
        index: usize,
        serial: u64,
    },
    Socket {
        index: usize,
        serial: u64,
    },
    /// The answer to a lookup.
    Answer {
        host: usize,
        key: u64,
    },
}

/// What happens at a time.
pub(super) enum Happening {
    Segment {
        to: Place,
        segment: Segment,
    },
    Datagram(Box<Datagram>),
    /// A UDP socket is told that nobody has the port it sent to (ICMP).
    Refusal {
        index: usize,
        serial: u64,
    },
    /// Readiness that was held back is reported.
    Raise(Source),
    /// A lookup of a host comes to an end.
    Answer {
        host: usize,
        key: u64,
    },
    /// A stalled host goes on.
    Resume(usize),
}

struct Due {
    at: Time,
    sequence: u64,
    happening: Happening,
}

#[derive(Default)]
pub(super) struct Lane {
    busy_until: Time,
    pub(super) last_datagram: Time,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

impl Wire {
    pub(super) fn new(seed: u64, short_means_drained: bool) -> Self {
        Self {
            now: Time::ZERO,
            weather: Weather::new(seed),
            digest: Digest(seed),
            hosts: Vec::new(),
            connections: Slab::new(),
            listeners: Slab::new(),
            sockets: Slab::new(),
            ports: BTreeMap::new(),
            names: Names::default(),
            serial: 0,
            due: BinaryHeap::new(),
            sequence: 0,
            runnable: VecDeque::new(),
            partitions: BTreeMap::new(),
            lanes: BTreeMap::new(),
            short_means_drained,
        }
    }

    pub(super) fn add_host(&mut self) -> usize {
        /// The first of the ports that are given to who names none.
        const EPHEMERAL: u16 = 49_152;
        let seed = self.weather.seed();
        self.hosts.push(HostState {
            skew: Duration::ZERO,
            stalled_until: None,
            exhausted_until: Time::ZERO,
            sabotage: None,
            first_accepted: None,
            seed,
            ready: Vec::new(),
            runnable: false,
            next_port: EPHEMERAL,
        });
        self.hosts.len() - 1
    }

    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Whether a host lacks descriptors now; if so that is counted.
    pub(super) fn is_exhausted(&mut self, host: usize) -> bool {
        let exhausted = self.hosts[host].exhausted_until > self.now;
        self.weather.faults.exhausted += u64::from(exhausted);
        exhausted
    }

    pub(super) fn short_means_drained(&self) -> bool {
        self.short_means_drained
    }

    // Time.

    pub(super) fn schedule(&mut self, at: Time, happening: Happening) {
        self.sequence += 1;
        self.due.push(Reverse(Due { at, sequence: self.sequence, happening }));
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        self.due.peek().map(|Reverse(due)| due.at)
    }

    /// Lets happen what is due by now.
    pub(super) fn deliver(&mut self) {
        while self.next_due().is_some_and(|at| at <= self.now)
            && let Some(Reverse(due)) = self.due.pop()
        {
            match due.happening {
                Happening::Segment { to, segment } => self.segment_due(to, segment),
                Happening::Datagram(datagram) => self.datagram_due(*datagram),
                Happening::Refusal { index, serial } => self.refusal_due(index, serial),
                Happening::Raise(source) => self.raise(source),
                Happening::Answer { host, key } => self.answer(host, key),
                Happening::Resume(host) => {
                    if self.hosts[host].stalled_until.is_some_and(|until| until <= self.now) {
                        self.hosts[host].stalled_until = None;
                        self.hosts[host].runnable = false;
                        self.make_runnable(host);
                    }
                }
            }
        }
    }

    /// When something of this size has left one host for another.
    pub(super) fn departure(&mut self, from: usize, to: usize, bytes: usize) -> Time {
        let Some(bandwidth) = self.weather.between(from, to).bandwidth.filter(|&it| it > 0) else { return self.now };
        let lane = self.lanes.entry((from, to)).or_default();
        let nanos = (bytes as u128 * 1_000_000_000).div_ceil(bandwidth.into());
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        lane.busy_until = lane.busy_until.max(self.now) + takes;
        lane.busy_until
    }

    pub(super) fn lane(&mut self, from: usize, to: usize) -> &mut Lane {
        self.lanes.entry((from, to)).or_default()
    }

    // Partitions.

    pub(super) fn partition(&mut self, a: usize, b: usize) {
        self.partitions.entry(pair(a, b)).or_default();
    }

    /// Ends a partition: what TCP had under way is sent again.
    pub(super) fn heal(&mut self, a: usize, b: usize) {
        for (to, segment) in self.partitions.remove(&pair(a, b)).into_iter().flatten() {
            self.resend(to, segment);
        }
    }

    pub(super) fn is_partitioned(&self, a: usize, b: usize) -> bool {
        !self.partitions.is_empty() && self.partitions.contains_key(&pair(a, b))
    }

    /// Whether a partition holds a segment up; it is kept for later then.
    pub(super) fn hold(&mut self, a: usize, b: usize, to: Place, segment: Segment) -> bool {
        if self.partitions.is_empty() {
            return false;
        }
        let Some(held) = self.partitions.get_mut(&pair(a, b)) else { return false };
        held.push((to, segment));
        self.weather.faults.held += 1;
        true
    }

    // Readiness.

    /// Has the next poll of whoever owns it look at `source`: an edge.
    pub(super) fn raise(&mut self, source: Source) {
        let Some((host, on_list)) = self.owner(source) else { return };
        if !std::mem::replace(on_list, true) {
            self.hosts[host].ready.push(source);
        }
        self.make_runnable(host);
    }

    /// An edge a while later, when what looked like the end of readiness is over.
    pub(super) fn raise_later(&mut self, source: Source, a: usize, b: usize) {
        let at = self.now + self.weather.latency(a, b);
        self.schedule(at, Happening::Raise(source));
    }

    /// What a poll reports: of each thing raised, how it is now, as epoll does.
    pub(super) fn poll(&mut self, host: usize, ready: &mut Vec<Ready>) {
        let mut raised = std::mem::take(&mut self.hosts[host].ready);
        for source in raised.drain(..) {
            let Some((_, on_list)) = self.owner(source) else { continue };
            *on_list = false;
            let Some(news) = self.state_of(source) else { continue };
            if self.is_sabotaged(host) {
                continue;
            }
            self.digest.mix(self.now.as_nanos());
            let Ready { key, readable, writable, read_closed, error } = news;
            let bits = [readable, writable, read_closed, error].map(u64::from);
            self.digest.mix(key);
            self.digest.mix(bits[0] | bits[1] << 1 | bits[2] << 2 | bits[3] << 3);
            ready.push(news);
        }
        self.hosts[host].ready = raised; // for its capacity
    }

    fn is_sabotaged(&mut self, host: usize) -> bool {
        let Some(left) = &mut self.hosts[host].sabotage else { return false };
        *left = left.saturating_sub(1);
        if *left > 0 {
            return false;
        }
        self.hosts[host].sabotage = None;
        self.weather.faults.edges_lost += 1;
        true
    }

    /// Whose loop is told of `source`, and whether it is on the list for that already. `None` if it
    /// is closed, or no loop has it yet.
    fn owner(&mut self, source: Source) -> Option<(usize, &mut bool)> {
        match source {
            Source::Stream(place) => {
                let end = self.end(place)?;
                end.key.map(|_| (end.host, &mut end.on_list))
            }
            Source::Listener { index, serial } => {
                let listener = self.listeners.get_mut(index).filter(|it| it.serial == serial)?;
                Some((listener.host, &mut listener.on_list))
            }
            Source::Socket { index, serial } => {
                let socket = self.sockets.get_mut(index).filter(|it| it.serial == serial)?;
                Some((socket.host, &mut socket.on_list))
            }
            Source::Answer { host, key } => Some((host, &mut self.names.answers.get_mut(&(host, key))?.on_list)),
        }
    }

    fn state_of(&mut self, source: Source) -> Option<Ready> {
        let ready = match source {
            Source::Stream(place) => self.stream_state(place)?,
            Source::Listener { index, .. } => self.listeners[index].state(),
            Source::Socket { index, .. } => self.socket_state(index),
            Source::Answer { key, .. } => return Some(Ready { key, ..Ready::default() }),
        };
        (ready.readable || ready.writable || ready.read_closed || ready.error).then_some(ready)
    }

    /// Has a host turned at this time.
    pub(super) fn make_runnable(&mut self, host: usize) {
        let state = &mut self.hosts[host];
        if !std::mem::replace(&mut state.runnable, true) && state.stalled_until.is_none() {
            self.runnable.push_back(host);
        }
    }

    /// The next host to be turned at this time.
    pub(super) fn next_runnable(&mut self) -> Option<usize> {
        while let Some(host) = self.runnable.pop_front() {
            if self.hosts[host].stalled_until.is_none() {
                self.hosts[host].runnable = false;
                return Some(host);
            } // else it stays marked, and is put back when it goes on
        }
        None
    }
}
