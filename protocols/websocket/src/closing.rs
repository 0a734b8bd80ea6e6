//! The closing handshake (RFC 6455 §7), and what arrives when nobody asks for messages.

use switchboard::{CloseReason, Closing, Context, Failure, Input};

use crate::close::{self, CloseCode};
use crate::error::ProtocolError;
use crate::frame::{self, Header, OpCode, Receiver};
use crate::state::{Farewell, Phase};
use crate::websocket::take_control;
use crate::{Closed, Handler, WebSocket};

impl<H: Handler> WebSocket<H> {
    /// Data in any phase but the open one.
    #[cold]
    pub(crate) fn on_other_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        match self.state.phase {
            Phase::Opening(_) if self.state.is_client() => return self.on_answer(cx, input),
            Phase::Opening(_) => return self.on_opening(cx, input),
            Phase::Open | Phase::Sending(_) => return self.on_frames(cx, input),
            Phase::Closing(_) => while self.drop_frame(cx, input)? {},
            Phase::Answered | Phase::Closed(_) => drop(input.take_all()),
        }
        Ok(())
    }

    /// A close frame was sent: frames are checked, and dropped but for pings, until the peer's close frame comes. False
    /// if nothing can be done before more arrives.
    fn drop_frame(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<bool, Failure> {
        let (role, compression) = (self.state.role(), self.state.codec().is_some());
        let Phase::Closing(farewell) = &mut self.state.phase else {
            input.take_all();
            return Ok(false);
        };
        let count = usize::try_from(farewell.skip).unwrap_or(usize::MAX).min(input.len());
        input.take(count);
        farewell.skip -= count as u64;
        if farewell.skip > 0 {
            return Ok(false);
        }
        let receiver = Receiver { role, in_message: farewell.in_message, compression };
        let Some((header, start)) = frame::parse(input, receiver).map_err(fail)? else { return Ok(false) };
        if !matches!(header.opcode, OpCode::Close | OpCode::Ping) {
            input.take(start);
            farewell.skip = header.payload;
            if !header.opcode.is_control() {
                farewell.in_message = !header.fin;
            }
            return Ok(true);
        }
        let Some(payload) = take_control(input, header, start) else { return Ok(false) };
        if header.opcode == OpCode::Ping {
            // RFC 6455 §5.5.2: "unless it already received a Close frame"
            let pong = Header { fin: true, compressed: false, opcode: OpCode::Pong, mask: None, payload: 0 };
            let before = cx.backlog();
            self.state.write_frame(cx, pong, payload);
            if let Phase::Closing(farewell) = &mut self.state.phase {
                farewell.behind += cx.backlog() - before;
            }
            return Ok(true);
        }
        self.on_close_frame(cx, payload).map(|()| true)
    }

    /// The peer's close frame: answered if it is the first, and then the connection ends (RFC 6455 §5.5.1, §7.1.1):
    /// the server ends it, so that the client's port is free again at once; the client waits for that as long as for a
    /// close frame.
    pub(crate) fn on_close_frame(&mut self, cx: &mut Context<'_>, payload: &[u8]) -> Result<(), Failure> {
        let (code, reason) = match close::parse(payload) {
            Ok(parsed) => parsed,
            Err(error) => return Err(self.state.refuse(cx, error)),
        };
        let mut farewell = match std::mem::replace(&mut self.state.phase, Phase::Answered) {
            Phase::Closing(farewell) => *farewell,
            phase => {
                self.state.phase = phase;
                // "the endpoint typically echos the status code it received", and its reason as most do
                self.state.send_close_frame(cx, code, reason);
                Farewell { by_peer: true, ..Farewell::new(code, reason) }
            }
        };
        farewell.received = Some((code, reason.into()));
        self.state.leave(cx, Phase::Closed(Box::new(farewell)));
        if self.state.is_client() {
            self.state.arm(cx, self.state.settings.close_timeout);
        } else {
            // This side's end is at once; the peer's is waited for. Behind its close frame it may still send pings and pongs
            // until it has got ours (RFC 6455 §5.5.2: "before the connection is closed"), and to leave them unread would
            // reset the connection, which may destroy our close frame on its way.
            cx.close();
        }
        Ok(())
    }

    /// The peer has not sent its close frame. Its time begins when it has got ours.
    pub(crate) fn on_close_timeout(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let timeout = self.state.settings.close_timeout;
        let behind = if let Phase::Closing(farewell) = &self.state.phase { farewell.behind } else { 0 };
        if cx.backlog() <= behind {
            return Err(fail(ProtocolError::CloseTimeout(timeout)));
        }
        self.state.arm(cx, timeout); // a peer that takes nothing at all is the loop's to close: `write_stall`
        Ok(())
    }

    /// Tells the handler how it ended, if it was ever told that it had begun, or had itself asked for it.
    pub(crate) fn say_closed(&mut self, cx: &mut Closing<'_>, cause: &CloseReason) {
        let waiting = match &self.state.phase {
            Phase::Opening(opening) => opening.posts.len() as u64,
            Phase::Sending(sending) => {
                self.state.unsent = self.state.unsent.saturating_add(sending.unsent());
                0
            }
            _ => 0,
        };
        cx.count_undelivered(waiting + u64::from(self.state.unsent));
        let abnormal = Farewell::new(CloseCode::ABNORMAL, "");
        let farewell = match &self.state.phase {
            Phase::Opening(_) | Phase::Answered if self.state.is_client() => return self.handler.on_failed(cx, cause),
            Phase::Opening(_) | Phase::Answered => return,
            Phase::Open | Phase::Sending(_) => &abnormal,
            Phase::Closing(farewell) | Phase::Closed(farewell) => farewell,
        };
        let closed = Closed {
            code: farewell.code,
            reason: &farewell.reason,
            by_peer: farewell.by_peer,
            received: farewell.received.as_ref().map(|(code, reason)| (*code, &**reason)),
            // However the connection ended behind both close frames: servers may reset it (RFC 6455 §7.1.4).
            clean: farewell.received.is_some()
                && (cause.is_clean() || matches!(cause, CloseReason::Io { unsent: 0, .. })),
            unsent: self.state.unsent,
            cause,
        };
        self.handler.on_close(cx, &closed);
    }
}

/// After a close frame no other may follow, so there is nothing to say to the peer any more.
#[cold]
fn fail(error: impl Into<ProtocolError>) -> Failure {
    Failure::peer(error.into())
}
