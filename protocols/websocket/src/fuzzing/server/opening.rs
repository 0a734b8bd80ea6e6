//! How a connection begins if nothing goes wrong.

use crate::deflate::{Compression, Memory, Offer};
use crate::fuzzing::handshake::accept;

/// What a client begins with.
const UPGRADE: &[u8] = b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// One of four ways to compress.
pub(super) fn compression(choices: u8) -> Compression {
    let memory = if choices & 8 == 0 { Memory::Shared } else { Memory::Dedicated };
    let threshold = if choices & 16 == 0 { 0 } else { 100 };
    Compression { compressor: memory, decompressor: memory, threshold, ..Compression::default() }
}

/// What a client begins with, which knows how to compress if the server does.
pub(super) fn request(compression: Option<&Compression>) -> Vec<u8> {
    let end = UPGRADE.len() - 2;
    let offer = compression.map_or("", |_| "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    [&UPGRADE[..end], offer.as_bytes(), b"\r\n"].concat()
}

/// The accept value, and the answer, that a client's request asks for.
pub(super) fn answer(request: &[u8], compression: Option<&Compression>) -> (String, Vec<u8>) {
    let request = String::from_utf8_lossy(request);
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
    let accept = accept(key.as_bytes());
    let agreed = compression
        .map_or(String::new(), |wishes| format!("Sec-WebSocket-Extensions: {}\r\n", Offer::new(wishes).answer(wishes)));
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{agreed}\r\n"
    );
    (accept, answer.into_bytes())
}
