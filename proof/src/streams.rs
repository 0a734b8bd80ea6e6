//! Random streams of frames: valid ones, and what damage makes of them. Written octet by octet, by nothing that is
//! under test.

mod deflater;

pub use deflater::Deflater;
use switchboard_websocket::frame::{OpCode, Role};

use crate::dice::Dice;
use crate::differential::{End, Reading};

/// A frame, right or wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The last of its message.
    pub fin: bool,
    /// The three reserved bits, as a number.
    pub reserved: u8,
    /// Four bits.
    pub opcode: u8,
    /// The masking key, if it is masked.
    pub key: Option<[u8; 4]>,
    /// What it carries, unmasked.
    pub payload: Vec<u8>,
    /// How its length is written.
    pub form: Form,
}

/// How a length is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As RFC 6455 §5.2 has it.
    Shortest,
    /// In two octets more, if it fits there.
    Sixteen,
    /// In eight octets more.
    SixtyFour,
    /// This one in its place, as short as it can be.
    Instead(u64),
}

impl Frame {
    /// A frame as it should be.
    #[must_use]
    pub fn new(fin: bool, opcode: u8, key: Option<[u8; 4]>, payload: impl Into<Vec<u8>>) -> Self {
        Self { fin, reserved: 0, opcode, key, payload: payload.into(), form: Form::Shortest }
    }

    /// Its octets.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.fin) << 7 | self.reserved << 4 | self.opcode);
        let length = if let Form::Instead(length) = self.form { length } else { self.payload.len() as u64 };
        let masked = u8::from(self.key.is_some()) << 7;
        match (self.form, u8::try_from(length), u16::try_from(length)) {
            (Form::Shortest | Form::Instead(_), Ok(length @ 0..126), _) => out.push(masked | length),
            (Form::Shortest | Form::Instead(_) | Form::Sixteen, _, Ok(length)) => {
                out.push(masked | 126);
                out.extend(length.to_be_bytes());
            }
            _ => {
                out.push(masked | 127);
                out.extend(length.to_be_bytes());
            }
        }
        out.extend(self.key.iter().flatten());
        let mut octets = self.key.iter().flatten().cycle();
        out.extend(self.payload.iter().map(|byte| byte ^ octets.next().unwrap_or(&0)));
    }

    /// Whether it is a control frame.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.opcode >= 8
    }
}

/// The octets of frames, one behind the other.
#[must_use]
pub fn encode(frames: &[Frame]) -> Vec<u8> {
    let mut out = Vec::new();
    frames.iter().for_each(|frame| frame.encode(&mut out));
    out
}

/// A stream, and what it says.
#[derive(Debug)]
pub struct Spoken {
    /// The frames.
    pub frames: Vec<Frame>,
    /// What they come to.
    pub says: Reading,
}

/// What makes the streams.
#[derive(Debug, Clone, Copy)]
pub struct Writer {
    /// The end that is to receive them: to a server they are masked.
    pub receiver: Role,
    /// The longest message, in bytes.
    pub max_message: usize,
    /// The most fragments of a message.
    pub max_fragments: u32,
}

impl Writer {
    /// Valid frames: messages whole and in fragments, compressed if there is a compressor and it comes to it, with control
    /// frames before, between and behind, now and then with a close frame at the end.
    #[must_use]
    pub fn valid(&self, dice: &mut Dice<'_>, mut deflater: Option<&mut Deflater>) -> Spoken {
        let mut spoken = Spoken { frames: Vec::new(), says: Reading { events: Vec::new(), end: End::Open } };
        for _ in 0..=dice.below(8) {
            match dice.below(4) {
                0 => self.control(dice, &mut spoken),
                _ => self.message(dice, deflater.as_deref_mut(), &mut spoken),
            }
        }
        if dice.one_in(3) {
            let code = [1000, 1001, 1003, 1007, 1011, 1013, 1014, 3000, 4999][dice.index(9)];
            let is_empty = dice.one_in(4);
            let payload = if is_empty { Vec::new() } else { close(code, text(dice, 40).as_bytes()) };
            spoken.frames.push(Frame::new(true, 8, self.key(dice), payload));
            spoken.says.end = End::Closed(if is_empty { 1005 } else { code });
        }
        spoken
    }

    /// The masking key of a next frame.
    fn key(&self, dice: &mut Dice<'_>) -> Option<[u8; 4]> {
        (self.receiver == Role::Server).then(|| if dice.one_in(8) { [0; 4] } else { [0; 4].map(|_: u8| octet(dice)) })
    }

    fn control(&self, dice: &mut Dice<'_>, spoken: &mut Spoken) {
        let (bits, opcode) = if dice.one_in(2) { (9, OpCode::Ping) } else { (10, OpCode::Pong) };
        let length = if dice.one_in(4) { [0, 124, 125][dice.index(3)] } else { dice.index(20) };
        let payload: Vec<u8> = (0..length).map(|_| octet(dice)).collect();
        spoken.frames.push(Frame::new(true, bits, self.key(dice), payload.clone()));
        spoken.says.events.push((opcode, payload));
    }

    fn message(&self, dice: &mut Dice<'_>, deflater: Option<&mut Deflater>, spoken: &mut Spoken) {
        let lengths = [0, 1, 125, 126, 127, 200, 999, 1000, 65_535, 65_536, self.max_message];
        let longest = if dice.one_in(3) { lengths[dice.index(lengths.len())] } else { dice.index(60) };
        let longest = longest.min(self.max_message);
        let opcode = if dice.one_in(2) { OpCode::Text } else { OpCode::Binary };
        let plain = match opcode {
            OpCode::Text => text(dice, longest).into_bytes(),
            _ => (0..longest).map(|_| octet(dice)).collect(),
        };
        let payload = deflater.filter(|_| !dice.one_in(3)).map(|deflater| deflater.message(dice, &plain));
        let first = spoken.frames.len();
        self.fragments(dice, opcode as u8, payload.as_deref().unwrap_or(&plain), spoken);
        spoken.frames[first].reserved = if payload.is_some() { 4 } else { 0 };
        spoken.says.events.push((opcode, plain));
    }

