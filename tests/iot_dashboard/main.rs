//! The dashboard example as its users meet it: devices on both transports, browsers, its command line and its end; and
//! its protocol by hand and in virtual time.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};
use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::protocol::WebSocket;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message};

#[path = "../support/mod.rs"]
mod support;

// The example's own parts, to run them without processes.
#[path = "../../examples/iot_dashboard/counters.rs"]
mod counters;
#[path = "../../examples/iot_dashboard/device.rs"]
mod device;
#[path = "../../examples/iot_dashboard/fleet.rs"]
mod fleet;
#[path = "../../examples/iot_dashboard/lines.rs"]
mod lines;
#[path = "../../examples/iot_dashboard/simulated.rs"]
mod simulated;

mod by_hand;
mod command_line;
mod crowd;
mod in_virtual_time;

use support::{DEADLINE, Finished, Program, now};

type Client = WebSocket<TcpStream>;

const NAMES: [&str; 3] = ["tcp", "udp", "web"];

/// The dashboard, on free ports.
struct Dashboard {
    program: Program,
    addresses: [SocketAddr; 3],
}

impl Dashboard {
    fn start(arguments: &[&str]) -> Self {
        Self::start_on(["127.0.0.1:0"; 3], arguments)
    }

    fn start_on(addresses: [&str; 3], arguments: &[&str]) -> Self {
        let mut all = vec!["--tcp", addresses[0], "--udp", addresses[1], "--web", addresses[2]];
        all.extend(arguments);
        let program = Program::start("iot_dashboard", &all);
        let addresses = NAMES.map(|name| program.address(name));
        assert_eq!(program.line(), "ready");
        Self { program, addresses }
    }

    /// Starts devices that play for it.
    fn simulate(&self, arguments: &[&str]) -> Program {
        let [tcp, udp, _] = self.addresses.map(|address| address.to_string());
        let mut all = vec!["simulate", "--tcp", &tcp, "--udp", &udp];
        all.extend(arguments);
        let program = Program::start("iot_dashboard", &all);
        assert!(program.line().ends_with(" devices play"));
        program
    }

    fn connect(&self, port: usize) -> TcpStream {
        let stream = TcpStream::connect_timeout(&self.addresses[port], DEADLINE).expect("it accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream
    }

    fn open(&self, path: &str, origin: Option<&str>) -> Result<Client, Error> {
        let mut request = format!("ws://{}{path}", self.addresses[2]).into_client_request()?;
        if let Some(origin) = origin {
            request.headers_mut().insert("Origin", HeaderValue::from_str(origin).expect("a header's value"));
        }
        match tungstenite::client(request, self.connect(2)) {
            Ok((client, _)) => Ok(client),
            Err(tungstenite::HandshakeError::Failure(error)) => Err(error),
            Err(tungstenite::HandshakeError::Interrupted(_)) => panic!("the handshake takes too long"),
        }
    }

    /// What a request in plain HTTP is answered.
    fn http(&self, method: &str, path: &str) -> String {
        let mut stream = self.connect(2);
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer, and its end");
        answer
    }

    fn counters(&self) -> Value {
        let answer = self.http("GET", "/counters");
        serde_json::from_str(answer.split_once("\r\n\r\n").expect("a head").1).expect("JSON")
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

/// The next text message.
fn read_text(client: &mut Client) -> Option<Value> {
    loop {
        match client.read().expect("a message") {
            Message::Text(text) => return Some(serde_json::from_str(&text).expect("JSON")),
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("{field} of {value}"))
}
