//! What the clients of the workload speak.

use std::collections::{BTreeMap, VecDeque};

use switchboard::Input;
use switchboard_heartbeat::{LONGEST_LINE, Line};
use switchboard_websocket::frame::{Header, OpCode, Receiver, Role, parse};
use switchboard_websocket::mask;

use super::talker::Dialect;

/// Every byte comes back.
#[derive(Default)]
pub(super) struct Echo {
    expected: VecDeque<u8>,
    /// What to say first, and what is answered to that.
    greeting: Option<(&'static [u8], &'static [u8])>,
}

impl Echo {
    /// To a server that becomes an echo when it is asked to.
    pub(super) fn after_upgrade() -> Self {
        Self { greeting: Some((super::servers::UPGRADE, super::servers::UPGRADED)), ..Self::default() }
    }
}

impl Dialect for Echo {
    fn greet(&mut self, out: &mut Vec<u8>) {
        if let Some((say, hear)) = self.greeting {
            out.extend(say);
            self.expected.extend(hear);
        }
    }

    fn say(&mut self, word: &[u8], out: &mut Vec<u8>) {
        out.extend(word);
        self.expected.extend(word);
    }

    fn hear(&mut self, input: &mut Input<'_>, _: &mut Vec<u8>) {
        let came = input.take_all();
        assert!(came.len() <= self.expected.len(), "more came back than was sent");
        let expected = self.expected.drain(..came.len());
        assert!(expected.eq(came.iter().copied()), "something else came back than was sent");
    }

    fn is_complete(&self) -> bool {
        self.expected.is_empty()
    }
}

/// Lines of `PING`, each answered with its `PONG`; those that the server asks are answered here.
#[derive(Default)]
pub(super) struct Pings {
    asked: u64,
    answered: u64,
}

impl Pings {
    fn line(line: Line<'_>, out: &mut Vec<u8>) {
        out.extend(line.encode(&mut [0; LONGEST_LINE]));
    }
}

impl Dialect for Pings {
    fn say(&mut self, _: &[u8], out: &mut Vec<u8>) {
        Self::line(Line::Ping(self.asked), out);
        self.asked += 1;
    }

    fn hear(&mut self, input: &mut Input<'_>, out: &mut Vec<u8>) {
        while let Some((line, length)) = Line::parse(input).expect("a line of the protocol") {
            match line {
                Line::Ping(number) => Self::line(Line::Pong(number), out),
                Line::Pong(number) => {
                    assert_eq!(number, self.answered, "answers come in the order asked");
                    self.answered += 1;
                    assert!(self.answered <= self.asked, "an answer to what was not asked");
                }
                Line::Err(reason) => panic!("refused: {}", reason.escape_ascii()),
            }
            input.take(length);
        }
    }

    fn is_complete(&self) -> bool {
        self.asked == self.answered
    }
}

/// WebSocket messages, each sent back.
#[derive(Default)]
pub(super) struct WebSocket {
    upgraded: bool,
    timed_out: bool,
    closed: bool,
    expected: VecDeque<Vec<u8>>,
    masked: u32,
}

impl WebSocket {
    fn frame(&mut self, fin: bool, opcode: OpCode, payload: &[u8], out: &mut Vec<u8>) {
        self.masked = self.masked.wrapping_mul(0x9e37_79b9).wrapping_add(1);
        let key = self.masked.to_be_bytes();
        let header = Header { fin, compressed: false, opcode, mask: Some(key), payload: payload.len() as u64 };
        out.extend(&*header.encode());
        let start = out.len();
        out.extend(payload);
        mask::apply(&mut out[start..], key);
    }

    fn hear_frame(&mut self, header: Header, payload: &[u8], out: &mut Vec<u8>) {
        assert!(!self.closed, "a frame behind the close frame");
        match header.opcode {
            OpCode::Binary => {
                let expected = self.expected.pop_front().expect("a message that was not sent");
                assert!(payload == expected, "another message came back than was sent");
            }
            OpCode::Ping => self.frame(true, OpCode::Pong, payload, out),
            OpCode::Close => {
                self.closed = true;
                self.frame(true, OpCode::Close, payload, out);
            }
            opcode => panic!("an unasked for frame: {opcode:?}"),
        }
    }
}

impl Dialect for WebSocket {
    fn greet(&mut self, out: &mut Vec<u8>) {
        out.extend(
            b"GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        );
    }

    /// In one frame, or in three with a ping in between.
    fn say(&mut self, word: &[u8], out: &mut Vec<u8>) {
        self.expected.push_back(word.to_vec());
        if word.len().is_multiple_of(3) {
            let (first, rest) = word.split_at(word.len() / 3);
            let (second, third) = rest.split_at(rest.len() / 2);
            self.frame(false, OpCode::Binary, first, out);
            self.frame(false, OpCode::Continuation, second, out);
            self.frame(true, OpCode::Pong, b"by the way", out);
            self.frame(true, OpCode::Continuation, third, out);
        } else {
            self.frame(true, OpCode::Binary, word, out);
        }
    }

    fn say_goodbye(&mut self, out: &mut Vec<u8>) -> bool {
        self.frame(true, OpCode::Close, &1000_u16.to_be_bytes(), out);
        false
    }

    fn hear(&mut self, input: &mut Input<'_>, out: &mut Vec<u8>) {
        if !self.upgraded {
            let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else { return };
            let head = input.take(end + 4);
            self.timed_out = head.starts_with(b"HTTP/1.1 408 "); // for those on a slow network
            assert!(self.timed_out || head.starts_with(b"HTTP/1.1 101 "), "{}", head.escape_ascii());
            self.upgraded = true;
        }
        if self.timed_out {
            input.take_all();
            return;
        }
        let receiver = Receiver { role: Role::Client, in_message: false, compression: false };
        while let Some((header, start)) = parse(input, receiver).expect("a frame of a server") {
            let end = start + usize::try_from(header.payload).expect("a frame that fits");
            if input.len() < end {
                input.wait_for(end);
                return;
            }
            let frame = input.take(end);
            self.hear_frame(header, &frame[start..], out);
        }
    }

    fn is_complete(&self) -> bool {
        self.expected.is_empty() && self.closed
    }
}

/// Lines to one other member of a ring; what comes is the line of others.
pub(super) struct Chat {
    name: u32,
    said: u64,
    heard: BTreeMap<u32, u64>,
}

impl Chat {
    pub(super) fn new(name: u32) -> Self {
        Self { name, said: 0, heard: BTreeMap::new() }
    }
}

impl Dialect for Chat {
    fn say(&mut self, word: &[u8], out: &mut Vec<u8>) {
        self.said += 1;
        out.extend(format!("{} {} {}\n", self.name, self.said, "x".repeat(word.len() % 200)).into_bytes());
    }

    /// Lines can be dropped where a mailbox is full, but those of one author come in order, and once.
    fn hear(&mut self, input: &mut Input<'_>, _: &mut Vec<u8>) {
        while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
            let line = std::str::from_utf8(input.take(end + 1)).expect("a line is of text");
            let mut words = line.split(' ');
            let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).expect("a line has two numbers");
            let (author, said) = (u32::try_from(number()).expect("a name"), number());
            let before = self.heard.insert(author, said).unwrap_or(0);
            assert!(said > before, "line {said} of {author} came after line {before}");
        }
    }

    fn is_complete(&self) -> bool {
        true // who gets what depends on who is there
    }
}
