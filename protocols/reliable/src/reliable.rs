//! The session as a protocol: callbacks in, callbacks of the handler out.

use std::rc::Rc;

use switchboard::{Blame, CloseReason, Closing, Context, Failure, Input, Message, Protocol, Time, TimerId};

use crate::error::{PeerGone, UsageError};
use crate::handler::Closed;
use crate::header::Chunks;
use crate::link::{self, Verdict};
use crate::session::{Session, Wire};
use crate::{Handler, Peer, Settings};

/// Reliable messages over a UDP session, with `H` on top: see the [crate's page](crate).
pub struct Reliable<H> {
    handler: H,
    state: State,
}

/// All but the handler.
pub(crate) struct State {
    pub(crate) session: Session,
    is_client: bool,
    /// Whether the handler's `on_open` was called.
    opened: bool,
    pub(crate) owes_drain: bool,
    /// The session's timer, and when it fires: it is moved only where something is due before.
    timer: Option<(TimerId, Time)>,
    /// What was posted before the session stood.
    posts: Vec<Message>,
    /// What the loop was told that is held.
    held: usize,
}

impl<H: Handler> Reliable<H> {
    /// The side that waits to be spoken to: one for each session of a
    /// [bound socket](switchboard::EventLoop::bind_sessions). With default [`Settings`].
    #[must_use]
    pub fn server(handler: H) -> Self {
        let settings = Rc::default();
        Self { handler, state: State::new(Session::server(&settings), false) }
    }

    /// The side that speaks first: for [`connect_udp`](switchboard::Core::connect_udp). With default [`Settings`].
    #[must_use]
    pub fn client(handler: H) -> Self {
        let settings = Rc::default();
        Self { handler, state: State::new(Session::client(&settings), true) }
    }

    /// The same with these settings. They are [checked](Settings::check) when the session begins, which fails if they can't
    /// be.
    #[must_use]
    pub fn with_settings(mut self, settings: &Rc<Settings>) -> Self {
        let is_client = self.state.is_client;
        let session = if is_client { Session::client(settings) } else { Session::server(settings) };
        self.state = State::new(session, is_client);
        self
    }

    /// The handler.
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// Opens the handler, and hands it what was posted before.
    fn open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.state.opened = true;
        self.handler.on_open(&mut Peer::new(cx, &mut self.state))?;
        for message in std::mem::take(&mut self.state.posts) {
            self.post(cx, message)?;
        }
        Ok(())
    }

    fn post(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        if self.state.session.is_over() {
            cx.count_undelivered(1);
            return Ok(());
        }
        let peer = &mut Peer::new(cx, &mut self.state);
        match message {
            Message::Published(publication) => self.handler.on_publication(peer, &publication),
            message => self.handler.on_post(peer, message),
        }
    }

    fn receive(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        let received = self.state.session.receive(cx, input)?;
        if received.opened {
            self.open(cx)?;
        }
        match received.verdict {
            Verdict::Dropped => return Ok(()), // the loop counts what is left
            Verdict::Taken => {}
            Verdict::Deliver(segment) => self.deliver(cx, segment)?,
        }
        input.take_all();
        Ok(())
    }

    /// Hands a segment's messages to the handler; the rest waits if it pauses.
    fn deliver(&mut self, cx: &mut Context<'_>, segment: &[u8]) -> Result<(), Failure> {
        let mut chunks = Chunks(segment);
        while let Some(link) = self.state.session.link_mut() {
            if link.is_paused() {
                if !chunks.0.is_empty() {
                    link.put_back(chunks.0);
                }
                return Ok(());
            }
            let Some(chunk) = chunks.next() else { return Ok(()) };
            match link.assemble(chunk)? {
                None => {}
                Some(link::Message::Whole(message)) => {
                    self.handler.on_message(&mut Peer::new(cx, &mut self.state), message)?;
                }
                Some(link::Message::Assembled(message)) => {
                    self.handler.on_message(&mut Peer::new(cx, &mut self.state), &message)?;
                    if let Some(link) = self.state.session.link_mut() {
                        link.reuse(message);
                    }
                }
            }
        }
        Ok(())
    }

    /// After each callback: what can be delivered is, the handler is told of room, and what is to be sent goes out.
    fn settle(&mut self, cx: &mut Context<'_>, outcome: Result<(), Failure>) -> Result<(), Failure> {
        let settled = outcome.and_then(|()| self.proceed(cx));
        let state = &mut self.state;
        if settled.is_err() {
            state.session.abort(cx);
        }
        let held = state.declare(cx);
        if let (Ok(()), Err(_)) = (&settled, &held) {
            state.session.abort(cx);
        }
        if state.session.is_over() {
            cx.close();
        } else {
            state.set_timer(cx);
        }
        settled.and(held)
    }

    fn proceed(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        loop {
            while let Some(link) = self.state.session.link_mut() {
                let Some(segment) = link.take_ready()? else { break };
                self.deliver(cx, &segment)?;
            }
            if !self.state.is_drained() {
                break;
            }
            self.state.owes_drain = false;
            self.handler.on_drain(&mut Peer::new(cx, &mut self.state))?;
        }
        self.state.session.flush(cx);
        Ok(())
    }
}

