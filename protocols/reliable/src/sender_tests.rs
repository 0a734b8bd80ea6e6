use std::time::Duration;

use super::*;

const NOTHING: Progress = Progress { ack: 0, limit: 0 };
/// Near the wrap.
const FIRST: u32 = u32::MAX - 4;

struct Fixture {
    sender: Sender,
    now: Time,
    stats: Stats,
}

impl Fixture {
    fn new() -> Self {
        let settings = Settings::default();
        let peer = Terms { id: 7, first: 0, window: 100, datagram: 1_200, message: 1 << 20 };
        let sender = Sender::new(&settings, FIRST, peer, Rtt::new(&settings));
        Self { sender, now: Time::ZERO, stats: Stats::default() }
    }

    /// One message a segment.
    fn with_segments(count: usize) -> Self {
        let mut fixture = Self::new();
        for _ in 0..count {
            fixture.sender.push(&[1; 1_000]);
        }
        fixture
    }

    /// The numbers, from 0, of the segments that go out now.
    fn sent(&mut self) -> Vec<u32> {
        let mut sent = Vec::new();
        while let Some(datagram) = self.sender.next_datagram(self.now, NOTHING) {
            let number: [u8; 4] = datagram[17..21].try_into().unwrap();
            sent.push(u32::from_be_bytes(number).wrapping_sub(FIRST));
        }
        sent
    }

    /// `ack` counts from 0.
    fn acked(&mut self, ack: u32, bitmap: &[u8]) -> bool {
        let ack = FIRST.wrapping_add(ack);
        let progress = Progress { ack, limit: ack.wrapping_add(100) };
        self.sender.on_progress(self.now, progress, bitmap, &mut self.stats).unwrap()
    }

    fn wait(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
    }
}

#[test]
fn messages_share_a_datagram_where_they_fit_and_are_cut_only_where_they_must() {
    let mut fixture = Fixture::new();
    let sender = &mut fixture.sender;
    for length in [0, 500, 600, 200, 1_177, 1_178, 100] {
        sender.push(&vec![0; length]);
    }
    let lengths: Vec<_> = sender.segments.iter().map(|segment| segment.datagram.len() - DATA_HEADER).collect();
    // 0, 500 and 600; 200; 1,177; 1,177 of the next; its last byte and 100.
    assert_eq!(lengths, [2 + 502 + 602, 202, 1_179, 1_179, 3 + 102]);
    let ends: Vec<_> = sender.segments.iter().map(|segment| segment.ends).collect();
    assert_eq!((ends, sender.messages()), (vec![3, 1, 1, 0, 2], 7));
}

#[test]
fn the_window_holds_the_rest_back() {
    let mut fixture = Fixture::with_segments(20);
    assert_eq!(fixture.sent(), (0..11).collect::<Vec<_>>(), "12,000 bytes of 1,023 each");
    assert!(fixture.acked(2, &[]));
    assert_eq!(fixture.sent(), [11, 12, 13, 14], "two that arrived, and as much more");
}

#[test]
fn what_has_arrived_is_not_kept_and_the_numbers_wrap() {
    let mut fixture = Fixture::with_segments(10);
    assert_eq!(fixture.sent().len(), 10);
    assert!(fixture.acked(8, &[]));
    assert!(!fixture.acked(3, &[0x0f]), "an old one, of which all is known");
    assert_eq!((fixture.sender.messages(), fixture.sender.segments.len()), (2, 2));
    assert!(fixture.acked(10, &[]));
    assert!(!fixture.sender.awaits_ack() && fixture.sender.backlog() == 0);
    assert_eq!(fixture.sender.spare.len(), 10);
    let before = fixture.sender.held();
    fixture.sender.push(&[1; 1_000]);
    assert_eq!(fixture.sender.held(), before, "buffers are used again");
    assert!(fixture.acked(10, &[]) || fixture.sent() == [10]);
}

#[test]
fn what_is_overtaken_by_three_is_lost_and_sent_again_once() {
    let mut fixture = Fixture::with_segments(8);
    assert_eq!(fixture.sent().len(), 8);
    assert!(fixture.acked(0, &[0b0000_0011]), "1 and 2");
    assert_eq!(fixture.sent(), []);
    assert!(fixture.acked(0, &[0b0000_0111]), "and 3");
    assert_eq!((fixture.sent(), fixture.stats.lost), (vec![0], 1));
    assert!(fixture.acked(0, &[0b0000_1111]));
    assert_eq!(fixture.sent(), []);
    assert_eq!(fixture.sender.congestion_window(), 6_000, "halved once");
    // The new sending is lost as well: three that were sent after it have arrived.
    for _ in 0..4 {
        fixture.sender.push(&[1; 1_000]);
    }
    assert!(fixture.acked(0, &[0b0111_1111]));
    assert_eq!(fixture.sent(), [8, 9, 10, 11]);
    assert!(fixture.acked(0, &[0b1111_1111, 0b0000_0011]));
    assert_eq!(fixture.sent(), [0]);
}

