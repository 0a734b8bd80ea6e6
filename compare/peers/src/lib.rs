//! What all of the servers need.

use std::net::SocketAddr;

use base64::Engine;

/// Tells whoever has started the server where to connect to.
pub fn announce(address: SocketAddr) {
    println!("listening on {address}");
}

/// The response to an upgrade request.
pub fn accept(request: &[u8], extensions: Option<&str>) -> Option<String> {
    let request = str::from_utf8(request).ok()?;
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))?;
    let mut hash = sha1_smol::Sha1::from(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = base64::engine::general_purpose::STANDARD.encode(hash.digest().bytes());
    let extensions = extensions.map(|it| format!("Sec-WebSocket-Extensions: {it}\r\n")).unwrap_or_default();
    Some(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{extensions}\r\n"
    ))
}
