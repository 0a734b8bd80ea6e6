//! What the fuzz target runs, in the crate so that a stable test replays its seeds. Not part of the public interface.
//!
//! A client and a server, with the input as the network between them: each byte is an operation, some with arguments
//! behind. Lower case is the client's, upper case the server's, as far as letters go:
//!
//! | | |
//! | --- | --- |
//! | `c` `C` *n* | sends a message of n² bytes |
//! | `>` `<` | the oldest datagram arrives: at the server, at the client |
//! | `+` `-` | the same, and it will again |
//! | `.` `,` | the same, but it is lost |
//! | `o` `O` *n* | the nth datagram arrives before those ahead of it: from the client, from the server |
//! | `t` *n* | n² milliseconds pass |
//! | `n` | time passes until something is due |
//! | `*` | everything arrives that is under way, and what that leads to |
//! | `p` `P`, `r` `R` | pauses, resumes delivery |
//! | `x` `X`, `a` `A`, `d` `D` | closes, aborts, drains its loop |
//! | `w` `W` *n* | its system takes n more datagrams; any number if n is 255 |
//! | `!` `?` *n* bytes | n bytes from nowhere arrive: at the client, at the server |
//! | `@` `#` *n* bytes | the same, with the right id, and with numbers counted from the right ones |
//!
//! In the end everything arrives. What one had to say and the session did not fail for must have come to the other: once,
//! whole, in order; and nothing else, before the first `@` or `#`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::SessionHarness;
use switchboard::{Bytes, Closing, Failure, Limits, Message, SessionOptions};

use crate::header::{Datagram, Progress};
use crate::{Closed, Handler, Peer, Reliable, Settings};

/// What one side has said and heard.
#[derive(Default)]
struct Record {
    sent: Vec<Vec<u8>>,
    heard: Vec<Vec<u8>>,
    opened: bool,
    owed_drain: bool,
    /// Whether it ended cleanly.
    closed: Option<bool>,
}

struct Talker(Rc<RefCell<Record>>);

/// What the input has a side do.
#[derive(Clone, Copy)]
enum Order {
    Pause,
    Resume,
    Close,
    Abort,
}

impl Handler for Talker {
    fn on_open(&mut self, _: &mut Peer<'_, '_>) -> Result<(), Failure> {
        let mut record = self.0.borrow_mut();
        assert!(!record.opened, "opened twice");
        record.opened = true;
        Ok(())
    }

    fn on_message(&mut self, _: &mut Peer<'_, '_>, message: &[u8]) -> Result<(), Failure> {
        let mut record = self.0.borrow_mut();
        assert!(record.opened && record.closed.is_none(), "out of turn");
        record.heard.push(message.to_vec());
        Ok(())
    }

    fn on_post(&mut self, peer: &mut Peer<'_, '_>, message: Message) -> Result<(), Failure> {
        match message {
            Message::Bytes(bytes) => {
                let mut record = self.0.borrow_mut();
                if peer.send(&bytes).is_ok() {
                    record.sent.push(bytes.to_vec());
                }
                record.owed_drain |= !peer.has_room() && peer.is_open();
            }
            message => match message.downcast() {
                Ok(Order::Pause) => peer.pause_reading(),
                Ok(Order::Resume) => peer.resume_reading(),
                Ok(Order::Close) => peer.close(),
                Ok(Order::Abort) => peer.abort(),
                Err(_) => {}
            },
        }
        Ok(())
    }

    fn on_drain(&mut self, _: &mut Peer<'_, '_>) -> Result<(), Failure> {
        assert!(std::mem::take(&mut self.0.borrow_mut().owed_drain), "told of room that nobody asked for");
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, closed: &Closed<'_>) {
        let before = self.0.borrow_mut().closed.replace(closed.clean);
        assert_eq!(before, None, "closed twice");
        assert!(!closed.clean || closed.unsent == 0, "{closed:?}");
    }
}

/// One side: the client, 0, or the server, 1.
struct Side {
    /// The server's is made by the first datagram.
    harness: Option<SessionHarness>,
    record: Rc<RefCell<Record>>,
    /// What it has sent and has not arrived.
    under_way: VecDeque<Vec<u8>>,
    /// Its id and first segment, once they were seen.
    terms: Option<(u64, u32)>,
    bytes_in: usize,
    bytes_out: usize,
}

struct World {
    sides: [Side; 2],
    settings: Rc<Settings>,
    /// Whether somebody has guessed the ids.
    hostile: bool,
}

/// Small, so that every limit is near.
fn settings() -> Rc<Settings> {
    Rc::new(Settings {
        datagram: 300,
        max_message: 3_000,
        receive_window: 2_400,
        send_buffer: 18_000,
        max_rto: Duration::from_secs(4),
        ..Settings::default()
    })
}

