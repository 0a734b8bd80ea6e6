//! Heartbeat, backpressure, posts, timers: what happens between messages.

mod common;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use common::*;
use switchboard::testkit::Harness;
use switchboard::{Blame, Bytes, Failure, Limits, Message as Posted, TimerId};
use switchboard_heartbeat::PeerSilent;
use switchboard_websocket::error::UsageError;
use switchboard_websocket::frame::OpCode;
use switchboard_websocket::{CloseCode, Handler, Message, Peer, Post, Settings, SharedText, WebSocket, message_fn};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_peer_that_answers_pings_lives() {
    let mut client = Client::open();
    let start = client.harness.now();
    for _ in 0..20 {
        let mut frames = Vec::new();
        while frames.is_empty() {
            let due = client.harness.event_loop().next_deadline().expect("the heartbeat's timer");
            let wait = due.saturating_since(client.harness.now());
            client.harness.advance(wait);
            frames = client.frames();
        }
        let [(OpCode::Ping, payload)] = &frames[..] else { panic!("not one ping: {frames:?}") };
        client.harness.advance(Duration::from_millis(40));
        client.feed(frame(true, OpCode::Pong, payload));
    }
    let passed = client.harness.now().saturating_since(start);
    assert!(passed > 20 * 27 * SECOND && passed <= 20 * 31 * SECOND, "{passed:?} for 20 pings");
    assert!(client.harness.is_open());
    assert_eq!(client.take_log(), [""; 0], "the heartbeat's pongs are not the handler's");
    let rtt = client.harness.protocol::<WebSocket<Logged>>().unwrap().rtt().unwrap();
    assert_eq!((rtt.last, rtt.worst), (Duration::from_millis(40), Duration::from_millis(40)));
}

