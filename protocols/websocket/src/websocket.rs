//! The protocol: frames in, messages to the handler.
//!
//! [`WebSocket::on_frames`] is the hot path, written to be small: a message that lies whole in the read is unmasked and
//! checked where it lies and handed on. Everything else (a part of a message, a control frame, an error, another phase)
//! is out of line, here, in `receiving`, in `opening` and in `closing`.

use std::rc::Rc;

use switchboard::{CloseReason, Closing, Context, Failure, Input, Protocol, TimerId};
use switchboard_heartbeat::{Beat, Rtt, Tick};

use crate::assembly::Assembly;
use crate::close::CloseCode;
use crate::error::ProtocolError;
use crate::frame::{self, Header, OpCode, WholeMessage};
use crate::handshake::AnswerError;
use crate::state::{Phase, State};
use crate::{Handler, Message, Peer, Post, Settings, mask, utf8};

/// A WebSocket connection of either side (RFC 6455), with the application `H` on it.
#[derive(Debug)]
pub struct WebSocket<H> {
    pub(crate) handler: H,
    pub(crate) state: State,
}

/// What begins the payload of a heartbeat's ping; the probe's number follows, big-endian. A handler's own pings are
/// told apart by it.
const BEAT: [u8; 4] = *b"beat";

impl<H: Handler> WebSocket<H> {
    /// A connection that a client has opened, with the default [`Settings`].
    #[must_use]
    pub fn server(handler: H) -> Self {
        thread_local!(static DEFAULT: Rc<Settings> = Rc::default());
        DEFAULT.with(|settings| Self::with_settings(handler, settings))
    }

    /// A connection that a client has opened, with settings that it shares with others.
    #[must_use]
    pub fn with_settings(handler: H, settings: &Rc<Settings>) -> Self {
        Self { handler, state: State::new(settings) }
    }

    /// The application.
    #[must_use]
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// Round-trip times, as the heartbeat's pings found them; `None` before the first.
    #[must_use]
    pub fn rtt(&self) -> Option<Rtt> {
        self.state.beat.rtt()
    }

    /// The application and its peer, for who reaches the connection from outside its callbacks, by
    /// [`EventLoop::with_protocol`](switchboard::EventLoop::with_protocol).
    pub fn parts<'a, 'c>(&'a mut self, cx: &'a mut Context<'c>) -> (&'a mut H, Peer<'a, 'c>) {
        (&mut self.handler, Peer::new(cx, &mut self.state))
    }

    /// Handles what has arrived on an open WebSocket, message by message.
    pub(crate) fn on_frames(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        let most = cx.backlog().saturating_add(cx.limits().high_water);
        loop {
            if !self.whole_message(cx, input)? && !self.part(cx, input)? {
                return Ok(());
            }
            // First what nearly always ends it: a message that comes alone pays for none of the other questions.
            if input.is_empty() {
                return Ok(());
            }
            if !matches!(self.state.phase, Phase::Open) && !self.state.is_sending() {
                return self.on_other_data(cx, input);
            }
            if cx.is_reading_paused() {
                return Ok(());
            }
            if cx.backlog() > most {
                return self.hold(cx);
            }
        }
    }

