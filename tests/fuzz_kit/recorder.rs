//! The flight recorder: a failure is written down, and the file makes it happen again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use switchboard::testkit::{FlightRecorder, Harness, Operation, Recorded, Replay, Schedule, fuzz, replay};
use switchboard::{Context, Failure, Input, Limits, Message, Protocol, TimerId, protocol_fn};
use switchboard_echo::TcpEcho;
use switchboard_heartbeat::{Config, Heartbeat, HeartbeatLine, PingPong};

use crate::fuzz::empty_folder;

pub(crate) const RING: usize = 64 << 10;

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn line() -> HeartbeatLine {
    let config = Config::new(millis(5000), millis(15_000)).unwrap().with_jitter(Duration::ZERO).unwrap();
    Heartbeat::new(config).around(PingPong::default())
}

/// The files in a folder, by name.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(folder).map_or(Vec::new(), |entries| entries.map(|e| e.unwrap().path()).collect());
    files.sort();
    files
}

#[track_caller]
pub(crate) fn only_file(folder: &Path) -> Vec<u8> {
    let files = files(folder);
    assert_eq!(files.len(), 1, "{files:?}");
    fs::read(&files[0]).unwrap()
}

/// Limits under which output soon has to wait.
pub(crate) fn narrow() -> Limits {
    Limits { high_water: 1000, low_water: 100, send_buffer: 5000, read_budget: 1000, ..Limits::default() }
}

#[test]
fn a_failure_is_written_and_happens_again() {
    let folder = empty_folder("failure");
    let recorder = FlightRecorder::new(&folder, RING);
    let mut harness = Harness::new(recorder.around(line()));
    harness.feed(b"PING 1\nPI");
    harness.advance(millis(1250));
    harness.feed(b"NG 2\n");
    harness.advance(millis(5000));
    harness.feed(b"PONG 1\n");
    harness.advance(millis(3));
    harness.feed(b"hello\n");
    let (sent, reason) = (harness.take_sent(), harness.close_reason().unwrap().to_string());
    assert_eq!((recorder.written(), recorder.unwritten()), (1, 0));
    let name = files(&folder)[0].file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(name, format!("Layered-Heartbeat-PingPong-{}-0", harness.id()));

    let replay = replay(line, &only_file(&folder));
    assert!(replay.is_faithful() && !replay.begins_in_the_middle(), "{replay}");
    assert_eq!((replay.sent(), replay.close_reason()), (sent, Some(&*reason)));
    assert_eq!(
        replay.to_string(),
        r#"
0.000s → "PING 1\nPI"
0.000s ← "PONG 1\n"
1.250s → "NG 2\n"
1.250s ← "PONG 2\n"
5.000s timer
5.000s ← "PING 1\n"
6.250s → "PONG 1\n"
6.253s → "hello\n"
6.253s ← "ERR expected PING <n> or PONG <n>\n"
6.253s closed: the peer broke the protocol: expected PING <n> or PONG <n>
as recorded
"#
        .trim_start()
    );
    fuzz(line, &only_file(&folder));
}

#[test]
fn a_peer_that_falls_silent() {
    let folder = empty_folder("silent");
    let mut harness = Harness::new(FlightRecorder::new(&folder, RING).around(line()));
    harness.advance(millis(60_000));
    let replay = replay(line, &only_file(&folder));
    assert!(replay.is_faithful(), "{replay}");
    assert!(replay.close_reason().unwrap().contains("no sign of life"));
}

#[test]
fn an_end_in_order_leaves_no_file_unless_asked_for() {
    let folder = empty_folder("in-order");
    let recorder = FlightRecorder::new(&folder, RING);
    let mut harness = Harness::new(recorder.around(TcpEcho));
    harness.feed(b"hello");
    let id = harness.id();
    let recording = harness.event_loop().protocol::<Recorded<TcpEcho>>(id).unwrap();
    assert_eq!(
        recording.recording().operations(),
        [Operation::Feed(b"hello".to_vec()), Operation::Sent(b"hello".to_vec()),]
    );
    assert!(recording.protocol().is_some());
    let path = recording.write().unwrap();
    assert_eq!(fs::read(path).unwrap(), b"hello\xf6shello");
    harness.eof();
    assert!(!harness.is_open());
    assert_eq!(files(&folder).len(), 1, "what was asked for");

    let mut harness = Harness::new(recorder.of_every_end().around(TcpEcho));
    harness.feed_eof(b"hello");
    assert_eq!(files(&folder).len(), 2);
    let replay = replay(|| TcpEcho, &fs::read(&files(&folder)[1]).unwrap());
    assert!(replay.is_faithful(), "{replay}");
    assert_eq!(replay.close_reason(), Some("closed by the peer"));
}

