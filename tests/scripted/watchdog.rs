//! The watchdog: who takes long, and who spins, is named; who does neither is not.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::Network;
use switchboard::{
    Bytes, Callback, Context, Datagram, DatagramContext, DatagramProtocol, Failure, Fault, Inner, Input, Layer,
    Layered, Protocol, Stall, TimerId, Watchdog, protocol_fn,
};
use switchboard_echo::TcpEcho;

use crate::spy::{Log, Spy};
use crate::world::{World, address, millis};

mod spinning;

type Stalls = Rc<RefCell<Vec<Stall>>>;

fn watched(watchdog: Watchdog) -> (World, Stalls) {
    let (mut world, stalls) = (World::new(), Stalls::default());
    let found = Rc::clone(&stalls);
    world.event_loop.set_watchdog(watchdog.report(move |stall| found.borrow_mut().push(*stall)));
    (world, stalls)
}

/// A spy whose every callback takes this long.
fn slow(network: &Network, time: Duration) -> Spy {
    let each = |network: &Network| {
        let network = network.clone();
        move || network.advance(time)
    };
    let (open, data, eof, timer) = (each(network), each(network), each(network), each(network));
    let (message, shutdown, close) = (each(network), each(network), each(network));
    Spy::new("it", &Log::default())
        .on_open(move |cx| {
            open();
            cx.set_timer(millis(500));
            Ok(())
        })
        .on_data(move |_, input| {
            data();
            input.take_all();
            Ok(())
        })
        .on_eof(move |_, _| {
            eof();
            Ok(())
        })
        .on_timer(move |_, _| {
            timer();
            Ok(())
        })
        .on_message(move |_, _| {
            message();
            Ok(())
        })
        .on_shutdown(move |cx| {
            shutdown();
            cx.close();
            Ok(())
        })
        .on_close(move |_, _| close())
}

#[test]
fn every_callback_that_takes_too_long_is_named_with_its_time() {
    let (mut world, stalls) = watched(Watchdog::new().threshold(millis(20)));
    let network = world.network.clone();
    world.listen(move || slow(&network, millis(21)));
    let peer = world.peer();
    let id = peer.id();
    peer.send(b"x");
    world.settle();
    world.advance(millis(500));
    let connection = stalls.borrow()[0].id.unwrap();
    world.event_loop.core().post(connection, Bytes::from("m")).unwrap();
    world.settle();
    peer.finish();
    world.settle();
    world.event_loop.core().shutdown(Duration::from_secs(9));
    world.settle();
    use Callback::{Close, Data, Eof, Message, Open, Shutdown, Timer};
    let found = stalls.take();
    let named: Vec<Callback> = found.iter().map(|stall| stall.callback).collect();
    assert_eq!(named, [Open, Data, Timer, Message, Eof, Shutdown, Close]);
    for stall in found {
        assert_eq!((stall.id, stall.fault), (id, Fault::Slow(millis(21))));
        assert_eq!(stall.protocol, std::any::type_name::<Spy>());
    }
}

#[test]
fn who_is_quick_enough_is_not() {
    let (mut world, stalls) = watched(Watchdog::new().threshold(millis(21)));
    let network = world.network.clone();
    world.listen(move || slow(&network, millis(21)));
    let peer = world.peer();
    peer.send(b"x");
    peer.finish();
    world.settle();
    world.advance(millis(500));
    assert_eq!(*stalls.borrow(), []);
}

#[test]
fn several_callbacks_of_one_visit_are_timed_one_by_one() {
    let (mut world, stalls) = watched(Watchdog::new());
    let network = world.network.clone();
    world.listen(move || {
        let network = network.clone();
        let mut letters = 0;
        Spy::new("it", &Log::default()).on_message(move |_, _| {
            letters += 1;
            network.advance(millis(if letters == 3 { 101 } else { 60 }));
            Ok(())
        })
    });
    let peer = world.peer();
    let id = peer.id().unwrap();
    for _ in 0..5 {
        world.event_loop.core().post(id, Bytes::from("m")).unwrap();
    }
    world.settle();
    let found: Vec<Fault> = stalls.borrow().iter().map(|stall| stall.fault).collect();
    assert_eq!(found, [Fault::Slow(millis(101))]);
}

#[test]
fn what_the_program_gives_the_loop_is_timed_too() {
    let (mut world, stalls) = watched(Watchdog::new());
    let network = world.network.clone();
    let factory = network.clone();
    world.listen(move || {
        factory.advance(millis(200));
        TcpEcho
    });
    let _peer = world.peer();
    let accepted = stalls.take();
    assert_eq!((accepted.len(), accepted[0].callback), (1, Callback::Factory));
    world.event_loop.handle().run(|core| assert!(!core.is_draining())).unwrap();
    world.settle();
    assert_eq!(*stalls.borrow(), [], "a quick one");
    let id = world.event_loop.connect(address(3), TcpEcho);
    world.network.next_outgoing().unwrap().establish();
    world.settle();
    world.event_loop.with(id, |_| network.advance(millis(300)));
    let found = stalls.take();
    assert_eq!((found[0].callback, found[0].fault), (Callback::With, Fault::Slow(millis(300))));
    assert_eq!(
        found[0].to_string(),
        format!("a closure on the connection of TcpEcho ({:?}) took 300ms", found[0].id.unwrap())
    );
}

struct SlowSocket(Network);

impl DatagramProtocol for SlowSocket {
    fn on_datagram(&mut self, _: &mut DatagramContext<'_>, _: Datagram<'_>) -> Result<(), Failure> {
        self.0.advance(millis(150));
        Ok(())
    }
}

