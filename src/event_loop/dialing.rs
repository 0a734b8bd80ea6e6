//! Outgoing connections that take more than one step: a name to be looked up, several addresses to be tried, a Unix
//! socket whose listener is busy.
//!
//! The steps are those of RFC 8305, Happy Eyeballs. All attempts are known to the driver by the key of the one
//! connection that is to come of them.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Entry, EventLoop};
use crate::connection::{Connection, Status};
use crate::core::OUTGOING;
use crate::driver::{Driver, Ready};
use crate::link::Link;
use crate::target::Destination;
use crate::timer::LOOP_DEPTH;
use crate::{CloseReason, EndpointId, Protocol, Target, Time, TimerId, UdpOptions};

/// How long an attempt has to itself: the Connection Attempt Delay of RFC 8305 §5.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// How many addresses of a name are tried at most, since who answers for it could name any number.
const ADDRESSES: usize = 16;
/// How long a connect waits to try again where too many wait to be accepted.
const BUSY: Duration = Duration::from_millis(100);

/// An outgoing connection that does not stand, with all that is done for it.
pub(super) struct Dialing<S> {
    pub(super) link: Link,
    pub(super) protocol: Box<dyn Protocol>,
    destination: Box<Destination>,
    timeout: Duration,
    deadline: Time,
    /// Its name is being looked up.
    resolving: bool,
    /// What is still to be tried, and when the next is.
    next: VecDeque<Target>,
    next_at: Time,
    /// What is being tried, by those addresses.
    attempts: Vec<(Target, S)>,
    failures: Vec<(Target, io::Error)>,
    /// It is to be a session over UDP, once there is an address.
    pub(super) udp: Option<Box<UdpOptions>>,
}

impl<D: Driver> EventLoop<D> {
    pub(super) fn begin_dialing(&mut self, id: EndpointId, destination: Box<Destination>, protocol: Box<dyn Protocol>) {
        let timeout = destination.options().timeout.unwrap_or(self.core.limits.connect_timeout);
        let mut dialing = Dialing {
            link: Link::new(id, OUTGOING, self.core.now),
            protocol,
            destination,
            timeout,
            deadline: self.core.now + timeout,
            resolving: false,
            next: VecDeque::new(),
            next_at: self.core.now,
            attempts: Vec::new(),
            failures: Vec::new(),
            udp: None,
        };
        match &dialing.destination.target {
            Target::Name { host, port } => {
                dialing.resolving = true;
                self.driver.resolve(id.key(), host, *port);
            }
            other => dialing.next.push_back(other.clone()),
        }
        self.core.connections += 1;
        self.entries.insert(id, Entry::Dialing(Box::new(dialing)));
        self.dial_on(id);
    }

    /// News of a lookup or of an attempt.
    pub(super) fn on_dialing(&mut self, id: EndpointId, event: Ready) {
        let Some(Entry::Dialing(dialing)) = self.entries.get_mut(id) else { return };
        if dialing.resolving {
            match self.driver.resolved(id.key()) {
                None => return,
                Some(Ok(addresses)) => {
                    dialing.resolving = false;
                    if let Some(options) = dialing.udp.take() {
                        return self.resolved_udp(id, addresses, &options);
                    }
                    dialing.next = in_order(addresses, dialing.destination.options().source);
                    dialing.next_at = self.core.now;
                }
                Some(Err(error)) => {
                    dialing.resolving = false;
                    dialing.failures.push((dialing.destination.target.clone(), error));
                }
            }
        }
        let mut place = 0;
        while let Some((_, stream)) = dialing.attempts.get_mut(place) {
            match self.driver.connected(stream) {
                Ok(true) => return self.dialed(id, place, event),
                Ok(false) => place += 1,
                Err(error) => {
                    let (target, stream) = dialing.attempts.remove(place);
                    self.driver.close(stream, false);
                    dialing.failures.push((target, error));
                    dialing.next_at = self.core.now;
                }
            }
        }
        self.dial_on(id);
    }

