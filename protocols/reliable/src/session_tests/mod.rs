//! Two sessions on a lossy channel in virtual time.

use std::collections::VecDeque;

use super::*;
use crate::error::ProtocolError;
use crate::header::{Chunks, Progress};
use crate::link::Message;

mod conversations;
mod hostile;
mod memory;

/// Random numbers for tests: SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.roll() % most
    }
}

struct Surroundings {
    now: Time,
    dice: Dice,
    sent: Vec<Vec<u8>>,
    room: bool,
    /// The next random number, in place of a real one.
    rigged: Option<u64>,
}

impl Wire for Surroundings {
    fn now(&self) -> Time {
        self.now
    }

    fn random(&mut self) -> u64 {
        self.rigged.take().unwrap_or_else(|| self.dice.roll())
    }

    fn send(&mut self, datagram: &[u8]) {
        self.sent.push(datagram.to_vec());
    }

    fn has_room(&mut self) -> bool {
        self.room
    }
}

/// One end, with what its handler would have seen.
struct End {
    session: Session,
    wire: Surroundings,
    opened: bool,
    got: Vec<Vec<u8>>,
    failed: Option<String>,
}

impl End {
    fn new(session: Session, seed: u64) -> Self {
        let wire = Surroundings { now: Time::ZERO, dice: Dice(seed), sent: Vec::new(), room: true, rigged: None };
        Self { session, wire, opened: false, got: Vec::new(), failed: None }
    }

    fn begin(&mut self) {
        self.session.begin(&mut self.wire);
        self.settle();
    }

    fn receive(&mut self, datagram: &[u8]) {
        if let Err(error) = self.take(datagram) {
            self.fail(error);
        }
        self.settle();
    }

    fn take(&mut self, datagram: &[u8]) -> Result<(), Failure> {
        let received = self.session.receive(&mut self.wire, datagram)?;
        self.opened |= received.opened;
        if let Verdict::Deliver(segment) = received.verdict {
            self.deliver(segment)?;
        }
        Ok(())
    }

    fn deliver(&mut self, segment: &[u8]) -> Result<(), ProtocolError> {
        for chunk in Chunks(segment) {
            match self.session.link_mut().unwrap().assemble(chunk)? {
                None => {}
                Some(Message::Whole(message)) => self.got.push(message.to_vec()),
                Some(Message::Assembled(message)) => {
                    self.got.push(message.clone());
                    self.session.link_mut().unwrap().reuse(message);
                }
            }
        }
        Ok(())
    }

    fn fail(&mut self, error: Failure) {
        self.session.abort(&mut self.wire);
        self.failed = Some(error.error().to_string());
    }

    fn settle(&mut self) {
        while let Some(link) = self.session.link_mut() {
            match link.take_ready() {
                Ok(Some(segment)) => self.deliver(&segment).unwrap(),
                Ok(None) => break,
                Err(error) => return self.fail(error.into()),
            }
        }
        self.session.flush(&mut self.wire);
    }

    fn on_time(&mut self, now: Time) {
        self.wire.now = now;
        while self.session.deadline().is_some_and(|due| due <= now) {
            let late = now.saturating_since(self.session.deadline().unwrap());
            if let Err(error) = self.session.on_timer(&mut self.wire, late) {
                self.fail(error.into());
            }
            self.settle();
        }
    }

    fn send(&mut self, message: &[u8]) {
        self.session.send(message).unwrap();
        self.settle();
    }

    fn close(&mut self) {
        self.session.link_mut().unwrap().close();
        self.settle();
    }

    fn link(&mut self) -> &mut Link {
        self.session.link_mut().unwrap()
    }
}

/// What a channel does to a datagram, in per cent.
#[derive(Clone, Copy)]
struct Weather {
    lost: u64,
    doubled: u64,
    delayed: u64,
}

const CALM: Weather = Weather { lost: 0, doubled: 0, delayed: 0 };
const BAD: Weather = Weather { lost: 20, doubled: 20, delayed: 20 };
const GONE: Weather = Weather { lost: 100, doubled: 0, delayed: 0 };

struct Pair {
    ends: [End; 2],
    now: Time,
    /// Under way to each: when it arrives, and what.
    under_way: [VecDeque<(Time, Vec<u8>)>; 2],
    weather: Weather,
    dice: Dice,
    /// Everything that was sent, by each.
    sent: [Vec<Vec<u8>>; 2],
}

const LATENCY: Duration = Duration::from_millis(10);

impl Pair {
    fn new(client: Session, server: Session, seed: u64) -> Self {
        Self {
            ends: [End::new(client, seed ^ 1), End::new(server, seed ^ 2)],
            now: Time::ZERO,
            under_way: Default::default(),
            weather: CALM,
            dice: Dice(seed),
            sent: Default::default(),
        }
    }

    fn with(settings: Settings, seed: u64) -> Self {
        let settings = Rc::new(settings);
        Self::new(Session::client(&settings), Session::server(&settings), seed)
    }

    fn calm() -> Self {
        let mut pair = Self::with(Settings::default(), 1);
        pair.open();
        pair
    }

    fn open(&mut self) {
        self.ends[0].begin();
        self.ends[1].begin();
        self.run(Duration::from_secs(1));
        assert!(self.ends.iter().all(|end| end.opened));
    }

    fn collect(&mut self) {
        for side in 0..2 {
            for datagram in self.ends[side].wire.sent.drain(..) {
                self.sent[side].push(datagram.clone());
                if self.dice.below(100) < self.weather.lost {
                    continue;
                }
                for _ in 0..1 + u64::from(self.dice.below(100) < self.weather.doubled) {
                    let delayed = self.dice.below(100) < self.weather.delayed;
                    let latency = if delayed { LATENCY * 4 } else { LATENCY };
                    let queue = &mut self.under_way[1 - side];
                    let at = self.now + latency;
                    let place = queue.partition_point(|(other, _)| *other <= at);
                    queue.insert(place, (at, datagram.clone()));
                }
            }
        }
    }

    /// Lets the next thing happen; false if nothing will before `until`.
    fn step(&mut self, until: Time) -> bool {
        self.collect();
        let arrivals = self.under_way.iter().filter_map(|queue| queue.front().map(|(at, _)| *at));
        let deadlines = self.ends.iter().filter_map(|end| end.session.deadline());
        let Some(next) = arrivals.chain(deadlines).min().filter(|next| *next <= until) else {
            self.now = until;
            return false;
        };
        self.now = self.now.max(next);
        for side in 0..2 {
            self.ends[side].wire.now = self.now;
            while self.under_way[side].front().is_some_and(|(at, _)| *at <= self.now) {
                let (_, datagram) = self.under_way[side].pop_front().unwrap();
                self.ends[side].receive(&datagram);
            }
            self.ends[side].on_time(self.now);
        }
        true
    }

    fn run(&mut self, span: Duration) {
        let until = self.now + span;
        while self.step(until) {}
        for end in &mut self.ends {
            end.wire.now = until;
        }
    }

    fn datagrams(&self) -> usize {
        self.sent.iter().map(Vec::len).sum()
    }
}

/// Timeouts that 20 % of loss can't reach.
fn patient() -> Settings {
    Settings {
        max_rto: Duration::from_secs(1),
        open_timeout: Duration::from_secs(600),
        timeout: Duration::from_secs(600),
        close_timeout: Duration::from_secs(600),
        ..Settings::default()
    }
}

fn message(number: u64, length: u64) -> Vec<u8> {
    (0..length).map(|at| (number.wrapping_mul(31) ^ at).to_le_bytes()[0]).collect()
}
