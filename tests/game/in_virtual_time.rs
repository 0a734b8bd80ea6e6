//! The game on a simulated network that loses, doubles and reorders: whoever goes east never goes back.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use switchboard::testkit::{Conditions, Host, Simulation};
use switchboard::{Context, Failure, Input, Message, Protocol, SessionOptions, Slow, TimerId, protocol_fn};

use super::*;
use crate::arena::{Arena, FRAMES};
use crate::bots::{BEAT, Talker};
use crate::datagrams::Move;
use crate::lobby::Lobby;
use crate::player::Session;
use crate::served::Served;

/// The server, and its arena.
fn serve(sim: &mut Simulation, most: usize) -> (Host, Rc<Arena>) {
    let server = sim.add_host("server");
    let arena = Rc::new(Arena::new(most));
    let (lobby, udp) = (sim.address(server, 7200), sim.address(server, 7201));
    let shared = Rc::clone(&arena);
    sim.event_loop(server).listen(lobby, move |_| Some(Lobby::new(&shared, 7201))).expect("a port");
    let shared = Rc::clone(&arena);
    let options = SessionOptions::default();
    sim.event_loop(server).bind_sessions_with(udp, &options, move |_| Some(Session::new(&shared))).expect("a port");
    (server, arena)
}

fn play(sim: &mut Simulation, server: Host, arena: &Arena, ticks: u32) {
    for _ in 0..ticks {
        sim.run_for(BEAT);
        arena.tick(sim.event_loop(server).core());
    }
}

/// A player who goes east for ever, a little further with each move, and then stands.
struct East {
    token: u64,
    number: u32,
}

impl Protocol for East {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.set_timer(BEAT);
        Ok(())
    }

    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        input.take_all();
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        self.number += 1;
        // As far in a beat as a step goes, so that a move which is applied late calls it back.
        let wanted = (u16::try_from(self.number * 30).unwrap_or(u16::MAX), 4_000);
        let mut bytes = Vec::new();
        Move { token: self.token, number: self.number, wanted }.encode(&mut bytes);
        cx.send(&bytes);
        cx.set_timer(BEAT);
        Ok(())
    }
}

/// Where everybody was, by id.
type Frame = HashMap<u16, (u16, u16)>;

/// Notes frame by frame.
struct Watcher(Rc<RefCell<Vec<Frame>>>);

impl Protocol for Watcher {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.subscribe(FRAMES, Slow::Close { waiting: 1_000 })?;
        Ok(())
    }

    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        input.take_all();
        Ok(())
    }

    fn on_message(&mut self, _: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        let Message::Published(publication) = message else { return Ok(()) };
        let word = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
        let places = publication.payload()[4..].chunks_exact(6);
        let frame = places.map(|seen| (word(seen), (word(&seen[2..]), word(&seen[4..])))).collect();
        self.0.borrow_mut().push(frame);
        Ok(())
    }
}

#[test]
fn at_twenty_percent_loss_and_worse_positions_only_ever_advance() {
    let mut sim = Simulation::new(20);
    let (server, arena) = serve(&mut sim, 50);
    let (players, watcher) = (sim.add_host("players"), sim.add_host("watcher"));
    let latency = Duration::from_millis(10)..=Duration::from_millis(60);
    let bad = Conditions { loss: 0.2, duplicated: 0.1, reordered: 0.3, latency, ..Conditions::default() };
    sim.set_conditions_between(server, players, bad);
    let (frames, web) = (Rc::default(), sim.address(server, 8082));
    let noted = Rc::clone(&frames);
    sim.event_loop(server).listen(web, move |_| Some(Watcher(Rc::clone(&noted)))).unwrap();
    sim.event_loop(watcher).connect(web, protocol_fn(|_, _| Ok(())));
    let udp = sim.address(server, 7201);
    for player in 0..50 {
        let (_, token) = arena.join(sim.event_loop(server).core(), &format!("player-{player}")).unwrap();
        sim.event_loop(players).core().connect_udp(udp, East { token, number: 0 });
    }
    // Until all are where their first moves call them, whichever way that is.
    play(&mut sim, server, &arena, 450);
    frames.borrow_mut().clear();
    play(&mut sim, server, &arena, 60);
    let frames = frames.borrow();
    assert_eq!(frames.len(), 20, "one each three ticks");
    for pair in frames.windows(2) {
        assert_eq!(pair[1].len(), 50);
        for (id, (x, y)) in &pair[1] {
            let (before, _) = pair[0][id];
            assert!(*x >= before && *y == 4_000, "player {id} went from {before} back to {x}, {y}");
        }
    }
    let (first, last) = (&frames[0], &frames[19]);
    assert!(first.iter().all(|(id, (x, _))| last[id].0 > *x + 1_000), "all have gone on");
    let (counts, sent) = (arena.counts(), 50 * 510);
    assert!(counts.stale > sent / 20 && counts.lost > sent / 10, "there was something to drop");
    assert!(counts.moves > sent / 2 && counts.moves + counts.lost <= sent, "and something to go by");
}

#[test]
fn bots_are_served_in_virtual_time_as_on_sockets() {
    let mut sim = Simulation::new(7);
    let (server, arena) = serve(&mut sim, 20);
    let host = sim.add_host("bots");
    let served = Rc::new(RefCell::new(Served::new()));
    let lobby = sim.address(server, 7200);
    // The lobby tells the UDP port; the address is the lobby's.
    for bot in 0..20 {
        Talker::start(sim.event_loop(host).core(), lobby, format!("bot-{bot}"), &served);
    }
    play(&mut sim, server, &arena, 60);
    served.borrow_mut().take_report();
    play(&mut sim, server, &arena, 600);
    let report: Value = serde_json::from_str(&served.borrow_mut().take_report()).unwrap();
    assert_eq!(
        (number(&report, "playing"), number(&report, "missing"), number(&report, "stale")),
        (20, 0, 0),
        "{report}"
    );
    assert_eq!(number(&report, "snapshots"), 20 * 600, "{report}");
    assert!((16_000..18_000).contains(&number(&report, "gap_max_us")), "{report}");
    assert!(number(&report, "chats") > 0 && number(&report, "broken") == 0, "{report}");
}