#[test]
fn a_silent_peer_is_given_up() {
    let mut client = Client::open();
    client.harness.advance(59 * SECOND);
    assert!(client.harness.is_open());
    let pings = client.frames();
    assert!(pings.len() == 2 && pings.iter().all(|(opcode, _)| *opcode == OpCode::Ping), "{pings:?}");
    client.harness.advance(2 * SECOND);
    let silent = client.error::<PeerSilent>().silent;
    assert!(silent >= 60 * SECOND && silent < 61 * SECOND, "{silent:?}");
    assert_eq!(client.harness.close_reason().unwrap().blame(), Some(Blame::Limit));
    assert_eq!(client.take_log(), [r#"close 1006 "" by us, unclean"#]);
}

#[test]
fn any_traffic_proves_life() {
    let parts = frame(true, OpCode::Text, [b'x'; 100]);
    let mut client = Client::open_with(Settings { message_timeout: None, ..Settings::default() });
    for byte in &parts[..50] {
        client.feed([*byte]);
        client.harness.advance(50 * SECOND);
    }
    assert!(client.harness.is_open());
}

#[test]
fn silence_is_not_held_against_a_peer_that_is_not_read() {
    let mut client = Client::open();
    client.feed(text("pause"));
    client.harness.advance(600 * SECOND);
    assert!(client.harness.is_open());
}

#[test]
fn nor_against_one_that_still_has_output_to_take() {
    let mut client = Client::open();
    client.harness.set_window(0);
    client.feed(binary(vec![1; 100_000]));
    for _ in 0..10 {
        client.harness.advance(20 * SECOND);
        client.harness.set_window(100);
    }
    assert!(client.harness.is_open());
    client.harness.set_window(usize::MAX);
    assert_eq!(client.frames().len(), 1, "and no ping queued up behind it");
}

#[test]
fn without_a_heartbeat_nothing_is_armed() {
    let mut client = Client::open_with(Settings { heartbeat: None, ..Settings::default() });
    assert_eq!(client.harness.core().armed_timers(), 0);
    client.harness.advance(100_000 * SECOND);
    assert!(client.harness.is_open());
    assert_eq!(client.frames(), []);
    let mut client = Client::open();
    assert_eq!(client.harness.core().armed_timers(), 1, "one timer a connection");
}

#[test]
fn a_flood_of_pings_nobody_reads_the_pongs_of() {
    let limits = Limits::default();
    let flood = ping(&"x".repeat(125)).repeat(2000);
    let mut client = Client::open();
    client.harness.set_window(0);
    for _ in 0..100 {
        client.feed(&flood);
    }
    assert!(client.harness.is_open());
    let most = 2 * limits.high_water + limits.receive_buffer;
    assert!(client.held() <= most, "{} held", client.held());
    client.harness.set_window(usize::MAX);
    let mut pongs = 0;
    while pongs < 200_000 {
        let frames = client.frames();
        assert!(!frames.is_empty(), "every ping is answered in the end, after {pongs}");
        assert!(frames.iter().all(|(opcode, payload)| *opcode == OpCode::Pong && payload.len() == 125));
        pongs += frames.len();
    }
    assert_eq!(client.held(), 0);
}

/// Answers each message with much more than it is.
fn amplifier(times: usize) -> Client {
    let log = Log::default();
    let seen = Rc::clone(&log);
    let payload = vec![b'y'; times];
    let handler = message_fn(move |peer, message: Message<'_>| {
        seen.borrow_mut().push(String::from_utf8_lossy(message.as_bytes()).into_owned());
        peer.binary(&payload);
        Ok(())
    });
    let mut harness = Harness::new(WebSocket::server(handler));
    harness.feed(UPGRADE.as_bytes());
    assert_eq!(harness.take_sent(), SWITCHING.as_bytes());
    Client { harness, log }
}

#[test]
fn one_read_of_small_messages_does_not_answer_without_bound() {
    let mut client = amplifier(100_000);
    client.harness.set_window(0);
    let requests: Vec<u8> = (0..1000).flat_map(|index| text(&index.to_string())).collect();
    client.feed(&requests);
    assert_eq!(client.take_log().len(), 3, "the rest waits until there is room for the answers");
    assert!(client.held() < 1_000_000, "{}", client.held());
    client.harness.set_window(usize::MAX);
    assert_eq!(client.take_log().len(), 997, "and then has its turn, in order, without a further event");
    assert_eq!(client.frames().len(), 1000);
    assert_eq!(client.held(), 0);

    let mut client = amplifier(100_000);
    client.feed(&requests);
    assert_eq!(client.frames().len(), 1000, "nor does it stand still where the peer takes everything at once");
}

#[test]
fn a_client_that_never_reads_its_echo() {
    let mut client = Client::open();
    client.harness.set_window(0);
    let message = binary(vec![1; 100_000]);
    for _ in 0..200 {
        client.feed(&message);
    }
    assert!(client.harness.is_open());
    assert!(client.held() < 2 << 20, "{} held", client.held());
    client.harness.advance(31 * SECOND);
    assert!(client.close_reason().contains("write_stall"), "{}", client.close_reason());
    assert_eq!(client.held(), 0);
}

#[derive(Default)]
struct Producer {
    sent: Rc<RefCell<u32>>,
    drains: Rc<RefCell<u32>>,
}

impl Producer {
    fn produce(&self, peer: &mut Peer<'_, '_>) {
        while peer.has_room() && *self.sent.borrow() < 1000 {
            peer.binary(&[0; 5000]);
            *self.sent.borrow_mut() += 1;
        }
    }
}

impl Handler for Producer {
    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        self.produce(peer);
        Ok(())
    }

    fn on_message(&mut self, _: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn on_drain(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        *self.drains.borrow_mut() += 1;
        self.produce(peer);
        Ok(())
    }
}

#[test]
fn a_producer_is_told_when_there_is_room_again() {
    let producer = Producer::default();
    let (sent, drains) = (Rc::clone(&producer.sent), Rc::clone(&producer.drains));
    let mut harness = Harness::new(WebSocket::server(producer));
    harness.set_window(0);
    harness.feed(UPGRADE.as_bytes());
    let first = *sent.borrow();
    assert!(first > 10 && first < 60, "{first} sent to who reads nothing");
    harness.advance(SECOND);
    assert_eq!((*sent.borrow(), *drains.borrow()), (first, 0));
    harness.set_window(usize::MAX);
    assert_eq!(*sent.borrow(), 1000);
    assert!(*drains.borrow() > 10);
    assert_eq!(harness.take_sent().len(), SWITCHING.len() + 1000 * 5004);
}

#[test]
fn handlers_are_not_told_of_room_they_did_not_ask_for() {
    let mut client = Client::open();
    client.harness.set_window(0);
    client.feed(binary(vec![1; 250_000])).feed([binary(vec![1; 50_000]), text("later")].concat());
    client.harness.set_window(usize::MAX);
    assert_eq!(client.take_log(), ["binary 250000 250000", "binary 50000 50000", "text later"]);
}

#[test]
fn pausing_stops_in_the_midst_of_a_read() {
    let mut client = Client::open();
    client.feed([text("pause"), text("one"), text("two")].concat());
    client.feed(text("three"));
    assert_eq!(client.frames(), [text_frame("pause")]);
    let id = client.harness.id();
    client
        .harness
        .event_loop()
        .with_protocol(id, |socket: &mut WebSocket<Logged>, cx| socket.parts(cx).1.resume_reading());
    client.harness.settle();
    assert_eq!(client.take_log(), ["text one", "text two", "text three"]);
}

#[test]
fn posts_are_sent_without_the_handler() {
    let mut client = Client::open();
    client.harness.post(Post::Text("news é".into())).unwrap();
    client.harness.post(Post::Binary(Bytes::from_static(b"\xff").into())).unwrap();
    client.harness.post(Post::Text(SharedText::from("x".repeat(70_000)))).unwrap();
    client.harness.post(Posted::Bytes(Bytes::from_static(b"raw"))).unwrap();
    client.harness.post(Posted::user(7_u32)).unwrap();
    assert_eq!(
        client.frames(),
        [text_frame("news é"), (OpCode::Binary, b"\xff".to_vec()), text_frame(&"x".repeat(70_000))]
    );
    assert_eq!(client.take_log(), [r#"post Bytes(b"raw")"#, "post User(..)"]);
    client.harness.post(Post::Close(CloseCode::POLICY_VIOLATION, "enough".into())).unwrap();
    client.harness.post(Post::Text("too late".into())).unwrap();
    assert_eq!(client.frames(), [close_frame(1008, "enough")]);
}

#[test]
fn posts_wait_for_the_handshake() {
    let mut client = Client::connected();
    client.harness.post(Post::Text("one".into())).unwrap();
    client.harness.post(Posted::user(1_u8)).unwrap();
    client.harness.post(Post::Text("two".into())).unwrap();
    assert_eq!(client.harness.take_sent(), b"");
    client.feed([UPGRADE.as_bytes(), &text("three")].concat());
    let sent = client.harness.take_sent();
    let frames = server_frames(sent.strip_prefix(SWITCHING.as_bytes()).unwrap());
    assert_eq!(frames, [text_frame("one"), text_frame("two"), text_frame("three")]);
    assert_eq!(client.take_log(), ["open", "post User(..)", "text three"]);

    let mut client = Client::connected();
    client.harness.post(Post::Close(CloseCode::NORMAL, "".into())).unwrap();
    client.feed([UPGRADE.as_bytes(), &text("dropped"), &close(1000, "")].concat());
    assert_eq!(client.take_log(), ["open", r#"close 1000 "" by us, clean"#]);
}

#[test]
fn posts_before_the_handshake_are_as_many_as_a_mailbox_holds() {
    let limits = Limits { mailbox: 2, ..Limits::default() };
    let mut client = Client::with(false, Settings::default(), limits);
    for number in ["one", "two", "three"] {
        client.harness.post(Post::Text(number.to_owned().into())).unwrap();
    }
    client.feed([UPGRADE.as_bytes(), &close(1000, "")].concat());
    let sent = client.harness.take_sent();
    let frames = server_frames(sent.strip_prefix(SWITCHING.as_bytes()).unwrap());
    assert_eq!(frames, [text_frame("one"), text_frame("two"), close_frame(1000, "")]);
    assert_eq!(client.take_log(), ["open", r#"close 1000 "" by peer, clean, 1 unsent"#]);
    // A close that finds no place is as lost as a message.
    let mut client = Client::with(false, Settings::default(), Limits { mailbox: 1, ..Limits::default() });
    client.harness.post(Post::Text("one".into())).unwrap();
    client.harness.post(Post::Close(CloseCode::NORMAL, "".into())).unwrap();
    client.feed([UPGRADE.as_bytes(), &close(1000, "")].concat());
    assert_eq!(client.take_log(), ["open", r#"close 1000 "" by peer, clean, 1 unsent"#]);
}

/// Sets a timer, and pings when it fires.
struct Timed(Option<TimerId>);

impl Handler for Timed {
    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        let (timer, other) = (peer.set_timer(SECOND), peer.set_timer(SECOND));
        assert!(peer.cancel_timer(other));
        assert!(peer.postpone_timer(timer, 2 * SECOND));
        self.0 = Some(timer);
        Ok(())
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
        peer.ping(&[0; 126])
    }

    fn on_timer(&mut self, peer: &mut Peer<'_, '_>, timer: TimerId) -> Result<(), Failure> {
        assert_eq!(self.0, Some(timer));
        peer.ping(b"tick")
    }
}

#[test]
fn a_handlers_own_timers_and_pings() {
    let mut harness = Harness::new(WebSocket::server(Timed(None)));
    harness.feed(UPGRADE.as_bytes());
    let _ = harness.take_sent();
    harness.advance(2 * SECOND);
    assert_eq!(server_frames(&harness.take_sent()), [(OpCode::Ping, b"tick".to_vec())]);
    harness.feed(&text("too long"));
    assert_eq!(server_frames(&harness.take_sent()), [close_frame(1011, "")]);
    let error = harness.close_reason().unwrap().error().unwrap().downcast_ref();
    assert_eq!(error, Some(&UsageError::LongPing(126)));

    let mut client = Client::open();
    client.feed(frame(true, OpCode::Pong, "tick")).feed(frame(true, OpCode::Pong, "beat")).feed(frame(
        true,
        OpCode::Pong,
        "",
    ));
    assert_eq!(client.take_log(), ["pong tick", "pong beat", "pong "]);
}
