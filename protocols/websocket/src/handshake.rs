//! The opening handshake (RFC 6455 §4). On the server's side: which requests are one, which are refused and how.
//!
//! ```text
//!  bytes ── head::Scanner ──> head ── Request::parse ──> Request ── examine ──> Some(AcceptKey): a WebSocket
//!                                                                         └───> None: plain HTTP
//! ```
//!
//! Whether a request that is in order is also welcome is the application's to say: by an [`OriginPolicy`], and by an
//! [`Accept`] or a [`Response`].
//!
//! On the client's: a [`Connect`] writes the request, and an [`Answer`] is checked against it. One that opens no
//! WebSocket is an [`AnswerError`], with a [`Refusal`] where the server said so itself.

mod answer;
mod connect;
mod head;
mod origin;
mod refusal;
mod request;
mod response;
mod url;

use base64::engine::general_purpose::{GeneralPurpose, PAD};
use base64::{Engine, alphabet};
use sha1::{Digest, Sha1};
use switchboard::Failure;
use thiserror::Error;

use crate::extensions::Malformed;

pub(crate) use answer::AnswerReader;
pub use answer::{Answer, AnswerError};
pub use connect::{Connect, InvalidConnect};
pub use head::Scanner;
pub use origin::{InvalidOrigin, NoOrigin, OriginPolicy};
pub use refusal::Refusal;
pub(crate) use refusal::Refusing;
pub use request::Request;
pub(crate) use response::field;
pub use response::{Accept, InvalidAnswer, Response};
pub use url::{Url, UrlError};
pub(crate) use url::{bracketed, is_name};

/// What is appended to a client's key before it is hashed (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The version of the protocol this crate speaks (RFC 6455 §4.1), the only one that left the draft stage.
const VERSION: &[u8] = b"13";

pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, PAD);

/// The peer's opening handshake can't be accepted. It is answered with [`status`](Self::status), and closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Not HTTP/1 as RFC 9112 has it.
    #[error("the request is malformed: {0} (RFC 9112)")]
    Malformed(&'static str),
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("the request is not HTTP/1.1 (RFC 6455 §4.2.1)")]
    HttpVersion,
    /// The head is longer than [`Settings::max_handshake`](crate::Settings::max_handshake).
    #[error("max_handshake: the head of the request has more than {limit} bytes")]
    TooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// The same, where its first line alone is longer.
    #[error("max_handshake: the request line has more than {limit} bytes")]
    TargetTooLong {
        /// Bytes allowed.
        limit: usize,
    },
    /// More header fields than [`Settings::max_headers`](crate::Settings::max_headers).
    #[error("max_headers: the request has more than {limit} header fields")]
    TooManyHeaders {
        /// Fields allowed.
        limit: usize,
    },
    /// The request target is no path and no absolute HTTP or WebSocket URI.
    #[error("the request target is neither a path nor an absolute URI (RFC 9112 §3.2)")]
    BadTarget,
    /// `Host` must be there exactly once.
    #[error("the Host header is {0} (RFC 9112 §3.2)")]
    BadHost(&'static str),
    /// The page may not open a WebSocket here: see [`OriginPolicy`].
    #[error("the Origin header is {0} (RFC 6455 §10.2)")]
    ForbiddenOrigin(&'static str),
    /// Requests with a body are not read.
    #[error("the request has a body, which is not accepted here")]
    Body,
    /// An opening handshake that is not a GET.
    #[error("an opening handshake must be a GET request (RFC 6455 §4.2.1)")]
    NotGet,
    /// WebSocket headers, but no `Upgrade: websocket`.
    #[error("the Upgrade header does not name websocket: a proxy on the way may have removed it (RFC 6455 §4.2.1)")]
    NoUpgrade,
    /// `Upgrade: websocket`, but no `Connection: Upgrade`.
    #[error("the Connection header does not name Upgrade: a proxy on the way may have removed it (RFC 6455 §4.2.1)")]
    NoConnectionUpgrade,
    /// Not exactly one key of 16 bytes in base64.
    #[error("Sec-WebSocket-Key must be there once, 16 bytes in base64 (RFC 6455 §4.2.1)")]
    BadKey,
    /// A version other than 13, or none.
    #[error("Sec-WebSocket-Version must be 13 (RFC 6455 §4.4)")]
    UnsupportedVersion,
    /// Subprotocols offered that are no tokens, or the same one twice, or none where there should be some.
    #[error("Sec-WebSocket-Protocol must be a list of distinct tokens (RFC 6455 §4.1)")]
    BadSubprotocol,
    /// Extensions that are no list of extensions.
    #[error(transparent)]
    BadExtensions(#[from] Malformed),
    /// The request did not arrive whole within
    /// [`Settings::handshake_timeout`](crate::Settings::handshake_timeout).
    #[error("handshake_timeout: the request was not complete in time")]
    Timeout,
}

impl HandshakeError {
    /// The HTTP status it is answered with.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed(_) | Self::BadTarget | Self::BadHost(_) => 400,
            Self::NoUpgrade | Self::NoConnectionUpgrade | Self::BadKey | Self::BadSubprotocol => 400,
            Self::BadExtensions(_) => 400,
            Self::ForbiddenOrigin(_) => 403,
            Self::NotGet => 405,
            Self::Timeout => 408,
            Self::Body => 413,
            Self::TargetTooLong { .. } => 414,
            Self::UnsupportedVersion => 426,
            Self::TooLarge { .. } | Self::TooManyHeaders { .. } => 431,
            Self::HttpVersion => 505,
        }
    }

    /// The failure of a connection whose request was refused with this.
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::TooLarge { .. } | Self::TargetTooLong { .. } | Self::TooManyHeaders { .. } | Self::Timeout => {
                Failure::limit(self)
            }
            _ => Failure::peer(self),
        }
    }

    fn from_parser(error: httparse::Error) -> Self {
        Self::Malformed(match error {
            httparse::Error::HeaderName => "invalid header name",
            httparse::Error::HeaderValue => "invalid header value",
            httparse::Error::Token => "invalid request line",
            httparse::Error::NewLine => "invalid line end",
            _ => "invalid request",
        })
    }
}

