//! Who is on the simulated network, what happens to them, and how they are judged in the end.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv6Addr};
#[cfg(unix)]
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::{Conditions, Host, Simulation};
use switchboard::{ConnectionId, Layered, Limits, Message, SocketId, Target, Time};
use switchboard_echo::UdpEcho;

use super::Report;
use super::datagrams::{Shouter, Shouts};
use super::hub::Board;
use super::servers::{Census, Counted, Ring};
use super::talker::{Order, Record};
use crate::dice::Dice;

mod sides;

use sides::{serve, talk};

const CLIENTS: usize = 3;
const MOST_PEOPLE: usize = 24;
const DIALECTS: u16 = 9;
/// The dialect of WebSockets: a third of them are written octet by octet, the others are of ours.
const WEBSOCKET: u16 = 5;
const WEBSOCKET_CALLER: u16 = 7;
const TUNNELLED_CALLER: u16 = 8;
/// Topics, the last two dialects there are to choose from; half of those who speak them do so through a layer.
const HUB: u16 = 9;
const SEALED_HUB: u16 = 10;
/// The UDP echo's port; those of the TCP listeners are `PORT` and on, in the order of the dialects.
const PORT: u16 = 7000;
const LONGEST_STALL: Duration = Duration::from_secs(10);
/// Within this, everything comes to rest: longer than any timeout.
const LONG: Duration = Duration::from_secs(600);

/// An address that nobody has, and the first of the server's.
const NOBODY: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xbad));

/// Where a dialect is spoken on the server's own host.
#[cfg(unix)]
fn path(dialect: u16) -> PathBuf {
    PathBuf::from(format!("/run/{dialect}"))
}

/// How much may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Nothing that breaks a connection: everybody must hear everything.
    Gentle,
    /// Partitions, stalls, resets and sudden ends: what is heard must be right.
    Wild,
    /// As gentle, until the server drains in the midst of it.
    Draining,
}

struct Person {
    host: Host,
    id: ConnectionId,
    record: Rc<RefCell<Record>>,
}

pub(super) struct World<'a, const SHORT_MEANS_DRAINED: bool> {
    simulation: Simulation<SHORT_MEANS_DRAINED>,
    dice: Dice<'a>,
    mood: Mood,
    server: Host,
    clients: [Host; CLIENTS],
    people: Vec<Person>,
    shouters: Vec<(Host, SocketId, Rc<RefCell<Shouts>>)>,
    ring: Rc<RefCell<Ring>>,
    board: Rc<RefCell<Board>>,
    census: Rc<RefCell<Census>>,
    drained: bool,
}

impl<'a, const SHORT_MEANS_DRAINED: bool> World<'a, SHORT_MEANS_DRAINED> {
    pub(super) fn new(mut simulation: Simulation<SHORT_MEANS_DRAINED>, dice: Dice<'a>, mood: Mood) -> Self {
        let limits = Limits {
            high_water: 4096,
            low_water: 512,
            read_budget: 2048,
            accepts_per_turn: 2,
            mailbox: 20,
            connections: MOST_PEOPLE / 2,
            ..Limits::default()
        };
        let server = simulation.add_host_with("server", limits);
        let clients = ["ann", "bob", "cid"].map(|name| {
            let connect_timeout = Duration::from_secs(60); // a lookup may take its time
            simulation
                .add_host_with(name, Limits { high_water: 8192, low_water: 1024, connect_timeout, ..Limits::default() })
        });
        let (ring, board, census) = (Rc::default(), Rc::default(), Rc::default());
        let (people, shouters) = (Vec::new(), Vec::new());
        let mut world =
            Self { simulation, dice, mood, server, clients, people, shouters, ring, board, census, drained: false };
        world.listen();
        world.bind();
        world
    }

    fn listen(&mut self) {
        for dialect in 0..=SEALED_HUB {
            let address = self.simulation.address(self.server, PORT + 1 + dialect);
            let (ring, board, census) = (Rc::clone(&self.ring), Rc::clone(&self.board), Rc::clone(&self.census));
            let factory = move |_: &_| {
                let counted = Counted(Rc::clone(&census));
                Some(Layered::new(counted, serve(dialect, &ring, &board)))
            };
            let event_loop = self.simulation.event_loop(self.server);
            #[cfg(unix)]
            event_loop.listen_unix(path(dialect), factory.clone()).expect("a free path");
            event_loop.listen(address, factory).expect("a free port");
        }
        let addresses = [NOBODY, self.simulation.address_v6(self.server, 0).ip()];
        let addresses = addresses.into_iter().chain([self.simulation.address(self.server, 0).ip()]);
        self.simulation.set_addresses("server", addresses.collect::<Vec<_>>());
    }

    fn bind(&mut self) {
        let target = self.simulation.address(self.server, PORT);
        self.simulation.event_loop(self.server).bind_udp(target, UdpEcho).expect("a free port");
        for host in self.clients {
            let address = self.simulation.address(host, 0);
            let record = Rc::<RefCell<Shouts>>::default();
            let shouter = Shouter { target, record: Rc::clone(&record) };
            let id = self.simulation.event_loop(host).bind_udp(address, shouter).expect("a free port");
            self.shouters.push((host, id, record));
        }
    }

