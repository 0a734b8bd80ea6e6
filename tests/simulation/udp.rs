//! Datagrams: how many are lost, doubled and overtaken.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::{Conditions, Faults, Simulation};
use switchboard::{Datagram, DatagramContext, DatagramProtocol, Failure, TimerId};
use switchboard_echo::UdpEcho;

/// Sends a numbered datagram each 10 ms, and notes what comes back; closes a while after the last.
pub(crate) struct Sprinkler {
    target: SocketAddr,
    count: u32,
    next: u32,
    received: Rc<RefCell<Vec<u32>>>,
}

impl Sprinkler {
    pub(crate) fn new(target: SocketAddr, count: u32) -> (Self, Rc<RefCell<Vec<u32>>>) {
        let received = Rc::default();
        (Self { target, count, next: 0, received: Rc::clone(&received) }, received)
    }
}

impl DatagramProtocol for Sprinkler {
    fn on_open(&mut self, cx: &mut DatagramContext<'_>) -> Result<(), Failure> {
        cx.set_timer(Duration::from_millis(10));
        Ok(())
    }

    fn on_datagram(&mut self, _: &mut DatagramContext<'_>, datagram: Datagram<'_>) -> Result<(), Failure> {
        assert_eq!(datagram.source, self.target);
        let number = datagram.payload[..4].try_into().map(u32::from_le_bytes)?;
        assert_eq!(datagram.payload.len(), length(number), "datagram {number} was cut or joined");
        self.received.borrow_mut().push(number);
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut DatagramContext<'_>, _: TimerId) -> Result<(), Failure> {
        if self.next == self.count {
            cx.close();
            return Ok(());
        }
        let mut payload = vec![0; length(self.next)];
        payload[..4].copy_from_slice(&self.next.to_le_bytes());
        cx.send_to(self.target, &payload);
        self.next += 1;
        let last = self.next == self.count;
        cx.set_timer(Duration::from_millis(if last { 10_000 } else { 10 }));
        Ok(())
    }
}

fn length(number: u32) -> usize {
    4 + number as usize % 1000
}

/// What comes back of so many datagrams.
fn sprinkle(seed: u64, count: u32, conditions: Conditions) -> (Vec<u32>, Faults) {
    let mut sim = Simulation::new(seed);
    sim.set_conditions(conditions);
    let (server, client) = (sim.add_host("server"), sim.add_host("client"));
    let address = sim.address(server, 7);
    sim.event_loop(server).bind_udp(address, UdpEcho).unwrap();
    let (sprinkler, received) = Sprinkler::new(address, count);
    sim.event_loop(client).bind_udp("0.0.0.0:0", sprinkler).unwrap();
    assert!(sim.run_to_rest(Duration::from_secs(3600)));
    (received.take(), sim.faults())
}

/// 20 ms that differ by nothing but chance, so that 10 ms between datagrams is no order by itself.
fn wide() -> Conditions {
    Conditions { latency: Duration::from_millis(1)..=Duration::from_millis(21), ..Conditions::default() }
}

#[test]
fn a_calm_network_delivers_each_once_and_in_order() {
    let (received, faults) = sprinkle(1, 1000, wide());
    assert!(received.iter().copied().eq(0..1000));
    assert_eq!(faults, Faults::default());
}

#[test]
fn as_many_are_lost_as_was_said() {
    let (received, faults) = sprinkle(2, 10_000, Conditions { loss: 0.1, ..wide() });
    assert!(received.is_sorted(), "none was overtaken");
    let arrived = received.len();
    // There and back: 0.9 * 0.9 of 10,000, with a standard deviation of 39.
    assert!((7900..8300).contains(&arrived), "{arrived}");
    assert_eq!(10_000 - arrived as u64, faults.datagrams_lost, "each that did not come back was lost once");
}

#[test]
fn as_many_come_twice_as_was_said() {
    let (received, faults) = sprinkle(3, 10_000, Conditions { duplicated: 0.1, ..wide() });
    let arrived = received.len();
    // 1.1 * 1.1 of 10,000.
    assert!((11_900..12_300).contains(&arrived), "{arrived}");
    // Each doubled on the way there is two, either of which may be doubled on the way back.
    assert_eq!(arrived as u64, 10_000 + faults.datagrams_duplicated);
}

#[test]
fn some_are_overtaken_where_that_was_said() {
    let (mut received, faults) = sprinkle(4, 10_000, Conditions { reordered: 0.1, ..wide() });
    assert!((1700..2300).contains(&faults.datagrams_reordered), "{faults:?}");
    let overtaken = received.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!((200..2000).contains(&overtaken), "{overtaken}");
    received.sort_unstable();
    assert!(received.into_iter().eq(0..10_000), "none is lost");
}

#[test]
fn nobody_there_is_loss() {
    let mut sim = Simulation::new(5);
    let client = sim.add_host("client");
    let server = sim.add_host("server");
    let nowhere = ["10.9.9.9:7".parse().unwrap(), sim.address(server, 7)];
    for target in nowhere {
        let (sprinkler, received) = Sprinkler::new(target, 10);
        sim.event_loop(client).bind_udp("0.0.0.0:0", sprinkler).unwrap();
        assert!(sim.run_to_rest(Duration::from_secs(60)));
        assert!(received.take().is_empty());
    }
    assert_eq!(sim.faults().datagrams_lost, 20);
    let counters = sim.event_loop(client).counters();
    assert_eq!((counters.datagrams_out, counters.datagrams_dropped), (20, 0));
}

#[test]
fn a_narrow_link_makes_datagrams_wait_and_loses_none() {
    let conditions = Conditions { bandwidth: Some(20_000), send_buffer: 1000, ..wide() };
    let (received, faults) = sprinkle(6, 200, conditions);
    assert!(received.into_iter().eq(0..200));
    assert_eq!(faults, Faults::default());
}
