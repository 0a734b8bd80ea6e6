//! Who compresses how: offers and what is agreed on (RFC 7692 §5, §7.1).

use std::fmt;

use thiserror::Error;

use super::{Compression, Memory, NAME};
use crate::extensions::Extension;

const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// The size of an LZ77 window, as the base-2 logarithm of its bytes: 8 to 15.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowBits(u8);

impl WindowBits {
    /// 256 bytes.
    pub const MIN: Self = Self(8);
    /// 32 KiB.
    pub const MAX: Self = Self(15);

    /// `None` but for 8 to 15.
    #[must_use]
    pub const fn new(bits: u8) -> Option<Self> {
        if matches!(bits, 8..=15) { Some(Self(bits)) } else { None }
    }

    /// 8 to 15.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// What a compressor has for it: zlib has no window of 256 bytes. In one of 512 it refers back 250 at most, for it
    /// wants to see 262 bytes ahead.
    pub(crate) const fn for_compressor(self) -> Self {
        Self(if self.0 < 9 { 9 } else { self.0 })
    }

    /// "a decimal integer value without leading zeroes between 8 to 15, inclusive" (RFC 7692 §7.1.2)
    fn parse(text: &str) -> Option<Self> {
        Self::new(text.parse().ok()?).filter(|bits| bits.to_string() == text)
    }
}

impl fmt::Display for WindowBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One offer of a client's. Its [`Display`](fmt::Display) is what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The server is asked not to refer back to its earlier messages.
    pub server_no_context_takeover: bool,
    /// The client is not going to refer back to its earlier messages, a hint.
    pub client_no_context_takeover: bool,
    /// The server is asked to use no larger window.
    pub server_max_window_bits: Option<WindowBits>,
    /// `Some`: the client can be told to use a smaller window. Its value is a hint that it won't use a larger one.
    pub client_max_window_bits: Option<Option<WindowBits>>,
}

impl Offer {
    /// What a client with these settings offers.
    #[must_use]
    pub fn new(compression: &Compression) -> Self {
        let smaller = |bits: WindowBits| (bits < WindowBits::MAX).then_some(bits);
        Self {
            server_no_context_takeover: compression.decompressor == Memory::Shared,
            client_no_context_takeover: compression.compressor == Memory::Shared,
            server_max_window_bits: smaller(compression.peer_window_bits),
            client_max_window_bits: Some(smaller(compression.window_bits)),
        }
    }

    /// Reads an offer.
    ///
    /// # Errors
    /// [`NegotiationError`], for which a server declines it, and looks at the next one (RFC 7692 §7.1).
    pub fn parse(extension: &Extension<'_>) -> Result<Self, NegotiationError> {
        let fields = Fields::parse(extension)?;
        Ok(Self {
            server_no_context_takeover: fields.server_no_context_takeover,
            client_no_context_takeover: fields.client_no_context_takeover,
            server_max_window_bits: with_value(fields.server_max_window_bits, SERVER_MAX_WINDOW_BITS)?,
            client_max_window_bits: fields.client_max_window_bits,
        })
    }

    /// What a server with these settings answers. Any offer can be met: a window smaller than asked for is always
    /// allowed, and what this side receives it can decompress whatever the window.
    #[must_use]
    pub fn answer(&self, compression: &Compression) -> Parameters {
        let window =
            self.server_max_window_bits.map_or(compression.window_bits, |most| most.min(compression.window_bits));
        let client_window = self.client_max_window_bits.map(|hint| {
            let hint = hint.unwrap_or(WindowBits::MAX);
            hint.min(compression.peer_window_bits)
        });
        Parameters {
            server_no_context_takeover: self.server_no_context_takeover || compression.compressor == Memory::Shared,
            client_no_context_takeover: self.client_no_context_takeover || compression.decompressor == Memory::Shared,
            server_max_window_bits: (self.server_max_window_bits.is_some() || window < WindowBits::MAX)
                .then_some(window),
            client_max_window_bits: client_window.filter(|bits| *bits < WindowBits::MAX),
        }
    }

