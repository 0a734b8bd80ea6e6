//! What the kit's types say of themselves where an assertion fails.

use std::time::Duration;

use switchboard::testkit::{
    DatagramHarness, FlightRecorder, Harness, Operation, Pair, Recorded, Schedule, Simulation, Transcript, replay,
};
use switchboard::{Time, protocol_fn};
use switchboard_echo::{TcpEcho, UdpEcho};

use crate::planted::{Tick, Ticking};

#[test]
fn transcripts_can_be_told_apart() {
    let mut transcript = Transcript::default();
    transcript.received(Time::ZERO, b"PING\n");
    transcript.sent(Time::ZERO + Duration::from_millis(1), &[b'x'; 1000]);
    transcript.note(Time::ZERO + Duration::from_secs(1), "timer");
    let many = format!("\"{0}\" … 872 bytes … \"{0}\"", "x".repeat(64));
    let expected = format!(r#"[0.000s → "PING\n", 0.001s ← {many}, 1.000s timer]"#);
    assert_eq!(format!("{transcript:?}"), expected);
    let entries: Vec<_> = transcript.entries().iter().map(|(_, entry)| format!("{entry:?}")).collect();
    assert_eq!(entries, [r#"Received("PING\n")"#, &format!("Sent({many})"), r#"Note("timer")"#]);
    let replay = format!("{:?}", replay(|| TcpEcho, b"hello\xf6s\xf6\xf6"));
    assert!(
        replay.starts_with(r#"Replay { transcript: [0.000s → "hello", 0.000s ← "hello"], recorded: ""#),
        "{replay}"
    );
}

#[test]
fn each_says_who_it_is_and_how_it_stands() {
    let recorder = FlightRecorder::new("flights", 4096);
    let mut harness = Harness::new(recorder.around(TcpEcho));
    let inbox = harness.inbox();
    harness.advance(Duration::from_secs(2));
    harness.feed(b"hello");
    let (said, id) = (format!("{harness:?}"), harness.id());
    assert!(said.starts_with("Harness { id: ") && said.contains("now: Time(2000000000), peer: Peer {"), "{said}");
    assert!(said.contains(r#"unread: 0, received: "hello", saw_eof: false, is_closed: false, .. }, .. }"#), "{said}");
    assert!(format!("{:?}", harness.network()).contains("has_events: false"));
    assert_eq!(
        format!("{inbox:?}"),
        format!("Inbox {{ id: {:?}, messages: RefCell {{ value: [] }}, .. }}", inbox.id())
    );
    let recorded = format!("{:?}", harness.protocol::<Recorded<TcpEcho>>().unwrap());
    let expected =
        format!("Recorded {{ id: Some({id:?}), recorder: FlightRecorder {{ folder: \"flights\", bytes: 4096, ");
    assert!(recorded.starts_with(&expected), "{recorded}");
    let socket = DatagramHarness::new(UdpEcho);
    assert!(format!("{socket:?}").contains(&format!("address: {}", socket.address())), "{socket:?}");
    let mut simulation = Simulation::new(1);
    simulation.add_host("near");
    assert_eq!(format!("{simulation:?}"), r#"Simulation { now: Time(0), hosts: ["near"], .. }"#);
    let silent = || protocol_fn(|_, _| Ok(()));
    let mut pair = Pair::new(silent(), silent());
    assert!(format!("{pair:?}").starts_with("Pair { now: Time("));
    assert!(format!("{:?}", pair.right()).ends_with(r#"name: "right", .. }"#));
}

/// A recording may come from anywhere: time without end and a timer that is set again for ever come to an end.
#[test]
fn a_replay_has_an_end_and_says_that_it_is_not_all() {
    let recording = Schedule::from(vec![Operation::Feed(b"1".to_vec()), Operation::Advance(Duration::MAX)]);
    let all = replay(|| TcpEcho, &recording.encode());
    assert!(all.is_complete());
    let replay = replay(|| Ticking(Tick::Nothing), &recording.encode());
    assert!(!replay.is_complete() && replay.first_difference().is_none() && !replay.is_faithful(), "{replay}");
    assert!(replay.to_string().contains("not complete: "), "{replay}");
}
