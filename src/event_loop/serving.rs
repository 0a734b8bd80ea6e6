//! Who is visited in a turn: whom the system has news of, who has something left to do, whose timers are due, and for whom
//! there are letters.

use super::{Entry, EventLoop};
use crate::connection::{Connection, Status, Workshop};
use crate::{Core, EndpointId};

use crate::driver::{Driver, Event, Ready};
use crate::link::Flag;
use crate::session::Session;
use crate::udp::{DatagramWorkshop, UdpEndpoint, UdpStatus};

impl<D: Driver> EventLoop<D> {
    /// Step 4. As the steps that follow: false if its budget ends before it does; then it is gone on with.
    pub(super) fn serve_events<const BUDGET: bool>(&mut self) -> bool {
        let done = self.resume::<BUDGET>();
        let events = std::mem::take(&mut self.events);
        let mut finished = true;
        if BUDGET {
            for (index, event) in D::ready(&events).enumerate().skip(done) {
                self.serve_event(event);
                if self.is_over() {
                    (self.done, finished) = (index + 1, false);
                    break;
                }
            }
        } else {
            // Without a count the events stay in registers, which spares 10 instructions each.
            for event in D::ready(&events) {
                self.serve_event(event);
            }
        }
        self.events = events;
        finished
    }

    /// The usual case by itself.
    #[inline(always)]
    fn serve_event(&mut self, event: impl Event) {
        if event.is_just_readable()
            && let Some(connection) = self.entries.connection_mut(EndpointId::from_key(event.key()))
            && connection.is_at_rest()
        {
            let usual = connection.read_at_rest(&mut self.core, &mut self.shop, D::SHORT_MEANS_DRAINED);
            if let Err(unusual) = usual {
                let status = connection.end_unusually(&mut self.core, &mut self.shop, unusual);
                if status != Status::Alive {
                    self.remove_connection(EndpointId::from_key(event.key()), status);
                }
            }
            return;
        }
        self.serve_news(event);
    }

    /// An event that says more, or is not for a connection at rest.
    #[cold]
    #[inline(never)]
    fn serve_news(&mut self, event: impl Event) {
        let (is_just_readable, id) = (event.is_just_readable(), EndpointId::from_key(event.key()));
        // All there is to know of a socket on which nothing waits to be sent: it spares a lone datagram 60 instructions.
        if is_just_readable
            && let Some(Entry::Socket(socket)) = self.entries.get_mut(id)
            && socket.outlet.is_empty()
        {
            if socket.on_readable(&mut self.core, &mut self.datagrams) == UdpStatus::Gone {
                self.remove_socket(id);
            }
            return;
        }
        let event = event.ready();
        let Some(connection) = self.entries.connection_mut(id) else {
            return self.serve_other(id, event);
        };
        let status = if connection.is_connecting() {
            connection.on_connecting(&mut self.core, &mut self.shop, &mut self.driver, event)
        } else {
            connection.on_event(&mut self.core, &mut self.shop, event)
        };
        if status != Status::Alive {
            self.remove_connection(id, status);
        }
    }

    /// An event of anything but a connection.
    fn serve_other(&mut self, id: EndpointId, event: Ready) {
        match self.entries.get_mut(id) {
            Some(Entry::Socket(_)) => self.visit_socket(id, |s, core, shop| s.on_event(core, shop, event)),
            Some(Entry::Listener(listener)) if listener.link.flags.contains(Flag::QUEUED) => {} // in step 5
            Some(Entry::Listener(listener)) => {
                // In step 5, too: who is there is served before others are let in, and more of them wait by then.
                listener.link.flags.insert(Flag::QUEUED);
                self.ready.push(id);
            }
            Some(Entry::Dialing(_)) => self.on_dialing(id, event),
            Some(Entry::SessionSocket(_)) => self.serve_session_socket(id, event),
            Some(Entry::Connection(_) | Entry::Delayed(_) | Entry::Session(_)) => {} // served, or unknown to the driver
            None => {} // it closed after the poll that found it ready
        }
    }

