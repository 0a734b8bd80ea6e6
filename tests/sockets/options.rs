//! Options of sockets, as the system has them in the end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;
use switchboard::driver::{AcceptError, Driver, MioDriver, MioEvents, MioStream, Stream};
use switchboard::{ConnectOptions, EventLoop, Keepalive, ListenOptions, StreamOptions};
use switchboard_echo::TcpEcho;

use crate::common::{Deadline, PATIENCE, drive, round_trip, tcp, turn_until};

const ANY: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// All that can be asked for.
fn all() -> StreamOptions {
    let mut options = StreamOptions::default();
    let mut keepalive = Keepalive::default();
    (keepalive.idle, keepalive.interval, keepalive.count) = (Duration::from_secs(77), Duration::from_secs(7), 5);
    options.keepalive = Some(keepalive);
    options.send_buffer_size = Some(50_000);
    options.receive_buffer_size = Some(60_000);
    options.hop_limit = Some(33);
    options.dscp = Some(46);
    options
}

fn assert_all_set(stream: &MioStream) {
    let socket = SockRef::from(stream);
    assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(77));
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(7));
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 5);
    // Linux doubles them, for its own needs (socket(7)).
    assert_eq!((socket.send_buffer_size().unwrap(), socket.recv_buffer_size().unwrap()), (100_000, 120_000));
    if socket.local_addr().unwrap().is_ipv6() {
        assert_eq!((socket.unicast_hops_v6().unwrap(), socket.tclass_v6().unwrap()), (33, 46 << 2));
    }
    assert_eq!((socket.ttl_v4().unwrap(), socket.tos_v4().unwrap()), (33, 46 << 2));
}

/// Polls until an operation is ready.
fn when_ready<T>(driver: &mut MioDriver, mut operation: impl FnMut(&mut MioDriver) -> Option<T>) -> T {
    let (deadline, mut events) = (Deadline::new(), MioEvents::default());
    loop {
        driver.poll(Some(deadline.left("it is ready")), &mut events).unwrap();
        if let Some(done) = operation(driver) {
            return done;
        }
    }
}

fn accepted(options: &ListenOptions, ip: IpAddr) -> (MioDriver, MioStream, TcpStream) {
    let mut driver = MioDriver::new().unwrap();
    let mut listener = driver.listen(1, (ip, 0).into(), options).unwrap();
    let client = tcp(driver.listener_addr(&listener).unwrap());
    let (stream, _) = when_ready(&mut driver, |driver| match driver.accept(&mut listener) {
        Ok(accepted) => Some(accepted),
        Err(AcceptError::Empty) => None,
        Err(error) => panic!("{error:?}"),
    });
    (driver, stream, client)
}

