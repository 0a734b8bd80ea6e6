//! Sessions over UDP between hosts: what is lost, doubled and overtaken, and that nothing else happens.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::{Conditions, Host, Simulation, check_seeds};
use switchboard::{
    Bytes, CloseReason, Closing, Context, Failure, Input, Message, Protocol, SessionOptions, TimerId, UdpOptions,
};

use crate::spy::{Log, Spy};

/// What both sides of a conversation are told.
#[derive(Default)]
struct Books {
    sent: u64,
    received: u64,
    back: u64,
    closed: Vec<String>,
}

type Shared = Rc<RefCell<Books>>;

/// The payload of a client's datagram: who, which, and as many bytes as follow from that.
fn payload(client: u32, number: u32) -> Vec<u8> {
    let mut payload = [client.to_le_bytes(), number.to_le_bytes()].concat();
    payload.resize(8 + (client as usize * 31 + number as usize * 17) % 900, number.to_le_bytes()[0]);
    payload
}

fn numbers(payload: &[u8]) -> Result<(u32, u32), Failure> {
    let at = |from: usize| -> Result<u32, Failure> {
        Ok(u32::from_le_bytes(payload.get(from..from + 4).unwrap_or_default().try_into()?))
    };
    Ok((at(0)?, at(4)?))
}

/// Sends so many datagrams at random times, and checks what comes back.
struct Client {
    number: u32,
    left: u32,
    books: Shared,
}

impl Protocol for Client {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.set_timer(Duration::ZERO);
        Ok(())
    }

    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        let (client, number) = numbers(input)?;
        assert_eq!(*input.take_all(), payload(client, number), "cut, joined or changed");
        assert_eq!(client, self.number, "somebody else's");
        self.books.borrow_mut().back += 1;
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        let Some(left) = self.left.checked_sub(1) else {
            cx.close();
            return Ok(());
        };
        self.left = left;
        for _ in 0..=cx.random_u32() % 3 {
            cx.send(&payload(self.number, left));
            self.books.borrow_mut().sent += 1;
        }
        let pause = if left == 0 { 10_000 } else { u64::from(cx.random_u32() % 50) };
        cx.set_timer(Duration::from_millis(pause));
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, reason: &CloseReason) {
        self.books.borrow_mut().closed.push(reason.to_string());
    }
}

/// Echoes one client, and notices if it is given another's datagrams.
struct Server {
    peer: SocketAddr,
    client: Option<u32>,
    books: Shared,
}

impl Protocol for Server {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        assert_eq!(cx.peer_addr(), Some(self.peer));
        let (client, number) = numbers(input)?;
        assert_eq!(*self.client.get_or_insert(client), client, "a session has one peer");
        assert_eq!(&**input, payload(client, number), "cut, joined or changed");
        self.books.borrow_mut().received += 1;
        // By way of a letter to itself: so sessions' mail is under test, too.
        let (id, copy) = (cx.id(), Bytes::copy_from_slice(input.take_all()));
        cx.post(id, copy).map_err(|_| std::io::Error::other("the mailbox is full"))?;
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        if let Message::Bytes(bytes) = message {
            cx.send(&bytes);
        }
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, reason: &CloseReason) {
        self.books.borrow_mut().closed.push(reason.to_string());
    }
}

fn foul() -> Conditions {
    Conditions {
        latency: Duration::from_millis(1)..=Duration::from_millis(30),
        loss: 0.1,
        duplicated: 0.1,
        reordered: 0.1,
        would_block: 0.2,
        send_buffer: 2000,
        receive_buffer: 4000,
        ..Conditions::default()
    }
}

/// The network, its hosts (the server first), and what was noted.
fn run(seed: u64, conditions: Conditions, clients: u32) -> (Simulation, Vec<Host>, Shared) {
    let mut sim = Simulation::new(seed);
    sim.set_conditions(conditions);
    let server = sim.add_host("server");
    let address = sim.address(server, 7);
    let books = Shared::default();
    let mut options = SessionOptions::default();
    options.idle_timeout = Duration::from_secs(20);
    let factory = {
        let books = Rc::clone(&books);
        move |accepted: &switchboard::Accepted| {
            Some(Server { peer: accepted.peer?, client: None, books: Rc::clone(&books) })
        }
    };
    sim.event_loop(server).bind_sessions_with(address, &options, factory).unwrap();
    let mut hosts = vec![server];
    for number in 0..clients {
        // Two on a host: they differ by their ports alone.
        if number % 2 == 0 {
            hosts.push(sim.add_host("client"));
        }
        let host = hosts[hosts.len() - 1];
        let client = Client { number, left: 40, books: Rc::clone(&books) };
        let target: switchboard::Target = if number % 3 == 0 { ("server", 7).into() } else { address.into() };
        sim.event_loop(host).connect_udp(target, client);
    }
    sim.run_for(Duration::from_secs(120));
    (sim, hosts, books)
}

#[test]
fn every_datagram_is_whole_its_peer_s_and_accounted_for() {
    check_seeds(0..60, |seed| {
        let (mut sim, hosts, books) = run(seed, foul(), 6);
        let books = books.borrow();
        let faults = sim.faults();
        let dropped: u64 = hosts.iter().map(|&host| sim.event_loop(host).counters().datagrams_dropped).sum();
        let counters = sim.event_loop(hosts[0]).counters();
        // There and back; what was sent is what arrived, what was lost and what no queue took, less what came twice.
        let arrived = books.received + books.back;
        let sent = books.sent + books.received;
        assert_eq!(sent + faults.datagrams_duplicated, arrived + faults.datagrams_lost + dropped, "{faults:?}");
        assert!(faults.datagrams_lost > 0 && faults.datagrams_duplicated > 0 && faults.datagrams_reordered > 0);
        assert_eq!((counters.datagrams_in, counters.sessions_refused), (books.received, 0));
        assert_eq!((counters.opened, counters.closed), (6, 6));
        let idle = books.closed.iter().filter(|reason| reason.contains("nothing came")).count();
        assert_eq!((books.closed.len(), idle), (12, 6), "{:?}", books.closed);
        for host in hosts {
            let core = sim.event_loop(host).core();
            assert_eq!((core.open_sessions(), core.open_connections(), core.held_bytes()), (0, 0, 0));
        }
    });
}

