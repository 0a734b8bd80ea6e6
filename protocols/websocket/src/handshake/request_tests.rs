//! Requests: what is read out of a head, and which heads are refused.

use super::*;

fn parse(head: &str) -> Result<Request<'_>, HandshakeError> {
    Request::parse(head.as_bytes(), 8)
}

fn with_target(target: &str) -> Result<(String, Option<String>, String), HandshakeError> {
    let head = format!("GET {target} HTTP/1.1\r\nHost: header.example\r\n\r\n");
    let request = parse(&head)?;
    let host = request.host().unwrap_or_default().to_owned();
    Ok((request.path().to_owned(), request.query().map(str::to_owned), host))
}

fn with_headers(headers: &str) -> Result<(), HandshakeError> {
    parse(&format!("GET / HTTP/1.1\r\n{headers}\r\n")).map(drop)
}

#[test]
fn parts_of_a_request() {
    let head = "GET /chat?room=1?2 HTTP/1.1\r\nHost: a:80\r\nX-A: 1\r\nx-a:  two \r\nB: x, ,y ,z\r\n\r\n";
    let request = parse(head).unwrap();
    assert_eq!(request.method(), "GET");
    assert_eq!(request.target(), "/chat?room=1?2");
    assert_eq!((request.path(), request.query()), ("/chat", Some("room=1?2")));
    assert_eq!(request.host(), Some("a:80"));
    assert!(request.is_http_1_1());
    assert_eq!(request.header("X-a"), Some(&b"1"[..]));
    assert_eq!(request.header_str("x-A"), Some("1"));
    assert_eq!(request.header("none"), None);
    assert!(request.header_values("x-a").eq([&b"1"[..], b"two"]));
    assert!(request.header_list("b").eq([&b"x"[..], b"y", b"z"]));
    assert_eq!(request.headers().count(), 4);
}

