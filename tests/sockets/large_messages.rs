//! Large echoes on real sockets, byte for byte: writes that are cut where the system's buffers end, answers read bit by
//! bit, a heartbeat's pings in between, the client's own pings between the frames of a message.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use switchboard::{EventLoop, ListenOptions};
use switchboard_heartbeat::Config;
use switchboard_websocket::{Settings, WebSocket, message_fn};

use crate::common::web_socket::{self, BINARY, CLOSE, PING, PONG, TEXT, frame};
use crate::common::{PATIENCE, assert_nothing_left, drive};

/// So long a client reads nothing, now and then.
const PAUSE: Duration = Duration::from_millis(5);

/// Numbers that look random, of which two sides have the same.
struct Dice(u64);

impl Dice {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        self.0 ^ self.0 >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.draw() >> 33).unwrap() % limit
    }

    /// A message: its opcode, its bytes, and how many frames it comes in.
    fn message(&mut self) -> (u8, Vec<u8>, usize) {
        let size = match self.below(4) {
            0 => self.below(300),
            1 => self.below(70_000),
            2 => 100_000 + self.below(1 << 20),
            _ => (1 << 20) + self.below(2) * self.below(4 << 20),
        };
        let mut bytes = vec![0; size];
        bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&self.draw().to_le_bytes()[..chunk.len()]));
        let opcode = if self.below(2) == 0 { TEXT } else { BINARY };
        if opcode == TEXT {
            bytes.iter_mut().for_each(|byte| *byte &= 0x7f);
            // Characters of four bytes, across whatever boundary.
            bytes.chunks_exact_mut(64).step_by(3).for_each(|chunk| chunk[..4].copy_from_slice("🦀".as_bytes()));
        }
        (opcode, bytes, 1 + self.below(4) / 3 * self.below(20))
    }
}

/// Sends so many messages, and says goodbye.
fn speak(mut stream: TcpStream, mut dice: Dice, messages: usize) {
    for _ in 0..messages {
        let (opcode, bytes, frames) = dice.message();
        let mut pieces = bytes.chunks(bytes.len().div_ceil(frames).max(1)).peekable();
        let mut opcode = opcode;
        loop {
            let piece = pieces.next().unwrap_or_default();
            let last = pieces.peek().is_none();
            let mut sent = frame(opcode, piece);
            sent[0] = opcode | if last { 0x80 } else { 0 };
            sent.extend(frame(PING, b"in between"));
            stream.write_all(&sent).unwrap();
            if last {
                break;
            }
            opcode = 0;
        }
    }
    stream.write_all(&frame(CLOSE, &1000_u16.to_be_bytes())).unwrap();
}

/// Reads what comes back, and says how many pings of the heartbeat were between it.
fn listen(stream: TcpStream, number: u64, messages: usize) -> usize {
    let (mut dice, mut beats, mut pongs) = (Dice(number), 0, 0);
    let mut reader = BufReader::with_capacity(1500, stream);
    let mut checked = 0;
    loop {
        match web_socket::read_frame(&mut reader) {
            (PING, _) => beats += 1,
            (PONG, payload) => pongs += usize::from(payload == b"in between"),
            (CLOSE, _) => break,
            (opcode, came) => {
                let (sent_opcode, sent, _) = dice.message();
                let differs = came.iter().zip(&sent).position(|(came, sent)| came != sent);
                assert_eq!(differs, None, "connection {number}, message {checked} of {} bytes", sent.len());
                assert_eq!((opcode, came.len()), (sent_opcode, sent.len()), "connection {number}, message {checked}");
                checked += 1;
                if checked % 3 == 0 {
                    // Not reading: what the system takes no more of waits in the server.
                    thread::sleep(PAUSE);
                }
            }
        }
    }
    assert!(checked == messages && pongs >= messages, "connection {number}: {checked} messages, {pongs} pongs");
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    beats
}

/// `connections`, with so many messages each; `send_buffer`: bytes of it that a socket of the server's has, if not as many
/// as usual. Says how many pings of the heartbeat there were.
fn converse(connections: u64, messages: usize, send_buffer: Option<usize>) -> usize {
    let mut event_loop = EventLoop::new().unwrap();
    let heartbeat = Config::new(Duration::from_millis(1), PATIENCE).ok();
    let settings = Rc::new(Settings { heartbeat, ..Settings::default() });
    let mut options = ListenOptions::default();
    options.stream.send_buffer_size = send_buffer;
    let echo = move |_: &_| {
        let echo = message_fn(|peer, message| {
            peer.send(message);
            Ok(())
        });
        Some(WebSocket::with_settings(echo, &settings))
    };
    let listener = event_loop.listen_with("127.0.0.1:0", &options, echo).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    let beats = drive(&mut event_loop, || {
        thread::scope(|scope| {
            let client = |number| {
                let stream = web_socket::open(address);
                let writer = stream.try_clone().unwrap();
                scope.spawn(move || speak(writer, Dice(number), messages));
                scope.spawn(move || listen(stream, number, messages))
            };
            let clients: Vec<_> = (0..connections).map(client).collect();
            clients.into_iter().map(|client| client.join().unwrap()).sum()
        })
    });
    assert_nothing_left(&mut event_loop);
    beats
}

#[test]
fn large_messages_come_back_byte_for_byte() {
    let beats = converse(2, 4, Some(4096)) + converse(1, 4, None);
    assert!(beats > 0, "the heartbeat had no say");
}
