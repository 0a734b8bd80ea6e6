//! A request, as applications see it.

use std::{fmt, str};

use crate::extensions::{self, Extension, Malformed};

use super::origin::{Authority, Origin};
use super::{HandshakeError, Scanner};

/// An HTTP/1 request whose head has arrived whole: an opening handshake, or plain HTTP.
///
/// It is well-formed, has no body, a valid target, and (from HTTP/1.1 on) exactly one `Host`.
pub struct Request<'a> {
    method: &'a str,
    target: &'a str,
    parts: Target<'a>,
    minor_version: u8,
    headers: Vec<httparse::Header<'a>>,
}

impl<'a> Request<'a> {
    /// Reads `head`, which ends with the empty line. Header fields are checked as far as all requests have them.
    ///
    /// # Errors
    /// [`HandshakeError`], with the status to answer: see there.
    pub fn parse(head: &'a [u8], max_headers: usize) -> Result<Self, HandshakeError> {
        // The parser lets a lone LF end a line, which the scanner does not.
        let mut scanner = Scanner::default();
        if scanner.scan(head, usize::MAX)? != Some(head.len()) {
            return Err(HandshakeError::Malformed("an empty line within the head, or none at its end"));
        }
        Self::parse_scanned(head, &scanner, max_headers)
    }

    /// The same of a head that the scanner has found.
    pub(crate) fn parse_scanned(head: &'a [u8], scanner: &Scanner, max_headers: usize) -> Result<Self, HandshakeError> {
        let mut headers = vec![httparse::EMPTY_HEADER; max_headers.min(scanner.fields())];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            Ok(_) => return Err(HandshakeError::Malformed("invalid request")),
            Err(httparse::Error::TooManyHeaders) => return Err(HandshakeError::TooManyHeaders { limit: max_headers }),
            Err(httparse::Error::Version) => return Err(HandshakeError::HttpVersion),
            Err(error) => return Err(HandshakeError::from_parser(error)),
        }
        let (Some(method), Some(target), Some(minor_version)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(HandshakeError::Malformed("no request line"));
        };
        let count = parsed.headers.len();
        headers.truncate(count);
        let parts = Target::parse(method, target).ok_or(HandshakeError::BadTarget)?;
        let request = Self { method, target, parts, minor_version, headers };
        request.check()?;
        Ok(request)
    }

    /// What every request must be, an opening handshake or not.
    fn check(&self) -> Result<(), HandshakeError> {
        self.check_host()?;
        self.check_body()
    }

    /// RFC 9112 §3.2: no Host, or more than one, or one with an invalid value, is answered 400.
    fn check_host(&self) -> Result<(), HandshakeError> {
        let mut hosts = self.header_values("host");
        match (hosts.next(), hosts.next()) {
            (None, _) if self.minor_version == 0 => Ok(()),
            (None, _) => Err(HandshakeError::BadHost("missing")),
            (Some(host), None) if str::from_utf8(host).is_ok_and(|host| Authority::parse(host).is_some()) => Ok(()),
            (Some(_), None) => Err(HandshakeError::BadHost("not a host and port")),
            (Some(_), Some(_)) => Err(HandshakeError::BadHost("there more than once")),
        }
    }

    /// RFC 9112 §6.3: without these two fields, a request has no body. One with a body is refused, not skipped: where it
    /// ends is what request smuggling is about. So is one that leaves it open.
    fn check_body(&self) -> Result<(), HandshakeError> {
        let mut lengths = self.header_values("content-length");
        match (lengths.next(), lengths.next(), self.header("transfer-encoding")) {
            (None, _, None) => Ok(()),
            (None, _, Some(_)) => Err(HandshakeError::Body),
            (Some(length), None, None) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
                if length.iter().all(|digit| *digit == b'0') { Ok(()) } else { Err(HandshakeError::Body) }
            }
            (Some(_), None, None) => Err(HandshakeError::Malformed("a Content-Length that is no number")),
            (Some(_), Some(_), _) => Err(HandshakeError::Malformed("more than one Content-Length")),
            (Some(_), _, Some(_)) => Err(HandshakeError::Malformed("Content-Length with Transfer-Encoding")),
        }
    }

    /// The method, such as `GET`.
    #[must_use]
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The request target as it came: a path and query, or an absolute URI.
    #[must_use]
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// The path, not decoded: `/` at least, or `*` of `OPTIONS *`.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.parts.path
    }

    /// What is behind the `?`, not decoded.
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        self.parts.query
    }

    /// Host and port the client asked for: of an absolute target, else of the `Host` header (RFC 9112 §3.3).
    /// `None` for an HTTP/1.0 request that has neither.
    #[must_use]
    pub fn host(&self) -> Option<&'a str> {
        self.parts.authority.or_else(|| self.header_str("host"))
    }

    /// Whether it is HTTP/1.1 (else 1.0).
    #[must_use]
    pub fn is_http_1_1(&self) -> bool {
        self.minor_version == 1
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

    /// The first header field of this name, if it is UTF-8.
    #[must_use]
    pub fn header_str(&self, name: &str) -> Option<&'a str> {
        self.header(name).and_then(|value| str::from_utf8(value).ok())
    }

    /// All header fields of this name, in any case.
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }

    /// The elements of a comma-separated header field (RFC 9110 §5.6.1), over all fields of this name.
    pub fn header_list(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let elements = self.header_values(name).flat_map(|value| value.split(|byte| *byte == b','));
        elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
    }

    /// The `Origin` that a browser sends with an opening handshake: the page that opened the connection
    /// (RFC 6455 §10.2). Programs may send none, or any.
    #[must_use]
    pub fn origin(&self) -> Option<&'a str> {
        self.header_str("origin")
    }

    /// Whether no page of another origin opened this connection: there is no `Origin`, or there is one, of HTTP, whose
    /// host and port are those asked for. What this is good for, and what else there is, is at
    /// [`OriginPolicy`](super::OriginPolicy).
    ///
    /// It can't tell a site whose name its owner has pointed at this server's address (DNS rebinding): who serves no
    /// strangers compares [`host`](Self::host) with the names it goes by, too.
    #[must_use]
    pub fn is_same_origin(&self) -> bool {
        let mut origins = self.header_values("origin");
        let Some(origin) = origins.next() else { return true };
        let origin = str::from_utf8(origin).ok().and_then(Origin::parse);
        let (Some(origin), None, Some(host)) = (origin, origins.next(), self.host()) else { return false };
        origin.is_of(host)
    }

    /// The subprotocols the client offers, the one it likes best first (RFC 6455 §11.3.4).
    pub fn subprotocols(&self) -> impl Iterator<Item = &'a str> {
        self.header_list("sec-websocket-protocol").filter_map(|name| str::from_utf8(name).ok())
    }

    /// The first of `mine` that the client offers, too: a server's choice, by its own taste. `None` if there is none,
    /// and then it is the application's to say whether it does without or refuses. (A browser that has offered some gives
    /// up if none is chosen.)
    ///
    /// ```
    /// use switchboard::Failure;
    /// use switchboard_websocket::{Accept, Handler, Message, Peer, Request, Response};
    ///
    /// struct Chat;
    ///
    /// impl Handler for Chat {
    ///     fn on_handshake(&mut self, _: &mut Peer<'_, '_>, request: &Request<'_>) -> Result<Accept, Response> {
    ///         let Some(version) = request.choose_subprotocol(["chat.v2", "chat.v1"]) else {
    ///             return Err(Response::text(400, "this server speaks chat.v1 and chat.v2\n"));
    ///         };
    ///         Ok(Accept::new().subprotocol(version))
    ///     }
    ///
    ///     fn on_message(&mut self, _: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
    ///         Ok(())
    ///     }
    /// }
    /// # drop(Chat);
    /// ```
    #[must_use]
    pub fn choose_subprotocol<'m>(&self, mine: impl IntoIterator<Item = &'m str>) -> Option<&'m str> {
        mine.into_iter().find(|mine| self.subprotocols().any(|offered| offered == *mine))
    }

    /// The extensions the client offers, the one it likes best first (RFC 6455 §9.1). Which of them are accepted is for
    /// [`Settings`](crate::Settings) and [`Accept::without_compression`](crate::Accept::without_compression) to say.
    ///
    /// # Errors
    /// [`Malformed`] if they are no list of extensions, which no request is that a handler sees.
    pub fn extensions(&self) -> Result<Vec<Extension<'a>>, Malformed> {
        extensions::parse(self.header_values("sec-websocket-extensions"))
    }
}

