//! A WebSocket client of a few lines, which knows nothing of the plug-in it tests.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::tcp;

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The opening request.
pub(crate) const REQUEST: &[u8] =
    b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Connects and shakes hands.
pub(crate) fn open(address: SocketAddr) -> TcpStream {
    let mut stream = tcp(address);
    shake_hands(&mut stream);
    stream
}

/// The same, and agrees on compression.
#[allow(dead_code, reason = "not every test has use for it")]
pub(crate) fn open_compressing(address: SocketAddr) -> TcpStream {
    let mut stream = tcp(address);
    let request = REQUEST.strip_suffix(b"\r\n").unwrap();
    let answer = ask(&mut stream, &[request, b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"].concat());
    assert!(answer.contains("permessage-deflate"), "{answer}");
    stream
}

/// The opening handshake (the key and its answer are those of RFC 6455 §1.3).
pub(crate) fn shake_hands(stream: &mut TcpStream) {
    ask(stream, REQUEST);
}

fn ask(stream: &mut TcpStream, request: &[u8]) -> String {
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    answer
}

/// A client's frame, whole and masked.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![0x80 | opcode];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(len @ ..=125), _) => frame.push(0x80 | len),
        (_, Ok(len)) => {
            frame.push(0x80 | 126);
            frame.extend(len.to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// Reads one whole frame of the server.
pub(crate) fn read_frame(stream: &mut impl Read) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[0] & 0xf0, 0x80, "whole, and no reserved bit");
    let len = match head[1] {
        len @ ..=125 => usize::from(len),
        126 => {
            let mut len = [0; 2];
            stream.read_exact(&mut len).unwrap();
            usize::from(u16::from_be_bytes(len))
        }
        127 => {
            let mut len = [0; 8];
            stream.read_exact(&mut len).unwrap();
            usize::try_from(u64::from_be_bytes(len)).unwrap()
        }
        _ => panic!("a server's frame is not masked"),
    };
    let mut payload = vec![0; len];
    stream.read_exact(&mut payload).unwrap();
    (head[0] & 0x0f, payload)
}

/// Reads the next frame that is no ping.
pub(crate) fn read_message(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    loop {
        let (opcode, payload) = read_frame(stream);
        if opcode != PING {
            return (opcode, payload);
        }
    }
}

/// Says goodbye, and reads the answer and the end.
pub(crate) fn close(stream: &mut TcpStream) {
    stream.write_all(&frame(CLOSE, &1000_u16.to_be_bytes())).unwrap();
    assert_eq!(read_message(stream), (CLOSE, 1000_u16.to_be_bytes().to_vec()));
    let mut rest = Vec::new();
    assert_eq!(stream.read_to_end(&mut rest).unwrap(), 0);
}
