//! A line client for TCP, Unix sockets and UDP: it connects, sends, prints what comes back, and exits.
//!
//! ```text
//! cargo run --example client -- localhost:7000 hello world
//! cargo run --example client -- unix:/run/user/1000/server.sock hello world
//! cargo run --example client -- --retry localhost:7000 hello, once you are there
//! cargo run --example client -- --udp 127.0.0.1:7001 < lines.txt
//! ```

use std::io::{self, BufRead, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::{cell::Cell, cell::RefCell, error::Error, process::ExitCode, rc::Rc, time::Duration, vec};

use clap::Parser;
use switchboard::{
    Backoff, CloseReason, Context, Core, Datagram, DatagramContext, DatagramProtocol, EventLoop, Failure, Input,
    Limits, Protocol, Reconnect, Retry, Target, TimerId,
};
use switchboard_heartbeat::IdleTimeout;

/// Sends lines to a peer and prints what it answers.
///
/// Over TCP or a Unix socket, this side half-closes after the last line and waits for the peer to close. Over UDP each line is a
/// datagram, sent when the one before is answered. Exits with 0 if the peer closed in order or answered everything,
/// with 1 if not, and with 2 for a mistake in the arguments.
#[derive(Parser)]
#[command(name = "client")]
struct Options {
    /// Speak UDP
    #[arg(long)]
    udp: bool,
    /// Try again, after a while, until the peer can be reached
    #[arg(long, conflicts_with = "udp")]
    retry: bool,
    /// Give up when nothing comes for so long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// The peer: an address or a host name, and a port; or unix: and the path of a socket
    #[arg(value_name = "HOST:PORT")]
    peer: Target,
    /// What to send; read from the standard input if there is none
    #[arg(value_name = "LINE")]
    lines: Vec<String>,
}

/// Where datagrams go. Looking a name up blocks, as reading the lines does: both are done before the loop starts.
fn address_of(target: &Target) -> Result<SocketAddr, Box<dyn Error>> {
    match target {
        Target::Address(address) => Ok(*address),
        Target::Name { host, port } => {
            (host.as_str(), *port).to_socket_addrs()?.next().ok_or_else(|| "the host has no address".into())
        }
        _ => Err("datagrams can't go there".into()),
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let peer = options.peer.clone();
    let Err(trouble) = talk(options) else { return ExitCode::SUCCESS };
    eprintln!("error: {peer}: {trouble}");
    ExitCode::FAILURE
}

fn talk(Options { udp, retry, timeout, peer, lines }: Options) -> Result<(), Box<dyn Error>> {
    let mut lines: Vec<_> = lines.into_iter().map(String::into_bytes).collect();
    if lines.is_empty() {
        lines = io::stdin().lock().split(b'\n').collect::<Result<_, _>>()?;
    }
    let mut event_loop = EventLoop::with_limits(Limits { connect_timeout: timeout, ..Limits::default() })?;
    let trouble = Rc::default();
    let talk = Talk { lines: lines.into_iter(), timeout, timer: None, trouble: Rc::clone(&trouble) };
    if udp {
        let peer = address_of(&peer)?;
        event_loop.bind_udp(if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }, Udp(talk, peer))?;
    } else {
        connect(event_loop.core(), peer, talk, retry);
    }
    event_loop.run()?;
    trouble.take().map_or(Ok(()), |trouble: String| Err(trouble.into()))
}

/// Connects; again and again if it is to `retry`, but not once a connection stood: what became of the lines sent on it
/// nobody knows.
fn connect(core: &mut Core, peer: Target, talk: Talk, retry: bool) {
    let timeout = talk.timeout;
    let talk = Rc::new(RefCell::new(talk));
    let said = Rc::clone(&talk);
    Reconnect::new(&peer, move |_| IdleTimeout::new(timeout).around(Tcp(Rc::clone(&said))))
        .backoff(Backoff { first: Duration::from_millis(500), most: Duration::from_secs(10), ..Backoff::default() })
        .decide(move |ended| {
            if !retry || ended.stood.is_some() {
                return Retry::No;
            }
            eprintln!("{peer}: {}; trying again", ended.reason);
            Retry::of(ended.reason)
        })
        .when_over(move |core, reason| talk.borrow().ended(core, reason))
        .start(core);
}

/// What is to be said, by either protocol.
struct Talk {
    lines: vec::IntoIter<Vec<u8>>,
    timeout: Duration,
    timer: Option<TimerId>,
    trouble: Rc<Cell<Option<String>>>,
}

impl Talk {
    /// The end: the loop has nothing else to do.
    fn ended(&self, core: &mut Core, reason: &CloseReason) {
        self.trouble.set((!reason.is_clean()).then(|| reason.to_string()));
        core.shutdown(Duration::ZERO);
    }
}

fn print(bytes: &[u8]) -> io::Result<()> {
    let printed = io::stdout().write_all(bytes).and_then(|()| io::stdout().flush());
    printed.map_err(|error| io::Error::new(error.kind(), format!("cannot print the answer: {error}")))
}

struct Tcp(Rc<RefCell<Talk>>);

impl Protocol for Tcp {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.on_drain(cx)
    }

    /// Sends while there is room, and half-closes after the last line.
    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        while cx.has_room() {
            let Some(line) = self.0.borrow_mut().lines.next() else {
                cx.finish();
                break;
            };
            cx.send(&[&*line, b"\n"].concat());
        }
        Ok(())
    }

    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        Ok(print(input.take_all())?)
    }
}

struct Udp(Talk, SocketAddr);

impl DatagramProtocol for Udp {
    fn on_open(&mut self, cx: &mut DatagramContext<'_>) -> Result<(), Failure> {
        match self.0.lines.next() {
            Some(line) => cx.send_to(self.1, &line),
            None => cx.close(),
        }
        self.0.timer = Some(cx.set_timer(self.0.timeout));
        Ok(())
    }

    fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, datagram: Datagram<'_>) -> Result<(), Failure> {
        if datagram.source != self.1 {
            return Ok(()); // anybody can send to a UDP socket
        }
        print(&[&*datagram.payload, b"\n"].concat())?;
        self.0.timer.take().map(|timer| cx.cancel_timer(timer));
        self.on_open(cx) // on to the next line
    }

    fn on_timer(&mut self, _: &mut DatagramContext<'_>, _: TimerId) -> Result<(), Failure> {
        Err(Failure::peer(format!("nothing came for {:?}", self.0.timeout)))
    }

    fn on_close(&mut self, core: &mut Core, reason: &CloseReason) {
        self.0.ended(core, reason);
    }
}
