//! The plug-ins and the README's protocol with their memory measured: short conversations, and floods.

use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::{Script, check_conformance};
use switchboard::{Context, Failure, Input, Protocol};
use switchboard_heartbeat::{Config, Heartbeat, IdleTimeout, PingPong};
use switchboard_websocket::{Settings, WebSocket, mask, message_fn};

use crate::most_allocated;

/// The README's protocol in thirty lines.
struct LengthPrefixed;

impl Protocol for LengthPrefixed {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while let Some(&[high, low]) = input.get(..2) {
            let end = 2 + usize::from(u16::from_be_bytes([high, low]));
            if input.len() < end {
                input.wait_for(end);
                break;
            }
            let message = input.take(end);
            if end == 2 {
                return Err(Failure::peer("an empty message"));
            }
            cx.send(message);
        }
        Ok(())
    }
}

#[test]
fn the_protocol_of_the_readme_conforms() {
    let script = Script::new().send(b"\x00\x05hello\x00\x01!").send(b"\x00\x03you\x00\x00\x00\x01?");
    println!("{}", check_conformance(|| LengthPrefixed, &script.measure_memory(most_allocated)));
}

#[test]
fn the_line_protocol_conforms() {
    let protocol = || {
        let heartbeat = Heartbeat::new(Config::default()).around(PingPong::default());
        IdleTimeout::new(Duration::from_secs(60)).around(heartbeat)
    };
    let script = Script::new().send("PING 1\nPONG 2\n").send("PING 3\n").measure_memory(most_allocated);
    println!("{}", check_conformance(protocol, &script));
}

/// A frame of a client, masked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const KEY: mask::Key = [1, 2, 3, 4];
    let mut masked = payload.to_vec();
    mask::apply(&mut masked, KEY);
    [&[first, 0x80 | u8::try_from(payload.len()).unwrap()][..], &KEY, &masked].concat()
}

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[test]
fn web_sockets_do_not_grow() {
    let settings = Rc::new(Settings { max_message: 256 << 10, ..Settings::default() });
    let server = || {
        let echo = message_fn(|peer, message| {
            peer.send(message);
            Ok(())
        });
        WebSocket::with_settings(echo, &settings)
    };
    // What is flooded with is the last input: whole messages, pings, fragments without an end.
    for frames in [frame(0x82, b"message"), frame(0x89, b"ping"), frame(0x00, b"more")] {
        let script = Script::new()
            .send(UPGRADE)
            .advance(Duration::from_secs(1))
            .send(frame(0x01, b"begun"))
            .advance(Duration::from_secs(1))
            .send(frames);
        println!("{}", check_conformance(server, &script.measure_memory(most_allocated)));
    }
}
