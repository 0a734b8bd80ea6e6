//! Every byte string is a schedule, and every schedule is bytes.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use switchboard::testkit::{Operation, Schedule};

struct Random(ChaCha8Rng);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0.next_u32() % bound
    }

    /// Mostly what matters to the encoding.
    fn bytes(&mut self, most: u32) -> Vec<u8> {
        let likely = [0xf6, b'f', b'a', b'w', b's', 0x00, 0x7f, 0x80, 0xff];
        (0..self.below(most + 1))
            .map(|_| match self.below(12) {
                index @ 0..9 => likely[index as usize],
                _ => self.0.next_u32().to_le_bytes()[0],
            })
            .collect()
    }

    fn duration(&mut self) -> Duration {
        match self.below(6) {
            0 => Duration::ZERO,
            1 => Duration::from_millis(self.below(100_000).into()),
            2 => Duration::from_micros(self.below(100_000).into()),
            3 => Duration::from_nanos(self.0.next_u64()),
            4 => Duration::from_secs(self.below(4000).into()),
            _ => Duration::MAX,
        }
    }

    fn operation(&mut self) -> Operation {
        match self.below(18) {
            0 | 1 => Operation::Feed(self.bytes(6)),
            2 => Operation::FeedEof(self.bytes(6)),
            3 => Operation::Eof,
            4 => Operation::Reset,
            5 => Operation::Advance(self.duration()),
            6 => Operation::Jump(self.duration()),
            7 => Operation::Timer,
            8 => Operation::NextTimer,
            9 => Operation::Window([0, 1, 126, 127, 128, usize::MAX - 1, usize::MAX][self.below(7) as usize]),
            10 => Operation::CutReads(self.bytes(200)),
            11 => Operation::CutWrites(self.bytes(3)),
            12 => Operation::Post(self.bytes(6)),
            13 => Operation::Shutdown(self.duration()),
            14 => {
                if self.below(2) == 0 {
                    Operation::Close
                } else {
                    Operation::Abort
                }
            }
            15 => Operation::Sent(self.bytes(6)),
            16 => Operation::Closed(String::from_utf8_lossy(&self.bytes(6)).into_owned()),
            _ => Operation::Gap,
        }
    }
}

#[test]
fn every_schedule_is_what_its_bytes_stand_for() {
    let mut random = Random(ChaCha8Rng::seed_from_u64(1));
    for _ in 0..50_000 {
        let schedule: Schedule = (0..random.below(6)).map(|_| random.operation()).collect();
        let bytes = schedule.encode();
        assert_eq!(Schedule::decode(&bytes), schedule, "{bytes:x?}");
    }
}

#[test]
fn all_bytes_stand_for_a_schedule() {
    let mut random = Random(ChaCha8Rng::seed_from_u64(2));
    for _ in 0..50_000 {
        let bytes = random.bytes(40);
        let schedule = Schedule::decode(&bytes);
        assert!(schedule.operations().len() <= bytes.len(), "no operation comes from nothing");
        assert_eq!(Schedule::decode(&schedule.encode()), schedule);
    }
}

#[test]
fn a_conversation_stands_for_itself() {
    for seed in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\xf6", b"\x81\x05hello", b"ends in \xf6"] {
        assert_eq!(Schedule::decode(seed).operations(), [Operation::Feed(seed.to_vec())]);
    }
    assert!(Schedule::decode(b"").operations().is_empty());
    assert_eq!(Schedule::decode(b"a\xf6\xf6b").operations(), [Operation::Feed(b"a\xf6b".to_vec())]);
}

#[test]
fn each_byte_after_the_escape_does_something() {
    let inert = |operation: &Operation| matches!(operation, Operation::Sent(_) | Operation::Closed(_) | Operation::Gap);
    for letter in (0..=u8::MAX).filter(|letter| !b"sqg\xf6".contains(letter)) {
        let schedule = Schedule::decode(&[0xf6, letter]);
        assert_eq!(schedule.operations().len(), 1);
        assert!(!inert(&schedule.operations()[0]), "{letter:#x}: {schedule}");
    }
}

#[test]
fn what_is_missing_at_the_end_is_zero_and_what_does_not_fit_is_cut() {
    let decoded = |bytes: &[u8]| Schedule::decode(bytes).into_operations();
    assert_eq!(decoded(b"\xf6a"), [Operation::Advance(Duration::ZERO)]);
    assert_eq!(decoded(b"\xf6a\x85"), [Operation::Advance(Duration::from_secs(1))]);
    assert_eq!(decoded(b"\xf6r\x7f\x01\x00"), [Operation::CutReads(vec![1, 0])]);
    let endless = [&b"\xf6a"[..], &[0xff; 100]].concat();
    assert!(matches!(decoded(&endless)[0], Operation::Advance(Duration::MAX)), "a number ends somewhere");
    assert_eq!(decoded(b"\xf6w\x00"), [Operation::Window(usize::MAX)]);
}

#[test]
fn a_schedule_reads_as_a_list() {
    let schedule = Schedule::from(vec![
        Operation::Feed(b"PING 1\n".to_vec()),
        Operation::Advance(Duration::from_millis(250)),
        Operation::Window(3),
        Operation::Sent(vec![b'x'; 1000]),
    ]);
    let (xs, list) = ("x".repeat(64), schedule.to_string());
    let expected = [
        r#"feed "PING 1\n""#,
        "advance by 250ms",
        "the peer takes 3 bytes",
        &format!(r#"recorded: sent "{xs}" … 872 bytes … "{xs}""#),
    ];
    assert_eq!(list.lines().collect::<Vec<_>>(), expected);
}
