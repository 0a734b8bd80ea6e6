//! Bursts of datagrams: whole, in order, and in few pieces of time.

use std::net::{SocketAddr, UdpSocket};

use switchboard::{Datagram, DatagramContext, DatagramProtocol, EventLoop, Failure, SessionOptions, UdpOptions};
use switchboard_echo::{TcpEcho, UdpEcho};

use crate::common::{PATIENCE, turn_until};

/// Lengths from 0 to 65,507, most of them short, the same in every run.
fn lengths(count: usize) -> impl Iterator<Item = usize> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..count).map(move |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let draw = usize::try_from(state >> 33).unwrap();
        if draw.is_multiple_of(16) { draw / 16 % 65_508 } else { draw / 16 % 200 }
    })
}

/// Sends a thousand datagrams in bursts that a socket's buffer holds, and checks that each comes back as it was, in order.
fn echo_a_thousand(event_loop: &mut EventLoop, address: SocketAddr) {
    let client = UdpSocket::bind((address.ip(), 0)).unwrap();
    client.connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let all: Vec<Vec<u8>> = (0_u8..=255).cycle().zip(lengths(1000)).map(|(n, len)| vec![n; len]).collect();
    let (mut next, mut buffer) = (0, vec![0; 65_535]);
    while next < all.len() {
        // A short datagram takes some 1 KiB of the system's memory.
        let room = |&(sum, _): &(usize, usize)| sum < 100_000;
        let sums = all[next..].iter().enumerate().scan(0, |sum, (index, it)| {
            *sum += it.len() + 1024;
            Some((*sum, index + 1))
        });
        let count = sums.take_while(room).last().map_or(1, |(_, count)| count);
        let before = event_loop.counters().datagrams_out;
        all[next..next + count].iter().for_each(|it| assert_eq!(client.send(it).unwrap(), it.len()));
        let until = before + count as u64;
        turn_until(event_loop, "all are answered", |it| it.counters().datagrams_out == until);
        for sent in &all[next..next + count] {
            let len = client.recv(&mut buffer).unwrap();
            assert!(buffer[..len] == sent[..], "{len} bytes came, {} were sent", sent.len());
        }
        next += count;
    }
    let counters = event_loop.counters();
    assert_eq!((counters.datagrams_in, counters.datagrams_out, counters.datagrams_dropped), (1000, 1000, 0));
    assert_eq!(counters.bytes_in, counters.bytes_out);
}

fn options() -> Vec<UdpOptions> {
    let mut all = vec![UdpOptions::default(); 3];
    all[1].offload = true;
    (all[2].offload, all[2].receive_ecn, all[2].local_addresses) = (true, true, true);
    all.truncate(if cfg!(target_os = "linux") { 3 } else { 1 });
    all
}

#[test]
fn a_thousand_datagrams_of_any_length_arrive_whole_and_in_order() {
    for options in &options() {
        for ip in ["127.0.0.1:0", "[::1]:0"] {
            let mut event_loop = EventLoop::new().unwrap();
            let socket = event_loop.bind_udp_with(ip, options, UdpEcho).unwrap();
            let address = event_loop.local_addr(socket).unwrap();
            echo_a_thousand(&mut event_loop, address);
        }
    }
}

#[test]
fn so_they_do_on_a_session() {
    for udp in options() {
        let mut options = SessionOptions::default();
        options.udp = udp;
        let mut event_loop = EventLoop::new().unwrap();
        let socket = event_loop.bind_sessions_with("127.0.0.1:0", &options, |_| Some(TcpEcho)).unwrap();
        let address = event_loop.local_addr(socket).unwrap();
        echo_a_thousand(&mut event_loop, address);
    }
}

/// Answers with how each datagram was marked, marked in the same way.
#[cfg(target_os = "linux")]
struct Marks;

#[cfg(target_os = "linux")]
impl DatagramProtocol for Marks {
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, datagram: Datagram<'_>) -> Result<(), Failure> {
        let options = switchboard::SendOptions { ecn: datagram.ecn, source: None };
        cx.send_with(datagram.source, options, format!("{:?}", datagram.ecn).as_bytes());
        Ok(())
    }
}

#[test]
#[cfg(target_os = "linux")]
fn congestion_marks_go_there_and_back() {
    use std::cell::RefCell;
    use std::rc::Rc;

    use switchboard::{Ecn, SendOptions};

    /// What each datagram said, and how it was marked.
    type Marked = Vec<(String, Option<Ecn>)>;
    struct Notes(Rc<RefCell<Marked>>);

    impl DatagramProtocol for Notes {
        fn on_datagram(&mut self, _: &mut DatagramContext<'_>, datagram: Datagram<'_>) -> Result<(), Failure> {
            self.0.borrow_mut().push((String::from_utf8_lossy(datagram.payload).into_owned(), datagram.ecn));
            Ok(())
        }
    }

    let mut options = UdpOptions::default();
    options.receive_ecn = true;
    for ip in ["127.0.0.1:0", "[::1]:0"] {
        let mut event_loop = EventLoop::new().unwrap();
        let marks = event_loop.bind_udp_with(ip, &options, Marks).unwrap();
        let target = event_loop.local_addr(marks).unwrap();
        let noted = Rc::default();
        let asks = event_loop.bind_udp_with(ip, &options, Notes(Rc::clone(&noted))).unwrap();
        let all = [Ecn::NotEct, Ecn::Ect0, Ecn::Ect1, Ecn::Ce];
        event_loop.with_socket(asks, |cx| {
            all.iter().for_each(|&ecn| cx.send_with(target, SendOptions { ecn: Some(ecn), source: None }, b"?"));
        });
        turn_until(&mut event_loop, "all are answered", |_| noted.borrow().len() == all.len());
        let expected: Vec<_> = all.iter().map(|&ecn| (format!("{:?}", Some(ecn)), Some(ecn))).collect();
        assert_eq!(noted.take(), expected);
    }
}
