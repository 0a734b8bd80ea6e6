//! What happens to a connection, as bytes that a fuzzer can mutate and a recording can be.

use std::fmt;
use std::time::Duration;

use super::transcript::Escaped;

/// One thing that happens to a connection.
///
/// ```
/// use switchboard::testkit::Operation;
///
/// assert_eq!(Operation::Feed(b"PING 1\n".to_vec()).to_string(), r#"feed "PING 1\n""#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Bytes arrive.
    Feed(Vec<u8>),
    /// Bytes arrive, with the peer's half-close in the same event.
    FeedEof(Vec<u8>),
    /// The peer half-closes.
    Eof,
    /// The peer resets the connection.
    Reset,
    /// Time passes; timers fire on the way, each at its own time.
    Advance(Duration),
    /// The clock jumps, and nothing is looked at yet: what is due by then comes late, together with (and
    /// after) what the next operation brings. So it is on a busy machine, and after a sleep.
    Jump(Duration),
    /// What is due now fires. In a recording: a timer of the protocol fired here.
    Timer,
    /// Time passes until the protocol's next timer is due, if it has one.
    NextTimer,
    /// The peer takes this many more bytes, and then none; `usize::MAX`: any number.
    Window(usize),
    /// The next reads give at most this many bytes each; 0 stands for `WouldBlock`. A `Jump` and a `Window` end that.
    CutReads(Vec<u8>),
    /// The next writes take at most this many bytes each; 0 stands for `WouldBlock`. A `Jump` and a `Window` end that.
    CutWrites(Vec<u8>),
    /// A [message](crate::Message::Bytes) is posted to the connection.
    Post(Vec<u8>),
    /// The loop drains, for at most this long.
    Shutdown(Duration),
    /// Somebody else closes the connection, in order: [`Core::close`](crate::Core::close).
    Close,
    /// Somebody else cuts the connection off: [`Core::abort`](crate::Core::abort).
    Abort,
    /// A recording says that this was sent here. Nothing happens.
    Sent(Vec<u8>),
    /// A recording says that the connection ended here, and why. Nothing happens.
    Closed(String),
    /// A recording lacks something here: what came before it, or a message that can't be written down.
    /// Nothing happens.
    Gap,
}

/// What happens to a connection, one [`Operation`] after the other.
///
/// Every byte string [decodes](Self::decode) to a schedule, and every schedule [encodes](Self::encode) to bytes that
/// decode to it. The bytes of a conversation are their own encoding: whatever is not introduced by the escape byte
/// `F6` is fed as it stands, so that a plain capture is a seed, a dictionary of the protocol's words works, and a
/// byte more or less leaves the operations behind it what they were.
///
/// ```
/// use std::time::Duration;
/// use switchboard::testkit::{Operation, Schedule};
///
/// let schedule = Schedule::from(vec![
///     Operation::Feed(b"PING 1\n".to_vec()),
///     Operation::Advance(Duration::from_secs(5)),
///     Operation::Feed(b"PI".to_vec()),
///     Operation::Eof,
/// ]);
/// assert_eq!(schedule.encode(), b"PING 1\n\xf6a\x15PI\xf6e");
/// assert_eq!(Schedule::decode(&schedule.encode()), schedule);
/// ```
///
/// # The bytes
///
/// `F6 F6` is a byte `F6` (as is one `F6` at the very end). `F6` and a letter are an operation, its arguments behind it:
///
/// | letter | operation | arguments |
/// | --- | --- | --- |
/// | `f` `F` | `Feed`, `FeedEof` | the bytes up to the next operation |
/// | `e` `x` | `Eof`, `Reset` | |
/// | `a` `j` | `Advance`, `Jump` | a duration |
/// | `t` `n` | `Timer`, `NextTimer` | |
/// | `w` | `Window` | a number, one more than the window; 0 for any |
/// | `r` `c` | `CutReads`, `CutWrites` | a number, and as many bytes |
/// | `p` | `Post` | the bytes up to the next operation |
/// | `d` | `Shutdown` | a duration |
/// | `k` `K` | `Close`, `Abort` | |
/// | `s` `q` `g` | `Sent`, `Closed`, `Gap` | for the first two: the bytes up to the next operation |
///
/// Any other byte after `F6` stands for one of the operations that do something. A number is in LEB128. A duration is
/// a number whose lowest two bits are its unit: 0 ms, 1 s, 2 µs, 3 ns. What is missing at the end counts as zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    operations: Vec<Operation>,
}

