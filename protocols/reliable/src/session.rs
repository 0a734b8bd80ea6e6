//! A session from its first datagram to its last, without I/O: it is told what comes and what time it is.

use std::rc::Rc;
use std::time::Duration;

use switchboard::{Failure, Time};

use crate::error::{PeerGone, SendError};
use crate::header::{Datagram, Terms};
use crate::link::{Link, Verdict};
use crate::rtt::Rtt;
use crate::{Settings, Stats};

/// Openings of different peers that a server answers at a time, of which one can be true: the source address of an `OPEN`
/// may be forged, and only who gets the answer can go on.
const CANDIDATES: usize = 4;

/// What a session needs of its surroundings.
pub(crate) trait Wire {
    fn now(&self) -> Time;
    /// 64 bits that nobody can guess.
    fn random(&mut self) -> u64;
    /// Sends one datagram.
    fn send(&mut self, datagram: &[u8]);
    /// Whether more may be sent; else it is asked again later.
    fn has_room(&mut self) -> bool;
}

/// The state of a session.
#[derive(Debug)]
pub(crate) struct Session {
    settings: Rc<Settings>,
    phase: Phase,
    pub(crate) stats: Stats,
    scratch: Vec<u8>,
}

#[derive(Debug)]
enum Phase {
    /// A client before it has begun.
    Idle,
    /// A client has asked and awaits the answer.
    Opening(Opening),
    /// A server awaits an `OPEN`, or has answered some and awaits what shows that the answer arrived.
    Accepting { since: Option<Time>, candidates: Vec<Candidate> },
    /// Both know each other.
    Open(Box<Link>),
    /// It is gone; what was not known to have arrived, whether that is in order, and whether the peer ended.
    Over { unsent: usize, clean: bool, by_peer: bool },
}

#[derive(Debug)]
struct Opening {
    mine: Terms,
    since: Time,
    asked_at: Time,
    times: u32,
    rtt: Rtt,
}

#[derive(Debug)]
struct Candidate {
    mine: Terms,
    peer: Terms,
    answered_at: Time,
    times: u32,
}

/// What a datagram has brought about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received<'a> {
    pub(crate) verdict: Verdict<'a>,
    /// The session stands since this datagram.
    pub(crate) opened: bool,
}

const DROPPED: Received<'static> = Received { verdict: Verdict::Dropped, opened: false };
const TAKEN: Received<'static> = Received { verdict: Verdict::Taken, opened: false };

impl Session {
    pub(crate) fn client(settings: &Rc<Settings>) -> Self {
        Self { settings: Rc::clone(settings), phase: Phase::Idle, stats: Stats::default(), scratch: Vec::new() }
    }

    pub(crate) fn server(settings: &Rc<Settings>) -> Self {
        let phase = Phase::Accepting { since: None, candidates: Vec::new() };
        Self { settings: Rc::clone(settings), phase, stats: Stats::default(), scratch: Vec::new() }
    }

    /// A client asks; a server waits.
    pub(crate) fn begin(&mut self, wire: &mut impl Wire) {
        let now = wire.now();
        match &mut self.phase {
            Phase::Idle => {
                let mine = terms(&self.settings, wire);
                let rtt = Rtt::new(&self.settings);
                self.phase = Phase::Opening(Opening { mine, since: now, asked_at: now, times: 1, rtt });
                self.transmit(wire, Datagram::Open(mine));
            }
            Phase::Accepting { since, .. } => *since = Some(now),
            _ => {}
        }
    }

