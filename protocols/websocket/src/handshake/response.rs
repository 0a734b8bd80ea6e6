//! Answers to requests: the 101 that opens a WebSocket, and every other.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use thiserror::Error;

use crate::deflate::Parameters;

use super::{AcceptKey, HandshakeError, Request, is_token};

/// A yes to an opening handshake, with what the application adds to it.
///
/// ```
/// use switchboard_websocket::Accept;
///
/// let accept = Accept::new().subprotocol("chat.v2").header("Set-Cookie", "seen=1");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Accept {
    subprotocol: Option<Cow<'static, str>>,
    headers: Headers,
    pub(crate) compression: Option<Parameters>,
    uncompressed: bool,
}

impl Accept {
    /// A plain yes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses a subprotocol, which must be one that the client [offered](Request::subprotocols) (RFC 6455 §4.2.2).
    #[must_use]
    pub fn subprotocol(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.subprotocol = Some(name.into());
        self
    }

    /// Adds a header field to the response. See [`InvalidAnswer`] for what it must not be.
    #[must_use]
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.add(name.into(), value.into());
        self
    }

    /// Declines compression on this connection, whatever [`Settings::compression`](crate::Settings::compression) says and
    /// the client [offers](Request::extensions): for messages with secrets next to what a stranger has written, for
    /// example, whose length would tell (RFC 7692 §8).
    #[must_use]
    pub fn without_compression(mut self) -> Self {
        self.uncompressed = true;
        self
    }

    pub(crate) fn agree_on(mut self, compression: Option<Parameters>) -> Self {
        self.compression = compression.filter(|_| !self.uncompressed);
        self
    }

    /// Writes the response that opens the WebSocket (RFC 6455 §4.2.2).
    ///
    /// # Errors
    /// [`InvalidAnswer`], with nothing written, if it can't be sent as it is.
    pub fn write(&self, request: &Request<'_>, key: AcceptKey, out: &mut Vec<u8>) -> Result<(), InvalidAnswer> {
        self.headers.check()?;
        if let Some(name) = &self.subprotocol
            && !request.subprotocols().any(|offered| offered == name)
        {
            return Err(InvalidAnswer::Subprotocol(name.clone().into_owned()));
        }
        out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
        field(out, "Sec-WebSocket-Accept", key.as_bytes());
        if let Some(name) = &self.subprotocol {
            field(out, "Sec-WebSocket-Protocol", name.as_bytes());
        }
        if let Some(agreed) = self.compression {
            field(out, "Sec-WebSocket-Extensions", agreed.to_string().as_bytes());
        }
        self.headers.write(out);
        out.extend_from_slice(b"\r\n");
        Ok(())
    }
}

/// An answer in plain HTTP: to a plain request, or a no to an opening handshake. The connection closes after it.
///
/// ```
/// use switchboard_websocket::Response;
///
/// let page = Response::html("<!doctype html><title>Hello</title>");
/// let no = Response::text(403, "not for you\n");
/// let who = Response::new(401).header("WWW-Authenticate", "Basic realm=\"chat\"");
/// let later = Response::text(503, "full\n").header("Retry-After", "30");
/// let moved = Response::new(308).header("Location", "/chat");
/// ```
#[derive(Debug, Clone)]
pub struct Response {
    status: u16,
    headers: Headers,
    body: Bytes,
}

