//! A request, as applications see it.

use std::str;

use super::HandshakeError;

/// An HTTP/1 request whose head has arrived whole: an opening handshake, or plain HTTP.
///
/// It is well-formed, has no body, a valid target, and (from HTTP/1.1 on) exactly one `Host`.
#[derive(Debug)]
pub struct Request<'a> {
    method: &'a str,
    target: &'a str,
    minor_version: u8,
    headers: Vec<httparse::Header<'a>>,
}

impl<'a> Request<'a> {
    /// Reads `head`, which ends with the empty line. Header fields are checked as far as all requests have them.
    ///
    /// # Errors
    /// [`HandshakeError`], with the status to answer: see there.
    pub fn parse(head: &'a [u8], max_headers: usize) -> Result<Self, HandshakeError> {
        let mut headers = vec![httparse::EMPTY_HEADER; max_headers];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            Ok(_) => return Err(HandshakeError::Malformed("an empty line within the head")),
            Err(httparse::Error::TooManyHeaders) => return Err(HandshakeError::TooManyHeaders { limit: max_headers }),
            Err(httparse::Error::Version) => return Err(HandshakeError::HttpVersion),
            Err(error) => return Err(HandshakeError::from_parser(error)),
        }
        let (Some(method), Some(target), Some(minor_version)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(HandshakeError::Malformed("no request line"));
        };
        let count = parsed.headers.len();
        headers.truncate(count);
        let request = Self { method, target, minor_version, headers };
        request.check()?;
        Ok(request)
    }

    /// What every request must be, an opening handshake or not.
    fn check(&self) -> Result<(), HandshakeError> {
        if split_target(self.target).is_none() || (self.target == "*" && self.method != "OPTIONS") {
            return Err(HandshakeError::BadTarget);
        }
        self.check_host()?;
        // RFC 9112 §6.3: without these two, a request has no body. One with a body is refused, not skipped: where it
        // ends is what request smuggling is about.
        let lengths = || self.header_values("content-length");
        if self.header("transfer-encoding").is_some() || lengths().any(|length| length != b"0") {
            return Err(HandshakeError::Body);
        }
        Ok(())
    }

    /// RFC 9112 §3.2: no Host, or more than one, or one with an invalid value, is answered 400.
    fn check_host(&self) -> Result<(), HandshakeError> {
        let mut hosts = self.header_values("host");
        match (hosts.next(), hosts.next()) {
            (None, _) if self.minor_version == 0 => Ok(()),
            (None, _) => Err(HandshakeError::BadHost("missing")),
            (Some(host), None) if is_authority(host) => Ok(()),
            (Some(_), None) => Err(HandshakeError::BadHost("not a host and port")),
            (Some(_), Some(_)) => Err(HandshakeError::BadHost("there more than once")),
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
        self.path_and_query().split_once('?').map_or(self.path_and_query(), |(path, _)| path)
    }

    /// What is behind the `?`, not decoded.
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        self.path_and_query().split_once('?').map(|(_, query)| query)
    }

    fn path_and_query(&self) -> &'a str {
        match split_target(self.target) {
            Some((_, "")) | None => "/",
            Some((_, rest)) => rest,
        }
    }

    /// Host and port the client asked for: of an absolute target, else of the `Host` header (RFC 9112 §3.3).
    /// `None` for an HTTP/1.0 request that has neither.
    #[must_use]
    pub fn host(&self) -> Option<&'a str> {
        match split_target(self.target) {
            Some((Some(authority), _)) => Some(authority),
            _ => self.header_str("host"),
        }
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
    /// host and port are those asked for.
    ///
    /// A page of any site can open a WebSocket to any server, cookies included. A server that trusts cookies, or
    /// listens where only its own user should reach it, answers 403 where this is false. It can't tell a site whose name
    /// its owner has pointed at this server's address (DNS rebinding): who serves no strangers compares
    /// [`host`](Self::host) with the names it goes by, too.
    #[must_use]
    pub fn is_same_origin(&self) -> bool {
        let mut origins = self.header_values("origin");
        let Some(origin) = origins.next() else { return true };
        let (Ok(origin), None, Some(host)) = (str::from_utf8(origin), origins.next(), self.host()) else {
            return false;
        };
        let (authority, default_port) = match origin.split_once("://") {
            Some((scheme, authority)) if scheme.eq_ignore_ascii_case("http") => (authority, ":80"),
            Some((scheme, authority)) if scheme.eq_ignore_ascii_case("https") => (authority, ":443"),
            _ => return false,
        };
        let without = |authority: &'a str| authority.strip_suffix(default_port).unwrap_or(authority);
        without(authority).eq_ignore_ascii_case(without(host))
    }

    /// The subprotocols the client offers, the one it likes best first (RFC 6455 §11.3.4).
    pub fn subprotocols(&self) -> impl Iterator<Item = &'a str> {
        self.header_list("sec-websocket-protocol").filter_map(|name| str::from_utf8(name).ok())
    }
}

/// The authority (of an absolute target) and the path with the query; `None` for a target that is neither a path nor an
/// absolute URI of HTTP or WebSocket, or that has a fragment (RFC 9112 §3.2, RFC 6455 §3).
fn split_target(target: &str) -> Option<(Option<&str>, &str)> {
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) || target.contains('#') {
        return None;
    }
    if target.starts_with('/') || target == "*" {
        return Some((None, target));
    }
    let (scheme, rest) = target.split_once("://")?;
    if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // A query without a path has the path `/`, which a `&str` out of the target can't give: rare enough to refuse.
    (is_authority(authority.as_bytes()) && !path.starts_with('?')).then_some((Some(authority), path))
}

/// A host with or without a port: not a whole check of RFC 3986 §3.2, but no user, path, list or blank gets through.
fn is_authority(bytes: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(byte);
    !bytes.is_empty() && bytes.iter().all(allowed)
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