#[test]
fn udp_sockets_are_watched() {
    let (mut world, stalls) = watched(Watchdog::new());
    let network = world.network.clone();
    world.event_loop.bind_udp(address(5), SlowSocket(network)).unwrap();
    world.network.send_datagram(address(6), address(5), b"hello");
    world.settle();
    let found = stalls.take();
    assert_eq!((found.len(), found[0].callback, found[0].fault), (1, Callback::Datagram, Fault::Slow(millis(150))));
    assert!(found[0].protocol.ends_with("SlowSocket"));
}

/// Around anything.
struct Plain;

impl<P: Protocol> Layer<P> for Plain {
    fn on_timer(&mut self, _: &mut Context<'_>, _: TimerId, _: &mut Inner<P>) -> Result<(), Failure> {
        Ok(())
    }
}

/// Has a name of its own.
struct Named(Network);

impl Protocol for Named {
    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        input.take_all();
        self.0.advance(millis(200));
        Ok(())
    }

    fn name(&self) -> &'static str {
        "the slow one"
    }
}

#[test]
fn layers_are_named_with_what_they_are_around() {
    let boxed: Box<dyn Protocol> = Box::new(TcpEcho);
    for (name, is) in [
        (Protocol::name(&Layered::new(Plain, TcpEcho)), std::any::type_name::<Layered<Plain, TcpEcho>>()),
        (
            Protocol::name(&Layered::new(Plain, Layered::new(Plain, TcpEcho))),
            std::any::type_name::<Layered<Plain, Layered<Plain, TcpEcho>>>(),
        ),
        (Protocol::name(&boxed), std::any::type_name::<TcpEcho>()),
        (Protocol::name(&Layered::new(Plain, boxed)), std::any::type_name::<TcpEcho>()),
        (Protocol::name(&Layered::new(Plain, Named(World::new().network))), "the slow one"),
    ] {
        assert_eq!(name, is);
    }
    let (mut world, stalls) = watched(Watchdog::new());
    let network = world.network.clone();
    world.listen(move || Layered::new(Plain, Named(network.clone())));
    let peer = world.peer();
    peer.send(b"x");
    world.settle();
    let found = stalls.take();
    assert_eq!(found[0].to_string(), format!("on_data of the slow one ({}) took 200ms", peer.id().unwrap()));
}

#[test]
fn it_can_be_set_late_and_taken_off() {
    let (mut world, stalls) = (World::new(), Stalls::default());
    let network = world.network.clone();
    world.listen(move || slow(&network, millis(110)));
    let peer = world.peer();
    peer.send(b"unwatched");
    world.settle();
    let found = Rc::clone(&stalls);
    world.event_loop.set_watchdog(Watchdog::new().report(move |stall| found.borrow_mut().push(*stall)));
    peer.send(b"watched");
    world.settle();
    assert_eq!(stalls.take().len(), 1);
    world.event_loop.set_watchdog(None);
    peer.send(b"unwatched");
    world.settle();
    assert_eq!(*stalls.borrow(), []);
}

#[test]
fn what_runs_can_be_seen_from_outside() {
    let mut watchdog = Watchdog::new();
    let observer = watchdog.observer();
    let (mut world, _) = watched(watchdog);
    assert_eq!(observer.running(), None);
    let (inside, seen) = (observer.clone(), Rc::new(RefCell::new(Vec::new())));
    let notes = Rc::clone(&seen);
    world.listen(move || {
        let (inside, notes) = (inside.clone(), Rc::clone(&notes));
        protocol_fn(move |_, input| {
            input.take_all();
            // What another thread would see now.
            notes.borrow_mut().extend(inside.running());
            Ok(())
        })
    });
    let peer = world.peer();
    for _ in 0..2 {
        peer.send(b"x");
        world.settle();
        assert_eq!(observer.running(), None, "it has returned");
    }
    let seen = seen.take();
    assert_eq!((seen.len(), seen[0].id, seen[0].callback), (2, peer.id(), Callback::Data));
    assert_ne!(seen[0].call, seen[1].call);
    assert!(seen[0].to_string().starts_with("on_data of ProtocolFn<"), "{}", seen[0]);
}

/// With a watchdog nothing else is different: what a conversation comes to is not changed by being timed.
#[test]
fn the_watched_are_served_as_others() {
    let serve = |watch: bool| {
        let log = Log::default();
        let mut world = World::new();
        if watch {
            world.event_loop.set_watchdog(Watchdog::new());
        }
        let notes = log.clone();
        world.listen(move || {
            Spy::new("it", &notes).on_data(|cx, input| {
                let line = input.iter().position(|&byte| byte == b'\n');
                let Some(end) = line else { return Ok(()) };
                let line = input.take(end + 1);
                match line[0] {
                    b'q' => cx.close(),
                    b'f' => return Err(Failure::peer("a failure")),
                    b's' => cx.switch_to(TcpEcho),
                    _ => cx.send(line),
                }
                Ok(())
            })
        });
        let mut received = Vec::new();
        for script in ["a\nb", "a\nb\nc\n", "q\n", "f\nrest", "s\nrest", "half"] {
            let peer = world.peer();
            peer.cut_writes([1, 0]);
            for byte in script.bytes() {
                peer.send(&[byte]);
                world.settle();
            }
            peer.finish();
            world.settle();
            received.push((peer.take_received(), peer.saw_eof(), peer.saw_reset()));
        }
        world.advance(Duration::from_secs(60));
        world.assert_nothing_left();
        (log.take(), received, world.event_loop.counters())
    };
    assert_eq!(serve(true), serve(false));
}
