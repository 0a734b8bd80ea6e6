//! The state of a WebSocket connection but for its application, and what it sends.

use std::rc::Rc;
use std::time::Duration;

use switchboard::{Context, Failure, LimitExceeded, Message, Time, TimerId};
use switchboard_heartbeat::{Beat, Config as Heartbeat};

use crate::Settings;
use crate::assembly::Assembly;
use crate::client::Asking;
use crate::close::{self, CloseCode};
use crate::deflate::{Codec, Parameters};
use crate::error::{ProtocolError, UsageError};
use crate::frame::{OpCode, Role};
use crate::handshake::Scanner;
use crate::outgoing::Sending;
use crate::pool;

/// Where in its life the connection is.
///
/// ```text
///             101               close frame sent            both sent, or failed
///  Opening ─────────▶ Open ───────────────────────▶ Closing ───────────────────▶ Closed
///     │ any other       │         close frame received, and answered                ▲
///     ▼ answer          └───────────────────────────────────────────────────────────┘
///  Answered
/// ```
///
/// Between the first piece and the last of a message that is sent in pieces, `Sending` stands for `Open`.
#[derive(Debug)]
pub(crate) enum Phase {
    /// The opening request (to a client: the answer) has not arrived whole.
    Opening(Box<Opening>),
    /// The request was answered by something else than a WebSocket.
    Answered,
    /// Messages come and go.
    Open,
    /// The same, but one is being sent in pieces: others wait behind it.
    Sending(Box<Sending>),
    /// A close frame was sent; the peer's has not come. What else comes is dropped.
    Closing(Box<Farewell>),
    /// Nothing more is sent and nothing that comes is looked at.
    Closed(Box<Farewell>),
}

#[derive(Debug, Default)]
pub(crate) struct Opening {
    pub(crate) scanner: Scanner,
    /// What a client asks for, and has been answered.
    pub(crate) asking: Option<Asking>,
    /// What was posted before the WebSocket stood.
    pub(crate) posts: Vec<Message>,
}

/// How the WebSocket ends: see [`Closed`](crate::Closed).
#[derive(Debug)]
pub(crate) struct Farewell {
    pub(crate) code: CloseCode,
    pub(crate) reason: Box<str>,
    pub(crate) by_peer: bool,
    /// The peer's close frame.
    pub(crate) received: Option<(CloseCode, Box<str>)>,
    /// Bytes of a frame's payload still to be dropped.
    pub(crate) skip: u64,
    /// The frames that are dropped are in the midst of a message.
    pub(crate) in_message: bool,
    /// Bytes that were sent behind the close frame: pongs.
    pub(crate) behind: usize,
}

impl Farewell {
    pub(crate) fn new(code: CloseCode, reason: &str) -> Self {
        Self { code, reason: reason.into(), by_peer: false, received: None, skip: 0, in_message: false, behind: 0 }
    }
}

/// Which end of the connection this is, and whether what it sends goes out as it is: the check that each message costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// A server that does not compress.
    PlainServer,
    Server,
    Client,
}

/// What a connection that is idle and does not compress has not.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// A message of which a part has arrived.
    assembly: Option<Assembly>,
    /// Where compression was agreed on.
    codec: Option<Codec>,
}

/// Everything but the handler: what a [`Peer`](crate::Peer) works on.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) settings: Rc<Settings>,
    pub(crate) side: Side,
    pub(crate) phase: Phase,
    /// A message of which a part has arrived, and what compresses, if there is either.
    rare: Option<Box<Rare>>,
    pub(crate) beat: Beat,
    /// The one timer of the connection's own. What it means follows from the phase: the handshake's deadline, the next
    /// look at the heartbeat, the deadline of the peer's close frame.
    pub(crate) timer: Option<TimerId>,
    /// The handler paused reading.
    pub(crate) paused: bool,
    /// Reading waits for output to drain, with messages unread.
    pub(crate) held: bool,
    /// The handler was told that there is no room.
    pub(crate) owes_drain: bool,
    /// Messages that were to be sent and never will be: see [`Closed::unsent`](crate::Closed::unsent).
    pub(crate) unsent: u32,
}

