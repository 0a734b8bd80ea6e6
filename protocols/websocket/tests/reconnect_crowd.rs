//! Many clients that connect again by themselves: they come back spread out.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

mod common;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use common::server::{Asking, URL};
use common::{Log, Logged};
use switchboard::testkit::Simulation;
use switchboard::{Backoff, Failure};
use switchboard_websocket::{Connect, Handler, Message, Peer, Reconnect, WebSocket};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than any wait here.
const LONG: Duration = Duration::from_secs(100);

/// Echoes.
struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        peer.send(message);
        Ok(())
    }
}

/// A server of this crate drains, and another takes its place: everybody comes back, within five seconds.
#[test]
fn a_crowd_comes_back_to_a_server_that_was_replaced() {
    const CLIENTS: usize = 500;
    let mut sim = Simulation::new(1);
    let host = sim.add_host("clients");
    let log = Log::default();
    let mut servers = (0..2).map(|_| sim.add_host("server")).collect::<Vec<_>>().into_iter();
    let mut serve = |sim: &mut Simulation| {
        let server = servers.next().unwrap();
        let address = sim.address(server, 80);
        sim.event_loop(server).listen(address, |_| Some(WebSocket::server(Echo))).unwrap();
        (server, address)
    };
    let (first, address) = serve(&mut sim);
    let (_, other) = serve(&mut sim);
    for _ in 0..CLIENTS {
        let log = Rc::clone(&log);
        let handler = move |_| Asking(Logged { log: Rc::clone(&log), echo: false });
        let _ = Reconnect::new(address, Connect::to(URL).unwrap(), handler)
            .or_to(other)
            .backoff(Backoff { first: 5 * SECOND, healthy_after: LONG, ..Backoff::default() })
            .start(sim.event_loop(host).core());
    }
    sim.run_for(10 * SECOND);
    assert_eq!(log.take(), vec!["open"; CLIENTS]);
    sim.event_loop(first).core().shutdown(10 * SECOND);
    let drained = sim.now();
    let mut opened = Vec::new();
    while sim.now() < drained + 6 * SECOND {
        sim.run_for(SECOND / 2);
        opened.push(log.take().iter().filter(|line| *line == "open").count());
    }
    assert_eq!(opened.iter().sum::<usize>(), CLIENTS, "{opened:?}");
    assert!(opened[..10].iter().all(|count| (25..80).contains(count)), "{opened:?}");
    assert_eq!(sim.event_loop(first).tally().map(|tally| tally.cut_off), Some(0));
}

#[test]
fn by_default_the_first_wait_is_within_five_seconds() {
    let mut sim = Simulation::new(1);
    let host = sim.add_host("client");
    let nobody = sim.address(host, 80);
    let attempts: Rc<RefCell<Vec<u32>>> = Rc::default();
    for _ in 0..200 {
        let noted = Rc::clone(&attempts);
        let handler = move |retry| {
            noted.borrow_mut().push(retry);
            Asking(Logged::default())
        };
        let _ = Reconnect::new(nobody, Connect::to(URL).unwrap(), handler).start(sim.event_loop(host).core());
    }
    sim.run_for(SECOND);
    let second = |attempts: &[u32]| attempts.iter().filter(|retry| **retry == 2).count();
    let early = second(&attempts.borrow());
    sim.run_for(4 * SECOND + Duration::from_millis(10));
    assert_eq!(second(&attempts.borrow()), 200, "a second retry follows the first, which is refused");
    assert!((20..60).contains(&early), "{early} of 200 in the first of five seconds");
}
