//! What a WebSocket should do: the bytes it was sent, read plainly, and what it is to answer.

use std::collections::VecDeque;

use super::answer::{self, Judged};
use super::echo::{CLOSE, CLOSED_BY_HANDLER, FAIL, LOUD, LOUD_ANSWER};
use super::inflation::{Inflated, Inflation, agreed};
use crate::Settings;
use crate::deflate::Offer;
use crate::frame::{Header, OpCode, Receiver, Role};
use crate::fuzzing::handshake::{Verdict, end_of_head, judge};
use crate::fuzzing::naive::{self, Naive};

/// A frame from the WebSocket under test.
pub(super) type Frame = (OpCode, Vec<u8>);

/// Where the conversation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// The opening request, or the answer to it, is not whole.
    Opening,
    /// The server refused it, with one of these statuses; or the client refused it, by nothing, or because the server
    /// had, with one.
    Refused(Vec<u16>),
    Open,
    /// It failed the connection with this code.
    Failed(u16),
    /// The peer closed with this code (1005 for none), which was answered.
    ClosedByPeer(u16),
    /// It has sent a close frame with this code.
    Closing(u16),
}

/// The WebSocket as it should be.
pub(super) struct Model {
    pub(super) role: Role,
    settings: Settings,
    unread: Vec<u8>,
    pub(super) stage: Stage,
    /// The value of `Sec-WebSocket-Accept` that is to be sent, or awaited.
    pub(super) accept: Option<String>,
    /// What is to be sent after the handshake, in order, as far as nobody has taken it.
    pub(super) expected: VecDeque<Frame>,
    message: Option<Assembly>,
    /// Bytes of interim answers.
    interim: usize,
    /// Where compression was agreed on.
    pub(super) inflation: Option<Inflation>,
    /// The connection fails, by which code depends on how what arrived was cut into pieces.
    pub(super) is_vague: bool,
    /// A compressed message has left the decompressor where nobody can say what comes next.
    pub(super) is_lost: bool,
}

#[derive(Default)]
struct Assembly {
    text: bool,
    compressed: bool,
    payload: Vec<u8>,
    fragments: u32,
}

impl Model {
    pub(super) fn new(role: Role, settings: Settings) -> Self {
        Self {
            role,
            settings,
            unread: Vec::new(),
            stage: Stage::Opening,
            accept: None,
            expected: VecDeque::new(),
            message: None,
            interim: 0,
            inflation: None,
            is_vague: false,
            is_lost: false,
        }
    }

