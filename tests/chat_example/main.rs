//! The chat example as its members meet it, and what its rooms cost.

#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use nix::sys::signal::Signal::{SIGINT, SIGTERM};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::WebSocket;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message};

mod command_line;
mod conformance;
mod crowd;
mod hostile;
mod limits;
mod payload;
mod slow;
mod talk;

// The example's own modules: what is measured is what runs.
#[allow(dead_code, reason = "printing and signals are the program's")]
#[path = "../../examples/common/mod.rs"]
mod common;
#[path = "../../examples/chat/line.rs"]
mod line;
#[path = "../../examples/chat/rooms.rs"]
mod rooms;
#[path = "../support/mod.rs"]
mod support;
#[path = "../../examples/chat/web.rs"]
mod web;
#[path = "../common/mod.rs"]
mod wire;
#[path = "../../examples/chat/words.rs"]
mod words;

use support::{DEADLINE, Finished, Program, now};

/// The server, on free ports.
struct Chat {
    program: Program,
    web: SocketAddr,
    line: SocketAddr,
}

impl Chat {
    fn start(arguments: &[&str]) -> Self {
        let program =
            Program::start("chat", &[&["--listen", "127.0.0.1:0", "--tcp", "127.0.0.1:0"], arguments].concat());
        let [web, line] = ["web", "line"].map(|name| program.address(name));
        assert_eq!(program.line(), "ready");
        Self { program, web, line }
    }

    /// A member like a page's, not named yet.
    fn page(&self) -> Browser {
        Browser(self.open("/chat", None).expect("the server opens a WebSocket"))
    }

    /// A member like a page's, in a room.
    fn browser(&self, name: &str, room: &str) -> Browser {
        let mut browser = self.page();
        browser.ask(&json!({"do": "name", "name": name}));
        assert_eq!(browser.told(), json!({"is": "welcome", "name": name}));
        browser.join(room);
        browser
    }

    /// A member with `nc`, not named yet.
    fn terminal(&self) -> Terminal {
        let mut terminal = Terminal(BufReader::new(connect(self.line)));
        assert_eq!(terminal.line(), "* Welcome. /name NAME says who you are");
        terminal
    }

    /// A member with `nc`, in a room.
    fn nc(&self, name: &str, room: &str) -> Terminal {
        let mut terminal = self.terminal();
        terminal.say(&format!("/name {name}\n/join {room}"));
        assert_eq!(terminal.line(), format!("* You are {name}. /join ROOM to talk, /help for more"));
        let there = terminal.line();
        assert!(there.starts_with(&format!("[{room}] * ")) && there.contains(name), "{there}");
        terminal
    }

    fn open(&self, path: &str, origin: Option<&str>) -> Result<WebSocket<TcpStream>, Error> {
        let mut request = format!("ws://{}{path}", self.web).into_client_request()?;
        if let Some(origin) = origin {
            request.headers_mut().insert("Origin", origin.parse().expect("a header's value"));
        }
        match tungstenite::client(request, connect(self.web)) {
            Ok((client, _)) => Ok(client),
            Err(tungstenite::HandshakeError::Failure(error)) => Err(error),
            Err(tungstenite::HandshakeError::Interrupted(_)) => panic!("the handshake takes too long"),
        }
    }

    /// The answer to a request in plain HTTP.
    fn http(&self, request: &str) -> String {
        let mut stream = connect(self.web);
        stream.write_all(format!("{request} HTTP/1.1\r\nHost: {}\r\n\r\n", self.web).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer, and its end");
        answer
    }
}

/// A connection on which no read or write waits for ever.
fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, DEADLINE).expect("the server to accept");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
    stream
}

struct Browser(WebSocket<TcpStream>);

impl Browser {
    fn ask(&mut self, request: &Value) {
        self.0.send(Message::text(request.to_string())).expect("the server to read");
    }

    fn join(&mut self, room: &str) {
        self.ask(&json!({"do": "join", "room": room}));
        let told = self.told();
        assert_eq!((&told["is"], &told["room"]), (&json!("room"), &json!(room)), "{told}");
    }

    fn say(&mut self, room: &str, text: &str) {
        self.ask(&json!({"do": "say", "room": room, "text": text}));
    }

    /// What it is told next.
    fn told(&mut self) -> Value {
        loop {
            match self.0.read().expect("the server goes on") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// What it is told next, which is an error.
    fn error(&mut self) -> String {
        let told = self.told();
        assert_eq!(told["is"], "error", "{told}");
        told["text"].as_str().expect("a text").to_owned()
    }

    /// The text of what is said next, which `name` has said.
    fn heard(&mut self, name: &str) -> String {
        let told = self.told();
        assert_eq!((&told["is"], &told["name"]), (&json!("message"), &json!(name)), "{told}");
        told["text"].as_str().expect("a text").to_owned()
    }

    fn closed(&mut self) -> CloseCode {
        loop {
            match self.0.read().expect("a close frame") {
                Message::Close(Some(frame)) => return frame.code,
                Message::Close(None) => panic!("a close frame without a code"),
                _ => {}
            }
        }
    }
}

struct Terminal(BufReader<TcpStream>);

impl Terminal {
    fn say(&mut self, line: &str) {
        self.send(format!("{line}\n").as_bytes());
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("the server to read");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        assert_eq!(line.pop(), Some('\n'), "the end, after {line:?}");
        line
    }

    /// All that still comes, up to the end.
    fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).expect("the end");
        rest
    }
}
