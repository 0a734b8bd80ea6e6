//! The game example as its users meet it: two hundred bots, a flood of forged addresses, spectators, its command line and
//! its end; and the game in virtual time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use nix::sys::signal::Signal::SIGTERM;
use serde_json::Value;
use tungstenite::Message;
use tungstenite::protocol::WebSocket;

#[path = "../support/mod.rs"]
mod support;

// The example's own parts, to run them without processes.
#[path = "../../examples/game/arena.rs"]
#[allow(dead_code, reason = "part of it is for the program alone")]
mod arena;
#[path = "../../examples/game/bots.rs"]
mod bots;
#[path = "../../examples/common/mod.rs"]
#[allow(dead_code, reason = "it needs but a part of it")]
mod common;
#[path = "../../examples/game/datagrams.rs"]
mod datagrams;
#[path = "../../examples/game/ground.rs"]
mod ground;
#[path = "../../examples/game/lobby.rs"]
mod lobby;
#[path = "../../examples/game/player.rs"]
mod player;
#[path = "../../examples/game/served.rs"]
mod served;
#[path = "../../examples/game/timing.rs"]
#[allow(dead_code, reason = "part of it is for the program alone")]
mod timing;

mod command_line;
mod crowd;
mod in_virtual_time;
mod playing;

use support::{DEADLINE, Finished, Program, now};

const NAMES: [&str; 3] = ["lobby", "udp", "web"];

/// The game server, on free ports.
struct Server {
    program: Program,
    addresses: [SocketAddr; 3],
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut all = vec!["--lobby", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--web", "127.0.0.1:0"];
        all.extend(arguments);
        let program = Program::start("game", &all);
        let addresses = NAMES.map(|name| program.address(name));
        assert_eq!(program.line(), "ready");
        Self { program, addresses }
    }

    fn bots(&self, players: usize) -> Program {
        let (players, lobby) = (players.to_string(), self.addresses[0].to_string());
        Program::start("game", &["bots", "--players", &players, "--lobby", &lobby, "--report", "1s"])
    }

    fn connect(&self, port: usize) -> TcpStream {
        let stream = TcpStream::connect_timeout(&self.addresses[port], DEADLINE).expect("it accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream
    }

    fn spectate(&self) -> WebSocket<TcpStream> {
        let url = format!("ws://{}/watch", self.addresses[2]);
        tungstenite::client(url, self.connect(2)).expect("a spectator is let in").0
    }

    /// What a request in plain HTTP is answered.
    fn http(&self, path: &str) -> String {
        let mut stream = self.connect(2);
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer, and its end");
        answer
    }

    fn counters(&self) -> Value {
        serde_json::from_str(self.http("/counters").split_once("\r\n\r\n").expect("a head").1).expect("JSON")
    }

    /// Asks for the counters until they are as wanted.
    fn await_counters(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let end = now() + DEADLINE;
        loop {
            let counters = self.counters();
            if is_so(&counters) {
                return counters;
            }
            assert!(now() < end, "{what} never came: {counters}");
        }
    }
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("{field} of {value}"))
}
