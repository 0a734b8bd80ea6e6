//! The server: what `docs/interop.md` says of its paths, on a port for each way to compress.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{Write, stdout};
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use switchboard::{Closing, ConnectionId, EventLoop, Failure};
use switchboard_heartbeat::Config;
use switchboard_websocket::deflate::Memory;
use switchboard_websocket::{
    Accept, Begin, CloseCode, Closed, Delivery, Handler, Message, Peer, Post, Request, Response, Settings, SharedText,
    WebSocket,
};

use crate::cases::{self, Spec};
use crate::{compression, settings};

/// Prints what it can and its URLs, and serves until it is killed.
pub(crate) fn serve() {
    let mut event_loop = EventLoop::new().expect("an event loop");
    let world = Rc::<World>::default();
    println!("\ncan {CAN}");
    for (variant, settings) in variants() {
        let (world, settings) = (Rc::clone(&world), Rc::new(settings));
        let listener = event_loop.listen("127.0.0.1:0", move |_| {
            let endpoint = Endpoint { world: Rc::clone(&world), ..Endpoint::default() };
            Some(WebSocket::with_settings(endpoint, &settings))
        });
        let address = listener.map(|listener| event_loop.local_addr(listener)).expect("a listener");
        println!("{variant} ws://{}", address.expect("an address"));
    }
    println!("ready");
    stdout().flush().expect("somebody who reads this");
    event_loop.run().expect("no end");
}

const CAN: &str = "server:fragments,server:empty-close,server:limit,server:pieces";

fn variants() -> [(&'static str, Settings); 5] {
    let heartbeat = Config::new(Duration::from_millis(300), Duration::from_secs(5)).ok();
    [
        ("plain", settings(None)),
        ("shared", settings(compression(Memory::Shared, 15, 15))),
        ("takeover", settings(compression(Memory::Dedicated, 15, 15))),
        ("windows", settings(compression(Memory::Dedicated, 10, 11))),
        ("heartbeat", Settings { heartbeat, ..settings(None) }),
    ]
}

/// What connections know of each other: how those ended that were, and who asks.
#[derive(Default)]
struct World {
    ends: RefCell<HashMap<String, String>>,
    asking: RefCell<HashMap<String, ConnectionId>>,
}

#[derive(Default)]
struct Endpoint {
    world: Rc<World>,
    path: String,
    /// What the client calls this connection.
    name: String,
    /// The request's header fields.
    headers: Vec<(String, String)>,
    /// What this loop had received and sent before.
    before: (u64, u64),
}

impl Handler for Endpoint {
    fn on_handshake(&mut self, peer: &mut Peer<'_, '_>, request: &Request<'_>) -> Result<Accept, Response> {
        let path = request.path();
        if let Some(status) = path.strip_prefix("/refused/").and_then(|status| status.parse().ok()) {
            return Err(Response::text(status, "no\n"));
        }
        if !["/echo", "/fragments", "/pieces", "/closed", "/command", "/seen"].contains(&path) {
            return Err(Response::text(404, "there is no such path\n"));
        }
        path.clone_into(&mut self.path);
        let name = request.query().and_then(|query| query.strip_prefix("id="));
        name.unwrap_or_default().clone_into(&mut self.name);
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        self.headers = request.headers().map(|(name, value)| (name.to_ascii_lowercase(), text(value))).collect();
        self.before = (peer.counters().bytes_in, peer.counters().bytes_out);
        let knows = request.subprotocols().any(|offered| offered == "echo.v2");
        Ok(if knows { Accept::new().subprotocol("echo.v2") } else { Accept::new() })
    }

    /// A page, for those who need one to start from.
    fn on_http(&mut self, _: &mut Peer<'_, '_>, _: &Request<'_>) -> Response {
        Response::html("<!doctype html><title>Interoperation</title><link rel=icon href=data:,>")
    }

    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        match self.path.as_str() {
            "/closed" => peer.close(CloseCode(4000), "too early")?,
            "/seen" => match self.world.ends.borrow().get(&self.name) {
                Some(end) => peer.text(end),
                None => drop(self.world.asking.borrow_mut().insert(self.name.clone(), peer.id())),
            },
            _ => {}
        }
        Ok(())
    }

    fn on_begin(&mut self, _: &mut Peer<'_, '_>, _: &Begin) -> Result<Delivery, Failure> {
        Ok(if self.path == "/pieces" { Delivery::Pieces } else { Delivery::Whole })
    }

    fn on_piece(&mut self, peer: &mut Peer<'_, '_>, piece: Message<'_>, last: bool) -> Result<(), Failure> {
        peer.send_piece(piece, last)
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        match (self.path.as_str(), message) {
            ("/command", Message::Text(text)) => self.obey(peer, &serde_json::from_str(text)?),
            (path, message) => cases::Message::from(message).send(peer, path == "/fragments"),
        }
    }

    fn on_pong(&mut self, peer: &mut Peer<'_, '_>, payload: &[u8]) -> Result<(), Failure> {
        if self.path == "/command" {
            peer.text(&format!("pong {}", String::from_utf8_lossy(payload)));
        }
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, closed: &Closed<'_>) {
        if self.path == "/seen" {
            return;
        }
        let counters = cx.counters();
        let (received, sent) = (counters.bytes_in - self.before.0, counters.bytes_out - self.before.1);
        let end =
            json!({ "code": closed.code.0, "reason": closed.reason, "received": received, "sent": sent }).to_string();
        if let Some(asking) = self.world.asking.borrow_mut().remove(&self.name) {
            // Whoever asks may have gone meanwhile.
            let _ = cx.post(asking, Post::Text(SharedText::from(end.clone())));
        }
        self.world.ends.borrow_mut().insert(std::mem::take(&mut self.name), end);
    }
}

impl Endpoint {
    /// Does what the client's message asks for.
    fn obey(&self, peer: &mut Peer<'_, '_>, command: &Value) -> Result<(), Failure> {
        if let Some(end) = command.get("close") {
            let (code, reason): (u16, String) = serde_json::from_value(end.clone()).unwrap_or((1005, String::new()));
            return peer.close(CloseCode(code), &reason);
        }
        if command["abort"] == true {
            peer.abort();
        } else if let Some(payload) = command["ping"].as_str() {
            peer.ping(payload.as_bytes())?;
        } else if let Some(names) = command["headers"].as_array() {
            let value =
                |name: &Value| self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
            peer.text(&names.iter().map(value).collect::<Vec<_>>().join(" "));
        } else {
            serde_json::from_value::<Spec>(command.clone())?.made().send(peer, false)?;
        }
        Ok(())
    }
}
