//! Both ends of a WebSocket in one program, for the conformance tests of Autobahn|Testsuite: a server that repeats what
//! it is told, and a client that connects to the suite, case after case, and does the same.
//!
//! ```text
//! cargo run --release --example autobahn -- server 127.0.0.1:9002    # for wstest -m fuzzingclient
//! cargo run --release --example autobahn -- client ws://127.0.0.1:9001    # with wstest -m fuzzingserver
//! ```
//!
//! `tests/conformance/run` does both, and checks what the suite reports.

use std::error::Error;
use std::fmt::Arguments;
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::{cell::Cell, process::ExitCode, rc::Rc, time::Duration};

use clap::{Parser, Subcommand};
use switchboard::{CloseReason, Closing, Core, EventLoop, Failure, Limits};
use switchboard_websocket::deflate::{Compression, Memory};
use switchboard_websocket::handshake::Url;
use switchboard_websocket::{Accept, Closed, Connect, Handler, Message, Peer, Request, Response, Settings, WebSocket};

/// A WebSocket server and client that echo, for the conformance tests of Autobahn|Testsuite.
///
/// Exits with 0 if all went well, with 1 if not, and with 2 for a mistake in the arguments.
#[derive(Parser)]
#[command(name = "autobahn")]
struct Options {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Wait for the suite (its fuzzingclient), and repeat every message. Ends by Ctrl-C
    Server {
        /// Where to listen; port 0 takes a free one
        #[arg(value_name = "ADDR", value_parser = |address: &str| resolve(address))]
        address: SocketAddr,
    },
    /// Run every case of a suite that waits (its fuzzingserver), and have it write its reports
    Client {
        /// Where the suite is, such as ws://127.0.0.1:9001
        #[arg(value_name = "URL", value_parser = Connect::to)]
        suite: Connect,
        /// What the reports call this program
        #[arg(long, value_name = "NAME", default_value = "switchboard")]
        agent: String,
    },
}

/// Asks for a host's address. That blocks, but there is no loop yet.
fn resolve(host_and_port: impl ToSocketAddrs) -> Result<SocketAddr, String> {
    let mut addresses = host_and_port.to_socket_addrs().map_err(|error| error.to_string())?;
    addresses.next().ok_or_else(|| "the host has no address".to_owned())
}

fn main() -> ExitCode {
    let result = match Options::parse().role {
        Role::Server { address } => serve(address),
        Role::Client { suite, agent } => ask(suite.url(), agent),
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

/// A loop that has room for an echo of the longest message. Everything is compressed, however short, and refers back to
/// what was sent before unless the peer asks not to. No pings: the suite would take them for a part of the conversation.
/// Time to shake hands: it answers late when it writes its reports.
fn set_up() -> io::Result<(EventLoop, Rc<Settings>)> {
    const MIB: usize = 1024 * 1024;
    let event_loop = EventLoop::with_limits(Limits { send_buffer: 65 * MIB, ..Limits::default() })?;
    let own = Memory::Dedicated;
    let compression = Compression { compressor: own, decompressor: own, threshold: 0, ..Compression::default() };
    let settings = Settings {
        max_message: 64 * MIB,
        handshake_timeout: Duration::from_secs(120),
        heartbeat: None,
        compression: Some(compression),
        ..Settings::default()
    };
    Ok((event_loop, Rc::new(settings)))
}

/// Prints a line. Nobody reading it any more is no reason to stop.
fn say(line: Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn serve(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let (mut event_loop, settings) = set_up()?;
    let listener = event_loop
        .listen(address, move |_peer| Some(WebSocket::with_settings(Echo, &settings)))
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    say(format_args!("listening on {}", event_loop.local_addr(listener).unwrap_or(address)));
    event_loop.run()?;
    Ok(())
}

/// The server's side of a connection.
struct Echo;

impl Handler for Echo {
    fn on_handshake(&mut self, _: &mut Peer<'_, '_>, request: &Request<'_>) -> Result<Accept, Response> {
        if request.path() == "/" { Ok(Accept::new()) } else { Err(Response::text(404, "the echo is at /\n")) }
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        peer.send(message);
        Ok(())
    }
}

fn ask(url: &Url, agent: String) -> Result<(), Box<dyn Error>> {
    let address = resolve((url.host(), url.port()))?;
    let url = url.to_string().trim_end_matches('/').to_owned();
    let (mut event_loop, settings) = set_up()?;
    let suite = Rc::new(Suite { url, agent, address, settings, trouble: Cell::default() });
    suite.begin(event_loop.core(), Step::Count(None));
    event_loop.run()?;
    suite.trouble.take().map_or(Ok(()), |trouble| Err(trouble.into()))
}

/// What all connections to the suite share.
struct Suite {
    url: String,
    agent: String,
    address: SocketAddr,
    settings: Rc<Settings>,
    trouble: Cell<Option<String>>,
}

/// What a connection is for. When it ends, the next one begins.
enum Step {
    /// To hear how many cases there are.
    Count(Option<u32>),
    /// To do as the case asks.
    Case { number: u32, count: u32 },
    /// To have the reports written.
    Report,
}

impl Suite {
    fn begin(self: &Rc<Self>, core: &mut Core, step: Step) {
        let Self { url, agent, .. } = &**self;
        let url = match step {
            Step::Count(_) => format!("{url}/getCaseCount"),
            Step::Case { number, .. } => format!("{url}/runCase?case={number}&agent={agent}"),
            Step::Report => format!("{url}/updateReports?agent={agent}"),
        };
        match Connect::to(&url) {
            Ok(connect) => {
                let conversation = Conversation { suite: Rc::clone(self), step, url };
                core.connect(self.address, WebSocket::client_with_settings(connect, conversation, &self.settings));
            }
            Err(error) => self.end(core, Some(format!("{url}: {error}"))),
        }
    }

    fn end(&self, core: &mut Core, trouble: Option<String>) {
        self.trouble.set(trouble);
        core.shutdown(Duration::ZERO);
    }
}

/// The client's side of a connection.
struct Conversation {
    suite: Rc<Suite>,
    step: Step,
    url: String,
}

impl Handler for Conversation {
    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        match (&mut self.step, message) {
            (Step::Case { .. }, message) => peer.send(message),
            (Step::Count(count), Message::Text(text)) => *count = Some(text.parse()?),
            _ => return Err(Failure::peer("nothing was asked that this could answer")),
        }
        Ok(())
    }

    /// On to the next step. How a case ended is the suite's to judge.
    fn on_close(&mut self, cx: &mut Closing<'_>, closed: &Closed<'_>) {
        let (number, count) = match self.step {
            Step::Count(Some(count)) => (0, count),
            Step::Case { number, count } => (number, count),
            Step::Report if closed.clean => return self.suite.end(cx, None),
            Step::Count(None) | Step::Report => {
                return self.suite.end(cx, Some(format!("{}: no answer: {}", self.url, closed.cause)));
            }
        };
        if number > 0 {
            say(format_args!("case {number} of {count}: closed with {}, {}", closed.code, closed.cause));
        }
        self.suite.begin(cx, if number < count { Step::Case { number: number + 1, count } } else { Step::Report });
    }

    /// The suite is not there, or no suite: nothing that follows would go better.
    fn on_failed(&mut self, cx: &mut Closing<'_>, cause: &CloseReason) {
        self.suite.end(cx, Some(format!("{}: {cause}", self.url)));
    }
}