#[test]
fn a_calm_network_delivers_each_once() {
    let (sim, _, books) = run(7, Conditions::default(), 10);
    let books = books.borrow();
    assert_eq!((books.received, books.back), (books.sent, books.sent));
    assert_eq!(sim.faults().datagrams_lost, 0);
}

#[test]
fn a_run_can_be_repeated() {
    let digest = |seed| run(seed, foul(), 4).0.digest();
    assert_eq!(digest(3), digest(3));
    assert_ne!(digest(3), digest(4));
}

#[test]
fn where_nobody_is_bound_a_connected_session_is_refused() {
    let mut sim = Simulation::new(1);
    let (there, here) = (sim.add_host("there"), sim.add_host("here"));
    let log = Log::default();
    let hello = |cx: &mut Context<'_>| {
        cx.send(b"anybody there?");
        Ok(())
    };
    let nobody = sim.address(there, 7);
    sim.event_loop(here).connect_udp(nobody, Spy::new("refused", &log).on_open(hello));
    // Where no host is nobody says so.
    sim.event_loop(here)
        .connect_udp("10.9.9.9:7".parse::<SocketAddr>().unwrap(), Spy::new("lost", &log).on_open(hello));
    sim.run_for(Duration::from_secs(10));
    assert_eq!(
        log.take(),
        ["refused open", "lost open", "refused close: connection broke: connection refused, 0 bytes unsent"]
    );
    // A socket that is connected to somebody else is nobody, too; a bound one is not told.
    let elsewhere = sim.address(here, 9);
    let other = sim.event_loop(there).connect_udp(elsewhere, Spy::new("other", &log));
    let taken = sim.event_loop(there).local_addr(other).unwrap();
    sim.event_loop(here).connect_udp(taken, Spy::new("refused", &log).on_open(hello));
    sim.run_for(Duration::from_secs(10));
    assert_eq!(
        log.take(),
        ["other open", "refused open", "refused close: connection broke: connection refused, 0 bytes unsent"]
    );
}

#[test]
fn a_partition_loses_datagrams_and_refuses_none() {
    let mut sim = Simulation::new(1);
    let (there, here) = (sim.add_host("there"), sim.add_host("here"));
    sim.partition(there, here);
    let log = Log::default();
    let nobody = sim.address(there, 7);
    sim.event_loop(here).connect_udp(
        nobody,
        Spy::new("it", &log).on_open(|cx| {
            cx.send(b"anybody there?");
            Ok(())
        }),
    );
    sim.run_for(Duration::from_secs(10));
    assert_eq!((log.take(), sim.faults().datagrams_lost), (vec!["it open".into()], 1));
}

#[test]
fn a_host_knows_its_own_address() {
    let mut sim = Simulation::new(1);
    let (server, client) = (sim.add_host("server"), sim.add_host("client"));
    let mut options = SessionOptions::default();
    options.udp.local_addresses = true;
    let address = sim.address(server, 7);
    let echo = |_: &_| {
        Some(switchboard::protocol_fn(|cx, input| {
            input.take_all();
            cx.send(format!("{}", cx.local_addr().unwrap()).as_bytes());
            Ok(())
        }))
    };
    sim.event_loop(server).bind_sessions_with("0.0.0.0:7", &options, echo).unwrap();
    let log = Log::default();
    sim.event_loop(client).connect_udp_with(
        address,
        &UdpOptions::default(),
        Spy::new("it", &log).on_open(|cx| {
            cx.send(b"where are you?");
            Ok(())
        }),
    );
    sim.run_for(Duration::from_secs(1));
    assert_eq!(log.take(), ["it open", "it data 10.0.0.1:7"]);
}

#[test]
fn a_host_that_was_held_up_loses_no_session() {
    let mut sim = Simulation::new(5);
    let (server, client) = (sim.add_host("server"), sim.add_host("client"));
    let address = sim.address(server, 7);
    let mut options = SessionOptions::default();
    options.idle_timeout = Duration::from_secs(5);
    let log = Log::default();
    let factory = {
        let log = log.clone();
        move |_: &_| Some(Spy::new("session", &log))
    };
    sim.event_loop(server).bind_sessions_with(address, &options, factory).unwrap();
    sim.event_loop(client).connect_udp(
        address,
        Spy::new("client", &log)
            .on_open(|cx| {
                cx.set_timer(Duration::from_secs(1));
                Ok(())
            })
            .on_timer(|cx, _| {
                cx.send(b"beat");
                cx.set_timer(Duration::from_secs(1));
                Ok(())
            }),
    );
    sim.run_for(Duration::from_secs(10));
    sim.stall(server, Duration::from_secs(60));
    sim.run_for(Duration::from_secs(90));
    let notes = log.take();
    assert!(!notes.iter().any(|note| note.contains("close")), "what it had been sent meanwhile was read first");
    assert!(notes.iter().filter(|note| *note == "session data beat").count() >= 95);
}
