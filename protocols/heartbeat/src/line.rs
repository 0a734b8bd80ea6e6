//! The lines of the heartbeat protocol, read and written without I/O.
//!
//! A line is `PING <n>`, `PONG <n>` or `ERR <reason>`, ended by a line feed alone. `<n>` is a
//! decimal `u64` in its one canonical spelling: digits, no sign, no leading zero.

use std::io::Write;

use thiserror::Error;

/// The longest line in bytes, its line feed included; the longest `PING` has 26. What is longer is
/// refused without waiting for its end, so that an endless line costs no memory.
pub const LONGEST_LINE: usize = 128;

const PING: &[u8] = b"PING ";
const PONG: &[u8] = b"PONG ";
const ERR: &[u8] = b"ERR ";

/// A line of the protocol.
///
/// ```
/// use switchboard_heartbeat::{LONGEST_LINE, Line, LineError};
///
/// assert_eq!(Line::parse(b"PING 7\nPO"), Ok(Some((Line::Ping(7), 7))));
/// assert_eq!(Line::parse(b"PO"), Ok(None)); // more has to come
/// assert_eq!(Line::parse(b"hello\n"), Err(LineError::Unknown));
///
/// let mut buffer = [0; LONGEST_LINE];
/// assert_eq!(Line::Pong(7).encode(&mut buffer), b"PONG 7\n");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Asks for a `PONG` with the same number.
    Ping(u64),
    /// Answers a `PING`.
    Pong(u64),
    /// The other side refuses what it was sent, and closes: its reason, any bytes it chose.
    Err(&'a [u8]),
}

/// Why a line is refused. Its text is the `<reason>` the peer is told.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineError {
    /// It is neither `PING <n>` nor `PONG <n>`.
    #[error("expected PING <n> or PONG <n>")]
    Unknown,
    /// What stands where `<n>` should is not a `u64` as it is written here.
    #[error("<n> must be a decimal number up to 18446744073709551615 without leading zeros")]
    Number,
    /// It does not end within [`LONGEST_LINE`] bytes.
    #[error("a line has at most {LONGEST_LINE} bytes")]
    TooLong,
    /// The input ended before the line did.
    #[error("the last line is not ended by a line feed")]
    Unfinished,
}

impl<'a> Line<'a> {
    /// Reads the line that `input` begins with, and gives its length in bytes, the line feed
    /// included; `None` if its end has not come yet.
    ///
    /// However the input was cut into pieces, the lines are the same.
    ///
    /// # Errors
    ///
    /// If that is no line of the protocol. An `ERR` is never an error, not even one too long:
    /// two sides that answered each other's errors would do so for ever (on datagrams they can;
    /// RFC 1122 §3.2.2 forbids ICMP the same). Its reason is cut instead.
    pub fn parse(input: &'a [u8]) -> Result<Option<(Self, usize)>, LineError> {
        let within = input.get(..LONGEST_LINE).unwrap_or(input);
        let (text, length) = match within.iter().position(|&byte| byte == b'\n') {
            Some(end) => (&within[..end], end + 1),
            None if within.len() < LONGEST_LINE => return Ok(None),
            None if within.starts_with(ERR) => (within, within.len()),
            None => return Err(LineError::TooLong),
        };
        let line = if let Some(digits) = text.strip_prefix(PING) {
            Self::Ping(number(digits)?)
        } else if let Some(digits) = text.strip_prefix(PONG) {
            Self::Pong(number(digits)?)
        } else if let Some(reason) = text.strip_prefix(ERR) {
            Self::Err(reason)
        } else {
            return Err(LineError::Unknown);
        };
        Ok(Some((line, length)))
    }

    /// Writes the line, its line feed included, to the front of `buffer` and gives that part.
    ///
    /// A reason that would make it longer than [`LONGEST_LINE`] is cut, and a line feed within it
    /// becomes a space.
    pub fn encode(self, buffer: &mut [u8; LONGEST_LINE]) -> &[u8] {
        let mut free = buffer.as_mut_slice();
        // Writing to a slice fails only where it is full; a number never fills it.
        let _ = match self {
            Self::Ping(number) => writeln!(free, "PING {number}"),
            Self::Pong(number) => writeln!(free, "PONG {number}"),
            Self::Err(reason) => {
                let fitting = LONGEST_LINE - ERR.len() - 1;
                let reason = reason.get(..fitting).unwrap_or(reason);
                free.write_all(ERR)
                    .and_then(|()| write_on_one_line(&mut free, reason))
                    .and_then(|()| free.write_all(b"\n"))
            }
        };
        let unused = free.len();
        &buffer[..LONGEST_LINE - unused]
    }
}

fn write_on_one_line(out: &mut &mut [u8], reason: &[u8]) -> std::io::Result<()> {
    reason.iter().map(|&byte| if byte == b'\n' { b' ' } else { byte }).try_for_each(|byte| out.write_all(&[byte]))
}

/// `u64::from_str` takes a sign and leading zeros; this does not.
fn number(digits: &[u8]) -> Result<u64, LineError> {
    let canonical = match digits {
        [] => false,
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return Err(LineError::Number);
    }
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or(LineError::Number)
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
