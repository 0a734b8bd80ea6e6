//! The other side in Rust: `tungstenite`, as a client and as a server, on threads that block.

#![allow(clippy::result_large_err, reason = "tungstenite's callbacks have such errors")]

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::io::{Write, stdout};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::client::{IntoClientRequest, client_with_config};
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame};
use tungstenite::{HandshakeError, Message, WebSocket, accept_hdr_with_config};

use crate::cases::{self, Case, Spec};
use crate::driver::{Client, Outcome, Talk, drive};
use crate::{LIMIT, Other};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

fn config() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(LIMIT)).max_frame_size(Some(LIMIT))
}

/// Sends a message, whole or in three frames with a ping between them.
fn send(socket: &mut WebSocket<TcpStream>, message: &cases::Message, fragmented: bool) -> Result {
    let (kind, bytes) = match message {
        cases::Message::Text(text) => (Data::Text, text.as_bytes()),
        cases::Message::Binary(bytes) => (Data::Binary, &bytes[..]),
    };
    if !fragmented {
        let whole = Message::binary(bytes.to_owned());
        return Ok(socket.send(if kind == Data::Text { Message::text(std::str::from_utf8(bytes)?) } else { whole })?);
    }
    let (first, rest) = bytes.split_at(bytes.len() / 3);
    let (second, last) = rest.split_at(rest.len() / 2);
    for (kind, piece, is_last) in [(kind, first, false), (Data::Continue, second, false), (Data::Continue, last, true)]
    {
        socket.write(Message::Frame(Frame::message(piece.to_owned(), OpCode::Data(kind), is_last)))?;
        if kind != Data::Continue {
            socket.write(Message::Ping("between".into()))?;
        }
    }
    Ok(socket.flush()?)
}

fn close(socket: &mut WebSocket<TcpStream>, code: u16, reason: &str) -> Result {
    let frame = CloseFrame { code: code.into(), reason: reason.into() };
    Ok(socket.close((code != 1005).then_some(frame))?)
}

/// The next message that is no control frame but a close frame, which is `Err` of its code and reason.
fn read(socket: &mut WebSocket<TcpStream>) -> std::result::Result<cases::Message, (u16, String)> {
    loop {
        return match socket.read() {
            Ok(Message::Text(text)) => Ok(cases::Message::Text(text.to_string())),
            Ok(Message::Binary(bytes)) => Ok(cases::Message::Binary(bytes.to_vec())),
            Ok(Message::Close(frame)) => {
                let end = frame.map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
                while socket.read().is_ok() {} // until the connection has ended, too
                Err(end)
            }
            Ok(_) => continue,
            Err(error) => Err((1006, error.to_string())),
        };
    }
}

/// The client.
pub(crate) fn run(other: &Other) {
    let talk: Talk = Box::new(|case, url| {
        let mut outcome = Outcome::default();
        if let Err(error) = talk(case, url, &mut outcome) {
            outcome.trouble = Some(error.to_string());
        }
        outcome
    });
    let can = ["client:ping", "client:fragments", "client:empty-close"];
    drive(&Client { name: "tungstenite", can: &can, offers: vec![("off", talk)] }, other);
}

fn talk(case: &Case, url: &str, outcome: &mut Outcome) -> Result {
    let mut request = url.into_client_request()?;
    if !case.offer.is_empty() {
        request.headers_mut().insert("sec-websocket-protocol", case.offer.join(", ").parse()?);
    }
    let stream = TcpStream::connect(request.uri().authority().ok_or("no authority")?.as_str())?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let (mut socket, response) = match client_with_config(request, stream, Some(config())) {
        Ok(both) => both,
        Err(HandshakeError::Failure(tungstenite::Error::Http(response))) => {
            outcome.status = Some(response.status().as_u16());
            return Ok(());
        }
        Err(error) => return Err(error.to_string().into()),
    };
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    (outcome.subprotocol, outcome.extensions) = (header("sec-websocket-protocol"), header("sec-websocket-extensions"));
    if let Some(payload) = &case.ping {
        socket.send(Message::Ping(payload.clone().into()))?;
        let answer = socket.read()?;
        (answer == Message::Pong(payload.clone().into()))
            .then_some(())
            .ok_or_else(|| format!("{answer:?} for a pong"))?;
    }
    if let Some(command) = &case.command {
        send(&mut socket, &cases::Message::Text(command.to_string()), false)?;
    }
    let mut unanswered: VecDeque<_> = case.answer.clone().map(cases::Message::Text).into_iter().collect();
    for message in case.messages() {
        send(&mut socket, &message, case.fragmented)?;
        unanswered.push_back(message);
        while !case.pipelined && case.close.is_some() && !unanswered.is_empty() {
            take_answer(&mut socket, &mut unanswered)?;
        }
    }
    while case.close.is_some() && !unanswered.is_empty() {
        take_answer(&mut socket, &mut unanswered)?;
    }
    if let Some((code, reason)) = &case.close {
        close(&mut socket, code.unwrap_or(1005), reason.as_deref().unwrap_or_default())?;
    }
    match read(&mut socket) {
        Err(end) => outcome.closed = Some(end),
        Ok(cases::Message::Text(text)) if case.close.is_none() => {
            outcome.heard = Some(text);
            close(&mut socket, 1000, "")?;
            outcome.closed = read(&mut socket).err();
        }
        Ok(_) => return Err("one message too many".into()),
    }
    Ok(())
}

