//! The same plug-in on TCP and on sessions over UDP.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::{Conditions, Host, SessionHarness, Simulation};
use switchboard::{CloseReason, Closing, Context, Failure, Input, Layered, Message, Protocol, TimerId};
use switchboard_heartbeat::{Config, Heartbeat, HeartbeatLine, Idle, IdleTimeout, PingPong};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn steady() -> Config {
    Config::default().with_jitter(Duration::ZERO).expect("no jitter is allowed")
}

fn line() -> HeartbeatLine {
    Heartbeat::new(steady()).around(PingPong::default())
}

/// Notes why what is inside ended.
struct Obituary<P>(P, Rc<RefCell<Vec<String>>>);

impl<P: Protocol> Protocol for Obituary<P> {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.0.on_open(cx)
    }
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        self.0.on_data(cx, input)
    }
    fn on_timer(&mut self, cx: &mut Context<'_>, timer: TimerId) -> Result<(), Failure> {
        self.0.on_timer(cx, timer)
    }
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        self.0.on_message(cx, message)
    }
    fn on_close(&mut self, cx: &mut Closing<'_>, reason: &CloseReason) {
        self.1.borrow_mut().push(reason.to_string());
        self.0.on_close(cx, reason);
    }
}

/// A server that only answers, on TCP and on UDP, and a client with a heartbeat on each.
struct World {
    sim: Simulation,
    server: Host,
    client: Host,
    ended: Rc<RefCell<Vec<String>>>,
}

impl World {
    fn new(seed: u64, config: Config) -> Self {
        let mut sim = Simulation::new(seed);
        let (server, client) = (sim.add_host("server"), sim.add_host("client"));
        let address = sim.address(server, 7);
        let event_loop = sim.event_loop(server);
        event_loop.listen(address, |_| Some(PingPong::default())).expect("a free port");
        event_loop.bind_sessions(address, |_| Some(PingPong::default())).expect("a free port");
        let ended = Rc::default();
        let event_loop = sim.event_loop(client);
        event_loop.connect(address, Obituary(Heartbeat::new(config).around(PingPong::default()), Rc::clone(&ended)));
        event_loop
            .connect_udp(address, Obituary(Heartbeat::new(config).around(PingPong::default()), Rc::clone(&ended)));
        Self { sim, server, client, ended }
    }
}

#[test]
fn it_beats_on_both_and_both_peers_that_vanish_are_noticed() {
    let mut world = World::new(1, steady());
    world.sim.run_for(secs(3600));
    assert_eq!(*world.ended.borrow(), Vec::<String>::new());
    let counters = world.sim.event_loop(world.server).counters();
    // 3,600 s at one probe in 5 s.
    assert!((715..=720).contains(&counters.datagrams_in), "{counters:?}");
    assert_eq!(counters.datagrams_in, counters.datagrams_out);
    assert_eq!(world.sim.event_loop(world.server).core().open_sessions(), 1, "a heartbeat keeps it from idling");
    world.sim.partition(world.server, world.client);
    world.sim.run_for(secs(120));
    let ended = world.ended.borrow();
    assert_eq!(ended.len(), 2);
    assert!(ended.iter().all(|reason| reason.contains("no sign of life")), "{ended:?}");
    assert_eq!(world.sim.event_loop(world.server).core().open_sessions(), 0, "there it was idle");
}

#[test]
fn some_loss_is_no_silence() {
    for seed in 0..50 {
        // Six probes in a row would have to be lost, or their answers.
        let config = Config::new(secs(5), secs(30)).expect("a fine timeout");
        let mut world = World::new(seed, config);
        world.sim.set_conditions(Conditions { loss: 0.05, duplicated: 0.1, reordered: 0.1, ..Conditions::default() });
        world.sim.run_for(secs(300));
        assert_eq!(*world.ended.borrow(), Vec::<String>::new(), "seed {seed}");
        assert!(world.sim.faults().datagrams_lost > 0);
    }
}

#[test]
fn a_device_that_falls_silent_is_marked_within_its_timeout() {
    let mut harness = SessionHarness::new(Layered::new(IdleTimeout::new(secs(15)), PingPong::default()));
    for _ in 0..10 {
        harness.feed(b"PING 1\n");
        harness.advance(secs(14));
    }
    assert_eq!(harness.take_sent(), vec![b"PONG 1\n".to_vec(); 10]);
    harness.advance(secs(1));
    let reason = harness.close_reason().expect("silent for 15 s").error();
    assert!(reason.is_some_and(|error| error.is::<Idle>()), "{reason:?}");
}

#[test]
fn each_datagram_is_whole_lines() {
    let mut harness = SessionHarness::new(line());
    harness.feed(b"PING 1\nPING 2\n");
    assert_eq!(harness.take_sent(), [b"PONG 1\n", b"PONG 2\n"]);
    harness.feed(b"PING 3");
    harness.feed(b"\n");
    assert!(harness.has_closed(), "an end of a line without its beginning is none");
    assert_eq!(harness.counters().bytes_discarded, 7);
}
