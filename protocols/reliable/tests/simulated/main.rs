//! Whole loops on the simulated network: what must hold whatever it does.

mod handling;
mod talk;
mod throughput;
mod trouble;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::{Conditions, Host, Simulation};
use switchboard::{CloseReason, Closing, ConnectionId, Failure, SocketId};
use switchboard_reliable::{Closed, Handler, Peer, Reliable, Settings};

/// Random numbers for tests: SplitMix64.
#[derive(Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.roll() % most
    }

    pub(crate) fn size(&mut self, most: usize) -> usize {
        usize::try_from(self.below(most as u64)).expect("less than a usize")
    }

    pub(crate) fn millis(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.below(most))
    }
}

/// How a session ended, to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) clean: bool,
    pub(crate) by_peer: bool,
    pub(crate) unsent: usize,
    pub(crate) cause: String,
}

impl Ending {
    pub(crate) fn new(closed: &Closed<'_>) -> Self {
        let cause = match closed.cause {
            CloseReason::Failure(failure) => failure.to_string(),
            cause => cause.to_string(),
        };
        Self { clean: closed.clean, by_peer: closed.by_peer, unsent: closed.unsent, cause }
    }
}

/// What a [`Note`] has seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) opened: usize,
    pub(crate) messages: Vec<Vec<u8>>,
    pub(crate) endings: Vec<Ending>,
    pub(crate) id: Option<ConnectionId>,
}

/// Notes everything, and sends what is posted to it.
#[derive(Clone, Default)]
pub(crate) struct Note(pub(crate) Rc<RefCell<Seen>>);

impl Handler for Note {
    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        self.0.borrow_mut().opened += 1;
        self.0.borrow_mut().id = Some(peer.id());
        Ok(())
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: &[u8]) -> Result<(), Failure> {
        match message {
            b"close" => peer.close(),
            b"abort" => peer.abort(),
            b"pause" => peer.pause_reading(),
            _ => self.0.borrow_mut().messages.push(message.to_vec()),
        }
        Ok(())
    }

    fn on_post(&mut self, peer: &mut Peer<'_, '_>, message: switchboard::Message) -> Result<(), Failure> {
        let switchboard::Message::Bytes(bytes) = message else { return Ok(()) };
        match &bytes[..] {
            b"close" => peer.close(),
            b"resume" => peer.resume_reading(),
            _ => peer.send(&bytes).map_err(Failure::limit)?,
        }
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, closed: &Closed<'_>) {
        self.0.borrow_mut().endings.push(Ending::new(closed));
    }
}

/// A client and a server on a network of their own.
pub(crate) struct World {
    pub(crate) sim: Simulation,
    pub(crate) client: Host,
    pub(crate) server: Host,
    pub(crate) address: SocketAddr,
    pub(crate) socket: SocketId,
    pub(crate) near: Note,
    pub(crate) far: Note,
    pub(crate) id: ConnectionId,
}

impl World {
    pub(crate) fn new(seed: u64, settings: &Rc<Settings>, conditions: Conditions) -> Self {
        let mut sim = Simulation::new(seed);
        sim.set_conditions(conditions);
        let (server, client) = (sim.add_host("server"), sim.add_host("client"));
        let address = sim.address(server, 7000);
        let (near, far) = (Note::default(), Note::default());
        let (noted, used) = (far.clone(), Rc::clone(settings));
        let factory = move |_: &switchboard::Accepted| Some(Reliable::server(noted.clone()).with_settings(&used));
        let socket = sim.event_loop(server).bind_sessions(address, factory).expect("a free port");
        let id = sim.event_loop(client).connect_udp(address, Reliable::client(near.clone()).with_settings(settings));
        Self { sim, client, server, address, socket, near, far, id }
    }

    /// As the client's program does.
    pub(crate) fn post(&mut self, bytes: &'static [u8]) {
        self.sim
            .event_loop(self.client)
            .core()
            .post(self.id, switchboard::Bytes::from_static(bytes))
            .expect("it is there");
    }

    /// As the server's program does.
    pub(crate) fn post_far(&mut self, bytes: &'static [u8]) {
        let id = self.far.0.borrow().id.expect("it has opened");
        self.sim.event_loop(self.server).core().post(id, switchboard::Bytes::from_static(bytes)).expect("it is there");
    }

    pub(crate) fn run(&mut self, span: Duration) {
        self.sim.run_for(span);
    }
}
