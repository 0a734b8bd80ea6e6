//! Two that send, pause, leave bytes for later, half-close, close and abort as chance has it, on a rough
//! network: whoever ends in order has got everything, and whoever does not was told why.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::{Conditions, Simulation, check_seeds};
use switchboard::{CloseReason, Closing, Context, Failure, Input, Layered, Limits, Protocol, Target, TimerId};

use crate::cipher::Cipher;
use crate::talker::Stream;

/// How an actor ends when it has sent everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Half-closes, and goes on reading.
    Finish,
    /// Closes, whatever the peer still has to say.
    Close,
    /// Cuts the connection off.
    Abort,
}

#[derive(Debug)]
struct Fate {
    ending: Ending,
    length: u64,
    received: u64,
    eof: bool,
    /// Closed in order, and the words it was done in.
    closed: Option<(bool, String)>,
}

/// What is sent of one's own accord may go beyond `high_water` at once. Were answers to input that large,
/// two who answer each other could wait for each other for ever.
const OWN: usize = 3 * HIGH_WATER;
const ANSWER: usize = HIGH_WATER / 2;
const HIGH_WATER: usize = 4096;

struct Actor {
    dice: Stream,
    sent: Stream,
    expected: Stream,
    paused: bool,
    /// `has_room` said no.
    awaits_drain: bool,
    ended: bool,
    fate: Rc<RefCell<Fate>>,
}

impl Actor {
    /// One of two: what this one sends the other expects.
    fn new(seed: u64, own: u64, peer: u64) -> (Self, Rc<RefCell<Fate>>) {
        let mut dice = Stream::new(seed ^ own.rotate_left(32));
        let ending = match dice.below(8) {
            0 => Ending::Abort,
            1 | 2 => Ending::Close,
            _ => Ending::Finish,
        };
        let length = [0, 1, 1000, 40_000][dice.below(4)];
        let fate = Rc::new(RefCell::new(Fate { ending, length, received: 0, eof: false, closed: None }));
        let (sent, expected) = (Stream::new(own), Stream::new(peer));
        let actor =
            Self { dice, sent, expected, paused: false, awaits_drain: false, ended: false, fate: Rc::clone(&fate) };
        (actor, fate)
    }

    /// Sends for a while, in pieces of less than `most` bytes.
    fn send(&mut self, cx: &mut Context<'_>, most: usize) {
        let Fate { ending, length, .. } = *self.fate.borrow();
        while !self.ended && !self.awaits_drain {
            if self.sent.position == length {
                self.ended = true;
                match ending {
                    Ending::Finish => cx.finish(),
                    Ending::Close => cx.close(),
                    Ending::Abort => cx.abort(),
                }
            } else if self.dice.below(4) == 0 {
                return; // the rest at another time
            } else if cx.has_room() {
                let left = usize::try_from(length - self.sent.position).unwrap();
                let bits = self.dice.below(14);
                let size = (1 + self.dice.below(1 << bits)).min(most).min(left);
                let piece: Vec<u8> = (0..size).map(|_| self.sent.next()).collect();
                cx.send(&piece);
            } else {
                self.awaits_drain = true;
            }
        }
    }

    fn take(&mut self, input: &mut Input<'_>, count: usize) {
        for &mut byte in input.take(count) {
            assert_eq!(byte, self.expected.next(), "byte {} of the peer's", self.expected.position);
        }
        self.fate.borrow_mut().received = self.expected.position;
    }
}

