//! The WebSocket under test and its model, side by side.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use switchboard::Limits;
use switchboard::testkit::Harness;
use switchboard_heartbeat::Config as Heartbeat;

use super::echo::{Echo, FAIL, PAUSE_TIME, Seen};
use super::inflation::Returned;
use super::model::{Frame, Model, Stage};
use super::opening::{answer, compression, request};
use crate::deflate::{Compression, Deflater, Inflater, Memory, WindowBits};
use crate::frame::{Header, OpCode, Role};
use crate::{CloseCode, Connect, Post, Settings, WebSocket};

mod sent;

const MAX_MESSAGE: usize = 2000;
const READ_BUDGET: usize = 1024;
const HIGH_WATER: usize = 1500;
/// What a connection may hold by these, with what its buffers have to spare: a read, a message that is put together,
/// output up to the mark and one answer.
const MOST_HELD: usize = 2 * (READ_BUDGET + HIGH_WATER + 3 * MAX_MESSAGE);
/// In so little time no timer of the connection's own is due, but for those of a heartbeat.
const MOMENT: Duration = Duration::from_secs(1);

pub(super) struct Run {
    harness: Harness,
    model: Model,
    seen: Rc<Seen>,
    settings: Rc<Settings>,
    /// The head that opens it.
    opening: Vec<u8>,
    /// What it has sent, from the beginning of what has not been checked.
    sent: Vec<u8>,
    /// The beginning of a message that it sends in pieces.
    begun: Option<(Header, Vec<u8>)>,
    switched: bool,
    /// The peer takes only so much at present.
    limited: bool,
    /// What waits in the server when it is cut short is lost: what it has sent is only the beginning of what it should.
    loose: bool,
    /// It has sent a close frame that the model does not know of.
    said_goodbye: bool,
    reset: bool,
    finished: bool,
    /// The time that has passed in steps of milliseconds.
    moments: Duration,
    /// What was posted and has not come, in order, wherever it comes between the echoes.
    posts: VecDeque<Frame>,
    /// Reads compressed messages that it has sent.
    returned: Option<Returned>,
}

impl Run {
    pub(super) fn new(role: Role, choices: u8, streams: bool) -> Self {
        let heartbeat = Heartbeat::new(Duration::from_secs(20), Duration::from_secs(45)).ok();
        let settings = Settings {
            max_message: MAX_MESSAGE,
            max_fragments: 8,
            max_streamed: MAX_MESSAGE as u64,
            max_streamed_fragments: 8,
            max_handshake: 1000,
            max_refusal: 100,
            heartbeat: heartbeat.filter(|_| choices & 1 != 0),
            compression: (choices & 4 != 0).then(|| compression(choices)),
            // No timer is due where the model knows exactly what follows.
            message_timeout: heartbeat.filter(|_| choices & 1 != 0).map(|_| Duration::from_secs(50)),
            ..Settings::default()
        };
        let limits = Limits {
            receive_buffer: 2 * READ_BUDGET,
            read_budget: READ_BUDGET,
            high_water: HIGH_WATER,
            low_water: 300,
            send_buffer: 100_000,
            ..Limits::default()
        };
        let (seen, settings) = (Rc::<Seen>::default(), Rc::new(settings));
        seen.pauses_first.set(choices & 2 != 0);
        seen.streams.set(streams);
        let mut model = Model::new(role, (*settings).clone());
        let echo = Echo(Rc::clone(&seen));
        let (harness, opening) = match (role, Connect::to("ws://a/")) {
            (Role::Client, Ok(connect)) => {
                let client = WebSocket::client_with_settings(connect, echo, &settings);
                let mut harness = Harness::with_limits(client, limits);
                let (accept, opening) = answer(&harness.take_sent(), settings.compression.as_ref());
                model.accept = Some(accept);
                (harness, opening)
            }
            _ => {
                let harness = Harness::with_limits(WebSocket::with_settings(echo, &settings), limits);
                (harness, request(settings.compression.as_ref()))
            }
        };
        Self {
            harness,
            model,
            opening,
            seen,
            settings,
            sent: Vec::new(),
            begun: None,
            switched: role == Role::Client,
            limited: false,
            loose: false,
            said_goodbye: false,
            reset: false,
            finished: false,
            moments: Duration::ZERO,
            posts: VecDeque::new(),
            returned: None,
        }
    }

