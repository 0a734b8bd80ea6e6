//! Both sides talk while a fifth of all datagrams is lost, another comes twice, and another late.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use switchboard::testkit::{Conditions, Simulation, check_seeds_on};
use switchboard::{Closing, Failure, TimerId};
use switchboard_reliable::{Closed, Handler, Peer, Reliable, Settings};

use super::{Dice, Ending};

/// What one side has to say, has said, and how it ended.
struct Script {
    /// Of each message the seed and the length.
    messages: Vec<(u64, usize)>,
    sent: Cell<usize>,
    /// Of the other side's.
    received: Cell<usize>,
    /// Closes when it has said all.
    closes: bool,
    ending: RefCell<Option<Ending>>,
}

fn message(seed: u64, length: usize) -> Vec<u8> {
    let mut dice = Dice(seed);
    (0..length.div_ceil(8)).flat_map(|_| dice.roll().to_le_bytes()).take(length).collect()
}

/// Says its messages as there is room, some at once and some after a while, and checks what it hears.
struct Talker {
    own: Rc<Script>,
    other: Rc<Script>,
    dice: Dice,
    owed_drain: bool,
    timer: Option<TimerId>,
    paused: bool,
}

impl Talker {
    fn new(own: &Rc<Script>, other: &Rc<Script>, seed: u64) -> Self {
        let (own, other) = (Rc::clone(own), Rc::clone(other));
        Self { own, other, dice: Dice(seed), owed_drain: false, timer: None, paused: false }
    }

    fn talk(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        for _ in 0..1 + self.dice.below(8) {
            if !peer.is_open() {
                return Ok(());
            }
            let Some(&(seed, length)) = self.own.messages.get(self.own.sent.get()) else {
                if self.own.closes {
                    peer.close();
                    self.paused = false;
                }
                return Ok(());
            };
            if !peer.has_room() {
                self.owed_drain = true;
                return Ok(());
            }
            peer.send(&message(seed, length)).map_err(Failure::caller)?;
            self.own.sent.set(self.own.sent.get() + 1);
        }
        self.timer = Some(peer.set_timer(self.dice.millis(300)));
        Ok(())
    }
}

impl Handler for Talker {
    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        self.talk(peer)
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, received: &[u8]) -> Result<(), Failure> {
        assert!(!self.paused, "delivery is paused");
        let number = self.own.received.get();
        assert!(number < self.other.sent.get(), "message {number} was never sent");
        let (seed, length) = self.other.messages[number];
        assert!(received == message(seed, length), "message {number} of {length} bytes came as {}", received.len());
        self.own.received.set(number + 1);
        if self.dice.below(20) == 0 && peer.is_open() {
            peer.pause_reading();
            self.paused = true;
            peer.set_timer(self.dice.millis(2_000));
        }
        Ok(())
    }

    fn on_timer(&mut self, peer: &mut Peer<'_, '_>, timer: TimerId) -> Result<(), Failure> {
        if self.timer == Some(timer) {
            return self.talk(peer);
        }
        self.paused = false;
        peer.resume_reading();
        Ok(())
    }

    fn on_drain(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        assert!(std::mem::take(&mut self.owed_drain), "told of room without having asked");
        self.talk(peer)
    }

    fn on_close(&mut self, _: &mut Closing<'_>, closed: &Closed<'_>) {
        let before = self.own.ending.replace(Some(Ending::new(closed)));
        assert_eq!(before, None, "closed twice");
    }
}

/// Timeouts that a fifth of loss never reaches.
fn settings(dice: &mut Dice) -> Rc<Settings> {
    let datagram = if dice.below(3) == 0 { 128 + dice.size(2_000) } else { 1_200 };
    let max_message = if dice.below(2) == 0 { 64 * 1024 } else { 3_000 };
    Rc::new(Settings {
        datagram,
        max_message,
        receive_window: if dice.below(3) == 0 { 2 * datagram + dice.size(20_000) } else { 256 * 1024 },
        send_buffer: 6 * max_message + dice.size(100_000),
        max_rto: Duration::from_secs(2),
        open_timeout: Duration::from_secs(600),
        timeout: Duration::from_secs(600),
        close_timeout: Duration::from_secs(3_600),
        ..Settings::default()
    })
}

