//! Whole connections of either side: the input chooses messages, damage, chunks, time, what the peer takes, and how it ends.

mod answer;
mod echo;
mod inflation;
mod model;
mod opening;
mod run;
mod writer;

use std::time::Duration;

use super::octets::Octets;
use crate::frame::Role;
use run::Run;
use writer::Writer;

/// More than this is not sent.
const LONGEST: usize = 65_536;

/// Takes `data` as a list of operations on a connection to a server that repeats every message (the first byte chooses
/// its opening and its settings; each operation is one byte, and what it asks for), and compares what the
/// server does with a naive model: the same frames in the same order, the right close code and then the end, no more
/// memory than allowed, and nothing left afterwards.
///
/// # Panics
/// If the server does something else.
pub fn websocket_server(data: &[u8]) {
    connection(Role::Server, data);
}

/// The same with a client under test, and a server on the other side that the input is the operations of.
///
/// # Panics
/// If the client does something else than it should.
pub fn websocket_client(data: &[u8]) {
    connection(Role::Client, data);
}

fn connection(role: Role, data: &[u8]) {
    let mut input = Octets::new(data);
    let choices = input.choice();
    let mut run = Run::new(role, choices >> 3, choices & 1 != 0);
    let mut peer = Writer::new(run.opening(), choices & 7, run.deflater(), &mut input);
    let mut sent = 0;
    while let Some(operation) = input.next() {
        match operation % 16 {
            0 | 1 => peer.data(&mut input),
            2 => peer.control(&mut input),
            3 => peer.close(&mut input),
            4 => peer.raw(&mut input),
            5 => peer.header(&mut input),
            6 => peer.damage(&mut input),
            7 | 8 => run.feed(peer.take(1 + usize::from(input.choice()))),
            9 => run.feed(peer.take(usize::MAX)),
            10 => run.set_window(input.choice()),
            11 => run.advance(Duration::from_millis(u64::from(input.choice() % 32))),
            12 => run.wait(Duration::from_secs(u64::from(input.choice() % 64))),
            13 => run.post(input.choice()),
            14 => run.finish(&peer.take(usize::MAX)),
            _ => match input.choice() % 8 {
                0 => run.reset(),
                1 => run.shut_down(),
                2 | 3 => run.close(),
                4 | 5 => run.cut(true, input.bytes(4)),
                _ => run.cut(false, input.bytes(4)),
            },
        }
        run.check();
        sent += peer.written();
        if sent > LONGEST || run.is_over() {
            break;
        }
    }
    run.feed(peer.take(usize::MAX));
    run.end();
}
