//! The server's side of a connection: one request, one file.
//!
//! ```text
//! GET <offset> <SHA-256 of the bytes before it, or -> <name>\n
//!                            OK <offset> <length>\n  the bytes from there on  SHA-256 <digest of the whole file>\n
//!                            ERROR <why>\n           instead of either line: there is nothing, or the file changed
//!                            WAIT\n                  before them, now and then: it is still comparing
//! ```
//!
//! The offset in the answer is the one asked for if the file begins as the digest says, or 0.
//!
//! A file is read, and hashed, as it is sent: [`CHUNK`] bytes whenever the client has taken what was sent before, so a
//! slow client costs no memory. Reading a file blocks the loop, and so everybody, for as long as the disk takes for a
//! few chunks; where that is too long, read on another thread and post the chunks.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::rc::Rc;

use sha2::{Digest, Sha256};
use switchboard::{Context, Failure, Input, Message, Protocol, Truncated};

use super::files::{self, Version};

/// Bytes read from a file at once.
const CHUNK: usize = 64 * 1024;

/// Bytes of a beginning that are compared between two signs of life.
const WAIT: u64 = 4 * 1024 * 1024;

/// Bytes of the longest request.
const LONGEST: usize = 4 * 1024;

/// Sends a file from a directory.
pub(crate) struct Sending {
    root: Rc<Path>,
    job: Option<Job>,
}

/// A request that is being answered.
struct Job {
    file: File,
    version: Version,
    hasher: Sha256,
    /// Bytes hashed, and so the place in the file.
    at: u64,
    /// What the client has already, if it is the same: still to be checked.
    claimed: Option<(u64, String)>,
}

/// The next piece of the beginning that the client has already is to be hashed.
struct CheckOn;

impl Sending {
    /// `root` is canonical.
    pub(crate) fn new(root: &Rc<Path>) -> Self {
        Self { root: Rc::clone(root), job: None }
    }

    fn begin(&mut self, cx: &mut Context<'_>, request: &[u8]) -> Result<(), Failure> {
        let Some((offset, digest, name)) = parse(request) else {
            return refuse(cx, "a request is: GET offset digest name");
        };
        let opened = files::open(&self.root, name).and_then(|file| Ok((Version::of(&file)?, file)));
        let (version, file) = match opened {
            Ok(opened) => opened,
            Err(error) => return refuse(cx, &format!("{name}: {error}")),
        };
        let claimed = (offset > 0 && offset <= version.len).then(|| (offset, digest.to_owned()));
        let job = self.job.insert(Job { file, version, hasher: Sha256::new(), at: 0, claimed });
        job.go_on(cx)
    }
}

impl Job {
    /// Checks the next piece of what the client has, if there is one, or begins to send.
    fn go_on(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if let Some((offset, digest)) = &self.claimed {
            if self.at < *offset {
                let most = usize::try_from(offset - self.at).unwrap_or(CHUNK).min(CHUNK);
                if self.read(most)?.is_empty() {
                    return refuse(cx, "the file became shorter");
                }
                if self.at.is_multiple_of(WAIT) {
                    cx.send(b"WAIT\n");
                }
                let id = cx.id();
                // Everybody else has a turn before the next piece. A mailbox of which this is the only letter has room.
                return cx.post(id, Message::user(CheckOn)).map_err(|_| Failure::caller("nobody else posts to this"));
            }
            if hex(self.hasher.clone()) != *digest {
                self.file.rewind()?;
                (self.at, self.hasher) = (0, Sha256::new());
            }
            self.claimed = None;
        }
        cx.send(format!("OK {} {}\n", self.at, self.version.len).as_bytes());
        self.send(cx)
    }

    /// Sends chunks while there is room, and what stands behind the last.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        while self.at < self.version.len {
            if !cx.has_room() {
                return Ok(()); // `on_drain` follows
            }
            let left = self.version.len - self.at;
            let chunk = self.read(usize::try_from(left).unwrap_or(CHUNK).min(CHUNK))?;
            if chunk.is_empty() {
                // What is missing can't be made up for: the client sees the end before its time.
                return Err(Failure::caller("the file became shorter while it was sent"));
            }
            cx.send(&chunk);
        }
        if Version::of(&self.file)? != self.version {
            return refuse(cx, "the file changed while it was sent");
        }
        cx.send(format!("SHA-256 {}\n", hex(self.hasher.clone())).as_bytes());
        cx.close();
        Ok(())
    }

    /// The next bytes, hashed; none at the end.
    fn read(&mut self, most: usize) -> Result<Vec<u8>, Failure> {
        let mut chunk = vec![0; most];
        let count = self.file.read(&mut chunk)?;
        chunk.truncate(count);
        self.hasher.update(&chunk);
        self.at += count as u64;
        Ok(chunk)
    }
}

/// The offset, digest and name of a request.
fn parse(request: &[u8]) -> Option<(u64, &str, &str)> {
    let mut words = str::from_utf8(request).ok()?.strip_prefix("GET ")?.splitn(3, ' ');
    Some((words.next()?.parse().ok()?, words.next()?, words.next()?))
}

fn refuse(cx: &mut Context<'_>, why: &str) -> Result<(), Failure> {
    cx.send(format!("ERROR {}\n", why.replace('\n', " ")).as_bytes());
    cx.close();
    Ok(())
}

/// A digest as text.
pub(crate) fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Protocol for Sending {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        if self.job.is_some() {
            input.take_all(); // one request a connection
            return Ok(());
        }
        let end = input.iter().position(|&byte| byte == b'\n');
        if end.unwrap_or(input.len()) > LONGEST {
            return Err(Failure::peer("a request of more than 4 KiB"));
        }
        let Some(end) = end else { return Ok(()) };
        let request = &input.take(end + 1)[..end];
        input.take_all();
        self.begin(cx, request)
    }

    /// A client that will ask nothing more is answered all the same.
    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        match rest.len() {
            0 if self.job.is_some() => {}
            0 => cx.close(),
            unconsumed => return Err(Truncated { unconsumed }.into()),
        }
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        match (&mut self.job, message.downcast()) {
            (Some(job), Ok(CheckOn)) => job.go_on(cx),
            _ => Ok(()),
        }
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        match &mut self.job {
            Some(job) if job.claimed.is_none() => job.send(cx),
            _ => Ok(()),
        }
    }

    /// What is being sent goes on, to its end or the drain's.
    fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if self.job.is_none() {
            cx.close();
        }
        Ok(())
    }
}
