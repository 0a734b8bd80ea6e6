//! The closed loop over TCP.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, recv};

use crate::connect::{self, PATIENCE};
use crate::options::Options;
use crate::report::{Recorder, Report, Window};
use crate::wire::Message;

/// What one `recv` may drop.
const DISCARD: usize = 1 << 20;
/// What the connection that floods writes at once, some bytes more or less: whole messages.
const FLOOD: usize = 16 << 10;

/// A connection, and how far its batch has come.
struct Connection {
    stream: TcpStream,
    /// Bytes of the batch that are not sent yet: its last ones.
    unsent: usize,
    /// Bytes of replies that are not there yet.
    awaited: usize,
    began: Instant,
}

impl Connection {
    /// As much of `batch` as the socket takes.
    fn send(&mut self, batch: &[u8]) -> Result<()> {
        while self.unsent > 0 {
            match self.stream.write(&batch[batch.len() - self.unsent..]) {
                Ok(length) => self.unsent -= length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("sending"),
            }
        }
        Ok(())
    }

    /// Drops what is there, and says how much that was.
    fn receive(&self, discard: &mut [u8]) -> Result<usize> {
        let mut received = 0;
        loop {
            match recv(self.stream.as_raw_fd(), discard, MsgFlags::MSG_TRUNC) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(length) => {
                    received += length;
                    if length < discard.len() {
                        return Ok(received);
                    }
                }
                Err(Errno::EAGAIN) => return Ok(received),
                Err(error) => return Err(error).context("receiving"),
            }
        }
    }
}

struct Load<'a> {
    options: &'a Options,
    connections: Vec<Connection>,
    /// Sends without waiting; its `awaited` is not used.
    flood: Option<Connection>,
    batch: Vec<u8>,
    replies: usize,
    flood_batch: Vec<u8>,
    discard: Vec<u8>,
    /// Batches that may still be started.
    left: u64,
    in_flight: usize,
    recorder: Recorder,
}

pub(crate) fn run(options: &Options) -> Result<Report> {
    let mut load = Load::open(options)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (index, connection) in load.connections.iter().enumerate() {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        epoll.add(&connection.stream, EpollEvent::new(flags, index as u64))?;
    }
    let mut window = Window::new(options)?;
    load.start_all()?;
    let mut events = vec![EpollEvent::empty(); 1024];
    let mut measured = None;
    let mut heard = Instant::now();
    while load.in_flight > 0 {
        let timeout = if options.spin { EpollTimeout::ZERO } else { EpollTimeout::from(100_u8) };
        let count = epoll.wait(&mut events, timeout)?;
        for event in &events[..count] {
            load.on_event(usize::try_from(event.data())?)?;
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
        let message = Message::new(options.protocol, options.workload);
        let mut replies = 0;
        let mut open = |index| {
            let mut stream = connect::open(options.protocol, options.address, index)?;
            replies = connect::check(&mut stream, &message).with_context(|| format!("connection {index}"))?;
            Ok(Connection { stream, unsent: 0, awaited: 0, began: Instant::now() })
        };
        let connections = (0..options.connections).map(&mut open).collect::<Result<Vec<_>>>()?;
        let flood = options.flood.then(|| open(options.connections)).transpose()?;
        let depth = options.workload.depth;
        Ok(Self {
            options,
            connections,
            flood,
            batch: message.request.repeat(depth),
            replies: replies * depth,
            flood_batch: message.request.repeat(FLOOD.div_ceil(message.request.len())),
            discard: vec![0; DISCARD],
            left: options.messages.map_or(u64::MAX, |messages| messages.div_ceil(depth as u64)),
            in_flight: 0,
            recorder: Recorder::new()?,
        })
    }

    fn start_all(&mut self) -> Result<()> {
        (0..self.connections.len()).try_for_each(|index| self.start(index))
    }

    /// The next batch of a connection, if there is to be one.
    fn start(&mut self, index: usize) -> Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        self.in_flight += 1;
        let connection = &mut self.connections[index];
        (connection.unsent, connection.awaited) = (self.batch.len(), self.replies);
        connection.began = Instant::now();
        connection.send(&self.batch)
    }

    fn on_event(&mut self, index: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        let received = connection.receive(&mut self.discard)?;
        ensure!(received <= connection.awaited, "more came back than was sent");
        connection.awaited -= received;
        if connection.unsent > 0 {
            return connection.send(&self.batch);
        }
        if received > 0 && connection.awaited == 0 {
            self.recorder.batch(self.options.workload.depth, connection.began.elapsed());
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
            connection.unsent = self.flood_batch.len();
        }
        connection.send(&self.flood_batch)?;
        self.recorder.flooded += connection.receive(&mut self.discard)? as u64;
        Ok(())
    }
}