impl Protocol for Actor {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.set_timer(Duration::from_millis(1));
        self.send(cx, OWN);
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        assert!(!self.paused, "data, though reading is paused");
        let len = input.len();
        match self.dice.below(8) {
            _ if len > 2000 => self.take(input, len), // or it would keep more than its limits allow
            0 => self.take(input, len / 2),
            1 => input.wait_for(len + self.dice.below(500)),
            2 => {
                self.take(input, len / 3);
                self.paused = true;
                cx.pause_reading();
            }
            _ => self.take(input, len),
        }
        self.send(cx, ANSWER);
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        self.take(rest, rest.len());
        assert!(!std::mem::replace(&mut self.fate.borrow_mut().eof, true), "told of the end twice");
        self.send(cx, ANSWER);
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        if std::mem::take(&mut self.paused) {
            cx.resume_reading();
        }
        self.send(cx, OWN);
        cx.set_timer(Duration::from_micros(1 << self.dice.below(14)));
        Ok(())
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        assert!(std::mem::take(&mut self.awaits_drain), "a drain that nobody waited for");
        self.send(cx, OWN);
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, reason: &CloseReason) {
        let closed = self.fate.borrow_mut().closed.replace((reason.is_clean(), reason.to_string()));
        assert!(closed.is_none(), "closed twice");
    }
}

/// Lets the first bytes through to the actor's eyes itself, and then hands over to it: a switch with
/// bytes unread, or with the end behind them.
struct Prelude {
    left: usize,
    actor: Option<Actor>,
}

impl Protocol for Prelude {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        let count = self.left.min(input.len());
        self.left -= count;
        if let Some(actor) = &mut self.actor {
            actor.take(input, count);
        }
        if self.left == 0 {
            self.hand_over(cx);
        }
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
        self.hand_over(cx);
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, reason: &CloseReason) {
        if let Some(mut actor) = self.actor.take() {
            actor.on_close(cx, reason); // before it had its turn
        }
    }
}

impl Prelude {
    fn hand_over(&mut self, cx: &mut Context<'_>) {
        let actor = self.actor.take().expect("it hands over once");
        cx.switch_to(actor);
    }
}

/// What is around an actor, on both sides of its connection.
#[derive(Clone, Copy, Debug)]
struct Costume {
    ciphers: usize,
    /// The one that accepts only takes over after this many bytes.
    prelude: Option<usize>,
}

impl Costume {
    fn around(self, actor: Actor, accepts: bool) -> Box<dyn Protocol> {
        match self.prelude.filter(|_| accepts) {
            Some(left) => self.in_ciphers(Prelude { left, actor: Some(actor) }),
            None => self.in_ciphers(actor),
        }
    }

    fn in_ciphers(self, protocol: impl Protocol) -> Box<dyn Protocol> {
        match self.ciphers {
            0 => Box::new(protocol),
            1 => Box::new(Layered::new(Cipher::default(), protocol)),
            _ => Box::new(Layered::new(Cipher::default(), Layered::new(Cipher::default(), protocol))),
        }
    }
}

/// How they ended.
#[derive(Debug, Default)]
struct Tally {
    /// The network resets connections, too.
    resets: bool,
    clean: u64,
    broken: u64,
}

/// What this one can rely on.
fn judge(own: &Fate, peer: &Fate, tally: &mut Tally) {
    let (clean, why) = own.closed.as_ref().expect("everybody is closed in the end");
    *(if *clean { &mut tally.clean } else { &mut tally.broken }) += 1;
    if own.eof {
        assert_eq!(own.received, peer.length, "the end comes behind everything that was sent");
        assert!(peer.ending != Ending::Abort, "who aborts says no goodbye");
    }
    if own.ending == Ending::Finish && *clean {
        assert!(own.eof, "who closes in order has seen the peer's end");
    }
    if own.ending == Ending::Finish && peer.ending == Ending::Finish && !tally.resets {
        assert!(*clean, "nobody has done anything wrong: {why}");
    }
    if !clean {
        let by_reset = why.starts_with("could not connect: ") && why.ends_with("connection reset");
        let broke = by_reset || ["connection broke", "aborted by this side"].iter().any(|words| why.starts_with(words));
        assert!(broke, "closed for another reason: {why}");
    }
}

