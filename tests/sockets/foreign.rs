//! The loop inside another: its descriptor is readable exactly while a turn would find something.

#![cfg(unix)]

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use switchboard::{Bytes, Context, EventLoop, Failure, Input, Message, Protocol, protocol_fn};
use switchboard_echo::UdpEcho;

use crate::common::{Deadline, PATIENCE, listen_echo, tcp};

/// A loop that watches another: level-triggered, by poll(2).
fn is_readable(event_loop: &EventLoop, wait: Duration) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let timeout = PollTimeout::try_from(wait).unwrap();
    poll(&mut [PollFd::new(event_loop.as_fd(), PollFlags::POLLIN)], timeout).unwrap() == 1
}

/// Serves whatever there is until the loop is idle; how many turns that took.
fn serve(event_loop: &mut EventLoop) -> usize {
    for turns in 0..100 {
        let due = event_loop.next_deadline().is_some_and(|due| due <= event_loop.now());
        if !due && !is_readable(event_loop, Duration::ZERO) {
            return turns;
        }
        event_loop.turn(Some(Duration::ZERO)).unwrap();
    }
    panic!("it is never idle");
}

#[test]
fn an_idle_loop_is_silent_and_each_thing_that_happens_shows() {
    let mut event_loop = EventLoop::new().unwrap();
    let address = listen_echo(&mut event_loop);
    serve(&mut event_loop);
    assert!(!is_readable(&event_loop, Duration::from_millis(20)));

    let mut stream = tcp(address);
    assert!(is_readable(&event_loop, PATIENCE), "somebody connects");
    serve(&mut event_loop);
    assert_eq!(event_loop.counters().opened, 1);

    for _ in 0..3 {
        stream.write_all(b"hello").unwrap();
        assert!(is_readable(&event_loop, PATIENCE), "bytes arrive");
        assert!(serve(&mut event_loop) <= 2);
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        assert!(!is_readable(&event_loop, Duration::from_millis(20)), "and it is silent again");
        assert_eq!(event_loop.next_deadline(), None);
    }

    let socket = event_loop.bind_udp("127.0.0.1:0", UdpEcho).unwrap();
    serve(&mut event_loop);
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"x", event_loop.local_addr(socket).unwrap()).unwrap();
    assert!(is_readable(&event_loop, PATIENCE), "a datagram");
    serve(&mut event_loop);

    let handle = event_loop.handle();
    for _ in 0..3 {
        handle.run(|_| ()).unwrap();
        assert!(is_readable(&event_loop, PATIENCE), "a handle was used");
        serve(&mut event_loop);
        assert!(!is_readable(&event_loop, Duration::from_millis(20)));
    }

    drop(stream);
    assert!(is_readable(&event_loop, PATIENCE), "the peer closes");
    serve(&mut event_loop);
    assert_eq!(event_loop.counters().open(), 0);
    assert!(!is_readable(&event_loop, Duration::from_millis(20)));
}

/// Notes what it is told.
#[derive(Default)]
struct Ears(Vec<u8>);

impl Protocol for Ears {
    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        self.0.extend_from_slice(input.take_all());
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        if let Message::Bytes(bytes) = message {
            cx.send(&bytes);
        }
        Ok(())
    }
}

