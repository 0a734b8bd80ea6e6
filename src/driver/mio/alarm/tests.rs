//! Waits that end at a time, by the driver's poll.

use std::time::Duration;

use super::{Alarm, Clock};
use crate::Time;
use crate::driver::{Driver, MioDriver, MioEvents};

/// Polls until the clock shows `until`. Says how many polls that took.
fn poll_until(driver: &mut MioDriver, until: Time) -> u32 {
    let (mut events, mut polls) = (MioEvents::default(), 0);
    loop {
        let now = driver.now();
        if now >= until {
            return polls;
        }
        driver.poll(Some(until.saturating_since(now)), &mut events).unwrap();
        polls += 1;
        assert!(polls < 1000, "it does not sleep");
    }
}

#[test]
fn each_wait_ends_when_it_should_and_not_much_before() {
    let mut driver = MioDriver::new().unwrap();
    let start = driver.now();
    let after = |millis| start + Duration::from_millis(millis);
    // Far, then near, then far again; and one that the alarm was set for and that nobody waits for any more.
    let mut events = MioEvents::default();
    driver.waker().wake().unwrap();
    driver.poll(Some(Duration::from_secs(3600)), &mut events).unwrap();
    assert!(driver.now() < after(10_000), "a wake-up ends it");
    for millis in [20, 40, 41, 80] {
        assert!(poll_until(&mut driver, after(millis)) <= 4);
    }
    driver.waker().wake().unwrap();
    driver.poll(Some(Duration::from_millis(5)), &mut events).unwrap();
    let end = driver.now() + Duration::from_millis(60);
    assert!(poll_until(&mut driver, end) <= 4, "once for what it was set for, once for what is awaited");
}

#[test]
fn who_does_not_wait_or_waits_for_ever_has_no_alarm() {
    let mut driver = MioDriver::new().unwrap();
    let mut events = MioEvents::default();
    driver.poll(Some(Duration::ZERO), &mut events).unwrap();
    driver.waker().wake().unwrap();
    driver.poll(None, &mut events).unwrap();
    assert_eq!(driver.alarm.at, Time::ZERO);
    // The longest is none that the system would refuse.
    driver.waker().wake().unwrap();
    driver.poll(Some(Duration::MAX), &mut events).unwrap();
    assert_eq!(driver.alarm.at > Time::ZERO, cfg!(any(target_os = "linux", target_os = "android")));
}

/// Of a deadline that nothing moves, as those of most timers are, the system is told once.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn waits_for_one_and_the_same_time_set_it_once() {
    let mut driver = MioDriver::new().unwrap();
    let mut events = MioEvents::default();
    let deadline = driver.now() + Duration::from_secs(30);
    let mut set = 0;
    for _ in 0..100 {
        let before = driver.alarm.at;
        driver.waker().wake().unwrap();
        let wait = deadline.saturating_since(driver.now());
        driver.poll(Some(wait), &mut events).unwrap();
        set += usize::from(driver.alarm.at != before);
    }
    assert!((1..10).contains(&set), "set {set} times"); // again where the scheduler came between
}

/// Another loop watches this one by its descriptor: see [`EventLoop`](crate::EventLoop).
#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn who_watches_the_descriptor_is_told_once_that_it_has_rung() {
    use std::os::fd::AsRawFd;

    use ::mio::unix::SourceFd;
    use ::mio::{Events, Interest, Poll, Token};

    let mut driver = MioDriver::new().unwrap();
    let mut outer = Poll::new().unwrap();
    let fd = driver.as_raw_fd();
    outer.registry().register(&mut SourceFd(&fd), Token(0), Interest::READABLE).unwrap();
    let (mut found, mut events) = (Events::with_capacity(8), MioEvents::default());
    driver.waker().wake().unwrap();
    driver.poll(Some(Duration::from_millis(20)), &mut events).unwrap();
    while {
        outer.poll(&mut found, Some(Duration::from_secs(10))).unwrap();
        driver.now() < driver.alarm.at
    } {
        driver.poll(Some(Duration::ZERO), &mut events).unwrap(); // the wake-up's
    }
    assert!(!found.is_empty());
    driver.poll(Some(Duration::ZERO), &mut events).unwrap();
    assert_eq!(MioDriver::ready(&events).count(), 1, "the alarm");
    for _ in 0..2 {
        // As the outer loop asks when it begins to wait: anew.
        outer.registry().reregister(&mut SourceFd(&fd), Token(0), Interest::READABLE).unwrap();
        outer.poll(&mut found, Some(Duration::ZERO)).unwrap();
        assert!(found.is_empty(), "it sleeps");
        driver.poll(Some(Duration::ZERO), &mut events).unwrap();
        assert_eq!(MioDriver::ready(&events).count(), 0);
    }
}

#[test]
fn where_there_is_none_waits_have_their_timeouts() {
    let mut alarm = Alarm { at: Time::ZERO, wait: Duration::MAX, bell: None };
    let clock = Clock::starting_now();
    for wait in [None, Some(Duration::ZERO), Some(Duration::from_millis(5)), Some(Duration::MAX)] {
        assert_eq!(alarm.stand_in(wait, clock.now(), clock), wait);
    }
}
