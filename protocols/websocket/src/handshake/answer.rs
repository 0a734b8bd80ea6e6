//! A server's answer to an opening request, as a client checks it (RFC 6455 §4.1).

use std::{fmt, str};

use switchboard::{Failure, Input};
use thiserror::Error;

use crate::deflate::{NegotiationError, Parameters};
use crate::extensions;

use super::{AcceptKey, Connect, HandshakeError, Refusal, Scanner};

/// The head of an HTTP/1 answer that has arrived whole.
pub struct Answer<'a> {
    status: u16,
    minor_version: u8,
    headers: Vec<httparse::Header<'a>>,
}

impl<'a> Answer<'a> {
    /// Reads `head`, which ends with the empty line.
    ///
    /// # Errors
    /// [`AnswerError`] if it is not HTTP/1, or has more header fields than allowed.
    pub fn parse(head: &'a [u8], max_headers: usize) -> Result<Self, AnswerError> {
        // The parser takes an LF alone for a line's end, which the scanner does not.
        let mut scanner = Scanner::default();
        if scanner.scan(head, usize::MAX)? != Some(head.len()) {
            return Err(AnswerError::Malformed("an empty line within the head"));
        }
        Self::parse_scanned(head, &scanner, max_headers)
    }

    /// The same of a head that the scanner has found.
    fn parse_scanned(head: &'a [u8], scanner: &Scanner, max_headers: usize) -> Result<Self, AnswerError> {
        let mut headers = vec![httparse::EMPTY_HEADER; max_headers.min(scanner.fields())];
        let mut parsed = httparse::Response::new(&mut headers);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            Ok(_) => return Err(AnswerError::Malformed("an empty line within the head")),
            Err(httparse::Error::TooManyHeaders) => return Err(AnswerError::TooManyHeaders { limit: max_headers }),
            Err(httparse::Error::Version) => return Err(AnswerError::HttpVersion),
            Err(httparse::Error::Status) => return Err(AnswerError::Malformed("invalid status line")),
            Err(error) => return Err(HandshakeError::from_parser(error).into()),
        }
        let (Some(status @ 100..=599), Some(minor_version)) = (parsed.code, parsed.version) else {
            return Err(AnswerError::Malformed("a status outside 100 to 599"));
        };
        let count = parsed.headers.len();
        headers.truncate(count);
        Ok(Self { status, minor_version, headers })
    }

    /// The status, 100 to 599.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// All header fields in their order; values are bytes, for HTTP does not promise text.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.headers.iter().map(|header| (header.name, header.value))
    }

    /// The first header field of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.header_values(name).next()
    }

    /// All header fields of this name, in any case.
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }

    /// The elements of a comma-separated header field (RFC 9110 §5.6.1), over all fields of this name.
    fn header_list(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let elements = self.header_values(name).flat_map(|value| value.split(|byte| *byte == b','));
        elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
    }

    /// The subprotocol that the server chose, one of those offered; `None` if it chose none.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&'a str> {
        self.header("sec-websocket-protocol").and_then(|name| str::from_utf8(name).ok())
    }

    /// Whether another answer follows (RFC 9110 §15.2).
    pub(crate) fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
    }

    /// Whether it opens the WebSocket that `connect` asked for, with `accept` to be answered. Its status must be 101: any
    /// other is a [`Refusal`].
    ///
    /// # Errors
    /// [`AnswerError`] says what breaks RFC 6455 §4.1.
    pub fn check(&self, connect: &Connect, accept: AcceptKey) -> Result<(), AnswerError> {
        if self.status != 101 {
            return Err(AnswerError::refused(Refusal::new(self)));
        }
        if self.minor_version != 1 {
            return Err(AnswerError::HttpVersion);
        }
        let mut upgrades = self.header_list("upgrade");
        if !upgrades.next().is_some_and(|name| name.eq_ignore_ascii_case(b"websocket")) || upgrades.next().is_some() {
            return Err(AnswerError::NoUpgrade);
        }
        if !self.header_list("connection").any(|name| name.eq_ignore_ascii_case(b"upgrade")) {
            return Err(AnswerError::NoConnectionUpgrade);
        }
        let mut accepts = self.header_values("sec-websocket-accept");
        if accepts.next().map(<[u8]>::trim_ascii) != Some(accept.as_bytes()) || accepts.next().is_some() {
            return Err(AnswerError::BadAccept);
        }
        self.compression(connect)?;
        let mut chosen = self.header_values("sec-websocket-protocol");
        match (chosen.next(), chosen.next()) {
            (None, _) => Ok(()),
            (Some(name), None) if connect.subprotocols().any(|offered| offered.as_bytes() == name) => Ok(()),
            (Some(name), _) => Err(AnswerError::Subprotocol(String::from_utf8_lossy(name).into_owned())),
        }
    }

    /// What was agreed on, of what `connect` offers. No other extension is offered.
    pub(crate) fn compression(&self, connect: &Connect) -> Result<Option<Parameters>, AnswerError> {
        let chosen = extensions::parse(self.header_values("sec-websocket-extensions"))?;
        match (&connect.compression, &chosen[..]) {
            (Some(offer), chosen) => Ok(offer.check(chosen)?),
            (None, []) => Ok(None),
            (None, [unasked, ..]) => Err(AnswerError::Extension(unasked.name.to_owned())),
        }
    }
}