fn script(dice: &mut Dice, most: usize, closes: bool) -> Rc<Script> {
    let count = dice.below(40);
    let mut left = 200_000;
    let messages = (0..count)
        .map(|_| {
            let length = match dice.below(12) {
                0 => dice.size(most + 1),
                1 => [0, 1, most, most - 1, 1_177, 1_178][dice.size(6)],
                _ => dice.size(400),
            };
            let length = length.min(left);
            left -= length;
            (dice.roll(), length)
        })
        .collect();
    Rc::new(Script { messages, sent: Cell::default(), received: Cell::default(), closes, ending: RefCell::default() })
}

/// Gives 1, how many messages arrived, and how many datagrams were lost, came twice, and came late.
fn run(seed: u64) -> [u64; 5] {
    let mut dice = Dice(seed);
    let mut sim = Simulation::new(seed);
    sim.set_conditions(Conditions {
        latency: Duration::from_millis(1)..=Duration::from_millis(1 + dice.below(60)),
        bandwidth: (dice.below(2) == 0).then_some(1_000_000),
        loss: 0.2,
        duplicated: 0.2,
        reordered: 0.2,
        would_block: 0.05,
        ..Conditions::default()
    });
    let (server, client) = (sim.add_host("server"), sim.add_host("client"));
    let address = sim.address(server, 7000);
    let (near, far) = (settings(&mut dice), settings(&mut dice));
    let most = near.max_message.min(far.max_message);
    let closer = dice.below(3);
    let (say, answer) = (script(&mut dice, most, closer != 1), script(&mut dice, most, closer != 0));
    let (own, other, used) = (Rc::clone(&answer), Rc::clone(&say), Rc::clone(&far));
    let factory =
        move |_: &switchboard::Accepted| Some(Reliable::server(Talker::new(&own, &other, seed)).with_settings(&used));
    sim.event_loop(server).bind_sessions(address, factory).expect("a free port");
    let talker = Talker::new(&say, &answer, !seed);
    sim.event_loop(client).connect_udp(address, Reliable::client(talker).with_settings(&near));
    let held = far.most_held();
    let ended = sim.run_until(Duration::from_secs(7_200), |sim| {
        assert!(sim.event_loop(server).core().held_bytes() <= held, "more memory than a session may have");
        say.ending.borrow().is_some() && answer.ending.borrow().is_some()
    });
    assert!(ended, "{:?} and {:?}", say.ending.borrow(), answer.ending.borrow());
    for (from, to) in [(&say, &answer), (&answer, &say)] {
        assert_eq!(to.received.get(), from.sent.get(), "arrived of those sent");
        let ending = from.ending.borrow().clone().expect("both have ended");
        assert!(ending.clean && ending.unsent == 0, "{ending:?}");
        assert!(from.sent.get() == from.messages.len() || !from.closes || ending.by_peer);
    }
    assert!(sim.run_to_rest(Duration::from_secs(120)), "something is left to do");
    for host in [server, client] {
        let core = sim.event_loop(host).core();
        assert_eq!((core.held_bytes(), core.open_connections(), core.open_sessions()), (0, 0, 0));
    }
    let faults = sim.faults();
    let arrived = (say.received.get() + answer.received.get()) as u64;
    [1, arrived, faults.datagrams_lost, faults.datagrams_duplicated, faults.datagrams_reordered]
}

#[test]
fn every_message_arrives_once_and_in_order() {
    let total = Mutex::new([0; 5]);
    check_seeds_on(2, 0..300, |seed| {
        let counts = run(seed);
        let mut total = total.lock().unwrap();
        for (sum, count) in total.iter_mut().zip(counts) {
            *sum += count;
        }
    });
    let [runs, messages, lost, duplicated, reordered] = total.into_inner().unwrap();
    println!("{runs} runs, {messages} messages; datagrams: {lost} lost, {duplicated} twice, {reordered} late");
    assert!(runs < 100 || lost.min(duplicated).min(reordered) > 10 * runs, "the weather was fine");
}
