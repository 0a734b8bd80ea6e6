//! A message that did not arrive whole in one frame and one read: put together here, or handed on in pieces.

use switchboard::{Context, LimitExceeded, TimerId};

use crate::deflate::{Incoming, InflateError, Inflater};
use crate::frame::{Header, OpCode};
use crate::gathered::Gathered;
use crate::mask::{self, Key};
use crate::utf8::{self, Decoder, InvalidUtf8};
use crate::{Delivery, Message, Settings, error::MessageLimit};

mod buffer;

/// What has arrived of a message: unmasked and checked as it came, and not looked at again.
///
/// Its buffer grows with what has arrived. What a header declares bounds that growth, and causes none.
#[derive(Debug)]
pub(crate) struct Assembly {
    pub(super) content: Content,
    /// The message is compressed.
    pub(super) incoming: Option<Incoming>,
    /// The first byte left has been given to the decompressor already, which may have more to give out.
    pub(super) is_fed: bool,
    /// When it must have arrived, if it is put together.
    pub(crate) timer: Option<TimerId>,
    /// See [`is_at_once`](Self::is_at_once).
    is_at_once: bool,
    /// Bytes of payload that have arrived.
    size: u64,
    /// Bytes of its payload at the beginning of what is offered next that are unmasked already.
    unmasked: usize,
    /// Bytes of the message, those of a character not complete yet included: as many, if it is not compressed.
    pub(super) plain: u64,
    /// Bytes of the present frame's payload that have not arrived.
    left: u64,
    /// The present frame's masking key, turned to the next byte.
    key: Key,
    /// The present frame is the last one.
    fin: bool,
    fragments: u32,
}

/// Why a part of a message is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Text(InvalidUtf8),
    Compressed(InflateError),
    Limit(MessageLimit),
    /// The loop has no memory left for it.
    Memory(LimitExceeded),
}

impl From<InflateError> for Refusal {
    fn from(error: InflateError) -> Self {
        Self::Compressed(error)
    }
}

#[derive(Debug)]
pub(super) enum Content {
    Text(Gathered, Decoder),
    Binary(Gathered),
    /// Of a message that is handed on in pieces nothing is kept.
    TextPieces(Decoder),
    BinaryPieces,
}

impl Assembly {
    /// A message that begins with a frame of this opcode, with what decompresses it.
    pub(crate) fn new(opcode: OpCode, delivery: Delivery, incoming: Option<Incoming>) -> Self {
        let content = match (opcode, delivery) {
            (OpCode::Text, Delivery::Whole) => Content::Text(Gathered::default(), Decoder::new()),
            (OpCode::Text, Delivery::Pieces) => Content::TextPieces(Decoder::new()),
            (_, Delivery::Whole) => Content::Binary(Gathered::default()),
            (_, Delivery::Pieces) => Content::BinaryPieces,
        };
        let (is_fed, timer, key) = (false, None, [0; 4]);
        Self {
            content,
            incoming,
            is_fed,
            is_at_once: false,
            timer,
            size: 0,
            unmasked: 0,
            plain: 0,
            left: 0,
            key,
            fin: false,
            fragments: 0,
        }
    }

    /// The next frame of the message begins; its payload is to be [absorbed](Self::absorb).
    pub(crate) fn begin_frame(&mut self, header: Header, settings: &Settings) -> Result<(), MessageLimit> {
        let size = header.payload.saturating_add(self.size);
        let limit = if self.is_in_pieces() { settings.max_streamed } else { settings.max_message as u64 };
        // At worst, compression makes nine bits of eight, and a flush before each frame's end some octets more.
        let more = if self.incoming.is_some() { limit / 8 + 64 + 16 * u64::from(self.fragments) } else { 0 };
        let most = limit.saturating_add(more);
        if size > most {
            return Err(self.too_long(size, settings));
        }
        let limit = if self.is_in_pieces() { settings.max_streamed_fragments } else { settings.max_fragments };
        if self.fragments == limit && self.is_in_pieces() {
            return Err(MessageLimit::StreamedFragments { limit });
        }
        if self.fragments == limit {
            return Err(MessageLimit::Fragments { limit });
        }
        self.fragments += 1;
        (self.left, self.key, self.fin) = (header.payload, header.mask.unwrap_or_default(), header.fin);
        Ok(())
    }

