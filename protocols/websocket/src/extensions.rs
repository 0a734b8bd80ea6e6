//! The value of `Sec-WebSocket-Extensions` (RFC 6455 §9.1), read to the letter.
//!
//! ```
//! use switchboard_websocket::extensions;
//!
//! let list = extensions::parse([&b"permessage-deflate; client_max_window_bits=\"10\", x-mux"[..]])?;
//! assert_eq!(list[0].name, "permessage-deflate");
//! assert_eq!(list[0].parameters, [("client_max_window_bits", Some("10".into()))]);
//! assert_eq!(list[1].name, "x-mux");
//! # Ok::<(), extensions::Malformed>(())
//! ```

use std::borrow::Cow;
use std::str;

use thiserror::Error;

use crate::handshake::is_token;

/// One extension that a client offers or a server accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Its registered name, compared as it is.
    pub name: &'a str,
    /// Its parameters in their order: names, and values where there are any.
    pub parameters: Vec<(&'a str, Option<Cow<'a, str>>)>,
}

/// Not what RFC 6455 §9.1 has: whoever receives it must fail the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[error("Sec-WebSocket-Extensions is not a list of extensions with their parameters (RFC 6455 §9.1)")]
pub struct Malformed;

/// Reads the values of all header fields of that name: one list, however many fields it is in. No field is an empty
/// list.
///
/// # Errors
/// [`Malformed`], also for fields that name no extension at all.
pub fn parse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Extension<'a>>, Malformed> {
    let mut extensions = Vec::new();
    let mut is_there = false;
    for value in values {
        is_there = true;
        let mut rest = Scanner(value);
        loop {
            while rest.symbol(b',') {} // RFC 9110 §5.6.1.2: elements may be empty
            if rest.is_empty() {
                break;
            }
            extensions.push(rest.extension()?);
            if !rest.is_empty() && !rest.symbol(b',') {
                return Err(Malformed);
            }
        }
    }
    if is_there && extensions.is_empty() { Err(Malformed) } else { Ok(extensions) }
}

/// What is left of a value. Blanks may stand before any of its parts.
struct Scanner<'a>(&'a [u8]);

impl<'a> Scanner<'a> {
    fn extension(&mut self) -> Result<Extension<'a>, Malformed> {
        let mut extension = Extension { name: self.token()?, parameters: Vec::new() };
        while self.symbol(b';') {
            let name = self.token()?;
            let value = if self.symbol(b'=') { Some(self.value()?) } else { None };
            extension.parameters.push((name, value));
        }
        Ok(extension)
    }

    fn value(&mut self) -> Result<Cow<'a, str>, Malformed> {
        if self.symbol(b'"') { self.quoted().map(Cow::Owned) } else { self.token().map(Cow::Borrowed) }
    }

    /// What is left of a quoted string. Without its quotes and backslashes, it must be a token as well.
    fn quoted(&mut self) -> Result<String, Malformed> {
        let mut text = Vec::new();
        loop {
            let (byte, rest) = match self.0 {
                [b'"', rest @ ..] => {
                    self.0 = rest;
                    let is_good = is_token(&text);
                    return String::from_utf8(text).ok().filter(|_| is_good).ok_or(Malformed);
                }
                [b'\\', byte, rest @ ..] | [byte, rest @ ..] => (byte, rest),
                [] => return Err(Malformed),
            };
            text.push(*byte);
            self.0 = rest;
        }
    }

    fn token(&mut self) -> Result<&'a str, Malformed> {
        self.skip_blanks();
        let end = self.0.iter().position(|byte| !is_token(&[*byte])).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        str::from_utf8(token).ok().filter(|token| !token.is_empty()).ok_or(Malformed)
    }

    /// Takes this byte if it comes next.
    fn symbol(&mut self, symbol: u8) -> bool {
        self.skip_blanks();
        let Some(rest) = self.0.strip_prefix(&[symbol]) else { return false };
        self.0 = rest;
        true
    }

    fn is_empty(&mut self) -> bool {
        self.skip_blanks();
        self.0.is_empty()
    }

    fn skip_blanks(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.0 {
            self.0 = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(values: &[&str]) -> Result<String, Malformed> {
        let extensions = parse(values.iter().map(|value| value.as_bytes()))?;
        let parameter = |(name, value): &(&str, Option<Cow<'_, str>>)| match value {
            Some(value) => format!(";{name}={value}"),
            None => format!(";{name}"),
        };
        let each = extensions.iter().map(|extension| {
            extension.name.to_owned() + &extension.parameters.iter().map(parameter).collect::<String>()
        });
        Ok(each.collect::<Vec<_>>().join(","))
    }

    #[test]
    fn what_conforms() {
        for (values, expected) in [
            (&[][..], ""),
            (&["foo"], "foo"),
            (&["foo, bar; baz=2"], "foo,bar;baz=2"), // the examples of RFC 6455 §9.1
            (&["deflate-stream"], "deflate-stream"),
            (&["mux; max-channels=4; flow-control, deflate-stream"], "mux;max-channels=4;flow-control,deflate-stream"),
            (&["private-extension"], "private-extension"),
            (&["foo", "bar; baz=2"], "foo,bar;baz=2"),
            (&["", "foo"], "foo"),
            (&[" , ,foo,,bar ,"], "foo,bar"),
            (&["\tfoo\t;\tbar\t=\t1\t,\tbaz\t"], "foo;bar=1,baz"),
            (&["foo; bar=\"1\""], "foo;bar=1"),
            (&["foo; bar=\"a\\b\\c\""], "foo;bar=abc"),
            (&["foo;a;a;a=1"], "foo;a;a;a=1"),
            (&["!#$%&'*+-.^_`|~09azAZ"], "!#$%&'*+-.^_`|~09azAZ"),
        ] {
            assert_eq!(shown(values).as_deref(), Ok(expected), "{values:?}");
        }
    }

    #[test]
    fn what_does_not() {
        for value in [
            "",
            " ",
            ",",
            ";",
            "=",
            "foo;",
            "foo;;bar",
            "foo bar",
            "foo=1",
            "foo;bar=",
            "foo;bar=1 2",
            "foo;=1",
            "foo;bar==1",
            "foo;bar=\"",
            "foo;bar=\"1",
            "foo;bar=\"1\\",
            "foo;bar=\"\"",
            "foo;bar=\"a b\"",
            "foo;bar=\"a\\\"b\"",
            "foo;bar=\"a,b\"",
            "foo;bar=\"1\"2",
            "\"foo\"",
            "foo;\"bar\"",
            "f\u{f6}\u{f6}",
            "foo,b(r",
            "foo;b/r",
            "foo;bar=\u{e9}",
            "foo\r\n,bar",
        ] {
            assert_eq!(shown(&[value]), Err(Malformed), "{value:?}");
            assert_eq!(shown(&["good", value]).is_ok(), ["", " ", ","].contains(&value), "{value:?}");
        }
        assert_eq!(shown(&["foo;bar=\"1", "2\""]), Err(Malformed), "a quoted string ends in its field");
    }
}