    /// A datagram has arrived.
    pub(crate) fn receive<'a>(&mut self, wire: &mut impl Wire, bytes: &'a [u8]) -> Result<Received<'a>, Failure> {
        let Some(datagram) = Datagram::parse(bytes) else {
            self.drop_datagram();
            return Ok(DROPPED);
        };
        let received = match self.phase {
            Phase::Open(_) => self.receive_open(wire, datagram)?,
            Phase::Opening(_) => self.receive_opening(wire, datagram),
            Phase::Accepting { .. } => self.receive_accepting(wire, datagram)?,
            Phase::Idle | Phase::Over { .. } => DROPPED,
        };
        if received.verdict == Verdict::Dropped {
            self.drop_datagram();
        }
        Ok(received)
    }

    /// Counts it. A server whose first datagram opens nothing has nothing to wait for.
    fn drop_datagram(&mut self) {
        self.stats.dropped += 1;
        if let Phase::Accepting { candidates, .. } = &self.phase
            && candidates.is_empty()
        {
            self.leave(false);
        }
    }

    fn receive_open<'a>(&mut self, wire: &mut impl Wire, datagram: Datagram<'a>) -> Result<Received<'a>, Failure> {
        let Phase::Open(link) = &mut self.phase else { return Ok(DROPPED) };
        if let Datagram::Open(peer) = datagram {
            // The peer itself, which has not got the answer; or one that was started again, which will say, asked for a
            // sign, that it has no such session.
            let to = link.peer();
            let mine = link.mine();
            if peer.id == to {
                self.transmit(wire, Datagram::Accept { to, terms: mine });
            } else {
                let progress = link.progress();
                self.transmit(wire, Datagram::Ping { to, progress });
            }
            return Ok(if peer.id == to { TAKEN } else { DROPPED });
        }
        Ok(Received { verdict: link.receive(wire.now(), datagram, &mut self.stats)?, opened: false })
    }

    fn receive_opening<'a>(&mut self, wire: &mut impl Wire, datagram: Datagram<'a>) -> Received<'a> {
        let Phase::Opening(opening) = &mut self.phase else { return DROPPED };
        let (now, mine) = (wire.now(), opening.mine);
        match datagram {
            Datagram::Accept { to, terms: peer } if to == mine.id => {
                let mut rtt = opening.rtt;
                if opening.times == 1 {
                    rtt.sample(now.saturating_since(opening.asked_at));
                }
                let mut link = Link::new(&self.settings, now, mine, peer, rtt);
                link.ping(now); // until it answers, it may not know
                self.phase = Phase::Open(Box::new(link));
                Received { verdict: Verdict::Taken, opened: true }
            }
            // Both ask at once: each answers the other.
            Datagram::Open(peer) => {
                self.transmit(wire, Datagram::Accept { to: peer.id, terms: mine });
                TAKEN
            }
            // A peer that has this side's answer to its own asking: its answer comes when this side asks again.
            _ if datagram.to() == Some(mine.id) => TAKEN,
            _ => {
                self.refuse(wire, &datagram);
                DROPPED
            }
        }
    }

    fn receive_accepting<'a>(&mut self, wire: &mut impl Wire, datagram: Datagram<'a>) -> Result<Received<'a>, Failure> {
        let Phase::Accepting { candidates, .. } = &mut self.phase else { return Ok(DROPPED) };
        let now = wire.now();
        if let Datagram::Open(peer) = datagram {
            let index = candidates.iter().position(|candidate| candidate.peer.id == peer.id);
            let index = index.unwrap_or_else(|| {
                if candidates.len() == CANDIDATES {
                    candidates.remove(0);
                }
                let mine = terms(&self.settings, wire);
                candidates.push(Candidate { mine, peer, answered_at: now, times: 0 });
                candidates.len() - 1
            });
            let candidate = &mut candidates[index];
            candidate.times += 1;
            let answer = Datagram::Accept { to: candidate.peer.id, terms: candidate.mine };
            self.transmit(wire, answer);
            return Ok(TAKEN);
        }
        let is_meant = |candidate: &&Candidate| datagram.to() == Some(candidate.mine.id);
        let Some(candidate) = candidates.iter().find(is_meant) else {
            if candidates.is_empty() {
                self.refuse(wire, &datagram);
            }
            return Ok(DROPPED);
        };
        let mut rtt = Rtt::new(&self.settings);
        if candidate.times == 1 {
            rtt.sample(now.saturating_since(candidate.answered_at));
        }
        let mut link = Box::new(Link::new(&self.settings, now, candidate.mine, candidate.peer, rtt));
        let verdict = link.receive(now, datagram, &mut self.stats)?;
        self.phase = Phase::Open(link);
        Ok(Received { verdict, opened: true })
    }

    /// Tells whoever has a session with one that was here before that it is no more. What may be an answer to this is never
    /// answered, and nothing by more bytes than twice its own.
    fn refuse(&mut self, wire: &mut impl Wire, datagram: &Datagram<'_>) {
        if let Some(from) = datagram.to() {
            self.transmit(wire, Datagram::Reset { to: 0, from });
        }
    }

    fn transmit(&mut self, wire: &mut impl Wire, datagram: Datagram<'_>) {
        datagram.write(&mut self.scratch);
        wire.send(&self.scratch);
        self.scratch.clear();
    }

    /// Sends what may be sent now. To be called after everything else.
    pub(crate) fn flush(&mut self, wire: &mut impl Wire) {
        if let Phase::Open(link) = &mut self.phase {
            link.flush(wire, &mut self.scratch);
            if link.is_over() {
                self.leave(true);
            }
        }
    }

    /// When [`on_timer`](Self::on_timer) is next to be called.
    pub(crate) fn deadline(&self) -> Option<Time> {
        match &self.phase {
            Phase::Opening(opening) => {
                let given_up = opening.since + self.settings.open_timeout;
                Some(given_up.min(opening.asked_at + opening.rtt.rto()))
            }
            Phase::Accepting { since, .. } => since.map(|since| since + self.settings.open_timeout),
            Phase::Open(link) => link.deadline(),
            Phase::Idle | Phase::Over { .. } => None,
        }
    }

    /// The deadline has passed, by `late`.
    pub(crate) fn on_timer(&mut self, wire: &mut impl Wire, late: Duration) -> Result<(), PeerGone> {
        let now = wire.now();
        match &mut self.phase {
            Phase::Opening(opening) => {
                opening.since = (opening.since + late).min(now);
                if opening.since + self.settings.open_timeout <= now {
                    return Err(PeerGone::NoAnswer(self.settings.open_timeout));
                }
                if opening.asked_at + opening.rtt.rto() <= now {
                    (opening.asked_at, opening.times) = (now, opening.times + 1);
                    opening.rtt.back_off();
                    let mine = opening.mine;
                    self.transmit(wire, Datagram::Open(mine));
                }
            }
            Phase::Accepting { since, .. } => {
                if since.is_some_and(|since| since + self.settings.open_timeout <= now) {
                    self.leave(false);
                }
            }
            Phase::Open(link) => link.on_timer(now, late, &mut self.stats)?,
            Phase::Idle | Phase::Over { .. } => {}
        }
        Ok(())
    }

    /// Ends it at once, and tells the peer, unless it was the peer who told.
    pub(crate) fn abort(&mut self, wire: &mut impl Wire) {
        if let Phase::Open(link) = &self.phase
            && !link.is_peer_gone()
        {
            let (to, from) = (link.peer(), link.mine().id);
            self.transmit(wire, Datagram::Reset { to, from });
        }
        self.leave(false);
    }

    /// Nothing more is said or heard. `in_order` if the closing has come to its end.
    pub(crate) fn leave(&mut self, in_order: bool) {
        let (unsent, clean, by_peer) = match &self.phase {
            Phase::Open(link) => (link.unsent(), in_order && link.is_clean(), link.is_peer_first()),
            Phase::Over { .. } => return,
            _ => (0, false, false),
        };
        self.phase = Phase::Over { unsent, clean, by_peer };
    }

    // What is.

    pub(crate) fn link(&self) -> Option<&Link> {
        if let Phase::Open(link) = &self.phase { Some(link) } else { None }
    }

    pub(crate) fn link_mut(&mut self) -> Option<&mut Link> {
        if let Phase::Open(link) = &mut self.phase { Some(link) } else { None }
    }

    pub(crate) fn send(&mut self, message: &[u8]) -> Result<(), SendError> {
        self.link_mut().ok_or(SendError::Closing)?.send(message)
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over { .. })
    }

    /// Messages not known to have arrived, whether both sides ended in order, and whether the peer began.
    pub(crate) fn end(&self) -> (usize, bool, bool) {
        match &self.phase {
            Phase::Open(link) => (link.unsent(), link.is_clean(), link.is_peer_first()),
            Phase::Over { unsent, clean, by_peer } => (*unsent, *clean, *by_peer),
            _ => (0, false, false),
        }
    }

    /// Bytes of memory.
    pub(crate) fn held(&self) -> usize {
        let phase = match &self.phase {
            Phase::Open(link) => link.held(),
            Phase::Accepting { candidates, .. } => candidates.capacity() * size_of::<Candidate>(),
            _ => 0,
        };
        phase + self.scratch.capacity()
    }
}

/// This side's terms, with an id that nobody can guess.
fn terms(settings: &Settings, wire: &mut impl Wire) -> Terms {
    let first = u32::try_from(wire.random() >> 32).unwrap_or(0);
    Terms {
        id: wire.random().max(1),
        first,
        window: settings.window(),
        datagram: u16::try_from(settings.datagram).unwrap_or(u16::MAX),
        message: u32::try_from(settings.max_message).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
#[path = "session_tests/mod.rs"]
mod tests;
