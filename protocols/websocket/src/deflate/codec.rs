//! A connection's part of it: who compresses how, by what was agreed on.

use bytes::Bytes;

use super::{Compression, Deflater, InflateError, Inflater, Memory, Parameters, WindowBits, pool};
use crate::frame::Role;
use crate::shared::Shared;

/// The compression of one connection, both ways.
#[derive(Debug)]
pub struct Codec {
    pub(super) window_bits: WindowBits,
    pub(super) level: u8,
    threshold: usize,
    pub(super) compressor: Memory,
    decompressor: Memory,
    /// The connection's own, from the first message on, while none is being sent in pieces.
    pub(super) deflater: Option<Deflater>,
    /// The peer was sent something that the connection's own compressor has not seen.
    pub(super) is_stale: bool,
    /// The connection's own, while no message is arriving.
    inflater: Option<Inflater>,
}

impl Codec {
    /// What this end does once `parameters` are agreed on.
    #[must_use]
    pub fn new(role: Role, parameters: &Parameters, compression: &Compression) -> Self {
        let server = (parameters.server_no_context_takeover, parameters.server_max_window_bits);
        let client = (parameters.client_no_context_takeover, parameters.client_max_window_bits);
        let ((forgets, most), (peer_forgets, _)) = match role {
            Role::Server => (server, client),
            Role::Client => (client, server),
        };
        Self {
            window_bits: most.map_or(compression.window_bits, |most| most.min(compression.window_bits)),
            level: compression.level.min(9),
            threshold: compression.threshold,
            compressor: if forgets { Memory::Shared } else { compression.compressor },
            // If the peer takes its context over, a shared one won't do, whatever was wished.
            decompressor: if peer_forgets { Memory::Shared } else { Memory::Dedicated },
            deflater: None,
            is_stale: false,
            inflater: None,
        }
    }

    /// Compresses a message into `out`, which it replaces. False if the message is better sent as it is.
    pub fn deflate(&mut self, message: &[u8], out: &mut Vec<u8>) -> bool {
        self.deflate_within(message, out, &mut |_| true)
    }

    /// The same, where `hold` agrees to how much [memory](Self::memory) the connection will then have of its own: without
    /// its agreement, the compressor of the thread does it.
    pub(crate) fn deflate_within(
        &mut self,
        message: &[u8],
        out: &mut Vec<u8>,
        hold: &mut dyn FnMut(usize) -> bool,
    ) -> bool {
        out.clear();
        if message.len() < self.threshold {
            return false;
        }
        let (window_bits, level) = (self.window_bits, self.level);
        let is_own = self.compressor == Memory::Dedicated
            && (self.deflater.is_some() || hold(self.memory() + Deflater::memory(window_bits)));
        if !is_own {
            // It refers to nothing before it, and nothing that follows refers to it: the connection has no own yet.
            pool::deflate(window_bits, level, message, out);
            return out.len() < message.len();
        }
        let deflater = self.deflater.get_or_insert_with(|| Deflater::new(window_bits, level));
        if std::mem::take(&mut self.is_stale) {
            deflater.reset();
        }
        // From here on the peer's window must have it, even if it did not become shorter.
        deflater.deflate(message, out);
        true
    }

    /// The compressed form of a message that many get, made once for all of them. `None` if it is better sent as it is.
    pub(crate) fn deflate_shared(&mut self, message: &Shared) -> Option<Bytes> {
        if message.plain().len() < self.threshold {
            return None;
        }
        let form = message.compressed(self.window_bits, self.level)?;
        // The peer's window moves on by this message: what the own compressor remembers lies elsewhere in it.
        self.is_stale = true;
        Some(form)
    }

    /// A compressed message begins to arrive. Given [back](Self::end) when it has arrived.
    #[must_use]
    pub fn begin(&mut self) -> Incoming {
        let inflater = match self.decompressor {
            Memory::Dedicated => self.inflater.take().unwrap_or_default(),
            Memory::Shared => pool::inflater(),
        };
        Incoming { inflater: Some(inflater), memory: self.decompressor }
    }

    /// The message has arrived whole.
    ///
    /// # Errors
    /// [`InflateError`] if it is not whole: see [`Inflater::finish`].
    pub fn end(&mut self, mut incoming: Incoming) -> Result<(), InflateError> {
        let Some(mut inflater) = incoming.inflater.take() else { return Ok(()) };
        match incoming.memory {
            Memory::Dedicated => {
                inflater.finish()?;
                self.inflater = Some(inflater);
                Ok(())
            }
            Memory::Shared => {
                let finished = inflater.finish_and_reset();
                pool::keep_inflater(inflater);
                finished
            }
        }
    }

    /// Bytes of memory that are the connection's own, about: those of the compressor and the decompressor, where they
    /// are dedicated and in use.
    #[must_use]
    pub fn memory(&self) -> usize {
        let deflater = if self.deflater.is_some() { Deflater::memory(self.window_bits) } else { 0 };
        deflater + self.inflater.as_ref().map_or(0, Inflater::memory)
    }
}

/// The decompressor of a message that is arriving.
#[derive(Debug)]
pub struct Incoming {
    /// There until it is given back or dropped.
    inflater: Option<Inflater>,
    memory: Memory,
}

impl Incoming {
    /// Whether the decompressor is the thread's.
    pub(crate) fn is_shared(&self) -> bool {
        self.memory == Memory::Shared
    }

    /// Takes the next part of the message: see [`Inflater::push`].
    ///
    /// # Errors
    /// [`InflateError::Corrupt`], or what `sink` gives.
    pub fn push<E: From<InflateError>>(
        &mut self,
        input: &[u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.inflater.as_mut().map_or(Ok(()), |inflater| inflater.push(input, sink))
    }

    /// Takes some of the next part of the message: see [`Inflater::step`].
    ///
    /// # Errors
    /// [`InflateError::Corrupt`].
    pub fn step(&mut self, input: &[u8], piece: &mut [u8]) -> Result<(usize, usize), InflateError> {
        self.inflater.as_mut().map_or(Ok((input.len(), 0)), |inflater| inflater.step(input, piece))
    }
}

/// A message that is not going to end: the thread's decompressor goes back.
impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(inflater) = self.inflater.take()
            && self.memory == Memory::Shared
        {
            pool::keep_inflater(inflater);
        }
    }
}
