//! This side of the interoperation tests: a server for the other sides' clients, and a client of their servers. Both are
//! started by `tests/interop/run`, with the other side, and do nothing without it.

mod cases;
mod client;
mod driver;
mod script;
mod server;
mod tungstenite;

use std::env;

use switchboard_websocket::Settings;
use switchboard_websocket::deflate::{Compression, Memory, WindowBits};

/// Bytes of a message that any side takes.
const LIMIT: usize = 3 * 512 * 1024;

#[test]
#[ignore = "serves until it is killed: started by tests/interop/run"]
fn server() {
    assert_driven();
    server::serve();
}

#[test]
#[ignore = "needs a server: started by tests/interop/run"]
fn client() {
    client::run(&Other::from_environment());
}

/// The other side, as far as it is of Rust.
#[test]
#[ignore = "serves until it is killed: started by tests/interop/run"]
fn tungstenite_server() {
    assert_driven();
    tungstenite::serve();
}

#[test]
#[ignore = "needs a server: started by tests/interop/run"]
fn tungstenite_client() {
    tungstenite::run(&Other::from_environment());
}

#[test]
#[ignore = "needs a server and a proxy: started by tests/interop/run"]
fn refused_tunnels() {
    client::refused_tunnels(&Other::from_environment());
}

/// Panics if nobody is there who would stop what serves.
fn assert_driven() {
    assert!(env::var_os("INTEROP").is_some(), "tests/interop/run starts this");
}

/// What is known of the server on the other side.
struct Other {
    /// By which name `agreed.json` has it.
    name: String,
    /// What the cases may need of it.
    can: Vec<String>,
    /// Its URLs by variant.
    urls: Vec<(String, String)>,
}

impl Other {
    /// `can=THING,… VARIANT=URL …` in `INTEROP`, and the name in `INTEROP_SERVER`.
    fn from_environment() -> Self {
        let text = env::var("INTEROP").expect("tests/interop/run starts this");
        let name = env::var("INTEROP_SERVER").unwrap_or_default();
        let mut other = Self { name, can: Vec::new(), urls: Vec::new() };
        for (key, value) in text.split(' ').filter_map(|pair| pair.split_once('=')) {
            match key {
                "can" => other.can.extend(value.split(',').map(str::to_owned)),
                variant => other.urls.push((variant.to_owned(), value.to_owned())),
            }
        }
        assert!(!other.urls.is_empty(), "no URL in {text:?}");
        other
    }
}

fn settings(compression: Option<Compression>) -> Settings {
    Settings { max_message: LIMIT, compression, heartbeat: None, ..Settings::default() }
}

/// Everything is compressed, with the memory that each side is said to have, and windows of so many bits.
fn compression(memory: Memory, window: u8, peer_window: u8) -> Option<Compression> {
    let bits = |bits| WindowBits::new(bits).expect("8 to 15");
    let (window_bits, peer_window_bits) = (bits(window), bits(peer_window));
    let both = Compression { compressor: memory, decompressor: memory, ..Compression::default() };
    Some(Compression { window_bits, peer_window_bits, threshold: 0, ..both })
}
