//! A session that stands: both ends know each other's id.

use std::rc::Rc;
use std::time::Duration;

use switchboard::Time;

use crate::Settings;
use crate::error::SendError;
use crate::header::{Datagram, Progress, Terms};
use crate::receiver::Receiver;
use crate::rtt::Rtt;
use crate::sender::Sender;
use crate::session::Wire;

mod arrivals;
mod time;

/// Both directions and what keeps time for them.
#[derive(Debug)]
pub(crate) struct Link {
    mine: Terms,
    peer: u64,
    settings: Rc<Settings>,
    /// Bytes of the longest message the peer takes, or this side sends.
    longest: usize,
    sender: Sender,
    receiver: Receiver,
    /// A message of which more is to come.
    assembly: Vec<u8>,
    /// Whether the handler has paused delivery.
    paused: bool,
    /// Whether something awaits a sign from the peer, and since when there was none.
    waiting: bool,
    unanswered_since: Time,
    /// Whether something is under way, for which the retransmission timeout runs.
    sending: bool,
    /// When it began to, or that of a question.
    timeout_base: Time,
    /// When something last came from the peer.
    heard: Time,
    /// Whether a ping awaits an answer.
    pinged: bool,
    ping_now: bool,
    /// Whether an acknowledgement is due that there is no room for: it goes when there is.
    ack_waits: bool,
    /// Pings since something was heard.
    pings: u32,
    /// How often the peer was asked for room and had none: less and less often, though it answers.
    probes: u32,
    /// When closing began, whoever began.
    closing_since: Option<Time>,
    /// Both have ended, and the peer may not know yet: it is told again and again, until it says so, or is gone.
    lingers: bool,
    /// It has said so.
    is_peer_done: bool,
    /// It has said that it is gone, and need not be told that this side is.
    is_peer_gone: bool,
    is_over: bool,
    /// Whether the peer closed before this side did.
    is_peer_first: bool,
}

/// What is to be done with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    /// It is nobody's.
    Dropped,
    /// It is dealt with.
    Taken,
    /// These chunks are to be delivered now.
    Deliver(&'a [u8]),
}

/// A message that a chunk has completed.
pub(crate) enum Message<'a> {
    /// It was all in the chunk.
    Whole(&'a [u8]),
    /// It was put together; to be [given back](Link::reuse).
    Assembled(Vec<u8>),
}

impl Link {
    pub(crate) fn new(settings: &Rc<Settings>, now: Time, mine: Terms, peer: Terms, rtt: Rtt) -> Self {
        Self {
            mine,
            peer: peer.id,
            settings: Rc::clone(settings),
            longest: settings.max_message.min(usize::try_from(peer.message).unwrap_or(usize::MAX)),
            sender: Sender::new(settings, mine.first, peer, rtt),
            receiver: Receiver::new(peer.first, mine.window, settings.ack_delay),
            assembly: Vec::new(),
            paused: false,
            waiting: false,
            unanswered_since: now,
            sending: false,
            timeout_base: now,
            heard: now,
            pinged: false,
            ping_now: false,
            ack_waits: false,
            pings: 0,
            probes: 0,
            closing_since: None,
            lingers: false,
            is_peer_done: false,
            is_peer_gone: false,
            is_over: false,
            is_peer_first: false,
        }
    }

    pub(crate) fn peer(&self) -> u64 {
        self.peer
    }

    pub(crate) fn mine(&self) -> Terms {
        self.mine
    }

    pub(crate) fn send(&mut self, message: &[u8]) -> Result<(), SendError> {
        if self.sender.is_finishing() {
            return Err(SendError::Closing);
        }
        if message.len() > self.longest {
            return Err(SendError::TooLong { size: message.len(), limit: self.longest });
        }
        let (wanted, limit) = (self.sender.backlog() + self.sender.cost(message.len()), self.settings.send_buffer);
        if wanted > limit {
            return Err(SendError::Full { wanted, limit });
        }
        self.sender.push(message);
        Ok(())
    }

