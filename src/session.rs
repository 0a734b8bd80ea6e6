//! The state machine of a session: one peer's datagrams on a UDP socket, for a [`Protocol`] of its own.
//!
//! It has no states beside open and gone. What is sent goes to the socket or its queue when a callback has returned, so
//! that a close has nothing to wait for; no end of the stream comes, and nobody need be told of one.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use crate::connection::Outcome;
use crate::context::Requests;
use crate::core::SwitchTo;
use crate::datagram::Datagrams;
use crate::driver::Socket;
use crate::link::{Flag, Link};
use crate::outbox::Outbox;
use crate::timer::LOOP_DEPTH;
use crate::trace;
use crate::udp::UdpStatus;
use crate::{
    Callback, CloseReason, Context, Core, EndpointId, Failure, Input, LimitExceeded, Protocol, SendOptions, Time,
    TimerId,
};

mod admission;
mod route;
mod socket;
mod watching;

pub(crate) use admission::Admission;
pub(crate) use route::Route;
pub(crate) use socket::{Peers, Serves, SessionSocket};

/// How often a protocol may switch while it has one datagram.
const SWITCHES: u32 = 16;

/// A session's entry in the slab.
pub(crate) struct Session {
    pub(crate) link: Link,
    /// The id of its socket.
    pub(crate) socket: EndpointId,
    pub(crate) route: Route,
    /// `None` once `on_close` was called.
    protocol: Option<Box<dyn Protocol>>,
    /// After how long without a datagram it closes.
    idle_timeout: Option<Duration>,
    /// When the datagram came since which it has been given more time than that.
    spared: Option<Time>,
}

/// What a session's visit needs of the loop.
pub(crate) struct Desk<'a, K> {
    pub(crate) core: &'a mut Core,
    pub(crate) out: &'a mut Outbox,
    pub(crate) socket: &'a mut SessionSocket<K>,
    /// What the socket is to send, of this visit and those before it in the same batch.
    pub(crate) sent: &'a mut Datagrams,
    /// Bytes at the end of a datagram that its callback has sent back.
    pub(crate) returned: usize,
}

impl Session {
    pub(crate) fn new(
        mut link: Link,
        socket: EndpointId,
        route: Route,
        protocol: Box<dyn Protocol>,
        idle_timeout: Option<Duration>,
    ) -> Self {
        link.flags.insert(Flag::DATAGRAM);
        Self { link, socket, route, protocol: Some(protocol), idle_timeout, spared: None }
    }

    pub(crate) fn protocol(&mut self) -> Option<&mut dyn Protocol> {
        self.protocol.as_deref_mut()
    }

    /// The session begins.
    pub(crate) fn open<K: Socket>(&mut self, desk: &mut Desk<'_, K>) -> UdpStatus {
        desk.core.counters[self.link.counters as usize].opened += 1;
        if let Some(after) = self.idle_timeout.filter(|&after| after < Duration::MAX) {
            desk.core.timers.set(self.link.id, &mut self.link.timers, LOOP_DEPTH, desk.core.now + after);
        }
        trace::opened(self.link.id, &self.route);
        self.expect_mail(desk.core);
        self.visit(desk, Callback::Open, Protocol::on_open)
    }

