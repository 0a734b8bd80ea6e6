//! Connections that come, have one message echoed, and go.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use serde::Serialize;

use crate::connect;
use crate::connection::PATIENCE;
use crate::options::{Protocol, Workload};
use crate::process::Usage;
use crate::wire::{self, Message};

/// Connections, so many at a time, for so long.
#[derive(Clone, Debug)]
pub struct Churn {
    /// What the server speaks: TCP or WebSocket.
    pub protocol: Protocol,
    /// Where it listens.
    pub address: SocketAddr,
    /// Connections at a time.
    pub width: usize,
    /// New ones are opened for so long.
    pub duration: Duration,
    /// The process whose processor time is reported.
    pub server: Option<u32>,
}

/// The result of [`churn`].
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ChurnReport {
    /// Connections that were opened, echoed 20 bytes, and were closed by both sides.
    pub connections: u64,
    /// Those in a second.
    pub rate: f64,
    /// Seconds of processor time that the server used for a thousand of them.
    pub server_seconds_a_thousand: Option<f64>,
}

enum State {
    /// The handshake's response so far.
    Upgrading(Vec<u8>),
    /// The reply so far.
    Echoing(Vec<u8>),
    /// The end of the stream is what is missing.
    Closing,
}

struct Visit {
    stream: TcpStream,
    state: State,
    /// What is to be written as soon as the connection is open.
    first: bool,
}

/// Opens connections; each waits until the server, too, has closed it.
pub fn churn(options: &Churn) -> Result<ChurnReport> {
    ensure!(matches!(options.protocol, Protocol::Tcp | Protocol::Ws), "only TCP and WebSocket, uncompressed");
    let message = Message::new(options.protocol, Workload { depth: 1, size: 20, text: None });
    let upgrade = wire::upgrade_request(options.protocol);
    let upgrade = (options.protocol == Protocol::Ws).then_some(&*upgrade);
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut opened = 0;
    let mut open = |slot: usize| {
        let stream = connect::begin(options.address, opened)?;
        opened += 1;
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        epoll.add(&stream, EpollEvent::new(flags, slot as u64))?;
        let state = if upgrade.is_some() { State::Upgrading(Vec::new()) } else { State::Echoing(Vec::new()) };
        anyhow::Ok(Visit { stream, state, first: true })
    };
    let before = options.server.map(Usage::of).transpose()?;
    let began = Instant::now();
    let mut visits = (0..options.width).map(|slot| open(slot).map(Some)).collect::<Result<Vec<_>>>()?;
    let mut events = vec![EpollEvent::empty(); options.width];
    let (mut heard, mut finished, mut current) = (began, 0, options.width);
    while current > 0 {
        let count = epoll.wait(&mut events, EpollTimeout::from(100_u8))?;
        let now = Instant::now();
        if count > 0 {
            heard = now;
        }
        ensure!(now - heard < PATIENCE, "{current} connections came to nothing within {PATIENCE:?}");
        for event in &events[..count] {
            let slot = usize::try_from(event.data())?;
            let Some(visit) = &mut visits[slot] else { continue };
            if visit.advance(options.protocol, upgrade, &message).context("a visit")? {
                finished += 1;
                visits[slot] = None;
                match now - began < options.duration {
                    true => visits[slot] = Some(open(slot)?),
                    false => current -= 1,
                }
            }
        }
    }
    let used = options.server.map(Usage::of).transpose()?.zip(before).map(|(after, before)| after - before);
    let connections = finished as f64;
    Ok(ChurnReport {
        connections: finished,
        rate: connections / began.elapsed().as_secs_f64(),
        server_seconds_a_thousand: used.map(|used| used.running as f64 / 1e9 / (connections / 1e3)),
    })
}

impl Visit {
    /// As far as it comes; whether that is the end.
    fn advance(&mut self, protocol: Protocol, upgrade: Option<&[u8]>, message: &Message) -> Result<bool> {
        if self.first {
            match self.stream.write(upgrade.unwrap_or(&message.request)) {
                Ok(_) => self.first = false, // a socket that has just been opened has room for it
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error).context("connecting"),
            }
        }
        loop {
            let mut bytes = [0; 1024];
            let length = match self.stream.read(&mut bytes) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error).context("receiving"),
            };
            match &mut self.state {
                State::Closing if length == 0 => return Ok(true),
                State::Closing => {} // the close frame's answer
                _ if length == 0 => bail!("the server closed a connection"),
                State::Upgrading(response) => {
                    response.extend_from_slice(&bytes[..length]);
                    if wire::is_upgraded(protocol, response)? {
                        self.stream.write_all(&message.request)?;
                        self.state = State::Echoing(Vec::new());
                    }
                }
                State::Echoing(reply) => {
                    reply.extend_from_slice(&bytes[..length]);
                    if reply.len() >= message.reply.len() {
                        ensure!(*reply == message.reply, "the reply differs from what was sent");
                        self.close(protocol)?;
                    }
                }
            }
        }
    }

    fn close(&mut self, protocol: Protocol) -> Result<()> {
        match protocol {
            Protocol::Ws => self.stream.write_all(&wire::CLOSE)?,
            _ => self.stream.shutdown(Shutdown::Write)?,
        }
        self.state = State::Closing;
        Ok(())
    }
}
