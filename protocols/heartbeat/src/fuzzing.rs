//! What the fuzz target runs, in the crate so that a stable test replays its seeds. Not part of the public interface.

use std::time::Duration;

use switchboard::testkit::{Entry, Transcript, fuzz, fuzz_session};

use crate::{Config, Heartbeat, LONGEST_LINE, PingPong};

/// Runs the line protocol with a heartbeat through what `data` stands for, and checks every line of it against a
/// naive peer: each `PING` is answered by its `PONG`, in order; what is no line by an `ERR`, the last; probes are
/// numbered.
///
/// # Panics
/// If the crate and the naive peer disagree, or something does not hold that must of any protocol.
pub fn heartbeat(data: &[u8]) {
    let config = Config::new(Duration::from_secs(5), Duration::from_secs(15)).expect("a timing that agrees");
    let transcript = fuzz(|| Heartbeat::new(config).around(PingPong::default()), data);
    check(&transcript);
}

/// The same on a session over UDP, where the peer's datagrams can be anything: each line, and each part of one, for
/// itself. Checks what must hold of any protocol there, and that all deliveries come to the same.
///
/// # Panics
/// As [`heartbeat`].
pub fn session(data: &[u8]) {
    let config = Config::new(Duration::from_secs(5), Duration::from_secs(15)).expect("a timing that agrees");
    fuzz_session(|| Heartbeat::new(config).around(PingPong::default()), data);
}

fn check(transcript: &Transcript) {
    let sent = transcript.all_sent();
    let whole = sent.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let (lines, rest) = sent.split_at(whole);
    let lines = lines.split_inclusive(|&byte| byte == b'\n');
    let (probes, answers): (Vec<&[u8]>, Vec<&[u8]>) = lines.partition(|line| line.starts_with(b"PING "));
    for (probe, number) in probes.iter().zip(1..) {
        assert!(*probe == format!("PING {number}\n").as_bytes(), "probe {number}: {transcript}");
    }
    let (answers, expected) = (answers.concat(), naive_answers(&received(transcript)).concat());
    let expectation = || format!("expected {:?}: {transcript}", expected.escape_ascii().to_string());
    assert!(expected.starts_with(&answers), "{}", expectation());
    let next_probe = format!("PING {}\n", probes.len() + 1);
    let cut_off = next_probe.as_bytes().starts_with(rest) || expected[answers.len()..].starts_with(rest);
    assert!(cut_off, "{:?} at the end, {}", rest.escape_ascii().to_string(), expectation());
    assert!(!is_complete(transcript) || rest.is_empty() && answers == expected, "{}", expectation());
}

/// Whether the connection ended in a way that leaves nothing unsaid. One that failed and then stalled or broke, so that
/// its last words were lost, names the failure all the same.
fn is_complete(transcript: &Transcript) -> bool {
    let has = |beginning: &str| {
        transcript.entries().iter().any(|(_, entry)| matches!(entry, Entry::Note(note) if note.starts_with(beginning)))
    };
    let lost = has("→ takes") || has("→ reset");
    has("closed: closed by the peer") || has("closed: the peer broke the protocol") && !lost
}

fn received(transcript: &Transcript) -> Vec<u8> {
    let received = transcript.entries().iter().filter_map(|(_, entry)| match entry {
        Entry::Received(bytes) => Some(&bytes[..]),
        _ => None,
    });
    received.collect::<Vec<_>>().concat()
}

/// What should be answered to all this and the end of it, line by line, as plainly as can be.
fn naive_answers(mut input: &[u8]) -> Vec<Vec<u8>> {
    let mut answers = Vec::new();
    while !input.is_empty() {
        let end = input.iter().take(LONGEST_LINE).position(|&byte| byte == b'\n');
        let Some(end) = end else {
            if input.starts_with(b"ERR ") && input.len() >= LONGEST_LINE {
                return answers; // an error is never answered by one
            }
            let reason = if input.len() >= LONGEST_LINE {
                "a line has at most 128 bytes"
            } else {
                "the last line is not ended by a line feed"
            };
            answers.push(format!("ERR {reason}\n").into_bytes());
            return answers;
        };
        let line = String::from_utf8_lossy(&input[..end]);
        match line.split_once(' ') {
            Some(("ERR", _)) => return answers,
            Some((word @ ("PING" | "PONG"), number)) => {
                let Some(number) = number.parse::<u64>().ok().filter(|parsed| parsed.to_string() == number) else {
                    let reason = "<n> must be a decimal number up to 18446744073709551615 without leading zeros";
                    answers.push(format!("ERR {reason}\n").into_bytes());
                    return answers;
                };
                if word == "PING" {
                    answers.push(format!("PONG {number}\n").into_bytes());
                }
            }
            _ => {
                answers.push(b"ERR expected PING <n> or PONG <n>\n".to_vec());
                return answers;
            }
        }
        input = &input[end + 1..];
    }
    answers
}