    /// Checks a server's answer, `extensions`, to this offer: what was agreed on, or `None` for no compression.
    ///
    /// # Errors
    /// [`NegotiationError`], for which a client must fail the connection (RFC 6455 §4.1, RFC 7692 §7.1): the server
    /// accepted something else than this offer.
    pub fn check(&self, extensions: &[Extension<'_>]) -> Result<Option<Parameters>, NegotiationError> {
        let extension = match extensions {
            [] => return Ok(None),
            [extension] if extension.name == NAME => extension,
            [_, ..] if extensions.iter().all(|extension| extension.name == NAME) => {
                return Err(NegotiationError::AcceptedTwice);
            }
            _ => return Err(NegotiationError::NotOffered),
        };
        let agreed = Parameters::parse(extension)?;
        if self.server_no_context_takeover && !agreed.server_no_context_takeover {
            return Err(NegotiationError::Ignored(SERVER_NO_CONTEXT_TAKEOVER));
        }
        if let Some(asked) = self.server_max_window_bits
            && agreed.server_max_window_bits.is_none_or(|bits| bits > asked)
        {
            return Err(NegotiationError::Ignored(SERVER_MAX_WINDOW_BITS));
        }
        // What this side said of its own window was a hint (RFC 7692 §7.1.2.2): a limit above it is none, but in order.
        if self.client_max_window_bits.is_none() && agreed.client_max_window_bits.is_some() {
            return Err(NegotiationError::Unasked(CLIENT_MAX_WINDOW_BITS));
        }
        Ok(Some(agreed))
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_flags(f, self.server_no_context_takeover, self.client_no_context_takeover)?;
        write_bits(f, SERVER_MAX_WINDOW_BITS, self.server_max_window_bits)?;
        match self.client_max_window_bits {
            Some(None) => write!(f, "; {CLIENT_MAX_WINDOW_BITS}"),
            Some(hint) => write_bits(f, CLIENT_MAX_WINDOW_BITS, hint),
            None => Ok(()),
        }
    }
}

/// What a server picks of the offers in a request's `Sec-WebSocket-Extensions`: the first that can be accepted. `None`
/// for no compression.
#[must_use]
pub fn accept(extensions: &[Extension<'_>], compression: &Compression) -> Option<Parameters> {
    let mut offers = extensions.iter().filter(|extension| extension.name == NAME);
    offers.find_map(|extension| Offer::parse(extension).ok()).map(|offer| offer.answer(compression))
}

/// What both sides have agreed on. Its [`Display`](fmt::Display) is the server's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Parameters {
    /// The server does not refer back to its earlier messages.
    pub server_no_context_takeover: bool,
    /// The client does not refer back to its earlier messages.
    pub client_no_context_takeover: bool,
    /// The server's window, if something was said of it; else it can be 15.
    pub server_max_window_bits: Option<WindowBits>,
    /// The client's window, if something was said of it; else it can be 15.
    pub client_max_window_bits: Option<WindowBits>,
}

impl Parameters {
    /// Reads a server's answer.
    ///
    /// # Errors
    /// [`NegotiationError`] for what no answer can be; [`Offer::check`] compares it with the offer.
    pub fn parse(extension: &Extension<'_>) -> Result<Self, NegotiationError> {
        let fields = Fields::parse(extension)?;
        Ok(Self {
            server_no_context_takeover: fields.server_no_context_takeover,
            client_no_context_takeover: fields.client_no_context_takeover,
            server_max_window_bits: with_value(fields.server_max_window_bits, SERVER_MAX_WINDOW_BITS)?,
            client_max_window_bits: with_value(fields.client_max_window_bits, CLIENT_MAX_WINDOW_BITS)?,
        })
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_flags(f, self.server_no_context_takeover, self.client_no_context_takeover)?;
        write_bits(f, SERVER_MAX_WINDOW_BITS, self.server_max_window_bits)?;
        write_bits(f, CLIENT_MAX_WINDOW_BITS, self.client_max_window_bits)
    }
}

fn write_flags(f: &mut fmt::Formatter<'_>, server: bool, client: bool) -> fmt::Result {
    f.write_str(NAME)?;
    for (name, is_set) in [(SERVER_NO_CONTEXT_TAKEOVER, server), (CLIENT_NO_CONTEXT_TAKEOVER, client)] {
        if is_set {
            write!(f, "; {name}")?;
        }
    }
    Ok(())
}

fn write_bits(f: &mut fmt::Formatter<'_>, name: &str, bits: Option<WindowBits>) -> fmt::Result {
    bits.map_or(Ok(()), |bits| write!(f, "; {name}={bits}"))
}

/// The four parameters as they came. A window can be there without a value.
#[derive(Default)]
struct Fields {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<Option<WindowBits>>,
    client_max_window_bits: Option<Option<WindowBits>>,
}

impl Fields {
    fn parse(extension: &Extension<'_>) -> Result<Self, NegotiationError> {
        let mut fields = Self::default();
        for (name, value) in &extension.parameters {
            let value = value.as_deref();
            match *name {
                SERVER_NO_CONTEXT_TAKEOVER => {
                    set_flag(&mut fields.server_no_context_takeover, SERVER_NO_CONTEXT_TAKEOVER, value)
                }
                CLIENT_NO_CONTEXT_TAKEOVER => {
                    set_flag(&mut fields.client_no_context_takeover, CLIENT_NO_CONTEXT_TAKEOVER, value)
                }
                SERVER_MAX_WINDOW_BITS => set_bits(&mut fields.server_max_window_bits, SERVER_MAX_WINDOW_BITS, value),
                CLIENT_MAX_WINDOW_BITS => set_bits(&mut fields.client_max_window_bits, CLIENT_MAX_WINDOW_BITS, value),
                _ => Err(NegotiationError::UnknownParameter),
            }?;
        }
        Ok(fields)
    }
}

fn set_flag(flag: &mut bool, name: &'static str, value: Option<&str>) -> Result<(), NegotiationError> {
    if std::mem::replace(flag, true) {
        return Err(NegotiationError::Duplicate(name));
    }
    value.map_or(Ok(()), |_| Err(NegotiationError::InvalidValue(name)))
}

type Bits = Option<Option<WindowBits>>;

fn set_bits(bits: &mut Bits, name: &'static str, value: Option<&str>) -> Result<(), NegotiationError> {
    if bits.is_some() {
        return Err(NegotiationError::Duplicate(name));
    }
    *bits = Some(match value {
        Some(value) => Some(WindowBits::parse(value).ok_or(NegotiationError::InvalidValue(name))?),
        None => None,
    });
    Ok(())
}

fn with_value(bits: Bits, name: &'static str) -> Result<Option<WindowBits>, NegotiationError> {
    bits.map(|bits| bits.ok_or(NegotiationError::InvalidValue(name))).transpose()
}

/// What the peer offers, or accepts, is not permessage-deflate as RFC 7692 has it. A server declines such an offer; a
/// client fails the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum NegotiationError {
    /// A parameter that permessage-deflate does not have.
    #[error("permessage-deflate with a parameter that it does not have (RFC 7692 §7.1)")]
    UnknownParameter,
    /// A parameter that is there twice.
    #[error("permessage-deflate with {0} twice (RFC 7692 §7.1)")]
    Duplicate(&'static str),
    /// A value where there must be none, none where there must be one, or one that is not from 8 to 15.
    #[error("permessage-deflate with a value of {0} that it can't have (RFC 7692 §7.1)")]
    InvalidValue(&'static str),
    /// The server accepted an extension that was not offered.
    #[error("the server accepted an extension that was not offered (RFC 6455 §4.1)")]
    NotOffered,
    /// The server accepted permessage-deflate more than once.
    #[error("the server accepted permessage-deflate twice (RFC 7692 §5)")]
    AcceptedTwice,
    /// The server set a parameter that the offer does not allow.
    #[error("the server set {0}, which was not offered (RFC 7692 §7.1.2.2)")]
    Unasked(&'static str),
    /// The server accepted the offer, but for this parameter of it.
    #[error("the server accepted permessage-deflate without the {0} that was offered (RFC 7692 §7.1)")]
    Ignored(&'static str),
}

#[cfg(test)]
#[path = "negotiation_tests.rs"]
mod tests;
