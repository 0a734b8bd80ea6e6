//! Topics over protocols, on real sockets: who publishes on one is heard on the others.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};

use switchboard::{
    Context, Datagram, DatagramContext, DatagramProtocol, EventLoop, Failure, Input, Message, Protocol, Slow,
};
use switchboard_websocket::{Handler, Message as WebSocketMessage, Peer, WebSocket};

use crate::common::web_socket::{self, TEXT, frame, read_message};
use crate::common::{assert_nothing_left, drive, finish, tcp};

const ALL: &str = "everybody";

/// Lines: each is published, and what is published is a line.
struct Line;

impl Protocol for Line {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.subscribe(ALL, Slow::default())?;
        cx.send(b"hello\n");
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
            let line = input.take(end + 1);
            cx.publish(ALL, line[..end].to_vec());
        }
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        if let Message::Published(publication) = message {
            cx.send_shared(publication.payload().clone());
            cx.send(b"\n");
        }
        Ok(())
    }
}

/// Messages: the same.
struct Page;

impl Handler for Page {
    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        peer.subscribe(ALL, Slow::default())?;
        peer.text("hello");
        Ok(())
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: WebSocketMessage<'_>) -> Result<(), Failure> {
        peer.publish(ALL, message.as_bytes().to_vec());
        Ok(())
    }
}

/// Datagrams are published.
struct Beacons;

impl DatagramProtocol for Beacons {
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, datagram: Datagram<'_>) -> Result<(), Failure> {
        cx.publish(ALL, datagram.payload.to_vec());
        Ok(())
    }
}

#[test]
fn what_one_says_in_its_protocol_all_others_hear_in_theirs() {
    let mut event_loop = EventLoop::new().unwrap();
    let lines = event_loop.listen("127.0.0.1:0", |_| Some(Line)).unwrap();
    let pages = event_loop.listen("127.0.0.1:0", |_| Some(WebSocket::server(Page))).unwrap();
    let beacons = event_loop.bind_udp("127.0.0.1:0", Beacons).unwrap();
    let [lines, pages] = [lines, pages].map(|listener| event_loop.local_addr(listener).unwrap());
    let beacons = event_loop.local_addr(beacons).unwrap();
    let handle = event_loop.handle();
    drive(&mut event_loop, || {
        let mut line = tcp(lines);
        let mut pages = [web_socket::open(pages), web_socket::open(pages)];
        let mut hello = [0; 6];
        line.read_exact(&mut hello).unwrap(); // all are subscribed when all have been greeted
        pages.iter_mut().for_each(|page| assert_eq!(read_message(page), (TEXT, b"hello".to_vec())));
        let heard_by_all = |line: &mut TcpStream, pages: &mut [TcpStream], what: &str| {
            let mut text = vec![0; what.len() + 1];
            line.read_exact(&mut text).unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), format!("{what}\n"));
            pages.iter_mut().for_each(|page| assert_eq!(read_message(page), (TEXT, what.as_bytes().to_vec())));
        };
        let mut device = tcp(lines);
        device.read_exact(&mut hello).unwrap();
        device.write_all(b"from a line\n").unwrap();
        heard_by_all(&mut line, &mut pages, "from a line");
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"from a datagram", beacons).unwrap();
        heard_by_all(&mut line, &mut pages, "from a datagram");
        handle.publish(ALL, "from another thread").unwrap();
        heard_by_all(&mut line, &mut pages, "from another thread");
        pages[0].write_all(&frame(TEXT, b"from a page")).unwrap();
        heard_by_all(&mut line, &mut pages, "from a page");
        let rest = finish(&mut device);
        assert_eq!(
            rest, b"from a line\nfrom a datagram\nfrom another thread\nfrom a page\n",
            "who publishes hears it, too"
        );
        assert_eq!(finish(&mut line), b"");
        pages.iter_mut().for_each(web_socket::close);
    });
    assert_nothing_left(&mut event_loop);
    assert_eq!(event_loop.core().topics(), 0);
    let counters = event_loop.counters();
    assert_eq!((counters.publications, counters.publications_delivered), (16, 16));
}