const ESCAPE: u8 = 0xf6;
/// What a byte after the escape that is no letter of an operation stands for, in turns.
const LETTERS: [u8; 15] = *b"faenxwFtjrcpdkK";
/// Nanoseconds in each unit of durations, by its number.
const UNITS: [u128; 4] = [1_000_000, 1_000_000_000, 1_000, 1];

impl Schedule {
    /// The schedule that `bytes` stand for.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let mut reader = Reader { rest: bytes };
        let mut operations = Vec::new();
        while !reader.rest.is_empty() {
            operations.push(reader.operation());
        }
        Self { operations }
    }

    /// Bytes that stand for this schedule.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut in_text = false;
        for operation in &self.operations {
            in_text = write(operation, in_text, &mut bytes);
        }
        bytes
    }

    /// Its operations, in order.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Its operations, to keep.
    #[must_use]
    pub fn into_operations(self) -> Vec<Operation> {
        self.operations
    }
}

impl From<Vec<Operation>> for Schedule {
    fn from(operations: Vec<Operation>) -> Self {
        Self { operations }
    }
}

impl FromIterator<Operation> for Schedule {
    fn from_iter<I: IntoIterator<Item = Operation>>(operations: I) -> Self {
        Self { operations: operations.into_iter().collect() }
    }
}

/// One operation a line.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.operations.iter().try_for_each(|operation| writeln!(f, "{operation}"))
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Feed(bytes) => write!(f, "feed {}", Escaped(bytes)),
            Self::FeedEof(bytes) => write!(f, "feed {} and half-close", Escaped(bytes)),
            Self::Eof => f.write_str("half-close"),
            Self::Reset => f.write_str("reset"),
            Self::Advance(by) => write!(f, "advance by {by:?}"),
            Self::Jump(by) => write!(f, "jump by {by:?}"),
            Self::Timer => f.write_str("what is due fires"),
            Self::NextTimer => f.write_str("advance to the next timer"),
            Self::Window(usize::MAX) => f.write_str("the peer takes everything"),
            Self::Window(window) => write!(f, "the peer takes {window} bytes"),
            Self::CutReads(sizes) => write!(f, "reads of at most {sizes:?}"),
            Self::CutWrites(sizes) => write!(f, "writes of at most {sizes:?}"),
            Self::Post(bytes) => write!(f, "post {}", Escaped(bytes)),
            Self::Shutdown(timeout) => write!(f, "drain for {timeout:?}"),
            Self::Close => f.write_str("closed from outside"),
            Self::Abort => f.write_str("aborted from outside"),
            Self::Sent(bytes) => write!(f, "recorded: sent {}", Escaped(bytes)),
            Self::Closed(reason) => write!(f, "recorded: closed: {reason}"),
            Self::Gap => f.write_str("recorded: something is missing here"),
        }
    }
}

/// Appends an operation, and says whether bytes that followed would be taken for its own.
fn write(operation: &Operation, in_text: bool, out: &mut Vec<u8>) -> bool {
    let mut tag = |letter: u8| out.extend([ESCAPE, letter]);
    match operation {
        Operation::Feed(bytes) => {
            if in_text || bytes.is_empty() {
                tag(b'f');
            }
            return write_text(bytes, out);
        }
        Operation::FeedEof(bytes) => {
            tag(b'F');
            return write_text(bytes, out);
        }
        Operation::Post(bytes) => {
            tag(b'p');
            return write_text(bytes, out);
        }
        Operation::Sent(bytes) => {
            tag(b's');
            return write_text(bytes, out);
        }
        Operation::Closed(reason) => {
            tag(b'q');
            return write_text(reason.as_bytes(), out);
        }
        Operation::Eof => tag(b'e'),
        Operation::Reset => tag(b'x'),
        Operation::Timer => tag(b't'),
        Operation::NextTimer => tag(b'n'),
        Operation::Close => tag(b'k'),
        Operation::Abort => tag(b'K'),
        Operation::Gap => tag(b'g'),
        Operation::Advance(by) => {
            tag(b'a');
            write_duration(*by, out);
        }
        Operation::Jump(by) => {
            tag(b'j');
            write_duration(*by, out);
        }
        Operation::Shutdown(timeout) => {
            tag(b'd');
            write_duration(*timeout, out);
        }
        Operation::Window(window) => {
            tag(b'w');
            write_number(window.wrapping_add(1) as u128, out);
        }
        Operation::CutReads(sizes) => {
            tag(b'r');
            write_number(sizes.len() as u128, out);
            out.extend(sizes);
        }
        Operation::CutWrites(sizes) => {
            tag(b'c');
            write_number(sizes.len() as u128, out);
            out.extend(sizes);
        }
    }
    false
}