    /// Ends what this side sends.
    pub(crate) fn close(&mut self) {
        self.sender.finish();
        self.paused = false;
    }

    /// Stops delivery; not while this side closes.
    pub(crate) fn pause(&mut self) {
        self.paused = self.is_open();
    }

    pub(crate) fn resume(&mut self) {
        self.paused = false;
    }

    /// Asks the peer for a sign, until it gives one.
    pub(crate) fn ping(&mut self, now: Time) {
        if !self.awaits_answer() {
            self.unanswered_since = now;
        }
        self.pinged = true;
        self.ping_now = true;
    }

    /// Sends what may be sent now, and acknowledges what is to be; `scratch` is empty.
    pub(crate) fn flush(&mut self, wire: &mut impl Wire, scratch: &mut Vec<u8>) {
        let now = wire.now();
        self.receiver.tell_of_room(now);
        if self.sender.is_finishing() {
            self.closing_since.get_or_insert(now);
        }
        if self.sender.is_finished() && self.receiver.is_finished() {
            self.linger(wire, scratch);
        }
        let progress = self.receiver.progress();
        while wire.has_room() {
            let Some(datagram) = self.sender.next_datagram(now, progress) else { break };
            wire.send(datagram);
            self.receiver.on_told(false);
        }
        let is_due = self.receiver.ack_due().is_some_and(|due| due <= now);
        self.ack_waits = is_due && !wire.has_room();
        if is_due && !self.ack_waits {
            let mut bitmap = std::mem::take(scratch);
            Datagram::Ack { to: self.peer, progress, bitmap: &[] }.write(&mut bitmap);
            self.receiver.write_bitmap(&mut bitmap);
            wire.send(&bitmap);
            bitmap.clear();
            *scratch = bitmap;
            self.receiver.on_told(true);
        }
        if self.ping_now && wire.has_room() {
            // What is under way asks as well.
            if !self.sender.awaits_ack() {
                self.transmit(wire, scratch, Datagram::Ping { to: self.peer, progress });
            }
            self.ping_now = false;
        }
        self.note_waiting(now);
    }

    /// Everything has arrived, either way. The peer is told, and told again, until it has said the same.
    fn linger(&mut self, wire: &mut impl Wire, scratch: &mut Vec<u8>) {
        let is_told = std::mem::replace(&mut self.lingers, true);
        if !is_told || self.receiver.ack_due().is_some() {
            self.transmit(wire, scratch, Datagram::Done { to: self.peer, from: self.mine.id });
            self.receiver.on_told(true);
        }
        self.is_over |= self.is_peer_done;
    }

    fn transmit(&self, wire: &mut impl Wire, scratch: &mut Vec<u8>, datagram: Datagram<'_>) {
        datagram.write(scratch);
        wire.send(scratch);
        scratch.clear();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether messages can be sent.
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_finishing()
    }

    /// Whether both ends have ended and everything has arrived.
    pub(crate) fn is_clean(&self) -> bool {
        self.receiver.is_finished() && self.sender.is_finishing() && self.sender.is_delivered()
    }

    /// What the peer is told when it is asked.
    pub(crate) fn progress(&self) -> Progress {
        self.receiver.progress()
    }

    pub(crate) fn is_peer_gone(&self) -> bool {
        self.is_peer_gone
    }

    /// Whether the peer closed before this side did.
    pub(crate) fn is_peer_first(&self) -> bool {
        self.is_peer_first
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    pub(crate) fn unsent(&self) -> usize {
        self.sender.messages()
    }

    pub(crate) fn backlog(&self) -> usize {
        self.sender.backlog()
    }

    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.sender.rtt.smoothed()
    }

    /// Bytes of memory.
    pub(crate) fn held(&self) -> usize {
        size_of::<Self>() + self.sender.held() + self.receiver.held() + self.assembly.capacity()
    }

    /// What the peer says of itself if it has received all that was sent, but for what is under way.
    #[cfg(test)]
    pub(crate) fn next_progress(&self) -> Progress {
        self.sender.least_progress()
    }
}
