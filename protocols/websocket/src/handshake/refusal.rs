//! An answer that opens no WebSocket, kept for the application with the beginning of its body.

use std::fmt;

use switchboard::Input;

use super::Answer;

/// What a server (or a proxy) said in place of what it was asked for.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal {
    status: u16,
    headers: Vec<(Box<str>, Box<[u8]>)>,
    pub(super) body: Vec<u8>,
}

impl Refusal {
    pub(crate) fn new(answer: &Answer<'_>) -> Self {
        let headers = answer.headers().map(|(name, value)| (name.into(), value.into())).collect();
        Self { status: answer.status(), headers, body: Vec::new() }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// All header fields in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The first header field of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Where the server says to go instead, as it says so: a URL, or a reference to be resolved against the one asked
    /// for (RFC 9110 §10.2.2). `None` if it does not, or not in UTF-8.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.header("location").and_then(|location| str::from_utf8(location).ok())
    }

    /// The body, or as much of its beginning as [`Settings::max_refusal`](crate::Settings::max_refusal) allows and as
    /// came in time.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

/// With the names of its header fields alone, and the length of its body: what stands in them may be secret.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers().map(|(name, _)| name).collect();
        let mut shown = f.debug_struct("Refusal");
        shown.field("status", &self.status).field("headers", &names).field("body", &self.body.len()).finish()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        let Some(location) = self.location() else { return Ok(()) };
        // What is behind it may be secret.
        let shown = location.find(['?', '#']).map_or(location, |end| &location[..end]);
        write!(f, ", to {shown:?}")
    }
}

/// A refusal whose body is being read.
#[derive(Debug)]
pub(crate) struct Refusing {
    pub(crate) refusal: Refusal,
    framing: Framing,
    limit: usize,
}

/// What of the body is to come (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy)]
enum Framing {
    /// So many bytes, or (`u64::MAX`) all until the connection ends.
    Length(u64),
    /// The line with a chunk's size: what it amounts to so far, and whether its digits are over.
    ChunkSize(u64, bool),
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
}

impl Refusing {
    /// Keeps `limit` bytes of the body at most.
    pub(crate) fn new(answer: &Answer<'_>, limit: usize) -> Self {
        let length = || str::from_utf8(answer.header("content-length")?).ok()?.parse().ok();
        let framing = if matches!(answer.status(), 204 | 304) {
            Framing::Length(0)
        } else if answer.header("transfer-encoding").is_some() {
            Framing::ChunkSize(0, false)
        } else {
            Framing::Length(length().unwrap_or(u64::MAX))
        };
        Self { refusal: Refusal::new(answer), framing, limit }
    }

    /// Takes what has come. True if it is all that is wanted: the body is whole, or at its limit, or not readable from
    /// here on.
    pub(crate) fn read(&mut self, input: &mut Input<'_>) -> bool {
        loop {
            let room = self.limit - self.refusal.body.len();
            if room == 0 {
                return true;
            }
            let (Framing::Length(left) | Framing::Chunk(left)) = self.framing else {
                let Some(&octet) = input.first() else { return false };
                input.take(1);
                if self.chunk_line(octet) {
                    return true;
                }
                continue;
            };
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
            self.refusal.body.extend_from_slice(&input.take(count)[..count.min(room)]);
            let left = if left == u64::MAX { left } else { left - count as u64 };
            self.framing = match self.framing {
                Framing::Chunk(_) if left == 0 => Framing::ChunkEnd,
                Framing::Chunk(_) => Framing::Chunk(left),
                _ if left == 0 => return true,
                _ => Framing::Length(left),
            };
            if input.is_empty() {
                return self.refusal.body.len() == self.limit;
            }
        }
    }

