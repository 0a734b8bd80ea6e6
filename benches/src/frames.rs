//! Frames as the clients send and get them (RFC 6455 §5.2).

/// The opening request.
pub(crate) const REQUEST: &[u8] =
    b"GET /chat HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

const KEY: [u8; 4] = [0x12, 0x9a, 0x5e, 0xc7];

/// `len` bytes that are no text.
#[must_use]
pub fn binary(len: usize) -> Vec<u8> {
    (0_u8..=255).rev().cycle().take(len).collect()
}

/// `len` bytes of text; if it is `mixed`, of letters that take one, two and three bytes.
#[must_use]
pub fn text(len: usize, mixed: bool) -> String {
    let phrase = if mixed { "naïve 漢字, ça va? " } else { "the quick brown fox " };
    let mut text = phrase.repeat(len / phrase.len() + 1);
    text.truncate(text.floor_char_boundary(len));
    text.extend(std::iter::repeat_n(' ', len - text.len()));
    text
}

/// A client's whole message: text if it is UTF-8, else bytes.
#[must_use]
pub fn masked(payload: &[u8]) -> Vec<u8> {
    let mut frame = header(payload, 0x80);
    frame.extend(KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The same as a server sends it.
#[must_use]
pub fn unmasked(payload: &[u8]) -> Vec<u8> {
    let mut frame = header(payload, 0);
    frame.extend(payload);
    frame
}

fn header(payload: &[u8], mask: u8) -> Vec<u8> {
    let opcode = if std::str::from_utf8(payload).is_ok() { 0x1 } else { 0x2 };
    let mut header = vec![0x80 | opcode];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..126), _) => header.push(mask | short),
        (_, Ok(medium)) => {
            header.push(mask | 126);
            header.extend(medium.to_be_bytes());
        }
        _ => {
            header.push(mask | 127);
            header.extend((payload.len() as u64).to_be_bytes());
        }
    }
    header
}