fn write_text(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    for piece in bytes.split_inclusive(|&byte| byte == ESCAPE) {
        out.extend_from_slice(piece);
        if piece.ends_with(&[ESCAPE]) {
            out.push(ESCAPE);
        }
    }
    true
}

fn write_duration(duration: Duration, out: &mut Vec<u8>) {
    let nanos = duration.as_nanos();
    let unit = [1, 0, 2, 3].into_iter().find(|&unit| nanos.is_multiple_of(UNITS[unit])).unwrap_or(3);
    write_number((nanos / UNITS[unit]) * 4 + unit as u128, out);
}

fn write_number(mut number: u128, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn operation(&mut self) -> Operation {
        let &[ESCAPE, letter, ref rest @ ..] = self.rest else { return Operation::Feed(self.text()) };
        if letter == ESCAPE {
            return Operation::Feed(self.text());
        }
        self.rest = rest;
        self.tagged(letter).unwrap_or_else(|| {
            let stands_for = LETTERS[usize::from(letter) % LETTERS.len()];
            self.tagged(stands_for).unwrap_or(Operation::Gap)
        })
    }

    fn tagged(&mut self, letter: u8) -> Option<Operation> {
        Some(match letter {
            b'f' => Operation::Feed(self.text()),
            b'F' => Operation::FeedEof(self.text()),
            b'e' => Operation::Eof,
            b'x' => Operation::Reset,
            b'a' => Operation::Advance(self.duration()),
            b'j' => Operation::Jump(self.duration()),
            b't' => Operation::Timer,
            b'n' => Operation::NextTimer,
            b'w' => Operation::Window(usize::try_from(self.number()).unwrap_or(0).wrapping_sub(1)),
            b'r' => Operation::CutReads(self.sizes()),
            b'c' => Operation::CutWrites(self.sizes()),
            b'p' => Operation::Post(self.text()),
            b'd' => Operation::Shutdown(self.duration()),
            b'k' => Operation::Close,
            b'K' => Operation::Abort,
            b's' => Operation::Sent(self.text()),
            b'q' => Operation::Closed(String::from_utf8_lossy(&self.text()).into_owned()),
            b'g' => Operation::Gap,
            _ => return None,
        })
    }

    /// Bytes up to the next operation.
    fn text(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        loop {
            let plain = self.rest.iter().position(|&byte| byte == ESCAPE).unwrap_or(self.rest.len());
            let (before, rest) = self.rest.split_at(plain);
            text.extend_from_slice(before);
            self.rest = match rest {
                [_, ESCAPE, after @ ..] => after,
                [_] => &[],
                _ => {
                    self.rest = rest;
                    return text;
                }
            };
            text.push(ESCAPE);
        }
    }

    fn duration(&mut self) -> Duration {
        let number = self.number();
        let unit = UNITS[usize::from(number.to_le_bytes()[0] & 3)];
        let nanos = (number >> 2).saturating_mul(unit).min(Duration::MAX.as_nanos());
        Duration::from_nanos_u128(nanos)
    }

    /// A number, of which what is missing or does not fit is left out.
    fn number(&mut self) -> u128 {
        let mut number = 0;
        for shift in (0..u128::BITS).step_by(7) {
            let Some((&byte, rest)) = self.rest.split_first() else { break };
            self.rest = rest;
            number |= u128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        number
    }

    fn sizes(&mut self) -> Vec<u8> {
        let count = usize::try_from(self.number()).map_or(self.rest.len(), |count| count.min(self.rest.len()));
        let (sizes, rest) = self.rest.split_at(count);
        self.rest = rest;
        sizes.to_vec()
    }
}
