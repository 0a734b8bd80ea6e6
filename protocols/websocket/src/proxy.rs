//! Through an HTTP proxy: a tunnel by CONNECT (RFC 9110 §9.3.6), for whatever protocol is to go through it.

use std::time::Duration;
use std::{fmt, mem};

use base64::Engine;
use switchboard::{CloseReason, Closing, Context, Failure, Input, Message, Protocol, TimerId};
use thiserror::Error;

use crate::handshake::{AnswerError, AnswerReader, BASE64, Refusal, bracketed, field, is_name};

/// Bytes that the head of a proxy's answer may have.
const MAX_HEAD: usize = 16 * 1024;
/// Header fields that it may have.
const MAX_HEADERS: usize = 100;

/// Asks an HTTP proxy for a tunnel, and then makes way for the protocol that goes through it.
///
/// It is a protocol for a connection to the *proxy*. What it is given to carry is told nothing before the tunnel stands,
/// and has a connection like any other then; if there is none, its [`on_close`](Protocol::on_close) says why. Messages
/// posted before are posted to it again then, in their order; behind those that are posted in the very turn of the loop
/// in which the tunnel comes to stand.
///
/// ```
/// use switchboard::EventLoop;
/// use switchboard_websocket::{Connect, WebSocket, message_fn, proxy::Tunnel};
///
/// let connect = Connect::to("ws://chat.example.com/room")?;
/// let tunnel = Tunnel::to(connect.url().host(), connect.url().port())?.credentials("user", "secret")?;
/// let client = WebSocket::client(connect, message_fn(|_, message| {
///     println!("{message:?}");
///     Ok(())
/// }));
/// let mut event_loop = EventLoop::new()?;
/// event_loop.connect(("127.0.0.1", 3128), tunnel.around(client));
/// # event_loop.handle().stop();
/// event_loop.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Tunnel {
    authority: String,
    /// The value of `Proxy-Authorization`: a secret.
    authorization: Option<String>,
    timeout: Duration,
}

impl Tunnel {
    /// A tunnel to a host (a name or an address, an IPv6 address without brackets) and port, which the proxy resolves.
    ///
    /// # Errors
    /// [`InvalidTunnel::Host`] if the host is neither a name nor an address.
    pub fn to(host: &str, port: u16) -> Result<Self, InvalidTunnel> {
        let is_address = host.parse::<std::net::Ipv6Addr>().is_ok();
        if !is_address && !is_name(host) {
            return Err(InvalidTunnel::Host(host.to_owned()));
        }
        let authority = format!("{}:{port}", bracketed(host));
        Ok(Self { authority, authorization: None, timeout: Duration::from_secs(10) })
    }

    /// Credentials for the proxy, by the scheme Basic (RFC 7617), in UTF-8. They stand on the wire as good as in clear.
    ///
    /// # Errors
    /// [`InvalidTunnel::Credentials`] for a user with a colon, or a control character in either.
    pub fn credentials(mut self, user: &str, password: &str) -> Result<Self, InvalidTunnel> {
        if user.contains(':') || user.chars().chain(password.chars()).any(char::is_control) {
            return Err(InvalidTunnel::Credentials);
        }
        self.authorization = Some(format!("Basic {}", BASE64.encode(format!("{user}:{password}"))));
        Ok(self)
    }

    /// How long the proxy may take to answer. Default 10 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The protocol for the connection to the proxy, with what goes through the tunnel.
    #[must_use]
    pub fn around(self, inside: impl Protocol) -> Tunnelled {
        Tunnelled { tunnel: self, inside: Some(inside.boxed()), reader: AnswerReader::default(), posts: Vec::new() }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("CONNECT {} HTTP/1.1\r\n", self.authority).as_bytes());
        field(out, "Host", self.authority.as_bytes());
        if let Some(authorization) = &self.authorization {
            field(out, "Proxy-Authorization", authorization.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Without the credentials.
impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("to", &self.authority).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// A [`Tunnel`] with what goes through it.
pub struct Tunnelled {
    tunnel: Tunnel,
    /// Gone when the tunnel stands.
    inside: Option<Box<dyn Protocol>>,
    reader: AnswerReader,
    /// What was posted before the tunnel stood.
    posts: Vec<Message>,
}

/// A tunnel that can't be asked for: a mistake of the program.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidTunnel {
    /// A host that is neither a name nor an address.
    #[error("{0:?} is neither a name nor an address (RFC 3986 §3.2.2)")]
    Host(String),
    /// A user with a colon, or a control character in user or password.
    #[error("the proxy's credentials contain a control character, or the user a colon (RFC 7617 §2)")]
    Credentials,
}

/// The proxy did not open a tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The proxy wants credentials, or others (status 407): `Proxy-Authenticate` says which.
    #[error("the proxy wants credentials: {0}")]
    Authentication(Box<Refusal>),
    /// The proxy answered with another status than 2xx.
    #[error("the proxy refuses: {0}")]
    Refused(Box<Refusal>),
    /// What came was no answer.
    #[error("proxy: {0}")]
    Answer(AnswerError),
    /// The proxy ended the connection before its answer was whole.
    #[error("the proxy ended the connection before its answer was complete")]
    Ended,
    /// The proxy did not answer in this time.
    #[error("the proxy did not answer within {0:?}")]
    Timeout(Duration),
}

impl Protocol for Tunnelled {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.set_timer(self.tunnel.timeout);
        if let Some(out) = cx.send_buffer() {
            self.tunnel.write(out);
        }
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        let answer = match self.reader.read(input, MAX_HEAD, MAX_HEADERS) {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(()),
            Err(error @ (AnswerError::TooLarge { .. } | AnswerError::TooManyHeaders { .. })) => {
                return Err(Failure::limit(ProxyError::Answer(error)));
            }
            Err(error) => return Err(Failure::peer(ProxyError::Answer(error))),
        };
        match answer.status() {
            // Its Content-Length, if any, means nothing (RFC 9110 §9.3.6): what follows comes from the other end.
            200..=299 => {
                let id = cx.id();
                for post in mem::take(&mut self.posts) {
                    if cx.post(id, post).is_err() {
                        cx.count_undelivered(1);
                    }
                }
                if let Some(inside) = self.inside.take() {
                    cx.switch_to(inside);
                }
                Ok(())
            }
            407 => Err(Failure::peer(ProxyError::Authentication(Box::new(Refusal::new(&answer))))),
            _ => Err(Failure::peer(ProxyError::Refused(Box::new(Refusal::new(&answer))))),
        }
    }

    fn on_eof(&mut self, _: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
        Err(Failure::peer(ProxyError::Ended))
    }

    fn on_timer(&mut self, _: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        Err(Failure::limit(ProxyError::Timeout(self.tunnel.timeout)))
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        if self.posts.len() < cx.limits().mailbox {
            self.posts.push(message);
        } else {
            cx.count_undelivered(1);
        }
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, reason: &CloseReason) {
        cx.count_undelivered(self.posts.len() as u64);
        if let Some(mut inside) = self.inside.take() {
            inside.on_close(cx, reason);
        }
    }
}
