//! The protocol between two hosts on a network at its worst.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::{Conditions, Host, Simulation};
use switchboard::{CloseReason, Closing, Context, Failure, Input, Limits, Protocol, Target};

use super::Stream;
use crate::relay::{Relay, Route};

/// Bytes in each direction of a connection.
const ALL: usize = 300_000;

const BUFFER: usize = 64 * 1024;

/// Sends a stream and half-closes, and checks the one that comes.
struct Talker {
    sends: Stream,
    receives: Stream,
    /// Where it says whether all of that arrived, and the half-close behind it.
    whole: Rc<RefCell<Vec<bool>>>,
}

impl Talker {
    fn new(sends: &Stream, receives: &Stream, whole: &Rc<RefCell<Vec<bool>>>) -> Self {
        Self { sends: sends.clone(), receives: receives.clone(), whole: Rc::clone(whole) }
    }
}

impl Protocol for Talker {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        while cx.has_room() {
            if self.sends.at == ALL {
                cx.finish();
                break;
            }
            let left = ALL - self.sends.at;
            cx.send(self.sends.next(left.min(10_000)));
        }
        Ok(())
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.on_open(cx)
    }

    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        self.receives.expect(input.take_all());
        Ok(())
    }

    fn on_eof(&mut self, _: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
        // Nothing at all: there was no way to the target. A connection that breaks is a reset.
        assert!([0, ALL].contains(&self.receives.at), "a half-close after {} bytes", self.receives.at);
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, reason: &CloseReason) {
        self.whole.borrow_mut().push(reason.is_clean() && self.receives.at == ALL && self.sends.at == ALL);
    }
}

/// Ten connections through a proxy that finds its target by name: which ends saw all of it.
fn through(conditions: Conditions, seed: u64) -> Vec<bool> {
    let mut simulation = Simulation::new(seed);
    simulation.set_conditions(conditions);
    let limits = Limits { read_budget: BUFFER / 4, low_water: BUFFER / 4, high_water: BUFFER, ..Limits::default() };
    let hosts @ [client, proxy, target]: [Host; 3] =
        ["client", "proxy", "target"].map(|name| simulation.add_host_with(name, limits.clone()));
    let (listen, goes_on) = (simulation.address(proxy, 80), simulation.address(target, 80));
    let (whole, there, back) = (Rc::default(), Stream::new(1), Stream::new(2));
    let (ends, expected, answer) = (Rc::clone(&whole), there.clone(), back.clone());
    simulation.event_loop(target).listen(goes_on, move |_| Some(Talker::new(&answer, &expected, &ends))).unwrap();
    let (pairs, target) = (Rc::new(Cell::new(0)), Target::from(("target", 80)));
    let seats = Rc::clone(&pairs);
    let route = Rc::new(Route { target, idle_timeout: Duration::from_secs(600), verbose: false });
    simulation.event_loop(proxy).listen(listen, move |_| Some(Relay::accepted(&route, &seats))).unwrap();
    for _ in 0..10 {
        simulation.event_loop(client).connect(listen, Talker::new(&there, &back, &whole));
    }
    // Never more than the documented limit, for each direction of each connection.
    let over = simulation.run_until(Duration::from_secs(3600), |simulation| {
        let held = simulation.event_loop(proxy).core().held_bytes();
        assert!(held <= 2 * BUFFER * pairs.get(), "{held} bytes held");
        hosts.iter().all(|&host| simulation.event_loop(host).core().open_connections() == 0)
    });
    assert!(over, "seed {seed}: some connections never end");
    assert_eq!((pairs.get(), simulation.event_loop(proxy).core().held_bytes()), (0, 0));
    whole.take()
}

#[test]
fn on_a_rough_network_every_byte_and_every_half_close_arrives() {
    for seed in 0..5 {
        assert_eq!(through(Conditions { slow_lookups: 0.0, ..Conditions::rough() }, seed), [true; 20], "seed {seed}");
    }
}

#[test]
fn where_connections_break_both_ends_are_told_and_what_arrives_is_a_beginning() {
    let (mut whole, mut broken) = (0, 0);
    for seed in 0..5 {
        for end in through(Conditions::hostile(), seed) {
            *(if end { &mut whole } else { &mut broken }) += 1;
        }
    }
    assert!(whole > 10 && broken > 10, "{whole} whole, {broken} broken");
}