fn run<const DRAINED: bool>(
    mut sim: Simulation<DRAINED>,
    seed: u64,
    costumes: fn(u64, u64) -> Costume,
    tally: &mut Tally,
) {
    const PAIRS: u64 = 6;
    let limits = Limits {
        read_budget: 1024,
        receive_buffer: 4096,
        high_water: HIGH_WATER,
        low_water: 1000,
        accepts_per_turn: 2,
        linger: Duration::from_secs(20),
        ..Limits::default()
    };
    let resets = if tally.resets { 0.005 } else { 0.0 };
    sim.set_conditions(Conditions { loss: 0.001, resets, ..Conditions::rough() });
    let hosts = ["server", "client"].map(|name| sim.add_host_with(name, limits.clone()));
    // A port for each pair, so that everybody knows who the peer is.
    let fates: Vec<_> = (0..PAIRS)
        .map(|pair| {
            let (server, served) = Actor::new(seed, 2 * pair, 2 * pair + 1);
            let (client, fate) = Actor::new(seed, 2 * pair + 1, 2 * pair);
            let address = sim.address(hosts[0], 7000 + u16::try_from(pair).unwrap());
            let costume = costumes(seed, pair);
            let mut server = Some(costume.around(server, true));
            let event_loop = sim.event_loop(hosts[0]);
            let (host, target) = match pair % 3 {
                #[cfg(unix)]
                2 => {
                    let path = std::path::PathBuf::from(format!("/run/{pair}"));
                    event_loop.listen_unix(&path, move |_| server.take()).unwrap();
                    (hosts[0], Target::from(path))
                }
                by_name => {
                    event_loop.listen(address, move |_| server.take()).unwrap();
                    (hosts[1], if by_name == 1 { ("server", address.port()).into() } else { address.into() })
                }
            };
            sim.event_loop(host).connect(target, costume.around(client, false));
            (served, fate)
        })
        .collect();
    assert!(sim.run_to_rest(Duration::from_secs(3600)), "it never comes to rest");
    for (server, client) in fates {
        let (server, client) = (server.borrow(), client.borrow());
        for (own, peer) in [(&*server, &*client), (&*client, &*server)] {
            judge(own, peer, tally);
        }
    }
    for host in hosts {
        let core = sim.event_loop(host).core();
        let left = (core.open_connections(), core.armed_timers(), core.held_bytes(), core.counters().open());
        assert_eq!(left, (0, 0, 0, 0), "connections, timers, bytes held, and connections as counted");
    }
}

fn plain(_: u64, _: u64) -> Costume {
    Costume { ciphers: 0, prelude: None }
}

fn any(seed: u64, pair: u64) -> Costume {
    let mut dice = Stream::new(seed.wrapping_mul(31) ^ pair);
    dice.next();
    Costume { ciphers: dice.below(3), prelude: [None, Some(1), Some(500), Some(3000)][dice.below(4)] }
}

#[test]
fn whoever_ends_in_order_has_got_everything() {
    let mut tally = Tally::default();
    check_seeds(0..100, |seed| run(Simulation::new(seed), seed, plain, &mut tally));
    assert!(tally.clean > tally.broken, "{tally:?}");
}

#[test]
fn whoever_ends_in_order_has_got_everything_where_readiness_ends_at_would_block() {
    let mut tally = Tally::default();
    check_seeds(1000..1100, |seed| run(Simulation::until_would_block(seed), seed, plain, &mut tally));
    assert!(tally.clean > tally.broken, "{tally:?}");
}

#[test]
fn whoever_ends_in_order_has_got_everything_through_layers_and_switches() {
    let mut tally = Tally::default();
    check_seeds(2000..2200, |seed| run(Simulation::new(seed), seed, any, &mut tally));
    assert!(tally.clean > tally.broken, "{tally:?}");
}

#[test]
fn whoever_does_not_end_in_order_is_told_why() {
    let mut tally = Tally { resets: true, ..Tally::default() };
    check_seeds(3000..3100, |seed| run(Simulation::new(seed), seed, any, &mut tally));
    assert!(tally.clean > 0 && tally.broken > 0, "{tally:?}");
}
