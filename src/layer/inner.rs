//! What a layer is around: the inner protocol, and what must be kept for it.

use std::any::Any;

use crate::context::Requests;
use crate::link::Flag;
use crate::outbox::Outbox;
use crate::{CloseReason, Closing, Context, Failure, Input, LimitExceeded, Message, Protocol, TimerId};

mod output;
mod switch;
mod tail;

/// The protocol inside a layer. Its callbacks are a layer's to call; what it asks for (close, half-close, a switch)
/// is seen to by [`Layered`](crate::Layered).
pub struct Inner<P> {
    protocol: Slot<P>,
    /// What it asked for in the callback just made.
    asked: Requests,
    /// It has closed or failed: only `on_close` follows.
    ended: bool,
    /// It has finished: it sends no more.
    finished: bool,
    opened: bool,
    /// Its `has_room` said no.
    drain_owed: bool,
    takeover: Takeover,
    eof: Eof,
    /// The loop drained already when it took over: it is to be told last.
    shutdown_owed: bool,
    /// It was offered what is unread during the layer's `on_data` that is under way.
    offered: bool,
    /// It, or somebody further in, keeps bytes for a protocol of its own: a re-offer is for that one, too.
    holds: bool,
    pub(super) seals: bool,
    /// Something is to be done after each of its callbacks: its output is kept apart, or ends a datagram.
    attended: bool,
    switches: u8,
    reserve: Option<Box<Reserve>>,
}

/// Whether the inner protocol has taken over from another and is still to be offered what is unread, and
/// told what that one was told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takeover {
    /// It is not, or no more.
    Done,
    /// It took over in the callback that is under way, or since the layer's last `on_data`.
    Fresh,
    /// Now, unless it has paused reading.
    Due,
}

/// What the inner protocol knows of the peer's half-close.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Eof {
    /// There was none.
    None,
    /// It is to be told, behind what is unread.
    Waits,
    Told,
}

enum Slot<P> {
    Own(P),
    Switched(Box<dyn Protocol>),
    /// Only while one takes over from another.
    Empty,
}

/// What few inner protocols need at a time.
#[derive(Default)]
struct Reserve {
    /// Bytes made for it that it has not consumed.
    tail: Vec<u8>,
    wait_for: usize,
    /// What it sent and the layer has not sealed.
    out: Outbox,
    /// Messages that came before it was opened.
    letters: Vec<Message>,
    /// Bytes that the loop's memory was charged with for all this.
    charged: usize,
}

impl<P: Protocol> Inner<P> {
    pub(super) fn new(protocol: P) -> Self {
        Self {
            protocol: Slot::Own(protocol),
            asked: Requests::None,
            ended: false,
            finished: false,
            opened: false,
            drain_owed: false,
            takeover: Takeover::Done,
            eof: Eof::None,
            shutdown_owed: false,
            offered: false,
            holds: false,
            seals: false,
            attended: false,
            switches: 0,
            reserve: None,
        }
    }

    /// The inner protocol; `None` if another has taken over.
    pub fn get(&self) -> Option<&P> {
        match &self.protocol {
            Slot::Own(protocol) => Some(protocol),
            _ => None,
        }
    }

    /// The inner protocol, to be changed; `None` if another has taken over.
    pub fn get_mut(&mut self) -> Option<&mut P> {
        match &mut self.protocol {
            Slot::Own(protocol) => Some(protocol),
            _ => None,
        }
    }

    /// The protocol that has taken over from the first, if it is a `Q`.
    pub fn switched<Q: Protocol>(&mut self) -> Option<&mut Q> {
        match &mut self.protocol {
            Slot::Switched(protocol) => {
                let protocol: &mut dyn Any = &mut **protocol;
                protocol.downcast_mut()
            }
            _ => None,
        }
    }