/// With the names of its header fields alone: what stands in them (cookies, for one) may be nobody else's to read.
impl fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|header| header.name).collect();
        f.debug_struct("Answer").field("status", &self.status).field("headers", &names).finish_non_exhaustive()
    }
}

/// What came was no answer that opens a WebSocket. What was refused, and by what, is in the words.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// Not HTTP/1 as RFC 9112 has it.
    #[error("the answer is malformed: {0} (RFC 9112)")]
    Malformed(&'static str),
    /// Not HTTP/1.1.
    #[error("the answer is not HTTP/1.1 (RFC 6455 §4.1)")]
    HttpVersion,
    /// The head is longer than [`Settings::max_handshake`](crate::Settings::max_handshake), interim answers included.
    #[error("max_handshake: the head of the answer has more than {limit} bytes")]
    TooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// More header fields than [`Settings::max_headers`](crate::Settings::max_headers).
    #[error("max_headers: the answer has more than {limit} header fields")]
    TooManyHeaders {
        /// Fields allowed.
        limit: usize,
    },
    /// The WebSocket is elsewhere (status 301, 302, 303, 307 or 308, with a `Location`): [`Refusal::location`]. Whether
    /// to go there is the application's to say, which may have sent credentials.
    #[error("the server redirects: {0}")]
    Redirect(Box<Refusal>),
    /// The server answered with any other status than 101.
    #[error("the server refuses: {0}")]
    Refused(Box<Refusal>),
    /// Not exactly `Upgrade: websocket`.
    #[error("the Upgrade header of the answer is not websocket (RFC 6455 §4.1)")]
    NoUpgrade,
    /// No `Connection: Upgrade`.
    #[error("the Connection header of the answer does not name Upgrade (RFC 6455 §4.1)")]
    NoConnectionUpgrade,
    /// Not exactly one `Sec-WebSocket-Accept`, or not what answers the key: no WebSocket server has spoken, or another
    /// one to somebody else.
    #[error("Sec-WebSocket-Accept is not there once, with what answers the key (RFC 6455 §4.1)")]
    BadAccept,
    /// An extension that was not offered.
    #[error("the server chose the extension {0:?}, which was not offered (RFC 6455 §4.1)")]
    Extension(String),
    /// Extensions that are no list of extensions.
    #[error(transparent)]
    BadExtensions(#[from] extensions::Malformed),
    /// An answer to the compression offered that does not fit.
    #[error(transparent)]
    Compression(#[from] NegotiationError),
    /// A subprotocol that was not offered, or several.
    #[error("the server chose the subprotocol {0:?}, which was not offered, or several (RFC 6455 §4.1)")]
    Subprotocol(String),
    /// The server ended the connection before its answer was whole.
    #[error("the server ended the connection before its answer was complete")]
    Ended,
    /// The answer did not arrive within [`Settings::handshake_timeout`](crate::Settings::handshake_timeout).
    #[error("handshake_timeout: the answer was not complete in time")]
    Timeout,
}

impl AnswerError {
    pub(crate) fn refused(refusal: Refusal) -> Self {
        let redirects = matches!(refusal.status(), 301 | 302 | 303 | 307 | 308) && refusal.location().is_some();
        if redirects { Self::Redirect(Box::new(refusal)) } else { Self::Refused(Box::new(refusal)) }
    }

    /// The refusal, of a server that answered with another status than 101.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Redirect(refusal) | Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The failure of a connection whose answer this was.
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::TooLarge { .. } | Self::TooManyHeaders { .. } | Self::Timeout => Failure::limit(self),
            _ => Failure::peer(self),
        }
    }
}

/// What the scanner and the parser, which know no sides, say of an answer.
impl From<HandshakeError> for AnswerError {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::Malformed(what) => Self::Malformed(what),
            HandshakeError::TooLarge { limit } => Self::TooLarge { limit },
            _ => Self::Malformed("no answer"),
        }
    }
}

/// Reads answers off a connection until one is final. Every byte is looked at once.
#[derive(Debug, Default)]
pub(crate) struct AnswerReader {
    scanner: Scanner,
    /// Bytes of interim answers that were read.
    interim: usize,
}

impl AnswerReader {
    /// Takes the head of the final answer, which has `max_bytes` at most together with interim ones; `None` if it is
    /// not whole. What can't be an answer is refused where that shows: another protocol's greeting with its first byte.
    pub(crate) fn read<'i>(
        &mut self,
        input: &mut Input<'i>,
        max_bytes: usize,
        max_headers: usize,
    ) -> Result<Option<Answer<'i>>, AnswerError> {
        loop {
            if input.iter().zip(b"HTTP/").any(|(byte, expected)| byte != expected) {
                return Err(AnswerError::Malformed("it does not begin with HTTP/"));
            }
            let end = match self.scanner.scan(input, max_bytes - self.interim) {
                Ok(Some(end)) => end,
                Ok(None) => return Ok(None),
                Err(HandshakeError::TooLarge { .. }) => return Err(AnswerError::TooLarge { limit: max_bytes }),
                Err(error) => return Err(error.into()),
            };
            let answer = Answer::parse_scanned(input.take(end), &self.scanner, max_headers)?;
            if !answer.is_interim() {
                return Ok(Some(answer));
            }
            self.interim += end;
            self.scanner = Scanner::default();
        }
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
