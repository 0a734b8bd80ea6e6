//! A conversation, to be read by people and compared by tests.

use std::borrow::Cow;
use std::fmt;

use crate::Time;

/// What happened on a connection, and when.
///
/// It reads as a list, and two of them can be compared:
///
/// ```
/// use std::time::Duration;
/// use switchboard::Time;
/// use switchboard::testkit::Transcript;
///
/// let mut transcript = Transcript::default();
/// transcript.received(Time::ZERO, b"PING 1\n");
/// transcript.sent(Time::ZERO, b"PONG 1\n");
/// let later = Time::ZERO + Duration::from_millis(250);
/// transcript.note(later, "timer");
/// transcript.note(later, "closed: by this side");
/// assert_eq!(transcript.to_string(), r#"
/// 0.000s → "PING 1\n"
/// 0.000s ← "PONG 1\n"
/// 0.250s timer
/// 0.250s closed: by this side
/// "#.trim_start());
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Transcript {
    entries: Vec<(Time, Entry)>,
}

/// One line of a [`Transcript`].
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry {
    /// Bytes came from the peer: `→`.
    Received(Vec<u8>),
    /// Bytes went to the peer: `←`.
    Sent(Vec<u8>),
    /// Anything else.
    Note(Cow<'static, str>),
}

impl Transcript {
    /// Bytes came from the peer. None are not worth a line.
    pub fn received(&mut self, at: Time, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.entries.push((at, Entry::Received(bytes.to_vec())));
        }
    }

    /// Bytes went to the peer. None are not worth a line, and what goes on the bytes before at the same time
    /// continues their line: output has no borders.
    pub fn sent(&mut self, at: Time, bytes: &[u8]) {
        match self.entries.last_mut() {
            _ if bytes.is_empty() => {}
            Some((then, Entry::Sent(before))) if *then == at => before.extend_from_slice(bytes),
            _ => self.entries.push((at, Entry::Sent(bytes.to_vec()))),
        }
    }

    /// A datagram came from the peer: a line of its own, also if it is empty.
    pub fn received_datagram(&mut self, at: Time, payload: &[u8]) {
        self.entries.push((at, Entry::Received(payload.to_vec())));
    }

    /// A datagram went to the peer: a line of its own, also if it is empty.
    pub fn sent_datagram(&mut self, at: Time, payload: &[u8]) {
        self.entries.push((at, Entry::Sent(payload.to_vec())));
    }

    /// Anything else happened.
    pub fn note(&mut self, at: Time, what: impl Into<Cow<'static, str>>) {
        self.entries.push((at, Entry::Note(what.into())));
    }

    /// Its lines, in order.
    #[must_use]
    pub fn entries(&self) -> &[(Time, Entry)] {
        &self.entries
    }

    /// All bytes that went to the peer, in one piece.
    #[must_use]
    pub fn all_sent(&self) -> Vec<u8> {
        let sent = self.entries.iter().filter_map(|(_, entry)| match entry {
            Entry::Sent(bytes) => Some(&bytes[..]),
            _ => None,
        });
        sent.collect::<Vec<_>>().concat()
    }
}

/// One line each, with the seconds that have passed.
impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries.iter().try_for_each(|(at, entry)| writeln!(f, "{}", Line(*at, entry)))
    }
}

/// The same lines: two that are not equal, as an assertion shows them, can be read.
impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.entries.iter().map(|(at, entry)| Line(*at, entry).to_string());
        lines.fold(&mut f.debug_list(), |list, line| list.entry(&format_args!("{line}"))).finish()
    }
}

struct Line<'a>(Time, &'a Entry);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(at, entry) = self;
        let micros = at.as_nanos() / 1000;
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        match micros % 1000 {
            0 => write!(f, "{seconds}.{:03}s {entry}", micros / 1000),
            _ => write!(f, "{seconds}.{micros:06}s {entry}"),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Received(bytes) => write!(f, "→ {}", Escaped(bytes)),
            Self::Sent(bytes) => write!(f, "← {}", Escaped(bytes)),
            Self::Note(what) => f.write_str(what),
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Received(bytes) => write!(f, "Received({})", Escaped(bytes)),
            Self::Sent(bytes) => write!(f, "Sent({})", Escaped(bytes)),
            Self::Note(what) => write!(f, "Note({what:?})"),
        }
    }
}

/// Bytes as quoted text; of many only the beginning and the end.
pub(crate) struct Escaped<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 160;
        const ENDS: usize = 64;
        let bytes = self.0;
        if bytes.len() <= LONGEST {
            return write!(f, "\"{}\"", bytes.escape_ascii());
        }
        let (head, tail) = (&bytes[..ENDS], &bytes[bytes.len() - ENDS..]);
        let left_out = bytes.len() - 2 * ENDS;
        write!(f, "\"{}\" … {left_out} bytes … \"{}\"", head.escape_ascii(), tail.escape_ascii())
    }
}
