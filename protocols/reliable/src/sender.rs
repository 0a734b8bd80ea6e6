//! What is sent until it has arrived: segments of messages, and which of them are lost.

use std::collections::VecDeque;

use switchboard::Time;

use crate::congestion::Congestion;
use crate::header::{CHUNK_HEADER, Chunk, DATA_HEADER, Progress, Terms, segment_header};
use crate::rtt::Rtt;
use crate::{Settings, Stats};

mod acknowledgement;

/// A segment is lost when one that was sent this many later has arrived: RFC 9002 §6.1.1.
const REORDERING: u64 = 3;
/// Buffers kept for the next segments, until nothing was sent for a while.
const SPARE: usize = 64;
/// What a segment takes besides its bytes.
pub(crate) const SEGMENT_COST: usize = size_of::<Segment>();

#[derive(Debug)]
struct Segment {
    /// The whole datagram; its header is written each time it is sent.
    datagram: Vec<u8>,
    /// How many messages end in it.
    ends: u32,
    is_fin: bool,
    state: State,
    /// Whether it was sent more than once: no telling then which time was acknowledged.
    resent: bool,
    /// Which of all sendings was its first, and which its last.
    first_order: u64,
    order: u64,
    sent_at: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    UnderWay,
    Lost,
    Arrived,
}

/// One direction of a session, at its beginning.
#[derive(Debug)]
pub(crate) struct Sender {
    /// Those not known to have arrived, with all before them: the first sent, then those that wait.
    segments: VecDeque<Segment>,
    /// The number of the first.
    first: u32,
    /// How many of them were sent.
    sent: usize,
    /// The first that the receiver has no room for.
    limit: u32,
    /// The receiver's id.
    to: u64,
    /// Bytes of a full datagram.
    full: usize,
    /// The number of the next sending.
    order: u64,
    /// Of all sendings that arrived for sure the last: what was sent well before it is lost.
    arrived: u64,
    /// Bytes under way.
    flight: usize,
    /// When something was last sent.
    sent_at: Time,
    /// Segments that are lost and not sent again yet.
    lost: usize,
    /// Whether the congestion window was what held the last one up.
    is_full: bool,
    /// Whether the last segment is there.
    finishing: bool,
    messages: usize,
    backlog: usize,
    spare: Vec<Vec<u8>>,
    /// Bytes of all buffers.
    held: usize,
    congestion: Congestion,
    pub(crate) rtt: Rtt,
}

impl Sender {
    /// To a peer with these terms; `first` is the first segment's number.
    pub(crate) fn new(settings: &Settings, first: u32, peer: Terms, rtt: Rtt) -> Self {
        let full = settings.datagram.min(usize::from(peer.datagram));
        Self {
            segments: VecDeque::new(),
            first,
            sent: 0,
            limit: first.wrapping_add(peer.window.into()),
            to: peer.id,
            full,
            order: REORDERING,
            arrived: 0,
            flight: 0,
            sent_at: Time::ZERO,
            lost: 0,
            is_full: false,
            finishing: false,
            messages: 0,
            backlog: 0,
            spare: Vec::new(),
            held: 0,
            congestion: Congestion::new(full, full * usize::from(peer.window)),
            rtt,
        }
    }

    /// What a message of `length` bytes adds to the backlog at most.
    pub(crate) fn cost(&self, length: usize) -> usize {
        let most = self.full - DATA_HEADER - CHUNK_HEADER;
        length + length.div_ceil(most).max(1) * (SEGMENT_COST + DATA_HEADER + CHUNK_HEADER)
    }

    /// Puts a message down to be sent. Where it fits a datagram it is in one, with others if they do.
    pub(crate) fn push(&mut self, message: &[u8]) {
        debug_assert!(!self.finishing);
        let most = self.full - DATA_HEADER - CHUNK_HEADER;
        let mut chunks = message.chunks(most).peekable();
        let first = chunks.next().unwrap_or(&[]);
        self.push_chunk(Chunk { bytes: first, goes_on: chunks.peek().is_some() });
        while let Some(bytes) = chunks.next() {
            self.push_chunk(Chunk { bytes, goes_on: chunks.peek().is_some() });
        }
        self.messages += 1;
    }

    /// Ends the messages.
    pub(crate) fn finish(&mut self) {
        if !self.finishing {
            self.add_segment(true, DATA_HEADER);
            self.finishing = true;
        }
    }

    fn push_chunk(&mut self, chunk: Chunk<'_>) {
        let length = CHUNK_HEADER + chunk.bytes.len();
        let is_waiting = self.segments.len() > self.sent;
        let fits = |last: &Segment| last.datagram.len() + length <= self.full;
        if !(is_waiting && self.segments.back().is_some_and(fits)) {
            self.add_segment(false, DATA_HEADER + length);
        }
        let Some(last) = self.segments.back_mut() else { return };
        let before = last.datagram.capacity();
        if before < last.datagram.len() + length {
            // The second chunk is likely not the last.
            last.datagram.reserve_exact(self.full - last.datagram.len());
        }
        chunk.write(&mut last.datagram);
        last.ends += u32::from(!chunk.goes_on);
        self.held += last.datagram.capacity() - before;
        self.backlog += length;
    }