impl State {
    pub(crate) fn new(settings: &Rc<Settings>) -> Self {
        Self {
            settings: Rc::clone(settings),
            side: Side::PlainServer,
            phase: Phase::Opening(Box::default()),
            rare: None,
            beat: Beat::new(&Heartbeat::default(), Time::ZERO, 0),
            timer: None,
            paused: false,
            held: false,
            owes_drain: false,
            unsent: 0,
        }
    }

    pub(crate) fn client(settings: &Rc<Settings>, asking: Asking) -> Self {
        let opening = Opening { asking: Some(asking), ..Opening::default() };
        let phase = Phase::Opening(Box::new(opening));
        Self { side: Side::Client, phase, ..Self::new(settings) }
    }

    /// A message of which a part has arrived.
    #[inline]
    pub(crate) fn assembly(&self) -> Option<&Assembly> {
        self.rare.as_ref()?.assembly.as_ref()
    }

    #[inline]
    pub(crate) fn assembly_mut(&mut self) -> Option<&mut Assembly> {
        self.rare.as_mut()?.assembly.as_mut()
    }

    /// The same, and the settings.
    pub(crate) fn arriving(&mut self) -> Option<(&mut Assembly, &Settings)> {
        Some((self.rare.as_mut()?.assembly.as_mut()?, &self.settings))
    }

    /// Where compression was agreed on.
    pub(crate) fn codec(&self) -> Option<&Codec> {
        self.rare.as_ref()?.codec.as_ref()
    }

    pub(crate) fn codec_mut(&mut self) -> Option<&mut Codec> {
        self.rare.as_mut()?.codec.as_mut()
    }

    #[inline]
    pub(crate) fn is_client(&self) -> bool {
        self.side == Side::Client
    }

    pub(crate) fn role(&self) -> Role {
        if self.is_client() { Role::Client } else { Role::Server }
    }

