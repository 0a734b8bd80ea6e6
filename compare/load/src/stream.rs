//! The closed loop over TCP.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nix::sys::epoll::EpollTimeout;

use crate::connection::{Connection, PATIENCE};
use crate::crowd::Crowd;
use crate::options::Options;
use crate::report::{Recorder, Report, Window};
use crate::wire::Message;

/// What the connection that floods writes at once, some bytes more or less: whole messages.
const FLOOD: usize = 16 << 10;

/// What a connection has sent and awaits.
#[derive(Clone)]
struct Batch {
    /// Bytes of replies that are not there yet.
    awaited: usize,
    began: Instant,
}

struct Load<'a> {
    options: &'a Options,
    crowd: Crowd,
    /// By connection.
    batches: Vec<Batch>,
    /// Sends without waiting.
    flood: Option<Connection>,
    request: Vec<u8>,
    /// How long the replies to that are.
    replies: usize,
    flood_request: Vec<u8>,
    /// Batches that may still be started.
    left: u64,
    in_flight: usize,
    recorder: Recorder,
}

pub(crate) fn run(options: &Options) -> Result<Report> {
    let mut load = Load::open(options)?;
    let mut window = Window::new(options)?;
    load.start_all()?;
    let mut measured = None;
    let mut heard = Instant::now();
    while load.in_flight > 0 {
        let timeout = if options.spin { EpollTimeout::ZERO } else { EpollTimeout::from(100_u8) };
        let count = load.crowd.wait(timeout)?;
        for event in 0..count {
            let index = load.crowd.index(event)?;
            load.on_event(index).with_context(|| format!("connection {index}"))?;
        }
        if load.in_flight == 0 {
            load.start_all()?; // where messages are counted: all together
        }
        load.flood()?;
        let now = Instant::now();
        if count > 0 {
            heard = now;
        }
        ensure!(now - heard < PATIENCE, "{} batches were not answered within {PATIENCE:?}", load.in_flight);
        if window.begins(now)? {
            load.recorder.clear();
        }
        if measured.is_none() && (window.is_over(now) || load.in_flight == 0) {
            let (took, used) = window.end(now)?;
            measured = Some(load.recorder.report(took, used)?);
            load.left = 0;
        }
    }
    measured.context("no batch was sent")
}

impl<'a> Load<'a> {
    /// All connections, open and checked.
    fn open(options: &'a Options) -> Result<Self> {
        let Options { protocol, address, connections: count, .. } = *options;
        let message = Message::new(protocol, options.workload);
        let (mut crowd, reply) = Crowd::open(protocol, address, count, Some(&message))?;
        let flood = || {
            let mut connection = Connection::open(protocol, address, count)?;
            connection.check(&message, &mut crowd.buffer).map(|_| connection)
        };
        let flood = options.flood.then(flood).transpose().context("the connection that floods")?;
        let depth = options.workload.depth;
        Ok(Self {
            options,
            crowd,
            batches: vec![Batch { awaited: 0, began: Instant::now() }; count],
            flood,
            request: message.request.repeat(depth),
            replies: reply * depth,
            flood_request: message.request.repeat(FLOOD.div_ceil(message.request.len())),
            left: options.messages.map_or(u64::MAX, |messages| messages.div_ceil(depth as u64)),
            in_flight: 0,
            recorder: Recorder::new()?,
        })
    }

    fn start_all(&mut self) -> Result<()> {
        (0..self.batches.len()).try_for_each(|index| self.start(index))
    }

    /// The next batch of a connection, if there is to be one.
    fn start(&mut self, index: usize) -> Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        self.in_flight += 1;
        self.batches[index] = Batch { awaited: self.replies, began: Instant::now() };
        let connection = &mut self.crowd.connections[index];
        connection.unsent = self.request.len();
        connection.send(&self.request)
    }

    fn on_event(&mut self, index: usize) -> Result<()> {
        let (connection, batch) = (&mut self.crowd.connections[index], &mut self.batches[index]);
        let received = connection.receive(&mut self.crowd.buffer, None)?;
        ensure!(received <= batch.awaited, "more came back than was sent");
        batch.awaited -= received;
        connection.send(&self.request)?;
        if received > 0 && batch.awaited == 0 && connection.unsent == 0 {
            self.recorder.batch(self.options.workload.depth, batch.began.elapsed());
            self.in_flight -= 1;
            if self.options.messages.is_none() {
                return self.start(index);
            }
        }
        Ok(())
    }

    /// One write and what has come back, between two rounds of the others.
    fn flood(&mut self) -> Result<()> {
        let Some(connection) = &mut self.flood else { return Ok(()) };
        if connection.unsent == 0 {
            connection.unsent = self.flood_request.len();
        }
        connection.send(&self.flood_request)?;
        self.recorder.flooded += connection.receive(&mut self.crowd.buffer, None)? as u64;
        Ok(())
    }
}
