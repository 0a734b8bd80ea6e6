//! Answers as they stand on the wire, and those that are kept off it.

use super::super::examine;
use super::*;

const OFFER: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: chat, superchat\r\n\r\n";

fn accepted(accept: &Accept) -> Result<String, InvalidAnswer> {
    let request = Request::parse(OFFER, 10).unwrap();
    let key = examine(&request).unwrap().unwrap();
    let mut out = b"before ".to_vec();
    let written = accept.write(&request, key, &mut out);
    assert!(written.is_ok() || out == b"before ", "nothing is written on an error");
    written.map(|()| String::from_utf8(out).unwrap().split_off(7))
}

fn written(method: &str, response: Response) -> Result<String, InvalidAnswer> {
    let mut out = Vec::new();
    let body = response.write(method, &mut out)?;
    out.extend_from_slice(&body);
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn accepting() {
    assert_eq!(
        accepted(&Accept::new()).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
    assert_eq!(
        accepted(&Accept::new().subprotocol("superchat").header("X-A", "1").header("X-A", "two")).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: superchat\r\n\
         X-A: 1\r\nX-A: two\r\n\r\n"
    );
    assert_eq!(accepted(&Accept::new().subprotocol("other")), Err(InvalidAnswer::Subprotocol("other".into())));
    assert_eq!(accepted(&Accept::new().subprotocol("Chat")), Err(InvalidAnswer::Subprotocol("Chat".into())));
}

#[test]
fn nobody_writes_the_rest_of_a_response_through_a_header() {
    for (name, value) in [
        ("X-A", "1\r\nSet-Cookie: stolen"),
        ("X-A", "1\n"),
        ("X-A", "1\r"),
        ("X-A", "\0"),
        ("X-A", "\u{7f}"),
        ("X A", "1"),
        ("X:A", "1"),
        ("", "1"),
        ("X-A\r\nB", "1"),
        ("X-\u{e9}", "1"),
    ] {
        let error = InvalidAnswer::Header(name.to_owned());
        assert_eq!(accepted(&Accept::new().header(name, value)), Err(error.clone()), "{name:?}: {value:?}");
        assert_eq!(written("GET", Response::new(200).header(name, value)), Err(error), "{name:?}: {value:?}");
    }
    assert!(accepted(&Accept::new().header("X-A", "tab\t and \u{e9}")).is_ok());
}

#[test]
fn what_frames_the_response_is_not_the_applications() {
    for name in ["Connection", "content-LENGTH", "Transfer-Encoding", "Upgrade", "Sec-WebSocket-Accept"] {
        let error = InvalidAnswer::ReservedHeader(name.to_ascii_lowercase());
        assert_eq!(accepted(&Accept::new().header(name, "1")), Err(error.clone()));
        assert_eq!(written("GET", Response::new(200).header(name, "1")), Err(error));
    }
}

#[test]
fn plain_answers() {
    let response = Response::text(403, "no\n").header("X-A", "1");
    assert_eq!(
        written("GET", response.clone()).unwrap(),
        "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 3\r\n\
         Content-Type: text/plain; charset=utf-8\r\nX-A: 1\r\n\r\nno\n"
    );
    assert_eq!(
        written("HEAD", response).unwrap(),
        "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 3\r\n\
         Content-Type: text/plain; charset=utf-8\r\nX-A: 1\r\n\r\n",
        "the length of the body that GET would have got, but no body"
    );
    assert_eq!(
        written("GET", Response::new(299)).unwrap(),
        "HTTP/1.1 299 \r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    assert_eq!(
        written("GET", Response::new(204).body("x")).unwrap(),
        "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
    );
    for method in ["GET", "HEAD"] {
        assert_eq!(
            written(method, Response::text(205, "x")).unwrap(),
            "HTTP/1.1 205 Reset Content\r\nConnection: close\r\nContent-Length: 0\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\r\n"
        );
        assert_eq!(
            written(method, Response::new(304).header("ETag", "\"1\"").body("x")).unwrap(),
            "HTTP/1.1 304 Not Modified\r\nConnection: close\r\nETag: \"1\"\r\n\r\n"
        );
    }
    assert_eq!(
        written("GET", Response::text(401, "who?\n").header("WWW-Authenticate", "Basic realm=\"a\"")).unwrap(),
        "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 5\r\n\
         Content-Type: text/plain; charset=utf-8\r\nWWW-Authenticate: Basic realm=\"a\"\r\n\r\nwho?\n"
    );
    assert_eq!(
        written("GET", Response::new(503).header("Retry-After", "30")).unwrap(),
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\nRetry-After: 30\r\n\r\n"
    );
    for status in [0, 99, 100, 101, 199, 600, 1000] {
        assert_eq!(written("GET", Response::new(status)), Err(InvalidAnswer::Status(status)));
    }
}

#[test]
fn refusals_say_what_would_do() {
    let wire = |error| {
        let mut out = Vec::new();
        let body = Response::refusal(error).write_unchecked("GET", &mut out);
        String::from_utf8([out, body.to_vec()].concat()).unwrap()
    };
    let version = wire(HandshakeError::UnsupportedVersion);
    assert!(version.starts_with("HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n"), "{version}");
    assert!(version.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{version}");
    assert!(wire(HandshakeError::NotGet).contains("\r\nAllow: GET\r\n"));
    assert!(
        wire(HandshakeError::BadKey)
            .ends_with("\r\n\r\nSec-WebSocket-Key must be there once, 16 bytes in base64 (RFC 6455 §4.2.1)\n")
    );
    assert!(wire(HandshakeError::TooLarge { limit: 9 }).starts_with("HTTP/1.1 431 "));
}

#[test]
fn phrases_are_those_of_rfc_9110() {
    for (status, phrase) in [
        (200, "OK"),
        (201, "Created"),
        (202, "Accepted"),
        (204, "No Content"),
        (205, "Reset Content"),
        (301, "Moved Permanently"),
        (302, "Found"),
        (303, "See Other"),
        (304, "Not Modified"),
        (307, "Temporary Redirect"),
        (308, "Permanent Redirect"),
        (400, "Bad Request"),
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "Not Found"),
        (405, "Method Not Allowed"),
        (408, "Request Timeout"),
        (409, "Conflict"),
        (410, "Gone"),
        (413, "Content Too Large"),
        (414, "URI Too Long"),
        (426, "Upgrade Required"),
        (429, "Too Many Requests"), // RFC 6585 §4, as is 431
        (431, "Request Header Fields Too Large"),
        (500, "Internal Server Error"),
        (501, "Not Implemented"),
        (503, "Service Unavailable"),
        (505, "HTTP Version Not Supported"),
        (599, ""),
    ] {
        let response = Response::new(status);
        assert_eq!(response.status(), status);
        let written = written("GET", response).unwrap();
        assert!(written.starts_with(&format!("HTTP/1.1 {status} {phrase}\r\n")), "{written}");
    }
}