impl State {
    fn new(session: Session, is_client: bool) -> Self {
        Self { session, is_client, opened: false, owes_drain: false, timer: None, posts: Vec::new(), held: 0 }
    }

    /// Whether the handler is to be told that there is room.
    fn is_drained(&self) -> bool {
        let low = self.session.settings().send_buffer / 4;
        self.owes_drain && self.session.link().is_some_and(|link| link.is_open() && link.backlog() <= low)
    }

    /// Tells the loop what is held.
    fn declare(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let held = self.session.held() + self.posts.capacity() * size_of::<Message>();
        if held != std::mem::replace(&mut self.held, held) {
            cx.hold(held)?;
        }
        Ok(())
    }

    /// Sees to it that the timer fires when something is due; where it fires before, it is set anew then.
    fn set_timer(&mut self, cx: &mut Context<'_>) {
        let Some(deadline) = self.session.deadline() else { return };
        let after = deadline.saturating_since(cx.now());
        match self.timer {
            Some((_, fires)) if fires <= deadline => {}
            Some((timer, _)) if cx.postpone_timer(timer, after) => self.timer = Some((timer, deadline)),
            _ => self.timer = Some((cx.set_timer(after), deadline)),
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.timer = None;
        let now = cx.now();
        let due = self.session.deadline().filter(|deadline| *deadline <= now);
        due.map_or(Ok(()), |due| self.session.on_timer(cx, now.saturating_since(due))).map_err(blamed)
    }
}

/// A network that carries nothing is nobody's fault.
fn blamed(error: PeerGone) -> Failure {
    let is_network = matches!(error, PeerGone::NoAnswer(_) | PeerGone::Unreachable(_));
    Failure::new(if is_network { Blame::System } else { Blame::Peer }, error)
}

impl<H: Handler> Protocol for Reliable<H> {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if !cx.is_datagram() {
            return Err(Failure::caller(UsageError::NotDatagrams));
        }
        self.state.session.settings().check(cx.limits()).map_err(Failure::caller)?;
        self.state.session.begin(cx);
        self.settle(cx, Ok(()))
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        let received = self.receive(cx, input);
        self.settle(cx, received)
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, timer: TimerId) -> Result<(), Failure> {
        let outcome = match self.state.timer {
            Some((own, _)) if own == timer => self.state.on_timer(cx),
            _ if self.state.session.is_over() => Ok(()),
            _ => self.handler.on_timer(&mut Peer::new(cx, &mut self.state), timer),
        };
        self.settle(cx, outcome)
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.settle(cx, Ok(()))
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        let outcome = if self.state.opened {
            self.post(cx, message)
        } else {
            if self.state.posts.len() < cx.limits().mailbox {
                self.state.posts.push(message);
            } else {
                cx.count_undelivered(1);
            }
            Ok(())
        };
        self.settle(cx, outcome)
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let outcome = if self.state.session.link().is_some() {
            self.handler.on_shutdown(&mut Peer::new(cx, &mut self.state))
        } else {
            self.state.session.leave(false);
            Ok(())
        };
        self.settle(cx, outcome)
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, reason: &CloseReason) {
        cx.count_undelivered(self.state.posts.len() as u64);
        let is_mistake = reason.blame() == Some(Blame::Caller);
        if !self.state.opened && !self.state.is_client && !is_mistake {
            return;
        }
        let (unsent, clean, by_peer) = self.state.session.end();
        self.handler.on_close(cx, &Closed { clean, by_peer, unsent, stats: self.state.session.stats, cause: reason });
    }
}

impl Wire for Context<'_> {
    fn now(&self) -> Time {
        (**self).now()
    }

    fn random(&mut self) -> u64 {
        let mut bytes = [0; 8];
        (**self).random(&mut bytes);
        u64::from_be_bytes(bytes)
    }

    fn send(&mut self, datagram: &[u8]) {
        Context::send(self, datagram);
    }

    fn has_room(&mut self) -> bool {
        Context::has_room(self)
    }
}