    /// Calls the protocol once, and carries out what it asked for.
    pub(crate) fn visit<K: Socket>(
        &mut self,
        desk: &mut Desk<'_, K>,
        which: Callback,
        callback: impl FnOnce(&mut dyn Protocol, &mut Context<'_>) -> Result<(), Failure>,
    ) -> UdpStatus {
        let outcome = self.call(desk, which, callback);
        self.settle(desk, outcome, &mut [])
    }

    /// A datagram has come from the peer: in the batch that is handed over the one with this bit, if it has one.
    pub(crate) fn on_datagram<K: Socket>(
        &mut self,
        desk: &mut Desk<'_, K>,
        local: Option<IpAddr>,
        bit: u64,
        payload: &mut [u8],
    ) -> UdpStatus {
        self.link.last_read = desk.core.now;
        self.route.heard_at(local);
        if self.link.flags.contains(Flag::PAUSED) {
            let counters = &mut desk.core.counters[self.link.counters as usize];
            counters.datagrams_discarded += 1;
            counters.bytes_discarded += payload.len() as u64;
            return UdpStatus::Alive;
        }
        if payload.is_empty() || self.link.flags.contains(Flag::FINISHING) {
            return self.offer_datagram(desk, payload);
        }
        let fits = payload.len() <= desk.core.limits.high_water;
        let mut input = Input::returnable(payload, if fits { 0 } else { Input::NOWHERE });
        let outcome = self.call(desk, Callback::Data, |protocol, cx| protocol.on_data(cx, &mut input));
        let rest = input.take_all().len();
        let end = payload.len() - rest;
        if desk.returned > 0 {
            let is_whole = desk.returned == payload.len() && !matches!(outcome, Outcome::Abort);
            if !(is_whole && self.route.source.is_none() && desk.sent.give_back(bit)) {
                desk.out.prepend_datagram(&payload[end - desk.returned..end]);
            } else if desk.socket.outlet.is_empty() {
                self.link.last_write = desk.core.now;
            }
        }
        self.settle(desk, outcome, &mut payload[end..])
    }

    /// One that can't be sent back from where it lies.
    #[cold]
    fn offer_datagram<K: Socket>(&mut self, desk: &mut Desk<'_, K>, payload: &mut [u8]) -> UdpStatus {
        if payload.is_empty() {
            self.link.flags.insert(Flag::EMPTY_DATAGRAM);
        }
        let mut input = Input::new(payload);
        let outcome = self.call(desk, Callback::Data, |protocol, cx| protocol.on_data(cx, &mut input));
        self.link.flags.remove(Flag::EMPTY_DATAGRAM);
        self.settle(desk, outcome, input.take_all())
    }

    /// One of the protocol's own timers, or that of the loop, is due.
    pub(crate) fn on_timer<K: Socket>(&mut self, desk: &mut Desk<'_, K>, timer: TimerId) -> UdpStatus {
        if !desk.core.timers.fire(&mut self.link.timers, timer) {
            return UdpStatus::Alive;
        }
        if timer.depth() == LOOP_DEPTH {
            return self.expire(desk);
        }
        desk.expect_progress(self, |session, desk| {
            session.visit(desk, Callback::Timer, |protocol, cx| protocol.on_timer(cx, timer))
        })
    }

    /// Closes the session if its peer has been silent for so long; if not, looks again when it may have been.
    fn expire<K: Socket>(&mut self, desk: &mut Desk<'_, K>) -> UdpStatus {
        /// How much longer, once, if the socket has more to read than fitted into the turn: its datagrams may be there.
        const GRACE: Duration = Duration::from_secs(1);
        let Some(after) = self.idle_timeout else { return UdpStatus::Alive };
        let mut until = self.link.last_read + after;
        let unread = desk.socket.link.flags.contains(Flag::READABLE);
        if desk.core.now >= until && unread && self.spared != Some(self.link.last_read) {
            // However late it is: a loop that was held up has not read what came meanwhile.
            self.spared = Some(self.link.last_read);
            until = desk.core.now + GRACE.min(after);
        }
        if desk.core.now < until {
            desk.core.timers.set(self.link.id, &mut self.link.timers, LOOP_DEPTH, until);
            return UdpStatus::Alive;
        }
        self.end(desk.core, CloseReason::Idle(after))
    }

    /// Hands over the letters that are in the mailbox now.
    pub(crate) fn deliver_mail<K: Socket>(&mut self, desk: &mut Desk<'_, K>) -> UdpStatus {
        let mut outcome = Outcome::GoOn;
        while let Some(message) = desk.core.next_message(&self.link) {
            outcome = self.call(desk, Callback::Message, |protocol, cx| protocol.on_message(cx, message));
            let much = desk.out.len() > desk.core.limits.high_water;
            if !matches!(outcome, Outcome::GoOn) || desk.core.switch.is_some() || much {
                break;
            }
        }
        let status = self.settle(desk, outcome, &mut []);
        self.expect_mail(desk.core);
        status
    }

    /// Puts this session on the next round if letters wait for it.
    fn expect_mail(&mut self, core: &mut Core) {
        let id = self.link.id;
        if let Some(desk) = core.registry.desk(id)
            && !desk.mailbox.is_empty()
        {
            core.post_office.visit(&mut desk.mailbox, id);
        }
    }

    /// The socket's queue has gone down.
    pub(crate) fn on_ready<K: Socket>(&mut self, desk: &mut Desk<'_, K>) -> UdpStatus {
        self.link.flags.remove(Flag::QUEUED);
        if !self.link.flags.contains(Flag::DRAIN_OWED) || !desk.socket.has_drained(desk.core) {
            return self.settle(desk, Outcome::GoOn, &mut []);
        }
        self.link.flags.remove(Flag::DRAIN_OWED);
        desk.expect_progress(self, |session, desk| session.visit(desk, Callback::Drain, Protocol::on_drain))
    }

    /// Closes from outside, as the protocol's own `close` or `abort` would.
    pub(crate) fn close_by_command(&mut self, core: &mut Core, abort: bool) -> UdpStatus {
        self.end(core, if abort { CloseReason::Aborted { unsent: 0 } } else { CloseReason::Local })
    }

    /// It has exceeded a limit of which the loop takes note outside of its callbacks.
    pub(crate) fn enforce(&mut self, core: &mut Core, limit: LimitExceeded) -> UdpStatus {
        self.end(core, CloseReason::Limit(limit))
    }

    /// The drain's deadline has come.
    pub(crate) fn cut_off(&mut self, core: &mut Core) -> UdpStatus {
        self.end(core, CloseReason::Shutdown { unsent: 0 })
    }

    /// The peer's system says that nobody is there.
    pub(crate) fn refused(&mut self, core: &mut Core, error: io::Error) -> UdpStatus {
        self.end(core, CloseReason::Io { error, unsent: 0 })
    }

    fn call<K: Socket>(
        &mut self,
        desk: &mut Desk<'_, K>,
        which: Callback,
        callback: impl FnOnce(&mut dyn Protocol, &mut Context<'_>) -> Result<(), Failure>,
    ) -> Outcome {
        let Some(protocol) = self.protocol.as_deref_mut() else { return Outcome::GoOn };
        if let Some(watch) = &mut desk.core.watch {
            watch.begin(Some(self.link.id), protocol.name(), which);
        }
        self.link.flags.remove(Flag::ASKED);
        // What is waiting, as far as the connections' mark goes: a queue that is shorter fills up sooner.
        let limits = &desk.core.limits;
        let sooner = (limits.high_water / 2).saturating_sub(limits.datagram_queue / 2);
        let outside = desk.socket.outlet.len() + desk.sent.len() + sooner;
        let mut cx = Context {
            core: desk.core,
            link: &mut self.link,
            stream: &mut self.route,
            out: desk.out,
            outside,
            offered: 0,
            returned: 0,
            requests: Requests::None,
            depth: 0,
        };
        let result = callback(protocol, &mut cx);
        let requests;
        (desk.returned, requests) = (cx.returned, cx.requests);
        desk.core.end_watched();
        desk.out.end_datagram();
        match (result, requests) {
            (Err(failure), _) => Outcome::Close(CloseReason::Failure(failure)),
            (Ok(()), Requests::None) => Outcome::GoOn,
            (Ok(()), Requests::Finish) => {
                self.link.flags.insert(Flag::FINISHING);
                Outcome::GoOn
            }
            (Ok(()), Requests::Close) => Outcome::Close(CloseReason::Local),
            (Ok(()), Requests::Abort) => Outcome::Abort,
        }
    }

    /// Carries out what a visit's callbacks asked for: switch, output, close. `rest` is what they left of a datagram: it
    /// is for who takes over, or nobody.
    #[inline]
    fn settle<K: Socket>(&mut self, desk: &mut Desk<'_, K>, outcome: Outcome, rest: &mut [u8]) -> UdpStatus {
        let asked = self.link.flags.contains(Flag::REOFFER) || self.link.flags.contains(Flag::DRAIN_OWED);
        if matches!(outcome, Outcome::GoOn) && !asked && desk.core.switch.is_none() && rest.is_empty() {
            self.flush(desk);
            return UdpStatus::Alive;
        }
        self.settle_what_was_asked(desk, outcome, rest)
    }

    fn settle_what_was_asked<K: Socket>(
        &mut self,
        desk: &mut Desk<'_, K>,
        mut outcome: Outcome,
        rest: &mut [u8],
    ) -> UdpStatus {
        let mut rest = Input::new(rest);
        let mut switches = 0;
        while matches!(outcome, Outcome::GoOn) {
            if let Some((_, to)) = desk.core.switch.take() {
                switches += 1;
                outcome = if switches > SWITCHES {
                    Outcome::Close(CloseReason::Limit(LimitExceeded::Switches(SWITCHES)))
                } else {
                    self.switch(desk, to, &mut rest)
                };
            } else if self.has_takeover() {
                outcome = self.offer(desk, &mut rest);
            } else {
                break;
            }
        }
        desk.core.switch = None;
        self.link.flags.remove(Flag::REOFFER); // nothing is kept that could be offered again
        desk.core.counters[self.link.counters as usize].bytes_discarded += rest.len() as u64;
        if let Outcome::Abort = outcome {
            let unsent = desk.out.len();
            let counters = &mut desk.core.counters[self.link.counters as usize];
            counters.bytes_unsent += unsent as u64;
            counters.datagrams_dropped += desk.out.datagrams().count() as u64;
            desk.out.clear_datagrams();
            return self.end(desk.core, CloseReason::Aborted { unsent });
        }
        self.flush(desk);
        if let Outcome::Close(reason) = outcome {
            return self.end(desk.core, reason);
        }
        if self.link.flags.only(Flag::DRAIN_OWED | Flag::QUEUED) == Flag::DRAIN_OWED {
            self.link.flags.insert(Flag::QUEUED);
            desk.socket.owe_drain(desk.core, self.link.id);
        }
        UdpStatus::Alive
    }

    /// Hands the visit's datagrams to the socket.
    fn flush<K: Socket>(&mut self, desk: &mut Desk<'_, K>) {
        if !desk.out.has_datagrams() {
            return;
        }
        let options = SendOptions { source: self.route.source, ecn: None };
        for payload in desk.out.datagrams() {
            desk.sent.push(self.route.peer, options, payload);
        }
        if desk.socket.outlet.is_empty() {
            self.link.last_write = desk.core.now;
        }
        desk.out.clear_datagrams();
    }

    /// Another protocol takes over: it is opened, offered what is left of the datagram, and told that the loop drains.
    fn switch<K: Socket>(&mut self, desk: &mut Desk<'_, K>, to: SwitchTo, rest: &mut Input<'_>) -> Outcome {
        let Some(mut old) = self.protocol.take() else { return Outcome::GoOn };
        desk.core.timers.cancel_depths(&mut self.link.timers, 0..=LOOP_DEPTH - 1);
        desk.core.unsubscribe_from_depth(self.link.id, 0);
        self.link.flags.remove(Flag::PAUSED | Flag::DRAIN_OWED | Flag::INNER_TAIL | Flag::REOFFER);
        desk.core.release_held(self.link.id, 0);
        self.protocol = Some(match to {
            SwitchTo::Replace(new) => {
                self.tell_close(&mut *old, desk.core, &CloseReason::Switched);
                new
            }
            SwitchTo::Wrap(wrap) => wrap(old),
        });
        let mut outcome = self.call(desk, Callback::Open, Protocol::on_open);
        let goes_on = |outcome: &Outcome, core: &Core| matches!(outcome, Outcome::GoOn) && core.switch.is_none();
        if goes_on(&outcome, desk.core) && !rest.is_empty() && !self.link.flags.contains(Flag::PAUSED) {
            outcome = self.offer(desk, rest);
        }
        if goes_on(&outcome, desk.core) && desk.core.draining {
            outcome = self.call(desk, Callback::Shutdown, Protocol::on_shutdown);
        }
        outcome
    }

    /// Whether a protocol has taken over from another inside layers, and is to be brought up to date.
    fn has_takeover(&self) -> bool {
        let asked = Flag::REOFFER | Flag::INNER_TAIL;
        self.link.flags.only(asked | Flag::PAUSED) == asked
    }

    fn offer<K: Socket>(&mut self, desk: &mut Desk<'_, K>, rest: &mut Input<'_>) -> Outcome {
        self.link.flags.remove(Flag::REOFFER | Flag::INNER_TAIL); // whoever still needs one says so again
        self.call(desk, Callback::Data, |protocol, cx| protocol.on_data(cx, rest))
    }

    /// `on_close`, and everything that the protocol had goes.
    fn end(&mut self, core: &mut Core, reason: CloseReason) -> UdpStatus {
        core.release_held(self.link.id, 0);
        core.timers.cancel_depths(&mut self.link.timers, 0..=LOOP_DEPTH);
        core.retire(&self.link);
        core.counters[self.link.counters as usize].closed += 1;
        if let Some(mut protocol) = self.protocol.take() {
            self.tell_close(&mut *protocol, core, &reason);
        }
        core.note_close(self.link.id, reason);
        UdpStatus::Gone
    }
}
