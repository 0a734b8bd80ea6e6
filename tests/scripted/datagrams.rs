//! UDP: datagrams of any size, queues with a bound, errors that are nobody's end.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use switchboard::{
    CloseReason, Core, Datagram, DatagramContext, DatagramProtocol, Failure, Limits, Message, SocketId, TimerId,
};
use switchboard_echo::UdpEcho;

use crate::spy::Log;
use crate::world::{World, address, millis};

const HERE: u16 = 5;
const THERE: u16 = 6;

fn echo(limits: Limits) -> (World, SocketId) {
    let mut world = World::with_limits(limits);
    let socket = world.event_loop.bind_udp(address(HERE), UdpEcho).unwrap();
    (world, socket)
}

/// Sends a datagram to the echo and settles.
fn send(world: &mut World, payload: &[u8]) {
    assert!(world.network.send_datagram(address(THERE), address(HERE), payload));
    world.settle();
}

#[test]
fn datagrams_of_every_size_come_back() {
    let (mut world, socket) = echo(Limits::default());
    for len in [0, 1, 2, 1472, 1473, 9000, 65_506, 65_507] {
        let payload: Vec<u8> = (0..=255).cycle().take(len).collect();
        send(&mut world, &payload);
        assert!(world.network.take_datagrams(address(HERE)) == [(address(THERE), payload)], "{len} bytes");
    }
    let counters = world.event_loop.core().socket_counters(socket);
    assert_eq!((counters.datagrams_in, counters.datagrams_out, counters.datagrams_dropped), (8, 8, 0));
}

#[test]
fn what_would_block_waits_in_order_and_leaves_when_there_is_room() {
    let (mut world, _) = echo(Limits::default());
    world.network.set_datagram_window(address(HERE), 0);
    for n in 0..20_u8 {
        send(&mut world, &[n]);
    }
    assert_eq!(world.network.take_datagrams(address(HERE)), []);
    assert!(world.event_loop.core().held_bytes() > 0);
    for window in [1, 5, 100] {
        world.network.set_datagram_window(address(HERE), window);
        world.settle();
    }
    let sent: Vec<u8> = world.network.take_datagrams(address(HERE)).iter().map(|(_, payload)| payload[0]).collect();
    assert_eq!(sent, (0..20).collect::<Vec<u8>>());
    assert_eq!(world.event_loop.core().held_bytes(), 0);
}

#[test]
fn room_that_is_told_of_together_with_a_datagram_is_heard_of() {
    let (mut world, _) = echo(Limits::default());
    world.network.set_datagram_window(address(HERE), 0);
    send(&mut world, b"first");
    assert_eq!(world.network.take_datagrams(address(HERE)), []);
    world.network.set_datagram_window(address(HERE), 10);
    send(&mut world, b"second");
    let sent = world.network.take_datagrams(address(HERE));
    assert_eq!(sent, [(address(THERE), b"first".to_vec()), (address(THERE), b"second".to_vec())]);
}

#[test]
fn beyond_the_queue_they_are_dropped_and_counted() {
    let (mut world, socket) = echo(Limits { datagram_queue: 10_000, ..Limits::default() });
    world.network.set_datagram_window(address(HERE), 0);
    for _ in 0..50 {
        send(&mut world, &[0; 1000]);
    }
    assert!(world.event_loop.core().held_bytes() <= 10_000);
    let dropped = world.event_loop.core().socket_counters(socket).datagrams_dropped;
    world.network.set_datagram_window(address(HERE), usize::MAX);
    world.settle();
    let sent = world.network.take_datagrams(address(HERE)).len();
    assert!((8..=10).contains(&sent), "{sent} fit into the queue");
    assert_eq!(sent as u64 + dropped, 50);
}

#[test]
fn empty_ones_do_not_wait_for_free() {
    let (mut world, socket) = echo(Limits { datagram_queue: 10_000, ..Limits::default() });
    world.network.set_datagram_window(address(HERE), 0);
    for _ in 0..5000 {
        send(&mut world, b"");
    }
    assert!(world.event_loop.core().held_bytes() <= 10_000);
    assert!(world.event_loop.core().socket_counters(socket).datagrams_dropped > 4000);
}

#[test]
fn one_peers_refusal_is_not_the_sockets_end() {
    let (mut world, socket) = echo(Limits::default());
    for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::HostUnreachable, io::ErrorKind::Interrupted] {
        world.network.fail_receive(address(HERE), kind);
    }
    send(&mut world, b"still here");
    assert_eq!(world.network.take_datagrams(address(HERE)), [(address(THERE), b"still here".to_vec())]);
    assert_eq!(world.event_loop.core().socket_counters(socket).datagram_errors, 2, "an interruption is none");
}

/// Notes everything, and does what a datagram tells it to.
struct Told {
    log: Log,
    timer: Rc<RefCell<Option<TimerId>>>,
}

impl DatagramProtocol for Told {
    fn on_open(&mut self, _: &mut DatagramContext<'_>) -> Result<(), Failure> {
        self.log.note("open");
        Ok(())
    }

    fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, datagram: Datagram<'_>) -> Result<(), Failure> {
        match &*datagram.payload {
            b"fail" => {
                cx.send_to(datagram.source, b"ERR");
                return Err(Failure::peer("told to"));
            }
            b"close" => {
                cx.send_to(datagram.source, b"bye");
                cx.close();
            }
            b"abort" => cx.abort(),
            b"timer" => *self.timer.borrow_mut() = Some(cx.set_timer(millis(10))),
            b"later" => assert!(self.timer.borrow().is_some_and(|timer| cx.postpone_timer(timer, millis(100)))),
            b"too long" => cx.send_to(datagram.source, &[0; 65_508]),
            other => self.log.note(format!("datagram {}", String::from_utf8_lossy(other))),
        }
        Ok(())
    }

    fn on_timer(&mut self, _: &mut DatagramContext<'_>, _: TimerId) -> Result<(), Failure> {
        self.log.note("timer");
        Ok(())
    }

    fn on_message(&mut self, cx: &mut DatagramContext<'_>, message: Message) -> Result<(), Failure> {
        self.log.note("message");
        let id = cx.id();
        cx.post(id, message).map_err(|_| Failure::caller("its own mailbox is full"))
    }

    fn on_close(&mut self, _: &mut Core, reason: &CloseReason) {
        self.log.note(format!("close: {reason}"));
    }
}

fn told() -> (World, SocketId, Log) {
    let mut world = World::new();
    let log = Log::default();
    let timer = Rc::default();
    let socket = world.event_loop.bind_udp(address(HERE), Told { log: log.clone(), timer }).unwrap();
    (world, socket, log)
}

#[test]
fn close_failure_and_abort_end_it_each_in_its_way() {
    for (word, answer, reason) in [
        ("close", Some("bye"), "close: closed by this side"),
        ("fail", Some("ERR"), "close: the peer broke the protocol: told to"),
        ("abort", None, "close: aborted by this side, 0 bytes unsent"),
    ] {
        let (mut world, socket, log) = told();
        send(&mut world, word.as_bytes());
        let sent: Vec<Vec<u8>> = world.network.take_datagrams(address(HERE)).into_iter().map(|(_, it)| it).collect();
        assert_eq!(sent, answer.map(|it| it.as_bytes().to_vec()).into_iter().collect::<Vec<_>>());
        assert_eq!(log.take(), ["open", reason]);
        assert!(!world.event_loop.core().is_open(socket));
        assert!(!world.network.send_datagram(address(THERE), address(HERE), b"anybody?"), "the port is free");
    }
}

#[test]
fn a_close_waits_for_what_would_block() {
    let (mut world, _, log) = told();
    world.network.set_datagram_window(address(HERE), 0);
    send(&mut world, b"close");
    send(&mut world, b"ignored");
    assert_eq!(log.take(), ["open"]);
    world.network.set_datagram_window(address(HERE), 1);
    world.settle();
    assert_eq!(log.take(), ["close: closed by this side"]);
    assert_eq!(world.event_loop.core().held_bytes(), 0);
}

#[test]
fn timers_fire_and_can_be_put_off() {
    let (mut world, _, log) = told();
    send(&mut world, b"timer");
    send(&mut world, b"later");
    world.advance(millis(99));
    assert_eq!(log.take(), ["open"]);
    world.advance(millis(1));
    assert_eq!(log.take(), ["timer"]);
}

#[test]
fn one_that_the_system_refuses_is_dropped_and_counted() {
    let (mut world, socket, _) = told();
    send(&mut world, b"too long");
    send(&mut world, b"hello");
    assert_eq!(world.network.take_datagrams(address(HERE)), []);
    assert_eq!(world.event_loop.core().socket_counters(socket).datagrams_dropped, 1);
    assert!(world.event_loop.core().is_open(socket));
}

#[test]
fn who_posts_to_itself_is_called_once_a_turn_for_ever() {
    let (mut world, socket, log) = told();
    world.event_loop.core().post(socket, Message::user(())).unwrap();
    log.take();
    for turn in 1..=20 {
        world.turn();
        assert_eq!(log.take(), ["message"], "turn {turn}");
    }
}

#[test]
fn the_embedder_can_send_and_look_inside() {
    let (mut world, socket, _) = told();
    world.event_loop.with_socket(socket, |cx| cx.send_to(address(THERE), b"from outside")).unwrap();
    assert_eq!(world.network.take_datagrams(address(HERE)), [(address(THERE), b"from outside".to_vec())]);
    assert!(world.event_loop.socket_protocol::<Told>(socket).is_some());
    assert!(world.event_loop.socket_protocol::<UdpEcho>(socket).is_none());
    world.event_loop.core().close(socket);
    world.settle();
    assert!(world.event_loop.with_socket(socket, |_| ()).is_none());
}

#[test]
fn a_drain_cuts_off_what_never_leaves() {
    let (mut world, _, log) = told();
    world.network.set_datagram_window(address(HERE), 0);
    send(&mut world, b"close");
    world.event_loop.core().shutdown(Duration::from_secs(1));
    world.settle();
    world.advance(Duration::from_secs(1));
    assert!(world.event_loop.tally().is_some());
    assert!(log.take().last().unwrap().starts_with("close: cut off at the end of the drain"));
    assert_eq!(world.event_loop.core().held_bytes(), 0);
}
