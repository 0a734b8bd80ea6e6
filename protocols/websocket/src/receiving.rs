//! Messages that do not arrive whole, or arrive compressed.

use switchboard::{Context, Failure, Input, LimitExceeded};

use crate::assembly::{Assembly, Refusal};
use crate::close::CloseCode;
use crate::error::MessageLimit;
use crate::frame::{self, Header, OpCode, Receiver};
use crate::{Begin, Delivery, Handler, Peer, WebSocket};

impl<H: Handler> WebSocket<H> {
    /// Whatever is not a whole message. False if nothing can be done before more arrives.
    #[inline(never)]
    pub(crate) fn part(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<bool, Failure> {
        let goes_on = self.take_part(cx, input)?;
        if (!goes_on || input.is_empty())
            && let Some((assembly, settings)) = self.state.arriving()
            && !assembly.is_in_pieces()
            && !assembly.stays()
        {
            if let Some(timeout) = settings.message_timeout {
                assembly.timer.get_or_insert_with(|| cx.set_timer(timeout));
            }
            if assembly.can_lend() {
                cx.lend_read_buffer();
            }
        }
        Ok(goes_on)
    }

    /// A part of a message was read straight into its buffer.
    pub(crate) fn absorb_filled(&mut self, cx: &mut Context<'_>, count: usize) -> Result<(), Failure> {
        let Some(assembly) = self.state.assembly_mut() else { return Ok(()) };
        match assembly.absorb_filled(count) {
            Ok(()) if assembly.left() > 0 => self.make_room(cx, 0),
            Ok(()) => self.frame_done(cx).map(|_| ()),
            Err(error) => Err(self.state.refuse(cx, error)),
        }
    }

    /// Sees to it that the message's buffer can take `count` bytes more, and what is read after them.
    fn make_room(&mut self, cx: &mut Context<'_>, count: usize) -> Result<(), Failure> {
        let others = self.state.memory();
        let Some((assembly, settings)) = self.state.arriving() else { return Ok(()) };
        let Some(capacity) = assembly.capacity_for(count, settings) else { return Ok(()) };
        assembly.enlarge(cx, count, capacity, others).map_err(|limit| self.no_memory(cx, limit))
    }

    fn take_part(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<bool, Failure> {
        if self.state.assembly().is_some_and(|assembly| assembly.left() > 0) {
            return self.absorb(cx, input);
        }
        let receiver = Receiver {
            role: self.state.role(),
            in_message: self.state.assembly().is_some(),
            compression: self.state.codec().is_some(),
        };
        let (header, start) = match frame::parse(input, receiver) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return Ok(false),
            Err(error) => return Err(self.state.refuse(cx, error)),
        };
        if header.opcode.is_control() {
            return self.control(cx, input, header, start);
        }
        if self.state.assembly().is_none() && !self.begin(cx, header)? {
            return Ok(true);
        }
        let Some((assembly, settings)) = self.state.arriving() else { return Ok(true) };
        if let Err(limit) = assembly.begin_frame(header, settings) {
            return Err(self.too_big(cx, limit));
        }
        // The handler may have paused reading.
        let at_once = !cx.is_reading_paused() && assembly.is_at_once(input.len() - start);
        if header.compressed && !at_once {
            self.state.declare(cx).map_err(|limit| self.no_memory(cx, limit))?;
        }
        input.take(start);
        match header.payload {
            0 => self.frame_done(cx),
            _ if at_once => self.absorb(cx, input),
            _ => Ok(true), // what is there of the payload is the next part
        }
    }

    /// Asks the handler how it wants the message that begins with this frame. False if it has closed instead.
    fn begin(&mut self, cx: &mut Context<'_>, header: Header) -> Result<bool, Failure> {
        let Header { fin, compressed, opcode, payload, .. } = header;
        let begin = Begin { is_text: opcode == OpCode::Text, is_compressed: compressed, payload, fin };
        // Of an empty message nothing is left to come once the handler has answered, with reading paused perhaps.
        let delivery = if fin && payload == 0 {
            Delivery::Whole
        } else {
            let answer = self.handler.on_begin(&mut Peer::new(cx, &mut self.state), &begin);
            self.handled(cx, answer)?
        };
        if self.state.is_open() {
            let codec = self.state.codec_mut().filter(|_| compressed);
            let assembly = Assembly::new(opcode, delivery, codec.map(|codec| codec.begin()));
            self.state.begin_assembly(assembly);
        }
        Ok(self.state.is_open())
    }

    /// Takes what is there of the present frame.
    fn absorb(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<bool, Failure> {
        let Some(assembly) = self.state.assembly_mut() else { return Ok(false) };
        let count = assembly.here(input.len());
        if count == 0 {
            return Ok(false);
        }
        if assembly.is_in_pieces() {
            return self.hand_on(cx, input);
        }
        if assembly.is_compressed() {
            return self.inflate(cx, input.take(count));
        }
        if assembly.can_stay() && self.stays(cx, input) {
            return self.absorb_there(cx, input);
        }
        self.make_room(cx, count)?;
        let Some(assembly) = self.state.assembly_mut() else { return Ok(false) };
        match assembly.absorb(input.take(count)) {
            Ok(()) if assembly.left() > 0 => Ok(true),
            Ok(()) => self.frame_done(cx),
            Err(error) => Err(self.state.refuse(cx, error)),
        }
    }

    /// Whether a message of which nothing has been taken yet is to be waited for where it lies, or has arrived there.
    fn stays(&self, cx: &mut Context<'_>, input: &Input<'_>) -> bool {
        let Some(assembly) = self.state.assembly() else { return false };
        let Ok(left) = usize::try_from(assembly.left()) else { return false };
        if input.len() < left { cx.reads_on(input, left) } else { assembly.stays() }
    }

    /// Unmasks it there, while it is in the cache; delivers it from there. It is not copied, which for 256 KiB of which a third
    /// had been read was a tenth of the cost.
    fn absorb_there(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<bool, Failure> {
        let Some(assembly) = self.state.assembly_mut() else { return Ok(false) };
        let left = assembly.here(usize::MAX);
        if input.len() < left {
            assembly.unmask_there(input.rest_mut());
            input.wait_for(left);
            return Ok(false);
        }
        let (opcode, payload) = (assembly.opcode(), input.take(left));
        assembly.unmask_there(payload);
        self.state.take_assembly(cx);
        self.deliver_whole(cx, opcode, payload)
    }

    /// The next part of a compressed message. Always true.
    fn inflate(&mut self, cx: &mut Context<'_>, payload: &mut [u8]) -> Result<bool, Failure> {
        let others = self.state.memory();
        let Some((assembly, settings)) = self.state.arriving() else { return Ok(true) };
        match assembly.inflate(cx, payload, settings, others) {
            Ok(()) if assembly.left() > 0 => Ok(true),
            Ok(()) => self.frame_done(cx),
            Err(refusal) => Err(self.refused(cx, refusal)),
        }
    }

    #[cold]
    pub(crate) fn refused(&mut self, cx: &mut Context<'_>, refusal: Refusal) -> Failure {
        match refusal {
            Refusal::Text(error) => self.state.refuse(cx, error),
            Refusal::Compressed(error) => self.state.refuse(cx, error),
            Refusal::Limit(limit) => self.too_big(cx, limit),
            Refusal::Memory(limit) => self.no_memory(cx, limit),
        }
    }

    /// A frame of a message has arrived whole. Always true.
    pub(crate) fn frame_done(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        if !self.state.assembly().is_some_and(|assembly| assembly.is_complete()) {
            return Ok(true);
        }
        let Some(mut assembly) = self.state.take_assembly(cx) else { return Ok(true) };
        if let (Some(incoming), Some(codec)) = (assembly.take_incoming(), self.state.codec_mut())
            && let Err(error) = codec.end(incoming)
        {
            self.state.release(cx);
            return Err(self.state.refuse(cx, error));
        }
        let message = match assembly.message() {
            Ok(message) => message,
            Err(error) => return Err(self.state.refuse(cx, error)),
        };
        let delivered =
            if assembly.is_in_pieces() { self.deliver_piece(cx, message, true) } else { self.deliver(cx, message) };
        cx.give_spare(assembly.into_buffer());
        self.state.release(cx); // in any case: a connection that failed may have output to deliver for a while
        delivered.map(|()| true)
    }

    #[cold]
    fn no_memory(&mut self, cx: &mut Context<'_>, limit: LimitExceeded) -> Failure {
        self.state.abandon(cx, CloseCode::TRY_AGAIN_LATER, "");
        limit.into()
    }

    /// It has not arrived whole in its time, while it was read.
    #[cold]
    pub(crate) fn on_message_timeout(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let Some((assembly, settings)) = self.state.arriving() else { return Ok(()) };
        let Some(timeout) = settings.message_timeout else { return Ok(()) };
        assembly.timer = None;
        if cx.is_reading_paused() {
            assembly.timer = Some(cx.set_timer(timeout));
            return Ok(());
        }
        let limit = MessageLimit::Timeout(timeout);
        self.state.abandon(cx, CloseCode::POLICY_VIOLATION, &limit.to_string());
        Err(Failure::limit(limit))
    }

    #[cold]
    fn too_big(&mut self, cx: &mut Context<'_>, limit: MessageLimit) -> Failure {
        self.state.abandon(cx, CloseCode::TOO_BIG, &limit.to_string());
        Failure::limit(limit)
    }
}
