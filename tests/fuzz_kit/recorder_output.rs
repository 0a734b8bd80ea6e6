//! The flight recorder of a connection whose peer takes its output slowly, or not at all.

use switchboard::testkit::{FlightRecorder, Harness, replay_with_limits};
use switchboard::{Context, Failure, Input, Protocol, protocol_fn};
use switchboard_heartbeat::PingPong;

use crate::fuzz::empty_folder;
use crate::recorder::{RING, millis, narrow, only_file};

/// Sends a block for each byte that it has room for, and goes on when there is room again.
#[derive(Default)]
struct Faucet {
    blocks: u8,
}

impl Faucet {
    fn pour(&mut self, cx: &mut Context<'_>) {
        while self.blocks > 0 && cx.has_room() {
            cx.send(&[self.blocks; 300]);
            self.blocks -= 1;
        }
    }
}

impl Protocol for Faucet {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        for &mut byte in input.take_all() {
            if byte == b'!' {
                cx.send(format!("backlog {}", cx.backlog()).as_bytes());
                return Err(Failure::peer("enough"));
            }
            self.blocks += byte - b'0';
        }
        self.pour(cx);
        Ok(())
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.send(b"drained ");
        self.pour(cx);
        Ok(())
    }
}

/// What a protocol does depends on how much the peer has taken: so that is recorded, and happens again.
#[test]
fn a_slow_peer_is_as_slow_again() {
    let folder = empty_folder("slow");
    let mut harness = Harness::with_limits(FlightRecorder::new(&folder, RING).around(Faucet::default()), narrow());
    harness.set_window(100);
    harness.feed(b"9");
    harness.advance(millis(10));
    harness.set_window(450);
    harness.feed(b"1");
    harness.advance(millis(10));
    harness.set_window(1000);
    harness.advance(millis(10));
    harness.set_window(70);
    harness.feed(b"!");
    assert!(harness.is_open(), "its last words wait");
    harness.advance(millis(10));
    harness.set_window(usize::MAX);
    let sent = harness.take_sent();
    assert!(sent.windows(8).filter(|window| window == b"drained ").count() >= 2);
    let replay = replay_with_limits(narrow(), Faucet::default, &only_file(&folder));
    assert!(replay.is_faithful() && replay.sent() == sent, "{replay}");
    assert!(sent.ends_with(b"backlog 196"));
}

#[test]
fn a_peer_that_takes_nothing_stalls_again() {
    let folder = empty_folder("stall");
    let recorder = FlightRecorder::new(&folder, RING);
    let mut harness = Harness::with_limits(recorder.around(PingPong::default()), narrow());
    harness.feed(b"PING 1\n");
    harness.set_window(3);
    harness.feed(b"PING 2\n");
    harness.advance(millis(60_000));
    let replay = replay_with_limits(narrow(), PingPong::default, &only_file(&folder));
    assert_eq!(
        replay.close_reason(),
        Some("a limit was hit: write_stall: of the output that waits the peer took too little in 30s"),
        "{replay}"
    );
    assert_eq!(replay.sent(), b"PONG 1\n");
}

#[test]
fn output_beyond_the_limit_is_too_much_again() {
    let folder = empty_folder("too-much");
    let shout = || {
        protocol_fn(|cx, input| {
            let count = input.take_all().len();
            cx.send(&vec![b'x'; 1000 * count]);
            Ok(())
        })
    };
    let mut harness = Harness::with_limits(FlightRecorder::new(&folder, RING).around(shout()), narrow());
    harness.feed(b"12");
    harness.set_window(300);
    harness.feed(b"1");
    assert!(harness.is_open());
    harness.feed(b"12345");
    let reason = harness.close_reason().expect("too much waits").to_string();
    assert_eq!(reason, "a limit was hit: send_buffer: 5700 bytes wait for the peer, 5000 allowed");
    let replay = replay_with_limits(narrow(), shout, &only_file(&folder));
    assert_eq!(replay.close_reason(), Some(&*reason), "{replay}");
    assert!(replay.is_faithful(), "{replay}");

    let folder = empty_folder("too-much-at-once");
    let mut harness = Harness::with_limits(FlightRecorder::new(&folder, RING).around(shout()), narrow());
    harness.feed(b"1");
    harness.set_window(0);
    harness.feed(b"123456");
    let reason = harness.close_reason().expect("too much waits").to_string();
    let replay = replay_with_limits(narrow(), shout, &only_file(&folder));
    assert!(replay.is_faithful(), "{reason}: {replay}");
}
