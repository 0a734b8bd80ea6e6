//! Files over TCP: an interrupted transfer goes on where it was, and what arrives is what was sent.
//!
//! ```text
//! cargo run --release --example file_transfer -- serve . --address 127.0.0.1:7100
//! cargo run --release --example file_transfer -- get localhost:7100/Cargo.lock -o /tmp/lock    # Ctrl-C, and again
//! ```
//!
//! | file | what it does |
//! | --- | --- |
//! | `files.rs` | which files may be had |
//! | `sending.rs` | the server's protocol: sends a file as the client takes it |
//! | `fetching.rs` | the client's protocol: keeps it in `FILE.part`, checks its digest, gives it its name |
//!
//! What a client has already is compared by its SHA-256: where the file has changed since, or what is there was
//! damaged, it starts again. The digest of the whole file comes behind it.

use std::cell::RefCell;
use std::fmt::Arguments;
use std::io::{self, Write};
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use switchboard::{Backoff, EventLoop, Handle, Limits, Reconnect, Retry, Target};
use switchboard_heartbeat::IdleTimeout;

mod fetching;
mod files;
mod sending;

use fetching::{Download, Fetching};
use sending::Sending;

/// Serves files, and gets them.
#[derive(Parser)]
#[command(name = "file_transfer")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the files below a directory until Ctrl-C, which gives transfers the time to end
    Serve {
        directory: PathBuf,
        /// Address to listen on; port 0 takes a free one
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7100")]
        address: String,
        /// Clients at a time; further ones wait
        #[arg(long, value_name = "COUNT", default_value_t = 256)]
        connections: usize,
        /// Silence after which a client is given up
        #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
        timeout: Duration,
        /// How long transfers have to end after Ctrl-C
        #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
        grace: Duration,
    },
    /// Gets a file; one that was got in part before is got from there on
    Get {
        /// Host, port and name
        #[arg(value_name = "HOST:PORT/NAME", value_parser = source)]
        source: (Target, String),
        /// Where to put it [default: the name's last part]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Largest file to accept
        #[arg(long, value_name = "SIZE", default_value = "1TiB")]
        max_size: ByteSize,
        /// Silence after which the server is given up
        #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
        timeout: Duration,
        /// Attempts after one that failed, since anything came
        #[arg(long, value_name = "COUNT", default_value_t = 10)]
        retries: u32,
    },
}

fn main() -> ExitCode {
    let ended = match Options::parse().command {
        Command::Serve { directory, address, connections, timeout, grace } => {
            serve(&directory, &address, connections, timeout, grace)
        }
        Command::Get { source: (target, name), output, max_size, timeout, retries } => {
            let path = output.unwrap_or_else(|| PathBuf::from(Path::new(&name).file_name().unwrap_or_default()));
            get(target, &name, &path, max_size.as_u64(), timeout, retries)
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Takes `HOST:PORT/NAME` apart.
fn source(text: &str) -> Result<(Target, String), String> {
    let (target, name) = text.split_once('/').ok_or("no /NAME")?;
    if !files::is_plain(Path::new(name)) || name.contains('\n') {
        return Err("a name is parts below the directory".to_owned());
    }
    Ok((target.parse().map_err(|error| format!("{target}: {error}"))?, name.to_owned()))
}

fn serve(directory: &Path, address: &str, connections: usize, timeout: Duration, grace: Duration) -> io::Result<()> {
    let at = |what: &str, error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"));
    let root: Rc<Path> = directory.canonicalize().map_err(|error| at(&directory.display().to_string(), error))?.into();
    std::fs::read_dir(&root).map_err(|error| at(&directory.display().to_string(), error))?;
    let refused = |error| at(&format!("cannot listen on {address}"), error);
    let addresses: Vec<_> = address.to_socket_addrs().map_err(refused)?.collect();
    let mut event_loop = EventLoop::with_limits(Limits { connections, write_stall: timeout, ..Limits::default() })?;
    let listener = event_loop
        .listen(&*addresses, move |_| Some(IdleTimeout::new(timeout).around(Sending::new(&root))))
        .map_err(refused)?;
    stop_on_signals(event_loop.handle(), grace)?;
    if let Some(address) = event_loop.local_addr(listener) {
        say(format_args!("serving {} on {address}", directory.display()));
    }
    let tally = event_loop.run()?;
    let (opened, bytes) = (tally.counters.opened, tally.counters.bytes_out);
    say(format_args!("stopped: {opened} transfers, {bytes} bytes sent, {} cut off", tally.cut_off));
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

/// Gets a file, over as many connections as it takes. Ctrl-C needs no care: what is there is there.
fn get(target: Target, name: &str, path: &Path, most: u64, timeout: Duration, retries: u32) -> io::Result<()> {
    let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    let bar = ProgressBar::no_length().with_style(style.map_err(io::Error::other)?);
    let download = Rc::new(RefCell::new(Download::new(name, path, most, bar)?));
    let mut event_loop = EventLoop::with_limits(Limits { connect_timeout: timeout, ..Limits::default() })?;
    let (fetched, decided, over) = (Rc::clone(&download), Rc::clone(&download), Rc::clone(&download));
    let (first, most) = (Duration::from_millis(200), Duration::from_secs(10));
    let peer = target.to_string();
    Reconnect::new(target, move |_| IdleTimeout::new(timeout).around(Fetching::new(&fetched)))
        .backoff(Backoff { first, most, retries: Some(retries), ..Backoff::default() })
        .decide(move |ended| {
            let mut download = decided.borrow_mut();
            ended.healthy = download.has_progressed();
            if download.ended.is_some() {
                return Retry::No;
            }
            download.note(&format!("{peer}: {}", ended.reason));
            Retry::of(ended.reason)
        })
        .when_over(move |core, reason| {
            over.borrow_mut().ended.get_or_insert_with(|| Err(format!("given up: {reason}")));
            core.shutdown(Duration::ZERO);
        })
        .start(event_loop.core());
    event_loop.run()?;
    let ended = download.borrow_mut().ended.take();
    ended.unwrap_or_else(|| Err("interrupted".to_owned())).map_err(io::Error::other)?;
    say(format_args!("{}", path.display()));
    Ok(())
}

/// Prints a line, at once. Nobody reading it any more is no reason to stop.
fn say(line: Arguments<'_>) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
