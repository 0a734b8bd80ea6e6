//! The client's side of a connection: asks for what is missing, and keeps what comes.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use switchboard::{Context, Failure, Input, Protocol};

use super::sending::hex;

/// Bytes of the longest line that a server says.
const LONGEST: usize = 8 * 1024;

/// A file on its way: what stays while connections come and go.
pub(crate) struct Download {
    name: String,
    path: PathBuf,
    part: PathBuf,
    file: File,
    /// Of the bytes that are there: what the server is asked to compare.
    hasher: Sha256,
    at: u64,
    most: u64,
    bar: ProgressBar,
    /// Whether anything came since this was last asked.
    progressed: bool,
    /// How it ended, if it has.
    pub(crate) ended: Option<Result<(), String>>,
}

impl Download {
    /// Goes on where an earlier one has left `<path>.part`, which is read for that; that of two processes is refused.
    pub(crate) fn new(name: &str, path: &Path, most: u64, bar: ProgressBar) -> io::Result<Self> {
        let part = PathBuf::from(format!("{}.part", path.display()));
        let at_part = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", part.display()));
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&part).map_err(at_part)?;
        file.try_lock().map_err(|error| at_part(io::Error::from(error)))?;
        let (mut hasher, mut at, mut chunk) = (Sha256::new(), 0, vec![0; 64 * 1024]);
        loop {
            let count = file.read(&mut chunk).map_err(at_part)?;
            if count == 0 {
                break;
            }
            hasher.update(&chunk[..count]);
            at += count as u64;
        }
        let (name, path) = (name.to_owned(), path.to_owned());
        Ok(Self { name, path, part, file, hasher, at, most, bar, progressed: false, ended: None })
    }

    /// Whether bytes came since this was last asked.
    pub(crate) fn has_progressed(&mut self) -> bool {
        std::mem::take(&mut self.progressed)
    }

    /// Tells the user something, above the bar.
    pub(crate) fn note(&self, line: &str) {
        self.bar.suspend(|| {
            let _ = writeln!(io::stderr(), "{line}");
        });
    }

    /// It can't succeed, however often it is tried.
    fn give_up(&mut self, why: String) -> Failure {
        self.ended = Some(Err(why.clone()));
        Failure::caller(why)
    }

    /// The server sends from `offset` on, of `len` bytes.
    fn begin(&mut self, offset: u64, len: u64) -> Result<(), Failure> {
        if len > self.most {
            return Err(self.give_up(format!("the file has {len} bytes, {} allowed", self.most)));
        }
        if offset > len || offset != 0 && offset != self.at {
            return Err(Failure::peer("an offset that was not asked for"));
        }
        if offset != self.at {
            self.note("what is there is not the beginning of the file: starting again");
            self.start_again()?;
        }
        self.bar.set_length(len);
        self.bar.set_position(self.at);
        Ok(())
    }

    fn start_again(&mut self) -> Result<(), Failure> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|error| self.give_up(format!("{}: {error}", self.part.display())))?;
        (self.at, self.hasher) = (0, Sha256::new());
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| self.give_up(format!("{}: {error}", self.part.display())))?;
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
        self.progressed = true;
        self.bar.set_position(self.at);
        Ok(())
    }

    /// Everything is there: if it is what the server has, the file gets its name.
    fn check(&mut self, digest: &str) -> Result<(), Failure> {
        if hex(self.hasher.clone()) != digest {
            self.start_again()?;
            return Err(self.give_up("the digest is another: what came is not what was sent".to_owned()));
        }
        let named = self.file.sync_all().and_then(|()| fs::rename(&self.part, &self.path));
        named.map_err(|error| self.give_up(format!("{}: {error}", self.path.display())))?;
        self.bar.finish();
        self.ended = Some(Ok(()));
        Ok(())
    }
}

/// An attempt to get what is missing.
pub(crate) struct Fetching {
    download: Rc<RefCell<Download>>,
    /// How long the file is, once the server has said so.
    len: Option<u64>,
}

impl Fetching {
    pub(crate) fn new(download: &Rc<RefCell<Download>>) -> Self {
        Self { download: Rc::clone(download), len: None }
    }
}

impl Protocol for Fetching {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let download = self.download.borrow();
        let digest = if download.at == 0 { "-".to_owned() } else { hex(download.hasher.clone()) };
        cx.send(format!("GET {} {digest} {}\n", download.at, download.name).as_bytes());
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        let download = &mut *self.download.borrow_mut();
        loop {
            if let Some(missing) = self.len.map(|len| len - download.at).filter(|&missing| missing > 0) {
                if input.is_empty() {
                    return Ok(());
                }
                let count = usize::try_from(missing).unwrap_or(usize::MAX).min(input.len());
                download.keep(input.take(count))?;
                continue;
            }
            let end = input.iter().position(|&byte| byte == b'\n');
            if end.unwrap_or(input.len()) > LONGEST {
                return Err(Failure::peer("a line of more than 8 KiB"));
            }
            let Some(end) = end else { return Ok(()) };
            let line = str::from_utf8(&input.take(end + 1)[..end])?;
            if line == "WAIT" && self.len.is_none() {
                continue;
            }
            match (line.split_once(' '), self.len) {
                (Some(("OK", numbers)), None) => {
                    let numbers = numbers.split_once(' ').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
                    let (offset, len) = numbers.ok_or_else(|| Failure::peer("OK without an offset and a length"))?;
                    download.begin(offset, len)?;
                    self.len = Some(len);
                }
                (Some(("SHA-256", digest)), Some(_)) => {
                    download.check(digest)?;
                    input.take_all();
                    cx.close();
                    return Ok(());
                }
                (Some(("ERROR", why)), len) => {
                    // It is printed: no control characters, which a terminal would obey.
                    let said = format!("the server says: {}", why.replace(char::is_control, " "));
                    return Err(if len.is_none() { download.give_up(said) } else { Failure::peer(said) });
                }
                _ => return Err(Failure::peer("a line that is no answer")),
            }
        }
    }

    fn on_eof(&mut self, _: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
        Err(Failure::peer("the server ended before the file did"))
    }
}
