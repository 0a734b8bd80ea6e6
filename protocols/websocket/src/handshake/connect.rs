//! The request that asks a server for a WebSocket.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use thiserror::Error;

use crate::deflate::Offer;

use super::response::{Headers, field};
use super::{AcceptKey, BASE64, InvalidAnswer, Url, UrlError, is_token};

/// What a client asks a server for: where, and with what.
///
/// ```
/// use switchboard_websocket::Connect;
///
/// let connect = Connect::to("ws://example.com:8080/chat?room=1")?
///     .subprotocol("chat.v2")
///     .subprotocol("chat.v1")
///     .header("Authorization", "Bearer 1234");
/// assert_eq!(connect.url().port(), 8080);
/// # Ok::<(), switchboard_websocket::handshake::UrlError>(())
/// ```
#[derive(Clone)]
pub struct Connect {
    url: Url,
    subprotocols: Vec<Cow<'static, str>>,
    origin: Option<Cow<'static, str>>,
    headers: Headers,
    /// What the connection's settings have it offer.
    pub(crate) compression: Option<Offer>,
}

impl Connect {
    /// Asks at a `ws://` URL.
    ///
    /// # Errors
    /// [`UrlError`] if it is none; [`UrlError::NeedsTls`] if it is `wss://`.
    pub fn to(url: &str) -> Result<Self, UrlError> {
        Self::at(url.parse()?, false)
    }

    /// Asks at a `wss://` URL, by a WebSocket that is inside a TLS layer: this crate does not encrypt.
    /// That there is such a layer is the caller's to see to: without one, everything goes in clear.
    ///
    /// # Errors
    /// [`UrlError`] if it is none; [`UrlError::NotTls`] if it is `ws://`.
    pub fn over_tls(url: &str) -> Result<Self, UrlError> {
        Self::at(url.parse()?, true)
    }

    fn at(url: Url, secure: bool) -> Result<Self, UrlError> {
        match (url.is_secure(), secure) {
            (true, false) => Err(UrlError::NeedsTls),
            (false, true) => Err(UrlError::NotTls),
            _ => {
                Ok(Self { url, subprotocols: Vec::new(), origin: None, headers: Headers::default(), compression: None })
            }
        }
    }

    /// Offers a subprotocol, after those that were offered before: the one liked best comes first.
    #[must_use]
    pub fn subprotocol(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.subprotocols.push(name.into());
        self
    }

    /// Sets the `Origin`, which browsers send and some servers ask for.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<Cow<'static, str>>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Adds a header field to the request. See [`InvalidConnect`] for what it must not be.
    #[must_use]
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.add(name.into(), value.into());
        self
    }

    /// Where the WebSocket is.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The subprotocols that are offered, in order.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        self.subprotocols.iter().map(|name| &**name)
    }

    /// Whether the request can be sent as it is. Asked again when the connection opens.
    ///
    /// # Errors
    /// [`InvalidConnect`] says what is wrong.
    pub fn check(&self) -> Result<(), InvalidConnect> {
        for (index, name) in self.subprotocols.iter().enumerate() {
            if !is_token(name.as_bytes()) || self.subprotocols[..index].contains(name) {
                return Err(InvalidConnect::Subprotocol(name.clone().into_owned()));
            }
        }
        if let Some(origin) = &self.origin
            && (origin.is_empty() || !origin.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(InvalidConnect::Origin(origin.clone().into_owned()));
        }
        match self.headers.check_but_for(&["host", "origin"]) {
            Ok(()) => Ok(()),
            Err(InvalidAnswer::ReservedHeader(name)) => Err(InvalidConnect::ReservedHeader(name)),
            Err(InvalidAnswer::Header(name) | InvalidAnswer::Subprotocol(name)) => Err(InvalidConnect::Header(name)),
            Err(InvalidAnswer::Status(_)) => Ok(()), // headers have none
        }
    }

    /// Writes the request (RFC 6455 §4.1), and gives what a server must answer to its `nonce`: 16 random bytes, new for
    /// each connection.
    ///
    /// # Errors
    /// [`InvalidConnect`], with nothing written, if it can't be sent as it is.
    pub fn write(&self, nonce: [u8; 16], out: &mut Vec<u8>) -> Result<AcceptKey, InvalidConnect> {
        self.check()?;
        let key = BASE64.encode(nonce);
        out.extend_from_slice(format!("GET {} HTTP/1.1\r\n", self.url.target()).as_bytes());
        field(out, "Host", self.url.authority().as_bytes());
        field(out, "Upgrade", b"websocket");
        field(out, "Connection", b"Upgrade");
        field(out, "Sec-WebSocket-Key", key.as_bytes());
        field(out, "Sec-WebSocket-Version", super::VERSION);
        if let Some(origin) = &self.origin {
            field(out, "Origin", origin.as_bytes());
        }
        if !self.subprotocols.is_empty() {
            field(out, "Sec-WebSocket-Protocol", self.subprotocols.join(", ").as_bytes());
        }
        if let Some(offer) = &self.compression {
            field(out, "Sec-WebSocket-Extensions", offer.to_string().as_bytes());
        }
        self.headers.write(out);
        out.extend_from_slice(b"\r\n");
        Ok(AcceptKey::answer(key.as_bytes()))
    }
}

