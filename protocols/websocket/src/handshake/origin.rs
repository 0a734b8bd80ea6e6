//! Which pages may open a WebSocket here (RFC 6455 §10.2, RFC 6454).

use std::net::Ipv6Addr;
use std::str;

use thiserror::Error;

use super::url::split_authority;
use super::{HandshakeError, Request, Response};

/// Which pages may open a WebSocket.
///
/// A browser lets a page of *any* site open a WebSocket to any server, and sends the server's cookies along. Where cookies
/// say who somebody is, a strange page so speaks in the name of whoever looks at it, and reads what is answered:
/// cross-site WebSocket hijacking. So it does where the server trusts whoever reaches it, on the user's own machine or
/// network. What tells these requests apart is their `Origin`: browsers always send it, and pages can't change it
/// (RFC 6455 §10.2).
///
/// Everything that is no browser may send any `Origin`, or none: this protects users of browsers, and is no
/// authentication. What becomes of requests without one is each policy's explicit choice, [`NoOrigin`].
///
/// As a setting, which answers 403 before the [`Handler`](crate::Handler) is asked:
///
/// ```
/// use std::rc::Rc;
/// use switchboard_websocket::handshake::{NoOrigin, OriginPolicy};
/// use switchboard_websocket::{Settings, WebSocket, message_fn};
///
/// let origins = OriginPolicy::same_origin(NoOrigin::Permit);
/// let settings = Rc::new(Settings { origins, ..Settings::default() });
/// let factory = move || WebSocket::with_settings(message_fn(|peer, message| {
///     peer.send(message);
///     Ok(())
/// }), &settings);
/// # let _ = factory();
/// ```
///
/// Or in a handler, where it depends on the path:
///
/// ```
/// use std::rc::Rc;
/// use switchboard::Failure;
/// use switchboard_websocket::handshake::{NoOrigin, OriginPolicy};
/// use switchboard_websocket::{Accept, Handler, Message, Peer, Request, Response};
///
/// struct Account {
///     origins: Rc<OriginPolicy>,
/// }
///
/// impl Handler for Account {
///     fn on_handshake(&mut self, _: &mut Peer<'_, '_>, request: &Request<'_>) -> Result<Accept, Response> {
///         if request.path() != "/public" {
///             self.origins.check(request)?;
///         }
///         Ok(Accept::new())
///     }
///
///     fn on_message(&mut self, _: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
///         Ok(())
///     }
/// }
///
/// let origins = ["https://example.com", "https://admin.example.com:8443"];
/// let origins = Rc::new(OriginPolicy::allow_list(origins, NoOrigin::Refuse)?);
/// # drop(Account { origins });
/// # Ok::<(), switchboard_websocket::handshake::InvalidOrigin>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OriginPolicy(Rule);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Rule {
    #[default]
    Any,
    Only {
        /// Those whose host and port are those asked for, too.
        own: bool,
        listed: Vec<Box<str>>,
        absent: NoOrigin,
    },
}

/// What becomes of a request without an `Origin`, which no page of a browser has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoOrigin {
    /// It is as good as any: for servers that programs talk to as well.
    Permit,
    /// It is refused: for servers that only pages talk to.
    Refuse,
}

impl OriginPolicy {
    /// Pages of every site, and programs: for what is public, or asks for more than a cookie. The default.
    #[must_use]
    pub fn any() -> Self {
        Self(Rule::Any)
    }

    /// Pages of the host and port asked for, over HTTP or HTTPS: see [`Request::is_same_origin`].
    ///
    /// A proxy in front must leave `Host` as it is. And a site whose name its owner has pointed at this server's address
    /// (DNS rebinding) is the same origin, too: where that matters, an [allow list](Self::allow_list) is not deceived.
    #[must_use]
    pub fn same_origin(absent: NoOrigin) -> Self {
        Self(Rule::Only { own: true, listed: Vec::new(), absent })
    }