    /// What the peer compresses by, if both agree on what they begin with; and whether it forgets each message.
    pub(super) fn deflater(&self) -> Option<(Deflater, bool)> {
        let compression = self.settings.compression.as_ref()?;
        Some((Deflater::new(WindowBits::MAX, 6), compression.decompressor == Memory::Shared))
    }

    /// Bytes that the connection's own compression may take as long as it stands.
    fn own(&self) -> usize {
        match self.settings.compression {
            Some(Compression { compressor: Memory::Dedicated, .. }) => {
                Deflater::memory(WindowBits::MAX) + Inflater::MOST_MEMORY
            }
            _ => 0,
        }
    }

    /// The head that opens it, whole and right.
    pub(super) fn opening(&self) -> &[u8] {
        &self.opening
    }

    /// Whether there is no use in going on.
    pub(super) fn is_over(&self) -> bool {
        self.reset || self.finished
    }

    /// Whether the server has done all that can be expected of it by now.
    fn is_prompt(&self) -> bool {
        !self.loose && !self.limited && !self.seen.paused.get()
    }

    fn tell_model(&mut self, bytes: &[u8]) {
        self.model.feed(bytes);
        self.loose |= self.model.is_vague || self.model.is_lost;
    }

    pub(super) fn feed(&mut self, bytes: Vec<u8>) {
        if !self.is_over() {
            self.tell_model(&bytes);
            self.harness.feed(&bytes);
        }
    }

    /// The last bytes come together with the end.
    pub(super) fn finish(&mut self, bytes: &[u8]) {
        if !self.is_over() {
            self.tell_model(bytes);
            self.harness.feed_eof(bytes);
            self.finished = true;
        }
    }

    pub(super) fn reset(&mut self) {
        self.loose |= !self.is_prompt();
        self.reset = true;
        self.harness.reset();
    }

    /// The peer takes some bytes more, or (128 and above) whatever comes.
    pub(super) fn set_window(&mut self, choice: u8) {
        self.limited = choice < 128;
        self.harness.set_window(if self.limited { 8 * usize::from(choice) } else { usize::MAX });
    }

    /// The loop's next reads and writes are short, or (0) would block.
    pub(super) fn cut(&mut self, reads: bool, sizes: &[u8]) {
        let (peer, sizes) = (self.harness.peer(), sizes.iter().map(|size| usize::from(size % 8)));
        if reads { peer.cut_reads(sizes) } else { peer.cut_writes(sizes) }
    }

    /// Some milliseconds, in which nothing happens but the end of a pause.
    pub(super) fn advance(&mut self, by: Duration) {
        self.moments += by;
        if self.moments > MOMENT {
            return self.wait(by);
        }
        self.harness.advance(by);
    }

    /// Some seconds. A connection that stands, without a heartbeat and with nothing to send, does not notice.
    pub(super) fn wait(&mut self, by: Duration) {
        let idle = self.model.stage == Stage::Open && self.settings.heartbeat.is_none() && !self.limited;
        self.loose |= !idle;
        self.harness.advance(by);
        if idle && self.is_prompt() {
            assert_eq!(self.harness.core().armed_timers(), 0, "an idle connection has a timer");
        }
    }

    /// Somebody posts a message.
    pub(super) fn post(&mut self, choice: u8) {
        // No echo begins like that, so it can be told from all of them.
        let payload = [&[FAIL], &[choice; 9][..]].concat();
        let posted = self.harness.post(Post::Binary(payload.clone().into()));
        let stands = self.model.stage == Stage::Open && self.is_prompt();
        assert!(posted.is_ok() || !stands, "a message is handed back");
        if posted.is_ok() {
            self.posts.push_back((OpCode::Binary, payload));
        }
    }

