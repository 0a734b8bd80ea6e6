//! What a broadcast costs: one copy of the payload, one write for each who gets it, whoever is slow.

use std::rc::Rc;

use switchboard::testkit::{MemoryDriver, Peer};
use switchboard::{EndpointId, EventLoop, Failure, Slow};
use switchboard_websocket::{
    Handler, Message, Peer as WebSocketPeer, Post, Settings, SharedBinary, SharedText, WebSocket,
};

use crate::gauge::alone;
use crate::stage::Stage;

const CROWD: usize = 10_000;
/// Of so many one takes nothing.
const SLOW: usize = 10;

/// Subscribed to "news", which it sends on as it comes.
struct Reader {
    slow: Slow,
}

impl Handler for Reader {
    fn on_open(&mut self, peer: &mut WebSocketPeer<'_, '_>) -> Result<(), Failure> {
        Ok(peer.subscribe("news", self.slow)?)
    }

    fn on_message(&mut self, _: &mut WebSocketPeer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

/// Ten thousand WebSockets that stand. What they are sent is counted, not kept.
fn crowd(slow: Slow) -> Stage {
    let settings = Rc::new(Settings { heartbeat: None, ..Settings::default() });
    let mut crowd = Stage::new(CROWD, move || WebSocket::with_settings(Reader { slow }, &settings));
    crowd.shake_hands();
    crowd.peers.iter().for_each(Peer::discard_received);
    crowd
}

/// Those that are to take nothing for a while.
fn slow(crowd: &Stage) -> impl Iterator<Item = &Peer> {
    crowd.peers.iter().step_by(SLOW)
}

/// Writes and bytes, each peer's.
fn counts(crowd: &Stage) -> Vec<(u64, u64)> {
    crowd.peers.iter().map(|peer| (peer.calls().1, peer.discarded())).collect()
}

/// What takes a payload to all of them.
type Send = fn(&mut EventLoop<MemoryDriver>, &[EndpointId], Vec<u8>);

fn publish(event_loop: &mut EventLoop<MemoryDriver>, _: &[EndpointId], payload: Vec<u8>) {
    assert_eq!(event_loop.core().publish("news", payload), CROWD);
}

fn publish_keyed(event_loop: &mut EventLoop<MemoryDriver>, _: &[EndpointId], payload: Vec<u8>) {
    assert_eq!(event_loop.core().publish_keyed("news", 7, payload), CROWD);
}

fn post_binary(event_loop: &mut EventLoop<MemoryDriver>, ids: &[EndpointId], payload: Vec<u8>) {
    let payload = SharedBinary::from(payload);
    ids.iter().for_each(|&id| event_loop.core().post(id, Post::Binary(payload.clone())).unwrap());
}

fn post_text(event_loop: &mut EventLoop<MemoryDriver>, ids: &[EndpointId], payload: Vec<u8>) {
    let payload = SharedText::from(String::from_utf8(payload).unwrap());
    ids.iter().for_each(|&id| event_loop.core().post(id, Post::Text(payload.clone())).unwrap());
}

/// Sends payloads of several lengths to a crowd, all of whom take them at once, by letters of `each` bytes beside their lists.
fn everybody_takes_it(slow: Slow, send: Send, each: usize) {
    let mut crowd = crowd(slow);
    let ids = crowd.ids();
    for len in [100, 1 << 10, 64 << 10] {
        for _ in 0..2 {
            send(&mut crowd.event_loop, &ids, vec![b'x'; len]); // lists grow
            crowd.settle();
        }
        let before = counts(&crowd);
        let info = allocation_counter::measure(|| {
            send(&mut crowd.event_loop, &ids, vec![b'x'; len]);
            crowd.settle();
        });
        let frame = (len
            + if len < 126 {
                2
            } else if len < 1 << 16 {
                4
            } else {
                10
            }) as u64;
        for (before, after) in before.iter().zip(counts(&crowd)) {
            assert_eq!(after, (before.0 + 1, before.1 + frame), "one write");
        }
        println!("{len} bytes to {CROWD}: {} bytes at most, {} allocations", info.bytes_max, info.count_total);
        // Of a post the letter's box; of nothing a copy for each.
        let most = len + CROWD * each + 1000;
        assert!(info.bytes_max < most as u64, "{} bytes at most, {most} wanted", info.bytes_max);
    }
}

#[test]
fn ten_thousand_web_sockets_get_a_publication_of_which_there_is_one_copy_by_one_write_each() {
    let _alone = alone();
    everybody_takes_it(Slow::DropOldest { waiting: 100 }, publish, 0);
    everybody_takes_it(Slow::KeepLatest { waiting: 100 }, publish_keyed, 0);
}

#[test]
fn and_so_they_get_what_is_posted_to_each() {
    let _alone = alone();
    everybody_takes_it(Slow::default(), post_binary, size_of::<Post>());
    everybody_takes_it(Slow::default(), post_text, size_of::<Post>());
}

/// The same where each tenth takes nothing: it holds no copy, and the others get theirs at once.
fn some_are_slow(slow: Slow, send: Send) {
    const ROUNDS: usize = 12;
    let mut crowd = crowd(slow);
    let ids = crowd.ids();
    self::slow(&crowd).for_each(|peer| peer.set_window(0));
    for len in [100, 1 << 10, 64 << 10] {
        let before = counts(&crowd);
        let info = allocation_counter::measure(|| {
            for _ in 0..ROUNDS {
                send(&mut crowd.event_loop, &ids, vec![b'x'; len]);
                crowd.turn();
            }
        });
        let waiting = crowd.event_loop.core().waiting_messages();
        println!("{ROUNDS} times {len} bytes to {CROWD}: {} bytes remain, {waiting} letters", info.bytes_current);
        for (index, (before, after)) in before.iter().zip(counts(&crowd)).enumerate().filter(|(n, _)| n % SLOW > 0) {
            assert_eq!(after.0 - before.0, ROUNDS as u64, "writes to number {index}, which takes all");
        }
        // Small ones are copied behind each other for who does not take them, large ones are referred to.
        let copied = if len > 4096 { ROUNDS * len } else { (CROWD / SLOW) * ROUNDS * 2 * (len + 4) };
        let most = copied + CROWD / SLOW * (1500 + ROUNDS * 250) + 500_000;
        assert!(info.bytes_current < most as i64, "{} bytes remain of {len}, {most} at most", info.bytes_current);
    }
    let before = counts(&crowd);
    self::slow(&crowd).for_each(|peer| peer.set_window(usize::MAX));
    crowd.settle();
    let after = counts(&crowd);
    assert!(before.iter().zip(&after).step_by(SLOW).all(|(before, after)| after.1 > before.1), "the slow get theirs");
    assert_eq!(crowd.event_loop.core().waiting_messages(), 0);
}

#[test]
fn who_is_slow_holds_no_copy_of_what_is_published_and_delays_nobody() {
    let _alone = alone();
    some_are_slow(Slow::DropOldest { waiting: 100 }, publish);
    some_are_slow(Slow::KeepLatest { waiting: 100 }, publish_keyed);
}

#[test]
fn nor_of_what_is_posted() {
    let _alone = alone();
    some_are_slow(Slow::default(), post_binary);
}
