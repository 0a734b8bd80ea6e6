//! Who is called again and again without getting anywhere is named.

use std::time::Duration;

use switchboard::{
    Bytes, Callback, Context, Datagram, DatagramContext, DatagramProtocol, Failure, Fault, TimerId, Watchdog,
    protocol_fn,
};

use super::{Stalls, watched};
use crate::spy::{Log, Spy};
use crate::world::{PORT, address, millis};

fn spins(stalls: &Stalls) -> Vec<u32> {
    stalls
        .take()
        .iter()
        .map(|stall| match stall.fault {
            Fault::Spins(calls) => calls,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn who_is_offered_the_same_again_and_again_is_named_and_lives_on() {
    let (mut world, stalls) = watched(Watchdog::new().spins(100));
    let mut calls = 0;
    world.listen(move || {
        protocol_fn(move |cx, input| {
            calls += 1;
            if calls < 1000 {
                cx.pause_reading();
                cx.resume_reading();
            } else {
                cx.send(input.take_all());
            }
            Ok(())
        })
    });
    let peer = world.peer();
    peer.send(b"x");
    world.settle();
    assert_eq!(peer.take_received(), b"x");
    let found = stalls.borrow()[0];
    assert_eq!((found.id, found.callback), (peer.id(), Callback::Data));
    assert!(found.to_string().contains("ProtocolFn<") && found.to_string().ends_with("100 times in a row"), "{found}");
    assert_eq!(spins(&stalls), [100, 200, 400, 800]);
}

#[test]
fn who_sets_timers_that_are_due_at_once_is_named() {
    let (mut world, stalls) = watched(Watchdog::new().spins(10));
    world.listen(|| hurried(25, u32::MAX));
    world.peer();
    assert_eq!(spins(&stalls), [10, 20]);
}

#[test]
fn who_gets_somewhere_does_not_spin() {
    let (mut world, stalls) = watched(Watchdog::new().spins(2));
    // Timers at a human pace.
    world.listen(|| {
        let tick = |cx: &mut Context<'_>| {
            cx.set_timer(millis(1));
            Ok(())
        };
        Spy::new("it", &Log::default()).on_open(tick).on_timer(move |cx, _| tick(cx))
    });
    let _ticks = world.peer();
    world.advance(millis(100));
    // A byte consumed of what is offered again; a byte sent by each timer; a message posted.
    for way in 0..3 {
        let port = 100 + way;
        world
            .event_loop
            .listen(address(port), move |_| {
                let mut left = 50;
                Some(
                    Spy::new("it", &Log::default())
                        .on_data(move |cx, input| {
                            if way == 0 {
                                input.take(1);
                                cx.pause_reading();
                                cx.resume_reading();
                            } else {
                                input.take_all();
                                cx.set_timer(Duration::ZERO);
                            }
                            Ok(())
                        })
                        .on_timer(move |cx, _| {
                            left -= 1;
                            if left > 0 {
                                cx.set_timer(Duration::ZERO);
                                let id = cx.id();
                                match way {
                                    1 => cx.send(b"."),
                                    _ => cx.post(id, Bytes::from("m")).map_err(|_| Failure::caller("full"))?,
                                }
                            }
                            Ok(())
                        }),
                )
            })
            .unwrap();
        let peer = world.network.connect(address(port)).unwrap();
        peer.send(&[7; 50]);
        for _ in 0..200 {
            world.turn();
        }
        assert_eq!(peer.unread(), 0);
    }
    assert_eq!(spins(&stalls), [] as [u32; 0]);
}

#[test]
fn a_row_ends_with_a_rest() {
    let (mut world, stalls) = watched(Watchdog::new().spins(10));
    let network = world.network.clone();
    world.listen(move || {
        let (network, mut calls) = (network.clone(), 0);
        Spy::new("it", &Log::default())
            .on_open(|cx| {
                cx.set_timer(Duration::ZERO);
                Ok(())
            })
            .on_timer(move |cx, _| {
                calls += 1;
                if calls == 9 {
                    network.advance(millis(1));
                }
                if calls < 17 {
                    cx.set_timer(Duration::ZERO);
                }
                Ok(())
            })
    });
    world.peer();
    assert_eq!(spins(&stalls), [] as [u32; 0]);
}

/// Sets timers that are due at once.
struct Spinner;

impl DatagramProtocol for Spinner {
    fn on_open(&mut self, cx: &mut DatagramContext<'_>) -> Result<(), Failure> {
        cx.set_timer(Duration::ZERO);
        Ok(())
    }

    fn on_datagram(&mut self, _: &mut DatagramContext<'_>, _: Datagram<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut DatagramContext<'_>, _: TimerId) -> Result<(), Failure> {
        cx.set_timer(Duration::ZERO);
        Ok(())
    }
}

#[test]
fn udp_sockets_that_spin_are_named() {
    let (mut world, stalls) = watched(Watchdog::new().spins(5));
    world.event_loop.bind_udp(address(5), Spinner).unwrap();
    for _ in 0..12 {
        world.turn();
    }
    assert_eq!(spins(&stalls), [5, 10]);
}

/// Sets a timer that is due at once, so many times; each `sends`th is used to send something.
fn hurried(calls: u32, sends: u32) -> Spy {
    let mut called = 0;
    Spy::new("it", &Log::default())
        .on_open(|cx| {
            cx.set_timer(Duration::ZERO);
            Ok(())
        })
        .on_timer(move |cx, _| {
            called += 1;
            if called % sends == 0 {
                cx.send(b".");
            }
            if called < calls {
                cx.set_timer(Duration::ZERO);
            }
            Ok(())
        })
}

#[test]
fn a_row_ends_with_progress() {
    let (mut world, stalls) = watched(Watchdog::new().spins(10));
    world.listen(|| hurried(100, 10));
    let peer = world.peer();
    assert_eq!((peer.take_received().len(), spins(&stalls)), (10, vec![]), "nine calls for nothing each time");
}

#[test]
fn a_session_that_sends_does_not_spin() {
    for (sends, expected) in [(1, vec![]), (u32::MAX, vec![10, 20, 40])] {
        let (mut world, stalls) = watched(Watchdog::new().spins(10));
        world.event_loop.bind_sessions(address(5), move |_| Some(hurried(50, sends))).unwrap();
        world.network.send_datagram(address(6), address(5), b"x");
        world.settle();
        assert_eq!(world.network.take_datagrams(address(5)).len(), 50 / sends as usize);
        assert_eq!(spins(&stalls), expected);
    }
}

#[test]
fn a_crowd_of_others_does_not_hide_who_spins() {
    let (mut world, stalls) = watched(Watchdog::new().spins(300));
    let mut made = 0;
    world.listen(move || {
        made += 1;
        hurried(if made == 1 { 300 } else { 3 }, u32::MAX)
    });
    let first = world.network.connect(address(PORT)).unwrap();
    let _others: Vec<_> = (0..200).map(|_| world.network.connect(address(PORT)).unwrap()).collect();
    world.settle();
    assert_eq!(stalls.borrow().first().map(|stall| stall.id), Some(first.id()));
    assert_eq!(spins(&stalls), [300]);
}