    /// Somebody posts that it shall close.
    pub(super) fn close(&mut self) {
        let post = Post::Close(CloseCode(4001), String::new().into());
        self.close_by(|harness| drop(harness.post(post)), 4001);
    }

    pub(super) fn shut_down(&mut self) {
        self.close_by(|harness| harness.shutdown(Duration::from_secs(600)), 1001);
    }

    /// The server closes by itself: at once, or in the midst of what it still has to read.
    fn close_by(&mut self, act: impl FnOnce(&mut Harness), code: u16) {
        let reads_refusal = self.model.role == Role::Client && matches!(self.model.stage, Stage::Refused(_));
        if self.model.stage == Stage::Opening || reads_refusal || !self.is_prompt() {
            self.loose = true;
        } else {
            self.model.close(code);
        }
        act(&mut self.harness);
    }

    /// Compares what the server has done with what it should have.
    pub(super) fn check(&mut self) {
        self.sent.extend(self.harness.take_sent());
        let held = self.harness.core().held_bytes();
        let decompressor = if self.settings.compression.is_some() { Inflater::MOST_MEMORY } else { 0 };
        let streams = self.settings.compression.is_some() && self.seen.streams.get();
        let compressor = if streams { Deflater::memory(WindowBits::MAX) } else { 0 };
        let most = MOST_HELD + 130 * self.posts.len() + self.own() + decompressor + compressor;
        assert!(held <= most, "{held} bytes are held");
        if !self.switched && !self.answer() {
            return;
        }
        if self.model.is_lost {
            return self.sent.clear();
        }
        while let Some(frame) = self.next_frame() {
            self.check_frame(frame);
        }
        if self.is_prompt() {
            assert_eq!(self.model.expected, [], "these are missing, at {:?}", self.model.stage);
            // Those that waited for room may find that the peer has half-closed meanwhile. None comes within an echo.
            let posts_are_due = self.model.stage == Stage::Open && !self.finished && self.begun.is_none();
            assert!(self.posts.is_empty() || !posts_are_due, "missing: {:?}", self.posts);
            let held = self.harness.core().held_bytes();
            assert!(held <= self.own() || !self.model.holds_nothing(), "{held} bytes are held for nothing");
            self.check_end();
        }
    }

    /// Whether the connection was ended by who has to end it: a server, but for a client that failed it.
    fn check_end(&self) {
        let client = self.model.role == Role::Client;
        let ended = match &self.model.stage {
            Stage::Failed(_) => true,
            Stage::ClosedByPeer(_) => !client,
            Stage::Refused(statuses) => client && statuses.is_empty(), // with a status: when the body has been read
            _ => false,
        };
        let saw_eof = self.harness.saw_eof();
        assert!(!ended || self.reset || saw_eof, "no end at {:?}", self.model.stage);
        let waits = client && matches!(self.model.stage, Stage::ClosedByPeer(_)) && !self.finished && !self.reset;
        assert!(!waits || !saw_eof, "a client ends the connection before its server");
    }

    /// Compares a frame with what should come: the next echo or pong, a post, a ping of the heartbeat; where the
    /// connection was cut short, a close frame instead.
    fn check_frame(&mut self, frame: Frame) {
        if self.said_goodbye {
            return assert_eq!(frame.0, OpCode::Pong, "behind the close frame");
        }
        let expected = self.model.expected.front();
        if expected.is_some_and(|expected| agree(expected, &frame)) {
            self.model.expected.pop_front();
        } else if self.posts.front() == Some(&frame) {
            self.posts.pop_front();
        } else if frame.0 == OpCode::Close && self.loose {
            self.said_goodbye = true;
            self.model.expected.clear();
        } else {
            let beat = frame.0 == OpCode::Ping && frame.1.starts_with(b"beat") && self.settings.heartbeat.is_some();
            assert!(beat, "{:?} {}, but expected is {expected:?}", frame.0, frame.1.escape_ascii());
        }
    }