    /// Pages of these origins, each as browsers write it: `https://example.com`, `http://localhost:8080`,
    /// `chrome-extension://…`. Scheme, host and port must be the same, where a missing port is the scheme's
    /// (RFC 6454 §5); there are no patterns.
    ///
    /// # Errors
    /// [`InvalidOrigin`] for a text that is no origin: one with a path or a blank, for example. `null` stands for all that
    /// have none of their own (a file, or any site in a sandboxed frame), and can't be listed.
    pub fn allow_list<'a>(origins: impl IntoIterator<Item = &'a str>, absent: NoOrigin) -> Result<Self, InvalidOrigin> {
        // Browsers write no star: who lists one hopes for a pattern.
        let checked = |text: &str| match Origin::parse(text) {
            Some(_) if !text.contains('*') => Ok(text.into()),
            _ => Err(InvalidOrigin(text.to_owned())),
        };
        let listed = origins.into_iter().map(checked).collect::<Result<_, _>>()?;
        Ok(Self(Rule::Only { own: false, listed, absent }))
    }

    /// Besides those listed, pages of the host and port asked for, as [`same_origin`](Self::same_origin) has it.
    #[must_use]
    pub fn or_same_origin(mut self) -> Self {
        if let Rule::Only { own, .. } = &mut self.0 {
            *own = true;
        }
        self
    }

    /// Whether whoever sent this request may open a WebSocket.
    #[must_use]
    pub fn permits(&self, request: &Request<'_>) -> bool {
        self.admit(request).is_ok()
    }

    /// As [`permits`](Self::permits), with the answer for who may not.
    ///
    /// # Errors
    /// A 403 that says why.
    pub fn check(&self, request: &Request<'_>) -> Result<(), Response> {
        self.admit(request).map_err(Response::refusal)
    }

    pub(crate) fn admit(&self, request: &Request<'_>) -> Result<(), HandshakeError> {
        let Rule::Only { own, listed, absent } = &self.0 else { return Ok(()) };
        let mut origins = request.header_values("origin");
        let origin = match (origins.next(), origins.next()) {
            (None, _) if *absent == NoOrigin::Permit => return Ok(()),
            (None, _) => return Err(HandshakeError::ForbiddenOrigin("missing")),
            (Some(origin), None) => str::from_utf8(origin).ok().and_then(Origin::parse),
            (Some(_), Some(_)) => return Err(HandshakeError::ForbiddenOrigin("there more than once")),
        };
        let permitted = |origin: Origin<'_>| {
            listed.iter().any(|listed| Origin::parse(listed).is_some_and(|listed| listed.is(&origin)))
                || (*own && request.host().is_some_and(|host| origin.is_of(host)))
        };
        if origin.is_some_and(permitted) {
            Ok(())
        } else {
            Err(HandshakeError::ForbiddenOrigin("not one of those allowed"))
        }
    }
}

/// No origin as browsers write it (RFC 6454 §6.2).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no origin: a scheme, a host and perhaps a port, as in https://example.com:8443 (RFC 6454 §6.2)")]
pub struct InvalidOrigin(pub String);

/// An origin that can be compared: not `null`, which is nobody's (RFC 6454 §5).
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    scheme: &'a str,
    authority: Authority<'a>,
}

impl<'a> Origin<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(in_scheme);
        is_scheme.then_some(Self { scheme, authority: Authority::parse(authority)? })
    }

    /// Same scheme, host and port (RFC 6454 §5).
    fn is(&self, other: &Self) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme) && self.authority.is(&other.authority, self.default_port())
    }

    /// Whether it is a page of `host`, the host and port of a request. Whether that came over TLS isn't known here.
    pub(super) fn is_of(&self, host: &str) -> bool {
        let is_http = ["http", "https"].iter().any(|scheme| scheme.eq_ignore_ascii_case(self.scheme));
        is_http && Authority::parse(host).is_some_and(|host| self.authority.is(&host, self.default_port()))
    }

    fn default_port(&self) -> Option<u16> {
        let defaults = [("http", 80), ("https", 443), ("ws", 80), ("wss", 443)];
        defaults.iter().find(|(scheme, _)| scheme.eq_ignore_ascii_case(self.scheme)).map(|(_, port)| *port)
    }
}

/// A host with or without a port (RFC 3986 §3.2): no user, no path, no list, no blank.
#[derive(Debug, Clone, Copy)]
pub(super) struct Authority<'a> {
    /// Without the brackets of an IPv6 address.
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (host, digits) = split_authority(text).ok()?;
        let port = match digits {
            "" => None, // `host:` is valid, and means the same as `host`
            _ if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
            _ => return None,
        };
        Some(Self { host, port })
    }

    fn is(&self, other: &Self, default_port: Option<u16>) -> bool {
        let address = |host: &str| host.parse::<Ipv6Addr>().ok();
        let same_address = address(self.host).is_some_and(|ours| address(other.host) == Some(ours));
        (same_address || self.host.eq_ignore_ascii_case(other.host))
            && self.port.or(default_port) == other.port.or(default_port)
    }
}

#[cfg(test)]
#[path = "origin_tests.rs"]
mod tests;
