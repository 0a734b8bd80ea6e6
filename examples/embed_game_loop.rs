//! Switchboard inside a game's loop: 60 frames a second, a world that moves in fixed steps, and a network that may take
//! so many milliseconds of each frame and no more.
//!
//! ```text
//! cargo run --release --example embed_game_loop
//! cargo run --example client -- 127.0.0.1:7030 right right down
//! ```
//!
//! No window: a line of figures every second. A player connects by TCP and sends `up`, `down`, `left` or `right`, each
//! answered in the next step of the world with where the player is then. What is typed here is said to all players.
//!
//! A frame: [`turn_within`](EventLoop::turn_within) the budget; the world's step, with the answers by
//! [`EventLoop::with`]; the wait for the next, which with a window is the screen's.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use switchboard::{
    CloseReason, Closing, ConnectionId, Context, EventLoop, Failure, Handle, Input, Message, Protocol, Slow, Time,
};

#[path = "common/mod.rs"]
#[allow(dead_code, reason = "no page here")]
mod common;

use common::{at, note, say, stop_by_signal};

/// A game's loop that serves TCP: players move by the lines up, down, left and right.
///
/// Prints `listening on ADDRESS`, then the frames of each second. Ctrl-C or SIGTERM lets everybody say goodbye.
#[derive(Parser)]
#[command(name = "embed_game_loop")]
struct Options {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7030")]
    listen: SocketAddr,
    /// Frames a second
    #[arg(long, value_name = "COUNT", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// The network's share of each frame
    #[arg(long, value_name = "TIME", default_value = "4ms", value_parser = humantime::parse_duration)]
    budget: Duration,
}

/// Who is where, and what they asked for since the last step (`None`: by a line that was none of the four).
#[derive(Default)]
struct World {
    players: HashMap<ConnectionId, (i32, i32)>,
    moves: Vec<(ConnectionId, Option<(i32, i32)>)>,
    moved: u64,
}

impl World {
    /// One step: every move is made, and the mover told.
    fn step(world: &RefCell<Self>, network: &mut EventLoop) {
        let moves = std::mem::take(&mut world.borrow_mut().moves);
        for (id, direction) in moves {
            let Some((x, y)) = world.borrow_mut().walk(id, direction) else { continue };
            network.with(id, |cx| match direction {
                Some(_) => cx.send(format!("{x} {y}\n").as_bytes()),
                None => cx.send(b"ERR up, down, left or right\n"),
            });
        }
    }

    /// Where a player is then; `None` if it has gone.
    fn walk(&mut self, id: ConnectionId, direction: Option<(i32, i32)>) -> Option<(i32, i32)> {
        let (x, y) = self.players.get_mut(&id)?;
        if let Some((right, down)) = direction {
            (*x, *y) = (x.wrapping_add(right), y.wrapping_add(down));
            self.moved += 1;
        }
        Some((*x, *y))
    }
}

/// One player's connection.
struct Player(Rc<RefCell<World>>);

impl Protocol for Player {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.0.borrow_mut().players.insert(cx.id(), (0, 0));
        Ok(cx.subscribe("says", Slow::default())?)
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
            let direction = match input.take(end + 1).trim_ascii() {
                b"up" => Some((0, -1)),
                b"down" => Some((0, 1)),
                b"left" => Some((-1, 0)),
                b"right" => Some((1, 0)),
                _ => None,
            };
            self.0.borrow_mut().moves.push((cx.id(), direction));
        }
        if input.len() > 100 { Err(Failure::peer("no line is that long")) } else { Ok(()) }
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        if let Message::Published(said) = message {
            cx.send_shared(said.payload().clone());
        }
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, _: &CloseReason) {
        self.0.borrow_mut().players.remove(&cx.id());
    }
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    let world = Rc::new(RefCell::new(World::default()));
    let shared = Rc::clone(&world);
    let mut network = EventLoop::new()?;
    let factory = move |_: &_| Some(Player(Rc::clone(&shared)));
    let listener = at("the game", options.listen, |address| network.listen(address, factory))?;
    stop_by_signal(network.handle())?;
    speak(network.handle());
    say(format_args!("listening on {}", network.local_addr(listener).unwrap_or(options.listen)));

    let frame = Duration::from_secs(1) / options.rate;
    let mut due = network.now() + frame;
    let mut second = Second { start: network.now(), ..Second::default() };
    while network.tally().is_none() {
        let begun = network.now();
        serve(&mut network, options.budget)?;
        second.longest = second.longest.max(network.now().saturating_since(begun));
        second.frames += 1;
        World::step(&world, &mut network);
        second.tell(network.now(), &world.borrow());
        // Frames that were missed are not made up for: the world is late then, but it does not fall behind for ever.
        thread::sleep(due.saturating_since(network.now()));
        due = (due + frame).max(network.now());
    }
    say(format_args!("{} moves made", world.borrow().moved));
    Ok(())
}

/// Serves the network until it has nothing to do, or its share of the frame is used up.
fn serve(network: &mut EventLoop, budget: Duration) -> io::Result<()> {
    let end = network.now() + budget;
    loop {
        let left = end.saturating_since(network.now());
        let done = network.turn_within(left)?;
        let more = network.next_deadline().is_some_and(|due| due <= network.now());
        if left.is_zero() || (done && !more) {
            return Ok(());
        }
    }
}

/// The figures of a second.
#[derive(Default)]
struct Second {
    start: Time,
    frames: u32,
    /// Of the network's share of a frame.
    longest: Duration,
    moved: u64,
}

impl Second {
    fn tell(&mut self, now: Time, world: &World) {
        if now.saturating_since(self.start).as_secs() == 0 {
            return;
        }
        let Self { frames, longest, moved, .. } = *self;
        let (players, moves) = (world.players.len(), world.moved - moved);
        say(format_args!("{frames} frames, {players} players, {moves} moves, network at most {longest:?} a frame"));
        *self = Self { start: now, moved: world.moved, ..Self::default() };
    }
}

/// Says what is typed to all players, from a thread of its own.
fn speak(handle: Handle) {
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if handle.publish("says", format!("{line}\n")).is_err() {
                note(format_args!("too much at once: {line:?} was not said"));
            }
        }
    });
}
