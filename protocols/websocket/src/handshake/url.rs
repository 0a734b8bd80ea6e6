//! `ws://` and `wss://` URLs (RFC 6455 §3).

use std::fmt;
use std::net::Ipv6Addr;

use thiserror::Error;

/// Where a WebSocket is: `ws://host[:port][/path][?query]`, or `wss://` for one inside TLS.
///
/// It is read strictly (RFC 3986, in ASCII): a name in other letters must be in its `xn--` form, other bytes
/// percent-encoded.
///
/// ```
/// use switchboard_websocket::handshake::Url;
///
/// let url: Url = "ws://[::1]:9001/chat?room=1".parse()?;
/// assert_eq!((url.host(), url.port(), url.target()), ("::1", 9001, "/chat?room=1"));
/// assert_eq!(url.authority(), "[::1]:9001");
/// # Ok::<(), switchboard_websocket::handshake::UrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Url {
    secure: bool,
    host: Box<str>,
    port: u16,
    target: Box<str>,
}

/// No URL of a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It does not begin with `ws://` or `wss://`.
    #[error("the URL does not begin with ws:// or wss:// (RFC 6455 §3)")]
    Scheme,
    /// It has `user:password@`, which RFC 6455 has no place for: an `Authorization` header field has.
    #[error("the URL contains a user name: credentials go into a header field (RFC 6455 §3)")]
    Credentials,
    /// The host is missing, or no host.
    #[error("the URL's host is neither a name nor an address (RFC 3986 §3.2.2)")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("the URL's port is not a number from 1 to 65535")]
    Port,
    /// The path or the query has a character that must be percent-encoded.
    #[error("the URL's path or query has a character that must be percent-encoded (RFC 3986 §3.3)")]
    Path,
    /// It has a fragment (`#…`).
    #[error("the URL of a WebSocket has no fragment (RFC 6455 §3)")]
    Fragment,
    /// It is `wss://`, for a connection without TLS.
    #[error("wss:// is a WebSocket inside TLS: put it into a TLS layer, and say so with Connect::over_tls")]
    NeedsTls,
    /// It is `ws://`, for a connection inside TLS.
    #[error("ws:// is a WebSocket without TLS: use Connect::to")]
    NotTls,
}

impl Url {
    /// Whether it is `wss://`.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The name or address, an IPv6 address without its brackets: what a resolver takes.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, 80 or (`wss://`) 443 if the URL has none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, as they stand in the request; `/` at least.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Host and port, as they stand in `Host`: without the port if it is the scheme's (RFC 6455 §4.1).
    #[must_use]
    pub fn authority(&self) -> String {
        let host = bracketed(&self.host);
        if self.port == default_port(self.secure) { host } else { format!("{host}:{}", self.port) }
    }
}

impl std::str::FromStr for Url {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::Scheme)?;
        let secure = match scheme {
            _ if scheme.eq_ignore_ascii_case("ws") => false,
            _ if scheme.eq_ignore_ascii_case("wss") => true,
            _ => return Err(UrlError::Scheme),
        };
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UrlError::Credentials);
        }
        let (host, port) = split_authority(authority)?;
        let port = if port.is_empty() { default_port(secure) } else { read_port(port)? };
        // `@` and `:` stand in paths and queries as they are, `/` and `?` too.
        if !is_encoded(target, b":@/?") {
            return Err(UrlError::Path);
        }
        let target = if target.starts_with('/') { target.into() } else { format!("/{target}").into() };
        Ok(Self { secure, host: host.into(), port, target })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.secure { "wss" } else { "ws" }, self.authority(), self.target)
    }
}

/// The host, checked and without brackets, and the port's digits.
pub(super) fn split_authority(authority: &str) -> Result<(&str, &str), UrlError> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(UrlError::Host)?;
        host.parse::<Ipv6Addr>().map_err(|_| UrlError::Host)?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, port)),
            None if rest.is_empty() => Ok((host, "")),
            None => Err(UrlError::Host),
        };
    }
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    if is_name(host) { Ok((host, port)) } else { Err(UrlError::Host) }
}

