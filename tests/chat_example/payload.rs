//! What a message costs, by the allocator's count. The rooms are the example's own, in this process.

use std::rc::Rc;
use std::time::Duration;

use allocation_counter::measure;
use switchboard::testkit::{self, Peer};
use switchboard::{EventLoop, Limits, Slow};
use switchboard_websocket::WebSocket;

use super::*;
use crate::line::Line;
use crate::rooms::{Chat as Rooms, Rules};
use crate::web::Web;
use crate::wire::web_socket::{REQUEST, TEXT, frame};

const RULES: Rules =
    Rules { text: 100_000, rooms: 8, rate: 1_000_000, notices: 0, slow: Slow::DropOldest { waiting: 1000 } };

/// What a hundred messages cost.
#[derive(Debug)]
struct Cost {
    allocations: u64,
    bytes: u64,
}

/// A room with `browsers` and `terminals` on real sockets, in which one says a hundred messages of `length` characters.
fn cost(browsers: usize, terminals: usize, length: usize) -> Cost {
    let mut event_loop = EventLoop::new().unwrap();
    let rooms = Rc::new(Rooms::new(RULES));
    let shared = Rc::clone(&rooms);
    let web = event_loop.listen("127.0.0.1:0", move |_| Some(WebSocket::server(Web::new(&shared)))).unwrap();
    let line = event_loop.listen("127.0.0.1:0", move |_| Some(Line::new(&rooms))).unwrap();
    let (web, line) = (event_loop.local_addr(web).unwrap(), event_loop.local_addr(line).unwrap());
    let mut streams = wire::drive(&mut event_loop, || {
        let mut streams: Vec<TcpStream> = (0..browsers).map(|number| browser(web, number)).collect();
        streams.extend((0..terminals).map(|number| terminal(line, number)));
        streams
    });
    let members = browsers + terminals;
    let say = json!({"do": "say", "room": "lobby", "text": "x".repeat(length)}).to_string();
    let say = frame(TEXT, say.as_bytes());
    let mut cost = Cost { allocations: 0, bytes: 0 };
    let mut buffer = vec![0; 64 * 1024];
    for round in 0..110 {
        streams[0].write_all(&say).unwrap();
        let delivered = event_loop.counters().publications_delivered + members as u64;
        let info = measure(|| {
            wire::turn_until(&mut event_loop, "all have it", |it| it.counters().publications_delivered == delivered);
        });
        for stream in &mut streams {
            assert!(stream.read(&mut buffer).unwrap() > 0);
        }
        if round >= 10 {
            // What the loop keeps has its size now.
            cost.allocations += info.count_total;
            cost.bytes += info.bytes_total;
        }
    }
    cost
}

fn browser(address: SocketAddr, number: usize) -> TcpStream {
    let mut stream = wire::tcp(address);
    stream.write_all(&String::from_utf8_lossy(REQUEST).replace("/echo", "/chat").into_bytes()).unwrap();
    for ask in [json!({"do": "name", "name": format!("b{number}")}), json!({"do": "join", "room": "lobby"})] {
        stream.write_all(&frame(TEXT, ask.to_string().as_bytes())).unwrap();
    }
    read_until(&mut stream, r#""is":"room""#);
    stream
}

fn terminal(address: SocketAddr, number: usize) -> TcpStream {
    let mut stream = wire::tcp(address);
    stream.write_all(format!("/name t{number}\n/join lobby\n").as_bytes()).unwrap();
    read_until(&mut stream, "[lobby] * ");
    stream
}

fn read_until(stream: &mut TcpStream, end: &str) {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    while !String::from_utf8_lossy(&all).contains(end) {
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "{}", String::from_utf8_lossy(&all));
        all.extend(&buffer[..count]);
    }
}

#[test]
fn what_a_message_allocates_does_not_grow_with_the_members() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    const LENGTH: usize = 2000;
    let (few, many) = (cost(10, 10, LENGTH), cost(500, 500, LENGTH));
    println!("a hundred messages of {LENGTH} characters: {few:?} for 20 members, {many:?} for 1000");
    assert_eq!(few.allocations, many.allocations);
    assert_eq!(few.bytes, many.bytes);
    // As JSON it is read, kept, made anew and grows on the way to that; as a line it is made once more.
    assert!(many.allocations <= 100 * 24, "{} allocations a message", many.allocations / 100);
    assert!(many.bytes <= 100 * 12 * LENGTH as u64, "{} bytes a message", many.bytes / 100);
}

/// Heap bytes that each of fifty messages takes, which wait for a thousand members who read nothing.
fn waiting(length: usize) -> Vec<i64> {
    let (driver, network) = testkit::network();
    let limits = Limits { high_water: 4096, low_water: 1024, ..Limits::default() };
    let mut event_loop = EventLoop::with_driver(driver, limits).unwrap();
    let rooms = Rc::new(Rooms::new(RULES));
    let settings = Rc::default();
    let web =
        event_loop.listen("10.0.0.1:80", move |_| Some(WebSocket::with_settings(Web::new(&rooms), &settings))).unwrap();
    let address = event_loop.local_addr(web).unwrap();
    let members: Vec<Peer> = (0..1000).map(|_| network.connect(address).unwrap()).collect();
    for (number, member) in members.iter().enumerate() {
        member.send(&String::from_utf8_lossy(REQUEST).replace("/echo", "/chat").into_bytes());
        for ask in [json!({"do": "name", "name": format!("b{number}")}), json!({"do": "join", "room": "lobby"})] {
            member.send(&frame(TEXT, ask.to_string().as_bytes()));
        }
    }
    while event_loop.core().topic_counters("room/lobby/json").is_none_or(|counters| counters.subscribers < 1000) {
        event_loop.turn(Some(Duration::ZERO)).unwrap();
    }
    for member in &members {
        drop(member.take_received());
        member.set_window(0);
    }
    let say = json!({"do": "say", "room": "lobby", "text": "x".repeat(length)}).to_string();
    let say = frame(TEXT, say.as_bytes());
    let mut round = || {
        members[0].send(&say);
        network.advance(Duration::from_millis(1)); // it has a rate
        let published = event_loop.counters().publications;
        while event_loop.counters().publications == published {
            event_loop.turn(Some(Duration::ZERO)).unwrap();
        }
    };
    (0..10).for_each(|_| round()); // now everybody's output is high enough
    let taken = (0..50).map(|_| measure(&mut round).bytes_current).collect();
    assert_eq!(event_loop.core().open_connections(), 1000);
    taken
}

#[test]
fn what_waits_for_a_thousand_members_is_in_memory_once() {
    for length in [2000, 20_000] {
        let mut taken = waiting(length);
        let length = i64::try_from(length).unwrap();
        taken.sort();
        let (median, all) = (taken[25], taken.iter().sum::<i64>());
        println!("a message of {length} characters that waits for a thousand: {median} bytes; fifty of them {all}");
        // Now and then the letters of all members, each of some 60 bytes, need a larger room. The payload is there once.
        assert!((length..length + 300).contains(&median), "{median} bytes for one copy");
        assert!(all < 50 * (length + 150 * 1000), "{all} bytes");
    }
}