    /// Adds an empty segment that has room for `length` bytes.
    fn add_segment(&mut self, is_fin: bool, length: usize) {
        let mut datagram = self.spare.pop().unwrap_or_default();
        let before = datagram.capacity();
        datagram.reserve_exact(length);
        datagram.resize(DATA_HEADER, 0);
        self.held += datagram.capacity() - before;
        self.backlog += SEGMENT_COST + DATA_HEADER;
        self.segments.push_back(Segment {
            datagram,
            ends: 0,
            is_fin,
            state: State::Waiting,
            resent: false,
            first_order: 0,
            order: 0,
            sent_at: Time::ZERO,
        });
    }

    /// The retransmission timeout has passed: everything under way is lost (RFC 6298 §5.4 to 5.6).
    pub(crate) fn on_timeout(&mut self, stats: &mut Stats) {
        if self.flight > 0 {
            self.congestion.on_timeout(self.flight, !self.rtt.is_backed_off(), self.order);
        }
        for segment in self.segments.iter_mut().take(self.sent).filter(|segment| segment.state == State::UnderWay) {
            segment.state = State::Lost;
            self.lost += 1;
            stats.lost += 1;
        }
        self.flight = 0;
        self.rtt.back_off();
    }

    /// The next datagram to send now, if there is one and it may be.
    pub(crate) fn next_datagram(&mut self, now: Time, progress: Progress) -> Option<&[u8]> {
        let index = self.next_segment()?;
        if self.flight == 0 && now.saturating_since(self.sent_at) > self.rtt.rto() {
            self.congestion.on_idle();
        }
        let sequence = self.number(index);
        let segment = self.segments.get_mut(index)?;
        let length = segment.datagram.len();
        self.is_full = self.flight > 0 && self.flight + length > self.congestion.window();
        if self.is_full {
            return None;
        }
        match segment.state {
            State::Lost => {
                self.lost -= 1;
                segment.resent = true;
            }
            _ => {
                self.sent += 1;
                segment.first_order = self.order;
            }
        }
        segment.state = State::UnderWay;
        segment.order = self.order;
        (segment.sent_at, self.sent_at) = (now, now);
        self.order += 1;
        self.flight += length;
        segment.datagram[..DATA_HEADER].copy_from_slice(&segment_header(segment.is_fin, self.to, progress, sequence));
        Some(&segment.datagram)
    }

    /// The first that is lost, or else the first that waits, if the receiver takes it.
    fn next_segment(&mut self) -> Option<usize> {
        if self.lost > 0 {
            return self.segments.iter().take(self.sent).position(|segment| segment.state == State::Lost);
        }
        let is_waiting = self.sent < self.segments.len();
        if !is_waiting || self.is_beyond_limit(self.sent) {
            self.is_full = false;
            return None;
        }
        Some(self.sent)
    }

    fn is_beyond_limit(&self, index: usize) -> bool {
        self.number(index).wrapping_sub(self.limit).cast_signed() >= 0
    }

    fn number(&self, index: usize) -> u32 {
        // The list is a window's and a send buffer's at most.
        self.first.wrapping_add(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Whether something is under way, or was and is lost.
    pub(crate) fn awaits_ack(&self) -> bool {
        self.flight > 0 || self.lost > 0
    }

    /// Whether something waits that the receiver has no room for, and nothing is under way that would tell of more.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.awaits_ack() && self.sent < self.segments.len() && self.is_beyond_limit(self.sent)
    }

    /// Whether all has arrived, the end too.
    pub(crate) fn is_finished(&self) -> bool {
        self.finishing && self.segments.is_empty()
    }

    /// Whether all messages have arrived.
    pub(crate) fn is_delivered(&self) -> bool {
        self.messages == 0
    }

    /// The peer says that it has everything.
    pub(crate) fn settle(&mut self) {
        (self.messages, self.backlog, self.flight, self.lost, self.sent) = (0, 0, 0, 0, 0);
        self.held -= self.segments.drain(..).map(|segment| segment.datagram.capacity()).sum::<usize>();
    }

    /// Whether no more messages can be put down.
    pub(crate) fn is_finishing(&self) -> bool {
        self.finishing
    }

    /// Messages not known to have arrived.
    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    /// Bytes not known to have arrived, with what they take besides.
    pub(crate) fn backlog(&self) -> usize {
        self.backlog
    }

    /// Bytes of memory.
    pub(crate) fn held(&self) -> usize {
        self.held + self.segments.capacity() * SEGMENT_COST + self.spare.capacity() * size_of::<Vec<u8>>()
    }

    /// Gives back what is kept for the next segments.
    pub(crate) fn shrink(&mut self) {
        if self.segments.is_empty() {
            self.held -= self.spare.drain(..).map(|buffer| buffer.capacity()).sum::<usize>();
            self.spare.shrink_to_fit();
            self.segments.shrink_to_fit();
        }
    }

    #[cfg(test)]
    pub(crate) fn least_progress(&self) -> Progress {
        Progress { ack: self.first, limit: self.limit }
    }

    #[cfg(test)]
    pub(crate) fn congestion_window(&self) -> usize {
        self.congestion.window()
    }
}

#[cfg(test)]
#[path = "sender_tests.rs"]
mod tests;
