//! The drain on real sockets.

use std::io::Write;
use std::time::Duration;

use switchboard::{Context, EventLoop, Failure, Input, Protocol};
use switchboard_echo::{TcpEcho, UdpEcho};

use crate::common::{PATIENCE, now, read_to_end, tcp, turn_until};

/// Says goodbye when the loop drains; some never leave.
struct Polite {
    stubborn: bool,
}

impl Protocol for Polite {
    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        input.take_all();
        Ok(())
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.send(b"goodbye\n");
        if !self.stubborn {
            cx.close();
        }
        Ok(())
    }
}

/// A loop with `polite` and `stubborn` connections, and their clients.
fn with_clients(polite: usize, stubborn: usize) -> (EventLoop, Vec<std::net::TcpStream>) {
    let mut event_loop = EventLoop::new().unwrap();
    let mut made = 0;
    let listener = event_loop
        .listen("127.0.0.1:0", move |_| {
            made += 1;
            Some(Polite { stubborn: made <= stubborn })
        })
        .unwrap();
    event_loop.bind_udp("127.0.0.1:0", UdpEcho).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    let clients: Vec<_> = (0..polite + stubborn).map(|_| tcp(address)).collect();
    turn_until(&mut event_loop, "all are accepted", |it| it.core().open_connections() == polite + stubborn);
    (event_loop, clients)
}

#[test]
fn every_client_hears_goodbye_and_the_end() {
    let (mut event_loop, clients) = with_clients(50, 0);
    let readers: Vec<_> = clients.into_iter().map(|mut it| std::thread::spawn(move || read_to_end(&mut it))).collect();
    event_loop.core().shutdown(PATIENCE);
    let tally = event_loop.run().unwrap();
    assert_eq!((tally.drained, tally.cut_off), (50, 0));
    assert_eq!((tally.counters.opened, tally.counters.closed), (50, 50));
    for reader in readers {
        assert_eq!(reader.join().unwrap(), b"goodbye\n");
    }
}

#[test]
fn the_deadline_cuts_off_the_stubborn_and_nobody_else() {
    let (mut event_loop, mut clients) = with_clients(10, 5);
    let start = now();
    event_loop.core().shutdown(Duration::from_millis(200));
    let tally = event_loop.run().unwrap();
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert_eq!((tally.drained, tally.cut_off), (10, 5));
    assert!(tally.took >= Duration::from_millis(200));
    for client in &mut clients {
        assert_eq!(read_to_end(client), b"goodbye\n");
    }
}

#[test]
fn who_has_gone_by_themselves_do_not_delay_the_end() {
    let (mut event_loop, clients) = with_clients(5, 0);
    drop(clients);
    turn_until(&mut event_loop, "all have gone", |it| it.core().open_connections() == 0);
    let start = now();
    event_loop.core().shutdown(PATIENCE);
    let tally = event_loop.run().unwrap();
    assert_eq!((tally.drained, tally.cut_off), (0, 0));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_second_order_stops_at_once() {
    let (mut event_loop, _clients) = with_clients(0, 3);
    let handle = event_loop.handle();
    handle.shutdown(PATIENCE).unwrap();
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    assert!(event_loop.tally().is_none());
    handle.stop().unwrap();
    assert_eq!(event_loop.run().unwrap().cut_off, 3);
}

#[test]
fn the_port_is_free_as_soon_as_the_drain_begins() {
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop.listen("127.0.0.1:0", |_| Some(Polite { stubborn: true })).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    let mut client = tcp(address);
    turn_until(&mut event_loop, "it is accepted", |it| it.core().open_connections() == 1);
    event_loop.core().shutdown(PATIENCE);
    turn_until(&mut event_loop, "it drains", |it| it.core().is_draining());
    let mut successor = EventLoop::new().unwrap();
    successor.listen(address, |_| Some(TcpEcho)).unwrap();
    client.write_all(b"still served").unwrap();
    turn_until(&mut event_loop, "it is heard", |it| it.counters().bytes_in == 12);
}