#[test]
fn what_was_sent_twice_proves_no_more_than_its_first_sending() {
    let mut fixture = Fixture::with_segments(7);
    assert_eq!(fixture.sent().len(), 7);
    assert!(fixture.acked(0, &[0b0000_0111]), "1, 2 and 3");
    assert_eq!(fixture.sent(), [0]);
    assert!(fixture.acked(4, &[0b0000_0001]), "0, which was only late, and 5");
    assert_eq!((fixture.sent(), fixture.stats.lost), (vec![], 1), "4 is not lost");
}

#[test]
fn a_timeout_sends_everything_again_a_little_at_a_time() {
    let mut fixture = Fixture::with_segments(6);
    assert_eq!(fixture.sent().len(), 6);
    fixture.wait(1_000);
    fixture.sender.on_timeout(&mut fixture.stats);
    assert_eq!(fixture.sent(), [0, 1]);
    assert_eq!(fixture.sender.rtt.rto(), Duration::from_secs(2));
    fixture.wait(50);
    assert!(fixture.acked(2, &[]));
    assert_eq!(fixture.sender.rtt.smoothed(), None, "Karn: no telling which time it was");
    assert_eq!(fixture.sender.rtt.rto(), Duration::from_secs(2));
    assert_eq!(fixture.sent(), [2, 3, 4], "two that arrived, and one more: the threshold is three");
}

#[test]
fn round_trips_are_measured_of_what_was_sent_once_and_last() {
    let mut fixture = Fixture::with_segments(1);
    fixture.sent();
    fixture.wait(30);
    fixture.sender.push(&[2; 1_000]);
    fixture.sent();
    fixture.wait(70);
    assert!(fixture.acked(2, &[]));
    assert_eq!(fixture.sender.rtt.smoothed(), Some(Duration::from_millis(70)));
}

#[test]
fn the_receivers_limit_stands_and_no_hostile_one_is_taken() {
    let mut fixture = Fixture::with_segments(3);
    let mut progress = |ack: u32, limit: u32| {
        let progress = Progress { ack: FIRST.wrapping_add(ack), limit: FIRST.wrapping_add(limit) };
        fixture.sender.on_progress(fixture.now, progress, &[], &mut fixture.stats).unwrap();
        fixture.sender.limit.wrapping_sub(FIRST)
    };
    assert_eq!(progress(0, 50), 100, "it never sinks");
    assert_eq!(progress(0, 200), 200);
    assert_eq!(progress(0, 1 << 20), 200, "further off than any may be");
    assert_eq!(progress(0, 1 << 31), 200);
}

#[test]
fn what_waits_behind_the_limit_is_blocked() {
    let mut fixture = Fixture::with_segments(101);
    let mut count = 0;
    while count < 100 {
        count += u32::try_from(fixture.sent().len()).unwrap();
        let ack = FIRST.wrapping_add(count);
        let progress = Progress { ack, limit: FIRST.wrapping_add(100) };
        fixture.sender.on_progress(fixture.now, progress, &[], &mut fixture.stats).unwrap();
    }
    assert_eq!(fixture.sent(), []);
    assert!(fixture.sender.is_blocked());
    fixture.acked(100, &[]);
    assert!(!fixture.sender.is_blocked());
    assert_eq!(fixture.sent(), [100]);
}

#[test]
fn what_was_never_sent_cannot_arrive() {
    let mut fixture = Fixture::with_segments(3);
    let progress = |ack: u32| Progress { ack: FIRST.wrapping_add(ack), limit: FIRST.wrapping_add(100) };
    let try_one = |fixture: &mut Fixture, ack, bitmap: &[u8]| {
        fixture.sender.on_progress(fixture.now, progress(ack), bitmap, &mut fixture.stats).is_err()
    };
    assert!(try_one(&mut fixture, 1, &[]));
    fixture.sent();
    assert!(try_one(&mut fixture, 4, &[]) && try_one(&mut fixture, 0, &[4]) && try_one(&mut fixture, 2, &[1]));
    assert!(try_one(&mut fixture, u32::MAX, &[0b1000]) && !try_one(&mut fixture, u32::MAX, &[0b101]));
    assert!(!try_one(&mut fixture, 3, &[0, 0]), "no bits");
}