    /// Calls into the inner protocol as one of its callbacks: what it sends and asks for there is its
    /// own. `None` if it is not open, or another has taken over.
    ///
    /// # Errors
    ///
    /// The closure's: it ends the connection, as any callback's.
    pub fn with<R>(
        &mut self,
        cx: &mut Context<'_>,
        callback: impl FnOnce(&mut P, &mut Context<'_>) -> Result<R, Failure>,
    ) -> Result<Option<R>, Failure> {
        let mut returned = None;
        self.call(cx, |protocol, cx| {
            let protocol: &mut dyn Any = protocol;
            if let Some(protocol) = protocol.downcast_mut::<P>() {
                returned = Some(callback(protocol, cx)?);
            }
            Ok(())
        })?;
        Ok(returned)
    }

    /// Whether the inner protocol was opened.
    pub fn is_open(&self) -> bool {
        self.opened && !self.ended
    }

    /// Calls the inner `on_open`, and hands over the messages that waited for it.
    ///
    /// # Errors
    ///
    /// The inner protocol's; so for all of these.
    pub fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.opened = true;
        self.attended = self.seals || cx.is_datagram();
        self.call(cx, |protocol, cx| protocol.on_open(cx))?;
        let letters = self.reserve.as_mut().map(|reserve| std::mem::take(&mut reserve.letters));
        let mut letters = letters.into_iter().flatten();
        let result = letters.try_for_each(|message| self.on_message(cx, message));
        cx.count_undelivered(letters.count() as u64);
        result
    }

