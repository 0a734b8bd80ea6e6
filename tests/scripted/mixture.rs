//! Protocols that send, read, lend, pause, switch and end in every way there is, in any order: no byte is lost, doubled or
//! miscounted, no drain is missing, nothing stands still, and nothing is left. The same seeds in every run; `FIRST` and
//! `ROUNDS` say others.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use switchboard::testkit::Peer;
use switchboard::{
    Bytes, CloseReason, Closing, Context, Failure, Input, Layer, Layered, Limits, Message, Protocol, TimerId,
};

use crate::common::Sequence;
use crate::world::{PORT, World, address, millis};

/// The bytes of a stream that repeats itself after a million.
fn pattern(from: usize, len: usize) -> Vec<u8> {
    static PERIOD: LazyLock<Vec<u8>> = LazyLock::new(|| Sequence::new(7).bytes(1_000_003));
    let period = &**PERIOD;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let at = (from + bytes.len()) % period.len();
        bytes.extend_from_slice(&period[at..period.len().min(at + len - bytes.len())]);
    }
    bytes
}

/// What is known of one connection.
#[derive(Default)]
struct Book {
    /// Bytes sent that must arrive, if nothing breaks.
    sent: usize,
    /// Bytes sent when nothing more could be.
    void: usize,
    consumed: usize,
    owed: bool,
    finished: bool,
    closing: bool,
    closed: bool,
    eof: bool,
    id: Option<switchboard::ConnectionId>,
    drains: u64,
    fills: u64,
    reason: String,
}

struct Mixer {
    book: Rc<RefCell<Book>>,
    sequence: Sequence,
    buffer: Vec<u8>,
    filled: usize,
    endings: bool,
}

impl Mixer {
    fn new(book: &Rc<RefCell<Book>>, seed: u64, endings: bool) -> Self {
        Self { book: Rc::clone(book), sequence: Sequence::new(seed), buffer: Vec::new(), filled: 0, endings }
    }

    fn send(&mut self, cx: &mut Context<'_>, len: usize, how: usize) {
        let mut book = self.book.borrow_mut();
        if book.finished || book.closing {
            book.void += if how == 2 { 0 } else { len };
        }
        let bytes = pattern(book.sent, len);
        match how {
            0 => cx.send(&bytes),
            1 => cx.send_shared(Bytes::from(bytes)),
            _ => match cx.send_buffer() {
                Some(buffer) => buffer.extend_from_slice(&bytes),
                None => assert!(book.finished || book.closing),
            },
        }
        if !book.finished && !book.closing {
            book.sent += len;
        }
    }

    /// Output of one kind or another.
    fn send_something(&mut self, cx: &mut Context<'_>) {
        let (from, to, how) = match self.sequence.below(8) {
            0 => (0, 300, 0),
            1 => (7000, 20_000, 0),
            2 => (60_000, 80_000, 0),
            3 => (200_000, 700_000, 0),
            4 => (3000, 300_000, 1),
            5 => (0, 3000, 2),
            _ => (0, 3000, 1),
        };
        let pieces = if (to, how) == (3000, 1) { self.sequence.below(12) } else { 1 };
        for _ in 0..pieces {
            let len = from + self.sequence.below(to - from);
            self.send(cx, len, how);
        }
    }

