//! A protocol of one's own: messages, each behind its length, are given back in capitals.
//!
//! ```text
//! cargo run --example custom_protocol
//! printf '\0\0\0\5hello' | nc -N 127.0.0.1 7010
//! ```

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use switchboard::{Context, EventLoop, Failure, Input, Protocol};

/// Bytes of the length, big-endian, that stands before each message.
const HEADER: usize = 4;
/// The longest message, in bytes.
const LONGEST: usize = 64 * 1024;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of {0} bytes was announced, {LONGEST} are allowed")]
struct TooLong(u32);

/// The protocol. It keeps nothing: what is not consumed is offered again, with more behind it.
struct Shout;

impl Protocol for Shout {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while let Some(header) = input.first_chunk::<HEADER>() {
            let announced = u32::from_be_bytes(*header);
            let length = usize::try_from(announced).ok().filter(|length| *length <= LONGEST);
            let total = HEADER + length.ok_or(TooLong(announced))?;
            if input.len() < total {
                input.wait_for(total); // spares us being called for each piece of it
                return Ok(());
            }
            if !cx.has_room() {
                cx.pause_reading(); // the peer does not take its answers
                return Ok(());
            }
            let message = input.take(total);
            message[HEADER..].make_ascii_uppercase();
            cx.send(message);
        }
        Ok(())
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.resume_reading();
        Ok(())
    }
}

/// Serves a protocol of its own: messages, each behind its length (4 bytes, big-endian), come back in capitals.
#[derive(Parser)]
#[command(name = "custom_protocol")]
struct Options {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7010")]
    listen: SocketAddr,
}

fn main() -> ExitCode {
    let Options { listen } = Options::parse();
    let Err(error) = serve(listen) else { return ExitCode::SUCCESS };
    eprintln!("error: cannot serve on {listen}: {error}");
    ExitCode::FAILURE
}

fn serve(address: SocketAddr) -> io::Result<()> {
    let mut event_loop = EventLoop::new()?;
    let listener = event_loop.listen(address, |_peer| Some(Shout))?;
    println!("listening on {}", event_loop.local_addr(listener).unwrap_or(address));
    event_loop.run()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use switchboard::testkit::{Harness, Script, check_conformance};
    use switchboard::{Blame, CloseReason};

    use super::*;

    #[test]
    fn messages_come_back_in_capitals_however_they_are_cut() {
        let sent = b"\0\0\0\x05hello\0\0\0\0\0\0\0\x02me";
        for cut in 0..=sent.len() {
            let mut harness = Harness::new(Shout);
            harness.feed(&sent[..cut]);
            harness.feed(&sent[cut..]);
            assert_eq!(harness.take_sent(), b"\0\0\0\x05HELLO\0\0\0\0\0\0\0\x02ME", "cut at {cut}");
        }
    }

    #[test]
    fn it_conforms() {
        let script = Script::new()
            .send(b"\0\0\0\x05hello\0\0\0\0\0\0\0\x02me")
            .expect_sent(b"\0\0\0\x05HELLO\0\0\0\0\0\0\0\x02ME")
            .send(b"\0\0\0\x01!\0\x01\0\x01 too long");
        println!("{}", check_conformance(|| Shout, &script));
    }

    #[test]
    fn a_length_beyond_the_limit_is_the_peers_fault() {
        let mut harness = Harness::new(Shout);
        harness.feed(b"\0\x01\0\x01");
        let Some(CloseReason::Failure(failure)) = harness.close_reason() else { panic!("it should have failed") };
        assert_eq!(failure.blame(), Blame::Peer);
        assert_eq!(failure.error().downcast_ref(), Some(&TooLong(65_537)));
    }

    #[test]
    fn who_takes_no_answers_is_not_read() {
        let mut harness = Harness::new(Shout);
        harness.set_window(0);
        let message = [&b"\0\x01\0\0"[..], &[b'x'; LONGEST]].concat();
        for _ in 0..10 {
            harness.feed(&message);
        }
        assert!(harness.with(|cx| cx.is_reading_paused()).unwrap());
        harness.set_window(usize::MAX);
        assert_eq!(harness.take_sent().len(), 10 * message.len());
    }
}