    /// Up to `steps` things happen.
    pub(super) fn live(&mut self, steps: u32) {
        for _ in 0..steps {
            if self.dice.is_used_up() {
                return;
            }
            match self.dice.below(16) {
                0..=1 => self.meet(),
                2..=7 => self.say(),
                8 => self.shout(),
                9 => self.order(Order::Pause),
                10 => self.order(Order::Resume),
                11 => self.order(Order::Goodbye),
                12..=13 => self.pass_time(),
                14 => self.change_weather(),
                _ => self.trouble(),
            }
        }
    }

    /// Somebody connects.
    fn meet(&mut self) {
        if self.people.len() == MOST_PEOPLE {
            return;
        }
        let dialect = self.dice.choice(DIALECTS);
        let host = self.clients[self.dice.index(CLIENTS)];
        let name = u32::try_from(self.people.len()).expect("few people");
        let dialect = match (dialect, name % 3) {
            (WEBSOCKET, 1) => WEBSOCKET_CALLER,
            (WEBSOCKET, 2) => TUNNELLED_CALLER,
            (7.., _) if name.is_multiple_of(2) => HUB,
            (7.., _) => SEALED_HUB,
            (dialect, _) => dialect,
        };
        let record = Rc::<RefCell<Record>>::default();
        let protocol = talk(dialect, name, self.mood, &record);
        let (host, target) = self.way_to(dialect, host, name);
        let id = self.simulation.event_loop(host).connect(target, protocol);
        self.people.push(Person { host, id, record });
    }

    /// Whoever it is connects by address, by name, or, where that may fail for want of the server's descriptors, from the
    /// server's own host by a Unix socket.
    fn way_to(&self, dialect: u16, host: Host, name: u32) -> (Host, Target) {
        match name % 4 {
            1 => (host, ("server", PORT + 1 + dialect).into()),
            #[cfg(unix)]
            3 if self.mood != Mood::Gentle && !self.drained => (self.server, path(dialect).into()),
            _ => (host, self.simulation.address(self.server, PORT + 1 + dialect).into()),
        }
    }

    /// Somebody says a word, or several: more than there is room for.
    fn say(&mut self) {
        let Some(person) = self.somebody() else { return };
        let words = if self.dice.one_in(3) { self.dice.below(12) + 1 } else { 1 };
        for _ in 0..words {
            let word = self.dice.word(3000);
            self.tell(person, Order::Say(word));
        }
    }

    fn order(&mut self, order: Order) {
        if let Some(person) = self.somebody() {
            self.tell(person, order);
        }
    }

    fn somebody(&mut self) -> Option<usize> {
        (!self.people.is_empty()).then(|| self.dice.index(self.people.len()))
    }

    /// Tells somebody, by one way or another.
    fn tell(&mut self, person: usize, order: Order) {
        let person = &self.people[person];
        let event_loop = self.simulation.event_loop(person.host);
        // Handed back where the person has gone, or has been told too much already.
        if self.dice.one_in(4) {
            let _ = event_loop.handle().post(person.id, Message::user(order));
        } else {
            let _ = event_loop.core().post(person.id, Message::user(order));
        }
    }

    fn shout(&mut self) {
        let word = self.dice.word(1000);
        let (host, id, _) = self.shouters[self.dice.index(CLIENTS)];
        let _ = self.simulation.event_loop(host).core().post(id, Message::user(Order::Say(word)));
    }

    /// Where all must stay alive, not for long: who pauses does not answer the server's probes.
    fn pass_time(&mut self) {
        let longest = if self.mood == Mood::Wild && self.dice.one_in(4) { 20_000 } else { 100 };
        let millis = self.dice.below(longest);
        self.simulation.run_for(Duration::from_millis(millis.into()));
    }

    fn change_weather(&mut self) {
        let conditions = match (self.dice.below(4), self.mood) {
            (0, _) => Conditions::default(),
            (1, Mood::Wild) => Conditions::hostile(),
            (2, _) => {
                let small = 1 + self.dice.index(50);
                Conditions { send_buffer: small, receive_buffer: small, segment: 7, ..Conditions::rough() }
            }
            _ => Conditions::rough(),
        };
        self.simulation.set_conditions(conditions);
    }

    fn trouble(&mut self) {
        let host = self.clients[self.dice.index(CLIENTS)];
        let millis = LONGEST_STALL * self.dice.below(256) / 256;
        match (self.dice.below(8), self.mood) {
            (0, _) => self.simulation.exhaust_descriptors(self.server, millis / 10),
            (1, Mood::Draining) => self.drain(millis),
            (1, Mood::Wild) if self.dice.one_in(4) => self.drain(millis),
            (2, Mood::Wild) => self.simulation.partition(host, self.server),
            (3, Mood::Wild) => self.simulation.heal(host, self.server),
            (4, Mood::Wild) => self.simulation.stall(host, millis),
            (5, Mood::Wild) => self.simulation.stall(self.server, millis),
            (6, Mood::Wild) => self.simulation.jump_clock(host, millis),
            (7, Mood::Wild) => self.order(Order::Abort),
            _ => {}
        }
    }

