use super::*;

const CONNECT: &str = "ws://server.example.com/chat";
/// What answers the nonce of RFC 6455 §1.3.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const GOOD: &str =
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

fn check_as(connect: &Connect, head: &str) -> Result<(), AnswerError> {
    let accept = connect.write(*b"the sample nonce", &mut Vec::new()).unwrap();
    assert_eq!(accept.as_bytes(), ACCEPT.as_bytes());
    Answer::parse(head.as_bytes(), 10)?.check(connect, accept)
}

fn check(head: &str) -> Result<(), AnswerError> {
    check_as(&Connect::to(CONNECT).unwrap(), head)
}

/// A 101 with these header fields.
fn fields(fields: &str) -> Result<(), AnswerError> {
    check(&format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n"))
}

#[test]
fn answers_that_open_a_websocket() {
    assert_eq!(fields(GOOD), Ok(()));
    assert_eq!(fields(&GOOD.to_ascii_lowercase().replace("s3pplmbitxaq9kygzzhzrbk+xoo=", ACCEPT)), Ok(()));
    assert_eq!(
        fields(&GOOD.replace("websocket\r", "WebSocket\r").replace(": Upgrade", ": keep-alive, UPGRADE")),
        Ok(())
    );
    assert_eq!(fields(&format!("Server: x\r\n{GOOD}Set-Cookie: a\r\n")), Ok(()));
    assert_eq!(check(&format!("HTTP/1.1 101\r\n{GOOD}\r\n")), Ok(()), "the reason phrase may be missing");
}

#[test]
fn what_breaks_the_upgrade() {
    for upgrade in ["", "Upgrade: h2c\r\n", "Upgrade: websocket, h2c\r\n", "Upgrade: websocket/13\r\n"] {
        assert_eq!(fields(&GOOD.replace("Upgrade: websocket\r\n", upgrade)), Err(AnswerError::NoUpgrade), "{upgrade}");
    }
    for connection in ["", "Connection: close\r\n", "Connection: Upgraded\r\n", "Connection:\r\n"] {
        let head = GOOD.replace("Connection: Upgrade\r\n", connection);
        assert_eq!(fields(&head), Err(AnswerError::NoConnectionUpgrade), "{connection}");
    }
    assert_eq!(check(&format!("HTTP/1.0 101 X\r\n{GOOD}\r\n")), Err(AnswerError::HttpVersion));
}

#[test]
fn what_is_no_accept() {
    let line = format!("Sec-WebSocket-Accept: {ACCEPT}\r\n");
    let wrong = line.replace('s', "S");
    for accept in [
        "",
        "Sec-WebSocket-Accept:\r\n",
        &wrong,
        &line.replace('=', ""),
        &line.replace("\r\n", "=\r\n"),
        &format!("{line}{line}"),
        &format!("{line}{wrong}"),
        &line.replace("\r\n", ", a\r\n"),
    ] {
        assert_eq!(fields(&GOOD.replace(&line, accept)), Err(AnswerError::BadAccept), "{accept}");
    }
}

#[test]
fn what_was_not_offered() {
    for (value, name) in [
        ("permessage-deflate", "permessage-deflate"),
        ("permessage-deflate; client_no_context_takeover", "permessage-deflate"),
        (", x", "x"),
    ] {
        let refused = fields(&format!("{GOOD}Sec-WebSocket-Extensions: {value}\r\n"));
        assert_eq!(refused, Err(AnswerError::Extension(name.to_owned())));
    }
    // RFC 6455 §9.1: what is no list of extensions is refused by who offers nothing, too; a field with nothing in it is none.
    for value in ["", ",", "x; =1", "a b"] {
        let refused = fields(&format!("{GOOD}Sec-WebSocket-Extensions: {value}\r\n"));
        assert_eq!(refused, Err(AnswerError::BadExtensions(extensions::Malformed)), "{value}");
    }
    let subprotocol = |connect: &Connect, line: &str| {
        check_as(connect, &format!("HTTP/1.1 101 X\r\n{GOOD}{line}\r\n")).map_err(|error| error.to_string())
    };
    let none = Connect::to(CONNECT).unwrap();
    let two = none.clone().subprotocol("chat").subprotocol("chat.v2");
    assert_eq!(subprotocol(&two, ""), Ok(()));
    assert_eq!(subprotocol(&two, "Sec-WebSocket-Protocol: chat.v2\r\n"), Ok(()));
    for line in ["chat", ""] {
        assert!(subprotocol(&none, &format!("Sec-WebSocket-Protocol: {line}\r\n")).is_err(), "{line}");
    }
    for line in ["Chat", "", "chat, chat.v2", "chat\r\nSec-WebSocket-Protocol: chat", "other"] {
        assert!(subprotocol(&two, &format!("Sec-WebSocket-Protocol: {line}\r\n")).is_err(), "{line}");
    }
}

#[test]
fn refusals_and_redirects() {
    let refusal = |head: &str| check(head).unwrap_err();
    let error = refusal("HTTP/1.1 403 Forbidden\r\nX-Why: a\r\nX-Why: b\r\n\r\n");
    let AnswerError::Refused(refused) = &error else { panic!("{error}") };
    assert_eq!((refused.status(), refused.header("x-why"), refused.location()), (403, Some(&b"a"[..]), None));
    assert_eq!(refused.headers().count(), 2);
    assert_eq!(error.to_string(), "the server refuses: status 403");
    for status in [301, 302, 303, 307, 308] {
        let error = refusal(&format!("HTTP/1.1 {status} X\r\nLocation: ws://b/\r\n\r\n"));
        assert!(matches!(&error, AnswerError::Redirect(refusal) if refusal.location() == Some("ws://b/")), "{error}");
        assert!(matches!(refusal(&format!("HTTP/1.1 {status} X\r\n\r\n")), AnswerError::Refused(_)), "to nowhere");
    }
    let error = refusal("HTTP/1.1 302 X\r\nLocation: ws://b/room?token=secret\r\n\r\n").to_string();
    assert!(error.contains("ws://b/room") && !error.contains("secret"), "{error}");
    assert!(matches!(refusal("HTTP/1.1 200 OK\r\nLocation: ws://b/\r\n\r\n"), AnswerError::Refused(_)));
    assert_eq!(
        refusal("HTTP/1.1 307 X\r\nLocation: /b\r\n\r\n").to_string(),
        "the server redirects: status 307, to \"/b\""
    );
}

#[test]
fn what_is_no_answer() {
    let malformed = |head: &str| matches!(check(head), Err(AnswerError::Malformed(_)));
    for head in [
        "HTTP/1.1 99 X\r\n\r\n",
        "HTTP/1.1 101 X\nA: b\n\n",
        "HTTP/1.1 101 X\r\n\r\nmore",
        "HTTP/1.1 101 X\r\n",
        "HTTP/1.1 099 X\r\n\r\n",
        "HTTP/1.1 600 X\r\n\r\n",
        "HTTP/1.1 1001 X\r\n\r\n",
        "HTTP/1.1 10x X\r\n\r\n",
        "HTTP/1.1 101 X\r\nA : b\r\n\r\n",
        "HTTP/1.1 101 X\r\n A: b\r\n\r\n",
        "HTTP/1.1 101 X\r\nA: b\r\n c\r\n\r\n",
        "HTTP/1.1 101 X\r\nno colon\r\n\r\n",
    ] {
        assert!(malformed(head), "{head}: {:?}", check(head));
    }
    assert_eq!(check("HTTP/1.1\r\n\r\n"), Err(AnswerError::HttpVersion));
    assert_eq!(check("HTTP/2 101 X\r\n\r\n"), Err(AnswerError::HttpVersion));
    assert!(Answer::parse(b"HTTP/1.1 101 X\r\nA: b\r\n\r\n", usize::MAX).is_ok(), "as many as there can be");
    let many = format!("HTTP/1.1 101 X\r\n{}\r\n", "A: b\r\n".repeat(11));
    assert_eq!(check(&many), Err(AnswerError::TooManyHeaders { limit: 10 }));
}

/// Reads all of `bytes`, in pieces that grow to these lengths: the status of the answer, and how many bytes follow it.
fn read(bytes: &str, ends: impl IntoIterator<Item = usize>, limit: usize) -> Result<Option<(u16, usize)>, AnswerError> {
    let (mut reader, mut taken) = (AnswerReader::default(), 0);
    for end in ends {
        let mut copy = bytes.as_bytes()[taken..end].to_vec();
        let before = copy.len();
        let mut input = Input::new(&mut copy);
        let status = reader.read(&mut input, limit, 10)?.map(|answer| answer.status());
        taken += before - input.len();
        if let Some(status) = status {
            return Ok(Some((status, bytes.len() - taken)));
        }
    }
    Ok(None)
}

#[test]
fn interim_answers_are_skipped_at_every_split() {
    let bytes = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 101 X\r\n\r\nframes";
    let length = bytes.len();
    assert_eq!(read(bytes, [length], 100), Ok(Some((101, 6))));
    assert_eq!(read(bytes, 0..=length, 100), Ok(Some((101, 6))));
    for split in 0..=length {
        assert_eq!(read(bytes, [split, length], length - 6), Ok(Some((101, 6))), "at {split}");
        let limit = length - 7;
        assert_eq!(read(bytes, [split, length], limit), Err(AnswerError::TooLarge { limit }), "at {split}");
    }
    assert_eq!(read(bytes, 0..=length - 7, 100), Ok(None));
    let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(5);
    assert_eq!(read(&endless, [endless.len()], 100), Err(AnswerError::TooLarge { limit: 100 }));
    assert_eq!(read(&endless, [endless.len()], 4 * 25), Err(AnswerError::TooLarge { limit: 100 }));
}

#[test]
fn another_protocol_is_refused_at_its_first_byte() {
    for greeting in ["S", "SSH-2.0-x\r\n", "\x16\x03", "HTTS", "\r\nHTTP/1.1 101 X\r\n\r\n", "http/1.1 101 X\r\n\r\n"] {
        assert!(matches!(read(greeting, [greeting.len()], 100), Err(AnswerError::Malformed(_))), "{greeting:?}");
    }
    assert_eq!(read("HTT", [0, 1, 2, 3], 100), Ok(None));
    assert!(matches!(read("HTTP/1.1 101 X\n", [15], 100), Err(AnswerError::Malformed(_))));
}