    fn too_long(&self, size: u64, settings: &Settings) -> MessageLimit {
        if self.is_in_pieces() {
            MessageLimit::Streamed { size, limit: settings.max_streamed }
        } else {
            MessageLimit::Size { size, limit: settings.max_message }
        }
    }

    /// As many bytes of it as `plain` more make, if they are not too many.
    pub(super) fn add_plain(&mut self, plain: usize, settings: &Settings) -> Result<(), MessageLimit> {
        let limit = if self.is_in_pieces() { settings.max_streamed } else { settings.max_message as u64 };
        self.plain = self.plain.saturating_add(plain as u64);
        if self.plain > limit { Err(self.too_long(self.plain, settings)) } else { Ok(()) }
    }

    /// Whether it is handed on in pieces.
    pub(crate) fn is_in_pieces(&self) -> bool {
        matches!(self.content, Content::TextPieces(_) | Content::BinaryPieces)
    }

    /// Bytes of the present frame's payload that have not arrived.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// How many of `available` bytes are the present frame's payload.
    pub(crate) fn here(&self, available: usize) -> usize {
        usize::try_from(self.left).map_or(available, |left| left.min(available))
    }

    /// Whether the message is compressed, and all of it here, within `available` bytes. What is then inflated at once, by a
    /// decompressor that is the thread's and goes back, does not have the connection hold one: connections with small
    /// messages are served when others have taken all the memory that the loop may hold.
    pub(crate) fn is_at_once(&mut self, available: usize) -> bool {
        self.is_at_once = self.fragments == 1 && self.fin && self.left <= available as u64 && !self.is_in_pieces();
        self.is_at_once &= self.incoming.as_ref().is_some_and(Incoming::is_shared);
        self.is_at_once
    }

    /// Whether another frame of the message is to come after the present one.
    pub(crate) fn expects_frame(&self) -> bool {
        !self.fin
    }

    /// Whether the last frame has arrived whole.
    pub(crate) fn is_complete(&self) -> bool {
        self.fin && self.left == 0
    }

    /// Bytes of memory it takes.
    pub(crate) fn capacity(&self) -> usize {
        self.inflater() + self.buffer()
    }

    /// The same for its decompressor alone.
    fn inflater(&self) -> usize {
        if self.incoming.is_some() && !self.is_at_once { Inflater::MOST_MEMORY } else { 0 }
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.incoming.is_some()
    }

    /// The decompressor, once the message [is complete](Self::is_complete).
    pub(crate) fn take_incoming(&mut self) -> Option<Incoming> {
        self.incoming.take()
    }

    /// Whether nothing of it is in a buffer yet, and none is needed if all of it can be waited for where it lies.
    pub(crate) fn can_stay(&self) -> bool {
        self.fragments == 1 && self.fin && self.plain == 0 && !self.is_compressed() && !self.is_in_pieces()
    }

    /// Whether it is waited for where it lies.
    pub(crate) fn stays(&self) -> bool {
        self.unmasked > 0
    }

    /// Unmasks what has arrived of a message that [can stay](Self::can_stay) where it lies, and is offered there again.
    pub(crate) fn unmask_there(&mut self, payload: &mut [u8]) {
        unmask(&mut payload[self.unmasked..], mask::advance(self.key, self.unmasked));
        self.unmasked = payload.len();
    }

    /// Takes the next `payload.len()` (at most [`left`](Self::left)) bytes of the present frame, as they came.
    pub(crate) fn absorb(&mut self, payload: &mut [u8]) -> Result<(), InvalidUtf8> {
        /// What is copied while it is in the fastest cache, where it was unmasked; whole keys.
        const BLOCK: usize = 4096;
        for block in payload.chunks_mut(BLOCK) {
            self.unmask(block);
            self.add(block);
        }
        if self.is_complete() { Ok(()) } else { self.check_last(payload.len()) }
    }