#[test]
fn what_is_asked_of_it_between_turns_needs_no_turn_to_be_watched() {
    let mut event_loop = EventLoop::new().unwrap();
    let address = listen_echo(&mut event_loop);
    serve(&mut event_loop);
    let id = event_loop.connect(address, Ears::default());
    assert_eq!(event_loop.core().open_connections(), 1, "it is under way");
    assert!(is_readable(&event_loop, PATIENCE), "and shows when it stands");
    serve(&mut event_loop);

    // What a closure asks for is done when it has returned; so is what it sends.
    let second = event_loop.with(id, |cx| {
        cx.send(b"hello");
        cx.connect(address, Ears::default())
    });
    let second = second.unwrap();
    assert!(is_readable(&event_loop, PATIENCE));
    let deadline = Deadline::new();
    while event_loop.protocol::<Ears>(id).unwrap().0 != b"hello" || event_loop.with(second, |_| ()).is_none() {
        assert!(is_readable(&event_loop, deadline.left("the echo")));
        serve(&mut event_loop);
    }

    // What the core is asked for waits for the next turn, and that is due.
    event_loop.core().post(id, Bytes::from(" again")).unwrap();
    let due = event_loop.next_deadline();
    assert!(due.is_some_and(|due| due <= event_loop.now()));
    while event_loop.protocol::<Ears>(id).unwrap().0 != b"hello again" {
        serve(&mut event_loop);
        deadline.left("the second echo");
    }
    event_loop.core().close(id);
    event_loop.core().close(second);
    serve(&mut event_loop);
    assert!(event_loop.protocol::<Ears>(id).is_none());
}

#[test]
fn timers_are_for_the_deadline_and_do_not_make_it_readable() {
    let mut event_loop = EventLoop::new().unwrap();
    let address = listen_echo(&mut event_loop);
    let id = event_loop.connect(address, Ears::default());
    let deadline = Deadline::new();
    while event_loop.with(id, |cx| cx.set_timer(Duration::from_millis(30))).is_none() {
        assert!(is_readable(&event_loop, deadline.left("it stands")));
        serve(&mut event_loop);
    }
    serve(&mut event_loop);
    let due = event_loop.next_deadline().expect("the timer");
    assert!(!is_readable(&event_loop, Duration::from_millis(60)), "the timer is due by now");
    assert!(due <= event_loop.now());
    serve(&mut event_loop);
    assert_eq!(event_loop.next_deadline(), None);
}

/// As a loop that is told of edges alone (tokio's): what is not served must show by `next_deadline`.
#[test]
fn a_crowd_larger_than_one_poll_is_served_though_only_the_edge_was_told() {
    const CROWD: usize = 1500;
    rlimit::increase_nofile_limit(8192).unwrap();
    let mut event_loop = EventLoop::new().unwrap();
    let address = listen_echo(&mut event_loop);
    let mut crowd: Vec<_> = (0..CROWD)
        .map(|_| {
            let stream = tcp(address);
            serve(&mut event_loop);
            stream
        })
        .collect();
    let mut outer = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    outer.registry().register(&mut SourceFd(&event_loop.as_raw_fd()), Token(7), Interest::READABLE).unwrap();
    for stream in &mut crowd {
        stream.write_all(b"x").unwrap();
    }
    let (mut answered, deadline) = (0, Deadline::new());
    while answered < CROWD as u64 {
        let due = event_loop.next_deadline();
        let wait = due.map(|due| due.saturating_since(event_loop.now()));
        let wait = wait.unwrap_or_else(|| deadline.left("all are answered"));
        outer.poll(&mut events, Some(wait)).unwrap();
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        answered = event_loop.counters().bytes_out;
    }
    for stream in &mut crowd {
        stream.read_exact(&mut [0]).unwrap();
    }
}

#[test]
fn budgets_and_descriptors_go_together() {
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop
        .listen("127.0.0.1:0", |_| {
            Some(protocol_fn(|cx, input| {
                cx.send(input.take_all());
                Ok(())
            }))
        })
        .unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    let mut streams: Vec<_> = (0..20).map(|_| tcp(address)).collect();
    serve(&mut event_loop);
    for stream in &mut streams {
        stream.write_all(b"hello").unwrap();
    }
    let (mut calls, deadline) = (0, Deadline::new());
    while event_loop.counters().bytes_out < 100 {
        let due = event_loop.next_deadline().is_some_and(|due| due <= event_loop.now());
        assert!(due || is_readable(&event_loop, deadline.left("all are answered")), "never forgotten");
        event_loop.turn_within(Duration::ZERO).unwrap();
        calls += 1;
    }
    assert!(calls >= 20, "one visit a call: {calls}");
}
