//! What publications cost: no allocation for a subscriber, one copy of a payload.

use std::rc::Rc;

use switchboard::{Bytes, Context, EventLoop, Failure, Input, Message, Protocol, Slow};
use switchboard_websocket::{Handler, Message as WebSocketMessage, Peer as WebSocketPeer, Settings, WebSocket};

use crate::common::{assert_nothing_left, drive};
use crate::crowd::{self, Speech};
use crate::gauge::{alone, heap};
use crate::stage::Stage;

const CROWD: usize = 1000;

/// Subscribed to "t"; counts the bytes that it gets, or sends them on.
struct Listener {
    policy: Slow,
    sends: bool,
}

impl Protocol for Listener {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        Ok(cx.subscribe("t", self.policy)?)
    }

    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        input.take_all();
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        let Message::Published(publication) = message else { return Err(Failure::caller("not published")) };
        if self.sends {
            cx.send_shared(publication.payload().clone());
        }
        Ok(())
    }
}

impl Handler for Listener {
    fn on_open(&mut self, peer: &mut WebSocketPeer<'_, '_>) -> Result<(), Failure> {
        Ok(peer.subscribe("t", self.policy)?)
    }

    fn on_message(&mut self, _: &mut WebSocketPeer<'_, '_>, _: WebSocketMessage<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

#[test]
fn to_publish_allocates_nothing_for_a_subscriber() {
    let _alone = alone();
    let payload = Bytes::from_static(b"a payload that is nobody's copy");
    for policy in [
        Slow::DropOldest { waiting: 4 },
        Slow::DropNewest { waiting: 4 },
        Slow::KeepLatest { waiting: 4 },
        Slow::Close { waiting: 4 },
    ] {
        let mut crowd = Stage::new(CROWD, move || Listener { policy, sends: false });
        let mut rounds = |count: u64| {
            for round in 0..count {
                assert_eq!(crowd.event_loop.core().publish_keyed("t", round, payload.clone()), CROWD);
                assert_eq!(crowd.event_loop.core().publish("t", payload.clone()), CROWD);
                crowd.turn();
            }
            assert_eq!(crowd.event_loop.core().waiting_messages(), 0);
        };
        rounds(200);
        let heap = heap(|| rounds(100));
        println!("{policy:?}: 200 publications to {CROWD}: {} allocations", heap.allocations);
        assert!(heap.allocations <= 200, "one for each publication: {}", heap.allocations);
        assert_eq!(heap.change, 0, "bytes remain");
    }
}

#[test]
fn nor_does_it_for_one_that_is_slow() {
    let _alone = alone();
    let payload = Bytes::from_static(b"a payload that is nobody's copy");
    for policy in [Slow::DropOldest { waiting: 4 }, Slow::DropNewest { waiting: 4 }, Slow::KeepLatest { waiting: 4 }] {
        let mut crowd = Stage::new(CROWD, move || Listener { policy, sends: true });
        crowd.peers.iter().for_each(|peer| peer.set_window(0));
        crowd.event_loop.core().publish("t", vec![0; 300 << 10]); // above the high-water mark, from now on
        crowd.turn();
        let mut rounds = |count: u64| {
            for round in 0..count {
                crowd.event_loop.core().publish_keyed("t", round % 7, payload.clone());
                crowd.turn();
            }
        };
        rounds(20);
        let heap = heap(|| rounds(100));
        println!("{policy:?}: 100 publications to {CROWD} slow ones: {} allocations", heap.allocations);
        assert!(heap.allocations <= 100, "one for each publication: {}", heap.allocations);
        assert_eq!(crowd.event_loop.core().waiting_messages(), 4 * CROWD);
    }
}

#[test]
fn a_subscription_takes_little_and_gives_it_back() {
    let _alone = alone();
    let mut crowd = Stage::new(CROWD, || Listener { policy: Slow::default(), sends: false });
    let ids = crowd.ids();
    let before = crowd.event_loop.core().held_bytes();
    println!("a subscription: {} bytes counted", before / CROWD);
    assert!(before < 100 * CROWD + 1000, "{before} bytes for {CROWD} subscriptions of one topic");
    let heap = heap(|| {
        ids.iter().for_each(|&id| crowd.event_loop.core().abort(id));
        crowd.turn();
    });
    assert!(heap.change < -64 * CROWD as i64, "{} bytes", heap.change);
    assert_eq!((crowd.event_loop.core().topics(), crowd.event_loop.core().held_bytes()), (0, 0));
}

const PAYLOAD: usize = 64 << 10;

/// A WebSocket that is subscribed, and does nothing else.
fn web_listener() -> impl FnMut() -> WebSocket<Listener> {
    let settings = Rc::new(Settings { heartbeat: None, ..Settings::default() });
    move || WebSocket::with_settings(Listener { policy: Slow::DropOldest { waiting: 100 }, sends: true }, &settings)
}

#[test]
fn a_payload_is_there_once_however_many_web_sockets_get_it() {
    let _alone = alone();
    let mut event_loop = EventLoop::new().unwrap();
    let mut listener = web_listener();
    let server = event_loop.listen("127.0.0.1:0", move |_| Some(listener())).unwrap();
    let address = event_loop.local_addr(server).unwrap();
    let mut crowd = drive(&mut event_loop, || crowd::start(Speech::WebSocket, address, CROWD));
    let payload = "x".repeat(PAYLOAD);
    let mut publish = || {
        assert_eq!(event_loop.core().publish("t", payload.clone()), CROWD);
        drive(&mut event_loop, || crowd.order("hear"));
        assert_eq!(event_loop.core().waiting_messages(), 0);
    };
    publish(); // the lists grow
    for _ in 0..3 {
        let info = allocation_counter::measure(&mut publish);
        println!("64 KiB to {CROWD} WebSockets: {} bytes at most, {} in all", info.bytes_max, info.bytes_total);
        assert!(info.bytes_max < 4 * PAYLOAD as u64, "{} bytes at most", info.bytes_max);
        assert!(info.bytes_total < 16 * PAYLOAD as u64, "{} bytes in all", info.bytes_total);
    }
    let counters = event_loop.counters();
    assert_eq!((counters.publications_delivered, counters.publications_dropped), (4 * CROWD as u64, 0));
    drive(&mut event_loop, || crowd.order("vanish"));
    assert_nothing_left(&mut event_loop);
}

#[test]
fn who_does_not_take_it_holds_no_copy() {
    const ROUNDS: usize = 20;
    let _alone = alone();
    let mut crowd = Stage::new(CROWD, web_listener());
    crowd.shake_hands();
    crowd.peers.iter().for_each(|peer| peer.set_window(0));
    let payload = "x".repeat(PAYLOAD);
    let taken = heap(|| {
        for _ in 0..ROUNDS {
            assert_eq!(crowd.event_loop.core().publish("t", payload.clone()), CROWD);
            crowd.turn();
        }
    });
    let waiting = crowd.event_loop.core().waiting_messages();
    println!("{ROUNDS} times 64 KiB for {CROWD} that take nothing: {} bytes, {waiting} letters", taken.change);
    assert!(waiting >= CROWD * (ROUNDS - 6), "above the high-water mark they wait as letters");
    // Each payload once; for each of the slow some pieces of output and a box for them, letters, a timer.
    let most = ROUNDS * PAYLOAD + CROWD * (1000 + ROUNDS * 150);
    assert!(taken.change < most as i64, "{} bytes, {most} at most", taken.change);
    crowd.peers.iter().for_each(|peer| peer.set_window(usize::MAX));
    crowd.settle();
    let frame = PAYLOAD + 10;
    assert!(crowd.peers.iter().all(|peer| peer.take_received().len() == ROUNDS * frame), "and nothing was dropped");
}