    /// A message in one frame, or cut anywhere, with control frames in between.
    fn fragments(&self, dice: &mut Dice<'_>, opcode: u8, payload: &[u8], spoken: &mut Spoken) {
        let most = if dice.one_in(2) { 1 } else { self.max_fragments.min(5) };
        let (mut opcode, mut rest) = (opcode, payload);
        for left in (0..1 + dice.below(most)).rev() {
            let (part, after) = rest.split_at(if left == 0 { rest.len() } else { dice.index(rest.len() + 1) });
            spoken.frames.push(Frame::new(left == 0, opcode, self.key(dice), part));
            (opcode, rest) = (0, after);
            if left > 0 && dice.one_in(3) {
                self.control(dice, spoken);
            }
        }
    }

    /// Something wrong with one of the frames, or with their order.
    pub fn damage(&self, dice: &mut Dice<'_>, frames: &mut Vec<Frame>) {
        let (place, other) = (dice.index(frames.len()), dice.index(frames.len()));
        match dice.below(5) {
            0 => damage_header(dice, &mut frames[place]),
            1 => damage_length(dice, &mut frames[place], self.max_message),
            2 => damage_text(dice, &mut frames[place]),
            3 => frames[place] = Frame { payload: bad_close(dice), ..Frame::new(true, 8, self.key(dice), []) },
            _ => match dice.below(4) {
                0 if frames.len() > 1 => drop(frames.remove(place)),
                1 => frames.swap(place, other),
                2 => drop(frames.splice(place..place, vec![Frame::new(false, 0, self.key(dice), []); 1 + other])),
                _ => frames.insert(other, frames[place].clone()),
            },
        }
    }

    /// Something wrong with the octets.
    pub fn damage_octets(&self, dice: &mut Dice<'_>, octets: &mut Vec<u8>) {
        if octets.is_empty() {
            return;
        }
        let place = dice.index(octets.len());
        match dice.below(6) {
            0 => octets.truncate(place),
            1 => octets.insert(place, octet(dice)),
            2 => drop(octets.remove(place)),
            _ => octets[place] ^= 1 << dice.below(8),
        }
    }
}

fn damage_header(dice: &mut Dice<'_>, frame: &mut Frame) {
    match dice.below(6) {
        0 => frame.reserved ^= 1 << dice.below(3),
        1 => frame.fin ^= true,
        2 => frame.key = if frame.key.is_some() { None } else { Some([1, 2, 3, 4]) },
        3 => frame.opcode = [3, 7, 11, 15][dice.index(4)],
        _ => frame.opcode = [0, 1, 2, 8, 9, 10][dice.index(6)],
    }
}

fn damage_length(dice: &mut Dice<'_>, frame: &mut Frame, max_message: usize) {
    let length = frame.payload.len() as u64;
    match dice.below(8) {
        0 => frame.form = Form::Sixteen,
        1 => frame.form = Form::SixtyFour,
        2 => frame.form = Form::Instead(length + 1),
        3 => frame.form = Form::Instead(length.saturating_sub(1)),
        4 => frame.form = Form::Instead(1 << 63 | length),
        5 => frame.form = Form::Instead(1 << dice.below(63)),
        6 => frame.payload.resize(126 + dice.index(3), b'.'), // too long for a control frame
        _ => frame.payload.resize(max_message + dice.index(2), b'.'),
    }
}

/// Bytes that are no text, or half a character, anywhere in it.
fn damage_text(dice: &mut Dice<'_>, frame: &mut Frame) {
    let bad: [&[u8]; 10] = [
        b"\xff",
        b"\x80",
        b"\xc0\x80",
        b"\xe0\x80\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xc3",
        b"\xe2\x82",
        b"\xf0\x9f\xa6",
    ];
    let place = if dice.one_in(3) { frame.payload.len() } else { dice.index(frame.payload.len() + 1) };
    frame.payload.splice(place..place, bad[dice.index(bad.len())].iter().copied());
    if !frame.is_control() && frame.opcode != 0 {
        frame.opcode = 1;
    }
}

fn bad_close(dice: &mut Dice<'_>) -> Vec<u8> {
    let codes = [0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 1100, 2000, 2999, 5000, 65_535, 1000];
    let reason: &[u8] = match dice.below(4) {
        0 => b"\xff",
        1 => b"half a character \xe2\x82",
        _ => b"bye",
    };
    match dice.below(8) {
        0 => vec![octet(dice)],
        1 => close(1000, &[b'x'; 124]),
        _ => close(codes[dice.index(codes.len())], reason),
    }
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}

fn octet(dice: &mut Dice<'_>) -> u8 {
    u8::try_from(dice.below(256)).unwrap_or(0)
}

/// Text of characters of every length, at most so many bytes.
fn text(dice: &mut Dice<'_>, longest: usize) -> String {
    let mut text = String::new();
    loop {
        let next = ['a', ' ', '\0', 'é', 'ß', '\u{7ff}', '\u{800}', '€', '\u{d7ff}', '\u{ffff}', '🦀', '\u{10ffff}'];
        let next = next[dice.index(next.len())];
        if text.len() + next.len_utf8() > longest {
            text.extend(std::iter::repeat_n('.', longest - text.len()));
            return text;
        }
        text.push(next);
    }
}
