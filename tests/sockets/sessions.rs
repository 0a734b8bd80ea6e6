//! Sessions over UDP, connected UDP and the options of UDP sockets, on the operating system's.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use switchboard::{
    CloseReason, Closing, Context, Datagram, DatagramContext, DatagramProtocol, EventLoop, Failure, Input, Protocol,
    SessionOptions, SocketId, protocol_fn,
};
use switchboard_echo::{TcpEcho, UdpEcho};

use crate::common::{PATIENCE, turn_until};

const NO_TIME: Option<Duration> = Some(Duration::ZERO);

fn peer(at: &str) -> UdpSocket {
    let socket = UdpSocket::bind((at, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends a datagram, turns the loop until it has been answered, and gives the answer with its source.
fn ask(event_loop: &mut EventLoop, peer: &UdpSocket, to: SocketAddr, payload: &[u8]) -> (Vec<u8>, SocketAddr) {
    let mut answer = vec![0; 65_535];
    let mut received = None;
    peer.set_nonblocking(true).unwrap();
    peer.send_to(payload, to).unwrap();
    turn_until(event_loop, "it is answered", |_| {
        received = peer.recv_from(&mut answer).ok();
        received.is_some()
    });
    peer.set_nonblocking(false).unwrap();
    let (len, source) = received.unwrap();
    answer.truncate(len);
    (answer, source)
}

/// Numbers the datagrams of its peer.
fn counting() -> impl Protocol {
    let mut count = 0;
    protocol_fn(move |cx, input| {
        count += 1;
        cx.send(format!("{count} {}", String::from_utf8_lossy(input.take_all())).as_bytes());
        Ok(())
    })
}

#[test]
fn two_peers_have_a_session_each() {
    let mut event_loop = EventLoop::new().unwrap();
    let socket = event_loop.bind_sessions("127.0.0.1:0", |_| Some(counting())).unwrap();
    let address = event_loop.local_addr(socket).unwrap();
    let peers = [peer("127.0.0.1"), peer("127.0.0.1")];
    for round in 1..=3 {
        for peer in &peers {
            let (answer, source) = ask(&mut event_loop, peer, address, b"hello");
            assert_eq!((answer, source), (format!("{round} hello").into_bytes(), address));
        }
    }
    assert_eq!(event_loop.core().open_sessions(), 2);
    let ids = peers.each_ref().map(|peer| event_loop.session(socket, peer.local_addr().unwrap()).unwrap());
    assert_ne!(ids[0], ids[1]);
    event_loop.core().close(ids[0]);
    event_loop.turn(NO_TIME).unwrap();
    assert_eq!(ask(&mut event_loop, &peers[0], address, b"again").0, b"1 again");
    assert_eq!(ask(&mut event_loop, &peers[1], address, b"on").0, b"4 on");
}

#[test]
fn datagrams_of_every_size_come_back_whole() {
    let mut event_loop = EventLoop::new().unwrap();
    let socket = event_loop.bind_sessions("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    let address = event_loop.local_addr(socket).unwrap();
    let peer = peer("127.0.0.1");
    for len in [0, 1, 1472, 9000, 65_507] {
        let payload: Vec<u8> = (0..=255).cycle().take(len).collect();
        assert!(ask(&mut event_loop, &peer, address, &payload).0 == payload, "{len} bytes");
    }
}

/// Every address of 127.0.0.0/8 is this machine's on Linux.
#[cfg(target_os = "linux")]
#[test]
fn a_flood_of_many_sources_does_not_disturb_who_is_known() {
    let mut event_loop = EventLoop::new().unwrap();
    let mut options = SessionOptions::default();
    (options.sessions, options.new_per_second) = (20, 50);
    options.udp.receive_buffer_size = Some(1 << 20);
    let socket = event_loop.bind_sessions_with("127.0.0.1:0", &options, |_| Some(counting())).unwrap();
    let address = event_loop.local_addr(socket).unwrap();
    let known = peer("127.0.0.1");
    ask(&mut event_loop, &known, address, b"here");
    let flood: Vec<UdpSocket> = (2..=250).map(|last| peer(&format!("127.0.1.{last}"))).collect();
    for round in 2..=20 {
        for forged in &flood {
            forged.send_to(b"let me in", address).unwrap();
        }
        let (answer, _) = ask(&mut event_loop, &known, address, b"here");
        assert_eq!(answer, format!("{round} here").into_bytes());
    }
    let counters = event_loop.core().socket_counters(socket);
    assert_eq!((counters.opened, event_loop.core().open_sessions()), (20, 20));
    // Each datagram was known, or refused; none of this size was lost to a buffer of this size.
    turn_until(&mut event_loop, "all are read", |it| it.counters().datagrams_in == 20 + 19 * 249);
    let counters = event_loop.core().socket_counters(socket);
    let known_ones = counters.datagrams_out;
    assert_eq!(counters.sessions_refused + known_ones, counters.datagrams_in);
    assert_eq!(event_loop.core().held_bytes(), 0);
}

/// Notes why it ended.
struct Notes<P>(P, Rc<RefCell<Vec<CloseReasonKind>>>);

#[derive(Debug, PartialEq, Eq)]
enum CloseReasonKind {
    Idle(Duration),
    Io(ErrorKind),
    Other(String),
}

impl<P: Protocol> Protocol for Notes<P> {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.0.on_open(cx)
    }
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        self.0.on_data(cx, input)
    }
    fn on_close(&mut self, _: &mut Closing<'_>, reason: &CloseReason) {
        self.1.borrow_mut().push(match reason {
            CloseReason::Idle(after) => CloseReasonKind::Idle(*after),
            CloseReason::Io { error, .. } => CloseReasonKind::Io(error.kind()),
            other => CloseReasonKind::Other(other.to_string()),
        });
    }
}

#[test]
fn a_silent_session_expires() {
    let mut event_loop = EventLoop::new().unwrap();
    let ended = Rc::default();
    let mut options = SessionOptions::default();
    options.idle_timeout = Duration::from_millis(50);
    let factory = {
        let ended = Rc::clone(&ended);
        move |_: &_| Some(Notes(TcpEcho, Rc::clone(&ended)))
    };
    let socket = event_loop.bind_sessions_with("127.0.0.1:0", &options, factory).unwrap();
    let address = event_loop.local_addr(socket).unwrap();
    let peer = peer("127.0.0.1");
    ask(&mut event_loop, &peer, address, b"once");
    let heard = event_loop.now();
    turn_until(&mut event_loop, "it expires", |it| it.counters().closed == 1);
    assert!(event_loop.now().saturating_since(heard) >= Duration::from_millis(49));
    assert_eq!(*ended.borrow(), [CloseReasonKind::Idle(options.idle_timeout)]);
    assert_eq!(event_loop.core().open_sessions(), 0);
    assert_eq!(ask(&mut event_loop, &peer, address, b"anew").0, b"anew");
}

/// Says hello, and waits for an answer.
struct Hello;

impl Protocol for Hello {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.send(b"hello");
        Ok(())
    }
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        assert_eq!(input.take_all(), b"hello");
        cx.close();
        Ok(())
    }
}