impl Response {
    /// An answer without a body. The status is three digits from 200 to 599.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self { status, headers: Headers::default(), body: Bytes::new() }
    }

    /// An answer of plain text.
    #[must_use]
    pub fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status).header("Content-Type", "text/plain; charset=utf-8").body(body)
    }

    /// An HTML page, status 200.
    #[must_use]
    pub fn html(body: impl Into<Bytes>) -> Self {
        Self::new(200).header("Content-Type", "text/html; charset=utf-8").body(body)
    }

    /// Adds a header field. See [`InvalidAnswer`] for what it must not be.
    #[must_use]
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.add(name.into(), value.into());
        self
    }

    /// Sets the body. It is not sent in answer to HEAD, nor with the statuses that have none (204, 205, 304).
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// What refuses a request, in words: RFC 6455 §4.4 and RFC 9110 have the fields that go with some statuses.
    pub(crate) fn refusal(error: HandshakeError) -> Self {
        let mut response = Self::text(error.status(), format!("{error}\n"));
        match error {
            HandshakeError::NotGet => response.headers.add("Allow".into(), "GET".into()),
            HandshakeError::UnsupportedVersion => response.headers.add("Sec-WebSocket-Version".into(), "13".into()),
            _ => {}
        }
        response
    }

    /// The answer to a plain request where there is nothing but a WebSocket.
    pub(crate) fn upgrade_required() -> Self {
        Self::text(426, "this is a WebSocket endpoint: there is nothing here for plain HTTP\n")
    }

    /// Writes the head and gives what is to be sent after it: the body, or nothing in answer to HEAD.
    ///
    /// # Errors
    /// [`InvalidAnswer`], with nothing written, if it can't be sent as it is.
    pub(crate) fn write(self, method: &str, out: &mut Vec<u8>) -> Result<Bytes, InvalidAnswer> {
        if !matches!(self.status, 200..=599) {
            return Err(InvalidAnswer::Status(self.status));
        }
        self.headers.check()?;
        Ok(self.write_unchecked(method, out))
    }

    /// The same for what this crate itself made.
    pub(crate) fn write_unchecked(mut self, method: &str, out: &mut Vec<u8>) -> Bytes {
        // RFC 9110 §8.6: no Content-Length with 204; a 304 may have one, but what it would be is not known here.
        let has_body = !matches!(self.status, 204 | 304);
        if self.status == 205 {
            self.body.clear(); // RFC 9110 §15.3.6
        }
        out.extend_from_slice(format!("HTTP/1.1 {} {}\r\n", self.status, reason_phrase(self.status)).as_bytes());
        if self.status == 426 {
            // RFC 9110 §15.5.22: says which protocol is required.
            field(out, "Upgrade", b"websocket");
            field(out, "Connection", b"close, Upgrade");
        } else {
            field(out, "Connection", b"close");
        }
        if has_body {
            field(out, "Content-Length", self.body.len().to_string().as_bytes());
        }
        self.headers.write(out);
        out.extend_from_slice(b"\r\n");
        if has_body && method != "HEAD" { self.body } else { Bytes::new() }
    }
}

/// An application's answer that can't be sent: a mistake of the program. The client gets a 500 instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidAnswer {
    /// A name that is no token, or a value with a control character (a line end would let its author write the rest of
    /// the response).
    #[error("header field {0:?} of the answer has an invalid name or value (RFC 9110 §5.5)")]
    Header(String),
    /// A field that this crate writes by itself.
    #[error("header field {0:?} of the answer is not the application's to set")]
    ReservedHeader(String),
    /// A subprotocol that the client did not offer.
    #[error("subprotocol {0:?} was not offered by the client (RFC 6455 §4.2.2)")]
    Subprotocol(String),
    /// A status outside 200 to 599.
    #[error("status {0} can't be answered: it must be from 200 to 599")]
    Status(u16),
}

#[derive(Clone, Default)]
pub(super) struct Headers(Vec<(Cow<'static, str>, Cow<'static, str>)>);

impl Headers {
    /// What frames the response or makes it an opening handshake.
    const RESERVED: [&'static str; 4] = ["connection", "content-length", "transfer-encoding", "upgrade"];

    pub(super) fn add(&mut self, name: Cow<'static, str>, value: Cow<'static, str>) {
        self.0.push((name, value));
    }

    fn check(&self) -> Result<(), InvalidAnswer> {
        self.check_but_for(&[])
    }

    /// Whether they can be sent, with these (in lower case) reserved, too.
    pub(super) fn check_but_for(&self, reserved: &[&str]) -> Result<(), InvalidAnswer> {
        for (name, value) in &self.0 {
            if !is_token(name.as_bytes()) || value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
                return Err(InvalidAnswer::Header(name.clone().into_owned()));
            }
            let name = name.to_ascii_lowercase();
            if Self::RESERVED.contains(&&*name) || reserved.contains(&&*name) || name.starts_with("sec-websocket-") {
                return Err(InvalidAnswer::ReservedHeader(name));
            }
        }
        Ok(())
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for (name, value) in &self.0 {
            field(out, name, value.as_bytes());
        }
    }
}

/// The names alone: values may be secret.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

pub(crate) fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The phrase of RFC 9110 §15 for the usual statuses; it may be empty (RFC 9112 §4), and clients don't look at it.
const fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        205 => "Reset Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
