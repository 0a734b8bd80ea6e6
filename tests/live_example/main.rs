//! The live example as its publishers and viewers meet it.

#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use nix::sys::signal::Signal::{SIGINT, SIGTERM};
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::WebSocket;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message};

mod command_line;
mod picture;
mod publishing;
mod slow;
#[path = "../support/mod.rs"]
mod support;
mod watching;

use picture::{Frame, Picture};
use support::{DEADLINE, Finished, Program};

/// The server, on a free port.
struct Live {
    program: Program,
    address: SocketAddr,
}

impl Live {
    fn start(arguments: &[&str]) -> Self {
        let program = Program::start("live", &[&["--listen", "127.0.0.1:0"], arguments].concat());
        let address = program.address("web");
        assert_eq!(program.line(), "ready");
        Self { program, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect_timeout(&self.address, DEADLINE).expect("the server to accept");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
        stream
    }

    fn open(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<WebSocket<TcpStream>, Error> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header's value"));
        }
        match tungstenite::client(request, self.connect()) {
            Ok((client, _)) => Ok(client),
            Err(tungstenite::HandshakeError::Failure(error)) => Err(error),
            Err(tungstenite::HandshakeError::Interrupted(_)) => panic!("the handshake takes too long"),
        }
    }

    /// The status with which an opening handshake is refused.
    fn refusal(&self, path: &str, headers: &[(&'static str, &str)]) -> u16 {
        match self.open(path, headers) {
            Err(Error::Http(response)) => response.status().as_u16(),
            other => panic!("{other:?}"),
        }
    }

    fn viewer(&self) -> Viewer {
        Viewer { socket: self.open("/watch", &[]).expect("a viewer may watch"), picture: Picture::default() }
    }

    fn publisher(&self, token: &str) -> Publisher {
        let socket = self.open("/publish", &[("Authorization", &format!("Bearer {token}"))]).expect("it may publish");
        Publisher { socket, picture: Picture::new(32, 18), frames: 0, states: Vec::new() }
    }

    fn http(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(format!("{request} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer, and its end");
        answer
    }
}

fn read_close(socket: &mut WebSocket<TcpStream>) -> (CloseCode, String) {
    loop {
        match socket.read().expect("a close frame") {
            Message::Close(Some(frame)) => return (frame.code, frame.reason.to_string()),
            Message::Close(None) => panic!("a close frame without a code"),
            _ => {}
        }
    }
}

/// Somebody who watches, and checks every picture.
struct Viewer {
    socket: WebSocket<TcpStream>,
    picture: Picture,
}

impl Viewer {
    /// The next frame, put into the picture; not answered yet.
    fn take(&mut self) -> Frame {
        loop {
            match self.socket.read().expect("the show goes on") {
                Message::Binary(bytes) => return self.picture.apply(&bytes),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn ok(&mut self) {
        self.socket.send(Message::text("ok")).expect("the server to read");
    }

    /// The next frame, answered.
    fn next(&mut self) -> Frame {
        let frame = self.take();
        self.ok();
        frame
    }
}

/// Somebody who publishes pictures, and remembers all of them.
struct Publisher {
    socket: WebSocket<TcpStream>,
    picture: Picture,
    frames: usize,
    /// The picture at each frame, the first at 0.
    states: Vec<Vec<u8>>,
}

impl Publisher {
    /// Publishes the next frame, in which some cells have changed.
    fn publish(&mut self, is_key: bool) {
        let frame = self.picture.change(self.frames, is_key);
        self.frames += 1;
        self.states.push(self.picture.cells.clone());
        self.send(frame);
    }

    /// Publishes `count` frames, of which each `key_every`th since the first of all is a key frame.
    fn publish_many(&mut self, count: usize, key_every: usize) {
        for _ in 0..count {
            self.publish(self.frames.is_multiple_of(key_every));
        }
    }

    fn send(&mut self, frame: Vec<u8>) {
        self.socket.send(Message::binary(frame)).expect("the server to read");
    }
}