    /// The hot path: a message in one frame, all of it here. False if what comes next is something else.
    #[inline]
    fn whole_message(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<bool, Failure> {
        if self.state.assembly().is_some() {
            return Ok(false);
        }
        if self.state.is_client() {
            return self.whole_unmasked(cx, input);
        }
        let Some(WholeMessage { opcode, key, start, end }) = frame::whole_message(input) else { return Ok(false) };
        if end - start > self.state.settings.max_message {
            return Ok(false);
        }
        let payload = &mut input.take(end)[start..];
        mask::apply(payload, key);
        self.deliver_whole(cx, opcode, payload)
    }

    /// A message that lies whole in the read, unmasked.
    #[inline(always)]
    pub(crate) fn deliver_whole(
        &mut self,
        cx: &mut Context<'_>,
        opcode: OpCode,
        payload: &[u8],
    ) -> Result<bool, Failure> {
        let message = if opcode == OpCode::Text {
            match utf8::check(payload) {
                Ok(text) => Message::Text(text),
                Err(error) => return Err(self.state.refuse(cx, error)),
            }
        } else {
            Message::Binary(payload)
        };
        self.deliver(cx, message)?;
        Ok(true)
    }

    #[inline]
    pub(crate) fn deliver(&mut self, cx: &mut Context<'_>, message: Message<'_>) -> Result<(), Failure> {
        let handled = self.handler.on_message(&mut Peer::new(cx, &mut self.state), message);
        self.handled(cx, handled)
    }

    /// A callback of the handler has returned.
    #[inline]
    pub(crate) fn handled<T>(&mut self, cx: &mut Context<'_>, result: Result<T, Failure>) -> Result<T, Failure> {
        if result.is_err() {
            self.state.abandon(cx, CloseCode::INTERNAL_ERROR, "");
        }
        result
    }

    /// What was read has made more answers than may wait: what is left unread waits, too, until they have drained.
    #[cold]
    pub(crate) fn hold(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let room = cx.has_room(); // has the loop call `on_drain`
        debug_assert!(!room);
        self.state.held = true;
        cx.pause_reading();
        Ok(())
    }

    /// A control frame: waited for, then handled (RFC 6455 §5.5).
    pub(crate) fn control(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut Input<'_>,
        header: Header,
        start: usize,
    ) -> Result<bool, Failure> {
        let Some(payload) = take_control(input, header, start) else { return Ok(false) };
        match header.opcode {
            OpCode::Ping => self.state.send(cx, OpCode::Pong, payload),
            OpCode::Pong => self.on_pong(cx, payload)?,
            _ => self.on_close_frame(cx, payload)?,
        }
        Ok(true)
    }

    fn on_pong(&mut self, cx: &mut Context<'_>, payload: &[u8]) -> Result<(), Failure> {
        if let Some((number, [])) = payload.strip_prefix(&BEAT).and_then(<[u8]>::split_first_chunk) {
            self.state.beat.answered(cx.now(), u32::from_be_bytes(*number));
            return Ok(());
        }
        let handled = self.handler.on_pong(&mut Peer::new(cx, &mut self.state), payload);
        self.handled(cx, handled)
    }

    /// The WebSocket stands: the heartbeat begins.
    pub(crate) fn start_beat(&mut self, cx: &mut Context<'_>) {
        let Some(config) = self.state.settings.heartbeat else { return self.state.disarm(cx) };
        self.state.beat = Beat::new(&config, cx.now(), cx.random_u32());
        self.state.arm(cx, self.state.beat.next_probe().saturating_since(cx.now()));
    }

    /// Looks at the heartbeat. Traffic costs it nothing: the loop knows when it last read.
    fn on_beat(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if let Phase::Sending(sending) = &self.state.phase
            && let Some(limit) = sending.failure()
        {
            self.state.abandon(cx, CloseCode::TRY_AGAIN_LATER, "");
            return Err(limit.into());
        }
        let Some(config) = self.state.settings.heartbeat else { return Ok(()) };
        let output_waits = cx.backlog() > 0;
        self.state.beat.heard(cx.last_read());
        if output_waits || cx.is_reading_paused() {
            // Who is not listened to, or has something to read first, is not silent. A peer that takes nothing at all
            // is the loop's to close: `write_stall`.
            self.state.beat.forgive(cx.now());
        }
        let wait = if output_waits {
            config.interval() // a ping would only wait behind it
        } else {
            match self.state.beat.tick(&config, cx.now(), cx.random_u32()) {
                Tick::Wait(wait) => wait,
                Tick::Probe { number, wait } => {
                    let payload = [BEAT, number.to_be_bytes()].concat();
                    self.state.send(cx, OpCode::Ping, &payload);
                    wait
                }
                Tick::Dead(silent) => return Err(Failure::limit(silent)),
            }
        };
        self.state.arm(cx, wait);
        Ok(())
    }
}

/// The payload of a control frame, unmasked, behind a header of `start` bytes; if it is not all here, it is waited for.
pub(crate) fn take_control<'i>(input: &'i mut Input<'_>, header: Header, start: usize) -> Option<&'i mut [u8]> {
    let total = start + usize::try_from(header.payload).unwrap_or(usize::MAX); // 125 bytes at most
    if input.len() < total {
        input.wait_for(total);
        return None;
    }
    let payload = &mut input.take(total)[start..];
    mask::apply(payload, header.mask.unwrap_or_default());
    Some(payload)
}

impl<H: Handler> Protocol for WebSocket<H> {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.state.settings.check(cx.limits()).map_err(Failure::caller)?;
        self.state.arm(cx, self.state.settings.handshake_timeout);
        self.ask(cx)
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        if !self.state.is_open() {
            return self.on_other_data(cx, input);
        }
        self.on_frames(cx, input)
    }

