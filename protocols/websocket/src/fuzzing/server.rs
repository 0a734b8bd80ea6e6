//! Whole connections: the input chooses messages, damage, chunks, time, what the peer takes, and how it ends.

mod client;
mod echo;
mod model;
mod run;

use std::time::Duration;

use super::octets::Octets;
use client::Client;
use run::Run;

/// More than this is not sent to a server.
const LONGEST: usize = 65_536;

/// Takes `data` as a list of operations on a connection to a server that repeats every message (the first byte chooses
/// its opening and its settings; each operation is one byte, and what it asks for), and compares what the
/// server does with a naive model: the same frames in the same order, the right close code and then the end, no more
/// memory than allowed, and nothing left afterwards.
///
/// # Panics
/// If the server does something else.
pub fn websocket_server(data: &[u8]) {
    let mut input = Octets::new(data);
    let choices = input.choice();
    let mut client = Client::new(choices & 7, &mut input);
    let mut run = Run::new(choices >> 3);
    let mut sent = 0;
    while let Some(operation) = input.next() {
        match operation % 16 {
            0 | 1 => client.data(&mut input),
            2 => client.control(&mut input),
            3 => client.close(&mut input),
            4 => client.raw(&mut input),
            5 => client.header(&mut input),
            6 => client.damage(&mut input),
            7 | 8 => run.feed(client.take(1 + usize::from(input.choice()))),
            9 => run.feed(client.take(usize::MAX)),
            10 => run.set_window(input.choice()),
            11 => run.advance(Duration::from_millis(u64::from(input.choice() % 32))),
            12 => run.wait(Duration::from_secs(u64::from(input.choice() % 64))),
            13 => run.post(input.choice()),
            14 => run.finish(&client.take(usize::MAX)),
            _ => match input.choice() % 8 {
                0 => run.reset(),
                1 => run.shut_down(),
                2 | 3 => run.close(),
                4 | 5 => run.cut(true, input.bytes(4)),
                _ => run.cut(false, input.bytes(4)),
            },
        }
        run.check();
        sent += client.written();
        if sent > LONGEST || run.is_over() {
            break;
        }
    }
    run.feed(client.take(usize::MAX));
    run.end();
}