    /// Whether the server has answered the request with a 101.
    fn answer(&mut self) -> bool {
        let Some(end) = self.sent.windows(4).position(|four| four == b"\r\n\r\n") else {
            let due = !matches!(self.model.stage, Stage::Opening) && self.is_prompt();
            assert!(!due, "no answer to the request, at {:?}", self.model.stage);
            return false;
        };
        let head = String::from_utf8_lossy(&self.sent[..end + 2]).into_owned();
        let status: u16 = head.get(9..12).and_then(|status| status.parse().ok()).expect("a status");
        match &self.model.stage {
            _ if status == 408 => assert!(self.loose, "no time has passed"),
            Stage::Opening => panic!("an answer to half a request: {head}"),
            Stage::Refused(statuses) => {
                assert!(statuses.contains(&status), "{head}, but {statuses:?}");
                let cut_short = self.reset || self.limited || self.loose; // by a peer that takes nothing for too long
                assert!(cut_short || self.harness.saw_eof(), "a refusal without an end");
            }
            _ => {
                let accept = self.model.accept.as_deref().unwrap_or_default();
                assert!(status == 101 && head.contains(&format!("Sec-WebSocket-Accept: {accept}\r\n")), "{head}");
                self.sent.drain(..end + 4);
                self.switched = true;
            }
        }
        self.switched
    }

    /// The peer takes everything, and goes. Nothing is left then.
    pub(super) fn end(mut self) {
        self.set_window(u8::MAX);
        self.check();
        while self.seen.paused.get() && self.harness.is_open() {
            self.advance(PAUSE_TIME);
            self.check();
        }
        self.check();
        self.harness.eof();
        self.finished = true;
        self.check();
        assert!(!self.is_prompt() || self.sent.is_empty() || !self.switched, "half a frame: {:?}", self.sent);
        let exact = self.is_prompt() && !self.reset;
        self.loose = true;
        self.harness.advance(self.settings.close_timeout + Duration::from_secs(60)); // linger, write_stall
        let reason = self.harness.close_reason().expect("an end").to_string();
        assert!(!exact || self.harness.saw_eof(), "no end: {reason}");
        let core = self.harness.core();
        let left = (core.open_connections(), core.armed_timers(), core.held_bytes(), core.waiting_messages());
        assert_eq!(left, (0, 0, 0, 0), "connections, timers, bytes and messages are left");
        assert_eq!(self.seen.closed.borrow().is_some(), self.seen.opened.get(), "on_close comes if on_open has");
        let failed = self.model.role == Role::Client && !self.seen.opened.get();
        assert_eq!(self.seen.failed.get(), failed, "on_failed comes if on_open has not");
        if exact {
            self.check_farewell(&reason);
        }
    }

    /// What the application was told of the end: the code, whether by the peer, whether clean.
    fn check_farewell(&self, reason: &str) {
        let told = *self.seen.closed.borrow();
        match self.model.stage {
            Stage::Refused(ref statuses) if self.model.role == Role::Client => {
                assert_eq!(told, None, "{reason}");
                let status = statuses.first().map(|status| format!("status {status}"));
                assert!(reason.contains(&status.unwrap_or_default()), "{reason}, but {statuses:?}");
            }
            Stage::Opening | Stage::Refused(_) => assert_eq!(told, None, "{reason}"),
            Stage::Open => assert_eq!(told, Some((1006, false, false)), "{reason}"),
            Stage::Failed(code) => assert_eq!(told, Some((code, false, false)), "{reason}"),
            Stage::ClosedByPeer(code) => assert_eq!(told, Some((code, true, true)), "{reason}"),
            // Clean if the peer's close frame has come, too.
            Stage::Closing(code) => assert_eq!(told.map(|(code, by_peer, _)| (code, by_peer)), Some((code, false))),
        }
    }
}

/// Whether a frame is the expected one. A close frame has a reason on top, in words.
fn agree(expected: &Frame, frame: &Frame) -> bool {
    if frame.0 != OpCode::Close {
        return expected == frame;
    }
    let reason = frame.1.get(2..).unwrap_or_default();
    expected.0 == OpCode::Close
        && frame.1.len() <= 125
        && frame.1.starts_with(&expected.1)
        && (frame.1.is_empty() || !expected.1.is_empty())
        && std::str::from_utf8(reason).is_ok()
}
