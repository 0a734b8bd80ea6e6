//! A chat with rooms, for browsers and for `nc`: a topic a room and form, which its members subscribe to.
//!
//! ```text
//! cargo run --release --example chat     # then open http://127.0.0.1:8081/ twice
//! nc 127.0.0.1 7020                      # /name ann   /join lobby   hello
//! ```
//!
//! | file | what it does |
//! | --- | --- |
//! | `words.rs` | what members ask and are told, as JSON and as lines |
//! | `rooms.rs` | the rooms and their rules: who is where, and who may ask what |
//! | `web.rs` | members with a browser: JSON over WebSocket, and the page |
//! | `line.rs` | members with `nc` |
//!
//! A message is put into JSON once and into a line once, whoever many get it. Who asks faster than `--rate` is read more
//! slowly; who does not read what it is told is closed when `--waiting` messages wait for it, or misses the oldest.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;

use clap::{Parser, ValueEnum};
use switchboard::{EventLoop, Keepalive, Limits, ListenOptions, Slow, Tally};
use switchboard_websocket::handshake::{NoOrigin, OriginPolicy};
use switchboard_websocket::{Settings, WebSocket};

#[path = "../common/mod.rs"]
mod common;
mod line;
mod rooms;
mod web;
mod words;

use common::{at, note, say, stop_by_signal};
use line::Line;
use rooms::{Chat, Rules};
use web::Web;

/// A chat with rooms, for browsers over WebSocket and for `nc` over TCP.
///
/// Prints the addresses it listens on, then `ready`. Ctrl-C says goodbye to everybody and stops; a second one at once.
#[derive(Parser)]
#[command(name = "chat")]
struct Options {
    /// Address of the page and its WebSocket; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// Address for line clients, such as nc
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7020")]
    tcp: SocketAddr,
    /// Longest message, in characters
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
    text: u16,
    /// Rooms that a member is in at a time
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..))]
    rooms: u8,
    /// Messages and requests of a member in a second; one who sends more is read more slowly
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Size up to which a room is told who comes and goes
    #[arg(long, value_name = "MEMBERS", default_value_t = 50)]
    notices: usize,
    /// What becomes of a member who does not read
    #[arg(long, value_enum, default_value = "close")]
    slow: WhenSlow,
    /// Messages that wait for such a member before that
    #[arg(long, value_name = "COUNT", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    waiting: u16,
}

#[derive(Clone, Copy, ValueEnum)]
enum WhenSlow {
    /// It is closed
    Close,
    /// It misses the oldest messages
    DropOldest,
}

impl Options {
    fn rules(&self) -> Rules {
        let waiting = self.waiting.into();
        Rules {
            text: self.text.into(),
            rooms: self.rooms.into(),
            rate: self.rate,
            notices: self.notices,
            slow: match self.slow {
                WhenSlow::Close => Slow::Close { waiting },
                WhenSlow::DropOldest => Slow::DropOldest { waiting },
            },
        }
    }
}

fn main() -> ExitCode {
    let Err(error) = serve(&Options::parse()) else { return ExitCode::SUCCESS };
    note(format_args!("error: {error}"));
    ExitCode::FAILURE
}

fn serve(options: &Options) -> io::Result<()> {
    let _ = rlimit::increase_nofile_limit(u64::MAX); // a member is a descriptor; with fewer, some wait
    // What a member does not read waits in the system's buffers first, then up to these marks, then as messages. All of
    // them small: who is slow is to be noticed soon.
    let mut socket = ListenOptions::default();
    socket.stream.send_buffer_size = Some(16 * 1024);
    let limits = Limits { high_water: 16 * 1024, low_water: 4 * 1024, read_budget: 16 * 1024, ..Limits::default() };
    let mut event_loop = EventLoop::with_limits(limits)?;
    let chat = Rc::new(Chat::new(options.rules()));

    let settings = Rc::new(Settings {
        max_message: 12 * usize::from(options.text) + 256, // JSON may take six bytes for one, and twice that for a pair
        origins: OriginPolicy::same_origin(NoOrigin::Permit),
        ..Settings::default()
    });
    let shared = Rc::clone(&chat);
    let web = at("web", options.listen, |address| {
        event_loop.listen_with(address, &socket, move |_| Some(WebSocket::with_settings(Web::new(&shared), &settings)))
    })?;
    socket.stream.keepalive = Some(Keepalive::default()); // a WebSocket has pings, a line has nothing of the kind
    let line =
        at("line", options.tcp, |address| event_loop.listen_with(address, &socket, move |_| Some(Line::new(&chat))))?;

    stop_by_signal(event_loop.handle())?;
    for (name, listener) in [("web", web), ("line", line)] {
        let Some(address) = event_loop.local_addr(listener) else { continue };
        say(format_args!("{name} listening on {address}"));
    }
    say(format_args!("ready"));
    let Tally { drained, cut_off, .. } = event_loop.run()?;
    say(format_args!("stopped: {drained} connections drained, {cut_off} cut off"));
    Ok(())
}
