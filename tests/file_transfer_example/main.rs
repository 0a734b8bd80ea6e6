//! The file_transfer example: its protocols in memory, and the program as its user meets it.

#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]
#![allow(dead_code, reason = "the program uses what its tests don't")]

#[path = "../../examples/file_transfer/fetching.rs"]
mod fetching;
#[path = "../../examples/file_transfer/files.rs"]
mod files;
#[path = "../../examples/file_transfer/sending.rs"]
mod sending;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

mod process;
mod protocols;

/// A directory of a test's own, which goes with it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        Self::below(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    /// Where the system's promise that a file is on the disk costs nothing: for thousands of runs.
    fn in_memory() -> Self {
        Self::below(Path::new("/dev/shm"))
    }

    fn below(parent: &Path) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("switchboard-files-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = parent.join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Bytes in which a lost, doubled or moved piece shows.
fn content(len: usize, seed: u64) -> Vec<u8> {
    (0..len as u64).map(|at| (at + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0]).collect()
}

fn digest(bytes: &[u8]) -> String {
    sending::hex(Sha256::new_with_prefix(bytes))
}
