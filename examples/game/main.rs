//! A game server on one thread: positions over UDP sessions at 60 a second, chat over TCP, spectators over WebSocket.
//!
//! ```text
//! cargo run --release --example game                               # the page: http://127.0.0.1:8084/
//! cargo run --release --example game -- bots --players 200
//! ```
//!
//! A player joins over TCP and gets a token there, which each of its datagrams carries: whoever can't read that
//! connection can't move the player, whatever address it writes on its datagrams. Where it is, the server decides.
//! A flood of forged addresses costs a token's look-up each, and no more than the sessions' limits let in.
//!
//! | file | what it does |
//! | --- | --- |
//! | `options.rs` | the command line |
//! | `arena.rs`, `ground.rs` | the game: who is where, 60 ticks a second |
//! | `datagrams.rs` | what is sent by UDP |
//! | `player.rs` | a player's UDP session |
//! | `lobby.rs` | a player's TCP connection: joining and chat |
//! | `web.rs`, `page.*` | the spectators |
//! | `timing.rs` | how long turns take |
//! | `bots.rs`, `served.rs` | players that nobody plays, and how they are served |

use std::cell::RefCell;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use switchboard::{EventLoop, Keepalive, Limits, ListenOptions, SessionOptions, Tally};
use switchboard_websocket::WebSocket;

mod arena;
mod bots;
#[path = "../common/mod.rs"]
mod common;
mod datagrams;
mod ground;
mod lobby;
mod options;
mod player;
mod served;
mod timing;
mod web;

use arena::{Arena, TICKS_A_SECOND};
use bots::Talker;
use common::{Page, at, note, say, stop_by_signal};
use lobby::Lobby;
use options::{Bots, Command, Options, Serve};
use player::Session;
use served::Served;
use timing::Timing;
use web::Spectator;

const PAGE: Page = Page { html: include_str!("page.html"), css: include_str!("page.css"), js: include_str!("page.js") };
const TICK: Duration = Duration::from_nanos(1_000_000_000 / TICKS_A_SECOND as u64);
/// How long a player's session stands without a move.
const IDLE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match &options.command {
        Some(Command::Bots(bots)) => play(bots),
        None => serve(&options.serve),
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    note(format_args!("error: {error}"));
    ExitCode::FAILURE
}

fn serve(options: &Serve) -> io::Result<()> {
    let _ = rlimit::increase_nofile_limit(u64::MAX); // what there is has to do
    // All that has come is read before the world goes on, a flood in part.
    let players = usize::from(options.players);
    let limits = Limits { datagrams_per_turn: players.max(64), ..Limits::default() };
    let mut event_loop = EventLoop::with_limits(limits)?;
    let (arena, timing) = (Rc::new(Arena::new(players)), Rc::new(Timing::new()));
    open(&mut event_loop, options, &arena, &timing)?;
    // Before anybody is told that it stands: whoever is told may stop it.
    stop_by_signal(event_loop.handle())?;
    say(format_args!("ready"));
    let tally = run(&mut event_loop, &arena, &timing, options.report)?;
    say(format_args!("in all {}", timing.total()));
    say(format_args!("{}", timing.report(&arena, event_loop.core())));
    stopped(&tally);
    Ok(())
}

fn open(event_loop: &mut EventLoop, options: &Serve, arena: &Rc<Arena>, timing: &Rc<Timing>) -> io::Result<()> {
    let mut sessions = SessionOptions::default();
    // Beside those of the players there is room for strangers, who go as soon as they have come.
    (sessions.sessions, sessions.new_per_second) = (2 * usize::from(options.players), options.new_per_second);
    sessions.idle_timeout = IDLE;
    sessions.udp.receive_buffer_size = Some(4 << 20);
    let shared = Rc::clone(arena);
    let udp = at("udp", options.udp, |address| {
        event_loop.bind_sessions_with(address, &sessions, move |_| Some(Session::new(&shared)))
    })?;
    let udp = event_loop.local_addr(udp).unwrap_or(options.udp);

    let (shared, mut tcp) = (Rc::clone(arena), ListenOptions::default());
    tcp.stream.keepalive = Some(Keepalive::default()); // a player whose machine is gone leaves, too
    let lobby = at("lobby", options.lobby, |address| {
        event_loop.listen_with(address, &tcp, move |_| Some(Lobby::new(&shared, udp.port())))
    })?;
    let (shared, timing) = (Rc::clone(arena), Rc::clone(timing));
    let web = at("web", options.web, |address| {
        event_loop.listen(address, move |_| Some(WebSocket::server(Spectator::new(&shared, &timing))))
    })?;
    let addresses = [event_loop.local_addr(lobby), Some(udp), event_loop.local_addr(web)];
    for (name, address) in ["lobby", "udp", "web"].into_iter().zip(addresses.into_iter().flatten()) {
        say(format_args!("{name} listening on {address}"));
    }
    Ok(())
}

/// Turns the loop, and ticks, until the loop has ended.
fn run(event_loop: &mut EventLoop, arena: &Arena, timing: &Timing, report: Duration) -> io::Result<Tally> {
    let mut next_tick = event_loop.now() + TICK;
    let mut next_report = event_loop.now() + report;
    let mut has_tick = false;
    loop {
        event_loop.turn(Some(next_tick.saturating_since(event_loop.now())))?;
        if let Some(tally) = event_loop.tally() {
            return Ok(tally);
        }
        let now = event_loop.now();
        if let Some(began) = arena.take_turn() {
            timing.add(now.saturating_since(began), has_tick);
        }
        has_tick = now >= next_tick;
        if has_tick {
            arena.tick(event_loop.core()); // counts with the next turn, which carries out what it asks for
            next_tick = (next_tick + TICK).max(now);
        }
        if now >= next_report {
            next_report = now + report;
            say(format_args!("{} players, {}", arena.players(), timing.take_recent()));
        }
    }
}

fn play(options: &Bots) -> io::Result<()> {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let mut event_loop = EventLoop::new()?;
    let served = Rc::new(RefCell::new(Served::new()));
    for number in 1..=options.players {
        Talker::start(event_loop.core(), options.lobby, format!("bot-{number}"), &served);
    }
    stop_by_signal(event_loop.handle())?;
    let mut next_report = event_loop.now() + options.report;
    let tally = loop {
        event_loop.turn(Some(next_report.saturating_since(event_loop.now())))?;
        if let Some(tally) = event_loop.tally() {
            break tally;
        }
        if event_loop.core().open_connections() == 0 && !event_loop.core().is_draining() {
            return Err(io::Error::other(format!("no bot is left at {}", options.lobby)));
        }
        if event_loop.now() >= next_report {
            next_report = next_report + options.report;
            say(format_args!("{}", served.borrow_mut().take_report()));
        }
    };
    stopped(&tally);
    Ok(())
}

fn stopped(Tally { drained, cut_off, took, .. }: &Tally) {
    say(format_args!("stopped: {drained} connections drained, {cut_off} cut off, in {:.3} s", took.as_secs_f64()));
}