    /// One octet between two chunks (RFC 9112 §7.1). True if no chunk follows.
    fn chunk_line(&mut self, octet: u8) -> bool {
        self.framing = match (self.framing, octet) {
            (Framing::ChunkEnd, b'\n') => Framing::ChunkSize(0, false),
            (Framing::ChunkEnd, b'\r') => Framing::ChunkEnd,
            (Framing::ChunkSize(0, _), b'\n') => return true,
            (Framing::ChunkSize(size, _), b'\n') => Framing::Chunk(size),
            (Framing::ChunkSize(size, false), octet) if octet.is_ascii_hexdigit() => {
                let digit = char::from(octet).to_digit(16).unwrap_or_default();
                match size.checked_mul(16) {
                    Some(size) => Framing::ChunkSize(size | u64::from(digit), false),
                    None => return true,
                }
            }
            (Framing::ChunkSize(size, false), b'\r' | b';' | b' ' | b'\t') => Framing::ChunkSize(size, true),
            (Framing::ChunkSize(size, true), _) => Framing::ChunkSize(size, true),
            _ => return true, // no chunk
        };
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::AnswerError;
    use super::*;

    /// The body of an answer in these words, the rest of which arrives in pieces of every size; and whether it was seen
    /// to be all.
    fn body(head: &str, rest: &[u8], limit: usize) -> (String, bool) {
        let head = format!("HTTP/1.1 {head}\r\n\r\n");
        let answer = Answer::parse(head.as_bytes(), 10).unwrap();
        let read = |size: usize| {
            let mut refusing = Refusing::new(&answer, limit);
            let mut done = refusing.read(&mut Input::new(&mut []));
            for piece in rest.chunks(size) {
                done = done || refusing.read(&mut Input::new(&mut piece.to_vec()));
            }
            (String::from_utf8(refusing.refusal.body).unwrap(), done)
        };
        let whole = read(1000);
        for size in 1..=rest.len() {
            assert_eq!(read(size), whole, "in pieces of {size}");
        }
        whole
    }

    fn is(text: &str, done: bool) -> (String, bool) {
        (text.to_owned(), done)
    }

    #[test]
    fn nothing_secret_is_shown() {
        let head = "HTTP/1.1 401 X\r\nSet-Cookie: secret\r\nWWW-Authenticate: Digest nonce=secret\r\n\r\n";
        let answer = Answer::parse(head.as_bytes(), 10).unwrap();
        assert_eq!(format!("{answer:?}"), r#"Answer { status: 401, headers: ["Set-Cookie", "WWW-Authenticate"], .. }"#);
        let mut refusing = Refusing::new(&answer, 100);
        refusing.read(&mut Input::new(&mut b"a secret".to_owned()));
        let error = AnswerError::refused(refusing.refusal);
        assert_eq!(
            format!("{error:?}"),
            r#"Refused(Refusal { status: 401, headers: ["Set-Cookie", "WWW-Authenticate"], body: 8 })"#
        );
        assert_eq!(error.to_string(), "the server refuses: status 401");
    }

    #[test]
    fn by_its_length() {
        assert_eq!(body("404 X\r\nContent-Length: 5", b"hello, you", 100), is("hello", true));
        assert_eq!(body("404 X\r\nContent-Length: 5", b"hell", 100), is("hell", false));
        assert_eq!(body("404 X\r\nContent-Length: 0", b"", 100), is("", true));
        assert_eq!(body("404 X\r\nContent-Length: 5", b"hello", 3), is("hel", true));
        assert_eq!(body("204 X", b"hello", 100), is("", true));
        assert_eq!(body("404 X\r\nContent-Length: 5", b"hello", 0), is("", true));
    }

    #[test]
    fn by_the_end() {
        assert_eq!(body("404 X", b"hello", 100), is("hello", false));
        assert_eq!(body("404 X", b"hello", 5), is("hello", true));
        assert_eq!(body("404 X\r\nContent-Length: five", b"hello", 100), is("hello", false));
    }

    #[test]
    fn by_chunks() {
        const HEAD: &str = "502 X\r\nTransfer-Encoding: chunked";
        assert_eq!(body(HEAD, b"5\r\nhello\r\n1;a=\"b\"\r\n!\r\n0\r\n\r\n", 100), is("hello!", true));
        assert_eq!(body(HEAD, b"00B\r\nhello there\r\n0;x\r\nTrailer: 1\r\n\r\n", 100), is("hello there", true));
        assert_eq!(body(HEAD, b"5\r\nhello\r\n5\r\nthere", 7), is("helloth", true));
        assert_eq!(body(HEAD, b"5\r\nhel", 100), is("hel", false));
        assert_eq!(body(HEAD, b"5\r\nhello\r\nxyz", 100), is("hello", true));
        assert_eq!(body(HEAD, b"ffffffffffffffffffff\r\nhello", 100), is("", true));
        assert_eq!(body(HEAD, b"-5\r\nhello", 100), is("", true));
    }
}