/// Without the query and the values of header fields, which may be secret.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|header| header.name).collect();
        let mut shown = f.debug_struct("Request");
        shown.field("method", &self.method).field("path", &self.parts.path).field("headers", &names);
        shown.finish_non_exhaustive()
    }
}

/// A request target, taken apart (RFC 9112 §3.2).
struct Target<'a> {
    /// Of an absolute target.
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// `None` for a target that is neither a path nor an absolute URI of HTTP or WebSocket, or that has a fragment
    /// (RFC 6455 §3). No other server is reached through this one: the authority that CONNECT asks for is none of them.
    ///
    /// Which characters stand for themselves in a path is not looked at beyond that: browsers leave some as they are that
    /// RFC 3986 would have encoded.
    fn parse(method: &str, target: &'a str) -> Option<Self> {
        if method == "CONNECT" || !target.bytes().all(|byte| byte.is_ascii_graphic()) || target.contains('#') {
            return None;
        }
        if target == "*" {
            return (method == "OPTIONS").then_some(Self { authority: None, path: target, query: None });
        }
        let (authority, rest) = if target.starts_with('/') { (None, target) } else { Self::absolute(target)? };
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        Some(Self { authority, path: if path.is_empty() { "/" } else { path }, query })
    }

    /// The authority of an absolute URI, and what is behind it.
    fn absolute(target: &'a str) -> Option<(Option<&'a str>, &'a str)> {
        let (scheme, rest) = target.split_once("://")?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let is_known = ["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
        (is_known && Authority::parse(authority).is_some()).then_some((Some(authority), rest))
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
