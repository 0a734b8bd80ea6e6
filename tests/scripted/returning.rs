//! What is sent back from where it was read, among all else that a protocol may do: nothing is lost, doubled, out of order
//! or counted wrongly.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use switchboard::testkit::{Harness, Peer, SessionHarness};
use switchboard::{
    Bytes, CloseReason, Closing, Context, Counters, Failure, Inner, Input, Layer, Layered, Limits, Protocol,
    protocol_fn,
};

use crate::common::Sequence;
use crate::world::{World, millis};

const HIGH_WATER: usize = 24_000;

fn limits() -> Limits {
    Limits {
        high_water: HIGH_WATER,
        low_water: 5_000,
        read_budget: 16 * 1024,
        receive_buffer: 1 << 20,
        send_buffer: 1 << 24,
        ..Limits::default()
    }
}

/// Of the bytes that are sent to the loop the one at this place.
fn byte_at(place: usize) -> u8 {
    u8::try_from(place * 7 % 251).unwrap()
}

/// What is to come of one connection.
struct Model {
    dice: RefCell<Sequence>,
    /// All that was sent and is not lost for having been sent behind the end.
    sent: RefCell<Vec<u8>>,
    /// Bytes that were sent behind the end.
    late: Cell<usize>,
    /// Bytes of input that were consumed.
    consumed: Cell<usize>,
    returned: Cell<usize>,
    refused: Cell<usize>,
    finished: Cell<bool>,
    ended: Cell<bool>,
    aborted: Cell<bool>,
    closed: Cell<usize>,
    counter: Cell<u8>,
}

impl Model {
    fn new(seed: usize) -> Rc<Self> {
        Rc::new(Self {
            dice: RefCell::new(Sequence::new(seed as u64)),
            sent: RefCell::default(),
            late: Cell::new(0),
            consumed: Cell::new(0),
            returned: Cell::new(0),
            refused: Cell::new(0),
            finished: Cell::new(false),
            ended: Cell::new(false),
            aborted: Cell::new(false),
            closed: Cell::new(0),
            counter: Cell::new(0),
        })
    }

    fn below(&self, bound: usize) -> usize {
        self.dice.borrow_mut().below(bound)
    }

    /// A piece like no other.
    fn piece(&self, len: usize) -> Vec<u8> {
        self.counter.set(self.counter.get().wrapping_add(1));
        vec![self.counter.get(); len]
    }

    fn note_sent(&self, bytes: &[u8]) {
        if self.finished.get() || self.ended.get() {
            self.late.set(self.late.get() + bytes.len());
        } else {
            self.sent.borrow_mut().extend_from_slice(bytes);
        }
    }

    /// What waits is what was sent and the system has not taken.
    fn check_backlog(&self, cx: &Context<'_>, before: usize) {
        let taken = usize::try_from(cx.counters().bytes_out).unwrap();
        assert_eq!(cx.backlog() + taken, self.sent.borrow().len() + before, "backlog");
    }
}

/// Does anything.
struct Anything(Rc<Model>);

impl Anything {
    /// The remaining input goes back, if it can.
    fn send_back(&self, cx: &mut Context<'_>, input: &mut Input<'_>) {
        let model = &self.0;
        let (bytes, backlog) = (input.to_vec(), cx.backlog());
        if cx.send_back(input) {
            assert!(input.is_empty());
            assert!(!model.finished.get() && !model.ended.get(), "nothing goes back behind the end");
            assert_eq!(cx.backlog(), backlog + bytes.len());
            model.returned.set(model.returned.get() + bytes.len());
            model.consumed.set(model.consumed.get() + bytes.len());
            model.note_sent(&bytes);
        } else {
            assert_eq!((&**input, cx.backlog()), (&bytes[..], backlog), "nothing has happened");
            model.refused.set(model.refused.get() + bytes.len());
        }
    }

