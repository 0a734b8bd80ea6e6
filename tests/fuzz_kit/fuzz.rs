//! Each oracle of `fuzz` finds its fault, and none of them finds any where there is none.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use switchboard::testkit::{Fuzz, Operation, Schedule, fuzz, replay_seeds};
use switchboard::{Protocol, Time};
use switchboard_echo::TcpEcho;
use switchboard_heartbeat::{Config, Heartbeat, IdleTimeout, PingPong};

use crate::planted::{Fault, Lines, Tick, Ticking};

/// What `fuzz` says of a fault.
fn complaint(fault: Fault, schedule: &Schedule) -> Option<String> {
    let result = catch_unwind(AssertUnwindSafe(|| fuzz(|| Lines(fault), &schedule.encode())));
    let payload = result.err()?;
    let text = payload.downcast_ref::<String>().cloned();
    Some(text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string)).expect("a text"))
}

fn feeds(pieces: &[&[u8]]) -> Schedule {
    pieces.iter().map(|piece| Operation::Feed(piece.to_vec())).collect()
}

#[track_caller]
fn assert_found(fault: Fault, schedule: &Schedule, words: &[&str]) {
    assert_eq!(complaint(Fault::None, schedule), None, "without the fault");
    let found = complaint(fault, schedule).unwrap_or_else(|| panic!("{fault:?} was not found"));
    for word in words {
        assert!(found.contains(word), "{word:?} is not in: {found}");
    }
}