    /// The time of the next attempt has come, or that of none.
    pub(super) fn on_dialing_timer(&mut self, id: EndpointId, timer: TimerId) {
        let Some(Entry::Dialing(dialing)) = self.entries.get_mut(id) else { return };
        if !self.core.timers.fire(&mut dialing.link.timers, timer) {
            return;
        }
        if self.core.now >= dialing.deadline {
            let reason = CloseReason::ConnectTimeout(dialing.timeout);
            self.stop_dialing(id, reason);
        } else {
            self.dial_on(id);
        }
    }

    /// Tries what is to be tried now, and sets the timer for what follows.
    fn dial_on(&mut self, id: EndpointId) {
        let Some(Entry::Dialing(dialing)) = self.entries.get_mut(id) else { return };
        let now = self.core.now;
        while dialing.next_at <= now
            && let Some(target) = dialing.next.pop_front()
        {
            match begin(&mut self.driver, id.key(), &target, &dialing.destination) {
                Ok(stream) => {
                    dialing.attempts.push((target, stream));
                    dialing.next_at = now + ATTEMPT_DELAY;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    dialing.next.push_front(target);
                    dialing.next_at = now + BUSY;
                }
                Err(error) => dialing.failures.push((target, error)),
            }
        }
        let more = dialing.next.front().map(|_| dialing.next_at);
        if !dialing.resolving && more.is_none() && dialing.attempts.is_empty() {
            let reason = CloseReason::Connect(dialing.failure());
            return self.stop_dialing(id, reason);
        }
        let until = more.map_or(dialing.deadline, |at| at.min(dialing.deadline));
        self.core.timers.cancel_depths(&mut dialing.link.timers, LOOP_DEPTH..=LOOP_DEPTH);
        self.core.timers.set(id, &mut dialing.link.timers, LOOP_DEPTH, until);
    }

    /// One attempt has succeeded, and is the connection; those beside it are closed.
    fn dialed(&mut self, id: EndpointId, place: usize, event: Ready) {
        let Some(Entry::Dialing(mut dialing)) = self.entries.remove(id) else { return };
        let (_, stream) = dialing.attempts.swap_remove(place);
        self.core.timers.cancel_depths(&mut dialing.link.timers, LOOP_DEPTH..=LOOP_DEPTH);
        let Dialing { link, protocol, attempts, .. } = *dialing;
        for (_, loser) in attempts {
            self.driver.close(loser, false);
        }
        self.entries.insert(id, Entry::Connection(Connection::dialed(stream, link, protocol)));
        let Some(connection) = self.entries.connection_mut(id) else { return };
        // What has become ready with it may have been told under the same key before this event.
        let event = Ready { readable: true, writable: true, ..event };
        let status = connection.on_connecting(&mut self.core, &mut self.shop, &mut self.driver, event);
        if status != Status::Alive {
            self.remove_connection(id, status);
        }
    }

    /// Where a session goes was looked up.
    fn resolved_udp(&mut self, id: EndpointId, mut addresses: Vec<SocketAddr>, options: &UdpOptions) {
        let Some(Entry::Dialing(mut dialing)) = self.entries.remove(id) else { return };
        self.core.timers.cancel_depths(&mut dialing.link.timers, LOOP_DEPTH..=LOOP_DEPTH);
        addresses.truncate(ADDRESSES);
        self.dial_udp(id, &addresses, options, dialing.protocol);
    }

    /// Ends what did not come to be a connection.
    pub(super) fn stop_dialing(&mut self, id: EndpointId, reason: CloseReason) {
        let Some(Entry::Dialing(mut dialing)) = self.entries.remove(id) else { return };
        self.core.timers.cancel_depths(&mut dialing.link.timers, LOOP_DEPTH..=LOOP_DEPTH);
        let Dialing { protocol, resolving, attempts, .. } = *dialing;
        if resolving {
            self.driver.forget(id.key());
        }
        for (_, stream) in attempts {
            self.driver.close(stream, false);
        }
        self.core.connections -= 1;
        self.admit();
        self.refuse(id, OUTGOING, protocol, reason);
        self.shrink();
    }
}

