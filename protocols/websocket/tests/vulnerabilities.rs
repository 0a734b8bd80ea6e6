//! Faults of other WebSocket libraries that this one must not have, in the opening handshake of a server: each test does
//! what did harm there. What they are, and what could not happen here, is in docs/vulnerabilities.md.
//!
//! A test whose input is a megabyte for a parser that was quadratic there needs no clock: it would take hours.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use allocation_counter::measure;
use common::*;
use switchboard::{Blame, Limits};
use switchboard_websocket::Settings;
use switchboard_websocket::deflate::Compression;
use switchboard_websocket::extensions;
use switchboard_websocket::handshake::{HandshakeError, InvalidAnswer, NoOrigin, OriginPolicy, Request, examine};

const MEGABYTE: usize = 1 << 20;

/// [`UPGRADE`] with these header fields besides.
fn upgrade_with(fields: &str) -> String {
    UPGRADE.replace("\r\n\r\n", &format!("\r\n{fields}\r\n\r\n"))
}

/// What is answered, with whatever else was sent behind it; nothing of which may reach the application.
fn refused(request: impl AsRef<[u8]>) -> (String, HandshakeError) {
    let mut client = Client::connected();
    client.feed(request);
    assert_eq!(client.take_log(), [""; 0]);
    assert_eq!(client.held(), 0);
    (client.sent_text(), client.error())
}

/// CVE-2023-43669 (tungstenite): each read parsed all of the request again, for minutes of CPU. CVE-2026-54467 (Ruby's
/// websocket-driver): and kept all of it, without a limit. What it costs in bytes looked at is counted in
/// `src/handshake/cost_tests.rs`.
#[test]
fn a_long_header_is_neither_parsed_again_and_again_nor_kept() {
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(MEGABYTE));
    let mut client = Client::connected();
    let (mut most, mut fed) = (0, 0);
    let info = measure(|| {
        for byte in request.as_bytes() {
            client.harness.feed(&[*byte]);
            fed += 1;
            most = most.max(client.held());
            if !client.harness.is_open() {
                break;
            }
        }
    });
    let limit = Settings::default().max_handshake;
    assert_eq!(client.error::<HandshakeError>(), HandshakeError::TooLarge { limit });
    assert_eq!(fed, limit);
    assert!(most <= 2 * limit, "{most} bytes held");
    assert!(info.count_total < 100, "{} allocations: whoever parses, allocates", info.count_total);
}

/// CVE-2024-37890 (ws): fields beyond the limit were dropped, those of the handshake with them, which it then missed.
#[test]
fn fields_beyond_the_limit_are_not_dropped() {
    let many: String = (0..200).map(|n| format!("x{n}: x\r\n")).collect();
    let (line, fields) = UPGRADE.split_once("\r\n").unwrap();
    for request in [format!("{line}\r\n{many}{fields}"), upgrade_with(&many[..many.len() - 2])] {
        let (sent, error) = refused(request);
        assert!(sent.starts_with("HTTP/1.1 431 "), "{sent}");
        assert_eq!(error, HandshakeError::TooManyHeaders { limit: 100 });
    }
}

/// CVE-2021-32640 (ws): quadratic in the blanks within `Sec-WebSocket-Protocol`. CVE-2023-26103 (Deno): within
/// `Upgrade` and `Connection`.
#[test]
fn blanks_in_lists() {
    let blanks = " ".repeat(MEGABYTE);
    let parse = |head: &str| Request::parse(head.as_bytes(), 100).and_then(|request| examine(&request));
    let protocol = upgrade_with(&format!("Sec-WebSocket-Protocol: b{blanks}x"));
    assert_eq!(parse(&protocol), Err(HandshakeError::BadSubprotocol));
    let protocol = upgrade_with(&format!("Sec-WebSocket-Protocol: b{blanks},{blanks}x"));
    assert!(matches!(parse(&protocol), Ok(Some(_))));
    for name in ["Upgrade", "Connection"] {
        let list = upgrade_with(&format!("{name}: a{blanks}b,{blanks},x"));
        assert!(matches!(parse(&list), Ok(Some(_))), "{name}");
    }
    let names: Vec<String> = (0..100_000).map(|n| format!("p{n}")).collect();
    let protocols = upgrade_with(&format!("Sec-WebSocket-Protocol: {}", names.join(",")));
    assert!(matches!(parse(&protocols), Ok(Some(_))), "to find one that is there twice takes no comparison of all");
}

/// CVE-2020-7662 and CVE-2020-7663 (websocket-extensions, in JavaScript and Ruby): a string that does not end, of
/// backslashes with a letter each, was tried in every way.
#[test]
fn a_string_without_an_end() {
    for string in ["\\c", "\\\\", "c", "\\\"", "\t"] {
        let value = format!("a; b=\"{}", string.repeat(MEGABYTE / string.len()));
        assert_eq!(extensions::parse([value.as_bytes()]), Err(extensions::Malformed));
    }
    let parameters = format!("a{}", "; b=\"\\c\"".repeat(MEGABYTE / 8));
    assert_eq!(extensions::parse([parameters.as_bytes()]).map(|list| list.len()), Ok(1));
}