impl World {
    fn new() -> Self {
        let settings = settings();
        let side = || Side {
            harness: None,
            record: Rc::default(),
            under_way: VecDeque::new(),
            terms: None,
            bytes_in: 0,
            bytes_out: 0,
        };
        let mut sides = [side(), side()];
        let talker = Talker(Rc::clone(&sides[0].record));
        sides[0].harness = Some(SessionHarness::new(Reliable::client(talker).with_settings(&settings)));
        let mut world = Self { sides, settings, hostile: false };
        world.look();
        world
    }

    /// Collects what was sent, and checks what must hold at any time.
    fn look(&mut self) {
        for side in &mut self.sides {
            let Some(harness) = &mut side.harness else { continue };
            for datagram in harness.take_sent() {
                assert!(datagram.len() <= self.settings.datagram, "a datagram of {} bytes", datagram.len());
                match Datagram::parse(&datagram) {
                    Some(Datagram::Open(terms) | Datagram::Accept { terms, .. }) => {
                        side.terms = Some((terms.id, terms.first));
                    }
                    parsed => assert!(parsed.is_some(), "it does not read what it writes: {datagram:?}"),
                }
                side.bytes_out += datagram.len();
                side.under_way.push_back(datagram);
            }
            let opened = side.record.borrow().opened;
            let is_client = matches!(side.under_way.front().and_then(|first| first.first()), Some(0x11));
            assert!(opened || is_client || side.bytes_out <= 3 * side.bytes_in.max(64), "amplified");
            let held = harness.core().held_bytes();
            assert!(held <= self.settings.most_held(), "{held} bytes held");
        }
    }

    fn arrive(&mut self, at: usize, datagram: &[u8]) {
        let side = &mut self.sides[at];
        side.bytes_in += datagram.len();
        match &mut side.harness {
            Some(harness) => {
                if !harness.has_closed() {
                    harness.feed(datagram);
                }
            }
            none => {
                let server = Reliable::server(Talker(Rc::clone(&side.record))).with_settings(&self.settings);
                let options = SessionOptions::default();
                let mut harness = SessionHarness::accepted(server, Limits::default(), &options, datagram);
                if harness.has_closed() && !side.record.borrow().opened {
                    // Nothing was opened: the next one may.
                    harness.take_sent().into_iter().for_each(|datagram| side.under_way.push_back(datagram));
                } else {
                    *none = Some(harness);
                }
            }
        }
        self.look();
    }

    /// One of `from`'s datagrams arrives; `keep` to have it arrive again.
    fn pass(&mut self, from: usize, index: usize, keep: bool) -> bool {
        let queue = &mut self.sides[from].under_way;
        let Some(datagram) = queue.get(index).cloned() else { return false };
        if !keep {
            queue.remove(index);
        }
        self.arrive(1 - from, &datagram);
        true
    }

    fn pass_all(&mut self) {
        let mut passed = 0;
        while self.pass(0, 0, false) || self.pass(1, 0, false) {
            passed += 1;
            assert!(passed < 20_000, "a storm of datagrams");
        }
    }

    fn advance(&mut self, by: Duration) {
        for side in &mut self.sides {
            if let Some(harness) = &mut side.harness {
                harness.advance(by);
            }
        }
        self.look();
    }

    fn next_timer(&mut self) {
        let waits = self.sides.iter().filter_map(|side| {
            let harness = side.harness.as_ref()?;
            Some(harness.timers().first()?.saturating_since(harness.now()))
        });
        if let Some(wait) = waits.min() {
            self.advance(wait);
        }
    }

    fn with(&mut self, at: usize, act: impl FnOnce(&mut SessionHarness)) {
        if let Some(harness) = &mut self.sides[at].harness
            && !harness.has_closed()
        {
            act(harness);
        }
        self.look();
    }

    fn order(&mut self, at: usize, order: Order) {
        self.with(at, |harness| drop(harness.post(Message::user(order))));
    }

    /// Bytes from somebody who can't know the ids.
    fn inject(&mut self, at: usize, bytes: &[u8]) {
        let knows = |id: u64| bytes.windows(8).any(|window| window == id.to_be_bytes());
        if !self.sides.iter().filter_map(|side| side.terms).any(|(id, _)| knows(id)) {
            self.arrive(at, bytes);
        }
    }

