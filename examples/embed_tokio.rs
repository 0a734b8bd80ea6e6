//! Switchboard beside tokio, on one thread: its connections, and tasks that wait for whatever tasks wait for.
//!
//! ```text
//! cargo run --example embed_tokio
//! cargo run --example client -- 127.0.0.1:7040 "0 at once" "500 after half a second"
//! ```
//!
//! Each line is a job: a number of milliseconds, and a text. A task waits that long, as it would for a database, and
//! answers with the text. What passes between the two worlds:
//!
//! - `drive`: the network is a future of the runtime's, by its descriptor and its next deadline.
//! - A protocol gives jobs to tasks by a channel of tokio's; tasks answer by [`Handle::post`].
//! - A task asks the network by [`Handle::run`], and awaits the answer on a channel of tokio's: see `report`.
//!
//! Where the runtime has several threads the network stays on one of them: give it a `LocalSet`, or a thread of its own
//! and no `drive`; all the rest is the same.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use switchboard::{Bytes, ConnectionId, Context, EventLoop, Failure, Handle, Input, Message, Protocol, Tally};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time;

#[path = "common/mod.rs"]
#[allow(dead_code, reason = "no page here")]
mod common;

use common::{at, note, say, stop_by_signal};

/// A tokio program that serves TCP: each line `MILLISECONDS TEXT` is answered with its text, so much later.
///
/// Prints `listening on ADDRESS`, then a line of figures now and then. Ctrl-C or SIGTERM lets everybody say goodbye.
#[derive(Parser)]
#[command(name = "embed_tokio")]
struct Options {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7040")]
    listen: SocketAddr,
    /// How often to print the figures
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    every: Duration,
}

/// Jobs that are being done, and as many that wait for it. Who finds no room for one more is told so.
const JOBS: usize = 10_000;
/// The longest line.
const LINE: usize = 1000;

/// What a client asked for.
struct Job {
    client: ConnectionId,
    wait: Duration,
    text: Bytes,
}

/// Makes lines into jobs, and messages into answers.
struct Client(mpsc::Sender<Job>);

impl Protocol for Client {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
            let line = String::from_utf8_lossy(input.take(end + 1)).into_owned();
            let (wait, text) = line.split_once(' ').unwrap_or((&line, "\n"));
            match wait.trim().parse() {
                Ok(wait) => {
                    let text = Bytes::from(text.to_owned());
                    let job = Job { client: cx.id(), wait: Duration::from_millis(wait), text };
                    if self.0.try_send(job).is_err() {
                        cx.send(b"ERR too many jobs, try later\n");
                    }
                }
                Err(error) => cx.send(format!("ERR {wait:?}: {error}\n").as_bytes()),
            }
        }
        if input.len() > LINE {
            cx.send(b"ERR line too long\n");
            return Err(Failure::peer("line too long"));
        }
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        if let Message::Bytes(answer) = message {
            cx.send_shared(answer);
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(serve(&options))) {
        Ok((tally, turns)) => {
            let (opened, bytes) = (tally.counters.opened, tally.counters.bytes_in);
            say(format_args!("served {opened} connections, {bytes} bytes in {turns} turns"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            note(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn serve(options: &Options) -> io::Result<(Tally, u64)> {
    let mut network = EventLoop::new()?;
    let (sender, jobs) = mpsc::channel(JOBS);
    let factory = move |_: &_| Some(Client(sender.clone()));
    let listener = at("the network", options.listen, |address| network.listen(address, factory))?;
    stop_by_signal(network.handle())?;
    tokio::spawn(dispatch(jobs, network.handle()));
    tokio::spawn(report(network.handle(), options.every));
    say(format_args!("listening on {}", network.local_addr(listener).unwrap_or(options.listen)));
    drive(network).await
}

/// Runs the network until it has drained, and says how many turns that took.
async fn drive(network: EventLoop) -> io::Result<(Tally, u64)> {
    #[allow(
        deprecated,
        reason = "the other way is unsafe; what it asks for is so: the descriptor lives as long as the loop"
    )]
    let mut network = AsyncFd::with_interest(network, Interest::READABLE)?;
    let mut turns = 0;
    loop {
        let inner = network.get_mut();
        if let Some(tally) = inner.tally() {
            return Ok((tally, turns));
        }
        let sleep = inner.next_deadline().map(|due| due.saturating_since(inner.now()));
        tokio::select! {
            ready = network.readable_mut() => {
                let mut ready = ready?;
                ready.get_inner_mut().turn(Some(Duration::ZERO))?;
                // Only the edge is told, and that was served; if it was too much for one turn, the deadline is now.
                ready.clear_ready();
            }
            () = time::sleep(sleep.unwrap_or_default()), if sleep.is_some() => {
                network.get_mut().turn(Some(Duration::ZERO))?;
            }
        }
        turns += 1;
        tokio::task::yield_now().await; // the tasks' turn, however much there is for the network
    }
}

/// Gives each job a task.
async fn dispatch(mut jobs: mpsc::Receiver<Job>, handle: Handle) {
    let places = Arc::new(Semaphore::new(JOBS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await
        && let Some(Job { client, wait, text }) = jobs.recv().await
    {
        let handle = handle.clone();
        tokio::spawn(async move {
            let _place = place; // until it is done
            time::sleep(wait).await;
            // A client that has gone gets no answer: its loop counts that.
            let mut answer = Message::from(text);
            while let Err(undelivered) = handle.post(client, answer) {
                if matches!(undelivered, switchboard::Undelivered::Ended(_)) {
                    return;
                }
                answer = undelivered.into_inner(); // the loop's queue is full: it has its turn first
                tokio::task::yield_now().await;
            }
        });
    }
}

/// Asks the network how it is, and prints that.
async fn report(handle: Handle, every: Duration) {
    let mut ticks = time::interval(every.max(Duration::from_millis(1))); // none may be without a pause
    ticks.tick().await; // the first comes at once
    loop {
        ticks.tick().await;
        let (sender, answer) = oneshot::channel();
        let asked = handle.run(move |core| {
            let _ = sender.send(core.counters());
        });
        // Not asked, if the loop has ended or has too much to do; not answered, if it ends meanwhile.
        if let (Ok(()), Ok(counters)) = (asked, answer.await) {
            let (connected, undelivered) = (counters.open(), counters.messages_undelivered);
            say(format_args!("{connected} connected, {} bytes in, {undelivered} undelivered", counters.bytes_in));
        }
    }
}
