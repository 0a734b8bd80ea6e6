//! What the loop tells `tracing`. A program of its own: who is interested in an event is kept for all threads together.

#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

#[path = "../scripted/world.rs"]
#[allow(dead_code, reason = "others use the rest")]
mod world;

use std::fmt::{Debug, Write};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use switchboard::driver::AcceptError;
use switchboard::{Failure, Limits, Watchdog, protocol_fn};
use switchboard_echo::TcpEcho;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::world::{PORT, World, address, millis};

/// Writes down each event of the loop as a line.
#[derive(Clone, Default)]
struct Journal {
    lines: Arc<Mutex<Vec<String>>>,
    /// How often it was asked whether it wants an event.
    asked: Arc<AtomicU64>,
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        }
        .unwrap();
    }
}

impl Subscriber for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed);
        metadata.target() == "switchboard"
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.lines.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// What is told while `f` runs; one at a time.
fn told(f: impl FnOnce(&Journal)) -> Vec<String> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let journal = Journal::default();
    tracing::subscriber::with_default(journal.clone(), || f(&journal));
    journal.lines.lock().unwrap().clone()
}

#[test]
fn a_loop_s_life_is_told() {
    let lines = told(|_| {
        let mut world = World::new();
        world.listen(|| TcpEcho);
        let peer = world.peer();
        peer.send(b"hello");
        world.settle();
        world.event_loop.core().shutdown(Duration::from_secs(5));
        world.settle();
        peer.finish();
        world.settle();
        assert!(world.event_loop.tally().is_some());
    });
    let expected = [
        "DEBUG bound id=0.1 what=\"listener\" address=10.0.0.1:7000",
        "DEBUG opened id=1.2 peer=127.0.0.1:49152",
        "INFO the drain begins connections=1 timeout=5s",
        "DEBUG listener closed id=0.1",
        "DEBUG closed id=1.2 reason=closed by this side",
        "INFO the loop has ended drained=1 cut_off=0 took=0ns",
    ];
    let sorted = |line: &str| {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        words.sort();
        words
    };
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert_eq!(sorted(line), sorted(expected), "{line}");
    }
}

fn has(lines: &[String], words: &[&str]) -> bool {
    lines.iter().any(|line| words.iter().all(|word| line.contains(word)))
}

#[test]
fn what_goes_wrong_is_told_with_its_reason() {
    let lines = told(|_| {
        let limits = Limits { connections: 1, accept_retry: millis(70), ..Limits::default() };
        let mut world = World::with_limits(limits);
        world.listen(|| {
            protocol_fn(|_, input| {
                input.take_all();
                Err(Failure::caller("misused"))
            })
        });
        world.event_loop.listen(address(1), |_| None::<Box<dyn switchboard::Protocol>>).unwrap();
        let refused = world.network.connect(address(1)).unwrap();
        world.settle();
        assert!(refused.is_closed());
        let too_many = io::Error::other("too many open files");
        world.network.fail_accept(address(PORT), AcceptError::Retry(io::ErrorKind::ConnectionAborted.into()));
        world.network.fail_accept(address(PORT), AcceptError::Exhausted(too_many));
        world.settle();
        world.advance(millis(70));
        let peer = world.peer();
        let _waits = world.network.connect(address(PORT)).unwrap();
        world.settle();
        world.event_loop.connect(address(9), TcpEcho);
        peer.send(b"x");
        world.settle();
    });
    for words in [
        &["DEBUG", "refused", "listener=1.2", "peer=127.0.0.1"][..],
        &["DEBUG", "went before it was accepted", "connection aborted"],
        &["WARN", "cannot accept", "too many", "retry=70ms"],
        &["WARN", "accepts no more", "connections: the loop holds its 1 already"],
        &["WARN", "closed", "reason=a limit was hit: connections"],
        &["WARN", "closed", "reason=the program misused an interface: misused"],
    ] {
        assert!(has(&lines, words), "{words:?} in {lines:#?}");
    }
}

#[test]
fn that_the_loop_is_full_is_told_once_as_long_as_it_is() {
    let lines = told(|_| {
        let mut world = World::with_limits(Limits { connections: 16, ..Limits::default() });
        world.listen(|| TcpEcho);
        for _ in 0..2 {
            let peers: Vec<_> = (0..40).map(|_| world.network.connect(address(PORT)).unwrap()).collect();
            world.settle();
            for peer in peers {
                peer.reset();
                world.settle();
            }
            assert_eq!(world.event_loop.core().open_connections(), 0);
        }
    });
    assert_eq!(lines.iter().filter(|line| line.contains("accepts no more")).count(), 2, "{lines:#?}");
}

#[test]
fn failed_connects_and_stalls_are_told() {
    let lines = told(|_| {
        let mut world = World::new();
        world.network.refuse_connect(io::ErrorKind::ConnectionRefused);
        world.event_loop.connect(address(9), TcpEcho);
        world.event_loop.set_watchdog(Watchdog::new());
        let network = world.network.clone();
        world.listen(move || {
            let network = network.clone();
            protocol_fn(move |_, input| {
                input.take_all();
                network.advance(millis(200));
                Ok(())
            })
        });
        let peer = world.peer();
        peer.send(b"x");
        world.settle();
    });
    assert!(has(&lines, &["DEBUG", "closed", "could not connect: connection refused"]), "{lines:#?}");
    assert!(has(&lines, &["WARN", "on_data of ProtocolFn<", "took 200ms", "callback=on_data"]), "{lines:#?}");
}

#[test]
fn messages_are_not_told_of() {
    let mut asked = Vec::new();
    for messages in [1, 1000] {
        told(|journal| {
            let mut world = World::new();
            world.listen(|| TcpEcho);
            let peer = world.peer();
            let before = (journal.asked.load(Ordering::Relaxed), journal.lines.lock().unwrap().len());
            for _ in 0..messages {
                peer.send(b"hello");
                world.settle();
            }
            assert_eq!(journal.lines.lock().unwrap().len(), before.1);
            asked.push(journal.asked.load(Ordering::Relaxed) - before.0);
        });
    }
    assert_eq!(asked, [0, 0]);
}