/// GHSA-5v72-xg48-5rpm (ws): names that every JavaScript object has crashed the server.
#[test]
fn names_that_mean_something_elsewhere() {
    for compression in [None, Some(Compression::default())] {
        for name in ["constructor", "__proto__", "toString", "hasOwnProperty", "permessage-deflate; constructor"] {
            let settings = Settings { compression, ..Settings::default() };
            let mut client = Client::with(true, settings, Limits::default());
            client.feed(upgrade_with(&format!("Sec-WebSocket-Extensions: {name}\r\n__proto__: 1")));
            assert_eq!(client.sent_text(), SWITCHING, "{name}");
        }
    }
    let (sent, _) = refused(upgrade_with("Sec-WebSocket-Extensions: ,;constructor"));
    assert!(sent.starts_with("HTTP/1.1 400 "), "{sent}");
}

/// CVE-2018-12541 (Vert.x): the body of an opening request was buffered whole. CVE-2026-69243 (aiohttp): it was taken
/// for what comes next on the connection, where a proxy in front had seen a body.
#[test]
fn a_body_is_neither_buffered_nor_taken_for_something_else() {
    let hidden = "GET /chat HTTP/1.1\r\nHost: a\r\n\r\n";
    for (fields, status) in [
        (format!("Content-Length: {}", hidden.len()), "413"),
        ("Content-Length: 1000000000".to_owned(), "413"),
        ("Transfer-Encoding: chunked".to_owned(), "413"),
        (format!("Transfer-Encoding: chunked\r\nContent-Length: {}", hidden.len()), "400"),
    ] {
        for request in [upgrade_with(&fields), format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")] {
            let mut client = Client::connected();
            client.feed([request.as_bytes(), hidden.as_bytes(), &text("hidden")].concat());
            let sent = client.sent_text();
            assert!(sent.starts_with(&format!("HTTP/1.1 {status} ")), "{fields}: {sent}");
            assert_eq!(sent.matches("HTTP/1.1 ").count(), 1, "one answer: {sent}");
            assert_eq!(client.take_log(), [""; 0]);
            client.feed(vec![b'x'; MEGABYTE]);
            assert_eq!(client.held(), 0);
        }
    }
}

/// CVE-2019-17567 (Apache httpd): after a no to the upgrade, what followed went through all the same.
#[test]
fn nothing_goes_through_behind_a_no() {
    let second = [UPGRADE.as_bytes(), &text("hello")].concat();
    for first in [
        UPGRADE.replace("Version: 13", "Version: 777"),
        UPGRADE.replace("/chat", "/forbidden"),
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nUpgrade: h2c\r\n\r\n".to_owned(),
    ] {
        for together in [true, false] {
            let mut client = Client::connected();
            if together {
                client.feed([first.as_bytes(), &second].concat());
            } else {
                client.feed(&first).feed(&second);
            }
            let sent = client.sent_text();
            assert_eq!(sent.matches("HTTP/1.1 ").count(), 1, "{sent}");
            assert!(!sent.starts_with("HTTP/1.1 101 "), "{sent}");
            assert_eq!(client.take_log(), [""; 0]);
            assert!(!client.harness.is_open());
        }
    }
}

/// Where a request ends, everybody on the way must agree on. CVE-2022-32214, CVE-2022-35256 (llhttp): an LF or a field
/// without CRLF ended a line. CVE-2023-30589 (llhttp): so did a CR. CVE-2021-22959 (llhttp): a blank before the colon.
/// CVE-2022-32213, CVE-2022-32215 (llhttp): a folded `Transfer-Encoding`. CVE-2021-32715 (hyper): `Content-Length: +1`.
#[test]
fn lines_that_somebody_else_reads_otherwise() {
    for fields in [
        "X: y\nContent-Length: 9",
        "X: y\rContent-Length: 9",
        "X: \rTransfer-Encoding: chunked",
        "Content-Length : 9",
        "Content-Length\t: 9",
        "Transfer-Encoding: chunked\r\n , identity",
        "X: y\r\n Content-Length: 9",
        "Content-Length: +0",
        "Content-Length: 0\r\nContent-Length: 9",
        "Content-Length: 0,9",
        "X: y\0z",
    ] {
        let (sent, error) = refused([upgrade_with(fields).as_bytes(), &text("hidden")].concat());
        assert!(sent.starts_with("HTTP/1.1 400 "), "{fields:?}: {sent}");
        assert!(matches!(error, HandshakeError::Malformed(_)), "{fields:?}: {error}");
    }
}

/// CVE-2026-34525 (aiohttp): which of two `Host` fields counts, a proxy and a server may see differently.
#[test]
fn two_hosts() {
    for host in ["Host: server.example.com", "host: other.example"] {
        let (sent, error) = refused(upgrade_with(host));
        assert!(sent.starts_with("HTTP/1.1 400 "), "{sent}");
        assert_eq!(error, HandshakeError::BadHost("there more than once"));
    }
}

