//! What a socket is told of room, by the system's own poll.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;
use std::time::Duration;

use mio::Token;
use socket2::Socket as Socket2;

use super::MioSocket;
use crate::datagram::Datagrams;
use crate::driver::{Driver, Event, MioDriver, MioEvents, Socket};
use crate::{SendOptions, UdpOptions};

/// What a poll that does not wait finds of the socket with this key: nothing, or whether it is readable and writable.
fn news(driver: &mut MioDriver, key: u64) -> Option<(bool, bool)> {
    let mut events = MioEvents::default();
    driver.poll(Some(Duration::ZERO), &mut events).unwrap();
    let mut found = MioDriver::ready(&events).filter(|event| event.key() == key).map(|event| event.ready());
    let ready = found.next()?;
    assert!(found.next().is_none());
    Some((ready.readable, ready.writable))
}

#[test]
fn a_socket_that_has_room_does_not_hear_of_it() {
    let mut driver = MioDriver::new().unwrap();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let options = UdpOptions::default();
    let mut socket = driver.bind_udp(7, any, &options).unwrap();
    let mut other = driver.bind_udp(8, any, &options).unwrap();
    assert_eq!(news(&mut driver, 7), None);
    for _ in 0..3 {
        socket.send_to(b"one", other.local_addr().unwrap(), None).unwrap();
        assert_eq!(other.recv_from(&mut [0; 100]).unwrap().len, 3);
        assert_eq!(news(&mut driver, 7), None, "it would wake the loop for each datagram that it sends");
    }
    other.send_to(b"two", socket.local_addr().unwrap(), None).unwrap();
    assert_eq!(news(&mut driver, 7), Some((true, false)));
}

/// A Unix socket in the place of one for UDP: it has no room while its peer's queue is full, as one for UDP has none while
/// a network is slower than it.
#[test]
fn who_had_no_room_hears_of_it_until_everything_is_sent() {
    let mut driver = MioDriver::new().unwrap();
    let (near, far) = UnixDatagram::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let nowhere: SocketAddr = ([127, 0, 0, 1], 9).into();
    let socket = Socket2::from(OwnedFd::from(near));
    let socket = MioSocket::new(socket, false, Some(nowhere), &UdpOptions::default(), &Rc::default()).unwrap();
    let mut socket = socket.register(driver.registry().unwrap(), Token(7)).unwrap();
    let mut out = Datagrams::default();
    (0..4).for_each(|_| out.push(nowhere, SendOptions::default(), b"datagram"));
    for many in [false, true, true, false] {
        let send = |socket: &mut MioSocket| match many {
            true => socket.send_batch(out.iter()),
            false => socket.send_to(b"datagram", nowhere, None).map(|()| 4),
        };
        assert_eq!(news(&mut driver, 7), None);
        let mut sent = 0;
        let error = loop {
            match send(&mut socket) {
                Ok(count) => sent += if many { count } else { 1 },
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(sent > 4);
        assert_eq!(news(&mut driver, 7), None, "there is none");
        (0..sent).for_each(|_| assert_eq!(far.recv(&mut [0; 100]).unwrap(), 8));
        assert_eq!(news(&mut driver, 7), Some((false, true)));
        assert_eq!(send(&mut socket).unwrap(), 4);
        (0..if many { 4 } else { 1 }).for_each(|_| assert_eq!(far.recv(&mut [0; 100]).unwrap(), 8));
    }
}