    /// Offers the inner protocol the layer's own input, untransformed.
    ///
    /// # Errors
    ///
    /// The inner protocol's.
    #[inline]
    pub fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        if !self.is_open() {
            return Ok(());
        }
        let before = input.len();
        self.offered = true;
        // Empty input is a re-offer for somebody further in.
        if before > 0 || self.holds || cx.link.flags.contains(Flag::EMPTY_DATAGRAM) {
            self.holds = false; // whoever still does says so again
            self.call(cx, |protocol, cx| protocol.on_data(cx, input))?;
        }
        if input.len() < before {
            self.switches = 0;
        }
        if self.is_up_to_date() { Ok(()) } else { self.bring_up_to_date(cx, input) }
    }

    /// Tells the inner protocol that the peer will send no more, with the layer's own rest.
    ///
    /// # Errors
    ///
    /// The inner protocol's.
    pub fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        if !self.opened {
            self.asked = self.asked.max(Requests::Close);
            return Ok(());
        }
        self.eof = Eof::Waits;
        if self.takeover == Takeover::Done {
            return self.bring_up_to_date(cx, rest);
        }
        self.takeover = Takeover::Due;
        self.on_data(cx, rest)
    }

    /// A timer of the inner protocol, or of one inside it.
    ///
    /// # Errors
    ///
    /// The inner protocol's.
    pub fn on_timer(&mut self, cx: &mut Context<'_>, timer: TimerId) -> Result<(), Failure> {
        self.call(cx, |protocol, cx| protocol.on_timer(cx, timer))
    }

    /// Calls the inner `on_drain`, if one is owed.
    ///
    /// # Errors
    ///
    /// The inner protocol's.
    pub fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if !std::mem::take(&mut self.drain_owed) {
            return Ok(());
        }
        self.call(cx, |protocol, cx| protocol.on_drain(cx))
    }

    /// Hands a message over; it waits until the inner protocol is opened.
    ///
    /// # Errors
    ///
    /// The inner protocol's.
    pub fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        if self.is_open() {
            return self.call(cx, |protocol, cx| protocol.on_message(cx, message));
        }
        if self.ended {
            cx.count_undelivered(1);
            return Ok(());
        }
        let limit = cx.limits().mailbox;
        let letters = &mut self.reserve().letters;
        if letters.len() < limit {
            letters.push(message);
        } else {
            cx.count_undelivered(1);
        }
        Ok(())
    }

    /// Calls the inner `on_shutdown`; one that was never opened just closes.
    ///
    /// # Errors
    ///
    /// The inner protocol's.
    pub fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if !self.opened {
            self.asked = self.asked.max(Requests::Close);
            return Ok(());
        }
        self.call(cx, |protocol, cx| protocol.on_shutdown(cx))
    }

    pub(super) fn on_close(&mut self, cx: &mut Closing<'_>, reason: &CloseReason) {
        if let Some(reserve) = self.reserve.take() {
            cx.core.held -= reserve.charged;
            cx.count_undelivered(reserve.letters.len() as u64);
        }
        match &mut self.protocol {
            Slot::Own(protocol) => protocol.on_close(cx, reason),
            Slot::Switched(protocol) => protocol.on_close(cx, reason),
            Slot::Empty => {}
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match &self.protocol {
            Slot::Own(protocol) => protocol.name(),
            Slot::Switched(protocol) => protocol.name(),
            Slot::Empty => "",
        }
    }

    /// What the inner protocol asked for since this was last called.
    #[inline]
    pub(super) fn take_request(&mut self) -> Requests {
        std::mem::take(&mut self.asked)
    }

    /// One callback, with what the inner protocol asks for kept apart from what the layer asks for.
    #[inline]
    fn call(
        &mut self,
        cx: &mut Context<'_>,
        callback: impl FnOnce(&mut dyn Protocol, &mut Context<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if !self.is_open() {
            return Ok(());
        }
        let before = if self.finished { Requests::Finish } else { Requests::None };
        let said_inside = Flag::DRAIN_OWED | Flag::INNER_TAIL;
        let said_outside = cx.link.flags.only(said_inside);
        cx.link.flags.remove(said_inside);
        let seals = self.seals;
        if seals {
            self.reserve();
        }
        let outside = if seals { cx.backlog() } else { cx.outside + cx.returned };
        let out = match &mut self.reserve {
            Some(reserve) if seals => &mut reserve.out,
            _ => &mut *cx.out,
        };
        let mut inside = Context {
            core: cx.core,
            link: cx.link,
            stream: cx.stream,
            out,
            outside,
            offered: cx.offered,
            returned: 0,
            requests: before,
            depth: cx.depth + 1,
        };
        let result = match &mut self.protocol {
            Slot::Own(protocol) => callback(protocol, &mut inside),
            Slot::Switched(protocol) => callback(&mut **protocol, &mut inside),
            Slot::Empty => Ok(()),
        };
        let asked = inside.requests;
        self.drain_owed |= cx.link.flags.contains(Flag::DRAIN_OWED);
        self.holds |= cx.link.flags.contains(Flag::INNER_TAIL);
        cx.link.flags.insert(said_outside);
        if asked == before && result.is_ok() && cx.core.switch.is_none() && !self.attended {
            return Ok(());
        }
        self.note(cx, asked, before, result)
    }

    /// Takes note of what a callback asked for; carries out a switch.
    #[cold]
    fn note(
        &mut self,
        cx: &mut Context<'_>,
        asked: Requests,
        before: Requests,
        result: Result<(), Failure>,
    ) -> Result<(), Failure> {
        if cx.is_datagram() {
            self.end_datagram(cx);
        }
        if asked > before {
            self.asked = self.asked.max(asked);
            self.finished |= asked == Requests::Finish;
        }
        if result.is_err() {
            self.asked = self.asked.max(Requests::Close);
        }
        self.ended |= self.asked >= Requests::Close;
        let to_switch = cx.core.switch.as_ref().is_some_and(|&(depth, _)| depth == cx.depth + 1);
        if to_switch
            && let Some((_, to)) = cx.core.switch.take()
            && !self.ended
        {
            self.switch(cx, to)?;
        }
        let waiting = self.reserve.as_ref().map_or(0, |reserve| reserve.out.len());
        let limit = cx.limits().send_buffer;
        if waiting > limit {
            return Err(LimitExceeded::SendBuffer { wanted: waiting, limit }.into());
        }
        result
    }

    /// Charges the loop's memory with what is kept now.
    fn charge(&mut self, cx: &mut Context<'_>) -> Result<(), LimitExceeded> {
        let Some(reserve) = &mut self.reserve else { return Ok(()) };
        let now = reserve.tail.capacity() + reserve.out.len();
        let before = std::mem::replace(&mut reserve.charged, now);
        cx.core.charge(before, now)
    }

    fn reserve(&mut self) -> &mut Reserve {
        self.reserve.get_or_insert_default()
    }
}
