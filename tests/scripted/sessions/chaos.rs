//! Sessions whose protocols do anything in any callback, under everything at once: the same seeds in every run.

use switchboard::driver::Ready;
use switchboard::{Closing, Failure, Inner, Layer, Layered, Protocol, TimerId};

use super::*;
use crate::common::Sequence;

/// What all protocols of a run have in common.
struct Fate {
    sequence: RefCell<Sequence>,
    /// How many were opened, and how many of those were told of their end.
    opened: RefCell<(usize, usize)>,
}

/// Does anything, and checks the order of its calls.
struct Any {
    fate: Rc<Fate>,
    open: bool,
    ended: bool,
}

impl Any {
    fn new(fate: &Rc<Fate>) -> Self {
        Self { fate: Rc::clone(fate), open: false, ended: false }
    }

    fn boxed(fate: &Rc<Fate>) -> Box<dyn Protocol> {
        match fate.sequence.borrow_mut().below(4) {
            0 => Box::new(Layered::new(Glass, Self::new(fate))),
            1 => Box::new(Layered::new(Sealed, Self::new(fate))),
            _ => Box::new(Self::new(fate)),
        }
    }

    fn act(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        assert!(self.open && !self.ended && cx.is_datagram());
        let below = |most| self.fate.sequence.borrow_mut().below(most);
        for _ in 0..below(3) {
            match below(24) {
                0..=5 => cx.send(&vec![b'd'; below(300)]),
                6 => cx.send_shared(Bytes::from(vec![b'd'; below(3000)])),
                7 => {
                    if let Some(buffer) = cx.send_buffer() {
                        buffer.extend_from_slice(b"dd");
                    }
                }
                8 => cx.boundary(),
                9 => drop(cx.set_timer(millis(below(20) as u64))),
                10 => cx.pause_reading(),
                11 | 12 => cx.resume_reading(),
                13 => drop(cx.has_room()),
                14 if below(4) == 0 => cx.close(),
                15 if below(8) == 0 => cx.abort(),
                16 if below(8) == 0 => cx.finish(),
                17 => cx.switch_to(Self::boxed(&self.fate)),
                18 => {
                    let id = cx.id();
                    drop(cx.post(id, Bytes::from_static(b"letter")));
                }
                19 => drop(cx.subscribe("news", Slow::DropOldest { waiting: 3 })),
                20 => drop(cx.publish("news", Bytes::from_static(b"news"))),
                21 => drop(cx.hold(below(5000))),
                22 if below(8) == 0 => return Err(std::io::Error::other("it happens").into()),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Protocol for Any {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        assert!(!self.open && !self.ended);
        self.open = true;
        self.fate.opened.borrow_mut().0 += 1;
        self.act(cx)
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        assert!(input.iter().all(|&byte| byte == b'x'), "not what was sent");
        input.take(self.fate.sequence.borrow_mut().below(input.len() + 1));
        self.act(cx)
    }

    fn on_eof(&mut self, _: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
        unreachable!("a session has no end of a stream")
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        self.act(cx)
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.act(cx)
    }

    fn on_message(&mut self, cx: &mut Context<'_>, _: Message) -> Result<(), Failure> {
        self.act(cx)
    }

    fn on_close(&mut self, _: &mut Closing<'_>, _: &CloseReason) {
        assert!(!self.ended);
        self.ended = true;
        // One that never took over, since a close won, is dropped and hears nothing.
        assert!(self.open);
        self.fate.opened.borrow_mut().1 += 1;
    }
}

struct Glass;

impl<P: Protocol> Layer<P> for Glass {}

/// Seals by nothing but its own way through a layer.
struct Sealed;

impl<P: Protocol> Layer<P> for Sealed {
    const SEALS: bool = true;

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        inner.feed(cx, input.take_all())
    }
}

fn run(seed: u64) -> u64 {
    let limits = Limits { datagram_queue: 4000, low_water: 500, datagrams_per_turn: 5, ..Limits::default() };
    let mut world = World::with_limits(limits);
    let fate = Rc::new(Fate { sequence: RefCell::new(Sequence::new(seed)), opened: RefCell::default() });
    let below = |most| fate.sequence.borrow_mut().below(most);
    let factory = {
        let fate = Rc::clone(&fate);
        move |_: &_| {
            let admits = fate.sequence.borrow_mut().below(10) > 0;
            admits.then(|| Any::boxed(&fate))
        }
    };
    let socket = world.event_loop.bind_sessions_with(address(HERE), &options(6, 500, millis(60)), factory).unwrap();
    let mut clients = Vec::new();
    for step in 0..400 {
        match below(16) {
            0 => world.advance(millis(below(30) as u64)),
            1 => world.network.set_datagram_window(address(HERE), below(4)),
            2 => world.network.set_datagram_window(address(HERE), usize::MAX),
            3 => world.network.raise(Ready {
                key: (below(60) as u64) << 32 | below(12) as u64,
                readable: true,
                writable: true,
                read_closed: below(2) == 0,
                error: below(2) == 0,
            }),
            4 => drop(world.network.fail_receive(address(HERE), std::io::ErrorKind::ConnectionRefused)),
            5 if clients.len() < 8 => {
                let id = world.event_loop.connect_udp(address(THERE), Any::boxed(&fate));
                clients.extend(world.event_loop.local_addr(id));
            }
            6 if !clients.is_empty() => {
                let client = clients[below(clients.len())];
                world.network.set_datagram_window(client, below(3));
                world.network.send_datagram(address(THERE), client, &vec![b'x'; below(50)]);
            }
            7 if !clients.is_empty() && below(6) == 0 => {
                world.network.fail_receive(clients[below(clients.len())], std::io::ErrorKind::ConnectionRefused);
            }
            8 => {
                let peer = u16::try_from(below(10)).unwrap() + 10;
                if let Some(id) = world.event_loop.session(socket, address(peer)) {
                    match below(8) {
                        0 => world.event_loop.core().close(id),
                        1 => world.event_loop.core().abort(id),
                        _ => drop(world.event_loop.core().post(id, Bytes::from_static(b"letter"))),
                    }
                }
            }
            9 if step > 350 && below(5) == 0 => world.event_loop.core().close(socket),
            10..=12 => world.turn(),
            _ => {
                let peer = u16::try_from(below(10)).unwrap() + 10;
                world.network.send_datagram(address(peer), address(HERE), &vec![b'x'; below(50)]);
            }
        }
    }
    for address in clients.into_iter().chain([address(HERE)]) {
        world.network.set_datagram_window(address, usize::MAX);
        for (_, payload) in world.network.take_datagrams(address) {
            assert!(payload.iter().all(|&byte| byte == b'd'), "seed {seed}: not what was sent");
        }
    }
    world.event_loop.core().shutdown(millis(50));
    world.advance(millis(100));
    assert!(world.event_loop.tally().is_some(), "seed {seed}: the drain has ended");
    world.assert_nothing_left();
    assert_eq!(world.event_loop.core().open_sessions(), 0, "seed {seed}");
    let (opened, ended) = *fate.opened.borrow();
    assert_eq!(opened, ended, "seed {seed}: each was told of its end");
    world.event_loop.counters().opened
}

#[test]
fn sessions_survive_any_schedule() {
    let opened: u64 = (0..1000).map(run).sum();
    assert!(opened > 10_000, "{opened}: it was not much of a trial");
}