/// Ends of which the protocol knows nothing are in the recording, too.
#[test]
fn an_end_from_outside_happens_again() {
    let ends: [fn(&mut Harness); 4] = [
        |harness| {
            let id = harness.id();
            harness.core().close(id);
            harness.settle();
        },
        |harness| {
            let id = harness.id();
            harness.core().abort(id);
            harness.settle();
        },
        Harness::reset,
        |harness| harness.shutdown(millis(1000)),
    ];
    for (index, end) in ends.into_iter().enumerate() {
        let folder = empty_folder(&format!("outside-{index}"));
        let mut harness = Harness::new(FlightRecorder::new(&folder, RING).of_every_end().around(TcpEcho));
        harness.feed(b"hello");
        harness.advance(millis(20));
        end(&mut harness);
        let reason = harness.close_reason().expect("it has ended").to_string();
        let replay = replay(|| TcpEcho, &only_file(&folder));
        assert_eq!(replay.close_reason(), Some(&*reason), "{replay}");
        assert!(replay.is_faithful(), "{replay}");
    }
}

#[test]
fn a_ring_that_overflows_keeps_the_end_and_says_so() {
    let folder = empty_folder("overflow");
    let mut harness = Harness::new(FlightRecorder::new(&folder, 2000).around(PingPong::default()));
    for number in 0..1000 {
        harness.feed(format!("PING {number}\n").as_bytes());
    }
    harness.feed(b"hello\n");
    let file = only_file(&folder);
    assert!(file.len() < 2000, "{} bytes", file.len());
    let replay = replay(PingPong::default, &file);
    assert!(replay.begins_in_the_middle() && replay.to_string().starts_with("the recording begins in the middle\n"));
    assert!(replay.sent().ends_with(b"PONG 999\nERR expected PING <n> or PONG <n>\n"), "{replay}");
    assert!(replay.is_faithful(), "as far as one can tell: {replay}");
    fuzz(PingPong::default, &file);
}

#[test]
fn what_alone_is_larger_than_the_ring_is_cut() {
    let folder = empty_folder("large");
    let fails = || {
        protocol_fn(|cx, input| {
            let bytes = input.take_all();
            cx.send(bytes);
            if bytes.ends_with(b"!") { Err(Failure::peer("that is enough")) } else { Ok(()) }
        })
    };
    let mut harness = Harness::new(FlightRecorder::new(&folder, 4096).around(fails()));
    harness.feed(&[vec![b'x'; 100_000], b"!".to_vec()].concat());
    let file = only_file(&folder);
    assert!(file.len() < 4200, "{} bytes", file.len());
    let replay = replay(fails, &file);
    assert_eq!(replay.close_reason(), Some("the peer broke the protocol: that is enough"), "{replay}");
    assert!(replay.begins_in_the_middle(), "{replay}");
}

/// Half a message is kept by the loop and offered again with the rest: it is recorded once.
#[test]
fn what_is_offered_again_is_no_news() {
    let folder = empty_folder("again");
    let mut harness = Harness::with_limits(FlightRecorder::new(&folder, RING).around(TcpEcho), narrow());
    harness.set_window(0);
    harness.feed(&[b'x'; 700]);
    harness.feed(&[b'y'; 700]); // offered to a protocol that has paused, when the peer has read
    harness.set_window(usize::MAX);
    let id = harness.id();
    let recorded = harness.event_loop().protocol::<Recorded<TcpEcho>>(id).unwrap().recording();
    let fed: Vec<u8> = recorded
        .operations()
        .iter()
        .filter_map(|operation| if let Operation::Feed(bytes) = operation { Some(bytes.clone()) } else { None })
        .flatten()
        .collect();
    assert_eq!(fed, [[b'x'; 700], [b'y'; 700]].concat());
    assert_eq!(harness.take_sent(), fed);
}

