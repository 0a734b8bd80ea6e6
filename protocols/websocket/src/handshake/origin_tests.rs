//! Which origins a policy permits, and which it can be made of.

use super::*;

const ABSENT: &str = "";

/// The verdict on requests to `host` from these origins, one field each; [`ABSENT`] for none.
fn permits(policy: &OriginPolicy, host: &str, origins: &[&str]) -> Result<(), HandshakeError> {
    let fields: String = origins.iter().map(|origin| format!("Origin: {origin}\r\n")).collect();
    let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
    let request = Request::parse(head.as_bytes(), 10).unwrap();
    let admitted = policy.admit(&request);
    assert_eq!(policy.permits(&request), admitted.is_ok());
    assert_eq!(policy.check(&request).err().map(|response| response.status()), admitted.err().map(|_| 403));
    admitted
}

fn listed(origins: &[&str], absent: NoOrigin) -> OriginPolicy {
    OriginPolicy::allow_list(origins.iter().copied(), absent).unwrap()
}

const OTHER: Result<(), HandshakeError> = Err(HandshakeError::ForbiddenOrigin("not one of those allowed"));
const MISSING: Result<(), HandshakeError> = Err(HandshakeError::ForbiddenOrigin("missing"));
const TWICE: Result<(), HandshakeError> = Err(HandshakeError::ForbiddenOrigin("there more than once"));

#[test]
fn any() {
    assert_eq!(OriginPolicy::any(), OriginPolicy::default());
    for origins in [&[][..], &["http://evil.example"], &["null"], &["x"], &["http://a", "http://b"]] {
        assert_eq!(permits(&OriginPolicy::any(), "a.example", origins), Ok(()));
    }
    assert_eq!(permits(&OriginPolicy::any().or_same_origin(), "a.example", &["http://evil.example"]), Ok(()));
}

#[test]
fn same_origin() {
    let policy = OriginPolicy::same_origin(NoOrigin::Refuse);
    for (host, origin) in [
        ("a.example", "http://a.example"),
        ("a.example", "https://a.example"),
        ("A.example", "HTTP://a.EXAMPLE"),
        ("a.example:80", "http://a.example"),
        ("a.example", "http://a.example:80"),
        ("a.example:", "http://a.example"),
        ("a.example:0443", "https://a.example"),
        ("a.example:8080", "http://a.example:8080"),
        ("[::1]:9001", "http://[::1]:9001"),
        ("[0:0::0:1]", "http://[::1]"),
        ("127.0.0.1", "http://127.0.0.1"),
    ] {
        assert_eq!(permits(&policy, host, &[origin]), Ok(()), "{origin} to {host}");
    }
    for (host, origin) in [
        ("a.example", "http://b.example"),
        ("a.example", "http://a.example:8080"),
        ("a.example:8080", "http://a.example"),
        ("a.example", "http://a.example:443"),
        ("a.example", "https://a.example:80"),
        ("a.example", "http://a.example.evil.example"),
        ("a.example", "http://evil.example/a.example"),
        ("a.example", "http://a.example/"),
        ("a.example", "http://a.example@evil.example"),
        ("a.example", "http://evil.example#a.example"),
        ("a.example", "http://a.example."),
        ("a.example", "http://xa.example"),
        ("a.example", "ws://a.example"),
        ("a.example", "app://a.example"),
        ("a.example", "a.example"),
        ("a.example", "//a.example"),
        ("a.example", "://a.example"),
        ("a.example", "http://a.example http://a.example"),
        ("a.example", "http://a.example, http://a.example"),
        ("a.example", "null"),
        ("null", "null"),
        ("a.example", "http://"),
        ("a.example", "http://a.example:x"),
        ("a.example", "http://a.example:65616"),
        ("[::1]", "http://[::2]"),
        ("a.example", "http://\u{e9}"),
        ("a.example", ABSENT),
    ] {
        assert_eq!(permits(&policy, host, &[origin]), OTHER, "{origin} to {host}");
    }
    assert_eq!(permits(&policy, "a", &["http://a", "http://a"]), TWICE);
}

#[test]
fn no_origin_is_an_explicit_choice() {
    for (policy, expected) in [
        (OriginPolicy::same_origin(NoOrigin::Refuse), MISSING),
        (OriginPolicy::same_origin(NoOrigin::Permit), Ok(())),
        (listed(&["http://a"], NoOrigin::Refuse), MISSING),
        (listed(&["http://a"], NoOrigin::Permit), Ok(())),
        (listed(&[], NoOrigin::Refuse), MISSING),
    ] {
        assert_eq!(permits(&policy, "a", &[]), expected, "{policy:?}");
    }
}

#[test]
fn allow_list() {
    let policy = listed(&["https://a.example", "http://localhost:8080", "chrome-extension://abc"], NoOrigin::Refuse);
    for origin in ["https://a.example", "HTTPS://A.example:443", "http://localhost:8080", "chrome-extension://abc"] {
        assert_eq!(permits(&policy, "own.example", &[origin]), Ok(()), "{origin}");
    }
    for origin in [
        "http://a.example",
        "https://a.example:8443",
        "https://b.a.example",
        "https://a.example.evil.example",
        "http://localhost",
        "https://localhost:8080",
        "chrome-extension://abcd",
        "chrome-extension://abc:1",
        "moz-extension://abc",
        "http://own.example",
        "null",
    ] {
        assert_eq!(permits(&policy, "own.example", &[origin]), OTHER, "{origin}");
    }
    let both = policy.or_same_origin();
    for origin in ["https://a.example", "http://own.example", "https://own.example"] {
        assert_eq!(permits(&both, "own.example", &[origin]), Ok(()), "{origin}");
    }
    assert_eq!(permits(&both, "own.example", &["http://evil.example"]), OTHER);
    assert_eq!(permits(&both, "own.example", &[]), MISSING);
}

/// The name of the attacker's site leads to this server: the page is of the host it asks for. A list knows better.
#[test]
fn dns_rebinding() {
    let rebound = |policy: &OriginPolicy| permits(policy, "evil.example:8080", &["http://evil.example:8080"]);
    assert_eq!(rebound(&OriginPolicy::same_origin(NoOrigin::Refuse)), Ok(()), "as documented");
    assert_eq!(rebound(&listed(&["http://localhost:8080"], NoOrigin::Refuse)), OTHER);
}

#[test]
fn what_can_not_be_listed() {
    for text in [
        "",
        "*",
        "null",
        "a.example",
        "//a.example",
        "https:a.example",
        "https://",
        "https://a.example/",
        "https://*.a",
        "https://a b",
        "https://u@a",
        "https://a:port",
        "https://a:65536",
        "1http://a",
        "ht tp://a",
        "https://a?b",
        "https://a#b",
        "https://a, https://b",
        "file://",
    ] {
        let listed = OriginPolicy::allow_list(["https://good.example", text], NoOrigin::Refuse);
        assert_eq!(listed, Err(InvalidOrigin(text.to_owned())), "{text:?}");
    }
    let error = InvalidOrigin("null".to_owned()).to_string();
    assert!(error.starts_with("\"null\" is no origin: a scheme, a host and perhaps a port"), "{error}");
}
