//! Switchboard inside somebody else's event loop: a daemon that is built around calloop, as desktop programs are, and
//! serves a TCP port from the same thread.
//!
//! ```text
//! cargo run --example embed_calloop
//! cargo run --example client -- 127.0.0.1:7010 "a line, and it comes back"
//! ```
//!
//! Lines typed here go to everybody who is connected. Three things tie the two loops together:
//!
//! 1. Network's descriptor is a source of calloop's: when it is readable, a turn.
//! 2. A timer of calloop's stands at `next_deadline`: when it is due, a turn.
//! 3. That timer is set anew before calloop sleeps, whoever touched the network meanwhile.
//!
//! glib, Qt, libuv or a loop over poll(2) take the same three.

use std::error::Error;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use calloop::generic::Generic;
use calloop::timer::{TimeoutAction, Timer};
use calloop::{Dispatcher, Interest, LoopHandle, Mode, PostAction, RegistrationToken};
use clap::Parser;
use switchboard::{Context, EventLoop, Failure, Handle, Input, Message, Protocol, Slow};

#[path = "common/mod.rs"]
#[allow(dead_code, reason = "no page here")]
mod common;

use common::{at, note, say, stop_by_signal};

/// A calloop program that serves TCP: sends lines back, and what is typed here to everybody.
///
/// Prints `listening on ADDRESS`, then a line of figures now and then. Ctrl-C or SIGTERM lets everybody say goodbye.
#[derive(Parser)]
#[command(name = "embed_calloop")]
struct Options {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7010")]
    listen: SocketAddr,
    /// How often to print the figures
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    every: Duration,
}

/// Echoes what it gets, and passes the news on.
struct Member;

impl Protocol for Member {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        Ok(cx.subscribe("news", Slow::default())?)
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        cx.send(input.take_all());
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        if let Message::Published(news) = message {
            cx.send_shared(news.payload().clone());
        }
        Ok(())
    }
}

/// What calloop's callbacks share: here lives the network.
struct Program {
    network: EventLoop,
    /// How often the network was called.
    turns: u64,
}

impl Program {
    fn turn(&mut self) -> std::io::Result<()> {
        self.turns += 1;
        self.network.turn(Some(Duration::ZERO))
    }

    /// How long calloop may sleep as far as the network is concerned. (A timer of calloop's can't stand still: where only
    /// an event can wake the network there is a turn an hour.)
    fn sleep(&self) -> Duration {
        const LONGEST: Duration = Duration::from_secs(3600);
        let due = self.network.next_deadline();
        due.map_or(LONGEST, |due| due.saturating_since(self.network.now()).min(LONGEST))
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

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut network = EventLoop::new()?;
    let listener = at("the network", options.listen, |address| network.listen(address, |_| Some(Member)))?;
    let address = network.local_addr(listener).unwrap_or(options.listen);
    stop_by_signal(network.handle())?;
    announce(network.handle());

    let mut calloop = calloop::EventLoop::<Program>::try_new()?;
    let sources = calloop.handle();
    let descriptor = Generic::new(network.as_fd().try_clone_to_owned()?, Interest::READ, Mode::Level);
    sources.insert_source(descriptor, |_, _, program| program.turn().map(|()| PostAction::Continue))?;
    let deadline = Deadline::new(&sources)?;
    // The program's own source, which knows nothing of the network.
    let every = options.every;
    sources.insert_source(Timer::from_duration(every), move |_, (), program| {
        let (turns, counters) = (program.turns, program.network.counters());
        say(format_args!("{} connected, {} bytes in, {turns} turns", counters.open(), counters.bytes_in));
        TimeoutAction::ToDuration(every)
    })?;

    say(format_args!("listening on {address}"));
    let mut program = Program { network, turns: 0 };
    let end = calloop.get_signal();
    deadline.set(&sources, &program);
    calloop.run(None, &mut program, |program| {
        deadline.set(&sources, program);
        if program.network.tally().is_some() {
            end.stop();
        }
    })?;
    let counters = program.network.counters();
    say(format_args!("served {} connections, {} bytes in {} turns", counters.opened, counters.bytes_in, program.turns));
    Ok(())
}

/// The network's next deadline as a timer of calloop's.
struct Deadline {
    timer: Dispatcher<'static, Timer, Program>,
    token: RegistrationToken,
}

impl Deadline {
    fn new(sources: &LoopHandle<'static, Program>) -> Result<Self, Box<dyn Error>> {
        let timer = Dispatcher::new(Timer::immediate(), |_, (), program: &mut Program| {
            if let Err(error) = program.turn() {
                note(format_args!("error: {error}")); // the next turn says it again
            }
            TimeoutAction::ToDuration(program.sleep())
        });
        let token = sources.register_dispatcher(timer.clone())?;
        Ok(Self { timer, token })
    }

    fn set(&self, sources: &LoopHandle<'static, Program>, program: &Program) {
        self.timer.as_source_mut().set_duration(program.sleep());
        if let Err(error) = sources.update(&self.token) {
            note(format_args!("error: {error}"));
        }
    }
}

/// Passes what is typed on to all who are connected, from a thread of its own.
fn announce(handle: Handle) {
    thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if handle.publish("news", format!("{line}\n")).is_err() {
                note(format_args!("too much at once: {line:?} was dropped"));
            }
        }
    });
}
