//! A connection's part of it: who compresses how, by what was agreed on.

use super::{Compression, Deflater, InflateError, Inflater, Memory, Parameters, WindowBits, pool};
use crate::frame::Role;

/// The compression of one connection, both ways.
#[derive(Debug)]
pub struct Codec {
    window_bits: WindowBits,
    level: u8,
    threshold: usize,
    compressor: Memory,
    decompressor: Memory,
    /// The connection's own, from the first message on.
    deflater: Option<Deflater>,
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
            inflater: None,
        }
    }

    /// Compresses a message into `out`, which it replaces. False if the message is better sent as it is.
    pub fn deflate(&mut self, message: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        if message.len() < self.threshold {
            return false;
        }
        let (window_bits, level) = (self.window_bits, self.level);
        match self.compressor {
            // From here on the peer's window must have it, even if it did not become shorter.
            Memory::Dedicated => {
                self.deflater.get_or_insert_with(|| Deflater::new(window_bits, level)).deflate(message, out);
                true
            }
            Memory::Shared => {
                let mut deflater = pool::deflater(window_bits, level);
                deflater.deflate(message, out);
                pool::keep_deflater(window_bits, level, deflater);
                out.len() < message.len()
            }
        }
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
        deflater + if self.inflater.is_some() { Inflater::MEMORY } else { 0 }
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
