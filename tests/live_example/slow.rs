//! Viewers who take frames more slowly than they come.

use super::*;

/// The viewer's next frame is this one, and the picture the publisher's of that frame.
fn expect(viewer: &mut Viewer, publisher: &Publisher, number: usize, is_key: bool) {
    let frame = viewer.take();
    assert_eq!(frame, Frame { number: u64::try_from(number).unwrap(), is_key });
    assert!(viewer.picture.cells == publisher.states[number - 1], "the picture of frame {number}");
}

#[test]
fn who_has_not_read_for_a_while_goes_on_at_the_latest_key_frame() {
    let live = Live::start(&["--token", "secret", "--behind", "8"]);
    let mut publisher = live.publisher("secret");
    let (mut slow, mut quick) = (live.viewer(), live.viewer());
    for number in 1..=105 {
        publisher.publish_many(1, 10);
        assert_eq!(quick.next().number, number, "whoever reads misses nothing");
    }
    // What was under way when it stopped reading, then the latest key frame: 101.
    for number in 1..=8 {
        expect(&mut slow, &publisher, number, number == 1);
    }
    slow.ok();
    for number in 101..=105 {
        expect(&mut slow, &publisher, number, number == 101);
        slow.ok();
    }
    for number in 106..=125 {
        publisher.publish_many(1, 10);
        expect(&mut slow, &publisher, number, number % 10 == 1);
        slow.ok();
    }
}

#[test]
fn who_is_behind_a_little_misses_nothing_though_a_key_frame_has_come_meanwhile() {
    let live = Live::start(&["--token", "secret", "--behind", "8"]);
    let mut publisher = live.publisher("secret");
    let (mut slow, mut quick) = (live.viewer(), live.viewer());
    for number in 1..=12 {
        publisher.publish_many(1, 5);
        assert_eq!(quick.next().number, number);
    }
    for number in 1..=12 {
        expect(&mut slow, &publisher, number, number % 5 == 1); // of which eight were under way
        slow.ok();
    }
}

#[test]
fn who_is_behind_a_little_gets_the_changes_it_lacks_and_no_key_frame_again() {
    let live = Live::start(&["--token", "secret", "--behind", "3"]);
    let mut publisher = live.publisher("secret");
    let mut viewer = live.viewer();
    publisher.publish_many(50, 100); // the first of which is a key frame, and the only one
    for number in 1..=50 {
        expect(&mut viewer, &publisher, number, number == 1);
        viewer.ok();
    }
}

#[test]
fn no_more_is_under_way_to_a_viewer_than_it_may_be() {
    let live = Live::start(&["--token", "secret", "--behind", "5"]);
    let mut publisher = live.publisher("secret");
    let (mut greedy, mut viewer) = (live.viewer(), live.viewer());
    for _ in 0..100 {
        greedy.ok(); // to nothing: it is owed no frame for that
    }
    greedy.socket.send(Message::Ping("heard?".into())).unwrap();
    assert_eq!(greedy.socket.read().unwrap(), Message::Pong("heard?".into()));
    publisher.publish_many(40, 1000);
    for number in 1..=40 {
        expect(&mut viewer, &publisher, number, number == 1);
        viewer.ok();
    }
    for number in 1..=5 {
        expect(&mut greedy, &publisher, number, number == 1);
    }
    publisher.publish(true); // which it would get now, if there were room for another one
    expect(&mut viewer, &publisher, 41, true);
    greedy.ok();
    expect(&mut greedy, &publisher, 41, true);
}
