//! Decompressing messages as they arrive (RFC 7692 §7.2.2).

use flate2::{Decompress, FlushDecompress, Status};
use thiserror::Error;

use super::TAIL;

/// The most bytes that are given out at once.
pub const PIECE: usize = 8 * 1024;

/// How far back a message can refer, at most.
const WINDOW: usize = 32 * 1024;

/// How much of what was given out is kept: more than the window, so that not every piece has to move it.
const HISTORY: usize = WINDOW + PIECE;

/// The peer sent compressed data that is none. The connection must be failed, with close code 1007 as most do, or 1002.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum InflateError {
    /// Not DEFLATE (RFC 1951), or a reference to what never was.
    #[error("a compressed message is not valid DEFLATE (RFC 7692 §7.2.2)")]
    Corrupt,
    /// The message ends within a DEFLATE block.
    #[error("a compressed message ends within a block (RFC 7692 §7.2.1)")]
    Incomplete,
    /// More than [`Inflater::message`] was allowed.
    #[error("a compressed message of more than {limit} bytes")]
    TooLong {
        /// Bytes allowed.
        limit: usize,
    },
}

/// A decompressor, with a window of 32 KiB: it reads what was compressed with any.
///
/// After an error it is of no use any more, but for [`reset`](Self::reset).
#[derive(Debug)]
pub struct Inflater {
    /// In a box: what a connection has before it needs one stays small.
    stream: Box<Decompress>,
    /// Something has come since the last block that is known to have ended.
    is_within: bool,
    /// What was given out last. zlib forgets its window at a block that says it is the last one (BFINAL), although
    /// what follows may refer back behind it (RFC 7692 §7.2.3.4): it is reminded by this.
    history: Vec<u8>,
}

impl Default for Inflater {
    fn default() -> Self {
        Self::new()
    }
}

impl Inflater {
    /// Bytes of memory that one takes, or a little less, before it has seen anything.
    pub const MEMORY: usize = 48 * 1024;

    /// The same at most.
    pub const MOST_MEMORY: usize = Self::MEMORY + HISTORY;

    /// Bytes of memory that this one takes, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        Self::MEMORY + self.history.capacity()
    }

    /// One that has seen no message.
    #[must_use]
    pub fn new() -> Self {
        Self { stream: Box::new(Decompress::new(false)), is_within: false, history: Vec::new() }
    }

    /// Takes the next part of a message, and gives out what it inflates to, by pieces of at most [`PIECE`] bytes.
    ///
    /// # Errors
    /// [`InflateError::Corrupt`], or what `sink` gives, who may want no more.
    pub fn push<E: From<InflateError>>(
        &mut self,
        input: &[u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.run(input, &mut [0; PIECE], sink)
    }

    /// The same with `piece` for what is given out.
    fn run<E: From<InflateError>>(
        &mut self,
        input: &[u8],
        piece: &mut [u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = input;
        loop {
            let (read, written) = self.step(rest, piece)?;
            rest = &rest[read..];
            if written > 0 {
                sink(&piece[..written])?;
            }
            if rest.is_empty() && written < piece.len() {
                return Ok(());
            }
        }
    }

    /// Takes some of the next part of a message, and inflates it into `piece` as far as there is room: how many bytes were
    /// taken, and how many written. Where `piece` was filled there may be more to come, also without input.
    ///
    /// # Errors
    /// [`InflateError::Corrupt`].
    pub fn step(&mut self, input: &[u8], piece: &mut [u8]) -> Result<(usize, usize), InflateError> {
        self.is_within |= !input.is_empty();
        let (read, written) = (self.stream.total_in(), self.stream.total_out());
        let status = self.stream.decompress(input, piece, FlushDecompress::None);
        let count = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(usize::MAX);
        let (read, written) = (count(self.stream.total_in(), read), count(self.stream.total_out(), written));
        let status = status.map_err(|_| InflateError::Corrupt)?;
        self.remember(&piece[..written]);
        match status {
            Status::StreamEnd => self.go_on()?,
            _ if read == input.len() || written == piece.len() => {}
            _ => return Err(InflateError::Corrupt), // it takes everything for which it has room
        }
        Ok((read, written))
    }

    /// The message has ended.
    ///
    /// # Errors
    /// [`InflateError`]. Of an unfinished message, [`InflateError::Incomplete`] where it can be told.
    pub fn finish(&mut self) -> Result<(), InflateError> {
        self.push_tail()
    }

    /// The same where no later message refers back to this one; it is forgotten.
    ///
    /// # Errors
    /// [`InflateError`], [`Incomplete`](InflateError::Incomplete) for every message that ends within a block.
    pub fn finish_and_reset(&mut self) -> Result<(), InflateError> {
        let finished = self.push_tail().and_then(|()| {
            // A last block, with nothing in it, can be nowhere but behind another.
            let end = self.stream.decompress(&[0x03, 0x00], &mut [0; 8], FlushDecompress::None);
            if matches!(end, Ok(Status::StreamEnd)) { Ok(()) } else { Err(InflateError::Incomplete) }
        });
        self.reset();
        finished
    }

    /// Forgets the messages so far.
    pub fn reset(&mut self) {
        self.stream.reset(false);
        self.is_within = false;
        self.history.clear();
    }

    /// Inflates a whole message, into a buffer that grows with it.
    ///
    /// # Errors
    /// [`InflateError`]; [`TooLong`](InflateError::TooLong), of a message of more than `limit` bytes, as soon as it shows.
    pub fn message(&mut self, payload: &[u8], limit: usize) -> Result<Vec<u8>, InflateError> {
        let mut message: Vec<u8> = Vec::new();
        self.push(payload, &mut |piece| {
            let size = message.len() + piece.len();
            if size > limit {
                return Err(InflateError::TooLong { limit });
            }
            if size > message.capacity() {
                message.reserve_exact(size.max((2 * message.capacity()).min(limit)) - message.len());
            }
            message.extend_from_slice(piece);
            Ok(())
        })?;
        self.finish()?;
        Ok(message)
    }

    /// What the sender removed from the message (RFC 7692 §7.2.2). It has nothing in it to give out.
    fn push_tail(&mut self) -> Result<(), InflateError> {
        // No bytes at all, or none behind a last block: some send empty messages, and the ends of others, like this. The
        // window stays in order.
        if self.is_within {
            self.run(&TAIL, &mut [0; 16], &mut |_| Err(InflateError::Incomplete))?;
            self.is_within = false;
        }
        Ok(())
    }

    fn remember(&mut self, output: &[u8]) {
        let output = &output[output.len().saturating_sub(WINDOW)..];
        let mut needed = self.history.len() + output.len();
        if needed > HISTORY {
            self.history.drain(..needed - WINDOW);
            needed = WINDOW;
        }
        if needed > self.history.capacity() {
            let capacity = needed.max((2 * self.history.capacity()).min(HISTORY));
            self.history.reserve_exact(capacity - self.history.len());
        }
        self.history.extend_from_slice(output);
    }

    /// A block has said that it is the last one. What follows, from the next byte on, are other blocks.
    fn go_on(&mut self) -> Result<(), InflateError> {
        self.stream.reset(false);
        self.is_within = false;
        let window = &self.history[self.history.len().saturating_sub(WINDOW)..];
        if !window.is_empty() {
            self.stream.set_dictionary(window).map_err(|_| InflateError::Corrupt)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "inflater_tests.rs"]
mod tests;
