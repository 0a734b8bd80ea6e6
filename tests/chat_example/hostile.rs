//! What strangers send.

use super::*;

#[test]
fn what_is_no_request_is_refused_and_nobody_else_notices() {
    let chat = Chat::start(&["--rate", "1000"]);
    let mut ann = chat.browser("ann", "lobby");
    let mut mallory = chat.page();
    let deep = "[".repeat(3000);
    for text in [
        "",
        "null",
        "[]",
        "{}",
        "{\"do\":\"shout\"}",
        "{\"do\":\"name\"}",
        "{\"do\":\"name\",\"name\":7}",
        "{\"do\":",
        "{\"do\":\"who\",\"room\":\"lobby\",\"__proto__\":{}}",
        "{\"do\":\"say\",\"room\":\"lobby\"}",
        deep.as_str(),
    ] {
        mallory.0.send(Message::text(text)).unwrap();
        let error = mallory.error();
        assert!(error.starts_with("that is no request: "), "{text}: {error}");
    }
    mallory.say("lobby", "not there");
    assert_eq!(mallory.error(), "join the room first");
    mallory.ask(&json!({"do": "leave", "room": "lobby"}));
    assert_eq!(mallory.error(), "you are not in that room");
    mallory.0.send(Message::binary(vec![0; 10])).unwrap();
    assert_eq!(mallory.closed(), CloseCode::Unsupported);

    let mut mallory = chat.page();
    mallory.0.send(Message::text("x".repeat(100_000))).unwrap();
    assert_eq!(mallory.closed(), CloseCode::Size);
    ann.say("lobby", "all is quiet");
    assert_eq!(ann.heard("ann"), "all is quiet");
}

#[test]
fn a_text_that_would_move_a_terminals_cursor_is_made_harmless() {
    let chat = Chat::start(&[]);
    let (mut ann, mut carl) = (chat.browser("ann", "lobby"), chat.nc("carl", "lobby"));
    assert_eq!(ann.told()["is"], "joined");
    ann.say("lobby", "a\u{1b}[2Jb\r\n[lobby] bob: I never said\u{202e}this\u{7}\u{9b}");
    assert_eq!(carl.line(), "[lobby] ann: a [2Jb  [lobby] bob: I never said this  ");
    assert_eq!(ann.heard("ann"), "a [2Jb  [lobby] bob: I never said this  ");
    ann.say("lobby", " \t ");
    carl.say("\u{1b}");
    carl.send(b"\xff\xfe caf\xc3\n");
    assert_eq!(ann.heard("carl"), "\u{fffd}\u{fffd} caf\u{fffd}", "and nothing of what is blank");
    ann.say("lobby", "<script>alert(1)</script>");
    assert_eq!(ann.heard("ann"), "<script>alert(1)</script>", "which is the page's to show as text");
    assert_eq!(carl.line(), "[lobby] ann: <script>alert(1)</script>");
}

#[test]
fn an_endless_line_is_cut_off() {
    let chat = Chat::start(&["--text", "100"]);
    let mut ann = chat.browser("ann", "lobby");
    let mut mallory = chat.terminal();
    mallory.send(&[b'x'; 464]);
    assert_eq!(mallory.line(), "! that line is too long");
    assert_eq!(mallory.rest(), "");
    let mut carl = chat.nc("carl", "lobby");
    assert_eq!(ann.told()["is"], "joined");
    carl.say(&"y".repeat(100));
    assert_eq!(ann.heard("carl"), "y".repeat(100));
}

#[test]
fn lines_that_ask_for_nothing_are_answered_and_an_unnamed_member_is_in_no_room() {
    let chat = Chat::start(&[]);
    let mut carl = chat.terminal();
    for (line, answer) in [
        ("hello", "! join a room first"),
        ("/who", "! which room?"),
        ("/leave", "! which room?"),
        ("/join", "! a name has 1 to 24 letters, digits, '-', '_' or '.'"),
        ("/join lobby", "! say your name first"),
        ("/who lobby", "! nobody is there"),
        ("/", "! no such command: /help tells which there are"),
        ("/name", "! a name has 1 to 24 letters, digits, '-', '_' or '.'"),
    ] {
        carl.say(line);
        assert_eq!(carl.line(), answer, "{line}");
    }
    carl.say("\n\r\n/quit");
    assert_eq!(carl.rest(), "");
}