    /// Bytes from the peer, gone mad: a kind, then what follows the ids, with numbers relative to where they began.
    fn forge(&mut self, at: usize, bytes: &[u8]) {
        let Some((&kind, rest)) = bytes.split_first() else { return };
        let (Some((to, own)), other) = (self.sides[at].terms, self.sides[1 - at].terms) else { return };
        let (from, first) = other.unwrap_or((1, 0));
        self.hostile = true;
        let mut forged = vec![kind];
        forged.extend_from_slice(&to.to_be_bytes());
        match (kind, rest) {
            (0x12 | 0x17 | 0x18, _) => forged.extend_from_slice(&from.to_be_bytes()),
            (0x13..=0x16, [ack, limit, _, sequence, rest @ ..]) => {
                let ack = own.wrapping_add((*ack).into());
                let progress = Progress { ack, limit: ack.wrapping_add(u32::from(*limit) << 4) };
                forged.extend_from_slice(&progress.ack.to_be_bytes());
                forged.extend_from_slice(&progress.limit.to_be_bytes());
                if matches!(kind, 0x13 | 0x14) {
                    forged.extend_from_slice(&first.wrapping_add((*sequence).into()).to_be_bytes());
                }
                if kind != 0x16 {
                    forged.extend_from_slice(rest);
                }
            }
            _ => {}
        }
        if !matches!(kind, 0x13..=0x16) {
            forged.extend_from_slice(rest);
        }
        self.arrive(at, &forged);
    }

    fn run(&mut self, mut input: &[u8]) {
        while let Some((&operation, rest)) = input.split_first() {
            let at = usize::from(operation.is_ascii_uppercase());
            let argument = rest.first().copied().unwrap_or(0);
            input = rest;
            let mut argument = || {
                input = input.get(1..).unwrap_or(&[]);
                usize::from(argument)
            };
            match operation {
                b'c' | b'C' => {
                    let length = argument().pow(2);
                    let number = self.sides[at].record.borrow().sent.len() + at;
                    let message: Vec<u8> = (0..length).map(|byte| (byte ^ number).to_le_bytes()[0]).collect();
                    self.with(at, |harness| drop(harness.post(Bytes::from(message))));
                }
                b'>' => drop(self.pass(0, 0, false)),
                b'<' => drop(self.pass(1, 0, false)),
                b'+' => drop(self.pass(0, 0, true)),
                b'-' => drop(self.pass(1, 0, true)),
                b'.' => drop(self.sides[0].under_way.pop_front()),
                b',' => drop(self.sides[1].under_way.pop_front()),
                b'o' | b'O' => drop(self.pass(at, argument(), false)),
                b't' => {
                    let millis = argument().pow(2) as u64;
                    self.advance(Duration::from_millis(millis));
                }
                b'n' => self.next_timer(),
                b'*' => self.pass_all(),
                b'p' | b'P' => self.order(at, Order::Pause),
                b'r' | b'R' => self.order(at, Order::Resume),
                b'x' | b'X' => self.order(at, Order::Close),
                b'a' | b'A' => self.order(at, Order::Abort),
                b'd' | b'D' => self.with(at, |harness| harness.shutdown(Duration::from_secs(20))),
                b'w' | b'W' => {
                    let window = argument();
                    self.with(at, |harness| harness.set_window(if window == 255 { usize::MAX } else { window }));
                }
                b'!' | b'?' | b'@' | b'#' => {
                    let bytes = &rest[rest.len().min(1)..];
                    let (bytes, rest) = bytes.split_at(argument().min(bytes.len()));
                    input = rest;
                    let at = usize::from(matches!(operation, b'?' | b'#'));
                    if matches!(operation, b'!' | b'?') { self.inject(at, bytes) } else { self.forge(at, bytes) }
                }
                _ => {}
            }
            self.check(false);
        }
    }

    /// What was heard is what was said: all of it in the `end`, if nothing has failed.
    fn check(&self, end: bool) {
        let [client, server] = [&self.sides[0].record, &self.sides[1].record].map(|record| record.borrow());
        for (from, to) in [(&client, &server), (&server, &client)] {
            if self.hostile {
                continue;
            }
            let count = to.heard.len();
            assert!(count <= from.sent.len() && to.heard == from.sent[..count], "heard what was not said");
            let all = from.closed == Some(true) || end && from.closed.is_none() && to.closed.is_none() && from.opened;
            assert!(!all || count == from.sent.len(), "{count} of {} messages", from.sent.len());
        }
    }

    /// Everybody goes on, everything arrives.
    fn end(&mut self) {
        for at in 0..2 {
            if let Some(harness) = &mut self.sides[at].harness {
                harness.set_window(usize::MAX);
            }
            self.order(at, Order::Resume);
        }
        for _ in 0..400 {
            self.pass_all();
            self.next_timer();
        }
        self.pass_all();
        self.check(true);
        for at in 0..2 {
            self.order(at, Order::Close);
        }
        for _ in 0..100 {
            self.pass_all();
            self.next_timer();
        }
        for side in &mut self.sides {
            if let Some(harness) = &mut side.harness {
                assert!(harness.has_closed() || !side.record.borrow().opened, "it does not end");
                assert!(!harness.has_closed() || harness.core().held_bytes() == 0, "memory is left");
            }
        }
        self.check(true);
    }
}

/// Runs a client and a server on the network that `data` stands for.
///
/// # Panics
/// If something does not hold that must.
pub fn reliable(data: &[u8]) {
    let mut world = World::new();
    world.run(data);
    world.end();
}
