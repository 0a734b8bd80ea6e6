//! Remote procedure calls from server to server: requests and replies over one connection, in any order.
//!
//! ```text
//! cargo run --example rpc -- serve 127.0.0.1:7200
//! cargo run --example rpc -- call localhost:7200 add '[2, 3]'
//! cargo run --example rpc -- call localhost:7200 sleep '[500, "awake"]' --timeout 200ms
//! cargo run --example rpc -- load localhost:7200 --calls 10000
//! printf '{"id":1,"method":"add","params":[2,3]}\n' | nc -N 127.0.0.1 7200
//! ```
//!
//! | file | what it does |
//! | --- | --- |
//! | `wire.rs` | requests and replies as lines of JSON |
//! | `service.rs` | the server's protocol: the methods |
//! | `caller.rs` | the client's protocol: which reply belongs to which call, timeouts, lost connections |
//! | `client.rs` | calls from threads and tokio tasks; connects again by itself |

use std::fmt::Arguments;
use std::io::{self, Write};
use std::net::ToSocketAddrs;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use switchboard::{Backoff, EventLoop, Handle, Target};

mod caller;
mod client;
mod service;
mod wire;

use caller::CallError;
use client::{Ask, Client};
use service::Service;

/// Serves and makes remote procedure calls.
///
/// Methods: `add` takes integers, `echo` anything, `sleep` [milliseconds, what to answer], `fail` a text.
#[derive(Parser)]
#[command(name = "rpc")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves until Ctrl-C, which lets what is under way be answered
    Serve {
        /// Address to listen on; port 0 takes a free one
        address: String,
        /// Requests under way on a connection
        #[arg(long, value_name = "COUNT", default_value_t = 16_384)]
        in_flight: usize,
        /// How long what is under way has to be answered after Ctrl-C
        #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
        grace: Duration,
    },
    /// Makes one call and prints its result; exits with 1 if there is none
    Call {
        /// The server's host and port
        target: Target,
        method: String,
        /// JSON
        #[arg(default_value = "null", value_parser = |text: &str| serde_json::from_str::<Value>(text))]
        params: Value,
        /// How long it may take, connecting included
        #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
        timeout: Duration,
        /// Send it again if the connection is lost: carrying it out twice does no harm
        #[arg(long)]
        idempotent: bool,
    },
    /// Makes many calls at once, half of them from threads and half from tokio tasks, and checks every reply
    Load {
        /// The server's host and port
        target: Target,
        #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
        calls: u32,
        #[arg(long, value_name = "COUNT", default_value_t = 8)]
        threads: u32,
    },
}

fn main() -> ExitCode {
    let ended = match Options::parse().command {
        Command::Serve { address, in_flight, grace } => serve(&address, in_flight, grace),
        Command::Call { target, method, params, timeout, idempotent } => {
            call(target, Ask { method, params, timeout, idempotent })
        }
        Command::Load { target, calls, threads } => load(target, calls, threads.max(1)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Part of it may be the server's words: no control characters, which a terminal would obey.
            let _ = writeln!(io::stderr(), "error: {}", error.to_string().replace(char::is_control, " "));
            ExitCode::FAILURE
        }
    }
}

fn serve(address: &str, in_flight: usize, grace: Duration) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"));
    let addresses: Vec<_> = address.to_socket_addrs().map_err(named)?.collect();
    let mut event_loop = EventLoop::new()?;
    let listener = event_loop.listen(&*addresses, move |_| Some(Service::new(in_flight))).map_err(named)?;
    stop_on_signals(event_loop.handle(), grace)?;
    if let Some(address) = event_loop.local_addr(listener) {
        say(format_args!("rpc listening on {address}"));
    }
    let tally = event_loop.run()?;
    say(format_args!("stopped: {} connections drained, {} cut off", tally.drained, tally.cut_off));
    Ok(())
}

/// The first signal drains the loop, the second ends it.
fn stop_on_signals(handle: Handle, grace: Duration) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::spawn(move || {
        for (count, _) in signals.forever().enumerate() {
            let _ = if count == 0 { handle.shutdown(grace) } else { handle.stop() };
        }
    });
    Ok(())
}

/// Quick enough for a person, or for a server that is being restarted.
fn backoff() -> Backoff {
    Backoff { first: Duration::from_millis(100), most: Duration::from_secs(5), ..Backoff::default() }
}

fn call(target: Target, ask: Ask) -> io::Result<()> {
    let (client, _) = Client::start(target, backoff())?;
    let result = client.call(ask).map_err(io::Error::other)?;
    say(format_args!("{result}"));
    Ok(())
}

/// A call whose reply is its number, in an order that is not that of the calls.
fn numbered(number: u32) -> Ask {
    let params = json!([200 + number % 100, number]);
    Ask { method: "sleep".to_owned(), params, timeout: Duration::from_secs(30), idempotent: false }
}

fn load(target: Target, calls: u32, threads: u32) -> io::Result<()> {
    let (client, _) = Client::start(target, backoff())?;
    let (by_threads, mut wrong) = (calls / 2, 0);
    let workers: Vec<_> = (0..threads)
        .map(|worker| {
            let client = client.clone();
            thread::spawn(move || from_thread(&client, (worker..by_threads).step_by(threads as usize)))
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    wrong += runtime.block_on(from_tasks(&client, by_threads..calls));
    for worker in workers {
        wrong += worker.join().map_err(|_| io::Error::other("a thread panicked"))?;
    }
    client.stop();
    say(format_args!("{} of {calls} calls got their replies", calls - wrong));
    if wrong == 0 { Ok(()) } else { Err(io::Error::other(format!("{wrong} did not"))) }
}

/// Begins all calls, then takes the replies as they come; says how many were wrong.
fn from_thread(client: &Client, numbers: impl Iterator<Item = u32>) -> u32 {
    let (sender, receiver) = mpsc::channel();
    for number in numbers {
        let sender = sender.clone();
        client.begin(numbered(number), move |result| drop(sender.send((number, result))));
    }
    drop(sender);
    receiver.iter().map(|(number, result)| wrong(number, &result)).sum()
}

/// A task a call.
async fn from_tasks(client: &Client, numbers: impl Iterator<Item = u32>) -> u32 {
    let mut tasks = tokio::task::JoinSet::new();
    for number in numbers {
        let client = client.clone();
        tasks.spawn(async move { wrong(number, &client.call_async(numbered(number)).await) });
    }
    tasks.join_all().await.into_iter().sum()
}

fn wrong(number: u32, result: &Result<Value, CallError>) -> u32 {
    u32::from(*result != Ok(json!(number)))
}

/// Prints a line, at once. Nobody reading it any more is no reason to stop.
fn say(line: Arguments<'_>) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
