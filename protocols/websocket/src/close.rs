//! Close codes and the payload of a close frame (RFC 6455 §5.5.1, §7.4, and IANA's "WebSocket Close Code Number Registry").

use std::fmt;

use thiserror::Error;

use crate::utf8;

/// The longest reason a close frame can carry: 125 bytes of payload, less two for the code.
pub const MAX_REASON: usize = 123;

/// Why a connection ended, as a number (RFC 6455 §7.4).
///
/// Any number can be held, since any can be received or asked for; [`is_sendable`](Self::is_sendable) says which may
/// stand on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(pub u16);

/// The registered codes, in the words of the registry.
impl CloseCode {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The server goes down, or the browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A type of data that can't be accepted, such as binary where only text is.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// Never on the wire: a close frame without a code was received.
    pub const NO_STATUS: Self = Self(1005);
    /// Never on the wire: the connection ended without a close frame.
    pub const ABNORMAL: Self = Self(1006);
    /// Data that does not fit the message's type, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// A message that violates the application's policy, when no other code fits.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// A message too big to be processed.
    pub const TOO_BIG: Self = Self(1009);
    /// A client misses an extension that the server did not negotiate.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// An unexpected condition kept the server from fulfilling the request.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// The service restarts; come back after a random pause.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// The service is overloaded; try another address, or later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// A gateway got an invalid answer from the server behind it.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// Never on the wire: the TLS handshake failed.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// Whether a close frame may carry this code.
    ///
    /// Those are the registered ones but 1004 to 1006 and 1015, which are reserved (RFC 6455 §7.4.1), 3000-3999 for
    /// libraries and frameworks, and 4000-4999 for private use (§7.4.2).
    #[must_use]
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A close frame's payload breaks the protocol: the connection must be failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ClosePayloadError {
    /// One byte, where a code has two. Close code 1002.
    #[error("a close frame has a payload of one byte (RFC 6455 §5.5.1)")]
    HalfCode,
    /// A code that must not stand on the wire. Close code 1002.
    #[error("close code {0} must not be sent (RFC 6455 §7.4)")]
    ForbiddenCode(CloseCode),
    /// A reason that is not UTF-8. Close code 1007.
    #[error("the reason in a close frame is not valid UTF-8 (RFC 6455 §5.5.1)")]
    InvalidReason,
}

/// Reads an unmasked close payload: its code, [`CloseCode::NO_STATUS`] if it has none, and the reason.
///
/// # Errors
/// [`ClosePayloadError`] if it has but one byte, a code that may not be sent, or a reason that is not UTF-8.
pub fn parse(payload: &[u8]) -> Result<(CloseCode, &str), ClosePayloadError> {
    match payload {
        [] => Ok((CloseCode::NO_STATUS, "")),
        [_] => Err(ClosePayloadError::HalfCode),
        [high, low, reason @ ..] => {
            let code = CloseCode(u16::from_be_bytes([*high, *low]));
            if !code.is_sendable() {
                return Err(ClosePayloadError::ForbiddenCode(code));
            }
            let reason = utf8::check(reason).map_err(|_| ClosePayloadError::InvalidReason)?;
            Ok((code, reason))
        }
    }
}

/// `reason`, cut at a character's end so that a close frame can hold it.
#[must_use]
pub fn fit_reason(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(MAX_REASON)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sendable_codes_are_those_of_the_registry() {
        let sendable: Vec<u16> = (0..=u16::MAX).filter(|code| CloseCode(*code).is_sendable()).collect();
        let mut expected: Vec<u16> = vec![1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
        expected.extend(3000..5000);
        assert_eq!(sendable, expected);
    }

    #[test]
    fn a_code_is_shown_as_its_number() {
        assert_eq!(format!("{}, {:>6}", CloseCode::NORMAL, CloseCode(7)), "1000,      7");
        let error = parse(&[0x03, 0xed]).unwrap_err();
        assert_eq!(error.to_string(), "close code 1005 must not be sent (RFC 6455 §7.4)");
    }

    #[test]
    fn every_code_is_read_as_its_kind() {
        for code in 0..=u16::MAX {
            let payload = [&code.to_be_bytes()[..], b"bye"].concat();
            let expected = match CloseCode(code) {
                code if code.is_sendable() => Ok((code, "bye")),
                code => Err(ClosePayloadError::ForbiddenCode(code)),
            };
            assert_eq!(parse(&payload), expected);
        }
    }

    #[test]
    fn short_payloads() {
        assert_eq!(parse(b""), Ok((CloseCode::NO_STATUS, "")));
        assert_eq!(parse(b"\x03"), Err(ClosePayloadError::HalfCode));
        assert_eq!(parse(b"\x03\xe8"), Ok((CloseCode::NORMAL, "")));
    }

    #[test]
    fn reasons_are_utf8() {
        assert_eq!(
            parse("\u{3}\u{0}tsch\u{fc}\u{df}".as_bytes()),
            Err(ClosePayloadError::ForbiddenCode(CloseCode(768)))
        );
        assert_eq!(parse(b"\x03\xe8tsch\xc3\xbc\xc3\x9f"), Ok((CloseCode::NORMAL, "tschüß")));
        assert_eq!(parse(b"\x03\xe8tsch\xfc"), Err(ClosePayloadError::InvalidReason));
        assert_eq!(parse(b"\x03\xe8tsch\xc3"), Err(ClosePayloadError::InvalidReason));
    }

    #[test]
    fn long_reasons_are_cut_between_characters() {
        assert_eq!(fit_reason("short"), "short");
        assert_eq!(fit_reason(&"x".repeat(123)), "x".repeat(123));
        assert_eq!(fit_reason(&"x".repeat(124)), "x".repeat(123));
        assert_eq!(fit_reason(&"é".repeat(100)), "é".repeat(61), "122 bytes: the 62nd would end at 124");
    }
}
