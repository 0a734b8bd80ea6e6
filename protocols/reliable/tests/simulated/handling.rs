//! What handlers are told, and what they may do.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::{Conditions, Harness, Simulation};
use switchboard::{Blame, Bytes, Closing, Failure, Limits, Slow};
use switchboard_reliable::{Closed, Handler, Peer, Reliable, SendError, Settings, UsageError, message_fn};

use super::{Note, World};

const SECOND: Duration = Duration::from_secs(1);

fn world() -> World {
    World::new(1, &Rc::default(), Conditions::default())
}

#[test]
fn what_is_posted_before_the_session_stands_waits_for_it() {
    let mut world = world();
    world.post(b"one");
    world.post(b"two");
    world.post(b"close");
    world.run(SECOND);
    assert_eq!(world.far.0.borrow().messages, [b"one", b"two"]);
    assert!(world.near.0.borrow().endings[0].clean && world.far.0.borrow().endings[0].clean);
}

#[test]
fn what_is_posted_after_the_close_is_counted() {
    let mut world = world();
    world.post(b"close");
    world.run(Duration::from_millis(5));
    assert!(world.near.0.borrow().endings.is_empty());
    let core = world.sim.event_loop(world.client).core();
    core.post(world.id, Bytes::from_static(b"late")).expect("it is still there");
    world.run(SECOND);
    // The note's own `on_post` fails for it: the session ends, and the error says so.
    assert_eq!(world.near.0.borrow().endings[0].cause, "a limit was hit: the session closes");
}

/// Subscribes, and leaves the rest to the defaults.
struct Subscriber;

impl Handler for Subscriber {
    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        Ok(peer.subscribe("weather", Slow::default())?)
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, _: &[u8]) -> Result<(), Failure> {
        assert!(peer.unsubscribe("weather"));
        Ok(())
    }
}

#[test]
fn publications_and_posts_are_sent_by_default() {
    let mut sim = Simulation::new(1);
    let (server, client) = (sim.add_host("server"), sim.add_host("client"));
    let address = sim.address(server, 7000);
    sim.event_loop(server).bind_sessions(address, |_| Some(Reliable::server(Subscriber))).expect("a free port");
    let near = Note::default();
    let id = sim.event_loop(client).connect_udp(address, Reliable::client(near.clone()));
    sim.run_for(SECOND);
    assert_eq!(sim.event_loop(server).core().publish("weather", "rain"), 1);
    sim.run_for(SECOND);
    sim.event_loop(client).core().post(id, Bytes::from_static(b"enough")).expect("it is there");
    sim.run_for(SECOND);
    assert_eq!(sim.event_loop(server).core().publish("weather", "snow"), 0);
    sim.run_for(SECOND);
    assert_eq!(near.0.borrow().messages, [b"rain"]);
}

#[test]
fn a_handler_that_fails_ends_the_session_at_once_and_the_peer_is_told() {
    let mut sim = Simulation::new(1);
    let (server, client) = (sim.add_host("server"), sim.add_host("client"));
    let address = sim.address(server, 7000);
    let factory = |_: &switchboard::Accepted| Some(Reliable::server(message_fn(|_, _| Err(Failure::caller("a bug")))));
    let socket = sim.event_loop(server).bind_sessions(address, factory).expect("a free port");
    let near = Note::default();
    let id = sim.event_loop(client).connect_udp(address, Reliable::client(near.clone()));
    sim.event_loop(client).core().post(id, Bytes::from_static(b"hello")).expect("it is there");
    sim.run_for(SECOND / 2);
    assert_eq!(near.0.borrow().endings[0].cause, "the peer broke the protocol: the peer has reset the session");
    assert_eq!(sim.event_loop(server).core().socket_counters(socket).closed, 1);
}

/// Notes the blame of its end.
struct Blamed(Rc<RefCell<Vec<Blame>>>);

impl Handler for Blamed {
    fn on_message(&mut self, _: &mut Peer<'_, '_>, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, closed: &Closed<'_>) {
        self.0.borrow_mut().extend(closed.cause.blame());
    }
}

