//! One connection of a world: what its far end does, and what must hold of it at rest and in the end.

use std::io;

use switchboard::Limits;
use switchboard::driver::Ready;
use switchboard::testkit::{Network, Peer};

use crate::explorer::Choice;
use crate::notes::{Ended, Notes};

/// One connection: its far end, and what its protocols noted.
pub(crate) struct Side {
    pub(crate) peer: Option<Peer>,
    pub(crate) notes: Notes,
    sent: usize,
    finished: bool,
    reset: bool,
    /// What the bytes on the wire are changed by.
    mask: u8,
    /// Bytes on the wire before the first that the protocol sees.
    preamble: Vec<u8>,
    /// Time has passed, so it may have taken too long.
    pub(crate) waited: bool,
    /// An outgoing connection whose fate is open.
    undecided: bool,
    /// It takes everything.
    open: bool,
}

impl Side {
    pub(crate) fn new(peer: Option<Peer>, notes: &Notes) -> Self {
        Self {
            peer,
            notes: notes.clone(),
            sent: 0,
            finished: false,
            reset: false,
            mask: 0,
            preamble: Vec::new(),
            waited: false,
            undecided: false,
            open: true,
        }
    }

    /// It takes nothing at first.
    pub(crate) fn shut(self, shut: bool) -> Self {
        Self { open: !shut, ..self }
    }

    /// The world is kind to it: whatever it needs to go on, and no more. An event for nothing would
    /// hide that the loop had forgotten it.
    pub(crate) fn be_kind(&mut self, network: &Network) {
        self.act(Choice::Establish, network);
        if !self.open {
            self.act(Choice::Open, network);
        }
    }

    pub(crate) fn outgoing(self) -> Self {
        Self { undecided: true, ..self }
    }

    pub(crate) fn masked(self, mask: u8, preamble: &[u8]) -> Self {
        Self { mask, preamble: preamble.to_vec(), ..self }
    }

    fn send(&mut self, count: usize) {
        let Some(peer) = &self.peer else { return };
        if self.finished || self.reset {
            return;
        }
        let numbered = (self.sent..self.sent + count).map(|number| number as u8 ^ self.mask);
        let bytes = std::mem::take(&mut self.preamble).into_iter().chain(numbered).collect::<Vec<_>>();
        peer.send(&bytes);
        self.sent += count;
    }

    /// Does what the choice says to this connection's far end; false if that is nothing of its.
    pub(crate) fn act(&mut self, choice: Choice, network: &Network) -> bool {
        match choice {
            Choice::Byte | Choice::OtherByte => self.send(1),
            Choice::Flood => self.send(5),
            _ => {
                let Some(peer) = self.peer.clone() else { return false };
                return self.act_on(&peer, choice, network);
            }
        }
        true
    }

    fn act_on(&mut self, peer: &Peer, choice: Choice, network: &Network) -> bool {
        if matches!(choice, Choice::Shut | Choice::Crack | Choice::Gap | Choice::Open | Choice::OtherOpen) {
            self.open = matches!(choice, Choice::Open | Choice::OtherOpen);
        }
        match choice {
            Choice::End | Choice::OtherEnd => {
                self.finished = true;
                peer.finish();
            }
            Choice::Reset | Choice::OtherReset => {
                self.reset = true;
                peer.reset();
            }
            Choice::Shut => peer.set_window(0),
            Choice::Crack => peer.set_window(1),
            Choice::Gap => peer.set_window(2),
            Choice::Open | Choice::OtherOpen => peer.set_window(usize::MAX),
            Choice::CutRead => peer.cut_reads([1]),
            Choice::BlockRead => peer.cut_reads([0]),
            Choice::CutWrite => peer.cut_writes([1]),
            Choice::BlockWrite => peer.cut_writes([0]),
            Choice::Stale => {
                peer.id().into_iter().for_each(|id| raise_stale(network, id.key()));
            }
            Choice::Bygone => {
                if let Some(id) = peer.id() {
                    let gone = Ready { read_closed: true, error: true, ..all(id.key() ^ 1 << 32) };
                    network.raise(gone);
                }
            }
            Choice::Establish if self.undecided => {
                self.undecided = false;
                peer.establish();
            }
            Choice::Refuse if self.undecided => {
                self.undecided = false;
                self.notes.borrow_mut().cut = true;
                peer.refuse(io::ErrorKind::ConnectionRefused);
            }
            Choice::Establish | Choice::Refuse => {}
            _ => return false,
        }
        true
    }