    fn act(&self, cx: &mut Context<'_>, input: &mut Input<'_>, wild: bool) -> Result<(), Failure> {
        let model = &self.0;
        match model.below(if wild { 30 } else { 26 }) {
            0..=8 => self.send_back(cx, input),
            9..=11 => {
                let count = model.below(input.len() + 1);
                input.take(count);
                model.consumed.set(model.consumed.get() + count);
            }
            12..=14 => {
                let bytes = model.piece(model.below(40));
                model.note_sent(&bytes);
                cx.send(&bytes);
            }
            15 => {
                let bytes = model.piece([8 * 1024, 20_000, 64 * 1024, 90_000][model.below(4)]);
                model.note_sent(&bytes);
                cx.send(&bytes);
            }
            16..=17 => {
                let bytes = model.piece(model.below(5000));
                model.note_sent(&bytes);
                cx.send_shared(Bytes::from(bytes));
            }
            18 => {
                let bytes = model.piece(model.below(500));
                let buffer = cx.send_buffer();
                assert_eq!(buffer.is_none(), model.finished.get() || model.ended.get());
                if let Some(buffer) = buffer {
                    buffer.extend_from_slice(&bytes);
                    model.note_sent(&bytes);
                }
            }
            19 => assert_eq!(cx.has_room(), cx.backlog() <= HIGH_WATER / 2),
            20 => cx.pause_reading(),
            21 => cx.resume_reading(),
            22 => {
                cx.set_timer(millis(model.below(20) as u64));
            }
            23 => input.wait_for(model.below(3000)),
            24 => cx.switch_to(Self(Rc::clone(model))),
            25 => cx.switch_with(|protocol| protocol),
            26 => {
                cx.finish();
                model.finished.set(true);
            }
            27 => {
                cx.close();
                model.ended.set(true);
            }
            28 => {
                cx.abort();
                model.ended.set(true);
                model.aborted.set(true);
            }
            _ => {
                model.ended.set(true);
                return Err(Failure::peer("enough"));
            }
        }
        Ok(())
    }

    fn acts(&self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        let model = &self.0;
        assert!(!model.ended.get() && model.closed.get() == 0, "called behind the end");
        let place = model.consumed.get();
        for (index, &byte) in input.iter().enumerate() {
            assert_eq!(byte, byte_at(place + index), "input at {}", place + index);
        }
        let wild = model.below(12) == 0;
        for _ in 0..1 + model.below(4) {
            self.act(cx, input, wild)?;
            if !model.aborted.get() {
                self.0.check_backlog(cx, 0);
            }
        }
        Ok(())
    }
}

impl Protocol for Anything {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.acts(cx, &mut Input::new(&mut []))
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        self.acts(cx, input)
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: switchboard::TimerId) -> Result<(), Failure> {
        self.acts(cx, &mut Input::new(&mut []))?;
        cx.resume_reading();
        Ok(())
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.acts(cx, &mut Input::new(&mut []))?;
        cx.resume_reading();
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        self.acts(cx, rest)?;
        cx.finish();
        self.0.finished.set(true);
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, reason: &CloseReason) {
        if !matches!(reason, CloseReason::Switched) {
            self.0.closed.set(self.0.closed.get() + 1);
        }
    }
}

/// What the network does next.
fn happen(world: &mut World, peer: &Peer, dice: &mut Sequence, fed: &mut usize) {
    match dice.below(16) {
        0..=6 => {
            let len = if dice.below(6) == 0 { dice.below(40_000) } else { 1 + dice.below(300) };
            let bytes: Vec<u8> = (*fed..*fed + len).map(byte_at).collect();
            *fed += len;
            peer.send(&bytes);
        }
        7..=8 => peer.cut_writes((0..1 + dice.below(4)).map(|_| dice.below(400)).collect::<Vec<_>>()),
        9 => peer.cut_reads((0..1 + dice.below(3)).map(|_| dice.below(2000)).collect::<Vec<_>>()),
        10 => peer.interrupt(1 + dice.below(2)),
        11 => peer.set_window(dice.below(3000)),
        12 => peer.set_window(usize::MAX),
        13 => world.turn(),
        14 => world.advance(millis(dice.below(30) as u64)),
        _ => {}
    }
    if dice.below(3) > 0 {
        world.settle();
    }
}

