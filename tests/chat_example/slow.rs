//! Who does not read.

use socket2::SockRef;

use super::*;

/// Members who read as fast as it comes, and one who does not read, with a small window; and what they are told.
fn fill(chat: &Chat, messages: usize) -> (Browser, Browser) {
    let mut ann = chat.browser("ann", "lobby");
    let slow = chat.page();
    SockRef::from(slow.0.get_ref()).set_recv_buffer_size(4096).unwrap();
    let mut slow = Browser(slow.0);
    slow.ask(&json!({"do": "name", "name": "slow"}));
    assert_eq!(slow.told()["is"], "welcome");
    slow.join("lobby");
    assert_eq!(ann.told()["is"], "joined");
    let text = "x".repeat(20_000);
    for number in 1..=messages {
        ann.say("lobby", &text);
        let told = ann.told();
        assert_eq!((&told["is"], &told["number"]), (&json!("message"), &json!(number)), "{:?}", told["is"]);
    }
    (ann, slow)
}

#[test]
fn who_does_not_read_misses_the_oldest_if_that_is_the_policy() {
    const MESSAGES: usize = 300;
    let chat = Chat::start(&["--rate", "10000", "--text", "20000", "--slow", "drop-oldest", "--waiting", "10"]);
    let (mut ann, mut slow) = fill(&chat, MESSAGES);
    let mut numbers = Vec::new();
    while numbers.last() != Some(&MESSAGES) {
        numbers.push(usize::try_from(slow.told()["number"].as_u64().unwrap()).unwrap());
    }
    println!("of {MESSAGES}, {} came: {numbers:?}", numbers.len());
    assert!(numbers.is_sorted_by(|a, b| a < b), "in order, none twice: {numbers:?}");
    assert!(numbers.len() < MESSAGES, "some were dropped");
    assert_eq!(numbers[0], 1, "what was on its way already came first");
    assert_eq!(numbers[numbers.len() - 10..], Vec::from_iter(MESSAGES - 9..=MESSAGES), "the newest ten had waited");
    slow.say("lobby", "back again");
    assert_eq!((ann.heard("slow"), slow.heard("slow")), ("back again".to_owned(), "back again".to_owned()));
}

#[test]
fn who_does_not_read_is_closed_otherwise_and_the_others_are_told() {
    let chat = Chat::start(&["--rate", "10000", "--text", "20000", "--waiting", "10"]);
    let mut ann = chat.browser("ann", "lobby");
    let slow = chat.page();
    SockRef::from(slow.0.get_ref()).set_recv_buffer_size(4096).unwrap();
    let mut slow = Browser(slow.0);
    slow.ask(&json!({"do": "name", "name": "slow"}));
    slow.told();
    slow.join("lobby");
    assert_eq!(ann.told()["is"], "joined");
    let text = "x".repeat(20_000);
    let mut said = 0;
    loop {
        ann.say("lobby", &text);
        said += 1;
        match ann.told() {
            told if told["is"] == "message" => assert!(said < 100, "it is still there"),
            told => break assert_eq!(told, json!({"is": "left", "room": "lobby", "name": "slow", "count": 1})),
        }
    }
    assert!(said > 10);
    while slow.0.read().is_ok() {}
}

#[test]
fn a_line_client_that_does_not_read_is_closed_too() {
    let chat = Chat::start(&["--rate", "10000", "--text", "20000", "--waiting", "10"]);
    let mut ann = chat.browser("ann", "lobby");
    let carl = chat.nc("carl", "lobby");
    SockRef::from(carl.0.get_ref()).set_recv_buffer_size(4096).unwrap();
    assert_eq!(ann.told()["is"], "joined");
    let text = "x".repeat(20_000);
    for said in 1.. {
        ann.say("lobby", &text);
        if ann.told()["is"] == "left" {
            break;
        }
        assert!(said < 100, "it is still there");
    }
    drop(carl);
}