/// Without what may be secret: the values of the header fields, and what the URL asks for (`?token=…`).
impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.to_string();
        let url = url.split_once('?').map_or(&*url, |(path, _)| path);
        let mut shown = f.debug_struct("Connect");
        shown.field("url", &url).field("subprotocols", &self.subprotocols).field("origin", &self.origin);
        shown.field("headers", &self.headers).finish_non_exhaustive()
    }
}

/// A request that can't be sent: a mistake of the program.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidConnect {
    /// A name that is no token, or a value with a control character (a line end would let its author write the rest of
    /// the request).
    #[error("header field {0:?} of the request has an invalid name or value (RFC 9110 §5.5)")]
    Header(String),
    /// A field that this crate writes by itself.
    #[error("header field {0:?} of the request is not the application's to set")]
    ReservedHeader(String),
    /// A subprotocol that is no token, or is offered twice.
    #[error("subprotocol {0:?} is no token or is offered twice (RFC 6455 §4.1)")]
    Subprotocol(String),
    /// An origin with a blank or a control character, or with nothing.
    #[error("origin {0:?} is no origin (RFC 6454 §7)")]
    Origin(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nonce of RFC 6455 §1.3.
    const NONCE: [u8; 16] = *b"the sample nonce";

    fn written(connect: &Connect) -> String {
        let mut out = Vec::new();
        let accept = connect.write(NONCE, &mut out).unwrap();
        assert_eq!(accept.as_bytes(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_plain_request() {
        assert_eq!(
            written(&Connect::to("ws://server.example.com/chat").unwrap()),
            "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
    }

    #[test]
    fn a_request_with_everything_is_one_that_our_server_accepts() {
        let connect = Connect::to("ws://[::1]:8080?a=b").unwrap();
        let connect = connect.subprotocol("chat").subprotocol("superchat").origin("http://example.com");
        let text = written(&connect.header("Cookie", "a=1").header("X-Empty", ""));
        assert_eq!(
            text,
            "GET /?a=b HTTP/1.1\r\nHost: [::1]:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://example.com\r\n\
             Sec-WebSocket-Protocol: chat, superchat\r\nCookie: a=1\r\nX-Empty: \r\n\r\n"
        );
        let request = super::super::Request::parse(text.as_bytes(), 10).unwrap();
        assert!(super::super::examine(&request).unwrap().is_some());
        assert_eq!(request.subprotocols().collect::<Vec<_>>(), ["chat", "superchat"]);
    }

    #[test]
    fn nothing_secret_is_shown() {
        let connect = Connect::to("ws://a/b?token=secret").unwrap().subprotocol("chat");
        let connect = connect.header("Authorization", "Bearer secret").header("Cookie", "session=secret");
        assert_eq!(
            format!("{connect:?}"),
            r#"Connect { url: "ws://a/b", subprotocols: ["chat"], origin: None, headers: ["Authorization", "Cookie"], .. }"#
        );
        let client = crate::WebSocket::client(connect, crate::message_fn(|_, _| Ok(())));
        assert!(!format!("{:?}", client.state).contains("secret"), "{:?}", client.state);
    }

    #[test]
    fn tls_is_asked_for_where_it_is() {
        assert_eq!(Connect::to("wss://a/").unwrap_err(), UrlError::NeedsTls);
        assert_eq!(Connect::over_tls("ws://a/").unwrap_err(), UrlError::NotTls);
        assert!(written(&Connect::over_tls("wss://a/").unwrap()).contains("\r\nHost: a\r\n"));
    }

    #[test]
    fn what_can_not_be_sent() {
        let connect = || Connect::to("ws://a/").unwrap();
        let refused = |connect: Connect| {
            let mut out = Vec::new();
            let error = connect.write(NONCE, &mut out).unwrap_err();
            assert!(out.is_empty());
            error
        };
        for value in ["a\r\nB: c", "a\nb", "a\0"] {
            assert_eq!(refused(connect().header("X", value)), InvalidConnect::Header("X".into()));
        }
        for name in ["", "a b", "a:", "ä", "a\r\nb"] {
            assert_eq!(refused(connect().header(name, "1")), InvalidConnect::Header(name.into()));
        }
        for name in ["host", "origin", "connection", "upgrade", "content-length", "transfer-encoding"] {
            assert_eq!(refused(connect().header(name, "1")), InvalidConnect::ReservedHeader(name.into()));
        }
        assert_eq!(
            refused(connect().header("Sec-WebSocket-Key", "1")),
            InvalidConnect::ReservedHeader("sec-websocket-key".into())
        );
        for name in ["", "a,b", "a b", "a\r\n"] {
            assert_eq!(refused(connect().subprotocol(name)), InvalidConnect::Subprotocol(name.into()));
        }
        let twice = connect().subprotocol("a").subprotocol("b").subprotocol("a");
        assert_eq!(refused(twice), InvalidConnect::Subprotocol("a".into()));
        for origin in ["", "a b", "http://a\r\n"] {
            assert_eq!(refused(connect().origin(origin)), InvalidConnect::Origin(origin.into()));
        }
    }
}
