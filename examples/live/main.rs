//! One publishes a moving picture, many watch it: key frames and changes, each viewer as fast as it can.
//!
//! ```text
//! cargo run --release --example live -- --demo         # then open http://127.0.0.1:8082/
//! cargo run --release --example live -- --token SECRET # and publish at ws://127.0.0.1:8082/publish
//! ```
//!
//! | file | what it does |
//! | --- | --- |
//! | `stage.rs` | the latest key frame and what has changed since, the publisher, the viewers |
//! | `demo.rs` | a publisher: Conway's Life in four colours |
//!
//! A frame is a binary message: a byte that is 1 for a key frame, a picture of its own, and 0 for one that changes the
//! frame before; and what publisher and page make of the rest. The server puts the frame's number (8 bytes, big-endian)
//! behind the first byte. Viewers answer each frame with `ok`: no more than `--behind` frames are under way to one, and
//! whoever is further behind than that, or comes late, goes on at the latest key frame.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use switchboard::{EventLoop, Limits, Tally};
use switchboard_websocket::handshake::{NoOrigin, OriginPolicy};
use switchboard_websocket::{Connect, Settings, WebSocket};

#[path = "../common/mod.rs"]
mod common;
mod demo;
mod stage;

use common::{at, note, say, stop_by_signal};
use demo::Demo;
use stage::{Stage, Visitor};

/// A moving picture, from one publisher to many viewers over WebSocket.
///
/// Prints the address it listens on, then `ready`. Ctrl-C says goodbye to everybody and stops; a second one at once.
#[derive(Parser)]
#[command(name = "live")]
struct Options {
    /// Address of the page, of /watch and of /publish; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8082")]
    listen: SocketAddr,
    /// Let who knows this token publish, by `Authorization: Bearer TOKEN`
    #[arg(long, required_unless_present = "demo", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    token: Option<String>,
    /// Publish a picture of its own
    #[arg(long, conflicts_with = "token")]
    demo: bool,
    /// Its frames in a second
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// Which of them are key frames: each so many
    #[arg(long, value_name = "COUNT", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1000))]
    key_every: u32,
    /// Frames that a viewer may be behind before it goes on at the latest key frame
    #[arg(long, value_name = "COUNT", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=1000))]
    behind: u16,
}

fn main() -> ExitCode {
    let Err(error) = serve(Options::parse()) else { return ExitCode::SUCCESS };
    note(format_args!("error: {error}"));
    ExitCode::FAILURE
}

fn serve(options: Options) -> io::Result<()> {
    let _ = rlimit::increase_nofile_limit(u64::MAX); // a viewer is a descriptor; with fewer, some wait
    let mut event_loop =
        EventLoop::with_limits(Limits { high_water: 128 * 1024, low_water: 32 * 1024, ..Limits::default() })?;
    let token = options.token.unwrap_or_else(|| {
        let mut random = [0; 16];
        event_loop.core().random(&mut random);
        random.iter().map(|byte| format!("{byte:02x}")).collect()
    });
    let stage = Rc::new(Stage::new(token.clone(), options.behind));
    let settings = Rc::new(Settings {
        max_message: 1 << 20,
        origins: OriginPolicy::same_origin(NoOrigin::Permit),
        ..Settings::default()
    });
    let shared = Rc::clone(&stage);
    let listener = at("web", options.listen, |address| {
        event_loop.listen(address, move |_| Some(WebSocket::with_settings(Visitor::new(&shared), &settings)))
    })?;
    let address = event_loop.local_addr(listener).unwrap_or(options.listen);
    if options.demo {
        let address = reachable(address);
        let publish = Connect::to(&format!("ws://{address}/publish")).map_err(io::Error::other)?;
        let publish = publish.header("Authorization", format!("Bearer {token}"));
        event_loop.connect(address, WebSocket::client(publish, Demo::new(options.rate, options.key_every)));
    }

    stop_by_signal(event_loop.handle())?;
    say(format_args!("web listening on {address}"));
    say(format_args!("ready"));
    let Tally { drained, cut_off, .. } = event_loop.run()?;
    say(format_args!("stopped: {} frames shown, {drained} connections drained, {cut_off} cut off", stage.count()));
    Ok(())
}

/// The address by which this host reaches what listens on it.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}