    fn drain(&mut self, timeout: Duration) {
        self.drained = true;
        self.simulation.event_loop(self.server).core().shutdown(timeout);
    }

    /// Everything is well again, everybody says goodbye, and all loops drain.
    pub(super) fn end(&mut self) {
        self.simulation.set_conditions(Conditions::default());
        for host in self.clients {
            self.simulation.heal(host, self.server);
        }
        self.simulation.run_for(LONGEST_STALL); // or a handle's order would come behind these
        self.say_goodbye();
        let people = &self.people;
        let over = self.simulation.run_until(LONG, |_| people.iter().all(|it| !it.record.borrow().reasons.is_empty()));
        let core = self.simulation.event_loop(self.server).core();
        let server = (core.open_connections(), core.held_bytes(), core.armed_timers(), core.counters());
        assert!(over, "somebody never came to an end: {:#?}\nat the server: {server:#?}", self.living());
        for host in [&[self.server], &self.clients[..]].concat() {
            self.simulation.event_loop(host).core().shutdown(Duration::from_secs(10));
        }
        self.simulation.run_for(LONG);
        self.judge();
    }

    /// Tells everybody that it is time to go; again those who can't have heard it, since a layer that is not open yet
    /// keeps only so many messages.
    fn say_goodbye(&mut self) {
        const AGAIN: Duration = Duration::from_secs(60);
        for round in 0..10 {
            for person in self.people.iter().filter(|person| round == 0 || !person.record.borrow().done) {
                let core = self.simulation.event_loop(person.host).core();
                for order in [Order::Resume, Order::Goodbye] {
                    let _ = core.post(person.id, Message::user(order));
                }
            }
            let people = &self.people;
            let all_know =
                |_: &mut _| people.iter().all(|it| it.record.borrow().done || !it.record.borrow().reasons.is_empty());
            if self.simulation.run_until(AGAIN, all_know) {
                return;
            }
        }
    }

    pub(super) fn report(&mut self) -> Report {
        let counters = self.simulation.event_loop(self.server).counters();
        let faults = self.simulation.faults();
        Report {
            digest: self.simulation.digest(),
            connections: counters.opened,
            bytes: counters.bytes_in,
            datagrams: counters.datagrams_in,
            letters: self.ring.borrow().posted,
            publications: self.board.borrow().delivered,
            drains: self.people.iter().map(|person| person.record.borrow().drains).sum(),
            faults: faults.short_reads
                + faults.short_writes
                + faults.would_blocks
                + faults.resets
                + faults.refused
                + faults.aborted_accepts
                + faults.exhausted
                + faults.retransmitted
                + faults.held
                + faults.datagrams_lost
                + faults.datagrams_duplicated
                + faults.datagrams_reordered
                + faults.failed_lookups
                + faults.slow_lookups,
            time: self.simulation.now().saturating_since(Time::ZERO),
        }
    }

    fn living(&self) -> Vec<String> {
        let living = self.people.iter().filter(|person| person.record.borrow().reasons.is_empty());
        living.map(|person| format!("{:?}", person.record.borrow())).collect()
    }

    fn judge(&mut self) {
        for person in &self.people {
            let record = person.record.borrow();
            assert!(!record.awaits_drain, "a drain that never came: {record:?}");
            if self.mood == Mood::Gentle {
                assert!(record.opened && record.done && record.complete, "not everything was heard: {record:?}");
            }
        }
        for (_, _, shouts) in &self.shouters {
            assert_eq!(shouts.borrow().closed, 1, "a socket that was not closed");
        }
        let census = self.census.borrow();
        assert_eq!(census.opened, census.closed, "opened and closed at the server");
        for host in [&[self.server], &self.clients[..]].concat() {
            let name = self.simulation.name(host).to_owned();
            let event_loop = self.simulation.event_loop(host);
            assert!(event_loop.tally().is_some(), "{name} did not come to its end");
            let core = event_loop.core();
            let left = (core.open_connections(), core.held_bytes(), core.armed_timers(), core.waiting_messages());
            assert_eq!(left, (0, 0, 0, 0), "connections, bytes, timers and messages left at {name}");
            assert_eq!(core.counters().open(), 0, "{name}");
        }
        let core = self.simulation.event_loop(self.server).core();
        // Without what was posted to the people who connect from the server's own host.
        let undelivered = core.counters().messages_undelivered - core.outgoing_counters().messages_undelivered;
        let ring = self.ring.borrow();
        let lost = undelivered - ring.unsent.get();
        assert_eq!(ring.posted, ring.delivered + lost, "lines are passed on, or counted");
        self.board.borrow().judge(&self.simulation.event_loop(self.server).counters());
    }
}