fn begin<D: Driver>(driver: &mut D, key: u64, target: &Target, to: &Destination) -> io::Result<D::Stream> {
    match target {
        Target::Address(address) => driver.connect(key, *address, to.options()),
        #[cfg(unix)]
        Target::Unix(path) => driver.connect_unix(key, path, to.options()),
        Target::Name { .. } => Err(io::ErrorKind::InvalidInput.into()), // it was looked up before
    }
}

impl<S> Dialing<S> {
    /// Why nothing came of it: everything that was tried, and of the kind that says most.
    fn failure(&self) -> io::Error {
        let says_little = |error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable | io::ErrorKind::AddrNotAvailable
            )
        };
        let kinds = || self.failures.iter().rev().map(|(_, error)| error);
        let kind = kinds().find(|error| !says_little(error)).or(kinds().next()).map(io::Error::kind);
        let target = &self.destination.target;
        let mut text = target.to_string();
        for (place, (tried, error)) in self.failures.iter().enumerate() {
            text += if place == 0 { ": " } else { "; " };
            if tried != target {
                text += &format!("{tried}: ");
            }
            text += &error.to_string();
        }
        if self.failures.is_empty() {
            text += ": it has no address that could be tried";
        }
        io::Error::new(kind.unwrap_or(io::ErrorKind::AddrNotAvailable), text)
    }
}

/// A name's addresses in the order in which they are tried: as the resolver sorted them, but the families in turns
/// (RFC 8305 §4, with a First Address Family Count of 1). Where the source is given, only those of its family.
fn in_order(addresses: Vec<SocketAddr>, source: Option<SocketAddr>) -> VecDeque<Target> {
    let fits = |address: &SocketAddr| source.is_none_or(|source| source.is_ipv4() == address.is_ipv4());
    let mut left: VecDeque<SocketAddr> = addresses.into_iter().filter(fits).collect();
    let mut sorted = Vec::new();
    while let Some(last_is_ipv4) = sorted.last().or(left.front()).map(SocketAddr::is_ipv4)
        && sorted.len() < ADDRESSES
    {
        let wanted = if sorted.is_empty() { last_is_ipv4 } else { !last_is_ipv4 };
        let place = left.iter().position(|address| address.is_ipv4() == wanted).unwrap_or(0);
        let Some(address) = left.remove(place) else { break };
        if !sorted.contains(&address) {
            sorted.push(address);
        }
    }
    sorted.into_iter().map(Target::Address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses by the last number of each: 4x for IPv4, 6x for IPv6.
    fn addresses(numbers: &[u8]) -> Vec<SocketAddr> {
        let address = |&number: &u8| match number / 10 {
            4 => SocketAddr::from(([192, 0, 2, number], 80)),
            _ => SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()], 80)),
        };
        numbers.iter().map(address).collect()
    }

    fn sorted(numbers: &[u8], source: Option<SocketAddr>) -> Vec<Target> {
        in_order(addresses(numbers), source).into()
    }

    #[test]
    fn the_families_take_turns_and_the_resolvers_first_is_first() {
        for (given, expected) in [
            (&[61, 62, 63, 41, 42][..], &[61, 41, 62, 42, 63][..]),
            (&[41, 42, 61], &[41, 61, 42]),
            (&[61, 41], &[61, 41]),
            (&[41, 42], &[41, 42]),
            (&[61, 61, 41, 61, 42], &[61, 41, 42]),
            (&[], &[]),
        ] {
            let expected: Vec<_> = addresses(expected).into_iter().map(Target::Address).collect();
            assert_eq!(sorted(given, None), expected, "{given:?}");
        }
    }

    #[test]
    fn there_are_not_too_many_and_all_fit_the_source() {
        let many: Vec<u8> = (0..100).collect();
        assert_eq!(sorted(&many, None).len(), ADDRESSES);
        let [four, six] = ["0.0.0.0:0", "[::]:0"].map(|source| source.parse().ok());
        assert_eq!(sorted(&[61, 41, 62], four), [Target::Address(addresses(&[41])[0])]);
        assert_eq!(sorted(&[41, 61], six), [Target::Address(addresses(&[61])[0])]);
        assert_eq!(sorted(&[41], six), []);
    }
}