#[test]
fn a_panic_that_needs_two_pieces() {
    // Whole, as here, it is never seen: the cut run finds it.
    let words = ["Lines", "arriving in other pieces", "a line in two pieces", r#"run it on b"bug!\n""#];
    assert_found(Fault::PanicsOnTwoPieces, &feeds(&[b"bug!\n"]), &words);
    assert_found(Fault::PanicsOnTwoPieces, &feeds(&[b"bug", b"!\n"]), &["a line in two pieces", "after 3 bytes"]);
}

#[test]
fn a_long_input_is_not_told_in_full() {
    let said = complaint(Fault::PanicsOnTwoPieces, &feeds(&[b"bug!\n".repeat(120).as_slice()])).unwrap();
    let (_, again) = said.split_once("to see it again").unwrap();
    assert!(again.starts_with(", run it on these 600 bytes: \"bug!\\n") && again.len() < 300, "{said}");
}

#[test]
fn a_tail_that_is_lost_at_a_border_of_pieces() {
    let words = ["Lines", "other answers", r#"← "hello\n""#, "run it on b"];
    assert_found(Fault::LosesItsTail, &feeds(&[b"hello\n"]), &words);
    assert_found(Fault::LosesItsTail, &feeds(&[b"hel", b"lo\n"]), &words);
}

#[test]
fn a_second_line_that_waits_for_bytes_that_do_not_come() {
    assert_found(Fault::FirstLineOnly, &feeds(&[b"1\n2\n"]), &["in other pieces, gave other answers"]);
    assert_found(Fault::FirstLineOnly, &feeds(&[b"1\n", b"2\n"]), &["at once, gave other answers", "at byte 2"]);
}

#[test]
fn answers_that_depend_on_the_pieces_unless_they_may() {
    let schedule = feeds(&[b"1\n2\n"]);
    assert_found(Fault::CountsItsCalls, &schedule, &["other answers"]);
    Fuzz::new().chunking_matters().run(|| Lines(Fault::CountsItsCalls), &schedule.encode());
}

#[test]
fn answers_that_depend_on_more_than_the_input() {
    assert_found(Fault::SharesACounter, &feeds(&[b"1\n"]), &["the very same run", "more than its input"]);
}

#[test]
fn reading_that_never_goes_on() {
    let lines = b"0123456789\n".repeat(200);
    let schedule = Schedule::from(vec![Operation::Window(0), Operation::Feed(lines)]);
    assert_found(Fault::ForgetsToResume, &schedule, &["stopped reading for good"]);
    let may = Fuzz::new().may_stop_reading();
    let sent = may.run(|| Lines(Fault::ForgetsToResume), &schedule.encode()).all_sent();
    assert!(sent.len() < 2000, "{} bytes", sent.len());
}

/// What `fuzz` says of a protocol whose peer lets it out of room, then takes everything.
fn said_when_the_window_opens<P: Protocol>(protocol: impl Fn() -> P) -> Option<String> {
    let lines = Operation::Feed(b"0123456789\n".repeat(200));
    let schedule = Schedule::from(vec![Operation::Window(0), lines]).encode();
    let result = catch_unwind(AssertUnwindSafe(|| fuzz(protocol, &schedule)));
    result.err().map(|payload| *payload.downcast::<String>().expect("a text"))
}

#[test]
fn reading_that_never_goes_on_whatever_timers_run() {
    let idle = |fault| move || IdleTimeout::new(Duration::from_secs(7)).around(Lines(fault));
    let said = said_when_the_window_opens(idle(Fault::ForgetsToResume)).expect("stuck for ever");
    assert!(said.contains("IdleTimeout") && said.contains("stopped reading for good"), "{said}");
    assert_eq!(said_when_the_window_opens(idle(Fault::None)), None);
    for tick in [Tick::Nothing, Tick::CloseThoughDrained] {
        let said = said_when_the_window_opens(|| Ticking(tick)).expect("stuck");
        assert!(said.contains("stopped reading for good"), "{tick:?}: {said}");
    }
}

#[test]
fn reading_that_a_timer_makes_go_on_or_ends_is_no_fault() {
    assert_eq!(said_when_the_window_opens(|| Ticking(Tick::Resume)), None);
    assert_eq!(said_when_the_window_opens(|| Ticking(Tick::Close)), None);
}

#[test]
fn timers_of_no_time() {
    assert_found(Fault::Spins, &feeds(&[b"spin\n"]), &["spins"]);
}

#[test]
fn memory_without_bound() {
    assert_found(Fault::Hoards, &feeds(&[b"1\n"]), &["hold"]);
}

#[test]
fn random_schedules_find_nothing_in_protocols_that_are_right() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let words: [&[u8]; 12] = [
        b"PING 1\n",
        b"PONG 1\n",
        b"PONG 2\nPI",
        b"NG 18446744073709551615\n",
        b"ERR x\n",
        b"\xf6a\x15",
        b"\xf6n",
        b"\xf6w\x05",
        b"\xf6w\x00",
        b"\xf6j\x7d",
        b"\xf6r\x02\x00\x01",
        b"\xf6p",
    ];
    let config = Config::new(Duration::from_secs(5), Duration::from_secs(15)).unwrap();
    for _ in 0..1_000 {
        let mut data = Vec::new();
        for _ in 0..random.next_u32() % 12 {
            match random.next_u32() % 4 {
                0 => data.extend([0xf6, random.next_u32().to_le_bytes()[0]]),
                _ => data.extend(words[random.next_u32() as usize % words.len()]),
            }
        }
        fuzz(|| TcpEcho, &data);
        fuzz(|| Lines(Fault::None), &data);
        fuzz(|| Heartbeat::new(config).around(PingPong::default()), &data);
        fuzz(|| IdleTimeout::new(Duration::from_secs(7)).around(TcpEcho), &data);
    }
}

#[test]
fn a_flood_against_a_closed_window_is_bounded_and_answered_in_the_end() {
    let flood = b"PING 7\n".repeat(5_000);
    let schedule = Schedule::from(vec![
        Operation::Window(0),
        Operation::Feed(flood.clone()),
        Operation::Advance(Duration::from_secs(60)),
        Operation::Window(1000),
        Operation::Feed(flood),
        Operation::Window(usize::MAX),
        Operation::Eof,
    ]);
    let transcript = fuzz(PingPong::default, &schedule.encode());
    assert_eq!(transcript.all_sent(), b"PONG 7\n".repeat(10_000));
}

/// How many short reads a piece uses up depends on the pieces. What was left of them once cut the input of a
/// protocol that waits for its peer, where it stops anywhere: and the same bytes gave other answers.
#[test]
fn short_reads_do_not_outlast_a_change_of_the_window() {
    let schedule = Schedule::from(vec![
        Operation::CutReads((50..=150).collect()),
        Operation::Feed(b"0123456789".repeat(20)),
        Operation::Window(0),
        Operation::Feed((0..200).collect::<Vec<u8>>().repeat(10)),
        Operation::Close,
        Operation::Window(usize::MAX),
    ]);
    fuzz(|| TcpEcho, &schedule.encode());
}

/// Output that waited leaves a deadline behind that the loop wakes for once, for nothing. Whether any waited depends on
/// the pieces: and the same bytes were answered at another time.
#[test]
fn the_next_timer_is_the_protocols_own() {
    let schedule = Schedule::from(vec![
        Operation::CutWrites(vec![1, 0, 2]),
        Operation::Feed(b"hello".to_vec()),
        Operation::NextTimer,
        Operation::NextTimer,
        Operation::Feed(b"world".to_vec()),
    ]);
    let transcript = fuzz(|| TcpEcho, &schedule.encode());
    assert!(transcript.entries().iter().all(|(at, _)| *at == Time::ZERO), "{transcript}");
}

#[test]
fn virtual_time_has_an_end() {
    let config = Config::new(Duration::from_secs(1), Duration::from_secs(3)).unwrap();
    let probing = || Heartbeat::new(config).around(PingPong::default());
    let year = Operation::Advance(Duration::from_secs(365 * 86_400));
    let transcript = fuzz(probing, &Schedule::from(vec![year.clone(), year]).encode());
    assert!(transcript.to_string().contains("no sign of life"));
}

#[test]
fn a_prefix_comes_first_and_may_arrive_with_what_is_behind_it() {
    let transcript = Fuzz::new().prefix(b"hello\n").run(|| Lines(Fault::None), b"world\n\xf6e");
    assert_eq!(transcript.all_sent(), b"hello\nworld\n");
    let found = catch_unwind(|| Fuzz::new().prefix(b"1\n").run(|| Lines(Fault::FirstLineOnly), b"2\n"));
    assert!(found.is_err(), "merged with the prefix");
}

#[test]
fn a_corpus_is_replayed_and_the_failing_file_named() {
    let folder = empty_folder("corpus");
    std::fs::write(folder.join("b-bad"), b"bug!\n").unwrap();
    std::fs::write(folder.join("a-good"), b"hello\n").unwrap();
    std::fs::write(folder.join(".hidden"), b"bug!\n").unwrap();
    std::fs::create_dir(folder.join("folder")).unwrap();
    assert_eq!(replay_seeds(&folder, |data| drop(fuzz(|| Lines(Fault::None), data))), 2);
    let result = catch_unwind(|| replay_seeds(&folder, |data| drop(fuzz(|| Lines(Fault::PanicsOnTwoPieces), data))));
    let text = result.unwrap_err().downcast::<String>().unwrap();
    assert!(text.contains("b-bad") && text.contains("two pieces"), "{text}");
    assert!(catch_unwind(|| replay_seeds(folder.join("folder"), |_| {})).is_err(), "an empty folder proves nothing");
    assert!(catch_unwind(|| replay_seeds(folder.join("none"), |_| {})).is_err());
}

/// The seeds of the target that `fuzz_protocol!` makes.
#[test]
fn the_seeds_of_the_idle_timeout() {
    let idle = || IdleTimeout::new(Duration::from_secs(7)).around(TcpEcho);
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/idle");
    assert!(replay_seeds(seeds, |data| drop(fuzz(idle, data))) >= 20, "the named seeds are there");
}

/// An empty folder for one test.
pub(crate) fn empty_folder(name: &str) -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz_kit").join(name);
    let _ = std::fs::remove_dir_all(&folder); // of the run before
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
