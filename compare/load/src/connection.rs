//! An open connection.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};

use crate::connect;
use crate::frames::{Frames, Seen};
use crate::options::Protocol;
use crate::wire::{self, Message};

/// So long a server may be silent.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// What is read into: so much can be dropped at once.
pub(crate) const BUFFER: usize = 1 << 20;
/// So much is read to be looked at: that is a batch of small messages.
const LOOK: usize = 32 << 10;

/// A connection, which answers pings: a server that asks whether somebody is there is not to disturb what is measured.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    /// `None` where the stream has no frames.
    frames: Option<Frames>,
    /// Bytes of the batch that are not sent yet: its last ones.
    pub(crate) unsent: usize,
    /// Pongs that are not sent yet.
    pongs: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(protocol: Protocol, address: SocketAddr, index: usize) -> Result<Self> {
        let stream = connect::open(protocol, address, index)?;
        let frames = matches!(protocol, Protocol::Ws | Protocol::Wsz).then(Frames::default);
        Ok(Self { stream, frames, unsent: 0, pongs: Vec::new() })
    }

    /// As much of `batch`, and of pongs, as the socket takes.
    pub(crate) fn send(&mut self, batch: &[u8]) -> Result<()> {
        loop {
            // Not in the midst of a batch, which may be that of a frame.
            let answers = !self.pongs.is_empty() && (self.unsent == 0 || self.unsent == batch.len());
            let bytes = if answers { &self.pongs[..] } else { &batch[batch.len() - self.unsent..] };
            if bytes.is_empty() {
                return Ok(());
            }
            match self.stream.write(bytes) {
                Ok(length) if answers => drop(self.pongs.drain(..length)),
                Ok(length) => self.unsent -= length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("sending"),
            }
        }
    }

    /// Takes what is there, and says how many bytes of messages that was. Pings are noted, to be answered by
    /// [`send`](Self::send). Whoever wants to see the bytes gets them; else they are dropped in the kernel
    /// (`MSG_TRUNC`), as far as it is certain that they are a message's.
    pub(crate) fn receive(&mut self, buffer: &mut [u8], mut seen: Option<Seen<'_>>) -> Result<usize> {
        let mut received = 0;
        loop {
            let certain = self.frames.as_ref().map_or(usize::MAX, Frames::left);
            let (room, flags) = match seen.is_none() && certain > 0 {
                true => (certain.min(buffer.len()), MsgFlags::MSG_TRUNC),
                false => (LOOK.min(buffer.len()), MsgFlags::empty()),
            };
            let length = match recv(self.stream.as_raw_fd(), &mut buffer[..room], flags) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(length) => length,
                Err(Errno::EAGAIN) => return Ok(received),
                Err(error) => return Err(error).context("receiving"),
            };
            let mut message = |bytes: &[u8]| {
                received += bytes.len();
                seen.as_mut().map_or(Ok(()), |seen| seen(bytes))
            };
            match &mut self.frames {
                Some(frames) if flags.is_empty() => frames.take(&buffer[..length], &mut self.pongs, &mut message)?,
                Some(frames) => {
                    frames.skip(length);
                    received += length;
                }
                None => message(&buffer[..length])?,
            }
            if length < room {
                return Ok(received);
            }
        }
    }

    /// Sends `message`, compares what comes back byte for byte, and returns how many bytes that is on the wire.
    pub(crate) fn check(&mut self, message: &Message, buffer: &mut [u8]) -> Result<usize> {
        let mut reply = Vec::new();
        self.unsent = message.request.len();
        while self.unsent > 0 || !self.is_whole(&reply, message) {
            self.wait()?;
            self.send(&message.request)?;
            self.receive(buffer, Some(&mut |bytes| compare(&mut reply, bytes, message)))?;
        }
        if message.reply.is_empty() {
            ensure!(reply[0] & 0x40 != 0, "the reply is not compressed");
            let header = wire::header_length(reply[1]);
            let payload = wire::inflate(&reply[header..], message.payload.len())?;
            ensure!(payload == message.payload, "the reply differs from what was sent");
        }
        self.send(&[])?; // pongs
        Ok(reply.len())
    }

    fn is_whole(&self, reply: &[u8], message: &Message) -> bool {
        if message.reply.is_empty() {
            !reply.is_empty() && self.frames.as_ref().is_some_and(Frames::is_between)
        } else {
            reply.len() == message.reply.len()
        }
    }

    fn wait(&self) -> Result<()> {
        let out = if self.unsent > 0 { PollFlags::POLLOUT } else { PollFlags::empty() };
        wait(&self.stream, out | PollFlags::POLLIN)
    }
}

/// Waits for `events` on a stream.
pub(crate) fn wait(stream: &TcpStream, events: PollFlags) -> Result<()> {
    let ready = poll(&mut [PollFd::new(stream.as_fd(), events)], PollTimeout::try_from(PATIENCE)?)?;
    ensure!(ready > 0, "nothing happened for {PATIENCE:?}");
    Ok(())
}

/// Adds `bytes` to the `reply` so far; an error where they are not what was sent, as far as one knows what comes back.
fn compare(reply: &mut Vec<u8>, bytes: &[u8], message: &Message) -> Result<()> {
    let (begin, whole) = (reply.len(), message.reply.len());
    reply.extend_from_slice(bytes);
    if whole == 0 {
        return Ok(());
    }
    ensure!(reply.len() <= whole, "more came back than was sent: {} bytes and more, rather than {whole}", reply.len());
    let expected = &message.reply[begin..reply.len()];
    if let Some(at) = bytes.iter().zip(expected).position(|(came, sent)| came != sent) {
        let (came, sent) = (bytes[at], expected[at]);
        bail!("the reply differs from what was sent: byte {} of {whole} is {came:#04x}, not {sent:#04x}", begin + at);
    }
    Ok(())
}