/// Digits alone: `parse` would take a sign, too.
fn read_port(digits: &str) -> Result<u16, UrlError> {
    let port = if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None };
    port.filter(|&port| port > 0).ok_or(UrlError::Port)
}

/// Whether `host` is a registered name or an IPv4 address (RFC 3986 §3.2.2), and not empty.
pub(crate) fn is_name(host: &str) -> bool {
    !host.is_empty() && is_encoded(host, b"")
}

/// A host as it stands in an authority: an IPv6 address in brackets.
pub(crate) fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

const fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

/// Whether `text` has nothing but unreserved characters, sub-delims, percent-encoded octets (RFC 3986 §2) and `also`.
fn is_encoded(text: &str, also: &[u8]) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let valid = match byte {
            b'%' => {
                [bytes.next(), bytes.next()].iter().all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit()))
            }
            _ => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte) || also.contains(&byte),
        };
        if !valid {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> (bool, String, u16, String) {
        let url: Url = url.parse().unwrap_or_else(|error| panic!("{url}: {error}"));
        (url.is_secure(), url.authority(), url.port(), url.target().to_owned())
    }

    #[test]
    fn what_is_read() {
        for (url, secure, authority, port, target) in [
            ("ws://a", false, "a", 80, "/"),
            ("WS://a:80/", false, "a", 80, "/"),
            ("ws://a:443/", false, "a:443", 443, "/"),
            ("wss://a", true, "a", 443, "/"),
            ("wSs://a:80/b/c?d=/?", true, "a:80", 80, "/b/c?d=/?"),
            ("ws://127.0.0.1:65535?q", false, "127.0.0.1:65535", 65535, "/?q"),
            ("ws://[2001:db8::1]/", false, "[2001:db8::1]", 80, "/"),
            ("ws://[::1]:8080/%41%2f", false, "[::1]:8080", 8080, "/%41%2f"),
            ("ws://a-b.c_d~e:/x:y@z", false, "a-b.c_d~e", 80, "/x:y@z"),
        ] {
            assert_eq!(parts(url), (secure, authority.to_owned(), port, target.to_owned()), "{url}");
        }
    }

    #[test]
    fn what_is_refused() {
        use UrlError::{Credentials, Fragment, Host, Path, Port, Scheme};
        for (url, error) in [
            ("", Scheme),
            ("a", Scheme),
            ("http://a/", Scheme),
            ("ws:/a/", Scheme),
            (" ws://a/", Scheme),
            ("ws://", Host),
            ("ws:///path", Host),
            ("ws://:80/", Host),
            ("ws://a b/", Host),
            ("ws://ä/", Host),
            ("ws://a%4/", Host),
            ("ws://a\r\nX: 1/", Host),
            ("ws://[::1", Host),
            ("ws://[::1]a", Host),
            ("ws://[]/", Host),
            ("ws://[a]/", Host),
            ("ws://[fe80::1%25eth0]/", Host),
            ("ws://a:0/", Port),
            ("ws://a:+80/", Port),
            ("ws://a:65536/", Port),
            ("ws://a:b/", Port),
            ("ws://::1/", Host),
            ("ws://u:p@a/", Credentials),
            ("ws://u@a/", Credentials),
            ("ws://a/#", Fragment),
            ("ws://a#b", Fragment),
            ("ws://a/b c", Path),
            ("ws://a/b\r\nX: 1", Path),
            ("ws://a/%zz", Path),
            ("ws://a/%4", Path),
            ("ws://a/ü", Path),
            ("ws://a/\"", Path),
            ("ws://a/\\b", Path),
        ] {
            assert_eq!(url.parse::<Url>(), Err(error), "{url}");
        }
    }

    #[test]
    fn shown_as_it_is_read() {
        for url in ["ws://a/", "wss://a:80/b?c", "ws://[::1]:1/"] {
            assert_eq!(url.parse::<Url>().unwrap().to_string(), url);
        }
    }
}