/// Fails at a message, which it gets at a time of its own choosing, too.
struct Messages;

impl Protocol for Messages {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.send(b"welcome ");
        cx.set_timer(millis(100));
        Ok(())
    }

    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        input.wait_for(5);
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        cx.send(rest.take_all());
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        cx.send(b"tick ");
        cx.set_timer(millis(100));
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        match message {
            Message::Bytes(bytes) if *bytes == *b"fail" => Err(Failure::caller("told to")),
            Message::Bytes(bytes) => {
                cx.send_shared(bytes);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[test]
fn messages_timers_and_input_that_was_never_offered_happen_again() {
    let folder = empty_folder("messages");
    let mut harness = Harness::new(FlightRecorder::new(&folder, RING).around(Messages));
    harness.advance(millis(250));
    harness.feed(b"ab");
    harness.feed(b"cd"); // fewer than it waits for: it sees these at the half-close only
    harness.feed_eof(b"");
    harness.post(switchboard::Bytes::from_static(b"posted ")).unwrap();
    harness.advance(millis(60));
    harness.post(switchboard::Bytes::from_static(b"fail")).unwrap();
    let sent = harness.take_sent();
    assert_eq!(sent, b"welcome tick tick abcdposted tick ");
    let replay = replay(|| Messages, &only_file(&folder));
    assert_eq!(replay.close_reason(), Some("the program misused an interface: told to"));
    assert!(replay.is_faithful() && replay.sent() == sent, "{replay}");
}

#[test]
fn a_message_that_is_no_bytes_leaves_a_gap() {
    let folder = empty_folder("user");
    let mut harness = Harness::new(FlightRecorder::new(&folder, RING).around(Messages));
    harness.post(Message::user(7)).unwrap();
    harness.post(switchboard::Bytes::from_static(b"fail")).unwrap();
    let schedule = Schedule::decode(&only_file(&folder));
    assert!(schedule.operations()[1..].contains(&Operation::Gap), "{schedule}");
    assert!(!replay(|| Messages, &schedule.encode()).begins_in_the_middle());
}

#[test]
fn who_takes_over_is_recorded_too() {
    let folder = empty_folder("switch");
    let switching = || {
        protocol_fn(|cx, input| {
            if input.starts_with(b"upgrade\n") {
                input.take(8);
                cx.send(b"done\n");
                cx.switch_to(PingPong::default());
            }
            Ok(())
        })
    };
    let mut harness = Harness::new(FlightRecorder::new(&folder, RING).around(switching()));
    harness.feed(b"upgr");
    harness.feed(b"ade\nPING 1\nPI");
    harness.feed(b"NG 2\nhello\n");
    let sent = harness.take_sent();
    let replay = replay(switching, &only_file(&folder));
    assert!(replay.is_faithful(), "{replay}");
    assert_eq!(replay.sent(), sent);
    assert_eq!(sent, b"done\nPONG 1\nPONG 2\nERR expected PING <n> or PONG <n>\n");
}

#[test]
fn a_protocol_that_has_changed_shows_where() {
    let folder = empty_folder("changed");
    let mut harness = Harness::new(FlightRecorder::new(&folder, RING).around(PingPong::default()));
    harness.feed(b"PING 1\nhello\n");
    let changed = || {
        protocol_fn(|cx, _| {
            cx.send(b"PONG 2\n");
            cx.close();
            Ok(())
        })
    };
    let replay: Replay = replay(changed, &only_file(&folder));
    assert_eq!(replay.first_difference(), Some(5));
    assert_eq!(
        replay.to_string(),
        r#"
0.000s → "PING 1\nhello\n"
0.000s ← "PONG 2\n"
0.000s closed: closed by this side
not as recorded from byte 5 of what was sent on:
recorded ← "1\nERR expected PING <n> or PONG <n>\n"
this time ← "2\n"
recorded: closed: the peer broke the protocol: expected PING <n> or PONG <n>
"#
        .trim_start()
    );
}
