//! What the fuzz target runs, in the crate so that a stable test replays its seeds. Not part of the public interface.

use switchboard::testkit::{Entry, fuzz};

use crate::TcpEcho;

/// Runs an echo through what `data` stands for. What comes back must be what went in: all of it, where the connection
/// ended in order, and its beginning anywhere else.
///
/// # Panics
/// If it is not, or if something does not hold that must of any protocol.
pub fn echo(data: &[u8]) {
    let transcript = fuzz(|| TcpEcho, data);
    let received = transcript.entries().iter().filter_map(|(_, entry)| match entry {
        Entry::Received(bytes) => Some(&bytes[..]),
        _ => None,
    });
    let received = received.collect::<Vec<_>>().concat();
    let sent = transcript.all_sent();
    let in_order = transcript
        .entries()
        .iter()
        .any(|(_, entry)| matches!(entry, Entry::Note(note) if note == "closed: closed by the peer"));
    assert!(received.starts_with(&sent), "not what went in: {transcript}");
    assert!(!in_order || sent == received, "{} bytes are lost: {transcript}", received.len() - sent.len());
}
