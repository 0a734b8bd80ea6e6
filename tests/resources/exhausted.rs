//! A process that runs out of descriptors.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use switchboard::{Counters, EventLoop, Handle};
use switchboard_echo::TcpEcho;

use crate::common::{Deadline, PATIENCE, finish, round_trip, tcp};
use crate::crowd::{Process, orders, tell};
use crate::gauge::{Processor, alone};

/// Descriptors that the server may have, all in all.
const LIMIT: u32 = 48;

#[test]
fn a_server_out_of_descriptors_neither_spins_nor_stops_and_accepts_again() {
    let _alone = alone();
    let mut server = Process::start("exhausted::server", &[("STARVED_SERVER", "yes".into())]);
    let address: SocketAddr = server.reply().parse().unwrap();
    let mut clients: Vec<TcpStream> = (0..60).map(|_| tcp(address)).collect();
    let accepted: u32 = server.order("accepted").parse().unwrap();
    // At least half of them, or the others could not all have their turn together.
    assert!((30..LIMIT).contains(&accepted), "{accepted} accepted, then no more descriptors");
    assert_eq!(round_trip(&mut clients[0], b"served all the same"), b"served all the same");

    let observed = server.order("observe");
    let mut figures = observed.split(' ').map(|figure| figure.parse::<u64>().unwrap());
    let (turns, failures, micros) = (figures.next().unwrap(), figures.next().unwrap(), figures.next().unwrap());
    println!("in 500 ms without descriptors: {turns} turns, {failures} failed accepts, {micros} µs of processor time");
    assert!(turns <= 20, "{turns} turns in 500 ms: it spins");
    assert!((1..=10).contains(&failures), "{failures} attempts in 500 ms");
    assert!(micros < 50_000, "{micros} µs of processor time");

    // Some go: those who wait have their turn, the last one too.
    for mut client in clients.drain(..accepted as usize) {
        assert_eq!(finish(&mut client), b"");
    }
    for client in &mut clients {
        assert_eq!(round_trip(client, b"at last"), b"at last");
    }
    for mut client in clients {
        finish(&mut client);
    }
    assert_eq!(server.order("stop"), "60 opened, 60 closed");
}

/// Serves an echo with few descriptors, and tells what it sees.
#[test]
#[ignore = "the second process of another test"]
fn server() {
    if std::env::var("STARVED_SERVER").is_err() {
        return;
    }
    let (_, hard) = rlimit::getrlimit(rlimit::Resource::NOFILE).unwrap();
    rlimit::setrlimit(rlimit::Resource::NOFILE, LIMIT.into(), hard).unwrap();
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    let (handle, turns) = (event_loop.handle(), AtomicU64::new(0));
    let observer = Observer { handle: handle.clone(), turns: &turns, processor: Processor::of_this_thread() };
    thread::scope(|scope| {
        scope.spawn(|| {
            let _stops = StopAtEnd(handle);
            tell(&address.to_string());
            for order in orders() {
                match order.as_str() {
                    "accepted" => tell(&observer.accepted().to_string()),
                    "observe" => tell(&observer.observe()),
                    "stop" => return tell(&observer.last_words()),
                    other => panic!("what is {other}?"),
                }
            }
        });
        while event_loop.tally().is_none() {
            event_loop.turn(Some(PATIENCE)).unwrap();
            turns.fetch_add(1, Ordering::Relaxed);
        }
    });
}

/// Stops the loop when who gave it has ended, even by a panic.
struct StopAtEnd(Handle);

impl Drop for StopAtEnd {
    fn drop(&mut self) {
        let _ = self.0.stop();
    }
}

/// Looks at the loop from another thread.
struct Observer<'a> {
    handle: Handle,
    turns: &'a AtomicU64,
    processor: Processor,
}

impl Observer<'_> {
    fn counters(&self) -> Counters {
        let (sender, counters) = mpsc::channel();
        self.handle.run(move |core| sender.send(core.counters()).unwrap()).unwrap();
        counters.recv_timeout(PATIENCE).unwrap()
    }

    /// Waits until accepting has failed, and says how many were accepted before.
    fn accepted(&self) -> u64 {
        let deadline = Deadline::new();
        while self.counters().accept_errors == 0 {
            deadline.left("accepting fails");
        }
        self.counters().opened
    }

    /// What the loop does in 500 ms: turns, failed accepts, microseconds of processor time.
    fn observe(&self) -> String {
        let (failures, used) = (self.counters().accept_errors, self.processor.used());
        let turns = self.turns.load(Ordering::Relaxed);
        thread::sleep(Duration::from_millis(500)); // the time of observation
        let turns = self.turns.load(Ordering::Relaxed) - turns;
        let used = self.processor.used() - used;
        format!("{turns} {} {}", self.counters().accept_errors - failures, used.as_micros())
    }

    fn last_words(&self) -> String {
        let deadline = Deadline::new();
        let mut counters = self.counters();
        while counters.open() > 0 {
            deadline.left("all connections go");
            counters = self.counters();
        }
        format!("{} opened, {} closed", counters.opened, counters.closed)
    }
}