    fn act(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        for _ in 0..self.sequence.below(4) {
            match self.sequence.below(26) {
                0..=12 if cx.backlog() < 3_000_000 => self.send_something(cx),
                13..=14 => self.book.borrow_mut().owed |= !cx.has_room(),
                15 => drop(cx.set_timer(millis(self.sequence.below(4) as u64))),
                16 => {
                    cx.pause_reading();
                    cx.set_timer(millis(1 + self.sequence.below(4) as u64));
                }
                17..=19 => {
                    if self.filled == self.buffer.len() {
                        (self.buffer, self.filled) = (vec![0; 1 + self.sequence.below(100_000)], 0);
                    }
                    cx.lend_read_buffer();
                }
                20 => {
                    self.book.borrow_mut().owed = false; // who takes over is told of no drain
                    let seed = self.sequence.below(1 << 30) as u64;
                    if seed.is_multiple_of(2) {
                        cx.switch_to(Self::new(&self.book, seed, self.endings));
                    } else {
                        cx.switch_with(|old| old);
                    }
                    return Ok(());
                }
                21 => cx.hold(self.sequence.below(100_000))?,
                22 => {
                    let id = cx.id();
                    let _ = cx.post(id, Bytes::from_static(b"letter")); // there may be too many
                }
                23..=25 if self.endings && self.sequence.below(12) == 0 => self.end(cx)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn end(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let way = self.sequence.below(3);
        if way == 0 {
            cx.finish();
            self.book.borrow_mut().finished = true;
            return Ok(());
        }
        self.book.borrow_mut().closing = true;
        if way == 1 {
            return Err(Failure::peer("enough"));
        }
        cx.close();
        Ok(())
    }

    fn consume(&mut self, bytes: &[u8]) {
        let mut book = self.book.borrow_mut();
        assert!(bytes == pattern(book.consumed, bytes.len()), "input out of order");
        book.consumed += bytes.len();
    }

    fn alive(&self) {
        let book = self.book.borrow();
        assert!(!book.closed && !book.closing, "a callback behind the end");
    }
}

impl Protocol for Mixer {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.alive();
        self.book.borrow_mut().id = Some(cx.id());
        self.act(cx)
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        self.alive();
        let count = if self.sequence.below(3) == 0 { self.sequence.below(input.len() + 1) } else { input.len() };
        let bytes = input.take(count).to_vec();
        self.consume(&bytes);
        if !input.is_empty() && self.sequence.below(2) == 0 {
            input.wait_for(input.len() + 1 + self.sequence.below(100));
        }
        self.act(cx)
    }

    fn read_buffer(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled..]
    }

    fn on_filled(&mut self, cx: &mut Context<'_>, count: usize) -> Result<(), Failure> {
        self.alive();
        let bytes = self.buffer[self.filled..self.filled + count].to_vec();
        self.consume(&bytes);
        self.book.borrow_mut().fills += 1;
        self.filled += count;
        self.act(cx)
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        self.alive();
        let bytes = rest.take_all().to_vec();
        self.consume(&bytes);
        self.act(cx)?;
        let mut book = self.book.borrow_mut();
        book.eof = true;
        book.finished = true;
        cx.finish();
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        self.alive();
        if cx.is_reading_paused() {
            cx.resume_reading();
        }
        self.act(cx)
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.alive();
        assert!(std::mem::take(&mut self.book.borrow_mut().owed), "a drain that was not owed");
        self.book.borrow_mut().drains += 1;
        self.act(cx)
    }

    fn on_message(&mut self, cx: &mut Context<'_>, _: Message) -> Result<(), Failure> {
        self.alive();
        self.act(cx)
    }

    fn on_close(&mut self, _: &mut Closing<'_>, reason: &CloseReason) {
        if matches!(reason, CloseReason::Switched) {
            return;
        }
        let mut book = self.book.borrow_mut();
        assert!(!book.closed, "closed twice");
        book.closed = true;
        book.reason = reason.to_string();
    }
}

struct Plain;

impl<P: Protocol> Layer<P> for Plain {}

struct Client {
    peer: Peer,
    book: Rc<RefCell<Book>>,
    sent: usize,
    reset: bool,
    finished: bool,
}

fn run<const DRAINED: bool>(mut world: World<DRAINED>, seed: u64, endings: bool) -> (u64, u64) {
    let books = Rc::new(RefCell::new(Vec::<Rc<RefCell<Book>>>::new()));
    let of_loop = Rc::clone(&books);
    let listener = world
        .event_loop
        .listen(address(PORT), move |_| -> Option<Box<dyn Protocol>> {
            let book = Rc::<RefCell<Book>>::default();
            of_loop.borrow_mut().push(Rc::clone(&book));
            let count = of_loop.borrow().len() as u64;
            let mixer = Mixer::new(&book, seed * 100 + count, endings);
            Some(if count % 4 == 3 { Box::new(Layered::new(Plain, mixer)) } else { Box::new(mixer) })
        })
        .unwrap();
    let mut sequence = Sequence::new(seed);
    let mut clients = Vec::<Client>::new();
    for _ in 0..250 {
        if clients.len() < 6 && sequence.below(10) == 0 {
            let peer = world.peer();
            let book = Rc::clone(books.borrow().last().unwrap());
            clients.push(Client { peer, book, sent: 0, reset: false, finished: false });
        }
        match sequence.below(12) {
            0 => world.advance(millis(3)),
            1..=4 => world.turn(),
            5 => {
                let _ = world.event_loop.turn_within(Duration::ZERO);
            }
            _ => {}
        }
        if clients.is_empty() {
            continue;
        }
        let number = sequence.below(clients.len());
        let client = &mut clients[number];
        if client.reset {
            continue;
        }
        let sizes = |sequence: &mut Sequence, most: usize| (0..4).map(|_| sequence.below(most)).collect::<Vec<_>>();
        match sequence.below(16) {
            0 => client.peer.set_window(sequence.below(200_000)),
            1 => client.peer.set_window(usize::MAX),
            2 => client.peer.set_window(0),
            3 => client.peer.cut_reads(sizes(&mut sequence, 70_000)),
            4 => client.peer.cut_writes(sizes(&mut sequence, 70_000)),
            5 => client.peer.cut_writes(sizes(&mut sequence, 40)),
            6 => client.peer.interrupt(sequence.below(3)),
            7 if sequence.below(10) == 0 && endings => {
                client.peer.reset();
                client.reset = true;
            }
            8 if sequence.below(10) == 0 && endings => {
                client.peer.finish();
                client.finished = true;
            }
            9 => {
                if let Some(id) = client.book.borrow().id {
                    let _ = world.event_loop.core().post(id, Bytes::from_static(b"posted"));
                }
            }
            _ if !client.finished => {
                let len = if sequence.below(3) == 0 { sequence.below(400_000) } else { 1 + sequence.below(2000) };
                client.peer.send(&pattern(client.sent, len));
                client.sent += len;
            }
            _ => {}
        }
    }
    for client in clients.iter().filter(|client| !client.reset) {
        client.peer.set_window(usize::MAX);
    }
    world.settle();
    world.advance(millis(50));
    for (number, client) in clients.iter().enumerate() {
        let what = format!("seed {seed}, client {number}");
        let book = client.book.borrow();
        if !book.closed && !book.closing && !book.finished {
            assert!(!book.owed, "{what}: a drain is owed and never comes");
            assert_eq!(client.peer.received().len(), book.sent, "{what}: output stands still");
        }
    }
    for client in clients.iter().filter(|client| !client.reset) {
        client.peer.finish();
    }
    world.settle();
    world.advance(Duration::from_secs(30));
    let (mut sent, mut void, mut consumed, mut drains, mut fills) = (0, 0, 0, 0, 0);
    for (number, client) in clients.iter().enumerate() {
        let book = client.book.borrow();
        let what = format!("seed {seed}, client {number}, closed by {}", book.reason);
        let received = client.peer.received();
        assert!(received == pattern(0, received.len()), "{what}: wrong bytes");
        assert!(book.closed, "{what}: not closed, {} of {} consumed, eof {}", book.consumed, client.sent, book.eof);
        if !client.reset {
            assert_eq!(received.len(), book.sent, "{what}: output lost");
            if !book.closing {
                assert_eq!(book.consumed, client.sent, "{what}: input lost");
            }
        }
        (sent, void, consumed) = (sent + book.sent, void + book.void, consumed + book.consumed);
        (drains, fills) = (drains + book.drains, fills + book.fills);
    }
    let counters = world.event_loop.core().listener_counters(listener);
    assert_eq!(counters.bytes_out + counters.bytes_unsent, (sent + void) as u64, "seed {seed}: {counters:?}");
    assert_eq!(counters.bytes_in, consumed as u64 + counters.bytes_discarded, "seed {seed}: {counters:?}");
    world.assert_nothing_left();
    (drains, fills)
}

fn limits() -> Limits {
    Limits { write_stall: Duration::from_secs(3600), send_buffer: 1 << 30, ..Limits::default() }
}

fn cramped() -> Limits {
    Limits { read_budget: 70_000, receive_buffer: 200_000, high_water: 70_000, low_water: 10_000, ..limits() }
}

fn first() -> u64 {
    std::env::var("FIRST").ok().and_then(|first| first.parse().ok()).unwrap_or(0)
}

fn rounds() -> u64 {
    std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(40)
}

/// Many runs, among which there are drains and lent buffers that were filled.
fn run_within(limits: &Limits) {
    let (mut drains, mut fills) = (0, 0);
    for seed in first()..first() + rounds() {
        let (d, f) = run(World::with_limits(limits.clone()), seed, seed % 2 == 0);
        (drains, fills) = (drains + d, fills + f);
    }
    assert!(drains > 0 && fills > 0);
}

#[test]
fn with_room() {
    run_within(&limits());
}

#[test]
fn where_little_fits() {
    run_within(&cramped());
}

#[test]
fn until_would_block() {
    for seed in first()..first() + rounds() {
        run(World::until_would_block(), seed, seed % 2 == 0);
    }
}