    /// It is sent more.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        if self.stage == Stage::Opening {
            match self.role {
                Role::Server => self.open(),
                Role::Client => while self.answered() {},
            }
        }
        while self.stage == Stage::Open && !self.is_lost && self.frame() {}
        while matches!(self.stage, Stage::Closing(_)) && !self.is_lost && self.dropped() {}
    }

    /// It closes by itself.
    pub(super) fn close(&mut self, code: u16) {
        if self.stage == Stage::Open {
            self.expected.push_back((OpCode::Close, code.to_be_bytes().to_vec()));
            self.stage = Stage::Closing(code);
        }
    }

    /// Whether it has no reason to hold a byte, once its output is taken.
    pub(super) fn holds_nothing(&self) -> bool {
        match self.stage {
            Stage::Open => self.unread.is_empty() && self.message.is_none(),
            Stage::Failed(_) | Stage::ClosedByPeer(_) => true,
            _ => false,
        }
    }

    fn open(&mut self) {
        self.stage = match end_of_head(&self.unread, self.settings.max_handshake) {
            Ok(None) => return,
            Err(status) => Stage::Refused(vec![status]),
            Ok(Some(end)) => {
                let head: Vec<u8> = self.unread.drain(..end).collect();
                match judge(&head, self.settings.max_headers) {
                    Verdict::Refused(statuses) => Stage::Refused(statuses),
                    Verdict::Plain => Stage::Refused(vec![426]),
                    Verdict::WebSocket(accept) => {
                        self.accept = Some(accept);
                        let agreed = self.settings.compression.and_then(|wishes| agreed(&head, &wishes));
                        self.inflation = agreed.map(|parameters| Inflation::new(self.role, parameters));
                        Stage::Open
                    }
                }
            }
        };
    }

    /// Reads one head of an answer; false if no other is expected.
    fn answered(&mut self) -> bool {
        let foreign = self.unread.iter().zip(b"HTTP/").any(|(byte, expected)| byte != expected);
        let end = match end_of_head(&self.unread, self.settings.max_handshake - self.interim) {
            Ok(Some(end)) if !foreign => end,
            Ok(None) if !foreign => return false,
            _ => {
                self.stage = Stage::Refused(vec![]);
                return false;
            }
        };
        let head: Vec<u8> = self.unread.drain(..end).collect();
        self.interim += end;
        let accept = self.accept.as_deref().unwrap_or_default();
        let offer = self.settings.compression.as_ref().map(Offer::new);
        self.stage = match answer::judge(&head, self.settings.max_headers, accept, offer.as_ref()) {
            Judged::Interim => return true,
            Judged::Open(agreed) => {
                self.inflation = agreed.map(|parameters| Inflation::new(self.role, parameters));
                Stage::Open
            }
            Judged::Refused(status) => Stage::Refused(vec![status]),
            Judged::Broken => Stage::Refused(vec![]),
        };
        false
    }

    /// Reads one frame; false if it is not whole. What is there of it is judged all the same.
    fn frame(&mut self) -> bool {
        let compression = self.inflation.is_some();
        let receiver = Receiver { role: self.role, in_message: self.message.is_some(), compression };
        let (header, start) = match naive::header(&self.unread, receiver) {
            Naive::Header(header, start) => (header, start),
            Naive::Short => return false,
            Naive::Bad => return self.fail(1002),
        };
        let length = usize::try_from(header.payload).unwrap_or(usize::MAX);
        let end = start.saturating_add(length).min(self.unread.len());
        let key = header.mask.unwrap_or_default();
        let plain: Vec<u8> =
            self.unread[start..end].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        let whole = plain.len() == length;
        let goes_on = if header.opcode.is_control() {
            whole && self.control(header.opcode, &plain)
        } else {
            self.data(header, &plain, whole)
        };
        if goes_on {
            self.unread.drain(..end);
        }
        goes_on
    }

    /// Reads one frame behind its own close frame; false if it is not whole, or the last.
    fn dropped(&mut self) -> bool {
        let compression = self.inflation.is_some();
        let receiver = Receiver { role: self.role, in_message: self.message.is_some(), compression };
        let Naive::Header(header, start) = naive::header(&self.unread, receiver) else { return false };
        let length = usize::try_from(header.payload).unwrap_or(usize::MAX);
        let end = start.saturating_add(length);
        if end > self.unread.len() || header.opcode == OpCode::Close {
            return false; // it stays at the close frame for good
        }
        let key = header.mask.unwrap_or_default();
        let frame = self.unread.drain(..end).skip(start);
        let plain: Vec<u8> = frame.zip(key.into_iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        match header.opcode {
            OpCode::Ping => self.expected.push_back((OpCode::Pong, plain)),
            OpCode::Pong => {}
            _ => self.message = (!header.fin).then(Assembly::default),
        }
        true
    }

    fn control(&mut self, opcode: OpCode, payload: &[u8]) -> bool {
        match opcode {
            OpCode::Ping => self.expected.push_back((OpCode::Pong, payload.to_vec())),
            OpCode::Pong => {}
            _ => match naive::close(payload) {
                Ok((code, _)) => {
                    self.expected.push_back((OpCode::Close, payload.to_vec()));
                    self.stage = Stage::ClosedByPeer(code);
                }
                Err(code) => return self.fail(code),
            },
        }
        true
    }

    fn data(&mut self, header: Header, plain: &[u8], whole: bool) -> bool {
        let text = header.opcode == OpCode::Text;
        let compressed = header.compressed;
        let mut message = self.message.take().unwrap_or_else(|| Assembly { text, compressed, ..Assembly::default() });
        message.fragments += 1;
        let size = u128::from(header.payload) + message.payload.len() as u128;
        let most = self.settings.max_message;
        // Compression may make it longer.
        let most = if message.compressed { most + most / 8 + 48 + 16 * message.fragments as usize } else { most };
        if size > most as u128 || message.fragments > self.settings.max_fragments {
            return self.fail(1009);
        }
        let before = message.payload.len();
        message.payload.extend_from_slice(plain);
        let last = header.fin && whole;
        let inflated = match &mut self.inflation {
            Some(inflation) if message.compressed => inflation.read(&message.payload, last, self.settings.max_message),
            _ => Inflated::Plain(message.payload.clone()),
        };
        let is_good = |plain: &[u8]| match std::str::from_utf8(plain) {
            Err(error) if message.text => !last && error.error_len().is_none(),
            _ => true,
        };
        let plain = match inflated {
            Inflated::Plain(plain) if is_good(&plain) => plain,
            Inflated::Plain(_) | Inflated::Bad => return self.fail(1007),
            Inflated::Long { may_be_bad, beginning } => {
                self.is_vague |= may_be_bad || !is_good(&beginning);
                return self.fail(1009);
            }
        };
        self.is_lost |= self.inflation.as_ref().is_some_and(|inflation| inflation.is_lost);
        if last {
            self.handle(message.text, plain);
            return true;
        }
        if !whole {
            // It will be read again from this frame's header on.
            message.payload.truncate(before);
            message.fragments -= 1;
        }
        if message.fragments > 0 {
            self.message = Some(message);
        }
        whole
    }

    /// What the application does with a message.
    fn handle(&mut self, text: bool, payload: Vec<u8>) {
        match payload[..] {
            [FAIL, ..] if !text => drop(self.fail(1011)),
            [CLOSE, ..] if !text => self.close(CLOSED_BY_HANDLER),
            [LOUD, ..] if !text => self.expected.push_back((OpCode::Binary, LOUD_ANSWER.to_vec())),
            _ => self.expected.push_back((if text { OpCode::Text } else { OpCode::Binary }, payload)),
        }
    }

    fn fail(&mut self, code: u16) -> bool {
        self.expected.push_back((OpCode::Close, code.to_be_bytes().to_vec()));
        self.stage = Stage::Failed(code);
        false
    }
}
