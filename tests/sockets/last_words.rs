//! A failure's last words reach the peer, however much it sent that nobody read.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
#[cfg(target_os = "linux")]
use std::time::Duration;

#[cfg(target_os = "linux")]
use switchboard::driver::{Driver, MioDriver, Stream};
use switchboard::{Context, EventLoop, Failure, Input, Limits, Protocol};

use crate::common::{assert_nothing_left, drive, finish, read_to_end, tcp};

/// Fails at the first `!`.
struct Strict;

impl Protocol for Strict {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        if input.contains(&b'!') {
            cx.send(b"ERR no shouting\n");
            return Err(Failure::peer("the peer shouted"));
        }
        input.take_all();
        Ok(())
    }
}

fn strict() -> (EventLoop, SocketAddr) {
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop.listen("127.0.0.1:0", |_| Some(Strict)).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    (event_loop, address)
}

#[test]
fn the_error_line_arrives_and_then_the_end_though_more_was_sent_than_was_read() {
    let (mut event_loop, address) = strict();
    for len in [1, 1000, 64 * 1024, 400 * 1024, 2 * 1024 * 1024] {
        let answer = drive(&mut event_loop, || {
            let mut stream = tcp(address);
            stream.write_all(&vec![b'!'; len]).unwrap();
            // Nothing read yet: a reset would destroy the line, and read as ECONNRESET.
            read_to_end(&mut stream)
        });
        assert_eq!(answer, b"ERR no shouting\n", "{len} bytes sent");
        assert_nothing_left(&mut event_loop);
    }
}

#[test]
fn it_arrives_though_the_client_sends_on_for_a_while() {
    let (mut event_loop, address) = strict();
    let answer = drive(&mut event_loop, || {
        let mut stream = tcp(address);
        for _ in 0..100 {
            stream.write_all(&[b'!'; 1000]).unwrap();
        }
        let mut first = [0; 4];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"ERR ");
        for _ in 0..50 {
            stream.write_all(&[b'!'; 1000]).unwrap(); // would fail after a reset
        }
        finish(&mut stream)
    });
    assert_eq!(answer, b"no shouting\n");
    assert_nothing_left(&mut event_loop);
}

#[test]
fn it_arrives_in_any_case_if_the_client_has_half_closed() {
    let (mut event_loop, address) = strict();
    for _ in 0..100 {
        let answer = drive(&mut event_loop, || {
            let mut stream = tcp(address);
            stream.write_all(&[b'!'; 100]).unwrap();
            finish(&mut stream)
        });
        assert_eq!(answer, b"ERR no shouting\n");
    }
    assert_nothing_left(&mut event_loop);
}

#[test]
fn who_sends_without_end_gets_the_line_and_does_not_keep_the_connection() {
    let (mut event_loop, address) = strict();
    drive(&mut event_loop, || {
        let mut stream = tcp(address);
        let mut writer = stream.try_clone().unwrap();
        let mut line = [0; 16];
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while writer.write_all(&[b'!'; 64 * 1024]).is_ok() {}
                let _ = writer.shutdown(Shutdown::Both);
            });
            stream.read_exact(&mut line).unwrap();
        });
        assert_eq!(&line, b"ERR no shouting\n");
    });
    assert_nothing_left(&mut event_loop);
    let Limits { linger_bytes, read_budget, .. } = Limits::default();
    let discarded = event_loop.counters().bytes_discarded;
    assert!(discarded <= (linger_bytes + 2 * read_budget) as u64, "{discarded} bytes read for nothing");
}

/// What is written as the last waits for the end, and what was written before does not. (The system waits 200 ms at most:
/// a try that took longer says nothing.)
#[test]
#[cfg(target_os = "linux")]
fn last_words_leave_with_the_end() {
    let mut driver = MioDriver::new().unwrap();
    let mut listener = driver.listen(0, "127.0.0.1:0".parse().unwrap(), &Default::default()).unwrap();
    let address = driver.listener_addr(&listener).unwrap();
    let mut in_time = 0;
    while in_time == 0 {
        let mut client = tcp(address);
        let (mut server, _) = driver.accept(&mut listener).unwrap(); // connected, so it waits there
        assert_eq!(server.write(b"words, ").unwrap(), 7);
        let began = driver.now();
        assert_eq!(server.write_last(b"last words").unwrap(), 10);
        let mut early = [0; 100];
        let length = client.read(&mut early).unwrap();
        in_time += u32::from(driver.now().saturating_since(began) < Duration::from_millis(150));
        assert!(&early[..length] == b"words, " || in_time == 0, "{:?}", early[..length].escape_ascii());
        server.shutdown_write().unwrap();
        assert_eq!([early[..length].to_vec(), read_to_end(&mut client)].concat(), b"words, last words");
    }
}
