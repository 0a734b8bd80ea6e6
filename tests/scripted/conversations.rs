//! Random conversations of several peers, from seeds: connects, pauses, timers, switches, layers,
//! posts, resets, narrow windows, a connection limit. Whatever the schedule, every byte is echoed in
//! order, each that opened is closed once, and nothing is left behind.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use switchboard::testkit::{MemoryDriver, Network, Peer, network, network_until_would_block};
use switchboard::{
    CloseReason, Closing, Context, EventLoop, Failure, Input, Layer, Layered, Limits, Message, Protocol, TimerId,
};

const SEEDS: u64 = 200;
const STEPS: u32 = 300;

/// What a connection's protocol saw of its end.
#[derive(Default)]
struct Ends {
    opened: u32,
    closed: u32,
    reasons: Vec<String>,
}

/// Echoes in chunks of up to seven bytes, pausing, resuming, waiting and switching as its own dice say.
struct Dicey {
    dice: ChaCha8Rng,
    ends: Rc<RefCell<Ends>>,
}

impl Dicey {
    fn roll(&mut self, sides: u32) -> bool {
        self.dice.next_u32().is_multiple_of(sides)
    }
}

impl Protocol for Dicey {
    fn on_open(&mut self, _: &mut Context<'_>) -> Result<(), Failure> {
        self.ends.borrow_mut().opened += 1;
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while !input.is_empty() {
            if !cx.has_room() || self.roll(40) {
                cx.pause_reading();
                cx.set_timer(Duration::from_millis(u64::from(self.dice.next_u32() % 50)));
                return Ok(());
            }
            if self.roll(30) {
                let dice = ChaCha8Rng::seed_from_u64(self.dice.next_u64());
                cx.switch_to(Self { dice, ends: Rc::clone(&self.ends) });
                return Ok(());
            }
            let count = (self.dice.next_u32() as usize % 7 + 1).min(input.len());
            let bytes = input.take(count);
            if count == 7 {
                cx.send_shared(bytes.to_vec().into());
            } else {
                cx.send(bytes);
            }
        }
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        cx.send(rest.take_all());
        cx.finish();
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        cx.resume_reading();
        Ok(())
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.resume_reading();
        Ok(())
    }

    fn on_message(&mut self, _: &mut Context<'_>, _: Message) -> Result<(), Failure> {
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, reason: &CloseReason) {
        self.ends.borrow_mut().closed += 1;
        self.ends.borrow_mut().reasons.push(reason.to_string());
    }
}

/// A layer that transforms: every byte is sent as its complement.
struct Complement;

impl<P: Protocol> Layer<P> for Complement {
    const SEALS: bool = true;

    fn on_data(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut Input<'_>,
        inner: &mut switchboard::Inner<P>,
    ) -> Result<(), Failure> {
        let bytes = input.take_all();
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
        inner.feed(cx, bytes)
    }

    fn on_eof(
        &mut self,
        cx: &mut Context<'_>,
        _: &mut Input<'_>,
        inner: &mut switchboard::Inner<P>,
    ) -> Result<(), Failure> {
        inner.feed_eof(cx)
    }

    fn seal(&mut self, cx: &mut Context<'_>, plain: &mut [u8]) -> Result<(), Failure> {
        plain.iter_mut().for_each(|byte| *byte = !*byte);
        cx.send(plain);
        Ok(())
    }
}

/// A peer with what it sent and got back.
struct Client {
    peer: Peer,
    ends: Rc<RefCell<Ends>>,
    sent: Vec<u8>,
    got: Vec<u8>,
    finished: bool,
    broken: bool,
}

struct World<const DRAINED: bool> {
    random: ChaCha8Rng,
    event_loop: EventLoop<MemoryDriver<DRAINED>>,
    network: Network,
    address: SocketAddr,
    /// The ends of those who will be accepted, in their order.
    waiting: Rc<RefCell<VecDeque<Rc<RefCell<Ends>>>>>,
    clients: Vec<Client>,
}

impl<const DRAINED: bool> World<DRAINED> {
    fn new(seed: u64, (driver, network): (MemoryDriver<DRAINED>, Network)) -> Self {
        let limits = Limits {
            high_water: 256,
            low_water: 32,
            send_buffer: 1 << 20,
            read_budget: 64,
            receive_buffer: 1 << 20,
            accepts_per_turn: 2,
            connections: 6,
            ..Limits::default()
        };
        let mut event_loop = EventLoop::with_driver(driver, limits).unwrap();
        let address: SocketAddr = "10.0.0.1:7".parse().unwrap();
        let waiting = Rc::<RefCell<VecDeque<Rc<RefCell<Ends>>>>>::default();
        let (queue, mut dice) = (Rc::clone(&waiting), ChaCha8Rng::seed_from_u64(!seed));
        event_loop
            .listen(address, move |_| -> Option<Box<dyn Protocol>> {
                let ends = queue.borrow_mut().pop_front().unwrap();
                let kind = dice.next_u32() % 3;
                let protocol = Dicey { dice: ChaCha8Rng::seed_from_u64(dice.next_u64()), ends };
                Some(match kind {
                    0 => Box::new(protocol),
                    1 => Box::new(Layered::new(Complement, protocol)),
                    _ => Box::new(Layered::new(Complement, Layered::new(Complement, protocol))),
                })
            })
            .unwrap();
        Self { random: ChaCha8Rng::seed_from_u64(seed), event_loop, network, address, waiting, clients: Vec::new() }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.random.next_u32() as usize % limit
    }

