//! Messages that do not arrive whole, or arrive compressed.

use switchboard::{Context, Failure, Input, LimitExceeded};

use crate::assembly::{Assembly, Refusal};
use crate::close::CloseCode;
use crate::error::MessageLimit;
use crate::frame::{self, Receiver};
use crate::{Handler, WebSocket};

impl<H: Handler> WebSocket<H> {
    /// Whatever is not a whole message. False if nothing can be done before more arrives.
    #[inline(never)]
    pub(crate) fn part(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<bool, Failure> {
        if self.state.assembly.as_ref().is_some_and(|assembly| assembly.left() > 0) {
            return self.absorb(cx, input);
        }
        let receiver = Receiver {
            role: self.state.role,
            in_message: self.state.assembly.is_some(),
            compression: self.state.codec.is_some(),
        };
        let (header, start) = match frame::parse(input, receiver) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return Ok(false),
            Err(error) => return Err(self.state.refuse(cx, error)),
        };
        if header.opcode.is_control() {
            return self.control(cx, input, header, start);
        }
        let codec = self.state.codec.as_mut().filter(|_| header.compressed);
        let begin = || Box::new(Assembly::new(header.opcode, codec.map(|codec| codec.begin())));
        let assembly = self.state.assembly.get_or_insert_with(begin);
        if let Err(limit) = assembly.begin_frame(header, &self.state.settings) {
            return Err(self.too_big(cx, limit));
        }
        if header.compressed {
            let decompressor = assembly.capacity();
            self.state.hold(cx, decompressor).map_err(|limit| self.no_memory(cx, limit))?;
        }
        input.take(start);
        if header.payload == 0 { self.frame_done(cx) } else { self.absorb(cx, input).map(|_| true) }
    }

    /// Takes what is there of the present frame.
    fn absorb(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<bool, Failure> {
        let Some(assembly) = &mut self.state.assembly else { return Ok(false) };
        let count = assembly.left().min(input.len());
        if count == 0 {
            return Ok(false);
        }
        if assembly.is_compressed() {
            return self.inflate(cx, input.take(count));
        }
        if let Some(capacity) = assembly.capacity_for(count, &self.state.settings) {
            let compression = self.state.codec.as_ref().map_or(0, |codec| codec.memory());
            if let Err(limit) = cx.hold(capacity + compression) {
                return Err(self.no_memory(cx, limit));
            }
            assembly.grow(capacity);
        }
        match assembly.absorb(input.take(count)) {
            Ok(()) if assembly.left() > 0 => Ok(true),
            Ok(()) => self.frame_done(cx),
            Err(error) => Err(self.state.refuse(cx, error)),
        }
    }

    /// The next part of a compressed message. Always true.
    fn inflate(&mut self, cx: &mut Context<'_>, payload: &mut [u8]) -> Result<bool, Failure> {
        let Some(assembly) = &mut self.state.assembly else { return Ok(true) };
        let compression = self.state.codec.as_ref().map_or(0, |codec| codec.memory());
        let hold = &mut |capacity| cx.hold(capacity + compression);
        match assembly.inflate(payload, &self.state.settings, hold) {
            Ok(()) if assembly.left() > 0 => Ok(true),
            Ok(()) => self.frame_done(cx),
            Err(Refusal::Text(error)) => Err(self.state.refuse(cx, error)),
            Err(Refusal::Compressed(error)) => Err(self.state.refuse(cx, error)),
            Err(Refusal::Limit(limit)) => Err(self.too_big(cx, limit)),
            Err(Refusal::Memory(limit)) => Err(self.no_memory(cx, limit)),
        }
    }

    /// A frame of a message has arrived whole. Always true.
    fn frame_done(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        let Some(mut assembly) = self.state.assembly.take_if(|assembly| assembly.is_complete()) else {
            return Ok(true);
        };
        if let (Some(incoming), Some(codec)) = (assembly.take_incoming(), &mut self.state.codec)
            && let Err(error) = codec.end(incoming)
        {
            self.state.release(cx);
            return Err(self.state.refuse(cx, error));
        }
        let message = match assembly.message() {
            Ok(message) => message,
            Err(error) => return Err(self.state.refuse(cx, error)),
        };
        let delivered = self.deliver(cx, message);
        drop(assembly);
        self.state.release(cx); // in any case: a connection that failed may have output to deliver for a while
        delivered.map(|()| true)
    }

    #[cold]
    fn no_memory(&mut self, cx: &mut Context<'_>, limit: LimitExceeded) -> Failure {
        self.state.abandon(cx, CloseCode::TRY_AGAIN_LATER, "");
        limit.into()
    }

    #[cold]
    fn too_big(&mut self, cx: &mut Context<'_>, limit: MessageLimit) -> Failure {
        self.state.abandon(cx, CloseCode::TOO_BIG, &limit.to_string());
        Failure::limit(limit)
    }
}
