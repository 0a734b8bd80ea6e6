//! A message that is sent in pieces, and what waits until it has ended.

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use switchboard::{Context, Failure, LimitExceeded};

use crate::assembly::Assembly;
use crate::deflate;
use crate::error::UsageError;
use crate::frame::{Header, OpCode};
use crate::pool;
use crate::sending::hold_or_keep;
use crate::shared::Shared;
use crate::state::{Phase, State};

/// What a message that waits takes, besides its bytes.
const OVERHEAD: usize = 2 * size_of::<(OpCode, Shared)>() + Shared::OVERHEAD;

/// Where a message is that has begun to be sent in pieces, one frame each.
#[derive(Debug)]
pub(crate) struct Sending {
    /// Of its first frame; a continuation's once that was sent.
    next: OpCode,
    is_text: bool,
    compressor: Option<deflate::Outgoing>,
    /// Messages that were to be sent meanwhile: between the frames of one no other may come (RFC 6455 §5.4).
    waiting: VecDeque<(OpCode, Shared)>,
    /// Bytes that those are charged with.
    bytes: usize,
    /// There were too many.
    failure: Option<LimitExceeded>,
}

impl Sending {
    /// Bytes of memory it takes.
    pub(crate) fn memory(&self) -> usize {
        self.bytes + self.compressor.as_ref().map_or(0, deflate::Outgoing::memory)
    }

    /// Bytes of the messages that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.bytes
    }

    /// How many messages are never sent if it does not go on: those that wait, and itself.
    pub(crate) fn unsent(&self) -> u32 {
        u32::try_from(self.waiting.len() + 1).unwrap_or(u32::MAX)
    }

    /// Why the connection must fail, if it must.
    pub(crate) fn failure(&self) -> Option<LimitExceeded> {
        self.failure
    }
}

impl State {
    /// Sends the next piece of a message; with the first it begins, with the last it ends.
    pub(crate) fn send_piece(
        &mut self,
        cx: &mut Context<'_>,
        opcode: OpCode,
        piece: &[u8],
        last: bool,
    ) -> Result<(), Failure> {
        match &self.phase {
            Phase::Open if last => self.send(cx, opcode, piece),
            Phase::Open => {
                self.begin_sending(cx, opcode);
                self.send_next(cx, piece, false);
            }
            Phase::Sending(sending) if sending.is_text != (opcode == OpCode::Text) => {
                return Err(Failure::caller(UsageError::MixedPieces));
            }
            Phase::Sending(_) => self.send_next(cx, piece, last),
            _ if last => self.count_unsent(),
            _ => {}
        }
        Ok(())
    }

    fn begin_sending(&mut self, cx: &mut Context<'_>, opcode: OpCode) {
        let before = self.memory();
        let messages = self.assembly().map_or(0, Assembly::capacity);
        // Where the loop has no memory for a compressor, it is sent as it is.
        let hold = &mut |own| hold_or_keep(cx, messages + own, messages + before);
        let compressor = self.codec_mut().and_then(|codec| codec.begin_pieces(hold));
        let (waiting, is_text) = (VecDeque::new(), opcode == OpCode::Text);
        let sending = Sending { next: opcode, is_text, compressor, waiting, bytes: 0, failure: None };
        self.phase = Phase::Sending(pool::sending(sending));
    }

    fn send_next(&mut self, cx: &mut Context<'_>, piece: &[u8], last: bool) {
        let Phase::Sending(sending) = &mut self.phase else { return };
        if sending.failure.is_some() || (piece.is_empty() && !last) {
            return;
        }
        let opcode = mem::replace(&mut sending.next, OpCode::Continuation);
        let compressed = sending.compressor.is_some() && opcode != OpCode::Continuation;
        let header = Header { fin: last, compressed, opcode, mask: None, payload: 0 };
        if let Some(compressor) = &mut sending.compressor {
            let mut payload = deflate::buffer();
            compressor.push(piece, last, &mut payload);
            self.write_frame(cx, header, &payload);
            deflate::keep_buffer(payload);
        } else {
            self.write_frame(cx, header, piece);
        }
        if last {
            self.end_sending(cx);
        }
    }

    /// The message has ended: what waited behind it has its turn.
    fn end_sending(&mut self, cx: &mut Context<'_>) {
        if let Phase::Sending(mut sending) = mem::replace(&mut self.phase, Phase::Open) {
            if let (Some(compressor), Some(codec)) = (sending.compressor.take(), self.codec_mut()) {
                codec.end_pieces(compressor);
            }
            for (opcode, message) in mem::take(&mut sending.waiting) {
                self.send_shared(cx, opcode, &message);
            }
            pool::keep_sending(sending);
            self.release(cx);
        }
    }

    /// A message that can't be sent now waits behind the one that is being sent in pieces, within the limits of output; if
    /// there is none, it is dropped.
    #[cold]
    pub(crate) fn defer(&mut self, cx: &mut Context<'_>, opcode: OpCode, message: Shared) {
        let sending = match &mut self.phase {
            Phase::Sending(sending) if sending.failure.is_none() => sending,
            _ => return self.count_unsent(),
        };
        sending.bytes += message.plain().len() + OVERHEAD;
        sending.waiting.push_back((opcode, message));
        let (wanted, limit) = (cx.backlog() + sending.bytes, cx.limits().send_buffer);
        let fits = if wanted > limit { Err(LimitExceeded::SendBuffer { wanted, limit }) } else { self.declare(cx) };
        if let (Err(limit), Phase::Sending(sending)) = (fits, &mut self.phase) {
            sending.failure = Some(limit);
            self.arm(cx, Duration::ZERO); // whoever sent it, the connection's next callback fails
        }
    }
}