#[test]
#[cfg(target_os = "linux")]
fn accepted_connections_have_what_their_listener_was_given() {
    for ip in ANY {
        let mut options = ListenOptions::default();
        options.stream = all();
        let (_driver, stream, _client) = accepted(&options, ip);
        assert_all_set(&stream);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn outgoing_connections_have_what_they_were_given() {
    for ip in ANY {
        let listener = std::net::TcpListener::bind((ip, 0)).unwrap();
        let mut driver = MioDriver::new().unwrap();
        let mut options = ConnectOptions::default();
        options.stream = all();
        let mut stream = driver.connect(1, listener.local_addr().unwrap(), &options).unwrap();
        when_ready(&mut driver, |driver| driver.connected(&mut stream).unwrap().then_some(()));
        assert_all_set(&stream);
    }
}

#[test]
fn by_default_small_writes_go_at_once_and_all_else_is_the_systems() {
    let (_driver, stream, client) = accepted(&ListenOptions::default(), ANY[0]);
    let (socket, system) = (SockRef::from(&stream), SockRef::from(&client));
    assert!(socket.tcp_nodelay().unwrap() && !socket.keepalive().unwrap());
    assert_eq!((socket.ttl_v4().unwrap(), socket.tos_v4().unwrap()), (system.ttl_v4().unwrap(), 0));
    let mut options = ListenOptions::default();
    options.stream.nodelay = false;
    let (_driver, stream, _client) = accepted(&options, ANY[0]);
    assert!(!SockRef::from(&stream).tcp_nodelay().unwrap());
}

#[test]
fn buffers_larger_than_there_can_be_are_as_large_as_there_can_be() {
    let sizes = [1 << 20, 1 << 30, 1 << 32, usize::MAX].map(|size| {
        let mut options = ListenOptions::default();
        (options.stream.send_buffer_size, options.stream.receive_buffer_size) = (Some(size), Some(size));
        let (_driver, stream, _client) = accepted(&options, ANY[0]);
        let socket = SockRef::from(&stream);
        (socket.send_buffer_size().unwrap(), socket.recv_buffer_size().unwrap())
    });
    assert!(sizes.is_sorted() && sizes[1] == sizes[3], "{sizes:?}");
}

#[test]
fn what_the_system_would_misunderstand_is_refused() {
    let mut event_loop = EventLoop::new().unwrap();
    let mut options = ListenOptions::default();
    options.stream.dscp = Some(64);
    let error = event_loop.listen_with("127.0.0.1:0", &options, |_| Some(TcpEcho)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    options.stream.dscp = Some(63);
    event_loop.listen_with("127.0.0.1:0", &options, |_| Some(TcpEcho)).unwrap();
}

#[test]
fn a_connection_comes_from_the_address_it_was_given() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut driver = MioDriver::new().unwrap();
    let mut options = ConnectOptions::default();
    options.source = Some(([127, 0, 0, 2], 0).into());
    let stream = driver.connect(1, listener.local_addr().unwrap(), &options).unwrap();
    let (_, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip(), Ipv4Addr::new(127, 0, 0, 2));
    assert_eq!(stream.local_addr().unwrap(), peer);
    options.source = Some(([192, 0, 2, 1], 0).into()); // an address that nobody has (RFC 5737)
    let error = driver.connect(1, listener.local_addr().unwrap(), &options).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
}

#[test]
fn a_port_is_shared_if_all_want_that() {
    let mut event_loop = EventLoop::new().unwrap();
    let mut options = ListenOptions::default();
    options.reuse_port = true;
    let first = event_loop.listen_with("127.0.0.1:0", &options, |_| Some(TcpEcho)).unwrap();
    let address = event_loop.local_addr(first).unwrap();
    event_loop.listen_with(address, &options, |_| Some(TcpEcho)).unwrap();
    let error = event_loop.listen(address, |_| Some(TcpEcho)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    drive(&mut event_loop, || (0..20).for_each(|_| drop(round_trip(&mut tcp(address), b"hello"))));
    let core = event_loop.core();
    assert_eq!(core.counters().opened, 20);
}

#[test]
fn a_port_whose_connections_linger_is_bound_again_unless_that_is_not_wanted() {
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    let client = tcp(address);
    turn_until(&mut event_loop, "it is accepted", |event_loop| event_loop.counters().opened == 1);
    event_loop.core().shutdown(PATIENCE); // this side closes first, and so has TIME-WAIT
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    let (mut client, mut rest) = (client, Vec::new());
    io::Read::read_to_end(&mut client, &mut rest).unwrap();
    drop(client);
    event_loop.run().unwrap();
    let mut event_loop = EventLoop::new().unwrap();
    let mut options = ListenOptions::default();
    options.reuse_address = false;
    let error = event_loop.listen_with(address, &options, |_| Some(TcpEcho)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    event_loop.listen(address, |_| Some(TcpEcho)).unwrap();
}

#[test]
fn a_listener_of_ipv6_takes_ipv4_too_unless_that_is_not_wanted() {
    let mut event_loop = EventLoop::new().unwrap();
    let peers = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let seen = std::rc::Rc::clone(&peers);
    let listener = event_loop.listen("[::]:0", move |accepted| {
        seen.borrow_mut().push((accepted.ip().unwrap(), accepted.peer.unwrap().is_ipv6()));
        Some(TcpEcho)
    });
    let port = event_loop.local_addr(listener.unwrap()).unwrap().port();
    drive(&mut event_loop, || ANY.map(|ip| round_trip(&mut tcp((ip, port).into()), b"hello")));
    assert_eq!(*peers.borrow(), [(ANY[0], true), (ANY[1], true)]);
    let mut options = ListenOptions::default();
    options.only_v6 = true;
    let listener = event_loop.listen_with("[::]:0", &options, |_| Some(TcpEcho)).unwrap();
    let port = event_loop.local_addr(listener).unwrap().port();
    drive(&mut event_loop, || round_trip(&mut tcp((ANY[1], port).into()), b"hello"));
    let error = TcpStream::connect(SocketAddr::new(ANY[0], port)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}
