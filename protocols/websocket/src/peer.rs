//! What a handler's callback can ask for.

use std::mem;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use switchboard::{ConnectionId, Context, Core, Failure, LimitExceeded, Publication, Slow, TimerId};
use switchboard_heartbeat::Rtt;

use crate::close::CloseCode;
use crate::error::UsageError;
use crate::frame::{MAX_CONTROL, OpCode};
use crate::publication::AsMessage;
use crate::state::{Farewell, Phase, State};
use crate::{Message, SharedBinary, SharedText};

/// The other end of a WebSocket, as a [`Handler`](crate::Handler)'s callback reaches it; by deref, the loop's [`Core`]:
/// the time, posts, outgoing connections, counters.
///
/// What is sent leaves when the callback has returned, in one write however many messages it is. Before the WebSocket
/// stands and after [`close`](Self::close) nothing is sent (RFC 6455 §5.5.1 forbids it), and
/// [`Closed::unsent`](crate::Closed::unsent) counts it.
pub struct Peer<'a, 'c> {
    cx: &'a mut Context<'c>,
    state: &'a mut State,
}

impl<'a, 'c> Peer<'a, 'c> {
    #[inline]
    pub(crate) fn new(cx: &'a mut Context<'c>, state: &'a mut State) -> Self {
        Self { cx, state }
    }

    /// Sends a text message.
    #[inline]
    pub fn text(&mut self, text: &str) {
        self.state.send(self.cx, OpCode::Text, text.as_bytes());
    }

    /// Sends a binary message.
    #[inline]
    pub fn binary(&mut self, bytes: &[u8]) {
        self.state.send(self.cx, OpCode::Binary, bytes);
    }

    /// Sends a message of either kind.
    #[inline]
    pub fn send(&mut self, message: Message<'_>) {
        match message {
            Message::Text(text) => self.text(text),
            Message::Binary(bytes) => self.binary(bytes),
        }
    }

    /// Sends a text message without copying it: for what many peers get.
    pub fn text_shared(&mut self, text: impl Into<SharedText>) {
        self.state.send_shared(self.cx, OpCode::Text, &text.into().0);
    }

    /// Sends a binary message without copying it: for what many peers get.
    pub fn binary_shared(&mut self, bytes: impl Into<SharedBinary>) {
        self.state.send_shared(self.cx, OpCode::Binary, &bytes.into().0);
    }

    /// Sends what was published as a message: text if it is UTF-8, else binary. It is not copied, and checked and
    /// compressed once, for all connections that it is sent on.
    pub fn send_publication(&mut self, publication: &Publication) {
        let message = AsMessage::of(publication);
        self.state.send_shared(self.cx, message.opcode, &message.payload);
    }

    /// Subscribes this connection to a topic: what is published on it comes to
    /// [`on_publication`](crate::Handler::on_publication), until it is [unsubscribed](Self::unsubscribe) or either side
    /// begins to close. See [`Context::subscribe`].
    ///
    /// # Errors
    /// If it has as many subscriptions as it may, or the loop has no memory for one more.
    pub fn subscribe(&mut self, topic: &str, slow: Slow) -> Result<(), LimitExceeded> {
        self.cx.subscribe(topic, slow)
    }

    /// Ends a subscription: nothing of it comes any more. False if there was none.
    pub fn unsubscribe(&mut self, topic: &str) -> bool {
        self.cx.unsubscribe(topic)
    }

    /// Ends all subscriptions of this connection.
    pub fn unsubscribe_all(&mut self) {
        self.cx.unsubscribe_all();
    }

