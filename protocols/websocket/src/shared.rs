//! Messages that many peers get.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::deflate::{self, WindowBits};
use crate::utf8::{self, InvalidUtf8};

/// Compressed forms that are kept of a message: one for each window there is, at one level. None is longer than the
/// message itself.
const KEPT: usize = 8;

/// A payload and its compressed forms, which its clones share over all connections, loops and threads. All of it goes
/// with the last of them.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Payload>);

#[derive(Default)]
struct Payload {
    plain: Bytes,
    forms: Mutex<Vec<Form>>,
}

struct Form {
    window_bits: WindowBits,
    level: u8,
    /// `None` if it would be no shorter.
    bytes: Option<Bytes>,
}

impl Shared {
    /// What one takes besides its bytes.
    pub(crate) const OVERHEAD: usize = size_of::<Payload>() + 2 * size_of::<usize>();

    pub(crate) fn new(plain: Bytes) -> Self {
        Self(Arc::new(Payload { plain, forms: Mutex::default() }))
    }

    pub(crate) fn plain(&self) -> &Bytes {
        &self.0.plain
    }

    /// The message compressed without any before it. It is made by whoever is the first to ask for this window and
    /// level; others that ask meanwhile wait, which takes them no longer than to make their own. `None` if it is no
    /// shorter.
    pub(crate) fn compressed(&self, window_bits: WindowBits, level: u8) -> Option<Bytes> {
        let window_bits = window_bits.for_compressor();
        // A panic of another thread leaves nothing half done here.
        let mut forms = self.0.forms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(form) = forms.iter().find(|form| (form.window_bits, form.level) == (window_bits, level)) {
            return form.bytes.clone();
        }
        let bytes = deflate::alone(window_bits, level, &self.0.plain);
        if forms.len() < KEPT {
            forms.push(Form { window_bits, level, bytes: bytes.clone() });
        }
        bytes
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plain().fmt(f)
    }
}

impl PartialEq for Shared {
    fn eq(&self, other: &Self) -> bool {
        self.plain() == other.plain()
    }
}

impl Eq for Shared {}

/// Text to be sent to many: UTF-8 that was checked once and is shared from then on, by connections of any loop and
/// thread. It is compressed once for each way of compressing that they have agreed on with their peers, too, not once
/// for each of them: see [`deflate`](crate::deflate#to-many-peers).
///
/// ```
/// use bytes::Bytes;
/// use switchboard_websocket::SharedText;
///
/// let news = SharedText::from(format!("{} peers are here", 7));
/// assert_eq!(news.as_bytes(), b"7 peers are here");
/// assert!(SharedText::try_from(Bytes::from_static(b"\xff")).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SharedText(pub(crate) Shared);

impl SharedText {
    /// The text's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.plain()
    }

    /// The text's bytes, to keep.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0.plain().clone()
    }
}

impl From<String> for SharedText {
    fn from(text: String) -> Self {
        Self(Shared::new(text.into()))
    }
}

impl From<&'static str> for SharedText {
    fn from(text: &'static str) -> Self {
        Self(Shared::new(text.into()))
    }
}

impl TryFrom<Bytes> for SharedText {
    type Error = InvalidUtf8;

    fn try_from(bytes: Bytes) -> Result<Self, InvalidUtf8> {
        utf8::check(&bytes)?;
        Ok(Self(Shared::new(bytes)))
    }
}

/// Bytes to be sent to many: the same as [`SharedText`] for a binary message.
///
/// ```
/// use switchboard_websocket::SharedBinary;
///
/// let frame = SharedBinary::from(b"\x00\x01\x02");
/// assert_eq!(frame.as_bytes().len(), 3);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SharedBinary(pub(crate) Shared);

impl SharedBinary {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.plain()
    }

    /// The bytes, to keep.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0.plain().clone()
    }
}

impl From<Bytes> for SharedBinary {
    fn from(bytes: Bytes) -> Self {
        Self(Shared::new(bytes))
    }
}

impl From<Vec<u8>> for SharedBinary {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Shared::new(bytes.into()))
    }
}

impl From<&'static [u8]> for SharedBinary {
    fn from(bytes: &'static [u8]) -> Self {
        Self(Shared::new(bytes.into()))
    }
}

impl<const N: usize> From<&'static [u8; N]> for SharedBinary {
    fn from(bytes: &'static [u8; N]) -> Self {
        bytes[..].into()
    }
}

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;
