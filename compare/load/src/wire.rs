//! Messages as they are on the wire.

use anyhow::{Result, ensure};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::options::{Protocol, Text, Workload};

/// RFC 6455 §1.3 has this key, and the answer to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const MASK: [u8; 4] = [0x9d, 0x2b, 0x57, 0xe1];
/// What a sync flush ends with, and RFC 7692 §7.2.1 leaves out.
const FLUSH_END: [u8; 4] = [0, 0, 0xff, 0xff];
/// Opcodes of control frames.
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;
/// A close frame from a client: code 1000.
pub(crate) const CLOSE: [u8; 8] = [0x88, 0x82, MASK[0], MASK[1], MASK[2], MASK[3], 0x03 ^ MASK[0], 0xe8 ^ MASK[1]];

/// One message.
pub(crate) struct Message {
    pub(crate) payload: Vec<u8>,
    pub(crate) request: Vec<u8>,
    /// Empty where only the server knows: how it compresses is its own affair.
    pub(crate) reply: Vec<u8>,
}

impl Message {
    pub(crate) fn new(protocol: Protocol, workload: Workload) -> Self {
        let payload = payload(workload);
        let opcode = if workload.text.is_some() { 0x81 } else { 0x82 };
        let (request, reply) = match protocol {
            Protocol::Tcp | Protocol::Udp => (payload.clone(), payload.clone()),
            Protocol::Ws => (frame(opcode, &payload, Some(MASK)), frame(opcode, &payload, None)),
            Protocol::Wsz => (frame(opcode | 0x40, &deflate(&payload), Some(MASK)), Vec::new()),
        };
        Self { payload, request, reply }
    }
}

fn payload(workload: Workload) -> Vec<u8> {
    let size = workload.size;
    match workload.text {
        None => (1..=size as u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]).collect(),
        Some(Text::Ascii) => (b'a'..=b'z').cycle().take(size).collect(),
        Some(Text::Mixed) => {
            let mut text = String::new();
            for character in "Äpfel, груши und 桃子 – ".chars().cycle() {
                if text.len() + character.len_utf8() > size {
                    break;
                }
                text.push(character);
            }
            let mut bytes = text.into_bytes();
            bytes.resize(size, b'.');
            bytes
        }
        Some(Text::Json) => {
            let row = |n: u64| format!(r#"{{"seq":{n},"sensor":"s{}","value":{}}},"#, n * 7 % 31, n * 7919 % 10_007);
            (1..).flat_map(|n| row(n).into_bytes()).take(size).collect()
        }
    }
}

fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mask_bit = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![first];
    match payload.len() {
        length @ ..126 => frame.push(mask_bit | length.to_be_bytes()[7]),
        length @ 126..0x1_0000 => {
            frame.push(mask_bit | 126);
            frame.extend(&length.to_be_bytes()[6..]);
        }
        length => {
            frame.push(mask_bit | 127);
            frame.extend(length.to_be_bytes());
        }
    }
    let mask = mask.inspect(|mask| frame.extend(mask)).unwrap_or_default();
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn deflate(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 256);
    let mut deflate = Compress::new(Compression::default(), false);
    let _ = deflate.compress_vec(payload, &mut out, FlushCompress::Sync);
    out.truncate(out.len() - FLUSH_END.len());
    out
}

/// What a compressed message of `expected` bytes contains.
pub(crate) fn inflate(payload: &[u8], expected: usize) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(expected + 1);
    let input = [payload, &FLUSH_END].concat();
    let status = Decompress::new(false).decompress_vec(&input, &mut out, FlushDecompress::Sync)?;
    ensure!(status != Status::StreamEnd, "the reply ends its deflate stream");
    Ok(out)
}

/// The length of an unmasked frame's header, by its second byte.
pub(crate) fn header_length(second: u8) -> usize {
    match second {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

/// A client's answer to a ping.
pub(crate) fn pong(payload: &[u8]) -> Vec<u8> {
    frame(0x80 | PONG, payload, Some(MASK))
}

pub(crate) fn upgrade_request(protocol: Protocol) -> Vec<u8> {
    let extensions = match protocol {
        Protocol::Wsz => {
            "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
        }
        _ => "",
    };
    let request = format!(
        "GET /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{extensions}\r\n"
    );
    request.into_bytes()
}

/// Whether `response` is the end of a handshake; an error if it is the wrong end.
pub(crate) fn is_upgraded(protocol: Protocol, response: &[u8]) -> Result<bool> {
    if !response.ends_with(b"\r\n\r\n") {
        ensure!(response.len() < 8192, "the handshake's response does not end");
        return Ok(false);
    }
    let text = String::from_utf8_lossy(response);
    ensure!(text.starts_with("HTTP/1.1 101") && text.contains(ACCEPT), "the handshake was refused: {text}");
    if protocol == Protocol::Wsz {
        let text = text.to_ascii_lowercase();
        ensure!(text.contains("server_no_context_takeover"), "permessage-deflate was not agreed on: {text}");
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_their_size_and_their_characters() {
        for text in [None, Some(Text::Ascii), Some(Text::Mixed), Some(Text::Json)] {
            for size in [1, 20, 1000, 70_000] {
                let bytes = payload(Workload { depth: 1, size, text });
                assert_eq!(bytes.len(), size);
                assert!(text.is_none() || std::str::from_utf8(&bytes).is_ok());
            }
        }
    }

    #[test]
    fn frames_have_the_three_forms_of_the_length() {
        // RFC 6455 §5.7 has "Hello", masked and unmasked.
        assert_eq!(frame(0x81, b"Hello", None), [0x81, 5, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        let masked = frame(0x81, b"Hello", Some([0x37, 0xfa, 0x21, 0x3d]));
        assert_eq!(masked, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        assert_eq!(frame(0x82, &[0; 256], None)[..4], [0x82, 126, 1, 0]);
        assert_eq!(frame(0x82, &[0; 65_536], None)[..10], [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        for length in [5, 256, 65_536] {
            let frame = frame(0x82, &vec![0; length], None);
            assert_eq!(header_length(frame[1]), frame.len() - length);
        }
        assert_eq!(pong(b"")[..2], [0x8a, 0x80]);
    }

    #[test]
    fn what_was_deflated_is_inflated() {
        let plain = payload("1x1024:json".parse().unwrap());
        let packed = deflate(&plain);
        assert!(packed.len() < plain.len() / 2);
        assert_eq!(inflate(&packed, plain.len()).unwrap(), plain);
        assert!(inflate(&packed[1..], plain.len()).ok().is_none_or(|out| out != plain));
    }
}
