//! Every protocol of the family on one thread: TCP echo, UDP echo, heartbeat, WebSocket echo, and a page that shows
//! what goes on, live.
//!
//! ```text
//! cargo run --release --example server
//! ```
//!
//! | file | what it does |
//! | --- | --- |
//! | `options.rs` | the command line, and the limits it makes |
//! | `board.rs` | what the page is told: counters and round-trip times |
//! | `frame.rs` | the same as JSON |
//! | `watch.rs` | a layer around every protocol: tells the board, and prints a line a connection if asked |
//! | `web.rs` | the WebSocket application: `/echo`, `/feed` and the page |
//! | `page.rs` | the page's HTTP answer |
//! | `signals.rs` | Ctrl-C and SIGTERM |

use std::fmt::Arguments;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use switchboard::{EventLoop, Tally};
use switchboard_echo::{TcpEcho, UdpEcho};
use switchboard_heartbeat::{Heartbeat, IdleTimeout, PingPong};
use switchboard_websocket::WebSocket;

mod board;
mod frame;
mod options;
mod page;
mod signals;
mod watch;
mod web;

use board::{Board, Source};
use options::Options;
use page::Page;
use watch::{Watched, watch};
use web::Web;

fn main() -> ExitCode {
    let options = Options::parse();
    match serve(&options) {
        Ok(code) => code,
        Err(error) => {
            note(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn serve(options: &Options) -> io::Result<ExitCode> {
    let mut event_loop = EventLoop::with_limits(options.limits())?;
    options::raise_descriptors(options);
    let board = open(&mut event_loop, options)?;
    // Before anybody is told that the server stands: whoever is told may stop it.
    let signals = signals::listen(event_loop.handle(), options.quiet)?;
    for endpoint in board.endpoints().iter() {
        say(format_args!("{} listening on {}", endpoint.name, endpoint.address));
    }
    say(format_args!("ready"));
    if !options.quiet {
        let web = board.endpoints().last().map(|endpoint| endpoint.address);
        note(format_args!("The page: http://{}/ (Ctrl-C stops)", web.unwrap_or(options.websocket)));
    }
    let tally = event_loop.run()?;
    tell(&board, &mut event_loop, &tally);
    Ok(signals.exit_code())
}

/// Opens all four endpoints, or none.
fn open(event_loop: &mut EventLoop, options: &Options) -> io::Result<Rc<Board>> {
    let board = Rc::new(Board::new(options.max_message()));

    let (watched, idle) = (Watched::new("tcp-echo", &board, options.verbose), IdleTimeout::new(options.idle_timeout));
    let listener = at("tcp-echo", options.tcp_echo, |address| {
        event_loop.listen(address, move |peer| Some(watch(&watched, peer, idle.around(TcpEcho))))
    })?;
    board.add(event_loop, "tcp-echo", "reads", Source::Listener(listener));

    let socket = at("udp-echo", options.udp_echo, |address| event_loop.bind_udp(address, UdpEcho))?;
    board.add(event_loop, "udp-echo", "datagrams", Source::Socket(socket));

    let (watched, beat) = (Watched::new("heartbeat", &board, options.verbose), options.line_heartbeat());
    let listener = at("heartbeat", options.heartbeat, |address| {
        event_loop
            .listen(address, move |peer| Some(watch(&watched, peer, Heartbeat::new(beat).around(PingPong::default()))))
    })?;
    board.add(event_loop, "heartbeat", "reads", Source::Listener(listener));

    let (watched, settings) = (Watched::new("websocket", &board, options.verbose), Rc::new(options.web_settings()));
    let (page, shared) = (Rc::new(Page::new()), Rc::clone(&board));
    let listener = at("websocket", options.websocket, |address| {
        event_loop.listen(address, move |peer| {
            Some(watch(&watched, peer, WebSocket::with_settings(Web::new(&shared, &page), &settings)))
        })
    })?;
    board.add(event_loop, "websocket", "messages", Source::Listener(listener));
    Ok(board)
}

/// Opens something on an address; the error says what, and where.
fn at<T>(name: &str, address: SocketAddr, open: impl FnOnce(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    open(address).map_err(|error| io::Error::new(error.kind(), format!("{name} cannot listen on {address}: {error}")))
}

/// The tally: what each endpoint has carried, and how the drain went.
fn tell(board: &Board, event_loop: &mut EventLoop, tally: &Tally) {
    for endpoint in board.endpoints().iter() {
        let counters = endpoint.counters(event_loop.core());
        let count = match endpoint.source {
            Source::Listener(_) => format!("{} connections", counters.opened),
            Source::Socket(_) => format!("{} datagrams", counters.datagrams_in),
        };
        let (bytes_in, bytes_out) = (counters.bytes_in, counters.bytes_out);
        say(format_args!("{} served {count}, {bytes_in} bytes in, {bytes_out} bytes out", endpoint.name));
    }
    let Tally { drained, cut_off, took, .. } = tally;
    say(format_args!("stopped: {drained} connections drained, {cut_off} cut off, in {:.3} s", took.as_secs_f64()));
}

/// Prints a line, at once. Nobody reading it any more is no reason to stop.
fn say(line: Arguments<'_>) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// The same to the standard error, for what is not asked for. (`eprintln!` panics where nobody reads it any more.)
fn note(line: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}
