//! Viewers, one and two hundred, in time and late.

use super::*;

#[test]
fn a_viewer_sees_every_frame_and_each_picture_is_the_publishers() {
    let live = Live::start(&["--demo", "--rate", "200", "--key-every", "20", "--behind", "1000"]);
    let mut viewer = live.viewer();
    let first = viewer.next();
    assert!(first.is_key);
    for number in first.number + 1..first.number + 200 {
        let frame = viewer.next(); // which checks the picture
        assert_eq!(frame, Frame { number, is_key: number % 20 == 1 });
    }
    assert!(viewer.picture.cells.iter().any(|&cell| cell > 0), "something lives");
}

#[test]
fn a_late_viewer_starts_at_the_latest_key_frame() {
    let live = Live::start(&["--token", "secret"]);
    let mut publisher = live.publisher("secret");
    let mut early = live.viewer();
    for number in 1..=25 {
        publisher.publish_many(1, 10);
        assert_eq!(early.next(), Frame { number, is_key: number % 10 == 1 });
    }
    let mut late = live.viewer();
    for number in 21..=25 {
        assert_eq!(late.next(), Frame { number, is_key: number == 21 });
        assert_eq!(late.picture.cells, publisher.states[usize::try_from(number).unwrap() - 1]);
    }
    publisher.publish_many(1, 10);
    for viewer in [&mut early, &mut late] {
        assert_eq!(viewer.next().number, 26);
        assert_eq!(viewer.picture.cells, publisher.states[25]);
    }
}

#[test]
fn two_hundred_viewers_see_the_same_and_those_who_do_not_look_delay_nobody() {
    let live = Live::start(&["--token", "secret"]);
    let mut publisher = live.publisher("secret");
    let absent: Vec<Viewer> = (0..10).map(|_| live.viewer()).collect();
    let mut viewers: Vec<Viewer> = (0..200).map(|_| live.viewer()).collect();
    for number in 1..=100 {
        publisher.publish_many(1, 20);
        for viewer in &mut viewers {
            assert_eq!(viewer.next(), Frame { number, is_key: number % 20 == 1 }, "no frame is missed");
        }
    }
    assert!(viewers.iter().all(|viewer| viewer.picture.cells == publisher.picture.cells));
    drop(absent);
}
