//! Clients by the thousand, in a process of their own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use crate::common::{PATIENCE, finish, tcp};
use crate::gauge::need_descriptors;

/// What marks this program's own lines among those of the test runner.
const MARK: &str = "@ ";

/// Another process of this program, which runs one ignored test and does what it is told.
pub(crate) struct Process {
    child: Child,
    orders: ChildStdin,
    replies: Receiver<String>,
}

impl Process {
    /// Starts it; `arguments` reach it as environment.
    pub(crate) fn start(test: &str, arguments: &[(&str, String)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
            .envs(arguments.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let (sender, replies) = mpsc::channel();
        thread::spawn(move || {
            for line in lines {
                if let Some((_, reply)) = line.split_once(MARK) {
                    let _ = sender.send(reply.to_owned()); // nobody listens any more if a test failed
                }
            }
        });
        Self { child, orders, replies }
    }

    /// Waits for its next line.
    pub(crate) fn reply(&mut self) -> String {
        self.replies.recv_timeout(PATIENCE).expect("the second process goes on and says what it did")
    }

    /// Tells it something, and waits until it says that it is done.
    pub(crate) fn order(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").unwrap();
        self.reply()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }
}

/// In the second process: says something to the first.
pub(crate) fn tell(reply: &str) {
    println!("{MARK}{reply}");
}

/// In the second process: the orders of the first, until it has gone.
pub(crate) fn orders() -> impl Iterator<Item = String> {
    std::io::stdin().lines().map_while(Result::ok)
}

/// Starts a crowd of TCP clients.
pub(crate) fn start(address: SocketAddr, size: usize) -> Process {
    let arguments = [("CROWD_ADDRESS", address.to_string()), ("CROWD_SIZE", size.to_string())];
    let mut crowd = Process::start("crowd::tcp_clients", &arguments);
    assert_eq!(crowd.reply(), "connected");
    crowd
}

#[test]
#[ignore = "the second process of other tests"]
fn tcp_clients() {
    let Ok(address) = std::env::var("CROWD_ADDRESS") else { return };
    let address: SocketAddr = address.parse().unwrap();
    let size: usize = std::env::var("CROWD_SIZE").unwrap().parse().unwrap();
    need_descriptors(size as u64 + 100);
    let mut streams: Vec<TcpStream> = (0..size).map(|_| tcp(address)).collect();
    tell("connected");
    for order in orders() {
        match order.as_str() {
            "echo" => echo(&mut streams),
            "leave" => streams.drain(..).for_each(|mut stream| assert_eq!(finish(&mut stream), b"")),
            "vanish" => streams.clear(),
            other => panic!("what is {other}?"),
        }
        tell("done");
    }
}

/// All speak at once, then all listen.
fn echo(streams: &mut [TcpStream]) {
    for (number, stream) in streams.iter_mut().enumerate() {
        stream.write_all(format!("I am number {number:07}.").as_bytes()).unwrap();
    }
    for (number, stream) in streams.iter_mut().enumerate() {
        let mut answer = [0; 20];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, format!("I am number {number:07}.").as_bytes());
    }
}