#[test]
fn targets() {
    let path =
        |path: &str, query: Option<&str>| Ok((path.to_owned(), query.map(str::to_owned), "header.example".to_owned()));
    let absolute =
        |path: &str, query: Option<&str>, host: &str| Ok((path.to_owned(), query.map(str::to_owned), host.to_owned()));
    assert_eq!(with_target("/"), path("/", None));
    assert_eq!(with_target("/a/b?c"), path("/a/b", Some("c")));
    assert_eq!(with_target("/?"), path("/", Some("")));
    assert_eq!(with_target("*"), Err(HandshakeError::BadTarget), "it is for OPTIONS alone (RFC 9112 §3.2.4)");
    assert_eq!(parse("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().path(), "*");
    assert_eq!(with_target("http://h.example:1/x?y"), absolute("/x", Some("y"), "h.example:1"));
    assert_eq!(with_target("WS://h.example"), absolute("/", None, "h.example"));
    assert_eq!(with_target("wss://[::1]:9/"), absolute("/", None, "[::1]:9"));
    assert_eq!(with_target("https://h.example?y/z?"), absolute("/", Some("y/z?"), "h.example"));
    assert_eq!(with_target("/a|b^{\"}"), path("/a|b^{\"}", None), "browsers send these as they are");
    for bad in
        ["x", "a/b", "http:///x", "http://", "http://?q", "ftp://h/", "/a#b", "http://u@h/", "/caf\u{e9}", "/\u{7f}"]
    {
        assert!(with_target(bad).is_err(), "{bad:?}");
    }
}

/// RFC 9112 §3.2.3: the authority form is for CONNECT alone, and a server that is no proxy has nothing to connect to.
#[test]
fn no_tunnels() {
    for target in ["other.example:443", "http://other.example/", "/", "*"] {
        let verdict = parse(&format!("CONNECT {target} HTTP/1.1\r\nHost: other.example:443\r\n\r\n")).map(drop);
        assert_eq!(verdict, Err(HandshakeError::BadTarget), "{target}");
    }
    assert_eq!(with_target("other.example:443"), Err(HandshakeError::BadTarget));
}

/// RFC 9112 §3.2.2: the host is the target's, whatever `Host` says, which must be there and valid all the same.
#[test]
fn an_absolute_target_beats_host() {
    let head = "GET http://one.example/ HTTP/1.1\r\nHost: two.example\r\nOrigin: http://one.example\r\n\r\n";
    let request = parse(head).unwrap();
    assert_eq!(request.host(), Some("one.example"));
    assert!(request.is_same_origin());
    assert_eq!(parse("GET http://one.example/ HTTP/1.1\r\n\r\n").map(drop), Err(HandshakeError::BadHost("missing")));
}

#[test]
fn host_exactly_once_and_valid() {
    assert_eq!(with_headers("Host: a.example:8080\r\n"), Ok(()));
    assert_eq!(with_headers("hOST: [::1]:8080\r\n"), Ok(()));
    assert_eq!(with_headers(""), Err(HandshakeError::BadHost("missing")));
    assert_eq!(with_headers("Host: a\r\nHost: a\r\n"), Err(HandshakeError::BadHost("there more than once")));
    for good in ["a", "A.b-c_d~e", "127.0.0.1:1", "a:", "a:065535", "%41", "!$&'()*+;=", "[2001:db8::1]", "[::1]:"] {
        assert_eq!(with_headers(&format!("Host: {good}\r\n")), Ok(()), "{good:?}");
    }
    for bad in [
        "",
        ":80",
        "a b",
        "a, b",
        "a,b:x",
        "u@a",
        "u:p@a",
        "a/b",
        "a?b",
        "a#b",
        "a\\b",
        "caf\u{e9}",
        "a:b",
        "a:+1",
        "a:-1",
        "a:65536",
        "a:99999999999999999999",
        "a:1:2",
        "::1",
        "[::1",
        "::1]",
        "[]",
        "[a]",
        "[::1]x",
        "[::1]:x",
        "[v1.a]",
        "[fe80::1%25eth0]",
        "%",
        "a%4",
        "a%zz",
        "http://a",
    ] {
        let verdict = with_headers(&format!("Host: {bad}\r\n"));
        assert_eq!(verdict, Err(HandshakeError::BadHost("not a host and port")), "{bad:?}");
    }
    let old = parse("GET / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!((old.host(), old.is_http_1_1()), (None, false));
}

#[test]
fn no_body_and_nothing_to_smuggle_with() {
    for none in ["Content-Length: 0", "content-length:  00 "] {
        assert_eq!(with_headers(&format!("Host: a\r\n{none}\r\n")), Ok(()), "{none:?}");
    }
    for body in [
        "Content-Length: 1",
        "Content-Length: 99999999999999999999999999",
        "Transfer-Encoding: chunked",
        "transfer-encoding: identity",
        "Transfer-Encoding:",
        "Transfer-Encoding: \u{b}chunked",
    ] {
        let verdict = with_headers(&format!("Host: a\r\n{body}\r\n"));
        let is_refused = matches!(verdict, Err(HandshakeError::Body | HandshakeError::Malformed(_)));
        assert!(is_refused, "{body:?}: {verdict:?}");
    }
    // RFC 9112 §6.3: where the body ends, whoever is in front may have seen otherwise.
    for (ambiguous, what) in [
        ("Content-Length: 0, 5", "a Content-Length that is no number"),
        ("Content-Length: 0, 0", "a Content-Length that is no number"),
        ("Content-Length: +0", "a Content-Length that is no number"),
        ("Content-Length: -0", "a Content-Length that is no number"),
        ("Content-Length: 0x0", "a Content-Length that is no number"),
        ("Content-Length: 0 0", "a Content-Length that is no number"),
        ("Content-Length:", "a Content-Length that is no number"),
        ("Content-Length: 0\r\nContent-Length: 7", "more than one Content-Length"),
        ("Content-Length: 0\r\nContent-Length: 0", "more than one Content-Length"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0", "Content-Length with Transfer-Encoding"),
        ("Content-Length: 4\r\nTransfer-Encoding: chunked", "Content-Length with Transfer-Encoding"),
    ] {
        let verdict = with_headers(&format!("Host: a\r\n{ambiguous}\r\n"));
        assert_eq!(verdict, Err(HandshakeError::Malformed(what)), "{ambiguous:?}");
    }
    for malformed in [
        "Host : a",
        "Host\t: a",
        " Host: a",
        "Host: a\r\n folded",
        "Host: a\r\nX: y\r\n\tfolded",
        "Host: a\r\nContent-Length : 5",
        "Host: a\r\n Content-Length: 5",
        "Host: a\r\nX\u{0}Y: z",
        "Host: a\r\nX: y\u{0}",
        "Host: a\r\nX: y\nContent-Length: 5",
        "Host: a\r\nX: y\rContent-Length: 5",
        "No colon",
        ": no name",
        "Ho\u{e9}st: a",
        "Host: a\r\n(comment): b",
        "Host: a\r\n\"quoted\": b",
    ] {
        let verdict = with_headers(&format!("{malformed}\r\n"));
        assert!(matches!(verdict, Err(HandshakeError::Malformed(_))), "{malformed:?}: {verdict:?}");
    }
}

#[test]
fn request_lines() {
    let verdict = |line: &str| parse(&format!("{line}\r\nHost: a\r\n\r\n")).map(drop);
    assert_eq!(verdict("POST / HTTP/1.1"), Ok(()), "methods are the application's business");
    assert_eq!(verdict("GET / HTTP/1.0"), Ok(()));
    assert_eq!(verdict("PRI * HTTP/2.0"), Err(HandshakeError::HttpVersion));
    for bad in [
        "GET /",
        "GET  / HTTP/1.1",
        "G T / HTTP/1.1",
        "/ HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / http/1.1",
        "hello",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.10",
        "GET / HTTP/11",
        "GET / HTTP/01.1",
        "GET / HTTP/1.1\u{b}",
        "G(T / HTTP/1.1",
    ] {
        assert!(verdict(bad).is_err(), "{bad:?}");
    }
    assert!(verdict("\r\nGET / HTTP/1.1").is_ok(), "RFC 9112 §2.2: an empty line before the request line");
    let smuggled = parse("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n").map(drop);
    assert_eq!(smuggled, Err(HandshakeError::Malformed("an empty line within the head, or none at its end")));
}

#[test]
fn header_count() {
    assert_eq!(with_headers(&format!("Host: a\r\n{}", "A: b\r\n".repeat(7))), Ok(()));
    let verdict = with_headers(&format!("Host: a\r\n{}", "A: b\r\n".repeat(8)));
    assert_eq!(verdict, Err(HandshakeError::TooManyHeaders { limit: 8 }));
}

#[test]
fn same_origin() {
    let same = |host: &str, origin: &str| {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n\r\n");
        parse(&head).unwrap().is_same_origin()
    };
    assert!(same("a.example:8080", "http://a.example:8080"));
    assert!(same("a.example", "http://A.example"));
    assert!(same("a.example:80", "http://a.example"));
    assert!(same("a.example", "https://a.example:443"));
    assert!(same("[::1]:1", "http://[::1]:1"));
    assert!(!same("a.example", "http://a.example:8080"));
    assert!(!same("a.example:443", "http://a.example"));
    assert!(!same("a.example", "http://b.example"));
    assert!(!same("a.example", "http://a.example.b.example"));
    assert!(!same("a.example", "app://a.example"), "not a page of HTTP's, whatever it calls its host");
    assert!(!same("a.example", "http://a.example\r\nOrigin: http://b.example"), "two of them");
    assert!(!same("a.example", "null"));
    assert!(!same("a.example", ""));
    assert!(!same("a.example", "\u{e9}://\u{e9}"));
    assert!(parse("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().is_same_origin(), "not from a page");
}

#[test]
fn what_is_malformed_is_named() {
    let verdict = |head: &str| parse(head).map(drop);
    for (head, what) in [
        ("GET / HTTP/1.1\r\nH(: a\r\n\r\n", "invalid header name"),
        ("GET / HTTP/1.1\r\nHost: \u{1}\r\n\r\n", "a control character"),
        ("G(T / HTTP/1.1\r\n\r\n", "invalid request line"),
        ("GET / HTTP/1.1;\r\nHost: a\r\n\r\n", "invalid line end"),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", "a CR without LF"),
        ("GET / HTTP/1.1\nHost: a\n\n", "an LF without CR"),
        ("GET / HTTP/1.1\r\nHost: a\r\n", "an empty line within the head, or none at its end"),
    ] {
        assert_eq!(verdict(head), Err(HandshakeError::Malformed(what)), "{head:?}");
    }
}

#[test]
fn subprotocols_and_extensions_to_choose_from() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Protocol: v1, v2\r\nsec-websocket-protocol: ,v3 ,\r\n\
        Sec-WebSocket-Extensions: x; y=\"1\"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    let request = parse(head).unwrap();
    assert!(request.subprotocols().eq(["v1", "v2", "v3"]));
    assert_eq!(request.choose_subprotocol(["v4", "v3", "v2"]), Some("v3"), "by the server's taste");
    assert_eq!(request.choose_subprotocol(["V1", "v", ""]), None);
    assert_eq!(request.choose_subprotocol([]), None);
    let offered = request.extensions().unwrap();
    assert_eq!(offered.iter().map(|extension| extension.name).collect::<Vec<_>>(), ["x", "permessage-deflate"]);
    assert_eq!(offered[0].parameters, [("y", Some("1".into()))]);

    let none = parse("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!((none.choose_subprotocol(["v1"]), none.extensions()), (None, Ok(vec![])));
}

#[test]
fn origin_as_it_was_sent() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://b.example\r\n\r\n";
    assert_eq!(parse(head).unwrap().origin(), Some("https://b.example"));
    assert_eq!(parse("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().origin(), None);
}

#[test]
fn secrets_are_not_shown() {
    let head = "GET /a?token=secret HTTP/1.1\r\nHost: a\r\nCookie: secret\r\nAuthorization: secret\r\n\r\n";
    let shown = format!("{:?}", parse(head).unwrap());
    let expected = r#"Request { method: "GET", path: "/a", headers: ["Host", "Cookie", "Authorization"], .. }"#;
    assert_eq!(shown, expected);
}
