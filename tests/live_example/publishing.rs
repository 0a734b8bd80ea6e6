//! Who may publish, and what.

use super::*;

const SECRET: [(&str, &str); 1] = [("Authorization", "Bearer secret")];

#[test]
fn one_at_a_time_publishes_with_the_token() {
    let live = Live::start(&["--token", "secret"]);
    for wrong in ["Bearer ", "Bearer secre", "Bearer secret1", "Bearer Secret", "secret", "Basic secret"] {
        assert_eq!(live.refusal("/publish", &[("Authorization", wrong)]), 401, "{wrong}");
    }
    assert_eq!(live.refusal("/publish", &[]), 401);
    assert_eq!(live.refusal("/elsewhere", &SECRET), 404);
    let first = live.publisher("secret");
    assert_eq!(live.refusal("/publish", &SECRET), 409);
    assert_eq!(live.refusal("/publish", &[]), 401, "who does not know the token is not told");
    drop(first);
    let end = support::now() + DEADLINE;
    while let Err(error) = live.open("/publish", &SECRET) {
        assert!(support::now() < end, "{error}");
    }
}

#[test]
fn nobody_publishes_where_there_is_a_demonstration() {
    let live = Live::start(&["--demo"]);
    for token in ["Bearer ", "Bearer 00000000000000000000000000000000"] {
        assert_eq!(live.refusal("/publish", &[("Authorization", token)]), 401);
    }
}

#[test]
fn pages_of_other_sites_do_not_watch() {
    let live = Live::start(&["--demo"]);
    assert_eq!(live.refusal("/watch", &[("Origin", "http://evil.example")]), 403);
    assert!(live.open("/watch", &[("Origin", &format!("http://{}", live.address))]).is_ok());
}

#[test]
fn another_publisher_goes_on_with_a_key_frame_and_the_next_number() {
    let live = Live::start(&["--token", "secret"]);
    let mut viewer = live.viewer();
    let mut publisher = live.publisher("secret");
    publisher.publish_many(3, 10);
    for number in 1..=3 {
        assert_eq!(viewer.next().number, number);
    }
    publisher.socket.close(None).unwrap();
    while publisher.socket.read().is_ok() {}

    let mut hasty = live.publisher("secret");
    hasty.publish(false);
    assert_eq!(read_close(&mut hasty.socket), (CloseCode::Policy, "a key frame comes first".to_owned()));
    while hasty.socket.read().is_ok() {}
    let mut publisher = live.publisher("secret");
    publisher.publish_many(2, 10);
    for (number, is_key) in [(4, true), (5, false)] {
        assert_eq!(viewer.next(), Frame { number, is_key });
    }
    assert_eq!(viewer.picture.cells, publisher.states[1]);
}

#[test]
fn what_is_no_frame_ends_its_publisher_and_the_viewers_stay() {
    let live = Live::start(&["--token", "secret"]);
    let mut viewer = live.viewer();
    for (message, code) in [
        (Message::binary(vec![]), CloseCode::Invalid),
        (Message::binary(vec![2, 0]), CloseCode::Invalid),
        (Message::text("ok"), CloseCode::Unsupported),
        (Message::binary(vec![1; (1 << 20) + 1]), CloseCode::Size),
    ] {
        let mut publisher = live.publisher("secret");
        let _ = publisher.socket.send(message); // the largest may not be read to its end
        assert_eq!(read_close(&mut publisher.socket).0, code);
        while publisher.socket.read().is_ok() {}
    }
    let mut publisher = live.publisher("secret");
    publisher.publish_many(1, 1);
    assert_eq!(viewer.next(), Frame { number: 1, is_key: true });
}

#[test]
fn changes_without_end_are_not_kept() {
    let live = Live::start(&["--token", "secret"]);
    let mut publisher = live.publisher("secret");
    publisher.publish_many(1000, 1000);
    publisher.publish(false);
    let (code, reason) = read_close(&mut publisher.socket);
    assert_eq!((code, &*reason), (CloseCode::Policy, "it is too long since the last key frame"));
    while publisher.socket.read().is_ok() {}
    // Neither are large ones: 16 MiB and a bit.
    let mut publisher = live.publisher("secret");
    publisher.publish(true);
    for _ in 0..17 {
        publisher.send(vec![0; 1 << 20]);
    }
    assert_eq!(read_close(&mut publisher.socket).0, CloseCode::Policy);
}

#[test]
fn a_viewer_that_says_something_else_is_closed() {
    let live = Live::start(&["--demo"]);
    for message in [Message::text("more"), Message::binary(vec![1])] {
        let mut viewer = live.viewer();
        viewer.socket.send(message).unwrap();
        assert_eq!(read_close(&mut viewer.socket).0, CloseCode::Unsupported);
    }
}