#[test]
fn settings_that_contradict_each_other_are_told_on_both_sides() {
    let mut sim = Simulation::new(1);
    let (server, client) = (sim.add_host("server"), sim.add_host("client"));
    let address = sim.address(server, 7000);
    let settings = Rc::new(Settings { send_buffer: 1, ..Settings::default() });
    let blames = Rc::new(RefCell::new(Vec::new()));
    let (noted, used) = (Rc::clone(&blames), Rc::clone(&settings));
    let factory =
        move |_: &switchboard::Accepted| Some(Reliable::server(Blamed(Rc::clone(&noted))).with_settings(&used));
    sim.event_loop(server).bind_sessions(address, factory).expect("a free port");
    let bad = Reliable::client(Blamed(Rc::clone(&blames))).with_settings(&settings);
    sim.event_loop(client).connect_udp(address, bad);
    sim.event_loop(client).connect_udp(address, Reliable::client(Note::default()));
    sim.run_for(Duration::from_millis(10));
    assert_eq!(*blames.borrow(), [Blame::Caller, Blame::Caller]);
}

#[test]
fn a_stream_is_refused() {
    let mut harness = Harness::new(Reliable::client(Note::default()));
    harness.feed(b"\x11");
    let reason = harness.close_reason().and_then(|reason| reason.error());
    assert_eq!(reason.and_then(|error| error.downcast_ref()), Some(&UsageError::NotDatagrams));
}

#[test]
fn the_memory_of_all_sessions_is_the_loops() {
    let settings = Rc::new(Settings { receive_window: 64 * 1024, max_message: 4_000, ..Settings::default() });
    let limits = Limits { loop_memory: settings.most_held(), ..Limits::default() };
    let mut sim = Simulation::new(1);
    let (server, client) = (sim.add_host("server"), sim.add_host_with("client", limits));
    let address = sim.address(server, 7000);
    sim.event_loop(server).bind_sessions(address, |_| Some(Reliable::server(Note::default()))).expect("a free port");
    let notes = [(); 8].map(|()| Note::default());
    let connect = |note: &Note| {
        let protocol = Reliable::client(note.clone()).with_settings(&settings);
        sim.event_loop(client).connect_udp(address, protocol)
    };
    let ids = notes.each_ref().map(connect);
    sim.run_for(SECOND);
    sim.partition(server, client);
    let core = sim.event_loop(client).core();
    for message in 0..100 {
        for id in ids {
            // Those that went too far are gone.
            assert!(core.post(id, Bytes::from_static(&[1; 4_000])).is_ok() || message > 50);
        }
    }
    sim.run_for(SECOND);
    assert!(sim.event_loop(client).core().held_bytes() <= settings.most_held());
    let endings: Vec<_> = notes.iter().flat_map(|note| note.0.borrow().endings.clone()).collect();
    assert!(!endings.is_empty() && endings.len() < 8, "{endings:?}");
    for ending in endings {
        assert!(ending.cause.starts_with("a limit was hit: loop_memory"), "{ending:?}");
    }
}

/// Sends more than there is room for.
struct Flood(Rc<RefCell<Vec<SendError>>>);

impl Handler for Flood {
    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        let mut errors = self.0.borrow_mut();
        errors.extend(peer.send(&[0; 65_537]).err());
        while let Ok(()) = peer.send(&[0; 65_536]) {}
        errors.extend(peer.send(&[0; 65_536]).err());
        assert!(!peer.has_room() && peer.backlog() > 256 * 1024 && peer.unacknowledged() > 3);
        peer.close();
        assert!(!peer.is_open() && !peer.has_room());
        errors.extend(peer.send(b"").err());
        Ok(())
    }

    fn on_message(&mut self, _: &mut Peer<'_, '_>, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}

#[test]
fn whoever_sends_too_much_is_told_and_the_rest_arrives() {
    let mut sim = Simulation::new(1);
    let (server, client) = (sim.add_host("server"), sim.add_host("client"));
    let address = sim.address(server, 7000);
    let far = Note::default();
    let noted = far.clone();
    sim.event_loop(server).bind_sessions(address, move |_| Some(Reliable::server(noted.clone()))).expect("a free port");
    let errors = Rc::default();
    sim.event_loop(client).connect_udp(address, Reliable::client(Flood(Rc::clone(&errors))));
    sim.run_for(10 * SECOND);
    let errors = errors.borrow();
    assert_eq!(errors[0], SendError::TooLong { size: 65_537, limit: 65_536 });
    assert!(matches!(errors[1], SendError::Full { .. }));
    assert_eq!(errors[2], SendError::Closing);
    assert!(far.0.borrow().messages.len() >= 6 && far.0.borrow().endings[0].clean);
}