/// One connection's life: how much was sent back, and how much could not be.
fn live(seed: usize) -> (usize, usize) {
    let mut world = World::with_limits(limits());
    let model = Model::new(seed);
    let for_it = Rc::clone(&model);
    world.listen(move || Anything(Rc::clone(&for_it)));
    let (peer, mut dice, mut fed) = (world.peer(), Sequence::new(!seed as u64), 0);
    for _ in 0..60 {
        happen(&mut world, &peer, &mut dice, &mut fed);
    }
    peer.finish();
    for _ in 0..200 {
        peer.set_window(usize::MAX);
        world.advance(millis(100));
    }
    let counters: Counters = world.event_loop.counters();
    let (sent, got) = (model.sent.borrow(), peer.received());
    assert!(sent.starts_with(&got), "in order: {} of {} bytes came", got.len(), sent.len());
    assert_eq!(counters.bytes_out, got.len() as u64, "bytes out");
    assert_eq!(counters.bytes_out + counters.bytes_unsent, (sent.len() + model.late.get()) as u64, "bytes unsent");
    assert_eq!(counters.bytes_in, (fed - peer.unread()) as u64, "bytes in");
    if !model.aborted.get() {
        assert_eq!(sent.len(), got.len(), "all that was sent comes");
    }
    if model.ended.get() {
        assert_eq!(model.closed.get(), 1, "closed once");
    }
    if model.closed.get() == 0 {
        world.event_loop.core().close(peer.id().unwrap());
        world.advance(millis(60_000));
    }
    assert_eq!(model.closed.get(), 1, "closed once");
    world.advance(millis(60_000));
    world.assert_nothing_left();
    (model.returned.get(), model.refused.get())
}

#[test]
fn among_all_else_it_is_neither_lost_nor_doubled_nor_out_of_order() {
    let (mut returned, mut refused) = (0, 0);
    for seed in 0..1500 {
        let lived = std::panic::catch_unwind(|| live(seed));
        let Ok((back, not)) = lived else { panic!("seed {seed}") };
        returned += back;
        refused += not;
    }
    assert!(returned > 100_000 && refused > 100_000, "both happen: {returned}, {refused}");
}

/// Sends everything back, or says that it can't.
struct Returner;

impl Protocol for Returner {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        if !cx.send_back(input) {
            cx.send(b"<");
            cx.send(input.take_all());
            cx.send(b">");
        }
        Ok(())
    }
}

/// Calls what is inside as one would from outside, with its own input. With `SEALS` it makes of each byte the next.
struct Around<const SEALS: bool>;

impl<const SEALS: bool, P: Protocol> Layer<P> for Around<SEALS> {
    const SEALS: bool = SEALS;

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        inner.with(cx, |protocol, cx| protocol.on_data(cx, input))?;
        Ok(())
    }

    fn seal(&mut self, cx: &mut Context<'_>, plain: &mut [u8]) -> Result<(), Failure> {
        plain.iter_mut().for_each(|byte| *byte += 1);
        cx.send(plain);
        Ok(())
    }
}

#[test]
fn what_a_layer_is_around_sends_nothing_back_past_it_however_it_is_called() {
    let mut harness = Harness::new(Layered::new(Around::<false>, Returner));
    harness.feed(b"hello");
    assert_eq!(harness.take_sent(), b"<hello>");
    let mut harness = Harness::new(Layered::new(Around::<true>, Returner));
    harness.feed(b"hello");
    assert_eq!(harness.take_sent(), b"=ifmmp?");
    let mut harness = SessionHarness::new(Layered::new(Around::<true>, Returner));
    harness.feed(b"hello");
    assert_eq!(harness.take_sent(), [&b"="[..], b"ifmmp", b"?"]);
}

#[test]
fn an_empty_datagram_is_not_overtaken_by_what_is_sent_back_after_it() {
    let mut harness = SessionHarness::new(protocol_fn(|cx, input| {
        cx.send(b"");
        if !cx.send_back(input) {
            cx.send(input.take_all());
        }
        Ok(())
    }));
    for _ in 0..2 {
        harness.feed(b"hello");
        assert_eq!(harness.take_sent(), [b"".to_vec(), b"hello".to_vec()]);
    }
}