/// CVE-2020-7693 (sockjs): an `Upgrade: websocket` where none was expected crashed the server.
#[test]
fn an_upgrade_out_of_the_blue() {
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ] {
        let (sent, _) = refused(request);
        assert!(sent.starts_with("HTTP/1.1 4"), "{sent}");
    }
}

/// CVE-2026-54466 (websocket-driver): the drafts before RFC 6455 have lengths without an end. None of them is spoken.
#[test]
fn drafts_are_not_spoken() {
    let hixie = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n^n:ds[4U";
    for request in [hixie.to_owned(), UPGRADE.replace("Version: 13", "Version: 8"), UPGRADE.replace("13", "0")] {
        let (sent, error) = refused([request.as_bytes(), &[0x80; 100]].concat());
        assert!(sent.starts_with("HTTP/1.1 426 ") && sent.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{sent}");
        assert_eq!(error, HandshakeError::UnsupportedVersion);
    }
}

/// CVE-2018-14732, CVE-2025-30360 (webpack-dev-server) and CVE-2025-24010 (Vite): pages of any site, then only those of
/// any IP address, could open a WebSocket to a server on the user's own machine, and read along.
#[test]
fn pages_of_any_site() {
    let local = OriginPolicy::allow_list(["http://localhost:8080"], NoOrigin::Refuse).unwrap();
    for (origins, host) in [
        (OriginPolicy::same_origin(NoOrigin::Refuse), "localhost:8080"),
        (local.clone(), "localhost:8080"),
        (local, "evil.example:8080"), // a name that leads here
    ] {
        for origin in ["http://evil.example", "http://192.0.2.1", "http://127.0.0.1:8080", "null", "http://localhost"] {
            let settings = Settings { origins: origins.clone(), ..Settings::default() };
            let mut client = Client::with(true, settings, Limits::default());
            client.feed(upgrade_with(&format!("Origin: {origin}")).replace("server.example.com", host));
            assert!(client.sent_text().starts_with("HTTP/1.1 403 "), "{origin} to {host}");
            assert_eq!(client.take_log(), [""; 0]);
        }
    }
}

/// CVE-2022-3215 (SwiftNIO): a line end in a value let whoever had a say in it write the rest of the answer.
#[test]
fn line_ends_in_an_answer() {
    for request in [UPGRADE.replace("/chat", "/injected"), "GET /injected HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()] {
        let mut client = Client::connected();
        client.feed(request);
        assert!(!client.sent_text().contains("X-B"));
        let reason = client.harness.close_reason().unwrap();
        assert_eq!(reason.blame(), Some(Blame::Caller));
        assert_eq!(reason.error().unwrap().downcast_ref(), Some(&InvalidAnswer::Header("X-A".to_owned())));
    }
    // What a client says is never repeated in an answer of this crate's own.
    let echo = "GET /\u{1b}<script> HTTP/1.1\r\nHost: <script>\r\nOrigin: <script>\r\n\r\n";
    let (sent, _) = refused(echo);
    assert!(!sent.contains("script"), "{sent}");
}

/// The advisories that a text names, in order, each once.
fn advisories(text: &str) -> BTreeSet<&str> {
    let words = text.split(|byte: char| !byte.is_ascii_alphanumeric() && byte != '-');
    words.filter(|word| ["CVE-", "GHSA-"].iter().any(|kind| word.len() > 8 && word.starts_with(kind))).collect()
}

#[test]
fn the_page_names_these_tests_and_no_others() {
    let read = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path);
    let page = read("docs/vulnerabilities.md");
    let (tested, impossible) = page.split_once("## What can't happen here").expect("two parts");
    for row in tested.lines().filter(|row| row.starts_with("| CVE") || row.starts_with("| GHSA")) {
        let shown = row.split('`').filter_map(|code| code.split_once("::"));
        let mut sources = shown.map(|(file, name)| {
            let source = read(file);
            assert!(source.contains(&format!("fn {name}()")), "{file} has no {name}");
            let test = source.find(&format!("fn {name}()")).expect("it is there");
            let comment = source[..test].rfind("\n}\n").unwrap_or_default();
            source[comment..test].to_owned()
        });
        let named: Vec<&str> = advisories(row).into_iter().collect();
        assert!(!named.is_empty(), "{row}");
        let is_named = |comment: String| named.iter().all(|advisory| comment.contains(advisory));
        assert!(sources.any(is_named) || row.contains("cost_tests"), "no test of this row says so: {row}");
    }
    let files = ["tests/vulnerabilities.rs", "tests/vulnerabilities_frames.rs", "tests/vulnerabilities_client.rs"];
    let sources = files.map(read).concat();
    assert_eq!(advisories(tested), advisories(&sources), "the page and the tests");
    assert!(advisories(impossible).is_disjoint(&advisories(&sources)));
}
