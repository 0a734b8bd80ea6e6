//! Whatever happens to a connection: the recorder changes nothing of it, and its recording makes it happen again.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use switchboard::testkit::{FlightRecorder, Harness, Operation, Schedule, replay, replay_with_limits};
use switchboard::{Context, Failure, Inner, Input, Layer, Layered, Limits, Protocol};
use switchboard_echo::TcpEcho;
use switchboard_heartbeat::{Config, Heartbeat, PingPong};
use switchboard_websocket::{Message, WebSocket, message_fn};

use crate::common::web_socket::{REQUEST, TEXT, frame};
use crate::fuzz::empty_folder;
use crate::planted::{Fault, Lines};
use crate::recorder::{RING, narrow, only_file};

/// How much a peer took before it stalled for good no recorder sees: here it does not come to that.
fn patient() -> Limits {
    Limits { write_stall: Duration::MAX, ..narrow() }
}

struct Random(ChaCha8Rng);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0.next_u32() as usize % bound
    }

    /// What a connection may meet. No resets: what they destroy on its way, no recorder sees.
    fn operation(&mut self, words: &[Vec<u8>]) -> Operation {
        match self.below(16) {
            0..5 => Operation::Feed(words[self.below(words.len())].repeat(1 + self.below(4))),
            5 => Operation::Feed(words[self.below(words.len())].repeat(self.below(100))),
            6 => Operation::Post(b"posted\n".repeat(self.below(300))),
            7 | 8 => Operation::Advance(Duration::from_millis(self.below(9000) as u64)),
            9 => Operation::NextTimer,
            10 => Operation::Window(self.below(200)),
            11 => Operation::Window(self.below(3000)),
            12 => Operation::Window(usize::MAX),
            13 => Operation::CutWrites(vec![5, 0, 1, 0, 200]),
            14 => Operation::CutReads(vec![3, 0, 1, 0, 1]),
            _ if self.below(4) == 0 => Operation::FeedEof(words[self.below(words.len())].clone()),
            _ => Operation::Jump(Duration::from_millis(self.below(9000) as u64)),
        }
    }
}

/// Plays random schedules, recorded and not, and the recordings.
fn check<P: Protocol>(seed: u64, folder: &str, words: &[&[u8]], protocol: impl Fn() -> P) {
    let folder = empty_folder(folder);
    let words: Vec<Vec<u8>> = words.iter().map(|word| word.to_vec()).collect();
    let mut random = Random(ChaCha8Rng::seed_from_u64(seed));
    for round in 0..400 {
        let mut operations: Vec<_> = (0..random.below(14)).map(|_| random.operation(&words)).collect();
        operations.extend([Operation::Window(usize::MAX), Operation::Eof, Operation::Close]);
        let schedule = Schedule::from(operations);
        let recorder = FlightRecorder::new(folder.join(round.to_string()), 1 << 20).of_every_end();
        let plain = replay_with_limits(patient(), &protocol, &schedule.encode());
        let recorded = replay_with_limits(patient(), || recorder.around(protocol()), &schedule.encode());
        assert_eq!(recorded.transcript().to_string(), plain.transcript().to_string(), "{round}: {schedule}");
        assert_again(&folder.join(round.to_string()), &protocol, &recorded.sent(), &format!("{round}: {schedule}"));
    }
}

#[track_caller]
fn assert_again<P: Protocol>(folder: &Path, protocol: &impl Fn() -> P, sent: &[u8], what: &str) {
    let file = only_file(folder);
    let again = replay_with_limits(patient(), protocol, &file);
    let recording = Schedule::decode(&file);
    assert!(again.is_faithful() && again.sent() == sent, "{what}\nrecording:\n{recording}\nreplay:\n{again}");
}

#[test]
fn echoes() {
    check(1, "echoes", &[b"hello", b"\xf6\xf6", &[b'x'; 700]], || TcpEcho);
}

#[test]
fn lines() {
    check(2, "lines", &[b"hello\n", b"wor", b"ld\n\n"], || Lines(Fault::None));
}

#[test]
fn heartbeats() {
    let config =
        Config::new(Duration::from_secs(5), Duration::from_secs(15)).unwrap().with_jitter(Duration::ZERO).unwrap();
    let words: [&[u8]; 6] = [b"PING 1\n", b"PONG 1\nPO", b"NG 2\n", b"PONG 3\n", b"PI", b"hello\n"];
    check(3, "heartbeats", &words, move || Heartbeat::new(config).around(PingPong::default()));
}

#[test]
fn web_sockets() {
    let folder = empty_folder("web-socket");
    let echo = || {
        WebSocket::server(message_fn(|peer, message| {
            if let Message::Text(text) = message {
                peer.text(text);
            }
            Ok(())
        }))
    };
    let mut harness = Harness::new(FlightRecorder::new(&folder, RING).around(echo()));
    harness.feed(&[REQUEST, &frame(TEXT, b"hello")].concat());
    let hello = frame(TEXT, b"what comes in pieces");
    harness.feed(&hello[..9]);
    harness.advance(Duration::from_millis(120));
    harness.feed(&hello[9..]);
    harness.feed(b"\xff\xff");
    let sent = harness.take_sent();
    let replay = replay(echo, &only_file(&folder));
    assert!(replay.is_faithful() && replay.sent() == sent, "{replay}");
    assert!(replay.close_reason().unwrap().starts_with("the peer broke the protocol"), "{replay}");
}

/// Inside of a layer that transforms, the recording is of what is inside.
struct Upside;

fn turn(bytes: &mut [u8]) {
    bytes.iter_mut().for_each(|byte| *byte = !*byte);
}

impl<P: Protocol> Layer<P> for Upside {
    const SEALS: bool = true;

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        let bytes = input.take_all();
        turn(bytes);
        inner.feed(cx, bytes)
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, _: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        inner.feed_eof(cx)
    }

    fn seal(&mut self, cx: &mut Context<'_>, plain: &mut [u8]) -> Result<(), Failure> {
        turn(plain);
        cx.send(plain);
        Ok(())
    }
}

#[test]
fn what_is_inside_of_a_layer() {
    let folder = empty_folder("inside");
    let recorder = FlightRecorder::new(&folder, RING);
    let mut harness =
        Harness::with_limits(Layered::new(Upside, recorder.around(PingPong::default())), Limits::default());
    let feed = |harness: &mut Harness, bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        turn(&mut bytes);
        harness.feed(&bytes);
    };
    feed(&mut harness, b"PING 1\nPI");
    feed(&mut harness, b"NG 2\nhello\n");
    let file = only_file(&folder);
    let replay = replay(PingPong::default, &file);
    assert!(replay.is_faithful(), "{replay}");
    assert_eq!(replay.sent(), b"PONG 1\nPONG 2\nERR expected PING <n> or PONG <n>\n");
    assert_eq!(harness.core().held_bytes(), 0);
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
}