    fn read_buffer(&mut self) -> &mut [u8] {
        self.state.assembly_mut().map(Assembly::room).unwrap_or_default()
    }

    fn on_filled(&mut self, cx: &mut Context<'_>, count: usize) -> Result<(), Failure> {
        let waited = cx.backlog();
        self.absorb_filled(cx, count)?;
        let answers = cx.backlog().saturating_sub(waited);
        if answers > cx.limits().high_water && self.state.is_open() && !cx.is_reading_paused() {
            return self.hold(cx);
        }
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        match self.state.phase {
            Phase::Opening(_) if self.state.is_client() => Err(self.unanswered(AnswerError::Ended)),
            Phase::Opening(_) if !rest.is_empty() => Err(switchboard::Truncated { unconsumed: rest.len() }.into()),
            Phase::Open | Phase::Sending(_) => Err(Failure::peer(ProtocolError::NoClose)),
            _ => {
                cx.close();
                Ok(())
            }
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, timer: TimerId) -> Result<(), Failure> {
        if self.state.timer != Some(timer) {
            if self.state.assembly().is_some_and(|assembly| assembly.timer == Some(timer)) {
                return self.on_message_timeout(cx);
            }
            let handled = self.handler.on_timer(&mut Peer::new(cx, &mut self.state), timer);
            return self.handled(cx, handled);
        }
        self.state.timer = None;
        match self.state.phase {
            Phase::Opening(_) if self.state.is_client() => Err(self.unanswered(AnswerError::Timeout)),
            Phase::Opening(_) => Err(self.on_handshake_timeout(cx)),
            Phase::Open | Phase::Sending(_) => self.on_beat(cx),
            Phase::Closing(_) => self.on_close_timeout(cx),
            Phase::Closed(_) => {
                cx.close(); // a client whose server does not end the connection
                Ok(())
            }
            Phase::Answered => Ok(()),
        }
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if std::mem::take(&mut self.state.held) && !self.state.paused {
            cx.resume_reading();
        }
        if !std::mem::take(&mut self.state.owes_drain) || !self.state.is_open() {
            return Ok(());
        }
        let handled = self.handler.on_drain(&mut Peer::new(cx, &mut self.state));
        self.handled(cx, handled)
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: switchboard::Message) -> Result<(), Failure> {
        match &mut self.state.phase {
            Phase::Opening(opening) if opening.posts.len() < cx.limits().mailbox => opening.posts.push(message),
            Phase::Open | Phase::Sending(_) => match message.downcast() {
                Ok(Post::Text(text)) => self.state.send_shared(cx, OpCode::Text, &text.0),
                Ok(Post::Binary(bytes)) => self.state.send_shared(cx, OpCode::Binary, &bytes.0),
                Ok(Post::Close(code, reason)) => {
                    let closed = self.state.close(cx, code, &reason);
                    return self.handled(cx, closed);
                }
                Err(other) => {
                    let peer = &mut Peer::new(cx, &mut self.state);
                    let handled = match other {
                        switchboard::Message::Published(publication) => self.handler.on_publication(peer, &publication),
                        other => self.handler.on_post(peer, other),
                    };
                    return self.handled(cx, handled);
                }
            },
            Phase::Opening(_) => self.state.count_unsent(),
            // A second close is no loss.
            _ if matches!(message.downcast(), Ok(Post::Close(..))) => {}
            _ => self.state.count_unsent(),
        }
        Ok(())
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        match self.state.phase {
            Phase::Opening(_) => cx.close(),
            Phase::Open | Phase::Sending(_) => {
                let handled = self.handler.on_shutdown(&mut Peer::new(cx, &mut self.state));
                return self.handled(cx, handled);
            }
            Phase::Answered | Phase::Closing(_) | Phase::Closed(_) => {}
        }
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, reason: &CloseReason) {
        self.say_closed(cx, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Idle connections are counted in tens of thousands: each is this, its handler, and the loop's entry for it.
    #[test]
    fn an_idle_connection_is_small() {
        struct Nothing;
        impl Handler for Nothing {
            fn on_message(&mut self, _: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
                Ok(())
            }
        }
        assert!(size_of::<WebSocket<Nothing>>() <= 88, "{} bytes", size_of::<WebSocket<Nothing>>());
    }
}