#[test]
fn a_connected_session_is_answered_or_refused() {
    let mut event_loop = EventLoop::new().unwrap();
    let ended = Rc::default();
    let echo = event_loop.bind_sessions("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    let echo = event_loop.local_addr(echo).unwrap();
    event_loop.connect_udp(echo, Notes(Hello, Rc::clone(&ended)));
    event_loop.connect_udp(("localhost", echo.port()), protocol_fn(|_, _| Ok(())));
    let nobody = peer("127.0.0.1").local_addr().unwrap(); // closed again
    event_loop.connect_udp(nobody, Notes(Hello, Rc::clone(&ended)));
    turn_until(&mut event_loop, "both have ended", |it| it.core().outgoing_counters().closed == 2);
    let ended = ended.borrow();
    assert!(ended.contains(&CloseReasonKind::Other("closed by this side".into())), "{ended:?}");
    assert!(ended.contains(&CloseReasonKind::Io(ErrorKind::ConnectionRefused)), "{ended:?}");
}

#[test]
fn a_connected_session_hears_its_peer_alone() {
    let mut event_loop = EventLoop::new().unwrap();
    let (known, stranger) = (peer("127.0.0.1"), peer("127.0.0.1"));
    let id = event_loop.connect_udp(known.local_addr().unwrap(), TcpEcho);
    let local = event_loop.local_addr(id).unwrap();
    stranger.send_to(b"forged", local).unwrap();
    assert_eq!(ask(&mut event_loop, &known, local, b"mine").0, b"mine");
    assert_eq!(event_loop.core().outgoing_counters().datagrams_in, 1);
    assert_eq!(event_loop.with(id, |cx| cx.peer_addr()).flatten(), known.local_addr().ok());
}

#[test]
fn a_socket_on_the_ipv6_wildcard_takes_ipv4_too_unless_told_not_to() {
    let mut event_loop = EventLoop::new().unwrap();
    if UdpSocket::bind("[::1]:0").is_err() {
        return println!("SKIPPED: this machine has no IPv6");
    }
    let mut options = SessionOptions::default();
    let both = event_loop.bind_sessions_with("[::]:0", &options, |_| Some(TcpEcho)).unwrap();
    let port = event_loop.local_addr(both).unwrap().port();
    for (peer, to) in [(peer("127.0.0.1"), IpAddr::V4(Ipv4Addr::LOCALHOST)), (peer("::1"), Ipv6Addr::LOCALHOST.into())]
    {
        assert_eq!(ask(&mut event_loop, &peer, (to, port).into(), b"hello").0, b"hello");
    }
    options.udp.only_v6 = true;
    let only = event_loop.bind_sessions_with("[::]:0", &options, |_| Some(TcpEcho)).unwrap();
    let port = event_loop.local_addr(only).unwrap().port();
    let v4 = peer("127.0.0.1");
    v4.connect(("127.0.0.1", port)).unwrap();
    v4.send(b"hello").unwrap();
    assert_eq!(v4.recv(&mut [0; 9]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(ask(&mut event_loop, &peer("::1"), (Ipv6Addr::LOCALHOST, port).into(), b"six").0, b"six");
}

/// Answers from the address that was spoken to.
struct FromThere;

impl DatagramProtocol for FromThere {
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, datagram: Datagram<'_>) -> Result<(), Failure> {
        let local = datagram.local.ok_or(ErrorKind::AddrNotAvailable).map_err(std::io::Error::from)?;
        cx.send_from(local, datagram.source, datagram.payload);
        Ok(())
    }
}

/// Binds both kinds of sockets to a wildcard, and gives their ports.
fn with_local_addresses(event_loop: &mut EventLoop, wildcard: &str) -> [SocketId; 2] {
    let mut options = SessionOptions::default();
    options.udp.local_addresses = true;
    let sessions = event_loop.bind_sessions_with((wildcard, 0), &options, |_| Some(TcpEcho)).unwrap();
    [sessions, event_loop.bind_udp_with((wildcard, 0), &options.udp, FromThere).unwrap()]
}

#[cfg(target_os = "linux")]
#[test]
fn answers_come_from_the_address_that_was_spoken_to() {
    let mut event_loop = EventLoop::new().unwrap();
    let mut wildcards = vec!["0.0.0.0"];
    if UdpSocket::bind("[::1]:0").is_ok() {
        wildcards.push("::");
    }
    for wildcard in wildcards {
        for socket in with_local_addresses(&mut event_loop, wildcard) {
            let port = event_loop.local_addr(socket).unwrap().port();
            let peer = peer("127.0.0.1");
            for last in [1, 77, 3] {
                let to = SocketAddr::from(([127, 0, 0, last], port));
                assert_eq!(ask(&mut event_loop, &peer, to, b"hello"), (b"hello".to_vec(), to), "on {wildcard}");
            }
        }
    }
    if UdpSocket::bind("[::1]:0").is_ok() {
        for socket in with_local_addresses(&mut event_loop, "::") {
            let to = (Ipv6Addr::LOCALHOST, event_loop.local_addr(socket).unwrap().port()).into();
            assert_eq!(ask(&mut event_loop, &peer("::1"), to, b"hello"), (b"hello".to_vec(), to));
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_source_that_is_not_ours_is_dropped_and_counted() {
    let mut event_loop = EventLoop::new().unwrap();
    let socket = event_loop.bind_udp("0.0.0.0:0", UdpEcho).unwrap();
    let to = peer("127.0.0.1");
    let target = to.local_addr().unwrap();
    event_loop.with_socket(socket, |cx| {
        cx.send_from(Ipv4Addr::new(192, 0, 2, 1).into(), target, b"forged");
        cx.send_from(Ipv4Addr::new(127, 0, 0, 9).into(), target, b"ours");
    });
    assert_eq!(to.recv_from(&mut [0; 9]).unwrap().1.ip(), Ipv4Addr::new(127, 0, 0, 9));
    let counters = event_loop.core().socket_counters(socket);
    assert_eq!((counters.datagrams_out, counters.datagrams_dropped), (1, 1));
}
