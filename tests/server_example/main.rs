//! The server example as its user meets it: its command line, its output, its ports and its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal::{SIGINT, SIGTERM};
use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::error::ProtocolError;
use tungstenite::http::HeaderValue;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{WebSocket, WebSocketConfig};
use tungstenite::{Error, Message};

mod command_line;
mod ending;
mod limits;
mod ports;
#[path = "../support/mod.rs"]
mod support;

use support::{DEADLINE, Finished, NAMES, Program, Server, example, now};

type Client = WebSocket<TcpStream>;

fn open(server: &Server, path: &str, origin: Option<&str>) -> Result<Client, Error> {
    let mut request = format!("ws://{}{path}", server.address("websocket")).into_client_request()?;
    if let Some(origin) = origin {
        request.headers_mut().insert("Origin", HeaderValue::from_str(origin).expect("a header's value"));
    }
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    match tungstenite::client::client_with_config(request, server.connect("websocket"), Some(config)) {
        Ok((client, _)) => Ok(client),
        Err(tungstenite::HandshakeError::Failure(error)) => Err(error),
        Err(tungstenite::HandshakeError::Interrupted(_)) => panic!("the handshake takes too long"),
    }
}

/// The status with which an opening handshake is refused.
fn refusal(server: &Server, path: &str, origin: Option<&str>) -> u16 {
    match open(server, path, origin) {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

/// A request in plain HTTP, and all of the answer.
fn http(server: &Server, request: &str) -> String {
    let mut stream = server.connect("websocket");
    stream.write_all(request.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, and its end");
    answer
}

fn round_trip(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("the server to read");
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).expect("the server to answer");
    assert!(back == bytes, "the echo differs");
}

fn read_close(client: &mut Client) -> (CloseCode, String) {
    loop {
        match client.read().expect("a close frame") {
            Message::Close(Some(frame)) => return (frame.code, frame.reason.to_string()),
            Message::Close(None) => panic!("a close frame without a code"),
            _ => {}
        }
    }
}

/// The feed's next frame in which `found` finds something.
fn await_frame<T>(feed: &mut Client, what: &str, mut found: impl FnMut(&Value) -> Option<T>) -> T {
    let end = now() + DEADLINE;
    while now() < end {
        if let Message::Text(text) = feed.read().expect("the feed goes on")
            && let Some(found) = found(&serde_json::from_str(&text).expect("JSON"))
        {
            return found;
        }
    }
    panic!("{what} never showed");
}

fn of<'a>(frame: &'a Value, name: &str) -> &'a Value {
    let protocols = frame["protocols"].as_array().expect("protocols");
    protocols.iter().find(|protocol| protocol["name"] == name).expect("a protocol of that name")
}

fn heard(stream: TcpStream) -> String {
    let mut text = String::new();
    BufReader::new(stream).read_line(&mut text).expect("a line");
    text
}
