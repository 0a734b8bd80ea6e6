use super::*;

const FIRST: u32 = u32::MAX - 1;
const DELAY: Duration = Duration::from_millis(25);
const NOW: Time = Time::ZERO;

fn receiver() -> Receiver {
    Receiver::new(FIRST, 10, DELAY)
}

fn arrive(receiver: &mut Receiver, number: u32) -> Arrival {
    receiver.on_segment(NOW, FIRST.wrapping_add(number), b"\0\x01x", true)
}

/// What the peer is told, from 0.
fn progress(receiver: &Receiver) -> (u32, u32, Vec<u8>) {
    let Progress { ack, limit } = receiver.progress();
    let mut bitmap = Vec::new();
    receiver.write_bitmap(&mut bitmap);
    (ack.wrapping_sub(FIRST), limit.wrapping_sub(FIRST), bitmap)
}

#[test]
fn what_is_in_order_is_delivered_at_once_across_the_wrap() {
    let mut receiver = receiver();
    for number in 0..5 {
        assert_eq!(arrive(&mut receiver, number), Arrival::Next);
    }
    assert_eq!(progress(&receiver), (5, 15, vec![]));
    assert_eq!(arrive(&mut receiver, 4), Arrival::Duplicate);
    assert_eq!(receiver.held(), 0);
}

#[test]
fn what_is_ahead_waits_for_the_gap() {
    let mut receiver = receiver();
    assert_eq!(arrive(&mut receiver, 1), Arrival::Waits);
    assert_eq!(arrive(&mut receiver, 9), Arrival::Waits);
    assert_eq!(arrive(&mut receiver, 9), Arrival::Duplicate);
    assert_eq!(arrive(&mut receiver, 10), Arrival::Beyond);
    assert_eq!(progress(&receiver), (0, 10, vec![1, 1]));
    assert_eq!(receiver.take_ready(), None);
    assert_eq!(arrive(&mut receiver, 0), Arrival::Next);
    assert!(matches!(receiver.take_ready(), Some(Ready::Segment(_))));
    assert_eq!(receiver.take_ready(), None);
    assert_eq!(progress(&receiver), (2, 12, vec![0b100_0000]));
}

#[test]
fn each_second_segment_is_acknowledged_at_once_and_a_single_one_after_the_delay() {
    let mut receiver = receiver();
    arrive(&mut receiver, 0);
    assert_eq!(receiver.ack_due(), Some(NOW + DELAY));
    arrive(&mut receiver, 1);
    assert_eq!(receiver.ack_due(), Some(NOW));
    receiver.on_told(false);
    assert_eq!(receiver.ack_due(), None);
    arrive(&mut receiver, 3);
    assert_eq!(receiver.ack_due(), Some(NOW), "a gap");
    receiver.on_told(false);
    assert_eq!(receiver.ack_due(), Some(NOW), "a segment tells nothing of it");
    receiver.on_told(true);
    arrive(&mut receiver, 2);
    assert_eq!(receiver.ack_due(), Some(NOW), "the gap is filled");
    receiver.on_told(true);
    arrive(&mut receiver, 2);
    assert_eq!(receiver.ack_due(), Some(NOW), "the acknowledgement may have been lost");
}

#[test]
fn what_may_not_be_delivered_waits_and_is_acknowledged() {
    let mut receiver = receiver();
    assert_eq!(arrive(&mut receiver, 0), Arrival::Next);
    receiver.on_told(true);
    receiver.put_back(b"\0\x01y");
    assert_eq!(progress(&receiver), (1, 11, vec![]), "a limit, once told, stands");
    for number in 1..10 {
        assert_eq!(receiver.on_segment(NOW, FIRST.wrapping_add(number), b"\0\x01x", false), Arrival::Waits);
    }
    assert_eq!(progress(&receiver), (10, 11, vec![]));
    receiver.on_told(true);
    assert_eq!(receiver.take_ready(), Some(Ready::Segment(b"\0\x01y"[..].into())));
    receiver.tell_of_room(NOW);
    assert_eq!(receiver.ack_due(), None, "a little room is no news");
    for _ in 1..7 {
        assert!(receiver.take_ready().is_some());
    }
    receiver.tell_of_room(NOW);
    assert_eq!(receiver.ack_due(), Some(NOW));
    assert_eq!(progress(&receiver), (10, 17, vec![]));
}

#[test]
fn nothing_comes_after_the_end() {
    let mut receiver = receiver();
    assert_eq!(receiver.on_segment(NOW, FIRST.wrapping_add(1), b"", true), Arrival::Waits);
    assert_eq!(arrive(&mut receiver, 2), Arrival::Waits);
    assert_eq!(arrive(&mut receiver, 0), Arrival::Next);
    assert_eq!(receiver.take_ready(), Some(Ready::End));
    assert!(receiver.is_finished() && receiver.take_ready().is_none());
    assert_eq!(arrive(&mut receiver, 3), Arrival::Beyond);
    assert_eq!(receiver.on_segment(NOW, FIRST.wrapping_add(1), b"", true), Arrival::Duplicate);
    assert_eq!(receiver.ack_due(), Some(NOW));
}

/// Against the plainest receiver there could be.
#[test]
fn any_order_gives_the_same_as_a_set() {
    let mut random = 1_u64;
    for _ in 0..300 {
        let mut receiver = receiver();
        let mut seen = std::collections::BTreeSet::new();
        let mut delivered = 0;
        for _ in 0..60 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let number = u32::try_from((random >> 33) % 24).unwrap();
            let is_new = number >= delivered && number < delivered + 10 && !seen.contains(&number);
            let arrival = arrive(&mut receiver, number);
            assert_eq!(is_new, matches!(arrival, Arrival::Next | Arrival::Waits));
            if is_new {
                seen.insert(number);
            }
            while receiver.take_ready().is_some() {}
            while seen.contains(&delivered) {
                delivered += 1;
            }
            let (ack, limit, bitmap) = progress(&receiver);
            assert_eq!((ack, limit), (delivered, delivered + 10));
            for ahead in 0..24 {
                let bit = bitmap.get(ahead as usize / 8).is_some_and(|byte| byte & (1 << (ahead % 8)) != 0);
                assert_eq!(bit, seen.contains(&(delivered + 1 + ahead)));
            }
        }
    }
}
