//! What a connection sends: whole messages and control frames.

use bytes::Bytes;
use switchboard::Context;

use crate::assembly::Assembly;
use crate::deflate;
use crate::frame::{self, Header, OpCode};
use crate::mask;
use crate::shared::Shared;
use crate::state::{Phase, Side, State};

/// A payload of fewer bytes goes straight into the loop's buffer, which saves some 20 instructions; how to send a longer
/// one best is the loop's to know.
pub(crate) const LARGE: usize = 4096;

/// The same for a client, whose payload is copied in any case, since it is masked: in the loop's buffer as long as that has
/// room, which costs no allocation.
const MASKED_LARGE: usize = 32 * 1024;

impl State {
    /// Sends a whole message or a control frame, unless a close frame was sent or received: nothing may follow those
    /// (RFC 6455 §5.5.1).
    #[inline]
    pub(crate) fn send(&mut self, cx: &mut Context<'_>, opcode: OpCode, payload: &[u8]) {
        if self.side == Side::PlainServer
            && matches!(self.phase, Phase::Open)
            && payload.len() < LARGE
            && let Some(out) = cx.send_buffer()
        {
            frame::write_unmasked(opcode, payload.len(), out);
            out.extend_from_slice(payload);
        } else {
            self.send_otherwise(cx, opcode, payload);
        }
    }

    /// The same for whatever is longer, for a client, which masks, and for who compresses.
    #[inline(never)]
    fn send_otherwise(&mut self, cx: &mut Context<'_>, opcode: OpCode, payload: &[u8]) {
        if !matches!(self.phase, Phase::Open) {
            return self.send_between(cx, opcode, payload);
        }
        if opcode.is_control() || !self.send_compressed(cx, opcode, payload) {
            self.write_frame(cx, Header { fin: true, compressed: false, opcode, mask: None, payload: 0 }, payload);
        }
    }

    /// The same without copying the payload, of which there is one compressed form for many peers, too; but a client
    /// masks a copy of it.
    pub(crate) fn send_shared(&mut self, cx: &mut Context<'_>, opcode: OpCode, message: &Shared) {
        if !matches!(self.phase, Phase::Open) {
            return self.defer(cx, opcode, message.clone());
        }
        let form = self.codec_mut().and_then(|codec| codec.deflate_shared(message));
        let (compressed, payload) = (form.is_some(), form.unwrap_or_else(|| message.plain().clone()));
        if self.is_client() {
            return self.write_masked(cx, Header { fin: true, compressed, opcode, mask: None, payload: 0 }, &payload);
        }
        let header = Header { fin: true, compressed, opcode, mask: None, payload: payload.len() as u64 };
        match cx.send_buffer() {
            Some(out) => out.extend_from_slice(&header.encode()),
            None => return self.count_unsent(),
        }
        cx.send_shared(payload);
    }

    /// Sends a message compressed, if that is worth it. False if it is to be sent as it is.
    fn send_compressed(&mut self, cx: &mut Context<'_>, opcode: OpCode, message: &[u8]) -> bool {
        let messages = self.assembly().map_or(0, Assembly::capacity);
        let Some(codec) = self.codec_mut() else { return false };
        let before = codec.memory();
        // A compressor of the connection's own is there to stay; where the loop has no memory for one, the thread's does.
        let hold = &mut |own: usize| hold_or_keep(cx, messages + own, messages + before);
        let mut payload = deflate::buffer();
        let compressed = codec.deflate_within(message, &mut payload, hold);
        if compressed {
            self.write_frame(cx, Header { fin: true, compressed: true, opcode, mask: None, payload: 0 }, &payload);
        }
        deflate::keep_buffer(payload);
        compressed
    }

    /// Sends a frame, masked or not, as it must be. The header is given without key and length.
    pub(crate) fn write_frame(&mut self, cx: &mut Context<'_>, header: Header, payload: &[u8]) {
        if self.is_client() {
            return self.write_masked(cx, header, payload);
        }
        let header = Header { payload: payload.len() as u64, ..header };
        match cx.send_buffer() {
            Some(out) => out.extend_from_slice(&header.encode()),
            None => return self.count_unsent(),
        }
        cx.send(payload);
    }

    /// Each frame of a client has a key of its own, which nobody can foresee (RFC 6455 §5.3, §10.3).
    fn write_masked(&mut self, cx: &mut Context<'_>, header: Header, payload: &[u8]) {
        let mut key = mask::Key::default();
        cx.random(&mut key);
        let header = Header { mask: Some(key), payload: payload.len() as u64, ..header }.encode();
        let Some(out) = cx.send_buffer() else { return self.count_unsent() };
        out.extend_from_slice(&header);
        if payload.len() < MASKED_LARGE {
            mask::append(out, payload, key);
        } else {
            send_masked(cx, payload, key);
        }
    }

    /// A message or a control frame while another message is being sent in pieces, or none can be sent at all.
    #[cold]
    fn send_between(&mut self, cx: &mut Context<'_>, opcode: OpCode, payload: &[u8]) {
        match &self.phase {
            // They may come between the frames of a message (RFC 6455 §5.4).
            Phase::Sending(_) if opcode.is_control() => {
                let header = Header { fin: true, compressed: false, opcode, mask: None, payload: 0 };
                self.write_frame(cx, header, payload);
            }
            Phase::Sending(_) => self.defer(cx, opcode, Shared::new(Bytes::copy_from_slice(payload))),
            _ => self.count_unsent(),
        }
    }

    /// A message that was to be sent is dropped.
    #[cold]
    pub(crate) fn count_unsent(&mut self) {
        self.unsent = self.unsent.saturating_add(1);
    }
}

/// Sends a payload masked: in a copy that is made where others were, as long as large messages come and go.
fn send_masked(cx: &mut Context<'_>, payload: &[u8], key: mask::Key) {
    /// What is masked while it is in the fastest cache; whole keys.
    const BLOCK: usize = 4096;
    let len = payload.len();
    let mut copy = cx.take_spare(len..=len.saturating_mul(4)).unwrap_or_else(|| vec![0; len]);
    for (block, plain) in copy.chunks_mut(BLOCK).zip(payload.chunks(BLOCK)) {
        let block = &mut block[..plain.len()];
        block.copy_from_slice(plain);
        mask::apply(block, key);
    }
    cx.send(&copy[..len]);
    cx.give_spare(copy);
}

/// Declares that `bytes` are held, and if that is too much, that they are as many as `before`.
pub(crate) fn hold_or_keep(cx: &mut Context<'_>, bytes: usize, before: usize) -> bool {
    let held = cx.hold(bytes).is_ok();
    if !held {
        let _ = cx.hold(before);
    }
    held
}
