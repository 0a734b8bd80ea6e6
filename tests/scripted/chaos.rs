//! Echoes under everything at once, in any order: the same seeds in every run.

use std::time::Duration;

use switchboard::driver::Ready;
use switchboard::testkit::Peer;
use switchboard::{Context, Failure, Input, Layered, Limits, Protocol};
use switchboard_echo::TcpEcho;

use crate::cipher::Cipher;
use crate::common::Sequence;
use crate::world::{PORT, World, address, millis};

/// Hands over to an echo once it has seen `after` bytes, echoing all the while.
struct Changing {
    after: usize,
}

impl Protocol for Changing {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        let count = input.len().min(self.after);
        cx.send(input.take(count));
        self.after -= count;
        if self.after == 0 {
            cx.switch_to(TcpEcho);
        }
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        cx.send(rest.take_all());
        cx.finish();
        Ok(())
    }
}

/// An echo of one kind or another.
fn echo(kind: usize) -> Box<dyn Protocol> {
    match kind {
        0 => Box::new(TcpEcho),
        1 => Box::new(Layered::new(Cipher::default(), TcpEcho)),
        2 => Box::new(Layered::new(Cipher::default(), Layered::new(Cipher::default(), TcpEcho))),
        3 => Box::new(Changing { after: 700 }),
        4 => Box::new(Layered::new(Cipher::default(), Changing { after: 900 })),
        _ => Box::new(Layered::new(Cipher::default(), Layered::new(Cipher::default(), Changing { after: 500 }))),
    }
}

struct Client {
    kind: usize,
    peer: Peer,
    sent: Vec<u8>,
    finished: bool,
    reset: bool,
}

struct Chaos<const SHORT_MEANS_DRAINED: bool> {
    world: World<SHORT_MEANS_DRAINED>,
    sequence: Sequence,
    clients: Vec<Client>,
}

impl<const SHORT_MEANS_DRAINED: bool> Chaos<SHORT_MEANS_DRAINED> {
    fn run(mut world: World<SHORT_MEANS_DRAINED>, seed: u64) {
        let mut accepted = 0;
        world
            .event_loop
            .listen(address(PORT), move |_| {
                accepted += 1;
                Some(echo((accepted - 1) % 6))
            })
            .unwrap();
        let mut chaos = Self { world, sequence: Sequence::new(seed), clients: Vec::new() };
        for _ in 0..300 {
            chaos.step();
        }
        chaos.wind_up(seed);
    }

    fn any(&mut self) -> Option<usize> {
        (!self.clients.is_empty()).then(|| self.sequence.below(self.clients.len()))
    }

    fn step(&mut self) {
        match self.sequence.below(20) {
            0 if self.clients.len() < 12 => {
                let peer = self.world.network.connect(address(PORT)).unwrap();
                let kind = self.clients.len() % 6;
                self.clients.push(Client { kind, peer, sent: Vec::new(), finished: false, reset: false });
            }
            1 => self.world.advance(millis(5)),
            2 => self.world.network.raise(Ready {
                key: (self.sequence.below(40) as u64) << 32 | self.sequence.below(14) as u64,
                readable: true,
                writable: true,
                read_closed: self.sequence.below(2) == 0,
                error: self.sequence.below(2) == 0,
            }),
            3..=6 => self.world.turn(),
            _ => {
                if let Some(client) = self.any() {
                    self.trouble(client);
                }
            }
        }
    }

    /// Something happens to one connection.
    fn trouble(&mut self, client: usize) {
        let Self { sequence, clients, .. } = self;
        let client = &mut clients[client];
        if client.reset {
            return;
        }
        let sizes = |sequence: &mut Sequence| (0..5).map(|_| sequence.below(40)).collect::<Vec<_>>();
        match sequence.below(12) {
            0 => client.peer.set_window(sequence.below(2000)),
            1 => client.peer.set_window(usize::MAX),
            2 => client.peer.cut_reads(sizes(sequence)),
            3 => client.peer.cut_writes(sizes(sequence)),
            4 if sequence.below(8) == 0 => {
                client.peer.reset();
                client.reset = true;
            }
            5 if sequence.below(4) == 0 => {
                client.peer.finish();
                client.finished = true;
            }
            _ if !client.finished => {
                let len = 1 << sequence.below(12);
                let bytes = sequence.bytes(len);
                client.peer.send(&bytes);
                client.sent.extend(bytes);
            }
            _ => {}
        }
    }

    /// The trouble ends: everybody gets everything.
    fn wind_up(&mut self, seed: u64) {
        for client in &self.clients {
            client.peer.set_window(usize::MAX);
        }
        self.world.settle();
        for client in &self.clients {
            client.peer.finish();
        }
        self.world.settle();
        self.world.advance(Duration::from_secs(3));
        for (number, client) in self.clients.iter().enumerate() {
            let Client { kind, peer, sent, reset, .. } = client;
            let received = peer.received();
            let what = format!("seed {seed}, client {number} of kind {kind}");
            if *reset {
                assert!(sent.starts_with(&received), "{what}: wrong bytes before its reset");
            } else {
                assert_eq!(received.len(), sent.len(), "{what}: bytes lost");
                assert!(received == *sent, "{what}: wrong bytes");
                assert!(peer.saw_eof(), "{what}: no answer to its half-close");
            }
        }
        self.world.assert_nothing_left();
    }
}

/// Small marks and buffers, so that everything is reached.
fn cramped() -> Limits {
    Limits {
        read_budget: 512,
        receive_buffer: 8192,
        high_water: 2048,
        low_water: 512,
        write_stall: Duration::from_secs(3600),
        accepts_per_turn: 2,
        ..Limits::default()
    }
}

#[test]
fn echoes_survive_any_schedule() {
    for seed in 0..400 {
        Chaos::run(World::with_limits(cramped()), seed);
    }
}

#[test]
fn echoes_survive_any_schedule_with_room() {
    for seed in 1000..1100 {
        Chaos::run(World::new(), seed);
    }
}

#[test]
fn echoes_survive_any_schedule_where_readiness_ends_at_would_block() {
    for seed in 2000..2200 {
        Chaos::run(World::until_would_block(), seed);
    }
}
