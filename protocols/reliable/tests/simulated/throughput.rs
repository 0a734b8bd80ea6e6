//! How much gets through: documented in the crate's page.

use std::rc::Rc;
use std::time::Duration;

use switchboard::Failure;
use switchboard::testkit::{Conditions, Simulation};
use switchboard_reliable::{Handler, Peer, Reliable, message_fn};

use std::cell::Cell;

/// Sends for ever, as there is room.
struct Source;

impl Handler for Source {
    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        self.on_drain(peer)
    }

    fn on_drain(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        while peer.has_room() {
            peer.send(&[0; 8_000]).map_err(Failure::caller)?;
        }
        Ok(())
    }

    fn on_message(&mut self, _: &mut Peer<'_, '_>, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}

/// The share of 10 Mbit/s that arrives in a minute, in per cent.
fn share(seed: u64, latency: Duration, loss: f64) -> usize {
    const RATE: u64 = 10_000_000 / 8;
    let mut sim = Simulation::new(seed);
    sim.set_conditions(Conditions { latency: latency..=latency, bandwidth: Some(RATE), loss, ..Conditions::default() });
    let (server, client) = (sim.add_host("server"), sim.add_host("client"));
    let address = sim.address(server, 7000);
    let bytes = Rc::new(Cell::new(0_usize));
    let counted = Rc::clone(&bytes);
    let factory = move |_: &switchboard::Accepted| {
        let bytes = Rc::clone(&counted);
        Some(Reliable::server(message_fn(move |_, message| {
            bytes.set(bytes.get() + message.len());
            Ok(())
        })))
    };
    sim.event_loop(server).bind_sessions(address, factory).expect("a free port");
    sim.event_loop(client).connect_udp(address, Reliable::client(Source));
    sim.run_for(Duration::from_secs(60));
    bytes.get() * 100 / (60 * usize::try_from(RATE).expect("it is small"))
}

#[test]
fn a_clean_link_is_used_and_a_lossy_one_as_congestion_control_has_it() {
    let (near, far) = (Duration::from_millis(25), Duration::from_millis(50));
    let clean = share(1, far, 0.0);
    println!("10 Mbit/s, 100 ms round trip, no loss: {clean} %");
    assert!(clean >= 90, "{clean} %");
    for (latency, name, least) in [(near, "50 ms", 10), (far, "100 ms", 5)] {
        let shares: Vec<_> = (0..5).map(|seed| share(seed, latency, 0.01)).collect();
        println!("10 Mbit/s, {name} round trip, 1 % loss: {shares:?} %");
        assert!(shares.iter().all(|&share| share >= least), "{shares:?} %");
    }
}
