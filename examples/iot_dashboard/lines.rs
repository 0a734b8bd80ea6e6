//! The lines that devices and dashboard exchange, read and written without I/O: the same on TCP, where a line may come
//! in pieces, and over UDP, where a datagram has whole ones.
//!
//! | line | who sends it, and why |
//! | --- | --- |
//! | `HELLO <name> <unit> <run>` | a device says who it is; `<run>` is another number each time it starts |
//! | `WELCOME <name>` | the dashboard's answer |
//! | `READING <n> <value>` | the device's `<n>`th reading of this run, from 1 on |
//! | `BYE` | the device goes, and means to |
//! | `PING <n>`, `PONG <n>` | either asks for a sign of life, and the other gives it |
//! | `ERR <reason>` | either refuses what it was sent; never answered |

use std::fmt;

use switchboard::Input;
use thiserror::Error;

/// The longest line in bytes, its line feed included.
pub(crate) const LONGEST_LINE: usize = 128;
/// The longest name of a device.
pub(crate) const LONGEST_NAME: usize = 32;
/// The longest unit.
const LONGEST_UNIT: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Line<'a> {
    Hello { name: &'a str, unit: &'a str, run: u32 },
    Welcome { name: &'a str },
    Reading { number: u64, value: f64 },
    Bye,
    Ping(u64),
    Pong(u64),
    Err(&'a str),
}

/// Why a line is refused. Its text is what the other side is told.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum Malformed {
    #[error("a line has at most {LONGEST_LINE} bytes")]
    TooLong,
    #[error("a line is UTF-8")]
    NotText,
    #[error("expected HELLO, READING, BYE, PING or PONG")]
    Unknown,
    #[error("a name has 1 to {LONGEST_NAME} of the characters A-Z a-z 0-9 . _ -")]
    Name,
    #[error("a unit has 1 to {LONGEST_UNIT} printable bytes")]
    Unit,
    #[error("expected a number")]
    Number,
}

impl Malformed {
    /// Whether what follows on a stream can't be told from the rest of this line.
    pub(crate) fn is_endless(self) -> bool {
        self == Self::TooLong
    }
}

/// Takes the next line off the input; `None` if there is none, or its end has not come yet. In a datagram the last
/// line may lack its line feed.
pub(crate) fn next<'a>(input: &mut Input<'a>, is_datagram: bool) -> Option<Result<Line<'a>, Malformed>> {
    let length = match input.iter().take(LONGEST_LINE).position(|&byte| byte == b'\n') {
        Some(end) => end + 1,
        None if input.len() >= LONGEST_LINE => return Some(Err(Malformed::TooLong)),
        None if is_datagram && !input.is_empty() => input.len(),
        None => return None,
    };
    let text = input.take(length).trim_ascii_end();
    Some(std::str::from_utf8(text).map_err(|_| Malformed::NotText).and_then(Line::parse))
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Result<Self, Malformed> {
        if let Some(reason) = text.strip_prefix("ERR ") {
            return Ok(Self::Err(reason));
        }
        let mut words = text.split(' ');
        let mut word_after = || words.next().unwrap_or("");
        let line = match word_after() {
            "HELLO" => {
                let (name, unit, run) = (word_after(), word_after(), word_after());
                Self::Hello { name: checked_name(name)?, unit: checked_unit(unit)?, run: number(run)? }
            }
            "WELCOME" => Self::Welcome { name: checked_name(word_after())? },
            "READING" => Self::Reading { number: number(word_after())?, value: value(word_after())? },
            "BYE" => Self::Bye,
            "PING" => Self::Ping(number(word_after())?),
            "PONG" => Self::Pong(number(word_after())?),
            _ => return Err(Malformed::Unknown),
        };
        if words.next().is_some() { Err(Malformed::Unknown) } else { Ok(line) }
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello { name, unit, run } => writeln!(f, "HELLO {name} {unit} {run}"),
            Self::Welcome { name } => writeln!(f, "WELCOME {name}"),
            Self::Reading { number, value } => writeln!(f, "READING {number} {value}"),
            Self::Bye => writeln!(f, "BYE"),
            Self::Ping(number) => writeln!(f, "PING {number}"),
            Self::Pong(number) => writeln!(f, "PONG {number}"),
            Self::Err(reason) => writeln!(f, "ERR {reason}"),
        }
    }
}

fn checked_name(name: &str) -> Result<&str, Malformed> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(allowed) { Ok(name) } else { Err(Malformed::Name) }
}

fn checked_unit(unit: &str) -> Result<&str, Malformed> {
    let printable = !unit.chars().any(char::is_control);
    if (1..=LONGEST_UNIT).contains(&unit.len()) && printable { Ok(unit) } else { Err(Malformed::Unit) }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, Malformed> {
    text.parse().map_err(|_| Malformed::Number)
}

/// JSON has neither infinities nor NaN.
fn value(text: &str) -> Result<f64, Malformed> {
    number(text).and_then(|value: f64| if value.is_finite() { Ok(value) } else { Err(Malformed::Number) })
}