    fn step(&mut self) {
        let pick = self.below(self.clients.len().max(1));
        match (self.below(12), self.clients.get(pick).is_some()) {
            (0, _) | (_, false) => self.connect(),
            (1..=4, _) => self.send(pick),
            (5, _) => {
                let window = self.below(200);
                self.clients[pick].peer.set_window(window);
            }
            (6, _) => {
                let sizes: Vec<usize> = (0..self.below(5)).map(|_| self.below(4)).collect();
                self.clients[pick].peer.cut_reads(sizes.iter().copied());
                self.clients[pick].peer.cut_writes(sizes);
            }
            (7, _) if self.below(4) == 0 => {
                self.clients[pick].finished = true;
                self.clients[pick].peer.finish();
            }
            (8, _) if self.below(8) == 0 => {
                self.clients[pick].broken = true;
                self.clients[pick].peer.reset();
            }
            (9, _) => {
                if let Some(id) = self.clients[pick].peer.id() {
                    let _ = self.event_loop.core().post(id, Message::user(()));
                }
            }
            _ => self.network.advance(Duration::from_millis(self.random.next_u64() % 20)),
        }
        self.event_loop.turn(None).unwrap();
        self.collect();
    }

    fn connect(&mut self) {
        let ends = Rc::<RefCell<Ends>>::default();
        self.waiting.borrow_mut().push_back(Rc::clone(&ends));
        let peer = self.network.connect(self.address).unwrap();
        self.clients.push(Client { peer, ends, sent: Vec::new(), got: Vec::new(), finished: false, broken: false });
    }

    fn send(&mut self, pick: usize) {
        let count = self.below(150);
        let client = &mut self.clients[pick];
        if !client.finished && !client.broken {
            let bytes: Vec<u8> = (0..count).map(|_| self.random.next_u32().to_be_bytes()[0]).collect();
            client.peer.send(&bytes);
            client.sent.extend(bytes);
        }
    }

    fn collect(&mut self) {
        for client in &mut self.clients {
            client.got.extend(client.peer.take_received());
            assert!(client.sent.starts_with(&client.got), "what came back is what was sent, in order");
            assert!(client.ends.borrow().closed <= client.ends.borrow().opened, "closed more often than opened");
        }
    }

    /// Everybody opens their windows and finishes; the loop must come to rest with all echoed.
    fn finish(&mut self) {
        for client in &mut self.clients {
            client.peer.set_window(usize::MAX);
            if !client.broken {
                client.peer.finish();
            }
        }
        for _ in 0..20_000 {
            self.event_loop.turn(None).unwrap();
            self.collect();
            match self.event_loop.next_deadline() {
                Some(due) if due > self.network.now() => {
                    self.network.advance(due.saturating_since(self.network.now()));
                }
                None if !self.network.has_events() => break,
                _ => {}
            }
        }
        for client in &self.clients {
            let ends = client.ends.borrow();
            assert_eq!(ends.opened, ends.closed, "each that opened closed once: {:?}", ends.reasons);
            assert!(client.peer.is_closed(), "{:?}", ends.reasons);
            if !client.broken {
                assert_eq!(client.got, client.sent, "{:?}", ends.reasons);
                assert!(!client.peer.saw_reset(), "{:?}", ends.reasons);
            }
        }
        let core = self.event_loop.core();
        let left = (core.open_connections(), core.held_bytes(), core.armed_timers(), core.waiting_messages());
        assert_eq!(left, (0, 0, 0, 0), "connections, bytes, timers and messages left");
        assert_eq!(core.counters().open(), 0);
    }
}

fn run<const DRAINED: bool>(make: fn() -> (MemoryDriver<DRAINED>, Network)) {
    for seed in 0..SEEDS {
        let result = std::panic::catch_unwind(|| {
            let mut world = World::new(seed, make());
            for _ in 0..STEPS {
                world.step();
            }
            world.finish();
        });
        if let Err(panic) = result {
            println!("seed {seed}, readiness until WouldBlock: {}", !DRAINED);
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn random_conversations_lose_nothing_and_leave_nothing() {
    run(network);
}

#[test]
fn random_conversations_where_readiness_ends_at_would_block() {
    run(network_until_would_block);
}