fn take_answer(socket: &mut WebSocket<TcpStream>, unanswered: &mut VecDeque<cases::Message>) -> Result {
    let message = read(socket).map_err(|(code, reason)| format!("closed with {code} {reason}"))?;
    if unanswered.pop_front() == Some(message) { Ok(()) } else { Err("another message came back".into()) }
}

/// How connections ended, by name, as JSON.
type Ends = Arc<(Mutex<HashMap<String, String>>, Condvar)>;

/// The server: prints what it can and its URL, and serves until it is killed.
pub(crate) fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address");
    // To refuse a message that is too long, by a close frame and by reading the rest, is left to the application.
    println!("\ncan server:fragments,server:empty-close\nplain ws://{address}\nready");
    stdout().flush().expect("somebody who reads this");
    let ends = Ends::default();
    for stream in listener.incoming() {
        let (stream, ends) = (stream.expect("a connection"), Arc::clone(&ends));
        thread::spawn(move || answer(stream, &ends).unwrap_or_else(|error| eprintln!("{error}")));
    }
}

fn answer(stream: TcpStream, ends: &Ends) -> Result {
    let (mut path, mut name) = (String::new(), String::new());
    let decide = |request: &Request, mut response: Response| {
        request.uri().path().clone_into(&mut path);
        let query = request.uri().query().and_then(|query| query.strip_prefix("id="));
        query.unwrap_or_default().clone_into(&mut name);
        let known = ["/echo", "/fragments", "/closed", "/command", "/seen"].contains(&path.as_str());
        if let Some(status) = path.strip_prefix("/refused/").or((!known).then_some("404")) {
            let mut refusal = ErrorResponse::new(Some("no\n".to_owned()));
            *refusal.status_mut() = status.parse().expect("a status");
            return Err(refusal);
        }
        let offered = request.headers().get("sec-websocket-protocol").and_then(|value| value.to_str().ok());
        if offered.is_some_and(|offered| offered.split(", ").any(|name| name == "echo.v2")) {
            response.headers_mut().insert("sec-websocket-protocol", "echo.v2".parse().expect("a value"));
        }
        Ok(response)
    };
    let mut socket = match accept_hdr_with_config(stream, decide, Some(config())) {
        Ok(socket) => socket,
        Err(HandshakeError::Failure(tungstenite::Error::Http(_))) => return Ok(()), // refused, as it was to be
        Err(error) => return Err(error.to_string().into()),
    };
    let (told, news) = &**ends;
    let lock = || told.lock().expect("nobody to have panicked");
    match path.as_str() {
        "/seen" => {
            let told = news.wait_while(lock(), |told| !told.contains_key(&name)).expect("nobody to have panicked");
            socket.send(Message::text(&told[&name]))?;
        }
        "/closed" => close(&mut socket, 4000, "too early")?,
        "/command" => obey(&mut socket)?,
        _ => {}
    }
    let end = loop {
        match read(&mut socket) {
            Ok(message) => send(&mut socket, &message, path == "/fragments")?,
            Err((code, reason)) => break json!({ "code": code, "reason": reason }),
        }
    };
    if path != "/seen" {
        lock().insert(name, end.to_string());
        news.notify_all();
    }
    Ok(())
}

/// Does what the client's message asks for.
fn obey(socket: &mut WebSocket<TcpStream>) -> Result {
    let command: Value = serde_json::from_str(socket.read()?.to_text()?)?;
    if let Some(end) = command.get("close") {
        let (code, reason): (u16, String) = serde_json::from_value(end.clone()).unwrap_or((1005, String::new()));
        return close(socket, code, &reason);
    }
    if command["abort"] == true {
        return Ok(socket.get_ref().shutdown(Shutdown::Both)?);
    }
    if let Some(payload) = command["ping"].as_str() {
        socket.send(Message::Ping(payload.to_owned().into()))?;
        let pong = socket.read()?;
        return Ok(socket.send(Message::text(format!("pong {}", pong.to_text()?)))?);
    }
    send(socket, &serde_json::from_value::<Spec>(command)?.made(), false)
}