    /// Open, with a message on its way out in pieces.
    #[cold]
    #[inline(never)]
    pub(crate) fn is_sending(&self) -> bool {
        matches!(self.phase, Phase::Sending(_))
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Sending(_))
    }

    /// Nothing more can be sent, or the connection is about to fail.
    pub(crate) fn is_ending(&self) -> bool {
        match &self.phase {
            Phase::Opening(_) | Phase::Open => false,
            Phase::Sending(sending) => sending.failure().is_some(),
            Phase::Answered | Phase::Closing(_) | Phase::Closed(_) => true,
        }
    }

    /// The WebSocket stands, with this agreed on.
    pub(crate) fn begin_compression(&mut self, agreed: Option<Parameters>) {
        let agreed = agreed.zip(self.settings.compression.as_ref());
        let codec = agreed.map(|(parameters, wishes)| Codec::new(self.role(), &parameters, wishes));
        self.rare = codec.map(|codec| Box::new(Rare { assembly: None, codec: Some(codec) }));
        if self.rare.is_some() && self.side == Side::PlainServer {
            self.side = Side::Server;
        }
    }

    /// Bytes of memory that it takes besides a message that arrives: those of the connection's own compression, and of
    /// messages that wait to be sent.
    pub(crate) fn memory(&self) -> usize {
        let sending = if let Phase::Sending(sending) = &self.phase { sending.memory() } else { 0 };
        sending + self.codec().map_or(0, Codec::memory)
    }

    /// Declares what it takes now.
    pub(crate) fn declare(&self, cx: &mut Context<'_>) -> Result<(), LimitExceeded> {
        cx.hold(self.memory() + self.assembly().map_or(0, Assembly::capacity))
    }

    /// The same where it is less than before: that can't be more than the loop may hold.
    pub(crate) fn release(&self, cx: &mut Context<'_>) {
        let _ = self.declare(cx);
    }

    /// Begins the closing handshake (RFC 6455 §7.1.2); does nothing if it has begun.
    pub(crate) fn close(&mut self, cx: &mut Context<'_>, code: CloseCode, reason: &str) -> Result<(), Failure> {
        if !self.is_open() {
            return Ok(());
        }
        if !code.is_sendable() && code != CloseCode::NO_STATUS {
            return Err(Failure::caller(UsageError::CloseCode(code)));
        }
        let mut farewell = self.send_close(cx, code, reason);
        if let Some(assembly) = self.assembly() {
            farewell.in_message = assembly.expects_frame();
            farewell.skip = assembly.left();
        }
        self.leave(cx, Phase::Closing(Box::new(farewell)));
        self.arm(cx, self.settings.close_timeout);
        if self.paused || self.held {
            (self.paused, self.held) = (false, false);
            cx.resume_reading(); // or the peer's close frame would not be seen
        }
        Ok(())
    }

    /// The connection fails (RFC 6455 §7.1.7): tells the peer why, if it can still be told. The caller then returns the
    /// failure, upon which the loop delivers what was sent and closes.
    #[cold]
    pub(crate) fn abandon(&mut self, cx: &mut Context<'_>, code: CloseCode, reason: &str) {
        if self.is_open() {
            let farewell = self.send_close(cx, code, reason);
            self.leave(cx, Phase::Closed(Box::new(farewell)));
        }
    }

    /// The peer broke the protocol.
    #[cold]
    pub(crate) fn refuse(&mut self, cx: &mut Context<'_>, error: impl Into<ProtocolError>) -> Failure {
        let error = error.into();
        self.abandon(cx, error.close_code(), &error.to_string());
        Failure::peer(error)
    }

    fn send_close(&mut self, cx: &mut Context<'_>, code: CloseCode, reason: &str) -> Farewell {
        let reason = if code == CloseCode::NO_STATUS { "" } else { close::fit_reason(reason) };
        self.send_close_frame(cx, code, reason);
        Farewell::new(code, reason)
    }

    /// `reason` must fit.
    pub(crate) fn send_close_frame(&mut self, cx: &mut Context<'_>, code: CloseCode, reason: &str) {
        if code == CloseCode::NO_STATUS {
            self.send(cx, OpCode::Close, b"");
        } else {
            let payload = [&code.0.to_be_bytes(), reason.as_bytes()].concat();
            self.send(cx, OpCode::Close, &payload);
        }
    }

    /// Messages come and go no more: those that are under way, either way, are dropped, and subscriptions end.
    pub(crate) fn leave(&mut self, cx: &mut Context<'_>, phase: Phase) {
        if let Phase::Sending(sending) = std::mem::replace(&mut self.phase, phase) {
            self.unsent = self.unsent.saturating_add(sending.unsent());
        }
        self.take_assembly(cx);
        self.release(cx);
        cx.unsubscribe_all();
    }

    /// A message arrives.
    pub(crate) fn begin_assembly(&mut self, assembly: Assembly) {
        self.rare.get_or_insert_with(pool::rare).assembly = Some(assembly);
    }

    /// The message that arrives, which is complete or given up.
    pub(crate) fn take_assembly(&mut self, cx: &mut Context<'_>) -> Option<Assembly> {
        let assembly = self.rare.as_mut()?.assembly.take()?;
        if self.codec().is_none() {
            self.rare.take().into_iter().for_each(pool::keep_rare);
        }
        if let Some(timer) = assembly.timer {
            cx.cancel_timer(timer);
        }
        Some(assembly)
    }

    /// Has the connection's own timer fire after `after` from now.
    pub(crate) fn arm(&mut self, cx: &mut Context<'_>, after: Duration) {
        match self.timer {
            Some(timer) if cx.postpone_timer(timer, after) => {}
            _ => self.timer = Some(cx.set_timer(after)),
        }
    }

    pub(crate) fn disarm(&mut self, cx: &mut Context<'_>) {
        if let Some(timer) = self.timer.take() {
            cx.cancel_timer(timer);
        }
    }
}