    /// What must hold when the loop has nothing to do at this time.
    pub(crate) fn check_at_rest(&self, limits: &Limits) {
        let facts = self.notes.borrow();
        let Some(peer) = &self.peer else { return };
        if facts.opened == 0 || facts.closed > 0 || facts.ending.is_some() || facts.cut {
            return;
        }
        let received = peer.received();
        assert!(received.iter().map(|byte| byte ^ self.mask).eq(facts.said[..received.len()].iter().copied()));
        let backlog = facts.said.len() - received.len();
        if backlog <= limits.low_water {
            assert!(!facts.drain_owed, "a drain is lost: {backlog} bytes wait");
            assert_eq!(facts.letters.len(), facts.posted, "a letter is lost");
            let here = self.sent - facts.consumed - peer.unread();
            let idle = facts.paused || facts.eof || here == 0;
            assert!(idle || !facts.reoffer, "what was left is not offered again");
            assert!(idle || here == facts.left || here < facts.awaited, "{here} bytes are here, not offered");
            assert!(facts.paused || peer.unread() == 0, "a read is lost: {} bytes wait", peer.unread());
            assert!(facts.paused || !self.finished || facts.eof, "the half-close is lost");
        }
    }

    /// What must hold of a connection that has ended, after the world was kind to it.
    pub(crate) fn check_end(&self, discarded_much: bool) {
        let facts = self.notes.borrow();
        if facts.cut && facts.id.is_none() && facts.opened + facts.closed == 0 {
            return; // never accepted
        }
        assert_eq!(facts.closed, 1, "on_close once, and only once");
        let Some(peer) = &self.peer else { return };
        assert!(peer.is_closed(), "the connection was not closed");
        let received = peer.received().iter().map(|byte| byte ^ self.mask).collect::<Vec<_>>();
        assert!(facts.said.starts_with(&received), "what arrived was not said: {received:?} of {:?}", facts.said);
        let Some(ended) = facts.ended else { panic!("an end without a reason") };
        match ended {
            Ended::InOrder => {
                assert_eq!(received, facts.said, "what was said did not arrive");
                if facts.ending.is_none() && !facts.cut {
                    assert_eq!(facts.consumed, self.sent, "bytes were never offered");
                    assert!(facts.eof || facts.opened == 0, "the half-close was never told");
                }
                let excuse = self.reset || facts.cut || self.waited || discarded_much;
                assert!(excuse || !peer.saw_reset(), "a close in order became a reset");
            }
            Ended::Failed => {
                assert_eq!(facts.ending, Some(Choice::Fail), "a failure nobody had");
                assert!(
                    self.reset || facts.cut || self.waited || received == facts.said,
                    "the last words did not arrive"
                );
            }
            Ended::Aborted => assert!(facts.cut || facts.ending == Some(Choice::Abort), "aborted by nobody"),
            Ended::Broke => assert!(self.reset, "broken by nobody"),
            Ended::CutOff => assert!(facts.cut, "cut off for no reason"),
            Ended::Limit | Ended::Connect => assert!(facts.cut || self.waited, "{ended:?} for no reason"),
        }
    }
}

/// An event that announces nothing, together with what there is of the same key: a driver reports
/// each once.
pub(crate) fn raise_stale(network: &Network, key: u64) {
    let mut events = network.take_events();
    match events.iter_mut().find(|event| event.key == key) {
        Some(event) => (event.readable, event.writable) = (true, true),
        None => events.push(all(key)),
    }
    events.into_iter().for_each(|event| network.raise(event));
}

fn all(key: u64) -> Ready {
    Ready { key, readable: true, writable: true, ..Ready::default() }
}