    /// Sends the next piece of a message, text or binary: it begins with the first piece and ends with the `last`, which may
    /// be empty. Each piece is a frame. So a message can be longer than memory, or be sent while it is being made.
    ///
    /// Other messages that are sent meanwhile, posted ones too, can't come between its frames (RFC 6455 §5.4): they wait
    /// until it has ended, and count as output against [`Limits::send_buffer`](switchboard::Limits::send_buffer) and the
    /// loop's memory; a connection that exceeds those fails. Control frames do not wait. With compression agreed on, it is
    /// compressed, piece by piece. A [close](Self::close) breaks it off: there is no other way to give one up.
    ///
    /// ```
    /// use std::{fs::File, io::Read};
    /// use switchboard::Failure;
    /// use switchboard_websocket::{Handler, Message, Peer};
    ///
    /// /// Sends a file as one message, as fast as the peer takes it.
    /// struct Download(File);
    ///
    /// impl Handler for Download {
    ///     fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
    ///         peer.send_piece(Message::Binary(b""), false)?;
    ///         self.on_drain(peer)
    ///     }
    ///
    ///     fn on_drain(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
    ///         let mut piece = [0; 16 * 1024];
    ///         while peer.is_sending() && peer.has_room() {
    ///             let count = self.0.read(&mut piece)?;
    ///             peer.send_piece(Message::Binary(&piece[..count]), count == 0)?;
    ///         }
    ///         Ok(())
    ///     }
    ///
    ///     fn on_message(&mut self, _: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
    ///         Ok(())
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`UsageError::MixedPieces`] for a piece of text in a binary message, or the other way round. The message goes on, if
    /// the caller does.
    pub fn send_piece(&mut self, piece: Message<'_>, last: bool) -> Result<(), Failure> {
        let opcode = if matches!(piece, Message::Text(_)) { OpCode::Text } else { OpCode::Binary };
        self.state.send_piece(self.cx, opcode, piece.as_bytes(), last)
    }

    /// Whether a message has begun to be [sent in pieces](Self::send_piece), and not ended; no longer where too much waits
    /// behind it, for which the connection is about to fail.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        self.state.is_sending() && !self.state.is_ending()
    }

    /// Sends a ping; the peer's answer comes to [`Handler::on_pong`](crate::Handler::on_pong). The pings that keep the
    /// connection alive are sent without this: payloads of eight bytes that begin with `beat` are theirs, and pongs with
    /// such a payload do not come to the handler.
    ///
    /// # Errors
    /// [`UsageError::LongPing`] if the payload has more than 125 bytes.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Failure> {
        if payload.len() as u64 > MAX_CONTROL {
            return Err(Failure::caller(UsageError::LongPing(payload.len())));
        }
        self.state.send(self.cx, OpCode::Ping, payload);
        Ok(())
    }

    /// Begins the closing handshake: sends a close frame with `code` ([`CloseCode::NO_STATUS`] for none) and `reason`,
    /// cut at a character's end to 123 bytes. Messages from the peer are dropped from now on, and the connection ends
    /// when its close frame has come. Does nothing if either side has begun already, nor before the WebSocket stands: until
    /// then there is [`abort`](Self::abort), and a [`Post::Close`](crate::Post::Close), which waits for it.
    ///
    /// # Errors
    /// [`UsageError::CloseCode`] for a code that may not be sent: 1006, for example, means that nothing was.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Failure> {
        self.state.close(self.cx, code, reason)
    }

    /// Cuts the connection off at once, without a close frame. What waits to be sent is lost.
    pub fn abort(&mut self) {
        if self.is_open() {
            self.state.leave(self.cx, Phase::Closed(Box::new(Farewell::new(CloseCode::ABNORMAL, ""))));
        } else {
            match mem::replace(&mut self.state.phase, Phase::Answered) {
                Phase::Closing(farewell) | Phase::Closed(farewell) => self.state.phase = Phase::Closed(farewell),
                phase => {
                    self.state.phase = phase;
                    self.state.give_up_opening();
                }
            }
        }
        self.cx.abort();
    }

    /// Whether messages can be sent: the handshake is done, and neither side has begun to close.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state.is_open()
    }

    /// Whether there is room for more messages, or for more pieces of one. Once this has said no, stop producing: exactly
    /// one [`on_drain`](crate::Handler::on_drain), or `on_close`, will follow. Of messages that wait behind one that is
    /// being [sent in pieces](Self::send_piece) it knows nothing, before they are too many: they have no room before that
    /// ends. None after [`close`](Self::close).
    pub fn has_room(&mut self) -> bool {
        let room = self.cx.has_room() && !self.state.is_ending();
        self.state.owes_drain |= !room;
        room
    }

    /// Bytes sent that the system has not taken yet; with them messages that wait behind one in pieces, and what those take
    /// besides their bytes.
    #[must_use]
    pub fn backlog(&self) -> usize {
        let waiting = if let Phase::Sending(sending) = &self.state.phase { sending.waiting() } else { 0 };
        self.cx.backlog() + waiting
    }

    /// Stops reading: no messages come until [`resume_reading`](Self::resume_reading), and the peer's silence is not
    /// held against it. Ended by [`close`](Self::close), too.
    pub fn pause_reading(&mut self) {
        if self.is_open() {
            self.state.paused = true;
            self.cx.pause_reading();
        }
    }

    /// Goes on reading, with the messages that have arrived meanwhile first.
    pub fn resume_reading(&mut self) {
        if !mem::take(&mut self.state.paused) {
            return;
        }
        let timer = self.state.assembly().and_then(|assembly| assembly.timer);
        if let (Some(timer), Some(timeout)) = (timer, self.state.settings.message_timeout) {
            self.cx.postpone_timer(timer, timeout);
        }
        if !self.state.held {
            self.cx.resume_reading();
        }
    }

    /// Round-trip times, as the heartbeat's pings found them; `None` before the first.
    #[must_use]
    pub fn rtt(&self) -> Option<Rtt> {
        self.state.beat.rtt()
    }

    /// The connection's id: what others post to.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.cx.id()
    }

    /// The peer's address, if the system tells it.
    #[must_use]
    pub fn addr(&self) -> Option<SocketAddr> {
        self.cx.peer_addr()
    }

    /// This side's address, if the system tells it.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.cx.local_addr()
    }

    /// Sets a timer: [`on_timer`](crate::Handler::on_timer) is called once after `after`. It goes with the connection.
    pub fn set_timer(&mut self, after: Duration) -> TimerId {
        self.cx.set_timer(after)
    }

    /// Moves a timer so that it fires after `after` from now. False if it has fired or was cancelled.
    pub fn postpone_timer(&mut self, timer: TimerId, after: Duration) -> bool {
        self.cx.postpone_timer(timer, after)
    }

    /// Cancels a timer. False if it has fired or was cancelled before.
    pub fn cancel_timer(&mut self, timer: TimerId) -> bool {
        self.cx.cancel_timer(timer)
    }
}

impl Deref for Peer<'_, '_> {
    type Target = Core;

    fn deref(&self) -> &Core {
        self.cx
    }
}

impl DerefMut for Peer<'_, '_> {
    fn deref_mut(&mut self) -> &mut Core {
        self.cx
    }
}