    /// The same of `count` bytes that were read straight into the [room](Self::room) for them.
    pub(crate) fn absorb_filled(&mut self, count: usize) -> Result<(), InvalidUtf8> {
        let key = self.key;
        self.passed(count);
        self.plain += count as u64;
        let Some(payload) = self.gathered().map(|bytes| bytes.filled(count)) else { return Ok(()) };
        unmask(payload, key);
        if self.is_complete() { Ok(()) } else { self.check_last(count) }
    }

    /// The same of a compressed message. It grows by what comes out. `others`: what the connection holds besides.
    pub(crate) fn inflate(
        &mut self,
        cx: &mut Context<'_>,
        payload: &mut [u8],
        settings: &Settings,
        others: usize,
    ) -> Result<(), Refusal> {
        self.unmask(payload);
        let others = others + self.inflater();
        let Some(mut incoming) = self.incoming.take() else { return Ok(()) };
        let inflated = incoming.push(payload, &mut |piece| {
            let (size, limit) = (self.plain + piece.len() as u64, settings.max_message);
            if size > limit as u64 {
                return Err(Refusal::Limit(MessageLimit::Size { size, limit }));
            }
            if let Some(capacity) = self.capacity_for(piece.len(), settings) {
                self.enlarge(cx, piece.len(), capacity, others).map_err(Refusal::Memory)?;
            }
            self.add(piece);
            self.check_last(piece.len()).map_err(Refusal::Text)
        });
        self.incoming = Some(incoming);
        inflated
    }

    pub(super) fn unmask(&mut self, payload: &mut [u8]) {
        let done = self.unmasked.min(payload.len());
        self.unmasked -= done;
        unmask(&mut payload[done..], mask::advance(self.key, done));
        self.passed(payload.len());
    }

    /// So many bytes of the present frame's payload are done with.
    pub(super) fn passed(&mut self, count: usize) {
        self.key = mask::advance(self.key, count);
        self.size += count as u64;
        self.left -= count as u64;
    }

    /// What masks the next byte, and those after it.
    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// Whether a text can be valid so far, of which all but the last `count` bytes were checked. One that is complete is
    /// checked as a [whole](Self::message).
    fn check_last(&mut self, count: usize) -> Result<(), InvalidUtf8> {
        match &mut self.content {
            Content::Text(bytes, decoder) => decoder.push(&bytes[bytes.len() - count..]).map(|_| ()),
            _ => Ok(()),
        }
    }

    fn add(&mut self, plain: &[u8]) {
        self.plain += plain.len() as u64;
        if let Some(bytes) = self.gathered() {
            bytes.append(plain);
        }
    }

    /// The opcode that it began with.
    pub(crate) fn opcode(&self) -> OpCode {
        match self.content {
            Content::Text(..) | Content::TextPieces(_) => OpCode::Text,
            Content::Binary(_) | Content::BinaryPieces => OpCode::Binary,
        }
    }

    /// The message, once it [is complete](Self::is_complete); of one that was handed on in pieces, what is left: nothing.
    pub(crate) fn message(&self) -> Result<Message<'_>, InvalidUtf8> {
        debug_assert!(self.is_complete());
        match &self.content {
            // It was checked part by part, so as to be refused early; to be lent as text it is checked once more.
            Content::Text(bytes, _) => utf8::check(bytes).map(Message::Text),
            Content::Binary(bytes) => Ok(Message::Binary(bytes)),
            Content::TextPieces(decoder) => decoder.finish().map(|()| Message::Text("")),
            Content::BinaryPieces => Ok(Message::Binary(b"")),
        }
    }
}

/// A server's frames have no key, which changes as much as one of zeros.
fn unmask(payload: &mut [u8], key: Key) {
    if key != [0; 4] {
        mask::apply(payload, key);
    }
}

#[cfg(test)]
#[path = "assembly_tests.rs"]
mod tests;
