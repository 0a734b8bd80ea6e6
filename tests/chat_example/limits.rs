//! Its limits.

use std::time::Duration;

use super::*;

#[test]
fn names_rooms_and_messages_have_a_length() {
    let chat = Chat::start(&["--text", "20", "--rooms", "2"]);
    let mut ann = chat.page();
    for name in ["", "x".repeat(25).as_str(), "two words", "a/b", "line\nend", "\u{202e}nna", "<i>", "a:"] {
        ann.ask(&json!({"do": "name", "name": name}));
        assert_eq!(ann.error(), "a name has 1 to 24 letters, digits, '-', '_' or '.'", "{name:?}");
    }
    ann.ask(&json!({"do": "join", "room": "lobby"}));
    assert_eq!(ann.error(), "say your name first");
    let name = "ü".repeat(24); // characters, not bytes
    ann.ask(&json!({"do": "name", "name": name}));
    assert_eq!(ann.told(), json!({"is": "welcome", "name": name}));
    ann.ask(&json!({"do": "name", "name": "other"}));
    assert!(ann.error().starts_with("you are "));
    ann.ask(&json!({"do": "join", "room": "a/json"}));
    assert!(ann.error().starts_with("a name has"));
    ann.join("a");
    ann.join("b");
    ann.join("a"); // again
    ann.ask(&json!({"do": "join", "room": "c"}));
    assert_eq!(ann.error(), "you can be in 2 rooms at a time");
    ann.say("a", &"🦀".repeat(20));
    assert_eq!(ann.heard(&name), "🦀".repeat(20));
    ann.say("a", &"x".repeat(21));
    assert_eq!(ann.error(), "a message has at most 20 characters");
    ann.say("c", "there");
    assert_eq!(ann.error(), "join the room first");
}

#[test]
fn who_is_too_fast_is_read_more_slowly_and_loses_nothing() {
    let chat = Chat::start(&["--rate", "20"]);
    let mut ann = chat.browser("ann", "lobby");
    let mut carl = chat.nc("carl", "lobby");
    assert_eq!(ann.told()["is"], "joined");
    for speaker in ["ann", "carl"] {
        let start = now();
        for number in 0..30 {
            match speaker {
                "ann" => ann.say("lobby", &number.to_string()),
                _ => carl.say(&number.to_string()),
            }
        }
        for number in 0..30 {
            assert_eq!(ann.heard(speaker), number.to_string());
        }
        // Ten at once, at most, and the others at their rate.
        assert!(start.elapsed() >= Duration::from_millis(950), "30 messages in {:?}", start.elapsed());
    }
}

#[test]
fn nobody_waits_for_who_is_too_fast() {
    let chat = Chat::start(&["--rate", "2"]);
    let (mut ann, mut bob) = (chat.browser("ann", "lobby"), chat.browser("bob", "lobby"));
    for number in 0..60 {
        ann.say("lobby", &number.to_string()); // which will take half a minute
    }
    assert_eq!(bob.heard("ann"), "0");
    bob.say("lobby", "hello");
    let heard: Vec<Value> = std::iter::repeat_with(|| bob.told()).take_while(|told| told["name"] == "ann").collect();
    assert!(heard.len() < 59, "bob was heard before ann had come to her end");
}

#[test]
fn a_large_room_is_not_told_who_comes_and_goes() {
    let chat = Chat::start(&["--notices", "2"]);
    let mut ann = chat.browser("ann", "lobby");
    let mut bob = chat.browser("bob", "lobby");
    assert_eq!(ann.told()["count"], 2);
    let mut carl = chat.browser("carl", "lobby");
    carl.say("lobby", "hello");
    assert_eq!((ann.heard("carl"), bob.heard("carl")), ("hello".to_owned(), "hello".to_owned()));
    carl.0.close(None).unwrap();
    while carl.0.read().is_ok() {}
    ann.ask(&json!({"do": "who", "room": "lobby"}));
    assert_eq!(ann.told()["count"], 2, "and not that carl has left");
    drop(bob);
    assert_eq!(ann.told(), json!({"is": "left", "room": "lobby", "name": "bob", "count": 1}));
}
