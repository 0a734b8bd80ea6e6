//! What the fuzz target runs, in the crate so that a stable test replays its seeds. Not part of the public interface.

use std::time::Duration;

use switchboard::testkit::{Entry, Transcript, fuzz};

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

fn check(transcript: &Transcript) {
    let sent = transcript.all_sent();
    assert!(sent.is_empty() || sent.ends_with(b"\n") || !is_complete(transcript), "half a line: {transcript}");
    let lines: Vec<&[u8]> = sent.split_inclusive(|&byte| byte == b'\n').collect();
    let (probes, answers): (Vec<&[u8]>, Vec<&[u8]>) = lines.iter().partition(|line| line.starts_with(b"PING "));
    for (index, probe) in probes.iter().enumerate() {
        let expected = format!("PING {}\n", index + 1);
        assert!(expected.as_bytes().starts_with(probe), "probe {}: {transcript}", index + 1);
    }
    let expected = naive_answers(&received(transcript)).concat();
    let answers = answers.concat();
    assert!(expected.starts_with(&answers), "expected {:?}: {transcript}", expected.escape_ascii().to_string());
    if is_complete(transcript) {
        assert!(answers == expected, "expected {:?}: {transcript}", expected.escape_ascii().to_string());
    }
}

/// Whether the connection ended in a way that leaves nothing unsaid.
fn is_complete(transcript: &Transcript) -> bool {
    let ends = |end: &str| {
        transcript.entries().iter().any(|(_, entry)| matches!(entry, Entry::Note(note) if note.starts_with(end)))
    };
    ends("closed: closed by the peer") || ends("closed: the peer broke the protocol")
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