    /// Step 5.
    pub(super) fn serve_ready<const BUDGET: bool>(&mut self) -> bool {
        if self.ready.is_empty() {
            return true;
        }
        let done = self.resume::<BUDGET>();
        let mut ready = std::mem::take(&mut self.ready);
        for (index, &id) in ready.iter().enumerate().skip(done) {
            match self.entries.get_mut(id) {
                Some(Entry::Connection(_)) => self.visit(id, |c, core, shop| c.on_ready(core, shop)),
                Some(Entry::Socket(_)) => self.visit_socket(id, |s, core, shop| s.on_ready(core, shop)),
                Some(Entry::Listener(_)) => self.accept(id),
                Some(Entry::Session(_)) => self.visit_session(id, Session::on_ready),
                Some(Entry::SessionSocket(_)) => self.resume_sessions(id),
                Some(Entry::Dialing(_)) => self.on_dialing(id, Ready { key: id.key(), ..Ready::default() }),
                Some(Entry::Delayed(_)) | None => {}
            }
            if BUDGET && self.is_over() {
                (self.ready, self.done) = (ready, index + 1);
                return false;
            }
        }
        ready.clear();
        self.ready = ready;
        true
    }

    /// Step 6.
    pub(super) fn fire_timers<const BUDGET: bool>(&mut self) -> bool {
        let done = self.resume::<BUDGET>();
        if done == 0 {
            self.core.timers.collect(self.core.now, &mut self.due);
            if self.due.is_empty() {
                return true;
            }
        }
        let mut due = std::mem::take(&mut self.due);
        for (index, &(_, owner, timer)) in due.iter().enumerate().skip(done) {
            // Its owner may have gone in this batch, and another come: that one has no such timer.
            let Some(owner) = self.entries.id_at(owner) else { continue };
            match self.entries.get_mut(owner) {
                Some(Entry::Connection(_)) => self.visit(owner, |c, core, shop| c.on_timer(core, shop, timer)),
                Some(Entry::Socket(_)) => self.visit_socket(owner, |s, core, shop| s.on_timer(core, shop, timer)),
                Some(Entry::Listener(_)) => self.accept_again(owner, timer),
                Some(Entry::Delayed(_)) => self.connect_delayed(owner, timer),
                Some(Entry::Dialing(_)) => self.on_dialing_timer(owner, timer),
                Some(Entry::Session(_)) => self.visit_session(owner, |s, desk| s.on_timer(desk, timer)),
                Some(Entry::SessionSocket(_)) | None => {}
            }
            if BUDGET && self.is_over() {
                (self.due, self.done) = (due, index + 1);
                return false;
            }
        }
        due.clear();
        self.due = due;
        true
    }

    /// Step 8.
    pub(super) fn deliver_letters<const BUDGET: bool>(&mut self) -> bool {
        let done = self.resume::<BUDGET>();
        if done == 0 {
            if !self.core.post_office.has_visits() {
                return true;
            }
            self.core.post_office.take_visits(&mut self.round);
        }
        let mut round = std::mem::take(&mut self.round);
        for (index, &id) in round.iter().enumerate().skip(done) {
            if let Some(desk) = self.core.registry.desk(id) {
                desk.mailbox.on_round = false;
            }
            match self.entries.get_mut(id) {
                Some(Entry::Connection(_)) => self.visit(id, |c, core, shop| c.deliver_mail(core, shop)),
                Some(Entry::Socket(_)) => self.visit_socket(id, |s, core, shop| s.deliver_mail(core, shop)),
                Some(Entry::Session(_)) => self.visit_session(id, Session::deliver_mail),
                // A listener takes no mail; what is still to connect is visited when it stands.
                Some(Entry::Listener(_) | Entry::Delayed(_) | Entry::Dialing(_) | Entry::SessionSocket(_)) | None => {}
            }
            if BUDGET && self.is_over() {
                (self.round, self.done) = (round, index + 1);
                return false;
            }
        }
        round.clear();
        self.round = round;
        true
    }

    pub(super) fn visit(
        &mut self,
        id: EndpointId,
        f: impl FnOnce(&mut Connection<D::Stream>, &mut Core, &mut Workshop) -> Status,
    ) {
        if let Some(connection) = self.entries.connection_mut(id) {
            let status = f(connection, &mut self.core, &mut self.shop);
            if status != Status::Alive {
                self.remove_connection(id, status);
            }
        }
    }

    pub(super) fn visit_socket(
        &mut self,
        id: EndpointId,
        f: impl FnOnce(&mut UdpEndpoint<D::Socket>, &mut Core, &mut DatagramWorkshop) -> UdpStatus,
    ) {
        if let Some(Entry::Socket(socket)) = self.entries.get_mut(id)
            && f(socket, &mut self.core, &mut self.datagrams) == UdpStatus::Gone
        {
            self.remove_socket(id);
        }
    }
}
