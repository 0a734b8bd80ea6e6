//! Devices on sockets, people in browsers: devices publish readings over TCP lines and over UDP sessions, both with the
//! same heartbeat, and a page shows each of them live and marks the silent ones. All of it on one thread.
//!
//! ```text
//! cargo run --release --example iot_dashboard                                    # the page: http://127.0.0.1:8083/
//! cargo run --release --example iot_dashboard -- simulate --silent 20 --lossy 0.02
//! printf 'HELLO kitchen °C 1\nREADING 1 21.5\n' | nc -q 3 127.0.0.1 7300         # or nc -u
//! ```
//!
//! A device is who it says it is: one that starts anew, on another connection or over the other transport, takes its
//! place over. Where devices can't be trusted, they need a token to say HELLO with; and as UDP proves no address, who
//! forges one has the dashboard ask there for signs of life, until it gives up (`game` answers nobody without a token).
//!
//! | file | what it does |
//! | --- | --- |
//! | `options.rs` | the command line |
//! | `lines.rs` | the lines that devices speak |
//! | `device.rs` | a device's connection: the same protocol on TCP and on a UDP session |
//! | `fleet.rs`, `counters.rs` | what is known of every device, published by device, and what is counted |
//! | `web.rs`, `page.*` | the browsers: the page, `/live` and `/counters` |
//! | `simulated.rs` | devices that are not there |

use std::io;
use std::process::ExitCode;
use std::rc::Rc;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use switchboard::{EventLoop, Limits, SessionOptions, Tally};
use switchboard_heartbeat::Config;
use switchboard_websocket::WebSocket;

#[path = "../common/mod.rs"]
mod common;
mod counters;
mod device;
mod fleet;
mod lines;
mod options;
mod simulated;
mod web;

use common::{Page, at, note, say, stop_by_signal};
use device::Device;
use fleet::Fleet;
use options::{Command, Options, Serve, Simulate};
use simulated::{Plan, Simulated};
use web::Web;

const PAGE: Page = Page { html: include_str!("page.html"), css: include_str!("page.css"), js: include_str!("page.js") };

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match &options.command {
        Some(Command::Simulate(simulate)) => play(simulate),
        None => serve(&options.serve),
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    note(format_args!("error: {error}"));
    ExitCode::FAILURE
}

fn serve(options: &Serve) -> io::Result<()> {
    let gone_after = options.gone_after.unwrap_or(options.silent_after.saturating_mul(3));
    // Four times within the time a device may be silent, so that a lost datagram or two do not make it so.
    let heartbeat = Config::new(options.silent_after / 4, gone_after).unwrap_or_else(|error| {
        Options::command().error(ErrorKind::ValueValidation, error).exit();
    });
    let _ = rlimit::increase_nofile_limit(u64::MAX); // what there is has to do
    // All that speak UDP share a socket: one turn has to read what many turns of TCP connections do.
    let limits = Limits { datagrams_per_turn: options.devices.clamp(64, 1024), ..Limits::default() };
    let mut event_loop = EventLoop::with_limits(limits)?;
    let fleet = Rc::new(Fleet::new(options.devices, options.silent_after));

    let devices = Rc::clone(&fleet);
    let tcp =
        at("tcp", options.tcp, |address| event_loop.listen(address, move |_| Some(Device::new(&devices, heartbeat))))?;
    let (devices, mut sessions) = (Rc::clone(&fleet), SessionOptions::default());
    (sessions.sessions, sessions.new_per_second) = (options.devices, options.new_per_second);
    sessions.idle_timeout = gone_after * 2; // the heartbeat comes first
    sessions.udp.receive_buffer_size = Some(4 << 20);
    let udp = at("udp", options.udp, |address| {
        event_loop.bind_sessions_with(address, &sessions, move |_| Some(Device::new(&devices, heartbeat)))
    })?;
    let devices = Rc::clone(&fleet);
    let web = at("web", options.web, |address| {
        event_loop.listen(address, move |_| Some(WebSocket::server(Web::new(&devices))))
    })?;

    // Before anybody is told that it stands: whoever is told may stop it.
    stop_by_signal(event_loop.handle())?;
    let addresses = [event_loop.local_addr(tcp), event_loop.local_addr(udp), event_loop.local_addr(web)];
    for (name, address) in ["tcp", "udp", "web"].into_iter().zip(addresses.into_iter().flatten()) {
        say(format_args!("{name} listening on {address}"));
    }
    say(format_args!("ready"));
    let tally = event_loop.run()?;
    say(format_args!("{}", fleet.report(event_loop.core())));
    stopped(&tally);
    Ok(())
}

fn play(options: &Simulate) -> io::Result<()> {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let mut event_loop = EventLoop::new()?;
    let plan = Rc::new(Plan {
        tcp: options.tcp,
        udp: options.udp,
        interval: options.every,
        readings: options.readings.unwrap_or(u64::MAX),
        silent_from: options.silent_from,
        lossy: options.lossy,
        sent: Default::default(),
    });
    for index in 0..options.devices {
        Simulated::start(event_loop.core(), &plan, index, index < options.silent);
    }
    stop_by_signal(event_loop.handle())?;
    say(format_args!("{} devices play", options.devices));
    let tally = event_loop.run()?;
    say(format_args!("{}", counters::json(&*plan.sent.borrow())));
    stopped(&tally);
    Ok(())
}

fn stopped(Tally { drained, cut_off, took, .. }: &Tally) {
    say(format_args!("stopped: {drained} connections drained, {cut_off} cut off, in {:.3} s", took.as_secs_f64()));
}