/// The value of `Sec-WebSocket-Accept` that answers a client's key: 28 characters (RFC 6455 §4.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptKey([u8; 28]);

impl AcceptKey {
    /// The answer to `key`, the value of `Sec-WebSocket-Key` as it stands in the request.
    #[must_use]
    pub fn answer(key: &[u8]) -> Self {
        let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
        let mut text = [0; 28];
        // 20 bytes are 28 characters: the buffer is long enough, whatever the key.
        let written = BASE64.encode_slice(digest, &mut text);
        debug_assert_eq!(written, Ok(28));
        Self(text)
    }

    /// Its characters, all ASCII.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Tells an opening handshake, which gives the key to answer it with, from plain HTTP, which gives `None`.
///
/// A request with `Upgrade: websocket`, `Sec-WebSocket-Key` or `Sec-WebSocket-Version` means to be one. Another
/// `Upgrade` (`h2c`) is one that a server may ignore (RFC 9110 §7.8), and is; any in HTTP/1.0 is one that it must.
///
/// # Errors
/// [`HandshakeError`] for a request that means to be an opening handshake and breaks RFC 6455 §4.1.
pub fn examine(request: &Request<'_>) -> Result<Option<AcceptKey>, HandshakeError> {
    let names = |header, token| request.header_values(header).any(|value| lists(value, token));
    let meant = ["sec-websocket-key", "sec-websocket-version"].iter().any(|name| request.header(name).is_some());
    match names("upgrade", b"websocket") {
        true if request.is_http_1_1() || meant => {}
        false if meant => return Err(HandshakeError::NoUpgrade),
        _ => return Ok(None),
    }
    if request.method() != "GET" {
        return Err(HandshakeError::NotGet);
    }
    if !request.is_http_1_1() {
        return Err(HandshakeError::HttpVersion);
    }
    if !names("connection", b"upgrade") {
        return Err(HandshakeError::NoConnectionUpgrade);
    }
    // The version first: another one might have other rules for the rest.
    if only(request, "sec-websocket-version") != Some(VERSION) {
        return Err(HandshakeError::UnsupportedVersion);
    }
    let key = only(request, "sec-websocket-key").filter(|key| is_key(key)).ok_or(HandshakeError::BadKey)?;
    check_subprotocols(request)?;
    // RFC 6455 §9.1: whoever receives a malformed list fails the connection, whether it would use what is in it or not.
    request.extensions()?;
    Ok(Some(AcceptKey::answer(key)))
}

/// The header field of this name, if there is exactly one.
fn only<'a>(request: &Request<'a>, name: &str) -> Option<&'a [u8]> {
    let mut values = request.header_values(name);
    values.next().filter(|_| values.next().is_none())
}

/// Whether `token` is an element of a comma-separated value, in any case.
fn lists(value: &[u8], token: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|element| element.trim_ascii().eq_ignore_ascii_case(token))
}

/// Whether it is 16 bytes in base64, padding included. Bits behind the sixteenth byte are not looked at, as RFC 4648 §3.5
/// allows: some clients make up their keys as 22 random characters. What the bytes are is nobody's concern, so nothing is
/// decoded, which took 370 instructions where this takes 90.
fn is_key(value: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    // Without a way out half way, so that all of them are looked at together.
    value.len() == 24
        && value.strip_suffix(b"==").is_some_and(|digits| digits.iter().fold(true, |all, byte| all & is_digit(byte)))
}

fn check_subprotocols(request: &Request<'_>) -> Result<(), HandshakeError> {
    let offered: Vec<&[u8]> = request.header_list("sec-websocket-protocol").collect();
    let mut distinct = offered.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let is_empty = offered.is_empty() && request.header("sec-websocket-protocol").is_some();
    if is_empty || distinct.len() != offered.len() || !offered.iter().all(|name| is_token(name)) {
        return Err(HandshakeError::BadSubprotocol);
    }
    Ok(())
}

/// Whether `bytes` are a token (RFC 9110 §5.6.2).
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(allowed)
}

#[cfg(test)]
#[path = "handshake/cost_tests.rs"]
mod cost_tests;
#[cfg(test)]
#[path = "handshake/handshake_tests.rs"]
mod tests;
