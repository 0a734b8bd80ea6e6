//! What members tell each other.

use super::*;

#[test]
fn two_browsers_and_a_line_client_talk_in_one_room() {
    let chat = Chat::start(&[]);
    let mut ann = chat.browser("ann", "lobby");
    let mut bob = chat.browser("bob", "lobby");
    assert_eq!(ann.told(), json!({"is": "joined", "room": "lobby", "name": "bob", "count": 2}));
    let mut carl = chat.nc("carl", "lobby");
    for browser in [&mut ann, &mut bob] {
        assert_eq!(browser.told(), json!({"is": "joined", "room": "lobby", "name": "carl", "count": 3}));
    }

    ann.say("lobby", "héllo 🦀 <b>\"you\"</b>");
    let said = json!({"is": "message", "room": "lobby", "number": 1, "name": "ann", "text": "héllo 🦀 <b>\"you\"</b>"});
    assert_eq!((ann.told(), bob.told()), (said.clone(), said), "the author too: it shows that it went out");
    assert_eq!(carl.line(), "[lobby] ann: héllo 🦀 <b>\"you\"</b>");

    carl.say("hi ann\r"); // as telnet ends its lines
    for browser in [&mut ann, &mut bob] {
        let told = browser.told();
        assert_eq!((&told["number"], &told["text"]), (&json!(2), &json!("hi ann")), "{told}");
    }
    bob.say("lobby", "bye");
    assert_eq!(carl.line(), "[lobby] bob: bye", "not what it said itself");
    assert_eq!((ann.heard("bob"), bob.heard("bob")), ("bye".to_owned(), "bye".to_owned()));

    drop(bob);
    assert_eq!(ann.told(), json!({"is": "left", "room": "lobby", "name": "bob", "count": 2}));
    assert_eq!(carl.line(), "[lobby] * bob has left, 2 here");
    carl.say("/quit\nnot said any more");
    assert_eq!(carl.rest(), "");
    assert_eq!(ann.told(), json!({"is": "left", "room": "lobby", "name": "carl", "count": 1}));
}

#[test]
fn rooms_do_not_hear_each_other() {
    let chat = Chat::start(&[]);
    let mut ann = chat.browser("ann", "red");
    ann.join("blue");
    let mut bob = chat.browser("bob", "red");
    assert_eq!(ann.told()["is"], "joined");
    let mut carl = chat.nc("carl", "blue");
    assert_eq!(ann.told()["is"], "joined");
    ann.say("red", "to red");
    ann.say("blue", "to blue");
    assert_eq!((ann.heard("ann"), ann.heard("ann")), ("to red".to_owned(), "to blue".to_owned()));
    assert_eq!(bob.heard("ann"), "to red");
    assert_eq!(carl.line(), "[blue] ann: to blue");
    ann.ask(&json!({"do": "leave", "room": "red"}));
    assert_eq!(ann.told(), json!({"is": "parted", "room": "red"}));
    assert_eq!(bob.told()["is"], "left");
    bob.say("red", "alone");
    assert_eq!(bob.heard("bob"), "alone");
    ann.say("red", "am I there?");
    assert_eq!(ann.error(), "join the room first", "and nothing of red before it");
}

#[test]
fn a_line_client_talks_where_it_joined_last_and_a_half_close_says_its_last_line() {
    let chat = Chat::start(&[]);
    let mut ann = chat.browser("ann", "red");
    ann.join("blue");
    let mut carl = chat.nc("carl", "red");
    assert_eq!(ann.told()["room"], "red");
    carl.say("/join blue");
    assert_eq!(carl.line(), "[blue] * 2 here: ann, carl");
    assert_eq!(ann.told()["room"], "blue");
    carl.say("one");
    assert_eq!(ann.told()["room"], "blue");
    carl.say("/join red");
    assert_eq!(carl.line(), "[red] * 2 here: ann, carl", "it was there already, and nobody is told");
    carl.say("/who blue\n/leave\n/who\n/help\n/dance");
    assert_eq!(carl.line(), "[blue] * 2 here: ann, carl");
    assert_eq!(carl.line(), "[red] * you have left");
    assert_eq!(carl.line(), "[blue] * 2 here: ann, carl", "which is where it talks now");
    assert!(carl.line().contains("/leave"));
    assert_eq!(carl.line(), "! no such command: /help tells which there are");
    assert_eq!(ann.told(), json!({"is": "left", "room": "red", "name": "carl", "count": 1}));
    carl.send(b"the last one");
    carl.0.get_mut().shutdown(Shutdown::Write).unwrap();
    assert_eq!(ann.heard("carl"), "the last one");
    assert_eq!(ann.told()["is"], "left");
    assert_eq!(carl.rest(), "");
}

#[test]
fn a_room_and_a_name_are_free_again_when_their_last_has_gone() {
    let chat = Chat::start(&[]);
    let mut ann = chat.browser("ann", "lobby");
    ann.say("lobby", "first");
    assert_eq!(ann.told()["number"], 1);
    let mut other = chat.page();
    other.ask(&json!({"do": "name", "name": "ann"}));
    assert_eq!(other.error(), "that name is taken");
    ann.0.close(None).unwrap();
    while ann.0.read().is_ok() {}
    other.ask(&json!({"do": "who", "room": "lobby"}));
    assert_eq!(other.error(), "nobody is there");
    other.ask(&json!({"do": "name", "name": "ann"}));
    assert_eq!(other.told()["is"], "welcome");
    other.join("lobby");
    other.say("lobby", "anew");
    assert_eq!(other.told()["number"], 1);
}
