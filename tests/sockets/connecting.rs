//! Outgoing connections on real sockets.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender};

use socket2::{Domain, Socket, Type};
use switchboard::{Bytes, CloseReason, Closing, Context, EventLoop, Failure, Input, Message, Protocol};
use switchboard_echo::TcpEcho;

use crate::common::{PATIENCE, assert_nothing_left, turn_until};

/// What it was told.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Open(SocketAddr),
    Data(Vec<u8>),
    Close(String, Option<io::ErrorKind>),
}

/// Tells a channel of everything, and sends what it is posted.
struct Teller(Sender<Told>);

impl Protocol for Teller {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.0.send(Told::Open(cx.peer_addr().unwrap())).unwrap();
        Ok(())
    }

    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        self.0.send(Told::Data(input.take_all().to_vec())).unwrap();
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        let Message::Bytes(bytes) = message else { unreachable!() };
        cx.send_shared(bytes);
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, reason: &CloseReason) {
        let kind = match reason {
            CloseReason::Connect(error) => Some(error.kind()),
            _ => None,
        };
        self.0.send(Told::Close(reason.to_string(), kind)).unwrap();
    }
}

/// Turns the loop until something was told.
fn next(event_loop: &mut EventLoop, told: &Receiver<Told>) -> Told {
    let mut next = None;
    turn_until(event_loop, "it is told", |_| {
        next = told.try_recv().ok();
        next.is_some()
    });
    next.unwrap()
}

#[test]
fn a_connection_is_established_talks_and_closes() {
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    let (sender, told) = mpsc::channel();
    let id = event_loop.connect(address, Teller(sender));
    event_loop.core().post(id, Bytes::from_static(b"posted before it stood")).unwrap();
    assert_eq!(next(&mut event_loop, &told), Told::Open(address));
    assert_eq!(next(&mut event_loop, &told), Told::Data(b"posted before it stood".to_vec()));
    event_loop.with(id, |cx| cx.close()).unwrap();
    assert_eq!(next(&mut event_loop, &told), Told::Close("closed by this side".into(), None));
    assert_nothing_left(&mut event_loop);
}

#[test]
fn a_refused_connection_reaches_on_close_with_the_systems_error() {
    // Bound, so that nobody else gets the port, but not listening.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut event_loop = EventLoop::new().unwrap();
    let (sender, told) = mpsc::channel();
    let id = event_loop.connect(address, Teller(sender));
    let Told::Close(reason, kind) = next(&mut event_loop, &told) else { panic!("it can't have opened") };
    assert_eq!(kind, Some(io::ErrorKind::ConnectionRefused));
    assert!(reason.starts_with("could not connect: Connection refused"), "{reason}");
    assert!(!event_loop.core().is_open(id));
    assert_eq!(event_loop.core().outgoing_counters().connect_errors, 1);
    assert_nothing_left(&mut event_loop);
}

#[test]
fn an_address_that_cannot_be_reached_is_told_the_same_way() {
    // A port, but no host: connect(2) itself says no.
    let mut event_loop = EventLoop::new().unwrap();
    let (sender, told) = mpsc::channel();
    event_loop.connect(("255.255.255.255", 9), Teller(sender));
    let Told::Close(_, kind) = next(&mut event_loop, &told) else { panic!("it can't have opened") };
    assert!(kind.is_some());
    assert_nothing_left(&mut event_loop);
}

#[test]
fn a_port_in_use_is_an_error_of_listen() {
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    let error = event_loop.listen(address, |_| Some(TcpEcho)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    event_loop.core().close(listener);
    turn_until(&mut event_loop, "the port is free", |it| it.local_addr(listener).is_none());
    event_loop.listen(address, |_| Some(TcpEcho)).unwrap();
}

#[test]
fn a_listeners_address_can_be_a_name_with_several_meanings() {
    let mut event_loop = EventLoop::new().unwrap();
    let taken = event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    let taken = event_loop.local_addr(taken).unwrap();
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = event_loop.listen(&[taken, free][..], |_| Some(TcpEcho)).unwrap();
    assert_ne!(event_loop.local_addr(listener).unwrap(), taken, "the first that works");
    assert!(event_loop.listen(&[][..], |_| Some(TcpEcho)).is_err());
}

#[test]
fn a_thousand_connections_within_one_loop_meet() {
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    let (sender, told) = mpsc::channel();
    for n in 0..1000_u32 {
        let id = event_loop.connect(address, Teller(sender.clone()));
        event_loop.core().post(id, Bytes::from(n.to_be_bytes().to_vec())).unwrap();
    }
    let mut seen: Vec<Vec<u8>> = Vec::new();
    turn_until(&mut event_loop, "all have their echo", |_| {
        seen.extend(told.try_iter().filter_map(|it| if let Told::Data(data) = it { Some(data) } else { None }));
        seen.len() == 1000
    });
    seen.sort();
    assert!(seen.iter().zip(0_u32..).all(|(data, n)| *data == n.to_be_bytes()));
    event_loop.handle().shutdown(PATIENCE).unwrap();
    let tally = event_loop.run().unwrap();
    assert_eq!((tally.drained, tally.cut_off), (2000, 0));
}
