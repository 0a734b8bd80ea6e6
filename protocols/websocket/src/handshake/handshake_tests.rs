//! Which requests are opening handshakes, and the status of those that would be.

use crate::extensions;

use super::*;

const FIELDS: [(&str, &str); 5] = [
    ("Host", "server.example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];

/// A good handshake with some fields replaced: `None` leaves the field out.
fn verdict(line: &str, changes: &[(&str, Option<&str>)]) -> Result<Option<AcceptKey>, HandshakeError> {
    let mut head = format!("{line}\r\n");
    let kept = FIELDS.iter().filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    let changed = changes.iter().filter_map(|(name, value)| value.map(|value| (*name, value)));
    for (name, value) in kept.copied().chain(changed) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    examine(&Request::parse(head.as_bytes(), 20)?)
}

fn with(changes: &[(&str, Option<&str>)]) -> Result<Option<AcceptKey>, HandshakeError> {
    verdict("GET /chat HTTP/1.1", changes)
}

#[test]
fn the_example_of_the_rfc() {
    // RFC 6455 §1.3.
    let key = with(&[]).unwrap().unwrap();
    assert_eq!(key.as_bytes(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn token_lists_are_searched_in_any_case() {
    for (upgrade, connection) in [
        ("WebSocket", "upgrade"),
        ("h2c, websocket", "keep-alive, Upgrade"),
        ("websocket ,foo", "UPGRADE,\t keep-alive"),
        (",, websocket", " ,\t,Upgrade ,"),
        ("\twebsocket\t", "\tupgrade \t"),
        ("HTTP/3.0, WEBSOCKET", "close, Upgrade"),
    ] {
        let verdict = with(&[("Upgrade", Some(upgrade)), ("Connection", Some(connection))]);
        assert!(matches!(verdict, Ok(Some(_))), "{upgrade:?} {connection:?}: {verdict:?}");
    }
    let twice = [("Connection", Some("keep-alive")), ("Connection", Some("upgrade"))];
    assert!(matches!(with(&twice), Ok(Some(_))), "two fields are one list");
    let twice = [("Upgrade", Some("h2c")), ("uPGRADE", Some("websocket")), ("Upgrade", None)];
    assert!(matches!(with(&twice), Ok(Some(_))), "two fields are one list");
}

/// With every byte at every place, longer and shorter.
#[test]
fn a_key_is_what_decodes_to_sixteen_bytes() {
    let engine = GeneralPurpose::new(&alphabet::STANDARD, PAD.with_decode_allow_trailing_bits(true));
    let decodes = |key: &[u8]| engine.decode(key).is_ok_and(|bytes| bytes.len() == 16);
    let good = *b"dGhlIHNhbXBsZSBub25jZQ==";
    for (at, byte) in (0..good.len()).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))) {
        let mut key = good;
        key[at] = byte;
        assert_eq!(is_key(&key), decodes(&key), "{key:?}");
    }
    for key in [
        &b""[..],
        b"==",
        &good[..23],
        &good[..22],
        &good[1..],
        &[&good[..], b"="].concat(),
        b"AAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        assert_eq!(is_key(key), decodes(key), "{key:?}");
    }
}

#[test]
fn what_lacks_a_part_is_refused() {
    use HandshakeError::*;
    for (field, value, error) in [
        ("Upgrade", None, NoUpgrade),
        ("Upgrade", Some("websockets"), NoUpgrade),
        ("Upgrade", Some("web socket"), NoUpgrade),
        ("Connection", None, NoConnectionUpgrade),
        ("Connection", Some("close"), NoConnectionUpgrade),
        ("Sec-WebSocket-Version", None, UnsupportedVersion),
        ("Sec-WebSocket-Version", Some("8"), UnsupportedVersion),
        ("Sec-WebSocket-Version", Some("13, 8"), UnsupportedVersion),
        ("Sec-WebSocket-Version", Some("013"), UnsupportedVersion),
        ("Sec-WebSocket-Key", None, BadKey),
        ("Sec-WebSocket-Key", Some(""), BadKey),
        ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZQ"), BadKey),
        ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZQ=a"), BadKey),
        ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25j"), BadKey),
        ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZXh4"), BadKey),
        ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZQ======"), BadKey),
        ("Sec-WebSocket-Key", Some("not base64 at all !!!!!!"), BadKey),
        ("Sec-WebSocket-Key", Some("dGhl IHNhbXBsZSBub25jZQ="), BadKey),
        ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ=="), BadKey),
        ("Sec-WebSocket-Key", Some("_-hlIHNhbXBsZSBub25jZQ=="), BadKey),
        ("Sec-WebSocket-Version", Some(""), UnsupportedVersion),
        ("Sec-WebSocket-Version", Some("+13"), UnsupportedVersion),
        ("Sec-WebSocket-Version", Some("13.0"), UnsupportedVersion),
        ("Sec-WebSocket-Version", Some("0"), UnsupportedVersion),
        ("Sec-WebSocket-Protocol", Some(""), BadSubprotocol),
        ("Sec-WebSocket-Protocol", Some(" , "), BadSubprotocol),
        ("Sec-WebSocket-Protocol", Some("chat, chat"), BadSubprotocol),
        ("Sec-WebSocket-Protocol", Some("a b"), BadSubprotocol),
        ("Sec-WebSocket-Protocol", Some("caf\u{e9}"), BadSubprotocol),
        ("Sec-WebSocket-Extensions", Some(""), BadExtensions(extensions::Malformed)),
        ("Sec-WebSocket-Extensions", Some("permessage-deflate;"), BadExtensions(extensions::Malformed)),
        ("Sec-WebSocket-Extensions", Some("x; y=\"1"), BadExtensions(extensions::Malformed)),
        ("Host", None, BadHost("missing")),
    ] {
        assert_eq!(with(&[(field, value)]), Err(error), "{field}: {value:?}");
    }
    let key = FIELDS[3];
    assert_eq!(with(&[(key.0, Some(key.1)), (key.0, Some(key.1))]), Err(BadKey), "two keys");
    let versions = [("Sec-WebSocket-Version", Some("13")), ("Sec-WebSocket-Version", Some("13"))];
    assert_eq!(with(&versions), Err(UnsupportedVersion), "two versions");
    assert_eq!(verdict("POST /chat HTTP/1.1", &[]), Err(NotGet));
    assert_eq!(verdict("get /chat HTTP/1.1", &[]), Err(NotGet), "methods are case-sensitive (RFC 9110 §9.1)");
    assert_eq!(verdict("GET /chat HTTP/1.0", &[]), Err(HttpVersion));
    assert_eq!(verdict("GET /chat HTTP/1.2", &[]), Err(HttpVersion));
    assert_eq!(verdict("GET /chat HTTP/2.0", &[]), Err(HttpVersion));
    let protocols = [("Sec-WebSocket-Protocol", Some("chat")), ("Sec-WebSocket-Protocol", Some("a, chat"))];
    assert_eq!(with(&protocols), Err(BadSubprotocol), "the same one in two fields");
    assert!(matches!(with(&[("Sec-WebSocket-Extensions", Some("x-unknown; a=\"b\", y"))]), Ok(Some(_))));
    assert!(matches!(with(&[("Sec-WebSocket-Protocol", Some("chat, superchat"))]), Ok(Some(_))));
}

#[test]
fn keys_of_random_characters_pass() {
    // The bits behind the sixteenth byte are not zero here.
    assert!(matches!(with(&[("Sec-WebSocket-Key", Some("AAAAAAAAAAAAAAAAAAAAAB=="))]), Ok(Some(_))));
}

#[test]
fn plain_http_is_told_apart() {
    let plain = [("Upgrade", None), ("Connection", None), ("Sec-WebSocket-Key", None), ("Sec-WebSocket-Version", None)];
    assert_eq!(with(&plain), Ok(None));
    let mut other_upgrade = plain;
    other_upgrade[0].1 = Some("h2c");
    other_upgrade[1].1 = Some("Upgrade, HTTP2-Settings");
    assert_eq!(with(&other_upgrade), Ok(None));
    assert_eq!(verdict("DELETE /x HTTP/1.0", &plain), Ok(None));
    // RFC 9110 §7.8: a server ignores Upgrade in HTTP/1.0.
    let old = [("Sec-WebSocket-Key", None), ("Sec-WebSocket-Version", None)];
    assert_eq!(verdict("GET /x HTTP/1.0", &old), Ok(None));
    assert_eq!(with(&old), Err(HandshakeError::UnsupportedVersion), "but not in HTTP/1.1");
}

#[test]
fn every_error_has_a_status_of_its_kind() {
    use HandshakeError::*;
    for (error, status) in [
        (Malformed("x"), 400),
        (HttpVersion, 505),
        (TooLarge { limit: 1 }, 431),
        (TargetTooLong { limit: 1 }, 414),
        (TooManyHeaders { limit: 1 }, 431),
        (Body, 413),
        (ForbiddenOrigin("x"), 403),
        (NotGet, 405),
        (BadKey, 400),
        (UnsupportedVersion, 426),
        (Timeout, 408),
    ] {
        assert_eq!(error.status(), status, "{error}");
    }
}
