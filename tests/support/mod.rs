//! Example programs as child processes, and waits with a deadline.

#![allow(dead_code, reason = "no test program uses all of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long any one thing may take on a busy machine. No test waits for it to pass.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The names the server gives its endpoints, in their order.
pub(crate) const NAMES: [&str; 4] = ["tcp-echo", "udp-echo", "heartbeat", "websocket"];

#[expect(clippy::disallowed_methods, reason = "a test of a real process measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// An example's binary: where cargo puts it, seen from the test's own, wherever the target directory is.
///
/// # Panics
/// If it was not built: `cargo test` without a selection builds all examples.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of the test");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("target/<profile>/deps");
    let path = profile.join("examples").join(name);
    assert!(path.exists(), "{} is not there: run `cargo build --examples` first", path.display());
    path
}

/// A running program. Killed when dropped.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
    errors: Receiver<String>,
}

impl Program {
    /// Starts an example.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(example(name));
        command.args(arguments);
        Self::spawn(command)
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program to start");
        let lines = lines_of(child.stdout.take().expect("a pipe"));
        let errors = lines_of(child.stderr.take().expect("a pipe"));
        Self { child, lines, errors }
    }

    /// Writes to its standard input, and closes it.
    pub(crate) fn input(&mut self, bytes: &[u8]) {
        let mut stdin = self.child.stdin.take().expect("a pipe not closed yet");
        stdin.write_all(bytes).expect("the program to read its input");
    }

    /// Its next line on the standard output.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).unwrap_or_else(|error| panic!("no line: {error}; stderr: {:?}", self.said()))
    }

    /// What it says on its next line that it listens on, by this name.
    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        let line = self.line();
        let address = line.strip_prefix(&format!("{name} listening on ")).unwrap_or_else(|| panic!("{line:?}"));
        address.parse().expect("an address")
    }

    /// Its next line on the standard error.
    pub(crate) fn error_line(&self) -> String {
        self.errors.recv_timeout(DEADLINE).expect("a line on the standard error")
    }

    fn said(&self) -> Vec<String> {
        self.errors.try_iter().collect()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("the process to be there");
    }

    /// Waits for its end, and gives what it had still to say on its standard output and error.
    pub(crate) fn finish(&mut self) -> Finished {
        let (stdout, stderr) = (rest(&self.lines), rest(&self.errors));
        let end = now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the process to be ours") {
                return Finished { status, stdout, stderr };
            }
            assert!(now() < end, "its output is closed, but the process goes on");
            thread::yield_now();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a program ended.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

fn rest(lines: &Receiver<String>) -> Vec<String> {
    let mut rest = Vec::new();
    loop {
        match lines.recv_timeout(DEADLINE) {
            Ok(line) => rest.push(line),
            Err(RecvTimeoutError::Disconnected) => return rest,
            Err(RecvTimeoutError::Timeout) => panic!("the program goes on, after {rest:?}"),
        }
    }
}

/// The server example, on free ports.
pub(crate) struct Server {
    pub(crate) program: Program,
    addresses: [SocketAddr; 4],
}

impl Server {
    /// Starts it with these arguments besides the addresses, and waits until it is ready.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(example("server"));
        command.args(arguments);
        Self::spawn(command)
    }

    /// As [`start`](Self::start), by a command that the addresses are added to.
    pub(crate) fn spawn(mut command: Command) -> Self {
        for name in NAMES {
            command.args([&format!("--{name}"), "127.0.0.1:0"]);
        }
        let program = Program::spawn(command);
        let addresses = NAMES.map(|name| program.address(name));
        assert_eq!(program.line(), "ready");
        Self { program, addresses }
    }

    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        self.addresses[NAMES.iter().position(|known| *known == name).expect("a name of the server's")]
    }

    /// A TCP connection to one of its ports, on which no read or write waits for ever.
    pub(crate) fn connect(&self, name: &str) -> TcpStream {
        let stream = TcpStream::connect_timeout(&self.address(name), DEADLINE).expect("the server to accept");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
        stream
    }
}

/// `EXAMPLE … --help` tells all this.
#[track_caller]
pub(crate) fn assert_help_tells(example: &str, arguments: &[&str], told: &[&str]) {
    let Finished { status, stdout, .. } = Program::start(example, &[arguments, &["--help"]].concat()).finish();
    let help = stdout.join("\n");
    assert_eq!(status.code(), Some(0));
    for told in told {
        assert!(help.contains(told), "{told}: {help}");
    }
}

/// The example says nothing but an error, which names what is wrong, and exits with this code. Gives what it said.
#[track_caller]
pub(crate) fn assert_refused(example: &str, arguments: &[&str], code: i32, named: &str) -> Vec<String> {
    let Finished { status, stdout, stderr } = Program::start(example, arguments).finish();
    assert_eq!((status.code(), stdout), (Some(code), vec![]), "{arguments:?}");
    let said = stderr.join("\n");
    assert!(said.starts_with("error: ") && said.contains(named), "{arguments:?}: {said}");
    stderr
}
