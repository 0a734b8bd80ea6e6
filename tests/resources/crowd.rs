//! Clients by the thousand, in a process of their own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};

use crate::common::{PATIENCE, finish, round_trip, tcp, web_socket};
use crate::gauge::need_descriptors;

/// What marks this program's own lines among those of the test runner.
const MARK: &str = "@ ";

/// Another process of this program, which runs one ignored test and does what it is told.
pub(crate) struct Process {
    child: Child,
    orders: ChildStdin,
    replies: Receiver<String>,
    reader: Option<JoinHandle<()>>,
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
        let reader = thread::spawn(move || {
            for line in lines {
                if let Some((_, reply)) = line.split_once(MARK) {
                    let _ = sender.send(reply.to_owned()); // nobody listens any more if a test failed
                }
            }
        });
        Self { child, orders, replies, reader: Some(reader) }
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
        self.reader.take().map(JoinHandle::join); // and the pipe is closed
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

/// What a crowd speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Speech {
    Tcp,
    WebSocket,
    /// The same, with compression agreed on.
    Compressing,
}

/// Starts a crowd, and returns when all have connected.
pub(crate) fn start(speech: Speech, address: SocketAddr, size: usize) -> Process {
    let arguments = [
        ("CROWD_ADDRESS", address.to_string()),
        ("CROWD_SIZE", size.to_string()),
        ("CROWD_SPEECH", format!("{speech:?}")),
    ];
    let mut crowd = Process::start("crowd::clients", &arguments);
    assert_eq!(crowd.reply(), "connected");
    crowd
}

#[test]
#[ignore = "the second process of other tests"]
fn clients() {
    let Ok(address) = std::env::var("CROWD_ADDRESS") else { return };
    let address: SocketAddr = address.parse().unwrap();
    let size: usize = std::env::var("CROWD_SIZE").unwrap().parse().unwrap();
    let speech = std::env::var("CROWD_SPEECH").unwrap();
    let is_web = speech == "WebSocket";
    need_descriptors(size as u64 + 100);
    let connect = || match &*speech {
        "WebSocket" => web_socket::open(address),
        "Compressing" => web_socket::open_compressing(address),
        _ => tcp(address),
    };
    let mut streams: Vec<TcpStream> = (0..size).map(|_| connect()).collect();
    tell("connected");
    for order in orders() {
        match order.as_str() {
            "echo" if is_web => web_echo(&mut streams),
            "echo" => echo(&mut streams),
            "large" if is_web => streams.iter_mut().take(100).for_each(large_web_echo),
            "large" => streams.iter_mut().take(100).for_each(large_echo),
            "leave" if is_web => streams.drain(..).for_each(|mut stream| web_socket::close(&mut stream)),
            "leave" => streams.drain(..).for_each(|mut stream| assert_eq!(finish(&mut stream), b"")),
            "hear" => streams.iter_mut().for_each(hear),
            "vanish" => streams.clear(),
            other => panic!("what is {other}?"),
        }
        tell("done");
    }
}

fn word(number: usize) -> Vec<u8> {
    format!("I am number {number:07}.").into_bytes()
}

/// All speak at once, then all listen.
fn echo(streams: &mut [TcpStream]) {
    for (number, stream) in streams.iter_mut().enumerate() {
        stream.write_all(&word(number)).unwrap();
    }
    for (number, stream) in streams.iter_mut().enumerate() {
        let mut answer = [0; 20];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *word(number));
    }
}

fn web_echo(streams: &mut [TcpStream]) {
    for (number, stream) in streams.iter_mut().enumerate() {
        stream.write_all(&web_socket::frame(web_socket::TEXT, &word(number))).unwrap();
    }
    for (number, stream) in streams.iter_mut().enumerate() {
        assert_eq!(web_socket::read_message(stream), (web_socket::TEXT, word(number)));
    }
}

/// A message of 64 KiB, all alike.
fn hear(stream: &mut TcpStream) {
    assert!(web_socket::read_message(stream) == (web_socket::TEXT, vec![b'x'; 64 << 10]));
}

/// A mebibyte there and back, in pieces that fit into the buffers on the way.
fn large_echo(stream: &mut TcpStream) {
    let piece = [7; 64 * 1024];
    for _ in 0..16 {
        assert!(round_trip(stream, &piece) == piece);
    }
}

/// A message of a mebibyte there and back.
fn large_web_echo(stream: &mut TcpStream) {
    let payload = vec![7; 1 << 20];
    stream.write_all(&web_socket::frame(web_socket::BINARY, &payload)).unwrap();
    assert!(web_socket::read_message(stream) == (web_socket::BINARY, payload));
}
